"""`unibench corpus`: build a corpus to pretrain on, and say what is in one. Parse, call, print."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unibench.options import Results, TasksDir, console, deliver, known_format

if TYPE_CHECKING:
    from unibench.tables import Table
    from unibert.build import Withheld
    from unibert.documents import Source

corpus_app = typer.Typer(
    rich_markup_mode="rich",
    no_args_is_help=True,
    help="Build a corpus from Wikipedia, a Hub dataset or a folder, and say what is in one.",
)


@corpus_app.command(epilog="Example: unibench corpus build --source wikipedia --data mirror/ --languages en,de,sw")
def build(
    source: Annotated[
        str, typer.Option(help="wikipedia, a Hub dataset OWNER/NAME, or a folder of LANG.txt, .jsonl or .parquet.")
    ] = "wikipedia",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the corpus; by default RESULTS/corpora/ and the source's name.")
    ] = None,
    languages: Annotated[
        str, typer.Option(help="all, or codes joined by commas; sw=swh_Latn names sw's config.")
    ] = "all",
    data: Annotated[
        str | None,
        typer.Option(help="auto, hub, or a folder laid out OWNER/NAME: where the source and the test sets come from."),
    ] = None,
    config_pattern: Annotated[
        str | None, typer.Option(help='A Hub dataset\'s config of a language; "{lang}" stands for its code.')
    ] = None,
    column: Annotated[str, typer.Option(help="The column or field that holds the text.")] = "text",
    split: Annotated[str, typer.Option(help="A Hub dataset's split.")] = "train",
    revision: Annotated[str | None, typer.Option(help="A Hub dataset's commit or branch; the latest commit.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Read at most this many documents a language.")] = None,
    skip: Annotated[str, typer.Option(help="Curation steps to leave out, joined by commas; also: duplicates.")] = "",
    language_confidence: Annotated[
        float | None,
        typer.Option(min=0.5, max=1.0, help="Drop lines identified this surely as another language; 0.9 is a start."),
    ] = None,
    decontaminate: Annotated[
        str, typer.Option(help="tasks (take out what stands in the task cards' test sets) or none.")
    ] = "tasks",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Pass over what cannot be read and count it; otherwise it stops.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes, a language each; one a core.")] = None,
    results: Results = Path("results"),
    tasks_dir: TasksDir = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be read, and stop.")] = False,
) -> None:
    """Curate, deduplicate and decontaminate text. The same command again goes on where it was interrupted."""
    from unibench import holdings, render
    from unibench.display import Building
    from unibench.errors import UnknownName
    from unibert import build as builds
    from unibert import documents
    from unibert.curation import STEPS, Curation
    from unibert.duplicates import NearDuplicates
    from unibert.passes import Recipe

    if decontaminate not in ("tasks", "none"):
        raise UnknownName("--decontaminate", decontaminate, ("tasks", "none"), "unibench corpus build")
    skipped = [word.strip() for word in skip.split(",") if word.strip()]
    for step in skipped:
        if step != "duplicates" and step not in STEPS:
            raise UnknownName("curation step", step, (*STEPS, "duplicates"), "unibench corpus build")
    recipe = Recipe(
        curation=Curation(
            skip=tuple(step for step in skipped if step != "duplicates"), min_confidence=language_confidence
        ),
        duplicates=None if "duplicates" in skipped else NearDuplicates(),
        limit=limit,
        skip_bad=skip_bad,
    )
    folder = out or results / "corpora" / (source if source == "wikipedia" else Path(source).resolve().name)
    hub = documents.WIKIPEDIA if source == "wikipedia" else source
    mirror = _mirror(data, hub)
    if mirror is None and revision is None:
        revision = builds.begun_at(folder, hub)
    asked = documents.wanted(languages, config=config_pattern, split=split, column=column, revision=revision)
    found = documents.resolve(source, asked, mirror=mirror)
    _announce(found, builds.unfinished(found, folder))
    if dry_run:
        return
    with Building(console) as progress:
        manifest = builds.build(
            found,
            recipe,
            folder,
            withheld=None if decontaminate == "none" else lambda: _test_texts(data, tasks_dir),
            count=workers or len(os.sched_getaffinity(0)),
            notify=progress,
        )
    render.show(holdings.overview(manifest, str(folder)), console)
    console.print(f"next: unibench train --corpus {folder}", highlight=False, markup=False)


@corpus_app.command(epilog="Example: unibench corpus stats results/corpora/wikipedia --tokenizer unibert-small")
def stats(
    folder: Annotated[Path | None, typer.Argument(help="A corpus that `corpus build` made.")] = None,
    tokenizer: Annotated[
        list[str] | None,
        typer.Option(help="Say how this tokenizer treats each language: a folder or a model trained here; repeatable."),
    ] = None,
    lines: Annotated[int, typer.Option(min=1, help="Held-out lines of each language for --tokenizer.")] = 500,
    editions: Annotated[bool, typer.Option("--list", help="List the 107 Wikipedias that `all` stands for.")] = False,
    format: Annotated[str, typer.Option(help="terminal, markdown, csv or json.")] = "terminal",
    results: Results = Path("results"),
) -> None:
    """Say what a corpus holds and what each step took, or how tokenizers treat its languages."""
    from unibench import holdings
    from unibench.errors import UserError
    from unibert import built

    known_format(format, "unibench corpus stats")
    if editions:
        tables = [_editions()]
    elif folder is None:
        raise UserError("corpus stats needs the folder of a corpus, or --list")
    elif tokenizer:
        from unibert import corpus, fertility

        tables = [
            holdings.fertility(fertility.measure(corpus.from_folder(folder), _load(tokenizer, results), lines=lines))
        ]
    else:
        manifest = built.read(folder)
        if manifest is None:
            raise UserError(f"{folder} holds no corpus that `unibench corpus build` made; see --help")
        tables = holdings.overview(manifest, str(folder))
    deliver(tables, format, None, console)


def _editions() -> Table:
    from unibench.tables import Column, Table
    from unibert.documents import NOTES, WIKIPEDIA, edition, wanted
    from unibert.languages import LANGUAGES

    everything = wanted("all")
    return Table(
        title=f"The {len(LANGUAGES)} languages of {WIKIPEDIA}",
        columns=tuple(Column(name=name) for name in ("language", "name", "config", "note")),
        rows=tuple(
            (code, name, edition(WIKIPEDIA, code, everything), NOTES.get(code, "")) for code, name in LANGUAGES.items()
        ),
        footnotes=("Which languages these are, and why: unibert/languages.py.",),
    )


def _load(specs: Sequence[str], results: Path) -> list[Any]:
    from unibert import fertility

    loaded = [fertility.load(spec, results) for spec in dict.fromkeys(specs)]
    names = [one.name for one in loaded]
    return [
        replace(one, name=spec) if names.count(one.name) > 1 else one
        for spec, one in zip(dict.fromkeys(specs), loaded, strict=True)
    ]


def _mirror(data: str | None, hub: str) -> Path | None:
    """Returns the folder to look a Hub dataset up in, None for the Hub: $UNIBENCH_DATA only where it holds it."""
    from unibench.errors import UserError

    if data == "sample":
        raise UserError("--data sample holds no corpus; give hub or a folder (train takes --corpus sample)")
    if data not in (None, "auto", "hub"):
        return Path(str(data)).expanduser()
    named = os.environ.get("UNIBENCH_DATA")
    return Path(named) if named and data != "hub" and (Path(named) / hub).is_dir() else None


def _announce(source: Source, left: Sequence[str]) -> None:
    size = sum(source.size(language) for language in left)
    at = f" at {source.revision}" if source.revision else ""
    lines = [f"{source.name}{at}: {len(source.files)} languages, {len(left)} to build, {size / 1e6:,.1f} MB of files"]
    if source.absent:
        lines.append(f"no text in {len(source.absent)} of the 107 languages: {' '.join(source.absent)}")
    if source.ignored:
        lines.append(f"not text of a language, left alone: {', '.join(source.ignored[:12])}")
    for language in left:
        megabytes = source.size(language) / 1e6
        lines.append(f"  {language}: {len(source.files[language])} files, {megabytes:,.1f} MB")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _test_texts(data: str | None, tasks_dir: Path | None) -> Withheld:
    """Returns the texts of every card's test split that can be had from here, and says how many there are."""
    from unibench import cards, testsets
    from unibench import data as room
    from unibert.build import Withheld

    picked = cards.all_cards(cards.card_folders(tasks_dir))
    found = testsets.collect(picked, room.origin(data, [card.eval.hub for card in picked]))
    sources = f"{len(found.used)} of {len(picked)} tasks"
    if found.texts:
        console.print(f"{len(found.texts):,} texts of the test sets of {sources} to look for", highlight=False)
    else:
        console.print(f"no test set to look for: {testsets.NOWHERE}", style="yellow", highlight=False)
    return Withheld(texts=found.texts, used=found.used, unavailable=found.unavailable)
