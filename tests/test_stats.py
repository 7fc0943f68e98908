"""Statistics against statsmodels, scipy, a paper's worked example, exhaustive enumeration, and the null itself."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from unibench import metrics, resampling, stats
from unibench.compare import compare
from unibench.pairing import Cell

DROR = (0.168, 0.297, 0.357, 0.019, 0.218, 0.001)  # Dror et al. 2017, the paper's own example
SHAPES = ["accuracy", "macro_f1", "span_f1", "token_f1", "spearman", "pearson"]


@pytest.mark.parametrize(
    ("ours", "method"),
    [(stats.holm, "holm"), (stats.bonferroni, "bonferroni"), (stats.benjamini_hochberg, "fdr_bh")],
)
def test_corrections_equal_statsmodels_and_leave_nan_out_of_the_family(ours, method) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        p = rng.random(rng.integers(1, 12)) ** 2
        p[0] = p[-1]  # a tie
        expected = multipletests(p, method=method)[1]
        assert ours(list(p)) == pytest.approx(list(expected))
        holed = ours([float("nan"), *p])
        assert math.isnan(holed[0])
        assert holed[1:] == pytest.approx(list(expected))
    assert ours([]) == []


def test_dror_worked_example() -> None:
    assert stats.k_hat(DROR) == 1
    assert stats.k_hat(DROR, method="fisher") == 2
    assert [adjusted <= 0.05 for adjusted in stats.holm(DROR)] == [False] * 5 + [True]


def test_k_hat_counts_all_and_none() -> None:
    assert stats.k_hat([0.001] * 4) == 4
    assert stats.k_hat([0.9] * 4) == 0
    assert stats.k_hat([]) == 0
    # a strong first, then one that fails, then none may count even if its own partial p were small
    assert stats.k_hat([0.001, 0.04, 0.04, 0.04]) == 1


def test_fisher_partial_conjunction_of_one_data_set_is_fishers_test() -> None:
    p = [0.03, 0.2, 0.4]
    combined = scipy_stats.combine_pvalues(p, method="fisher").pvalue
    assert (stats.k_hat(p, alpha=combined + 1e-9, method="fisher") >= 1) is True
    assert stats.k_hat(p, alpha=combined - 1e-9, method="fisher") == 0


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


def units_for(
    metric: str, gold_rng: np.random.Generator, rng: np.random.Generator, n: int, size: int, noise: float
) -> np.ndarray:
    def errors() -> np.ndarray:
        return 0.6 * np.repeat(rng.normal(size=n // size), size) + 0.8 * rng.normal(size=n)

    names = metrics.METRICS[metric].unit_names
    if names == metrics.NLI_UNITS:
        gold = gold_rng.integers(0, 3, n)
        wrong = errors() > 0.8 - noise
        return np.column_stack([gold, np.where(wrong, (gold + 1) % 3, gold)]).astype(float)
    if names == metrics.NER_UNITS:
        spans = gold_rng.integers(1, 4, n)
        missed = np.clip(np.round(errors() + noise), 0, spans)
        return np.column_stack([spans - missed, np.clip(np.round(errors() + noise), 0, 3), missed]).astype(float)
    if names == metrics.QA_UNITS:
        f1 = np.clip(0.6 - 0.3 * errors() - 0.3 * noise, 0, 1)
        return np.column_stack([f1 == 1, f1])
    gold = gold_rng.random(n)
    return np.column_stack([gold, gold + 0.4 * (1 + noise) * errors()])


def pair(metric: str, seed: int, *, groups: int, size: int, gap: float = 0.0, scale: float = 1.0):
    """(system, baseline, group of each row) on the same gold; `gap` worsens the baseline."""
    n = groups * size
    both = []
    for k, noise in ((0, 0.0), (1, gap)):
        units = units_for(metric, np.random.default_rng(seed), np.random.default_rng((seed, k)), n, size, noise)
        both.append(units[None])
    if metrics.METRICS[metric].unit_names == metrics.STS_UNITS:
        both[1] = both[1] * [1.0, scale] + [0.0, scale]
    return both[0], both[1], np.repeat(np.arange(groups), size)


def paired_p(metric: str, ours, theirs, group_N, *, resamples: int = 199, seed: int = 0) -> float:
    found = metrics.METRICS[metric]
    groups = int(group_N.max()) + 1
    null = resampling.swap(found, [(ours, theirs)], group_N, groups, resamples, np.random.default_rng(seed))[0]
    observed = np.mean([metrics.score(metric, u) for u in ours]) - np.mean([metrics.score(metric, u) for u in theirs])
    return resampling.p_value(float(observed), null)


@pytest.mark.parametrize("metric", sorted(metrics.METRICS))
def test_swaps_are_exactly_the_row_exchanges_of_whole_groups(metric: str) -> None:
    """Every drawn difference equals one of the 2^G differences computed by exchanging rows and scoring again."""
    found = metrics.METRICS[metric]
    ours, theirs, group_N = pair(metric, 5, groups=4, size=3, gap=0.4, scale=30.0)
    ours = np.concatenate([ours, ours[:, ::-1]])  # two seeds; the second with its rows, gold included, reversed
    theirs = np.concatenate([theirs, theirs[:, ::-1]])
    before = ours.copy(), theirs.copy()
    drawn = resampling.swap(found, [(ours, theirs)], group_N, 4, 300, np.random.default_rng(0))[0]
    assert np.array_equal(ours, before[0])
    assert np.array_equal(theirs, before[1])
    linear = "pearson" if metric == "spearman" else metric  # Spearman's rows are ranks by then
    expected = []
    for flips in itertools.product([False, True], repeat=4):
        swapped = np.array(flips)[group_N]
        gaps = []
        for a, b in zip(ours, theirs, strict=True):
            a, b = found.prepare(a), found.prepare(b)
            new_a, new_b = np.where(swapped[:, None], b, a), np.where(swapped[:, None], a, b)
            gaps.append(metrics.score(linear, new_a) - metrics.score(linear, new_b))
        expected.append(np.mean(gaps))
    distance = np.abs(drawn[:, None] - np.array(expected)[None, :])
    assert distance.min(axis=1).max() < 1e-9, "a draw that is no exchange of groups"
    assert distance.min(axis=0).max() < 1e-9, "an exchange that is never drawn"
    observed = np.mean([metrics.score(metric, a) - metrics.score(metric, b) for a, b in zip(ours, theirs, strict=True)])
    assert expected[0] == pytest.approx(observed, abs=1e-12)


def test_p_is_right_tailed_counts_ties_and_is_never_0() -> None:
    null = np.array([0.0, 0.1, -0.2, 0.2 - 1e-14, 0.3])
    assert resampling.p_value(0.2, null) == pytest.approx(4 / 6)
    assert resampling.p_value(-0.2, null) == pytest.approx(4 / 6)
    assert resampling.p_value(5.0, null) == pytest.approx(1 / 6)
    assert resampling.p_value(0.25, np.array([np.nan, 0.0])) == pytest.approx(2 / 3)
    assert math.isnan(resampling.p_value(float("nan"), null))


@pytest.mark.parametrize("metric", sorted(metrics.METRICS))
def test_identical_systems_have_p_exactly_1(metric: str) -> None:
    ours, _, group_N = pair(metric, 1, groups=30, size=3)
    assert paired_p(metric, ours, ours.copy(), group_N) == 1.0


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("metric", SHAPES)
def test_under_the_null_one_test_in_twenty_rejects(metric: str, size: int) -> None:
    runs = 400
    p = np.array(
        [paired_p(metric, *pair(metric, 1000 + i, groups=45, size=size, scale=50.0), seed=i) for i in range(runs)]
    )
    rejected = int((p <= 0.05).sum())
    low, high = scipy_stats.binom.ppf([0.0005, 0.9995], runs, 0.05)
    assert low <= rejected <= high, f"{rejected} of {runs} rejected at 5 %"


def test_swapping_rows_instead_of_groups_would_reject_too_often() -> None:
    """The reason for groups, and the proof that the calibration above can fail."""
    runs, rejected = 300, 0
    for i in range(runs):
        ours, theirs, group_N = pair("token_f1", i, groups=45, size=3)
        ours[:, :, 1] = ours[:, group_N * 3, 1]  # the same error in all three
        theirs[:, :, 1] = theirs[:, group_N * 3, 1]
        rejected += paired_p("token_f1", ours, theirs, np.arange(135), seed=i) <= 0.05
    assert rejected / runs > 0.15


@pytest.mark.parametrize("metric", SHAPES)
def test_a_planted_gap_is_found_whatever_the_scales(metric: str) -> None:
    p = [paired_p(metric, *pair(metric, 70 + i, groups=120, size=3, gap=0.8, scale=1000.0), seed=i) for i in range(20)]
    assert sum(x <= 0.05 for x in p) >= 17


@pytest.mark.parametrize("metric", SHAPES)
def test_bootstrap_equals_repeating_the_drawn_groups(metric: str) -> None:
    ours, theirs, group_N = pair(metric, 9, groups=12, size=3)
    group_N = np.random.default_rng(2).permutation(group_N)
    units = np.concatenate([ours, theirs])
    found = resampling.bootstrap(metrics.METRICS[metric], units, group_N, 12, 25, np.random.default_rng(8))
    drawn = np.random.default_rng(8).integers(0, 12, size=(25, 12))
    for r, groups in enumerate(drawn):
        rows = np.concatenate([np.flatnonzero(group_N == g) for g in groups])
        for a in range(2):
            assert found[a, r] == pytest.approx(metrics.score(metric, units[a, rows]), abs=1e-10)


def test_bootstrap_and_swap_do_not_depend_on_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs, group_N = pair("spearman", 9, groups=12, size=3)
    metric = metrics.METRICS["spearman"]

    def both() -> tuple[np.ndarray, np.ndarray]:
        a = resampling.bootstrap(metric, ours, group_N, 12, 50, resampling.generator("x"))
        return a, resampling.swap(metric, [(ours, theirs)], group_N, 12, 50, resampling.generator("y"))

    whole = both()
    monkeypatch.setattr(resampling, "CHUNK", 36 * 8)
    for one, other in zip(whole, both(), strict=True):
        assert one == pytest.approx(other, abs=1e-12)


def test_no_examples_give_nan_not_a_crash() -> None:
    empty = np.zeros((1, 0, 2))
    metric = metrics.METRICS["accuracy"]
    none = np.zeros(0, dtype=int)
    assert np.isnan(resampling.bootstrap(metric, empty, none, 0, 5, np.random.default_rng(0))).all()
    assert np.isnan(resampling.swap(metric, [(empty, empty)], none, 0, 5, np.random.default_rng(0))).all()
    assert all(math.isnan(x) for x in resampling.interval(np.full(5, np.nan)))


def test_intervals_cover_the_truth() -> None:
    """95 % intervals of a mean with groups of three; ignoring the groups would cover about 80 %."""
    runs, covered, ignoring = 300, 0, 0
    metric = metrics.METRICS["token_f1"]
    for i in range(runs):
        rng = np.random.default_rng(i)
        f1 = np.repeat(rng.normal(0.5, 0.1, 60), 3)
        units = np.column_stack([f1 * 0, f1])[None]
        low, high = resampling.interval(
            resampling.bootstrap(metric, units, np.repeat(np.arange(60), 3), 60, 400, rng)[0]
        )
        covered += low <= 0.5 <= high
        low, high = resampling.interval(resampling.bootstrap(metric, units, np.arange(180), 180, 400, rng)[0])
        ignoring += low <= 0.5 <= high
    assert 0.90 <= covered / runs <= 0.985
    assert ignoring / runs < 0.85


def test_interval_leaves_a_few_undefined_samples_out_but_not_many() -> None:
    samples = np.linspace(0, 1, 1001)
    assert resampling.interval(samples) == pytest.approx((0.025, 0.975))
    samples[::100] = np.nan
    assert resampling.interval(samples) == pytest.approx((0.025, 0.975), abs=0.002)
    samples[: len(samples) // 10] = np.nan
    assert all(math.isnan(x) for x in resampling.interval(samples))


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


def test_generators_depend_on_the_whole_signature() -> None:
    draws = {resampling.generator(*s).integers(1 << 60) for s in [("a", "b"), ("ab", ""), ("a",), ("b", "a")]}
    assert len(draws) == 4
    assert resampling.generator("a", "b").integers(1 << 60) == resampling.generator("a", "b").integers(1 << 60)
