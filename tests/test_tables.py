"""The leaderboard from hand-made rows: its order, its columns, and that every row has them all."""

from __future__ import annotations

import math
from typing import Any

from toy_records import row

from unibench.comparisons import Comparison, Comparisons
from unibench.tables import Entry, leaderboard_table

NAN = float("nan")


def overall(model: str, delta: float = NAN, improvement: float = NAN, share: float = NAN, **more: Any) -> Comparison:
    return Comparison(
        model=model, baseline="base", task=None, language=None, metric="", score=0.5, score_low=0.4, score_high=0.6,
        delta=delta, relative_improvement=improvement, corrected=share, **more,
    )  # fmt: skip


def found(*rows: Comparison) -> Comparisons:
    return Comparisons(rows=rows, family=1, resamples=9, swaps=9, ineligible={}, undefined=())


ROWS = (
    overall("large RI", 0.01, 0.90, 0.03),
    overall("large gap", 0.30, 0.10, 0.60),
    overall("part", 0.50, 2.00, 0.70, cells=1, cells_wanted=2),
    overall("unknown", NAN, 3.00, NAN),
    overall("base"),
    overall("worse", -0.20, NAN, -0.40),
    overall("tied b", 0.10, 0.30, 0.2),
    overall("tied a", 0.10, 0.20, 0.2),
)


def test_rows_go_by_difference_then_improvement_whole_ones_first_and_unknown_ones_last_of_them() -> None:
    models = [of.model for of in ROWS]
    expected = ["base", "large gap", "tied b", "tied a", "large RI", "worse", "unknown", "part"]
    for order in (ROWS, ROWS[::-1]):
        shown = leaderboard_table(found(*order), "t", (), models)
        assert [line[0] for line in shown.rows] == expected


def test_the_share_of_what_chance_leaves_stands_beside_the_difference() -> None:
    shown = leaderboard_table(found(*ROWS), "t", (), [of.model for of in ROWS])
    (column,) = [c for c in shown.columns if c.name == "Δ over chance"]
    assert column.kind == "difference"
    for of in ROWS:
        line = row(shown, of.model)
        if of.model == "base":
            assert (line["RI %"], line["Δ over chance"]) == ("baseline", None)
            continue
        assert isinstance(line["Δ"], Entry)
        assert line["Δ over chance"] == of.corrected or (math.isnan(of.corrected) and of.model == "unknown")
