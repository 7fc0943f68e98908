"""Readability against transfer: does an encoder that hides the language carry over better? One point a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unibench.plots import words
from unibench.plots.placing import Box, label, on_canvas
from unibench.plots.style import MARGIN, SMALL, WIDTH, Mode, Sheet, drawing, nothing, number_axis, open_sheet, tip

PANEL = 3.1  # inches
LEFT = 0.62


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A model's probe accuracy and mean zero-shot score (0..1), with intervals (nan: none)."""

    model: str
    probe: float
    transfer: float
    probe_low: float = math.nan
    probe_high: float = math.nan
    transfer_low: float = math.nan
    transfer_high: float = math.nan
    untrained: bool = False


def readability(
    readings: Sequence[Reading], *, chance: float = math.nan, theme: Mode = "light",
    title: str = "Readability of the language against zero-shot transfer",
) -> Any:  # fmt: skip
    """Returns the figure; `chance` is what a probe that learnt nothing scores, marked by a line.

    Untrained encoders are hollow squares. Whoever lacks one of the two numbers is named in a note.
    """
    known = [r for r in readings if not (math.isnan(r.probe) or math.isnan(r.transfer))]
    missing = [r.model for r in readings if r not in known]
    notes = ["Bars: 95 % intervals. A few models side by side show no cause: they differ in more than this."]
    if any(reading.untrained for reading in known):
        notes.append("Hollow square: an encoder nobody trained.")
    if missing:
        notes.append(f"Without a probe or a transfer score: {', '.join(missing)}.")
    with drawing():
        if not known:
            return nothing(title, "no model has both a probe and a zero-shot score", theme)
        sheet = open_sheet(title, notes, PANEL + 0.72, theme)
        _panel(sheet, known, chance)
        return sheet.figure


def _panel(sheet: Sheet, readings: Sequence[Reading], chance: float) -> None:
    theme, top = sheet.theme, sheet.top + 0.22
    axes = sheet.panel(LEFT, top, WIDTH - MARGIN - LEFT - 0.15, PANEL)
    axes.set_xlim(*_span([v for r in readings for v in (r.probe_low, r.probe, r.probe_high)] + [chance]))
    axes.set_ylim(*_span([v for r in readings for v in (r.transfer_low, r.transfer, r.transfer_high)]))
    number_axis(axes.xaxis)
    number_axis(axes.yaxis)
    axes.grid(color=theme.faint, linewidth=0.6)
    axes.tick_params(axis="y", length=0)
    sheet.write(LEFT - 0.42, top - 0.12, "mean zero-shot score, points", size=SMALL, colour=theme.muted)
    name = "accuracy of a probe for the language, %"
    sheet.write(WIDTH / 2 + 0.2, top + PANEL + 0.36, name, size=SMALL, colour=theme.muted, ha="center")
    obstacles = []
    if not math.isnan(chance):
        axes.axvline(100 * chance, color=theme.ink, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1, label="chance")
        x, _ = on_canvas(axes, sheet, 100 * chance, axes.get_ylim()[0])
        text, wide = f"chance {100 * chance:.1f} %", words.width_in(f"chance {100 * chance:.1f} %", SMALL)
        right = x + wide + 0.06 < WIDTH - MARGIN
        start = x + 0.05 if right else x - 0.05 - wide
        sheet.write(start if right else start + wide, top + PANEL - 0.1, text, size=SMALL, colour=theme.muted,
                    ha="left" if right else "right")  # fmt: skip
        obstacles.append(Box(left=start, right=start + wide, top=top + PANEL - 0.18, bottom=top + PANEL))
        obstacles.append(Box(left=x - 0.01, right=x + 0.01, top=top, bottom=top + PANEL))
    for reading in readings:
        obstacles += _mark(sheet, axes, reading)
    label(axes, sheet, [(100 * r.probe, 100 * r.transfer, r.model) for r in readings], obstacles)


def _span(values: Sequence[float]) -> tuple[float, float]:
    ends = [100 * value for value in values if not math.isnan(value)]
    pad = 0.08 * (max(ends) - min(ends)) or 1.0
    return min(ends) - pad, max(ends) + pad


def _mark(sheet: Sheet, axes: Any, reading: Reading) -> list[Box]:
    """Draws a model and returns where its intervals lie."""
    theme = sheet.theme
    colour = theme.muted if reading.untrained else theme.gain
    x, y = 100 * reading.probe, 100 * reading.transfer
    boxes = []
    for low, high, across in (
        (reading.probe_low, reading.probe_high, True),
        (reading.transfer_low, reading.transfer_high, False),
    ):
        if not math.isnan(low):
            start, end = ((100 * low, y), (100 * high, y)) if across else ((x, 100 * high), (x, 100 * low))
            axes.plot([start[0], end[0]], [start[1], end[1]], color=colour, linewidth=1.2, zorder=2, label="interval")
            (left, upper), (right, lower) = on_canvas(axes, sheet, *start), on_canvas(axes, sheet, *end)
            boxes.append(Box(left=left - 0.01, right=right + 0.01, top=upper - 0.01, bottom=lower + 0.01))
    (mark,) = axes.plot(
        [x], [y], marker="s" if reading.untrained else "o", markersize=6, linestyle="", color=colour,
        markeredgewidth=1.3, markerfacecolor=theme.ground if reading.untrained else colour, zorder=4, clip_on=False,
        label="mark",
    )  # fmt: skip
    tip(mark, f"{reading.model}: probe {x:.1f} %, transfer {y:.1f}")
    return boxes
