"""Heat map: one model against the baseline, tasks down, languages across; colour and number say by how much.

Many languages stand in bands one below the other, so that a cell stays wide enough to be read on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from unibench.comparisons import Comparisons
from unibench.errors import UnknownName
from unibench.plots import words
from unibench.plots.grid import (
    NOT_MEASURED,
    OUT_OF_RI,
    UNDEFINED,
    Column,
    Grid,
    Groups,
    Key,
    Measure,
    lay_out,
    tasks_of,
)
from unibench.plots.style import MARGIN, SMALL, TEXT, WIDTH, Mode, Sheet, drawing, nothing, open_sheet, tip

TITLES: dict[Measure, str] = {"relative_improvement": "relative improvement, %", "delta": "difference, points"}
ROW = 0.23  # inches
NARROWEST, WIDEST = 0.205, 0.52  # cell
NAMES_IN = 1.7  # most that a task's name takes
GAP = 0.07  # between groups
MEAN = "mean"
STRONGEST = 0.75  # opacity: ink keeps a contrast of 4.5 on it, on white and on black
HATCHES = {NOT_MEASURED: "////", OUT_OF_RI: "----", UNDEFINED: "xxxx"}


def heat_map(
    found: Comparisons, *, model: str, groups: Groups | None = None, measure: Measure = "relative_improvement",
    alpha: float = 0.05, limit: float | None = None, theme: Mode = "light",
) -> Any:  # fmt: skip
    """Returns the figure: a cell a task and language, and each task's mean over languages first.

    `groups` puts languages in order under headings; what none of them names comes last. A dot marks p_adjusted <=
    `alpha`. Colours reach from -limit to +limit, in percent or points; None takes the largest value, or where a few
    values dwarf the rest 1.5 times the 95th percentile, and says so. Raises UnknownName for a model that isn't there.
    """
    known = {row.model for row in found.rows}
    if model not in known:
        raise UnknownName("model", model, known, "the comparisons")
    baseline = next((row.baseline for row in found.rows if row.baseline is not None), None)
    with drawing():
        title = f"{model} against {baseline}: {TITLES[measure]}"
        if baseline is None:
            return nothing(model, "there is no baseline", theme)
        if model == baseline:
            return nothing(title, f"{model} is the baseline itself", theme)
        widest = math.floor((WIDTH - MARGIN - _left(tasks_of(found)) - 4 * GAP) / NARROWEST)
        grid = lay_out(found, model=model, groups=groups or {}, measure=measure, limit=limit, widest=widest)
        return _draw(grid, title, measure, alpha, theme)


def _left(tasks: Sequence[str]) -> float:
    """Returns where the cells start, right of the tasks' names."""
    return MARGIN + min(words.widest_in(list(tasks), TEXT), NAMES_IN) + 0.1


def _draw(grid: Grid, title: str, measure: Measure, alpha: float, mode: Mode) -> Any:
    left = _left([task for tasks in grid.tasks for task in tasks])
    room = WIDTH - MARGIN - left
    breaks = [len({group for group, _ in band}) - 1 for band in grid.bands]
    cell = min(WIDEST, *((room - GAP * n) / len(band) for n, band in zip(breaks, grid.bands, strict=True)))
    heads = [_heads(band, cell) for band in grid.bands]
    heights = [sum(head) + ROW * len(tasks) + 0.16 for head, tasks in zip(heads, grid.tasks, strict=True)]
    notes = []
    if len({tuple(tasks) for tasks in grid.tasks}) > 1:
        notes.append("A task without any of a band's languages has no row there.")
    if any(abs(value) > grid.limit for value in grid.values.values()):
        notes.append(f"Beyond ±{words.plain(grid.limit)} the colour stays the same.")
    seen = [reason for reason in HATCHES if grid.seen(reason)]
    sheet = open_sheet(title, notes, sum(heights) + (0.5 if grid.values else 0) + 0.26 * len(seen), mode)
    style = _numbers(grid, cell)
    top = sheet.top
    for band, tasks, head, height in zip(grid.bands, grid.tasks, heads, heights, strict=True):
        _band(sheet, grid, band, tasks, left=left, top=top, cell=cell, head=head, style=style, alpha=alpha)
        top += height
    _legend(sheet, grid.limit, seen, top, alpha, measure, values=bool(grid.values), stroke=style is None)
    return sheet.figure


def _runs(band: Sequence[Column]) -> list[tuple[str, int, int]]:
    """Returns (group, first column, how many) of each group in a band."""
    runs: list[tuple[str, int, int]] = []
    for number, (group, _) in enumerate(band):
        if runs and runs[-1][0] == group:
            runs[-1] = (group, runs[-1][1], runs[-1][2] + 1)
        else:
            runs.append((group, number, 1))
    return runs


def _upright(name: str, columns: int, cell: float) -> bool:
    """Whether a group's name has to stand upright, being wider than its columns."""
    return words.width_in(name, SMALL) > columns * cell - 0.02


def _heads(band: Sequence[Column], cell: float) -> tuple[float, float]:
    """Returns how high the names of groups and the codes of languages are."""
    groups = [
        words.width_in(words.fitted(name, SMALL, 1.2), SMALL) + 0.1 if _upright(name, many, cell) else 0.18
        for name, _, many in _runs(band)
        if name
    ]
    codes = [code or MEAN for _, code in band]
    widest = words.widest_in(codes, SMALL)
    return max(groups, default=0.0), 0.18 if widest <= cell - 0.03 else min(widest, 1.2) + 0.1


def _numbers(grid: Grid, cell: float) -> tuple[int, float] | None:
    """Returns (decimals, size) with which every number fits its cell; None where none does."""
    for decimals, size in ((1, 8.0), (1, 7.0), (0, 7.5), (0, 6.5), (0, 5.5)):
        if words.widest_in([words.signed(value, decimals) for value in grid.values.values()], size) <= cell - 0.03:
            return decimals, size
    return None


def _band(
    sheet: Sheet, grid: Grid, band: Sequence[Column], tasks: Sequence[str], *, left: float, top: float, cell: float,
    head: tuple[float, float], style: tuple[int, float] | None, alpha: float,
) -> None:  # fmt: skip
    theme = sheet.theme
    place: list[float] = []
    body = top + sum(head)
    for number, (name, first, many) in enumerate(_runs(band)):
        start = left + first * cell + number * GAP
        place += [start + i * cell for i in range(many)]
        if not name:
            continue
        sheet.line([start + 0.02, start + many * cell - 0.02], [top + head[0]] * 2, color=theme.muted, linewidth=0.8)
        middle = start + many * cell / 2
        if _upright(name, many, cell):
            short = words.fitted(name, SMALL, 1.2)
            sheet.write(middle, top + head[0] - 0.05, short, size=SMALL, colour=theme.muted, rotation=90, va="center")
        else:
            sheet.write(middle, top + head[0] - 0.09, name, size=SMALL, colour=theme.muted, ha="center")
    for x, (_, code) in zip(place, band, strict=True):
        weight: words.Weight = "bold" if code is None else "normal"
        if head[1] > 0.18:
            short = words.fitted(code or MEAN, SMALL, 1.2)
            sheet.write(x + cell / 2, body - 0.05, short, size=SMALL, rotation=90, va="center", weight=weight)
        else:
            sheet.write(x + cell / 2, body - 0.09, code or MEAN, size=SMALL, ha="center", weight=weight)
    for row, task in enumerate(tasks):
        y = body + row * ROW
        sheet.write(left - 0.08, y + ROW / 2, words.fitted(task, TEXT, NAMES_IN), ha="right")
        for x, (_, code) in zip(place, band, strict=True):
            _cell(sheet, grid, (task, code), x, y, cell, style, alpha)


def _cell(
    sheet: Sheet, grid: Grid, key: Key, x: float, y: float, cell: float,
    style: tuple[int, float] | None, alpha: float,
) -> None:  # fmt: skip
    value = grid.values.get(key, math.nan)
    name = f"{key[0]}, {key[1] or 'mean over languages'}"
    if math.isnan(value):
        patch = _hatched(sheet, grid.reasons[key], x, y, cell)
        tip(patch, f"{name}: {grid.reasons[key]}")
        return
    row = grid.rows[key]
    patch = _coloured(sheet, value, grid.limit, x, y, cell)
    tip(patch, f"{name}: {words.signed(value, 1)}, p adjusted {words.p_value(row.p_adjusted)}, n {row.n}")
    if style is not None:
        decimals, size = style
        sheet.write(x + cell / 2, y + ROW / 2 + 0.01, words.signed(value, decimals), size=size, ha="center")
    elif value < 0:
        sheet.line([x + cell * 0.3, x + cell * 0.7], [y + ROW * 0.66] * 2, linewidth=1)
    if row.p_adjusted <= alpha:
        _dot(sheet, x + cell - 0.035, y + 0.04)


def _dot(sheet: Sheet, x: float, y: float) -> None:
    sheet.canvas.plot(
        [x], [y], marker="o", markersize=2.6, color=sheet.theme.ink, linestyle="", zorder=7, clip_on=False, label="dot"
    )


def _coloured(sheet: Sheet, value: float, limit: float, x: float, y: float, width: float, *, edged: bool = True) -> Any:
    """Returns a cell whose opacity grows with the value: around zero the ground, light or dark, shows through."""
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle

    theme = sheet.theme
    colour = to_rgba(theme.gain if value > 0 else theme.loss, STRONGEST * min(1.0, abs(value) / limit))
    edge = to_rgba(theme.faint) if edged else "none"
    patch = Rectangle(
        (x + 0.01, y + 0.01), width - 0.02, ROW - 0.02, facecolor=colour, edgecolor=edge, linewidth=0.5, clip_on=False
    )
    return sheet.canvas.add_patch(patch)


def _hatched(sheet: Sheet, reason: str, x: float, y: float, width: float) -> Any:
    from matplotlib.patches import Rectangle

    faint = sheet.theme.faint
    patch = Rectangle((x + 0.01, y + 0.01), width - 0.02, ROW - 0.02, facecolor="none", edgecolor=faint, linewidth=0.5,
                      hatch=HATCHES[reason], clip_on=False)  # fmt: skip
    return sheet.canvas.add_patch(patch)


def _legend(
    sheet: Sheet, limit: float, reasons: Sequence[str], top: float, alpha: float, measure: Measure, *, values: bool,
    stroke: bool,
) -> None:  # fmt: skip
    theme, steps, width, start = sheet.theme, 21, 2.1, MARGIN + 0.3
    for number, reason in enumerate(reasons):
        y = top + (0.5 if values else 0.0) + 0.26 * number
        _hatched(sheet, reason, start, y, 0.3)
        sheet.write(start + 0.42, y + ROW / 2, reason, size=SMALL, colour=theme.muted)
    if not values:
        return
    for step in range(steps):
        value = limit * (2 * step / (steps - 1) - 1)
        _coloured(sheet, value, limit, start + step * width / steps, top + 0.02, width / steps + 0.02, edged=False)
    unit = " %" if measure == "relative_improvement" else ""
    for value in (-limit, 0.0, limit):
        x = start + width * (0.5 / steps + (value / limit + 1) / 2 * (steps - 1) / steps)
        text = ("±0" if value == 0 else f"{'+' if value > 0 else ''}{words.plain(value)}") + unit
        sheet.write(x, top + 0.34, text, size=SMALL, colour=theme.muted, ha="center")
    x = start + width + 0.4
    _dot(sheet, x + 0.05, top + 0.13)
    sheet.write(x + 0.18, top + 0.13, f"p adjusted ≤ {alpha:g}", size=SMALL, colour=theme.muted)
    if stroke:
        sheet.line([x, x + 0.1], [top + 0.34] * 2, linewidth=1)
        sheet.write(x + 0.18, top + 0.34, "worse than the baseline", size=SMALL, colour=theme.muted)
