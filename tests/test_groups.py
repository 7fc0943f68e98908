"""Group against group: scipy, hand counts, the null with clusters, and what few models cannot show."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from unibench.stats import groups


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def sides(values: np.ndarray, a: int) -> tuple[dict[str, float], dict[str, float]]:
    return {f"a{i}": float(v) for i, v in enumerate(values[:a])}, {f"b{i}": float(v) for i, v in enumerate(values[a:])}


def test_singletons_equal_scipy() -> None:
    for i in range(25):
        a, b = (int(n) for n in rng(i).integers(2, 6, size=2))
        # tenths, so that relabellings tie up to rounding
        values = np.round(rng(i).normal(size=a + b), 1)
        found = groups.claim(*sides(values, a), rng=rng())
        expected = scipy_stats.permutation_test(
            (values[:a], values[a:]),
            lambda x, y, axis: np.round(x.mean(axis=axis) - y.mean(axis=axis), 9),
            vectorized=True,
            n_resamples=1_000,
        )
        assert found.p == pytest.approx(expected.pvalue)
        assert found.delta == pytest.approx(values[:a].mean() - values[a:].mean())
        assert (found.arrangements, found.models, found.clusters) == (math.comb(a + b, a), (a, b), (a, b))


def test_many_models_are_relabelled_at_random_and_seeded() -> None:
    for i in range(4):
        values = rng(i).normal(size=18)
        values[:9] += 0.7
        found = groups.claim(*sides(values, 9), rng=rng(i))
        assert found == groups.claim(*sides(values, 9), rng=rng(i))
        assert (found.arrangements, found.smallest_p) == (20_000, pytest.approx(2 / 20_001))
        exact = scipy_stats.permutation_test(
            (values[:9], values[9:]),
            lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
            vectorized=True,
            n_resamples=50_000,  # of 48,620: all
            batch=10_000,
        ).pvalue
        # p is twice a proportion of 20,000
        assert found.p == pytest.approx(exact, abs=4 * 2 * math.sqrt(exact / 2 / 20_000))
    values[:9] += 100
    assert 2 / 20_001 <= groups.claim(*sides(values, 9), rng=rng()).p < 10 / 20_001, "never 0"


def test_three_against_four_can_never_be_significant() -> None:
    """However far apart: a published p of .0181 must come from more models, or from another test."""
    found = groups.claim(*sides(np.array([9.0, 8.0, 7.0, 2.0, 1.5, 1.0, 0.5]), 3), rng=rng())
    assert found.p == found.smallest_p == pytest.approx(2 / 35)
    assert found.note == "3 clusters against 4: p cannot go below 0.0571, so no gap could be significant at 0.05"
    assert not found.withheld
    assert not groups.claim(*sides(np.arange(8.0), 4), rng=rng()).note, "4 against 4 can reach 2/70"


def test_one_against_many() -> None:
    found = groups.claim(*sides(np.array([9.0, 1.0, 2.0, 3.0, 4.0]), 1), rng=rng())
    assert found.p == found.smallest_p == pytest.approx(2 / 5)
    assert found.note.startswith("1 cluster against 4: p cannot go below 0.4")
    alone = groups.claim({"new": 2.0}, {"old": 1.0}, rng=rng())
    assert math.isnan(alone.p)
    assert alone.smallest_p == 1.0
    assert alone.delta == 1.0
    assert alone.withheld == "1 cluster against 1: exchanging two labels always gives p = 1"


def test_students_of_one_teacher_are_one_cluster() -> None:
    """By hand: clusters 7 (of 9, 6, 6) and 3 against 1, 2, 0; means 5 and 1; one of 10 relabellings is as high."""
    a = {"small": 9.0, "xsmall": 6.0, "xxsmall": 6.0, "other": 3.0}
    found = groups.claim(
        a, {"x": 1.0, "y": 2.0, "z": 0.0}, dict.fromkeys(("small", "xsmall", "xxsmall"), "base"), rng=rng()
    )
    assert (found.mean_a, found.mean_b, found.delta) == (5.0, 1.0, 4.0)
    assert (found.models, found.clusters, found.arrangements) == ((4, 3), (2, 3), 10)
    assert found.p == found.smallest_p == pytest.approx(2 / 10)


def test_what_cannot_be_permuted_is_withheld_with_its_reason() -> None:
    both = groups.claim({"new": 1.0, "n2": 2.0}, {"old": 0.0}, {"new": "base", "old": "base"}, rng=rng())
    assert both.withheld == "base stands behind models of both groups: what moves together can't change sides"
    teacher = groups.claim({"new": 1.0, "n2": 2.0}, {"base": 0.0}, {"new": "base"}, rng=rng())
    assert teacher.withheld.startswith("base stands behind"), "the teacher is among the baselines"
    failed = groups.claim({"new": float("nan"), "n2": 2.0}, {"old": 0.0}, rng=rng())
    assert failed.withheld == "no value for new: a group's mean can't leave out a model that failed"
    empty = groups.claim({}, {"old": 0.0}, rng=rng())
    assert empty.withheld == "0 models against 1: each group needs one"
    for found in (both, teacher, failed, empty):
        assert math.isnan(found.p)
    assert math.isnan(empty.smallest_p)


def test_identical_models_have_p_1() -> None:
    assert groups.claim(*sides(np.full(8, 0.1 + 0.2), 4), rng=rng()).p == 1.0


@pytest.mark.parametrize("sizes", [((3, 1, 1, 1), (1, 1, 1, 1)), ((2, 2, 1, 1, 1), (2, 2, 1, 1, 1))])
def test_calibrated_with_clusters_of_any_size_and_not_without(sizes) -> None:
    runs, rejected, ignoring, found = 400, 0, 0, 0
    for i in range(runs):
        draw = rng(i)
        values, teachers = ({}, {}), {}
        for side, counts in enumerate(sizes):
            for c, size in enumerate(counts):
                shared = draw.normal()
                for m in range(size):
                    values[side][f"{side}{c}{m}"] = 0.95 * shared + 0.3 * draw.normal()
                    teachers[f"{side}{c}{m}"] = f"{side}{c}"
        rejected += groups.claim(*values, teachers, rng=draw).p <= 0.05
        ignoring += groups.claim(*values, rng=draw).p <= 0.05
        raised = {model: value + 4 for model, value in values[0].items()}
        found += groups.claim(raised, values[1], teachers, rng=draw).p <= 0.05
    clusters = len(sizes[0]), len(sizes[1])
    level = math.floor(0.05 / groups.attainable(*clusters)[1]) * groups.attainable(*clusters)[1]
    low, high = scipy_stats.binom.ppf([0.0005, 0.9995], runs, level)
    assert low <= rejected <= high, f"{rejected} of {runs}"
    assert ignoring > high, "the reason for clusters"
    assert found / runs > 0.8
