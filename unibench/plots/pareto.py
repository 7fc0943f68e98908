"""Score against cost: parameters above, speed below, and the front of models that no other beats on both counts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from unibench.plots import words
from unibench.plots.placing import Box, label, on_canvas
from unibench.plots.style import MARGIN, SMALL, WIDTH, Mode, Sheet, drawing, nothing, number_axis, open_sheet, tip

PANEL = 2.3  # inches
LEFT = 0.62


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A model's mean score (0..1) with its interval (nan: none), and what it costs; None where it wasn't measured."""

    model: str
    score: float
    low: float = math.nan
    high: float = math.nan
    parameters: int | None
    parameters_without_embeddings: int | None = None
    examples_per_s: float | None = None


def front(points: Sequence[tuple[float, float]], *, less_is_better: bool) -> list[int]:
    """Returns the indices of (cost, score) that no other beats or equals on both, cheapest first.

    Points that are the same on both are no obstacle to each other.
    """
    sign = 1 if less_is_better else -1
    best = -math.inf
    kept: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: (sign * points[i][0], -points[i][1], i)):
        if points[index][1] > best or (kept and points[index] == points[kept[-1]]):
            best = points[index][1]
            kept.append(index)
    return kept


def pareto(points: Sequence[Point], *, theme: Mode = "light", title: str = "Score against size and speed") -> Any:
    """Returns the figure: two panels, log axes; models on the front are filled, a step line joins them.

    A thin line reaches left from a model to its size without embeddings. Who lacks a score, a size or a speed is named
    in a note.
    """
    scored = [point for point in points if not math.isnan(point.score)]
    sized = [(float(point.parameters), point) for point in scored if point.parameters]
    timed = [(float(point.examples_per_s), point) for point in scored if point.examples_per_s]
    missing = {
        "score": [point.model for point in points if math.isnan(point.score)],
        "number of parameters": [point.model for point in scored if not point.parameters],
        "speed": [point.model for point in scored if not point.examples_per_s],
    }
    notes = ["Filled: on the front, no other is at once better and cheaper."]
    if not all(math.isnan(point.low) for point in scored):
        notes[0] += " Bars: 95 % intervals of the score."
    if any(point.parameters_without_embeddings for _, point in sized):
        notes.append("The thin line ends at the size without embeddings.")
    notes += [f"No {what} known: {', '.join(names)}." for what, names in missing.items() if names]
    panels = [(sized, True, "parameters (log scale)"), (timed, False, "examples per second (log scale)")]
    shown = [panel for panel in panels if panel[0]]
    with drawing():
        if not shown:
            return nothing(title, "no model has a score and a size or a speed", theme)
        sheet = open_sheet(title, notes, (PANEL + 0.75) * len(shown), theme)
        span = _span(scored)
        for number, (these, less, name) in enumerate(shown):
            _panel(sheet, these, less, name, span, sheet.top + 0.22 + number * (PANEL + 0.75))
        return sheet.figure


def _span(points: Sequence[Point]) -> tuple[float, float]:
    ends = [100 * end for point in points for end in (point.low, point.score, point.high) if not math.isnan(end)]
    pad = 0.08 * (max(ends) - min(ends)) or 1.0
    return min(ends) - pad, max(ends) + pad


def _panel(
    sheet: Sheet, points: Sequence[tuple[float, Point]], less_is_better: bool, name: str, span: tuple[float, float],
    top: float,
) -> None:  # fmt: skip
    theme = sheet.theme
    axes = sheet.panel(LEFT, top, WIDTH - MARGIN - LEFT - 0.15, PANEL)
    inner = [float(point.parameters_without_embeddings or cost) if less_is_better else cost for cost, point in points]
    costs = [*inner, *(cost for cost, _ in points)]
    wide = math.log(max(costs) / min(costs)) or 1.0
    axes.set_xscale("log")
    axes.set_xlim(min(costs) * math.exp(-0.1 * wide), max(costs) * math.exp(0.1 * wide))
    axes.set_ylim(*span)
    number_axis(axes.yaxis)
    _log_ticks(axes)
    axes.grid(color=theme.faint, linewidth=0.6, which="major")
    axes.tick_params(axis="y", length=0)
    sheet.write(LEFT - 0.42, top - 0.12, "score, points", size=SMALL, colour=theme.muted)
    sheet.write(WIDTH / 2 + 0.2, top + PANEL + 0.36, name, size=SMALL, colour=theme.muted, ha="center")
    kept = front([(cost, point.score) for cost, point in points], less_is_better=less_is_better)
    corners = _corners([(points[i][0], 100 * points[i][1].score) for i in kept], axes.get_xlim()[int(less_is_better)])
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    axes.plot(xs, ys, color=theme.muted, linewidth=1, linestyle=(0, (4, 2)), zorder=1, label="front")
    obstacles = [_line_box(axes, sheet, start, end) for start, end in itertools.pairwise(corners)]
    for index, ((cost, point), small) in enumerate(zip(points, inner, strict=True)):
        y = 100 * point.score
        if small < cost:
            axes.plot([small, cost], [y, y], color=theme.muted, linewidth=0.8, zorder=2, label="without embeddings")
            axes.plot([small], [y], marker="|", color=theme.muted, markersize=6, zorder=2)
            obstacles.append(_line_box(axes, sheet, (small, y), (cost, y)))
        if not math.isnan(point.low):
            axes.plot([cost, cost], [100 * point.low, 100 * point.high], color=theme.gain, linewidth=1.2, zorder=2)
            obstacles.append(_line_box(axes, sheet, (cost, 100 * point.high), (cost, 100 * point.low)))
        (mark,) = axes.plot(
            [cost], [y], marker="o", markersize=6, linestyle="", color=theme.gain, markeredgewidth=1.3, zorder=4,
            markerfacecolor=theme.gain if index in kept else theme.ground, clip_on=False, label="mark",
        )  # fmt: skip
        unit = "parameters" if less_is_better else "examples/s"
        tip(mark, f"{point.model}: {y:.1f}, {words.count(cost)} {unit}")
    label(axes, sheet, [(cost, 100 * point.score, point.model) for cost, point in points], obstacles)


def _line_box(axes: Any, sheet: Sheet, start: tuple[float, float], end: tuple[float, float]) -> Box:
    (a, b), (c, d) = on_canvas(axes, sheet, *start), on_canvas(axes, sheet, *end)
    return Box(left=min(a, c) - 0.02, right=max(a, c) + 0.02, top=min(b, d) - 0.02, bottom=max(b, d) + 0.02)


def _corners(kept: Sequence[tuple[float, float]], edge: float) -> list[tuple[float, float]]:
    """Returns the line of the best score that can be had at each cost: it holds as cost goes on, to the `edge`."""
    corners = [kept[0]]
    for cost, score in kept[1:]:
        corners += [(cost, corners[-1][1]), (cost, score)]
    return [*corners, (edge, corners[-1][1])]


def _log_ticks(axes: Any) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

    low, high = axes.get_xlim()
    choices: list[Callable[[int], list[float]]] = [
        lambda e: [10.0**e], lambda e: [10.0**e, 3 * 10.0**e], lambda e: [10.0**e, 2 * 10.0**e, 5 * 10.0**e],
        lambda e: [m * 10.0**e for m in (1, 1.5, 2, 3, 4, 5, 6, 7, 8)],
    ]  # fmt: skip
    ticks: list[float] = []
    for choice in choices:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [tick for power in powers for tick in choice(power) if low <= tick <= high]
        if len(ticks) >= 3:
            break
    else:
        ticks = [float(tick) for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.count(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
