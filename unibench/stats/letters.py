"""Which models were not told apart, as groups and as a compact letter display.

Legend: `M` models, best first.

"Not told apart" is not transitive (A and B, B and C, yet A from C), so tie groups overlap and one number a model can't
show them; letters can.
"""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray


def groups(differ_MM: NDArray[np.bool_]) -> tuple[tuple[int, ...], ...]:
    """Returns groups of rows such that two rows share a group if, and only if, they do not differ.

    Each group is as large as can be, none can be left out, and they are in the order of their first, then next, rows.
    `differ_MM` is symmetric with a False diagonal (ValueError otherwise); the result depends on nothing but it.
    Source: insert-and-absorb, Piepho 2004. Deviation: a column is absorbed as soon as the others together cover all
    its pairs, not only when one of them contains it, which bounds the columns by the number of pairs; what that cuts
    short is grown back at the end.
    """
    differ_MM = np.asarray(differ_MM, dtype=bool)
    if differ_MM.ndim != 2 or not np.array_equal(differ_MM, differ_MM.T) or differ_MM.diagonal().any():
        raise ValueError("which rows differ must be a symmetric matrix, and no row differs from itself")
    size = len(differ_MM)
    columns = [frozenset(range(size))] if size else []
    for i, j in np.argwhere(np.triu(differ_MM)).tolist():
        split = [column - {row} for column in columns if {i, j} <= column for row in (j, i)]
        columns = _absorb([column for column in columns if not {i, j} <= column] + split)
    grown = []
    for column in columns:
        for row in range(size):
            if not differ_MM[row, sorted(column)].any():
                column |= {row}
        grown.append(column)
    return tuple(sorted(tuple(sorted(column)) for column in _absorb(grown)))


def letters(differ_MM: NDArray[np.bool_]) -> tuple[str, ...]:
    """Returns the letters (M,) of every row, best first: two rows share a letter if, and only if, they do not differ.

    The group of the first row gets "a". After "z" come "aa", "ab" and so on; where those are needed a row's letters are
    parted by spaces, for "ab" could else be two of them. Errors as in `groups`.
    """
    found = groups(differ_MM)
    between = "" if len(found) <= 26 else " "
    return tuple(
        between.join(_name(place) for place, group in enumerate(found) if row in group) for row in range(len(differ_MM))
    )


def _absorb(columns: list[frozenset[int]]) -> list[frozenset[int]]:
    """Returns the columns without those whose pairs (a row with itself is one) all stand in other columns too."""
    pairs = [set(combinations_with_replacement(sorted(column), 2)) for column in columns]
    times: dict[tuple[int, int], int] = {}
    for of in pairs:
        for pair in of:
            times[pair] = times.get(pair, 0) + 1
    kept = set(range(len(columns)))
    for place in sorted(kept, key=lambda place: (len(columns[place]), [-row for row in sorted(columns[place])])):
        if all(times[pair] > 1 for pair in pairs[place]):
            kept.remove(place)
            for pair in pairs[place]:
                times[pair] -= 1
    return [columns[place] for place in sorted(kept)]


def _name(place: int) -> str:
    name = ""
    while place >= 0:
        place, letter = divmod(place, 26)
        name, place = chr(ord("a") + letter) + name, place - 1
    return name
