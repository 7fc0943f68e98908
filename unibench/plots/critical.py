"""Critical-difference diagram (Demšar 2006, Figure 1): mean ranks on a line, bars join what cannot be told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

from unibench.plots import words
from unibench.plots.style import MARGIN, SMALL, WIDTH, Mode, Sheet, drawing, nothing, open_sheet, tip

ROW = 0.22  # inches
BAR = 0.13  # between bars
NAMES_IN = 1.4  # most that a name takes on either side
TITLE = "Mean ranks over {blocks} cells; 1 is best"
NOTE = "Bars join models whose mean ranks are not told apart."


class Ranked(Protocol):
    """What stats.friedman gives: mean ranks (1 best) over `blocks` cells, and cliques of names not told apart.

    `note` is what a reader must be told; `reason` says why numbers are withheld, where they are.
    """

    @property
    def names(self) -> Sequence[str]: ...
    @property
    def mean_ranks(self) -> Sequence[float]: ...
    @property
    def critical_difference(self) -> float: ...
    @property
    def cliques(self) -> Sequence[Sequence[str]]: ...
    @property
    def blocks(self) -> int: ...
    @property
    def note(self) -> str: ...
    @property
    def reason(self) -> str: ...


def critical_difference(ranked: Ranked, *, theme: Mode = "light", title: str = TITLE) -> Any:
    """Returns the figure: the better half of the models left, the others right, the critical difference above.

    `title` may hold {blocks}. Where ranks are withheld the figure says why.
    """
    title = title.replace("{blocks}", str(ranked.blocks))
    with drawing():
        models = sorted(
            (float(r), n) for n, r in zip(ranked.names, ranked.mean_ranks, strict=True) if not math.isnan(r)
        )
        if len(models) < 2:
            return nothing(title, (ranked.reason or "ranks need two models or more").rstrip("."), theme)
        rank = {name: value for value, name in models}
        groups = [sorted(rank[name] for name in clique if name in rank) for clique in ranked.cliques]
        bars = _levels([(group[0], group[-1]) for group in groups if len(group) > 1])
        notes = [f"{NOTE} {ranked.note}" if bars else ranked.note]
        above = 0.3 if math.isnan(ranked.critical_difference) else 0.62
        below = 0.12 + BAR * (max((level for _, _, level in bars), default=-1) + 1)
        sheet = open_sheet(title, notes, above + below + ROW * math.ceil(len(models) / 2) + 0.1, theme)
        _draw(sheet, models, bars, ranked.critical_difference, sheet.top + above, below)
        return sheet.figure


def _levels(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float, int]]:
    """Returns each bar with the first level on which it touches no other."""
    placed: list[tuple[float, float, int]] = []
    clear = 0.06 * max((high for _, high in spans), default=0)  # bars are drawn a little longer than they are
    for low, high in sorted(spans):
        level = 0
        while any(at == level and low <= b + clear and a <= high + clear for a, b, at in placed):
            level += 1
        placed.append((low, high, level))
    return placed


def _draw(
    sheet: Sheet, models: Sequence[tuple[float, str]], bars: Sequence[tuple[float, float, int]], cd: float,
    axis: float, below: float,
) -> None:  # fmt: skip
    theme, k = sheet.theme, len(models)
    texts = [name for _, name in models]
    half = math.ceil(k / 2)
    numbers = words.width_in("00.00", SMALL) + 0.08
    left = MARGIN + min(NAMES_IN, words.widest_in(texts[:half], SMALL)) + numbers + 0.1
    right = WIDTH - MARGIN - min(NAMES_IN, words.widest_in(texts[half:], SMALL)) - numbers - 0.1

    def x(rank: float) -> float:
        return left + (rank - 1) / (k - 1) * (right - left)

    sheet.line([left, right], [axis, axis], linewidth=1.1, label="axis")
    step = max(1, math.ceil(0.2 * (k - 1) / (right - left)))
    for tick in range(1, k + 1):
        sheet.line([x(tick)] * 2, [axis - 0.06, axis], linewidth=0.9)
        if (tick - 1) % step == 0:
            sheet.write(x(tick), axis - 0.14, str(tick), size=SMALL, colour=theme.muted, ha="center")
    if not math.isnan(cd):
        _bracket(sheet, left, x(1 + cd), right, axis - 0.38, cd)
    for low, high, level in bars:
        y = axis + 0.1 + BAR * level
        sheet.line([x(low) - 0.04, x(high) + 0.04], [y, y], linewidth=3.2, label="clique")
    for number, (rank, name) in enumerate(models):
        first = number < half
        row = number if first else k - 1 - number  # the outer ranks lowest would cross lines
        y = axis + below + ROW * (row + 0.5)
        edge = left - 0.06 if first else right + 0.06
        mark = sheet.line([x(rank), x(rank), edge], [axis, y, y], color=theme.muted, linewidth=0.9, label="model")
        mark.set_solid_joinstyle("miter")
        tip(mark, f"{name}: mean rank {rank:.2f}")
        end = edge - numbers if first else edge + numbers
        short = words.fitted(name, SMALL, NAMES_IN)
        sheet.write(edge - 0.04 if first else edge + 0.04, y, f"{rank:.2f}", size=SMALL, colour=theme.muted,
                    ha="right" if first else "left")  # fmt: skip
        sheet.write(end, y, short, size=SMALL, ha="right" if first else "left")


def _bracket(sheet: Sheet, start: float, end: float, right: float, y: float, cd: float) -> None:
    """Draws the critical difference as a length from rank 1, or as far as the axis goes with an arrow."""
    fits = end <= right + 1e-9
    stop = min(end, right)
    sheet.line([start, stop], [y, y], linewidth=1.3, label="critical difference")
    sheet.line([start, start], [y - 0.05, y + 0.05], linewidth=1.3)
    if fits:
        sheet.line([stop, stop], [y - 0.05, y + 0.05], linewidth=1.3)
    else:
        sheet.line([stop], [y], marker=">", markersize=5, linestyle="", label="arrow")
    text = f"critical difference {cd:.2f}" + ("" if fits else ", more than all ranks span")
    middle, half = (start + stop) / 2, words.width_in(text, SMALL) / 2
    middle = min(max(middle, MARGIN + half), WIDTH - MARGIN - half)
    sheet.write(middle, y - 0.12, text, size=SMALL, ha="center")
