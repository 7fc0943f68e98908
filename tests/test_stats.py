"""Statistics over cells: what Wilcoxon can reach, means, and the null of a whole comparison."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as scipy_stats
from toy_pairs import pair

from unibench import stats
from unibench.compare import compare
from unibench.pairing import Cell


@pytest.mark.parametrize(("n", "smallest"), [(4, 0.125), (5, 0.0625), (6, 0.03125), (8, 0.0078125)])
def test_wilcoxon_says_the_smallest_p_it_can_reach(n: int, smallest: float) -> None:
    found = stats.wilcoxon([0.1 * (i + 1) for i in range(n)])
    assert found.smallest_p == pytest.approx(smallest)
    assert found.p == pytest.approx(smallest)


def test_wilcoxon_equals_scipy_and_leaves_zeros_out() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        deltas = rng.normal(0.3, size=rng.integers(2, 15))
        expected = scipy_stats.wilcoxon(deltas, method="exact").pvalue
        assert stats.wilcoxon([*deltas, 0.0, float("nan")]).p == pytest.approx(expected)
    assert math.isnan(stats.wilcoxon([0.0]).p)
    # midranks of |1, 1, -1| are all 2: P(sum of signs as extreme) = 2 * 4/8 -> 1
    assert stats.wilcoxon([1.0, 1.0, -1.0]).p == 1.0


def test_relative_improvement_by_hand() -> None:
    assert stats.relative_improvement(0.66, 0.6) == pytest.approx(0.1)
    assert stats.relative_improvement(0.1, -0.2) == pytest.approx(1.5)
    assert math.isnan(stats.relative_improvement(0.1, 0.0))
    found = stats.relative_improvement(np.array([0.5, 1.0]), np.array([1.0, 0.5]))
    assert list(found) == [-0.5, 1.0]


def test_eligibility_needs_five_points_above_the_floor() -> None:
    assert stats.eligible(0.40, 0.3333)
    assert not stats.eligible(0.38, 0.3333)
    assert not stats.eligible(float("nan"), 0.0)


def test_macro_mean_goes_over_languages_then_tasks() -> None:
    cells = {("a", "de"): 1.0, ("a", "en"): 3.0, ("b", "en"): 10.0}
    assert stats.macro_mean(cells) == 6.0
    arrays = {key: np.array([value, 0.0]) for key, value in cells.items()}
    assert list(stats.macro_mean(arrays)) == [6.0, 0.0]
    assert math.isnan(stats.macro_mean({**cells, ("b", "de"): float("nan")}))
    assert math.isnan(stats.macro_mean({}))


def test_resamples_grow_with_the_family() -> None:
    assert stats.resamples_for(1) == 10_000
    assert stats.resamples_for(250) == 10_000
    assert stats.resamples_for(251) == 20_000
    assert stats.resamples_for(3, wanted=99) == 10_000


def cells_of(seed: int, *, parallel: bool, languages: int, gap: float = 0.0, shared: bool = True) -> list[Cell]:
    """Languages of one task; with `shared`, both models err on the same items in every language."""
    out = []
    for i in range(languages):
        ours, theirs, group_N = pair("token_f1", seed if shared else seed + 7919 * i, groups=30, size=2, gap=gap)
        groups = tuple(f"{g:03d}" for g in group_N)
        units = {"new": {0: ours[0]}, "old": {0: theirs[0]}}
        out.append(Cell(task="t", language=f"l{i}", metric="token_f1", groups=groups, parallel=parallel, units=units))
    return out


def overall(seed: int, **how) -> object:
    found = compare(cells_of(seed, **how), baseline="old", signature=str(seed), resamples=399)
    return next(row for row in found.rows if row.task is None and row.model == "new")


@pytest.mark.parametrize(("parallel", "shared"), [(True, True), (False, False)])
def test_the_overall_test_is_calibrated(parallel: bool, shared: bool) -> None:
    runs = 300
    rejected = sum(overall(i, parallel=parallel, shared=shared, languages=3).p <= 0.05 for i in range(runs))
    low, high = scipy_stats.binom.ppf([0.0005, 0.9995], runs, 0.05)
    assert low <= rejected <= high, f"{rejected} of {runs}"


def test_translations_swapped_apart_would_reject_too_often() -> None:
    runs = 150
    rejected = sum(overall(i, parallel=False, shared=True, languages=3).p <= 0.05 for i in range(runs))
    assert rejected / runs > 0.12


def test_translations_resampled_together_have_the_interval_of_one_language() -> None:
    """Three copies of one language say no more than one: the interval must not shrink by sqrt(3)."""
    one = overall(3, parallel=True, languages=1)
    three = overall(3, parallel=True, languages=3)
    apart = overall(3, parallel=False, languages=3)
    assert three.ci_high - three.ci_low == pytest.approx(one.ci_high - one.ci_low, rel=1e-9)
    assert three.p == one.p
    assert (apart.ci_high - apart.ci_low) < 0.75 * (one.ci_high - one.ci_low)


def test_translations_stay_joined_when_one_lacks_examples() -> None:
    """Groups are matched by id, not by place: a language without the first group still moves with the others."""
    cells = cells_of(3, parallel=True, languages=2)
    first = cells[0].groups[0]
    kept = np.array([group != first for group in cells[1].groups])
    units = {model: {0: by_seed[0][kept]} for model, by_seed in cells[1].units.items()}
    groups = tuple(group for group in cells[1].groups if group != first)
    shorter = replace(cells[1], units=units, groups=groups)
    found = {
        (row.language, row.model): row.ci_high - row.ci_low
        for row in compare([cells[0], shorter], baseline="old", resamples=2000).rows
        if row.task is not None
    }
    assert found[None, "new"] > 0.93 * found["l0", "new"]
