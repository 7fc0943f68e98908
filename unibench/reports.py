"""`unibench report`: tables from records alone. Parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unibench.options import Results, TasksDir, console, deliver, known_format, names

EXAMPLES = """Example: unibench report --significance --baseline mlm-xxsmall --format markdown --out board.md

Example: unibench report --reference --tasks xnli   (beside published scores)

Example: unibench report --against monolingual --significance   (protocols, model by model)"""


def report(
    significance: Annotated[
        bool, typer.Option("--significance", help="Show p-values, corrected over the whole family.")
    ] = False,
    baseline: Annotated[str | None, typer.Option(help="The model the others are compared with.")] = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="Beside the scores that the task cards cite as published.")
    ] = False,
    tolerance: Annotated[
        float | None, typer.Option(min=0, help="Points within which --reference agrees; 2 by default.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="Compare protocols with this one, model by model: zero-shot, monolingual, … [+adversarial]."),
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="Of the protocols compared by --against, show this one; no number changes.")
    ] = None,
    tasks: Annotated[str, typer.Option(help="Show only these; no number changes.")] = "all",
    tasks_dir: TasksDir = None,
    format: Annotated[str, typer.Option(help="terminal, markdown, csv or json.")] = "terminal",
    out: Annotated[Path | None, typer.Option(help="File to write; the terminal if left out.")] = None,
    results: Results = Path("results"),
) -> None:
    """Print the leaderboard: scores, relative improvement, intervals and paired significance.

    With --reference our scores beside published ones; with --against the relative improvement between protocols.
    """
    from unibench import protocol_tables, protocols, store
    from unibench import report as leaderboards

    known_format(format, "unibench report")
    _only_together(
        {"--reference": reference, "--against": against is not None},
        {
            "--baseline": (baseline is not None, ()),
            "--significance": (significance, ("--against",)),
            "--tolerance": (tolerance is not None, ("--reference",)),
            "--protocol": (protocol is not None, ("--against",)),
        },
    )
    chosen = names(tasks)
    records = store.load(results)
    if reference:
        from unibench import picking
        from unibench import reference as references
        from unibench.catalogue import CATALOGUE

        picked = picking.pick_tasks(chosen, tasks_dir)
        if chosen == "all":
            picked = [card for card in picked if card.about.get("reference")]
        hubs = {name: entry.hub for name, entry in CATALOGUE.items()}
        points = references.TOLERANCE_POINTS if tolerance is None else tolerance
        tables = [references.beside(records, picked, hubs=hubs, tolerance_points=points)]
    elif against is not None:
        tables = protocols.axis(
            records,
            against=against,
            protocol=protocol,
            tasks=() if chosen == "all" else chosen,
            significance=significance,
        )
        if format == "terminal" and out is None:
            tables = [protocol_tables.for_terminal(table) for table in tables]
    else:
        tables = leaderboards.leaderboard(
            records, baseline=baseline, tasks=() if chosen == "all" else chosen, significance=significance
        )
    deliver(tables, format, out, console)


def _only_together(views: dict[str, bool], options: dict[str, tuple[bool, tuple[str, ...]]]) -> None:
    """Refuses options that another view of the records would ignore: each belongs to these views, () being neither."""
    from unibench.errors import UserError

    asked = [view for view, given in views.items() if given]
    if len(asked) > 1:
        raise UserError(f"{' and '.join(asked)} are two views of the records; ask for one at a time")
    for option, (given, of) in options.items():
        leaderboard = option in ("--baseline", "--significance")
        if given and not (set(asked) & set(of) or (leaderboard and not asked)):
            words = " or ".join([*of, *(["the leaderboard"] if leaderboard else [])])
            raise UserError(f"{option} belongs to {words}; leave it out{'' if asked else f', or add {words}'}")
