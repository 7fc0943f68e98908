"""Transfer gaps as dumbbells: the language trained on against the rest, and zero-shot against the oracle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unibench.plots import words
from unibench.plots.style import MARGIN, SMALL, TEXT, WIDTH, Mode, Sheet, drawing, nothing, number_axis, open_sheet, tip

ROW, HEAD = 0.2, 0.27  # inches of a model, of a task's name
NUMBER = 0.42  # for the gap, right of each panel
NAMES_IN = 1.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Mean scores (0..1, nan: not known) of a model in a task.

    `source` names the language trained on, `source_score` is its score and `rest_score` the mean of `rest` others.
    `zero_shot` and `oracle` are means over the same languages: the score as it is, and what the language's own dev set
    would have chosen.
    """

    model: str
    task: str
    source: str
    rest: int
    source_score: float = math.nan
    rest_score: float = math.nan
    zero_shot: float = math.nan
    oracle: float = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """The two ends of a panel's dumbbells: the filled one, the hollow one, and what is said of their difference."""

    heading: str
    filled: str
    hollow: str
    words: tuple[str, str]


PAIRS = (
    _Pair(heading="● trained language, ○ the rest", filled="source_score", hollow="rest_score",
          words=("trained language", "the rest")),
    _Pair(heading="● zero-shot, ○ oracle", filled="zero_shot", hollow="oracle", words=("zero-shot", "oracle")),
)  # fmt: skip
NOTE = (
    "Numbers: filled minus hollow, in points. Oracle: the learning rate that the language's own dev set prefers, a "
    "bound and no result."
)


def transfer_gap(gaps: Sequence[Gap], *, theme: Mode = "light", title: str = "Transfer gaps, scores in points") -> Any:
    """Returns the figure: tasks in the order given, in each a row a model; the second panel only with oracles."""
    pairs = [pair for pair in PAIRS if any(_known(gap, pair) for gap in gaps)]
    tasks = list(dict.fromkeys(gap.task for gap in gaps))
    with drawing():
        if not pairs:
            return nothing(title, "no model has scores in the language trained on and in others", theme)
        note = NOTE if PAIRS[1] in pairs else NOTE.partition(" Oracle:")[0]
        body = 0.25 + HEAD * len(tasks) + ROW * len(gaps)
        sheet = open_sheet(title, [note], body + 0.34, theme)
        names = min(NAMES_IN, words.widest_in([gap.model for gap in gaps], TEXT)) + 0.1
        left = MARGIN + 0.1 + names
        width = (WIDTH - MARGIN - left - NUMBER * len(pairs) - 0.1 * (len(pairs) - 1)) / len(pairs)
        panels = []
        for number, pair in enumerate(pairs):
            start = left + number * (width + NUMBER + 0.1)
            axes = sheet.panel(start, sheet.top + 0.25, width, body - 0.25)
            _axes(axes, sheet, gaps, pair, body - 0.25)
            sheet.write(start, sheet.top + 0.1, pair.heading, size=SMALL, colour=sheet.theme.muted)
            panels.append((axes, start + width + NUMBER))
        y = 0.0
        for task in tasks:
            rows = [gap for gap in gaps if gap.task == task]
            sources = ", ".join(dict.fromkeys(f"{gap.source} and {gap.rest} others" for gap in rows))
            heading = words.fitted(task, TEXT, left + width * 0.9 - MARGIN, "bold")
            sheet.write(MARGIN, sheet.top + 0.25 + y + 0.16, heading, weight="bold")
            x = MARGIN + words.width_in(heading, TEXT, "bold") + 0.12
            tail = words.fitted(sources, SMALL, WIDTH - MARGIN - x)
            sheet.write(x, sheet.top + 0.25 + y + 0.16, tail, size=SMALL, colour=sheet.theme.muted)
            y += HEAD
            for gap in rows:
                short = words.fitted(gap.model, TEXT, names - 0.1)
                sheet.write(MARGIN + 0.1, sheet.top + 0.25 + y + ROW / 2, short)
                for (axes, end), pair in zip(panels, pairs, strict=True):
                    _dumbbell(sheet, axes, gap, pair, y + ROW / 2, end)
                y += ROW
        return sheet.figure


def _known(gap: Gap, pair: _Pair) -> bool:
    return not (math.isnan(getattr(gap, pair.filled)) or math.isnan(getattr(gap, pair.hollow)))


def _axes(axes: Any, sheet: Sheet, gaps: Sequence[Gap], pair: _Pair, height: float) -> None:
    """Sets up a panel: scores across, inches down."""
    ends = [100 * getattr(gap, name) for gap in gaps for name in (pair.filled, pair.hollow)]
    ends = [end for end in ends if not math.isnan(end)]
    pad = 0.06 * (max(ends) - min(ends)) or 1.0
    axes.set_xlim(min(ends) - pad, max(ends) + pad)
    axes.set_ylim(height, 0)
    axes.set_yticks([])
    number_axis(axes.xaxis, 4)
    axes.grid(axis="x", color=sheet.theme.faint, linewidth=0.6)


def _dumbbell(sheet: Sheet, axes: Any, gap: Gap, pair: _Pair, y: float, end: float) -> None:
    theme, at = sheet.theme, sheet.top + 0.25 + y
    filled, hollow = 100 * getattr(gap, pair.filled), 100 * getattr(gap, pair.hollow)
    known = _known(gap, pair)
    text = words.signed(filled - hollow, 1) if known else "–"
    sheet.write(end, at, text, size=SMALL, ha="right")
    if known:
        axes.plot([filled, hollow], [y, y], color=theme.muted, linewidth=1.4, zorder=2, label="gap")
    for value, face, name, order in ((hollow, theme.ground, pair.words[1], 3), (filled, theme.gain, pair.words[0], 4)):
        if not math.isnan(value):
            (mark,) = axes.plot(
                [value], [y], marker="o", markersize=5, linestyle="", color=theme.gain, markerfacecolor=face,
                markeredgewidth=1.3, zorder=order, clip_on=False, label="filled" if order == 4 else "hollow",
            )  # fmt: skip
            tip(mark, f"{gap.task}, {gap.model}: {name} {value:.1f}")
