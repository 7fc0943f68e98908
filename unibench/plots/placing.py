"""Labels beside points, nudged until they cover neither each other nor a point: greedy, the same way every time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unibench.plots import words
from unibench.plots.style import SMALL, WIDTH, Sheet

HEIGHT = 0.13  # inches of a line of small text
CLEAR = 0.07  # inches between a point and its label
DISTANCES = (0.0, 0.06, 0.14, 0.24, 0.36, 0.5, 0.7, 0.95)
DIRECTIONS = (
    (1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1),
    (1, -0.5), (-1, -0.5), (1, 0.5), (-1, 0.5), (1, -2), (-1, -2), (1, 2), (-1, 2),
)  # fmt: skip
LONGEST = 1.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle on the canvas, in inches, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def shared(self, other: Box) -> float:
        """The area that both cover."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return wide * high if wide > 0 and high > 0 else 0.0


def on_canvas(axes: Any, sheet: Sheet, x: float, y: float) -> tuple[float, float]:
    """Returns where a data point lies on the canvas; the axes' limits must be set."""
    across, up = axes.transAxes.inverted().transform(axes.transData.transform((x, y)))
    place = axes.get_position()
    return (
        float(place.x0 + across * place.width) * WIDTH,
        float(1 - (place.y0 + up * place.height)) * sheet.height,
    )


def label(
    axes: Any, sheet: Sheet, points: Sequence[tuple[float, float, str]], obstacles: Sequence[Box] = ()
) -> list[Box]:
    """Writes each name beside its (x, y) and returns where the names lie, in the order of `points`.

    A name that had to move away is tied to its point by a thin line. `obstacles` are to be left free too.
    """
    places = [on_canvas(axes, sheet, x, y) for x, y, _ in points]
    taken = [*obstacles, *(_around(x, y) for x, y in places)]
    corner, far = axes.get_position(), axes.get_position()
    inside = Box(
        left=corner.x0 * WIDTH - 0.05, right=far.x1 * WIDTH + 0.05, top=(1 - far.y1) * sheet.height - 0.08,
        bottom=(1 - corner.y0) * sheet.height,
    )  # fmt: skip
    found: dict[int, Box] = {}
    lines: list[list[tuple[float, float]]] = []
    for number in sorted(range(len(points)), key=lambda i: (places[i][1], places[i][0])):
        x, y = places[number]
        text = words.fitted(points[number][2], SMALL, LONGEST)
        others = [*(_around(*place) for place in places if place != (x, y)), *found.values()]

        def cost(box: Box, x: float = x, y: float = y, others: Sequence[Box] = tuple(others)) -> float:
            through = sum(_crosses(_line(box, x, y), other) for other in others)
            under = sum(_crosses(line, box) for line in lines)
            return _cost(box, taken, inside, x, y) + through + under

        best = min(_candidates(x, y, words.width_in(text, SMALL)), key=cost)
        found[number] = best
        taken.append(best)
        lines.append(_line(best, x, y))
        _write(sheet, best, text, x, y)
    return [found[number] for number in range(len(points))]


def _around(x: float, y: float) -> Box:
    return Box(left=x - 0.05, right=x + 0.05, top=y - 0.05, bottom=y + 0.05)


def _candidates(x: float, y: float, width: float) -> list[Box]:
    boxes = []
    for distance in DISTANCES:
        for across, down in DIRECTIONS:
            reach = CLEAR + distance
            left = x + across * reach - (width if across < 0 else width / 2 if across == 0 else 0)
            middle = y + down * (reach + HEIGHT / 2)
            boxes.append(Box(left=left, right=left + width, top=middle - HEIGHT / 2, bottom=middle + HEIGHT / 2))
    return boxes


def _cost(box: Box, taken: Sequence[Box], inside: Box, x: float, y: float) -> float:
    """What is covered counts most, what lies outside as much, then distance."""
    area = (box.right - box.left) * HEIGHT
    wider = Box(left=box.left - 0.04, right=box.right + 0.04, top=box.top, bottom=box.bottom)
    covered = sum(wider.shared(other) for other in taken)
    outside = area - box.shared(inside)
    return 500 * (covered + outside) + _distance(box, x, y)


def _line(box: Box, x: float, y: float) -> list[tuple[float, float]]:
    """Returns points on the way from a label to its point."""
    across, down = _nearest(box, x, y)
    return [(x + (across - x) * step / 16, y + (down - y) * step / 16) for step in range(17)]


def _crosses(line: Sequence[tuple[float, float]], box: Box) -> bool:
    return any(box.left < x < box.right and box.top < y < box.bottom for x, y in line)


def _nearest(box: Box, x: float, y: float) -> tuple[float, float]:
    return min(max(x, box.left), box.right), min(max(y, box.top), box.bottom)


def _distance(box: Box, x: float, y: float) -> float:
    across, down = _nearest(box, x, y)
    return math.hypot(across - x, down - y)


def _write(sheet: Sheet, box: Box, text: str, x: float, y: float) -> None:
    ha = "left" if box.left >= x else "right" if box.right <= x else "center"  # stays beside the point in any face
    at = {"left": box.left, "right": box.right, "center": (box.left + box.right) / 2}[ha]
    if _distance(box, x, y) > CLEAR + 0.1:
        across, down = _nearest(box, x, y)
        sheet.line([x, across], [y, down], color=sheet.theme.muted, linewidth=0.5, label="leader")
    sheet.write(at, (box.top + box.bottom) / 2, text, size=SMALL, ha=ha)
