"""A board -> its figures: which there are, what they are called, and what is to be seen in each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unibench import efficiency, plots, readability, transfer
from unibench.board import Board
from unibench.page import languages
from unibench.plots import Mode
from unibench.report import Shown
from unibench.store import slug

MOST = 4  # models that have a heat map and a forest plot of their own; the others are in the tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A matplotlib figure, what a file of it is called, and the words beside it."""

    name: str
    title: str
    caption: str
    figure: Any
    subject: str = ""  # what figures of one model have in common, and their titles start with


def figures(board: Board, shown: Shown, *, theme: Mode = "light") -> Iterator[Drawn]:
    """Yields the figures that this board has something for, in the order in which a reader looks."""
    found, alpha = board.comparisons, board.family.alpha
    overall = [
        row for row in found.rows if row.task is None and row.model != row.baseline and not math.isnan(row.delta)
    ]
    wanted = shown.models_of(board)
    best = sorted((row for row in overall if row.model in wanted), key=lambda row: (-row.delta, row.model))[:MOST]
    against = f"against {board.baseline}"
    if best:
        yield Drawn(
            name="forest", title=f"Every model {against}",
            figure=plots.forest(found, measure="delta", alpha=alpha, theme=theme),
            caption="Differences in points, mean over languages, then tasks.",
        )  # fmt: skip
    for row in best:
        # where the baseline is near its floor everywhere, there is no relative improvement to show
        often = 2 * row.ri_cells >= row.cells
        measure: plots.Measure = "relative_improvement" if often else "delta"
        of = "Relative improvement in %" if often else "Difference in points"
        subject = f"{row.model} {against}"
        yield Drawn(
            name=f"heat-{row.model}", subject=subject, title=f"{subject}, by task and language",
            figure=plots.heat_map(
                found, model=row.model, groups=_scripts(board), measure=measure, alpha=alpha, theme=theme
            ),
            caption=f"{of} in each task and language, and each task's mean.",
        )  # fmt: skip
        yield Drawn(
            name=f"forest-{row.model}", subject=subject, title=f"{subject}, cell by cell",
            figure=plots.forest(found, model=row.model, measure="delta", alpha=alpha, theme=theme),
            caption="Differences in points, in each task and language.",
        )  # fmt: skip
    friedman = board.evidence.friedman
    if friedman is not None and not friedman.reason:
        yield Drawn(
            name="critical-difference", title="Critical difference",
            figure=plots.critical_difference(friedman, theme=theme),
            caption=f"Mean ranks over {friedman.blocks} cells, 1 is best (Friedman, Nemenyi; Demšar 2006).",
        )  # fmt: skip
    points = efficiency.points(board.ok, found, shown.speeds)
    if points:
        yield Drawn(
            name="pareto", title="Score against size and speed", figure=plots.pareto(points, theme=theme),
            caption="Mean score against the number of parameters, and against examples per second.",
        )  # fmt: skip
    gaps = transfer.gaps(board.ok, found)
    if gaps:
        yield Drawn(
            name="transfer", title="Transfer gaps", figure=plots.transfer_gap(gaps, theme=theme),
            caption="The language trained on against the rest; zero-shot against choosing by the target's own dev set.",
        )  # fmt: skip
    readings, chance = readability.readings(board.ok, found, shown.probes)
    if readings:
        yield Drawn(
            name="readability", title="Is a readable language in the way of transfer?",
            figure=plots.readability(readings, chance=chance, theme=theme),
            caption="How well a fresh probe reads the language, against the mean zero-shot score.",
        )  # fmt: skip


def save(
    board: Board, shown: Shown, folder: Path, stem: str, *, formats: tuple[str, ...] = ("svg", "png")
) -> list[Path]:
    """Writes every figure as FOLDER/STEM-NAME.FORMAT and returns the paths; raises UserError for another format.

    A name is made safe as that of a record is: models are called as their makers like, OWNER/NAME or worse.
    """
    paths = []
    for drawn in figures(board, shown):
        for ending in formats:
            path = folder / f"{slug(f'{stem}-{drawn.name}')}.{ending}"
            plots.save(drawn.figure, path, title=drawn.title, description=drawn.caption)
            paths.append(path)
    return paths


def _scripts(board: Board) -> dict[str, list[str]]:
    """Returns the board's languages by the script they are written in."""
    out: dict[str, list[str]] = {}
    for language in sorted({record.language for record in board.ok}):
        out.setdefault(languages.script_name(languages.scripts(language)[0]), []).append(language)
    return dict(sorted(out.items(), key=lambda item: (-len(item[1]), item[0])))
