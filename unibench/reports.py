"""`unibench report`: tables, figures and a page from records alone. Parse, call, print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from unibench.options import Results, TasksDir, console, deliver, known_format, names

EXAMPLES = """Example: unibench report --significance --baseline mlm-xxsmall --format markdown --out board.md

Example: unibench report --significance --format html --out report.html --figures figures/

Example: unibench report --significance --view all --family default

Example: unibench report --reference --tasks xnli   (beside published scores)

Example: unibench report --against monolingual --significance   (protocols, model by model)

Example: unibench report --against ../last-month/results --significance   (two sets of results)"""
PAGE = "html"


def report(
    significance: Annotated[
        bool,
        typer.Option(
            "--significance", help="Show p-values, corrected over the whole family; a page and figures always do."
        ),
    ] = False,
    baseline: Annotated[str | None, typer.Option(help="The model the others are compared with.")] = None,
    family: Annotated[
        str | None, typer.Option(help="A family of tests declared in RESULTS/families/NAME.toml; default without one.")
    ] = None,
    view: Annotated[
        str,
        typer.Option(
            help="leaderboard, languages, tasks, tests, evidence, efficiency, transfer, probe, missing, joined by "
            "commas, or all; by default leaderboard, tasks and missing, and all of them as html."
        ),
    ] = "",
    reference: Annotated[
        bool, typer.Option("--reference", help="Beside the scores that the task cards cite as published.")
    ] = False,
    tolerance: Annotated[
        float | None, typer.Option(min=0, help="Points within which --reference agrees; 2 by default.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Compare protocols with this one, model by model: zero-shot, monolingual, … [+adversarial]; or this "
            "set of results with another folder's."
        ),
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="Of the protocols compared by --against, show this one; no number changes.")
    ] = None,
    tasks: Annotated[str, typer.Option(help="Show only these; no number changes.")] = "all",
    languages: Annotated[str, typer.Option(help="Show only these; no number changes.")] = "all",
    model: Annotated[str, typer.Option(help="Show only these beside the baseline; no number changes.")] = "all",
    tasks_dir: TasksDir = None,
    format: Annotated[str, typer.Option(help="terminal, markdown, csv, json, latex or html.")] = "terminal",
    out: Annotated[Path | None, typer.Option(help="File to write; the terminal if left out.")] = None,
    figures: Annotated[Path | None, typer.Option(help="A folder to draw the figures into, as PNG and SVG.")] = None,
    results: Results = Path("results"),
) -> None:
    """Print the leaderboard: scores, relative improvement, intervals and paired significance.

    With --reference our scores beside published ones; with --against the relative improvement between protocols, or
    what changed since another set of results.
    """
    from unibench import store

    known_format(format, "unibench report", PAGE)
    _refuse_places(out, figures)
    leaderboard = "the leaderboard"
    _only_together(
        {"--reference": reference, "--against": against is not None},
        {
            "--baseline": (baseline is not None, (leaderboard,)),
            "--family": (family is not None, (leaderboard,)),
            "--view": (bool(view), (leaderboard,)),
            "--languages": (languages != "all", (leaderboard,)),
            "--model": (model != "all", (leaderboard,)),
            "--figures": (figures is not None, (leaderboard,)),
            "--format html": (format == PAGE, (leaderboard,)),
            "--significance": (significance, (leaderboard, "--against")),
            "--tolerance": (tolerance is not None, ("--reference",)),
            "--protocol": (protocol is not None, ("--against",)),
        },
    )
    chosen = () if (found := names(tasks)) == "all" else found
    if reference:
        from unibench import picking
        from unibench import reference as references
        from unibench.catalogue import CATALOGUE

        picked = picking.pick_tasks(found, tasks_dir)
        if not chosen:
            picked = [card for card in picked if card.about.get("reference")]
        hubs = {name: entry.hub for name, entry in CATALOGUE.items()}
        points = references.TOLERANCE_POINTS if tolerance is None else tolerance
        records = store.load(results)
        deliver([references.beside(records, picked, hubs=hubs, tolerance_points=points)], format, out, console)
    elif against is not None:
        _against(results, against, protocol, chosen, significance, format, out)
    else:
        _leaderboard(
            results, baseline, family, names(view) if view else (), chosen, names(languages), names(model),
            significance, format, out, figures,
        )  # fmt: skip


def _leaderboard(
    results: Path,
    baseline: str | None,
    family: str | None,
    views: list[str] | tuple[()] | str,
    tasks: list[str] | tuple[()],
    languages: list[str] | str,
    models: list[str] | str,
    significance: bool,
    format: str,
    out: Path | None,
    figures: Path | None,
) -> None:
    """Reads records without their units, which only comparisons that nobody made before need."""
    from unibench import declared, report, store
    from unibench.board import boards
    from unibench.errors import UserError
    from unibench.readability import read_probes
    from unibench.timings import read_speeds

    if "evidence" in views and not significance:
        raise UserError("--view evidence is about p and ranks, and shows nothing without --significance; add it")
    chosen = declared.DEFAULT if family is None else declared.pick(family, results / "families")
    wanted = (
        tuple(report.VIEWS) if views == "all" or (not views and format == PAGE) else tuple(views or report.STANDARD)
    )
    shown = report.Shown(
        tasks=tuple(tasks), languages=() if languages == "all" else tuple(languages),
        models=() if models == "all" else tuple(models), significance=significance,
        speeds=read_speeds(results), probes=read_probes(results),
    )  # fmt: skip
    records = list(store.load(results, units=False))
    report.check(records, shown, wanted)
    held = list(
        boards(
            records, baseline=baseline, family=chosen, load=lambda record: store.with_units(results, record),
            cache=results / "cache" / "comparisons",
        )
    )  # fmt: skip
    if format == PAGE:
        from unibench.atomic import write
        from unibench.report_page import html

        text = html(held, shown, wanted)
        if out is None:
            sys.stdout.write(text)
        else:
            write(out, text)
            console.print(f"wrote {out}", highlight=False, markup=False, soft_wrap=True)
    else:
        tables = [table for board in held for table in report.of_board(board, shown, wanted)]
        if not tables and format == "terminal" and out is None:
            console.print(f"nothing to show: {', '.join(wanted)}", highlight=False, markup=False, soft_wrap=True)
        deliver(tables, format, out, console)
    if figures is not None:
        from unibench import report_figures

        drawn = [
            path
            for number, board in enumerate(held, 1)
            for path in report_figures.save(board, shown, figures, f"{number:02d}" if len(held) > 1 else "report")
        ]
        if out is not None or format == "terminal":  # else it would stand in what another program reads
            words = f"drew {len(drawn)} files of figures into {figures}"
            console.print(words, highlight=False, markup=False, soft_wrap=True)


def _against(
    results: Path,
    against: str,
    protocol: str | None,
    tasks: list[str] | tuple[()],
    significance: bool,
    format: str,
    out: Path | None,
) -> None:
    """Compares protocols, or two folders of results; the name of a protocol wins over a folder called like it."""
    from unibench import protocol_tables, protocols, store
    from unibench.errors import UserError

    if against not in protocols.KNOWN and Path(against).is_dir():
        from unibench import two_stores

        if protocol is not None or tasks:
            raise UserError("--protocol and --tasks narrow a comparison of protocols; leave them out beside a folder")
        ours, theirs = results.resolve(), Path(against).resolve()
        if ours == theirs:
            raise UserError(f"--against {against} is the same folder as --results; name another set of results")
        labels = (ours.name, theirs.name) if ours.name != theirs.name else (str(results), against)
        tables = two_stores.against(
            store.load(results), store.load(theirs), names=labels, significance=significance
        )  # fmt: skip
    elif against not in protocols.KNOWN and Path(against).name != against:
        raise UserError(f"--against {against} is no folder; expected one of results, or a protocol's name")
    else:
        tables = protocols.axis(
            store.load(results), against=against, protocol=protocol, tasks=tasks, significance=significance
        )
        if format == "terminal" and out is None:
            tables = [protocol_tables.for_terminal(table) for table in tables]
    deliver(tables, format, out, console)


def _refuse_places(out: Path | None, figures: Path | None) -> None:
    """Raises UserError for a file that is a folder, and a folder that is a file, before anything is computed."""
    from unibench.errors import UserError

    if out is not None and out.is_dir():
        raise UserError(f"--out {out} is a folder; name a file in it")
    for option, folder in (("--out", out.parent if out is not None else None), ("--figures", figures)):
        if folder is not None:
            stands = next((place for place in (folder, *folder.parents) if place.exists()), None)
            if stands is not None and not stands.is_dir():
                raise UserError(f"{option}: {stands} is a file, so it can't be a folder; name another place")


def _only_together(views: dict[str, bool], options: dict[str, tuple[bool, tuple[str, ...]]]) -> None:
    """Refuses options that another view of the records would ignore: each belongs to these views."""
    from unibench.errors import UserError

    asked = [view for view, given in views.items() if given]
    if len(asked) > 1:
        raise UserError(f"{' and '.join(asked)} are two views of the records; ask for one at a time")
    current = set(asked) or {"the leaderboard"}
    for option, (given, of) in options.items():
        if given and not current & set(of):
            words = " or ".join(sorted(of, key=lambda view: not view.startswith("--")))
            raise UserError(f"{option} belongs to {words}; leave it out{'' if asked else f', or add {words}'}")
