"""Commands that only look: which tasks and models there are, and what an example of a task is like."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from unibench.options import Data, Results, TasksDir, banner, console, deliver, known_format, names

if TYPE_CHECKING:
    from unibench.sources import Origin

tasks_app = typer.Typer(rich_markup_mode="rich")


Format = Annotated[str, typer.Option("--format", help="terminal, markdown, csv or json.")]
Out = Annotated[Path | None, typer.Option("--out", help="File to write; the terminal if left out.")]


@tasks_app.callback(invoke_without_command=True, epilog="Example: unibench tasks --data mirror/ --family qa")
def tasks(
    context: typer.Context,
    family: Annotated[str | None, typer.Option(help="Only those of one family, such as ner, nli, qa, sts.")] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Count examples and say what can be run from here: auto, hub, sample, or a folder."),
    ] = None,
    tasks_dir: TasksDir = None,
    format: Format = "terminal",
    out: Out = None,
) -> None:
    """List the benchmark tasks. `tasks show` prints one's details or examples, `tasks check` examines a new card."""
    if context.invoked_subcommand is not None:
        return
    from unibench import cards, families, task_listing

    known_format(format, "unibench tasks")
    found = cards.all_cards(cards.card_folders(tasks_dir))
    if family is not None:
        families.lookup(family)
        found = [card for card in found if card.family == family]
    origin = _origin(data, [card.eval.hub for card in found])
    deliver([task_listing.listing(found, origin, short=format == "terminal" and out is None)], format, out, console)


def _origin(data: str | None, hubs: list[str]) -> Origin | None:
    """Returns where data come from, None where neither --data nor $UNIBENCH_DATA names a place."""
    from unibench import data as sources

    return sources.origin(data, hubs) if data is not None or os.environ.get("UNIBENCH_DATA") else None


@tasks_app.command(epilog="Example: unibench tasks show wikiann --language sw --count 3")
def show(
    task: Annotated[str, typer.Argument(help="A task's name.")],
    language: Annotated[
        str | None, typer.Option(help="One of its languages, to see examples; without it the card's details.")
    ] = None,
    part: Annotated[str, typer.Option(help="train, dev or eval.")] = "eval",
    count: Annotated[int, typer.Option(min=1, help="How many examples.")] = 5,
    data: Data = None,
    tasks_dir: TasksDir = None,
) -> None:
    """Print what a card says of a task, or its examples in a language, as a model will be asked them."""
    from unibench import cards, listings, task_listing
    from unibench import data as sources
    from unibench.errors import UnknownName
    from unibench.picking import pick_tasks

    if part not in ("train", "dev", "eval"):
        raise UnknownName("part", part, ("train", "dev", "eval"), "a task")
    folders = cards.card_folders(tasks_dir)
    if task == "all":
        raise UnknownName("task", task, [card.name for card in cards.all_cards(folders)], "tasks show, which takes one")
    [card] = pick_tasks([task], tasks_dir)
    if language is None:
        deliver([task_listing.details(card, _origin(data, [card.eval.hub]))], "terminal", None, console)
        return
    cards.pick_languages([language], [card])
    origin = sources.origin(data, [card.eval.hub])
    if origin.kind == "sample":
        banner("examples", asked=data == "sample")
    loaded = sources.load(card, part, [language], origin)  # type: ignore[arg-type]
    listings.show_examples(card, loaded, count, console)


@tasks_app.command(epilog="Example: unibench tasks check mine/reviews.toml --data mirror/")
def check(
    file: Annotated[Path, typer.Argument(help="A task card, wherever it lies.")],
    languages: Annotated[str, typer.Option(help="all, or codes joined by commas.")] = "all",
    data: Data = None,
) -> None:
    """Examine a new card and its data: every part in every language is read, counted and compared.

    The first thing that is wrong is one line and exit code 2; what is only suspicious is listed.
    """
    from unibench import check as checks
    from unibench import data as sources
    from unibench import listings

    card, folder = checks.read(file)
    origin = sources.origin(data, [card.eval.hub])
    found = checks.examine(card, origin, names(languages))
    deliver([checks.table(card, found)], "terminal", None, console)
    listings.show_examples(card, found.first, 1, console)
    for line in found.warnings:
        console.print(f"warning: {line}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    words = ["unibench", "run", "--tasks", card.name, *(["--tasks-dir", str(folder)] if folder is not None else [])]
    words += ["--data", data] if data is not None else []
    console.print(f"{file}: ready: {shlex.join(words)}", highlight=False, markup=False, soft_wrap=True)


def models(
    model: Annotated[
        str | None, typer.Argument(help="Show all that is known of one: a name, folder or Hub id.")
    ] = None,
    results: Results = Path("results"),
    speed: Annotated[bool, typer.Option("--speed/--no-speed", help="Measure those that are here, once.")] = True,
    format: Annotated[str, typer.Option(help="terminal, markdown, csv or json.")] = "terminal",
    out: Annotated[Path | None, typer.Option(help="File to write; the terminal if left out.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Compute threads on a CPU; all cores.")] = None,
) -> None:
    """List the encoders, their sizes, what each needs, and how fast it is here.

    Trained here, the untrained floor, and known baselines; --model of `unibench run` takes folders and Hub ids too.
    """
    from unibench import model_listing
    from unibench import models as encoders
    from unibench import speed as speedometer

    known_format(format, "unibench models")
    if model is not None:
        found = [encoders.find(model, results)]
    else:
        found = [*encoders.available(results), *encoders.teachers(results)]
    found = [encoders.downloaded(encoder) for encoder in found]
    # The document alone goes to standard output, so that it can be piped
    say = console if format == "terminal" or out is not None else Console(stderr=True)
    measured: dict[str, float] | None = None
    reasons: dict[str, str] = {}
    machine = ""
    if speed:
        from unibench import engines

        engines.silence()
        on = speedometer.this_machine(device, threads)
        machine = str(on)
        measured, reasons = speedometer.speeds(
            found, results, on, lambda text: say.print(text, style="dim", highlight=False, markup=False)
        )
    if model is not None:
        table = model_listing.details(found[0], (measured or {}).get(found[0].name))
    else:
        workload = speedometer.describe() if speed else ""
        table = model_listing.listing(found, measured, reasons, workload=workload, machine=machine)
    deliver([table], format, out, say)
