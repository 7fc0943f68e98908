"""Forest plot: an effect a row with its 95 % interval, the zero line, and at the right the number, its p and its n."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unibench.comparisons import Comparison, Comparisons
from unibench.errors import UnknownName
from unibench.plots import words
from unibench.plots.grid import Measure
from unibench.plots.style import MARGIN, SMALL, TEXT, WIDTH, Mode, Sheet, drawing, nothing, number_axis, open_sheet, tip

ROW = 0.21  # inches
MOST_ROWS = 90  # with more, languages are left to the heat map
NAMES: dict[Measure, str] = {"relative_improvement": "relative improvement", "delta": "difference"}
UNITS: dict[Measure, str] = {"relative_improvement": "%", "delta": "points"}
BOUNDS: dict[Measure, tuple[str, str]] = {"relative_improvement": ("ri_low", "ri_high"), "delta": ("ci_low", "ci_high")}
INDENT = 0.14
COLUMNS = {"value": 0.62, "p": 0.55, "n": 0.6}  # inches


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    label: str
    mean: bool  # over languages, or overall
    value: float  # x 100
    low: float
    high: float
    comparison: Comparison


def forest(
    found: Comparisons, *, model: str | None = None, measure: Measure = "relative_improvement", alpha: float = 0.05,
    theme: Mode = "light",
) -> Any:  # fmt: skip
    """Returns the figure: a row a model (overall, best first), or for one `model` a row a task and a language.

    Filled marks have p_adjusted <= `alpha`. Languages are left out where more than MOST_ROWS rows would be drawn. What
    can't be known keeps its row, with a dash. Raises UnknownName for a model that isn't there.
    """
    known = {row.model for row in found.rows}
    if model is not None and model not in known:
        raise UnknownName("model", model, known, "the comparisons")
    baseline = next((row.baseline for row in found.rows if row.baseline is not None), None)
    what = f"{NAMES[measure]} against {baseline}, {UNITS[measure]}"
    with drawing():
        if baseline is None or model == baseline or known <= {baseline}:
            why = (
                "there is no baseline"
                if baseline is None
                else f"no other model than the baseline {baseline} is asked for"
            )
            return nothing("Forest plot", why, theme)
        notes = [f"Bars: 95 % intervals. Filled: p adjusted ≤ {alpha:g}."]
        if model is None:
            rows = [
                _row(row, row.model, True, measure) for row in found.rows if row.task is None and row.model != baseline
            ]
            rows.sort(key=lambda row: (math.isnan(row.value), -row.value, row.label))
            title = f"All tasks and languages: {what}"
        else:
            rows, left_out = _of_model(found, model, measure)
            title = f"{model}: {what}"
            notes += (
                [f"The rows of {left_out} cells (task and language) are left out: too many to be read."]
                if left_out
                else []
            )
        return _draw(rows, title, notes, measure, alpha, theme)


def _row(comparison: Comparison, label: str, mean: bool, measure: Measure) -> _Row:
    low, high = (100 * getattr(comparison, bound) for bound in BOUNDS[measure])
    value = 100 * getattr(comparison, measure)
    return _Row(label=label, mean=mean, value=value, low=low, high=high, comparison=comparison)


def _of_model(found: Comparisons, model: str, measure: Measure) -> tuple[list[_Row], int]:
    """Returns rows of every task, its mean before its languages, the overall mean last; and how many were left out."""
    mine = [row for row in found.rows if row.model == model]
    tasks = list(dict.fromkeys(row.task for row in mine if row.task is not None))
    cells = [row for row in mine if row.language is not None]
    short = len(mine) > MOST_ROWS
    rows = []
    for task in tasks:
        of = [row for row in mine if row.task == task]
        rows += [_row(row, str(task), True, measure) for row in of if row.language is None]
        rows += [_row(row, str(row.language), False, measure) for row in of if row.language is not None and not short]
    rows += [_row(row, "all tasks", True, measure) for row in mine if row.task is None]
    return rows, len(cells) if short else 0


def _draw(rows: Sequence[_Row], title: str, notes: list[str], measure: Measure, alpha: float, mode: Mode) -> Any:
    low, high = _span(rows)
    if any(row.low < low or row.high > high for row in rows):
        notes = [*notes, "Arrows: the interval goes on."]
    sheet = open_sheet(title, notes, 0.22 + ROW * len(rows) + 0.34, mode)
    theme = sheet.theme
    mixed = len({row.mean for row in rows}) > 1
    names = min(1.9, max(words.width_in(row.label, TEXT, "bold") + (0 if row.mean else INDENT) for row in rows))
    left = MARGIN + names + 0.12
    right = WIDTH - MARGIN - sum(COLUMNS.values())
    axes = sheet.panel(left, sheet.top + 0.22, right - left, ROW * len(rows))
    axes.set_xlim(low, high)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([])
    number_axis(axes.xaxis)
    axes.grid(axis="x", color=theme.faint, linewidth=0.6)
    axes.axvline(0, color=theme.ink, linewidth=0.9, zorder=1.5)
    sheet.write(left - 0.12, sheet.bottom - 0.2, UNITS[measure], size=SMALL, colour=theme.muted, ha="right")
    ends, x = {}, right
    for name, width in COLUMNS.items():
        x += width
        ends[name] = x
    headings = {"value": "RI %" if measure == "relative_improvement" else "Δ", "p": "p adj.", "n": "n"}
    for name, heading in headings.items():
        sheet.write(ends[name], sheet.top + 0.1, heading, size=SMALL, colour=theme.muted, ha="right")
    for number, row in enumerate(rows):
        y = sheet.top + 0.22 + ROW * (number + 0.5)
        weight: words.Weight = "bold" if row.mean and mixed else "normal"
        indent = INDENT if mixed and not row.mean else 0.0
        sheet.write(MARGIN + indent, y, words.fitted(row.label, TEXT, names - indent, weight), weight=weight)
        known = not math.isnan(row.value)
        texts = {
            "value": words.signed(row.value, 1) if known else "–",
            "p": words.p_value(row.comparison.p_adjusted),
            "n": f"{row.comparison.n:,}",
        }
        for name, text in texts.items():
            sheet.write(ends[name], y, text, size=SMALL, ha="right", weight=weight)
        if known:
            _mark(axes, row, number, (low, high), alpha, sheet)
    return sheet.figure


def _span(rows: Sequence[_Row]) -> tuple[float, float]:
    """Returns where the axis starts and ends: at the intervals, but those that would squeeze all others are cut."""
    points = [abs(row.value) for row in rows if not math.isnan(row.value)]
    ends = [end for row in rows for end in (row.low, row.high) if not math.isnan(end)]
    most = 3 * max([*points, 1.0])
    low, high = max(-most, min([0.0, *ends])), min(most, max([0.0, *ends]))
    values = [row.value for row in rows if not math.isnan(row.value)]
    low, high = min([low, *values]), max([high, *values])
    pad = 0.04 * (high - low) or 1.0
    return low - pad, high + pad


def _mark(axes: Any, row: _Row, y: int, span: tuple[float, float], alpha: float, sheet: Sheet) -> None:
    theme = sheet.theme
    colour = theme.gain if row.value >= 0 else theme.loss
    if not math.isnan(row.low):
        ends = [max(row.low, span[0]), min(row.high, span[1])]
        axes.plot(ends, [y, y], color=colour, linewidth=1.8 if row.mean else 1.3, zorder=2, label="interval")
        for end, beyond, marker in ((span[0], row.low < span[0], "<"), (span[1], row.high > span[1], ">")):
            if beyond:
                axes.plot(
                    [end], [y], marker=marker, color=colour, markersize=4.5, clip_on=False, zorder=3, label="arrow"
                )
    filled = row.comparison.p_adjusted <= alpha
    (mark,) = axes.plot(
        [row.value], [y], marker="D" if row.mean else "o", markersize=6 if row.mean else 5, linestyle="", color=colour,
        markerfacecolor=colour if filled else sheet.theme.ground, markeredgewidth=1.3, zorder=4, clip_on=False,
        label="mark",
    )  # fmt: skip
    interval = "" if math.isnan(row.low) else f" [{words.signed(row.low, 1)}, {words.signed(row.high, 1)}]"
    tip(
        mark,
        f"{row.label}: {words.signed(row.value, 1)}{interval}, p adjusted {words.p_value(row.comparison.p_adjusted)}",
    )
