"""Fair means over what models share, checked by hand and against the leaderboard's own mean where both stand alike."""

from __future__ import annotations

import math

import pytest
from toy_records import record
from toy_views import compared, hit

from unibench.shared_cells import shared
from unibench.tables import UNDEFINED

A = [hit("a", "xnli", "en", 0.8), hit("a", "xnli", "de", 0.6), hit("a", "wikiann", "en", 0.5)]
B = [hit("b", "xnli", "en", 0.7), hit("b", "xnli", "de", 0.4), hit("b", "wikiann", "en", 0.9)]


def test_a_mean_over_languages_then_tasks_with_the_interval_of_the_leaderboard() -> None:
    found = compared([*A, *B], "a")
    fair = shared(found, ["a", "b"])
    assert fair.cells == (("wikiann", "en"), ("xnli", "de"), ("xnli", "en"))
    overall = {row.model: row for row in found.rows if row.task is None}
    for model, by_hand in (("a", (0.7 + 0.5) / 2), ("b", (0.55 + 0.9) / 2)):
        entry = fair.scores[model]
        assert entry.value == pytest.approx(by_hand)
        assert (entry.value, entry.low, entry.high) == pytest.approx(
            (overall[model].score, overall[model].score_low, overall[model].score_high)
        )
        assert entry.low < by_hand < entry.high
    assert fair.note().startswith("mean over all 3 cells (task and language) that every model here has")


def test_only_what_all_have_and_no_interval_of_another_mean() -> None:
    found = compared([*A, *B[:2]], "a")
    fair = shared(found, ["a", "b"])
    assert fair.scores["a"].value == pytest.approx(0.7)
    assert fair.scores["b"].value == pytest.approx(0.55)
    assert math.isnan(fair.scores["a"].low), "the leaderboard's mean of a has another task in it"
    assert fair.scores["b"].low < 0.55 < fair.scores["b"].high
    assert fair.lacking == {"a": 0, "b": 1}
    assert "the 2 of 3 cells" in fair.note()
    assert "these lack some: b (1)." in fair.note()


def test_a_filter_of_cells_is_no_reason_for_the_interval_of_all() -> None:
    fair = shared(compared([*A, *B], "a"), ["b"], lambda task, language: language != "en")
    assert fair.cells == (("xnli", "de"),)
    assert fair.scores["b"].value == pytest.approx(0.4)
    assert math.isnan(fair.scores["b"].low)
    # the baseline is not asked for, has fewer cells, and its mean runs over as many as are shared here
    found = compared([A[0], *B[:2]], "a")
    one = shared(found, ["b"], lambda task, language: language == "de")
    assert [row.cells for row in found.rows if row.task is None and row.model == "b"] == [1]
    assert one.scores["b"].value == pytest.approx(0.4)
    assert math.isnan(one.scores["b"].low)


def test_nothing_in_common_has_no_mean_and_says_who_lacks_what() -> None:
    fair = shared(compared([A[0], B[1]], "a"), ["a", "b"])
    assert fair.cells == ()
    assert math.isnan(fair.scores["a"].value)
    assert math.isnan(fair.scores["b"].value)
    assert fair.note().startswith("no score: of 2 cells")
    assert "a (1), b (1)" in fair.note()


def test_an_undefined_score_is_never_dropped_from_a_models_own_mean() -> None:
    constant = record("b", "sts17", "en-tr")
    constant.units[:, 1] = 0.5
    both = [*A, *B, record("a", "sts17", "en-tr"), constant]
    fair = shared(compared(both, "a"), ["a", "b"])
    assert math.isnan(fair.scores["b"].value)
    assert fair.scores["b"].marks == (UNDEFINED,)
    assert fair.scores["a"].marks == ()
    # where the baseline's is the undefined one, the cell leaves every mean
    other = shared(compared(both, "b"), ["a", "b"])
    assert ("sts17", "en-tr") not in other.cells
    assert ("sts17", "en-tr") not in shared(compared(both, "b"), ["b"]).cells
    assert other.scores["b"].value == pytest.approx((0.55 + 0.9) / 2)


def test_seeds_that_differ_are_told_and_seeds_without_a_partner_make_no_cell() -> None:
    records = [hit("a", "xnli", "en", 0.8, seed) for seed in (0, 1)] + [hit("b", "xnli", "en", 0.7, 0)]
    fair = shared(compared(records, "a"), ["a", "b"])
    assert fair.seeds_differ
    assert "Their seeds differ in some cells" in fair.note()
    apart = shared(compared([*records[:2], hit("b", "xnli", "en", 0.7, 5)], "a"), ["a", "b"])
    assert apart.cells == ()


def test_models_that_nobody_has_scores_of() -> None:
    assert shared(compared([], None), []).cells == ()
    assert math.isnan(shared(compared(A, "a"), ["a", "ghost"]).scores["ghost"].value)
