"""What a heat map shows, before it is drawn: values by task and language, why others have none, bands of columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from unibench.comparisons import Comparison, Comparisons

Measure = Literal["relative_improvement", "delta"]
Groups = Mapping[str, Sequence[str]]  # name of a script or family -> its languages, in order
Column = tuple[str, str | None]  # group, language (None: the mean over languages)
Key = tuple[str, str | None]  # task, language

NOT_MEASURED = "not measured"
OUT_OF_RI = "left out of RI: baseline near its floor"
UNDEFINED = "measured, but the difference is not defined"
ROUND = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """One model's cells: `values` x 100, or `reasons` to have none; `bands` of columns and the `tasks` shown in each.

    A band shows the tasks that were measured in one of its languages. `limit` is where colours end.
    """

    rows: Mapping[Key, Comparison]
    values: Mapping[Key, float]
    reasons: Mapping[Key, str]
    bands: Sequence[Sequence[Column]]
    tasks: Sequence[Sequence[str]]
    limit: float

    def seen(self, reason: str) -> bool:
        """Whether a cell that is drawn has no value for this reason."""
        return any(
            self.reasons.get((task, code)) == reason
            for band, tasks in zip(self.bands, self.tasks, strict=True)
            for _, code in band
            for task in tasks
        )


def tasks_of(found: Comparisons) -> list[str]:
    return list(dict.fromkeys(row.task for row in found.rows if row.task is not None))


def lay_out(
    found: Comparisons, *, model: str, groups: Groups, measure: Measure, limit: float | None, widest: int
) -> Grid:
    """Returns the model's grid in bands of at most `widest` columns; `limit` None asks for a fitting one."""
    rows = {(row.task, row.language): row for row in found.rows if row.model == model and row.task is not None}
    languages = list(dict.fromkeys(row.language for row in found.rows if row.language is not None))
    values: dict[Key, float] = {}
    reasons: dict[Key, str] = {}
    for key in ((task, language) for task in tasks_of(found) for language in [None, *languages]):
        row = rows.get(key)
        value = math.nan if row is None else float(getattr(row, measure))
        if not math.isnan(value):
            values[key] = 100 * value
        elif row is None:
            reasons[key] = NOT_MEASURED
        elif measure == "relative_improvement" and not math.isnan(row.delta) and _left_out(row, found):
            reasons[key] = OUT_OF_RI
        else:
            reasons[key] = UNDEFINED
    bands = _bands(languages, groups, widest)
    return Grid(
        rows=rows, values=values, reasons=reasons, bands=bands,
        tasks=[
            [task for task in tasks_of(found) if any((task, code) in rows for _, code in band)] or tasks_of(found)[:1]
            for band in bands
        ],
        limit=_limit(list(values.values())) if limit is None else limit,
    )  # fmt: skip


def _left_out(row: Comparison, found: Comparisons) -> bool:
    return row.language is None or (row.task, row.language) in found.ineligible


def _bands(languages: Iterable[str], groups: Groups, widest: int) -> list[list[Column]]:
    """Returns the columns of each band, the mean first; a group isn't torn where a band's end costs little room."""
    left = list(languages)
    parts: list[tuple[str, list[str | None]]] = [("", [None])]
    for name, codes in groups.items():
        mine = set(codes) & set(left)
        parts.append((name, [code for code in dict.fromkeys(codes) if code in mine]))
        left = [code for code in left if code not in mine]
    parts.append(("other" if groups else "", [*left]))
    total = sum(len(codes) for _, codes in parts)
    most = min(widest, max(math.ceil(total / math.ceil(total / widest)), widest - 2))  # bands of about one length
    bands: list[list[Column]] = [[]]
    for name, columns in parts:
        room = most - len(bands[-1])
        if room < len(columns) <= most and room < most / 3:
            bands.append([])
        for code in columns:
            if len(bands[-1]) == most:
                bands.append([])
            bands[-1].append((name, code))
    return [band for band in bands if band]


def _limit(values: Sequence[float]) -> float:
    """Returns a round number that the largest value does not exceed, unless a few values dwarf the rest."""
    sizes = np.abs(values)
    if not sizes.size or sizes.max() == 0:
        return 1.0
    largest, usual = float(sizes.max()), 1.5 * float(np.quantile(sizes, 0.95))
    wanted = usual if 0 < usual < largest else largest
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(step * power for step in ROUND if step * power >= wanted * (1 - 1e-9))
