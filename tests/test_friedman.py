"""Friedman and Nemenyi against Demšar's worked example and table, scipy, scikit-posthocs, and the null."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scikit_posthocs import posthoc_nemenyi_friedman
from scipy import stats as scipy_stats

from unibench.stats.friedman import friedman

NAN = float("nan")
TREES = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")
DEMSAR = np.array(
    # Demšar 2006, table 6: AUC on 14 data sets. It ranks the last two of "voting" apart, so one has a digit more
    [
        [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
    ]
)  # fmt: skip
Q_05 = (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164)  # Demšar's table 5a, from 2 models on


def test_demsars_worked_example() -> None:
    found = friedman(DEMSAR, TREES)
    assert found.mean_ranks == pytest.approx((3.143, 2.000, 2.893, 1.964), abs=5e-4)
    assert found.blocks == 14
    assert found.critical_difference == pytest.approx(1.25, abs=5e-3)
    assert found.cliques == (("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"),)
    # the paper's 9.28 isn't corrected for ties: three pairs and a four
    ties = 1 - (3 * (2**3 - 2) + (4**3 - 4)) / (14 * (4**3 - 4))
    assert found.statistic * ties == pytest.approx(9.28, abs=5e-3)
    loose = friedman(DEMSAR, TREES, alpha=0.10)
    assert loose.critical_difference == pytest.approx(1.12, abs=5e-3)
    assert loose.cliques == (("C4.5+m+cf", "C4.5+m", "C4.5+cf"), ("C4.5+cf", "C4.5"))


@pytest.mark.parametrize("models", range(3, 11))
def test_q_is_that_of_demsars_table(models: int) -> None:
    scores = np.random.default_rng(models).random((7, models))
    found = friedman(scores, [f"m{i}" for i in range(models)])
    assert found.q == pytest.approx(Q_05[models - 2], abs=1e-3)
    assert found.critical_difference == pytest.approx(found.q * math.sqrt(models * (models + 1) / (6 * 7)))


def test_it_equals_scipy_and_scikit_posthocs_and_higher_is_better() -> None:
    rng = np.random.default_rng(1)
    for _ in range(10):
        scores = np.round(rng.random((rng.integers(3, 20), rng.integers(3, 7))), 1)  # with ties
        names = [f"m{i}" for i in range(scores.shape[1])]
        found = friedman(scores, names)
        expected = scipy_stats.friedmanchisquare(*scores.T)
        assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue))
        assert np.array(found.nemenyi_p) == pytest.approx(posthoc_nemenyi_friedman(scores).to_numpy())
        assert found.mean_ranks == pytest.approx(scipy_stats.rankdata(-scores, axis=1).mean(axis=0))
        assert "Descriptive" in found.note
    assert friedman(np.array([[0.9, 0.5, 0.1]] * 3), "abc").mean_ranks == (1, 2, 3)


def test_cliques_are_the_largest_sets_without_a_significant_pair() -> None:
    rng = np.random.default_rng(2)
    for _ in range(30):
        scores = rng.random((12, 6)) + np.sort(rng.random(6))
        found = friedman(scores, "abcdef", alpha=0.2)
        alike = {(i, j) for i, j in combinations(range(6), 2) if found.nemenyi_p[i][j] > 0.2}
        largest: list[set[str]] = []
        for size in range(6, 1, -1):
            for members in combinations(range(6), size):
                named = {"abcdef"[m] for m in members}
                if set(combinations(members, 2)) <= alike and not any(named <= other for other in largest):
                    largest.append(named)
        assert sorted(map(sorted, found.cliques)) == sorted(map(sorted, largest))
        ranks = dict(zip("abcdef", found.mean_ranks, strict=True))
        assert all(list(clique) == sorted(clique, key=ranks.__getitem__) for clique in found.cliques)


def test_blocks_that_not_all_models_have_are_left_out_and_counted() -> None:
    holed = np.vstack([DEMSAR, [[NAN, 0.1, 0.2, 0.3]]])
    found, whole = friedman(holed, TREES), friedman(DEMSAR, TREES)
    assert (found.blocks, found.p, found.mean_ranks) == (14, whole.p, whole.mean_ranks)
    assert "1 of 15 cells are left out" in found.note
    assert "left out" not in whole.note


@pytest.mark.parametrize("nothing", [0.5, 1.0])
def test_models_equal_everywhere_have_p_1(nothing: float) -> None:
    scores = np.full((5, 3), nothing)
    scores[:, 1] += 1e-15  # rounding is no difference
    found = friedman(scores, "abc")
    assert (found.statistic, found.p) == (0.0, 1.0)
    assert found.mean_ranks == (2.0, 2.0, 2.0)
    assert found.cliques == (("a", "b", "c"),)
    assert {p for row in found.nemenyi_p for p in row} == {1.0}


def test_it_is_withheld_where_there_is_too_little() -> None:
    pair = friedman(DEMSAR[:, :2], TREES[:2])
    assert "3 or more models; of 2" in pair.reason
    single = friedman(DEMSAR[:1], TREES)
    assert single.reason == "Friedman's test needs 2 cells in which all models have a score; it has 1."
    holed = friedman(np.full((3, 3), NAN), "abc")
    assert "it has 0" in holed.reason
    assert "3 of 3 cells are left out" in holed.note
    nobody = friedman(np.empty((0, 0)), [])
    for found in (pair, single, holed, nobody):
        assert found.note.startswith("Withheld")
        assert all(map(math.isnan, (found.p, found.statistic, found.q, found.critical_difference, *found.mean_ranks)))
        assert found.cliques == ()
        assert found.smallest_p == 1.0
    with pytest.raises(ValueError, match="2 names need a column of scores each"):
        friedman(DEMSAR, TREES[:2])


def test_the_note_says_what_so_few_cells_cannot_show() -> None:
    perfect = friedman(np.array([[0.9, 0.5, 0.1]] * 2), "abc")
    assert perfect.p == perfect.smallest_p == pytest.approx(math.exp(-2))  # chi-square of 4 with 2 degrees of freedom
    assert "2 cells of 3 models cannot be significant" in perfect.note
    assert "does not reject" in friedman(np.array([[1, 2, 3], [2, 3, 1], [3, 1, 2], [1, 2, 3]]) / 9, "abc").note
    assert "reject" not in friedman(DEMSAR, TREES).note


def test_one_in_twenty_rejects_under_the_null_and_seldom_any_pair() -> None:
    rng, runs = np.random.default_rng(3), 500
    found = [friedman(rng.normal(size=(15, 4)), "abcd") for _ in range(runs)]
    low, high = scipy_stats.binom.ppf([0.0005, 0.9995], runs, 0.05)
    assert low <= sum(one.p <= 0.05 for one in found) <= high
    any_pair = sum(np.min(one.nemenyi_p) <= 0.05 for one in found)  # the family-wise level, conservative
    assert 0.4 * low <= any_pair <= high


def test_a_planted_gap_is_found() -> None:
    rng = np.random.default_rng(4)
    found = [friedman(rng.normal((0, 0, 0, 1.5), size=(15, 4)), "abcd") for _ in range(50)]
    assert sum(one.p <= 0.05 for one in found) >= 45
    assert all(np.argmin(one.mean_ranks) == 3 for one in found)


def test_blocks_that_share_a_fine_tuning_reject_far_too_often() -> None:
    """Why it is a description: what one fine-tuning gained, it gained in every language."""
    rng, runs = np.random.default_rng(5), 100
    shared = [friedman(rng.normal(size=4) + rng.normal(size=(15, 4)), "abcd").p for _ in range(runs)]
    assert sum(p <= 0.05 for p in shared) / runs > 0.3
