"""Records whose scores are known to the last digit, compared: what the views beside the leaderboard are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from toy_records import N, record

from unibench.cells import cells
from unibench.compare import compare
from unibench.comparisons import Comparisons
from unibench.store import RunRecord
from unibench.tables import Entry, Table

NAN = float("nan")


def hit(model: str, task: str, language: str, score: float, seed: int = 0, **more: Any) -> RunRecord:
    """Returns a record that scores `score` (a multiple of 1/60): labels hit, or spans found with as many missed."""
    right = round(score * N)
    assert abs(right / N - score) < 1e-9
    if task == "wikiann":  # one span a sentence, found or missed with a wrong one in its place
        found = (np.arange(N) < right).astype(float)
        units = np.column_stack([found, 1 - found, 1 - found])
    else:
        gold = np.arange(N) % 3
        units = np.column_stack([gold, np.where(np.arange(N) < right, gold, (gold + 1) % 3)]).astype(float)
    return replace(record(model, task, language, seed, **more), units=units)


def compared(records: Sequence[RunRecord], baseline: str | None) -> Comparisons:
    return compare(cells(records), baseline=baseline, resamples=200)


def sized(parameters: int, body: int | None = None, **more: Any) -> dict[str, Any]:
    """Returns what says of a record how large its model is."""
    extra = {"parameters": parameters, **({"parameters_without_embeddings": body} if body else {}), **more}
    return {"provenance": {"extra": extra}}


def column(table: Table, name: str) -> dict[str, Any]:
    """Returns a column's plain values by model."""
    names = [c.name for c in table.columns]
    at, model = names.index(name), names.index("model")
    return {str(row[model]): v.value if isinstance(v := row[at], Entry) else v for row in table.rows}
