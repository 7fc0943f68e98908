"""Recipe claims: scipy where nothing is shared, hand-made noise where it is, and simulations of retrained models."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from unibench import metrics, resampling
from unibench.stats import recipes

SHAPES = ["accuracy", "span_f1", "token_f1", "spearman"]
ONE = ("task", "en")


def claim(ours: np.ndarray, theirs: np.ndarray, **how) -> recipes.RecipeClaim:
    """One task, one language, one seed a run."""
    scores = {ONE: np.concatenate([ours, theirs])}
    return recipes.claim(scores, ([1] * len(ours), [1] * len(theirs)), rng=np.random.default_rng(0), **how)


def test_without_draws_the_interval_is_welchs_and_p_relabels_welchs_statistic() -> None:
    for i, (a, b) in enumerate([(5, 5), (5, 7), (8, 5)]):
        rng = np.random.default_rng(i)
        ours, theirs = rng.normal(0.71, 0.01, size=a), rng.normal(0.70, 0.02, size=b)
        found = claim(ours, theirs)
        welch = scipy_stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((welch.low, welch.high))
        expected = scipy_stats.permutation_test(
            (ours, theirs),
            lambda x, y, axis: scipy_stats.ttest_ind(x, y, equal_var=False, axis=axis).statistic,
            vectorized=True,
            n_resamples=2_000,
        )
        assert found.p == pytest.approx(expected.pvalue)
        assert found.arrangements == math.comb(a + b, a)
        assert found.smallest_p == pytest.approx(2 / math.comb(a + b, a))
        assert found.test.endswith("new runs, these examples")


def test_many_runs_are_relabelled_at_random_and_seeded() -> None:
    values = np.random.default_rng(2).normal(size=20)
    found = claim(values[:10] + 0.5, values[10:])
    assert found == claim(values[:10] + 0.5, values[10:])
    assert (found.arrangements, found.smallest_p) == (20_000, pytest.approx(2 / 20_001))
    assert found.p == pytest.approx(scipy_stats.ttest_ind(values[:10] + 0.5, values[10:]).pvalue, abs=0.03)


def test_a_runs_value_is_its_seeds_then_languages_then_tasks() -> None:
    """Ragged seeds. By hand: run i of ours scores i in the mean of its seeds, with a task and a language beside it."""
    seeds = ([2, 1, 3, 1, 1], [1] * 5)
    qa_en = np.array([-1, 1, 1, 1, 2, 3, 3, 4, *[0.0, 1.0, 2.0, 3.0, 4.0]])
    scores = {("qa", "en"): qa_en, ("qa", "de"): qa_en + 4, ("nli", "en"): np.r_[np.full(8, 10.0), np.full(5, 8.0)]}
    found = recipes.claim(scores, seeds, rng=np.random.default_rng(0))
    # runs: (i + (i + 4)) / 2 averaged with 10; theirs the same with 8
    alone = claim((np.arange(5) + 2 + 10) / 2, (np.arange(5) + 2 + 8) / 2)
    assert found.delta == pytest.approx(1.0)
    assert (found.low, found.high, found.p) == pytest.approx((alone.low, alone.high, alone.p))
    assert (found.runs, found.seeds) == ((5, 5), ((2, 1, 3, 1, 1), (1, 1, 1, 1, 1)))


def test_below_five_runs_a_side_it_is_withheld() -> None:
    found = claim(np.array([0.8, 0.81, 0.82]), np.array([0.7, 0.71, 0.72, 0.73, 0.74]))
    assert found.withheld == "3 runs against 5: at least 5 a side are needed; every run is shown instead"
    assert found.delta == pytest.approx(0.09)
    assert found.smallest_p == pytest.approx(2 / 56)
    assert all(math.isnan(x) for x in (found.p, found.low, found.high))
    none = recipes.claim({ONE: np.empty(0)}, ([], []), rng=np.random.default_rng(0))
    assert none.withheld.startswith("0 runs against 0")
    assert recipes.claim({}, ([], []), rng=np.random.default_rng(0)).withheld.startswith("0 runs against 0")


def test_other_reasons_to_withhold() -> None:
    runs = np.random.default_rng(0).normal(size=5)
    lacking = claim(np.r_[runs[:4], np.nan], runs)
    assert lacking.withheld == "1 of 10 runs lack a defined score"
    copies = claim(np.full(5, 0.8), np.full(5, 0.1 + 0.6))
    assert copies.withheld == "the runs of each side all score the same: they look like copies of one run"
    draws = np.random.default_rng(1).normal(size=(10, 100))
    draws[3, :6] = np.nan
    undefined = claim(runs, runs, draws={ONE: draws})
    assert undefined.withheld == "the score is undefined in more than 1 of 20 resamples of the examples"
    for found in (lacking, copies, undefined):
        assert math.isnan(found.p)
        assert math.isnan(found.low)
    with pytest.raises(ValueError, match=r"\[9\] rows a cell for runs with"):
        recipes.claim({ONE: np.zeros(9)}, ([1] * 5, [1] * 5), rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="give both of each cell"):
        claim(runs, runs, draws={("task", "de"): draws})


def test_the_same_runs_on_both_sides_have_p_1_and_no_difference() -> None:
    runs = np.random.default_rng(0).normal(size=6)
    found = claim(runs, runs)
    assert (found.p, found.delta) == (1.0, 0.0)
    assert found.low < 0 < found.high


def test_what_runs_of_one_side_share_widens_and_their_own_noise_or_everybodys_does_not() -> None:
    runs = np.random.default_rng(0).normal(size=10)
    own = np.zeros((10, 40))
    for i in range(10):  # orthogonal and centred: the covariance between runs is exactly 0
        own[i, 4 * i : 4 * i + 4] = [30, -30, 30, -30]
    plain = claim(runs[:5], runs[5:])
    for draws in (own, np.tile(own[0], (10, 1)), own + own[0]):
        found = claim(runs[:5], runs[5:], draws={ONE: draws})
        assert (found.low, found.high, found.p) == pytest.approx((plain.low, plain.high, plain.p))
        assert found.test.endswith("new runs, new examples")
    noise = np.tile([0.7, -0.7], 20)
    found = claim(runs[:5], runs[5:], draws={ONE: np.concatenate([np.tile(noise, (5, 1)), np.zeros((5, 40))])})
    spread = [side.var(ddof=1) / 5 for side in (runs[:5], runs[5:])]
    total = sum(spread) + noise.var(ddof=1)
    half = scipy_stats.t.ppf(0.975, total**2 / sum(v**2 / 4 for v in spread)) * math.sqrt(total)
    assert (found.low, found.high) == pytest.approx((found.delta - half, found.delta + half))


def test_p_relabels_the_whole_statistic_draws_included() -> None:
    """The same sum written out relabelling by relabelling, with resamples in place of the covariances' algebra."""
    rng = np.random.default_rng(4)
    values, draws = rng.normal(size=11), rng.normal(size=(11, 60)) + 0.8 * rng.normal(size=60)
    draws[:5] += 2 * rng.normal(size=60)
    null = []
    for ours in itertools.combinations(range(11), 5):
        theirs = [i for i in range(11) if i not in ours]
        sides = [list(ours), theirs]
        variance = sum(values[s].var(ddof=1) / len(s) for s in sides)
        gap = draws[sides[0]].mean(axis=0) - draws[sides[1]].mean(axis=0)
        own = sum(((draws[s] - draws[s].mean(axis=0)).var(axis=1, ddof=1).sum() / (len(s) - 1)) / len(s) for s in sides)
        variance += max(0.0, gap.var(ddof=1) - own)
        null.append((values[sides[0]].mean() - values[sides[1]].mean()) / math.sqrt(variance))
    lower, upper = (np.mean(np.array(null) <= null[0] + 1e-9), np.mean(np.array(null) >= null[0] - 1e-9))
    assert claim(values[:5], values[5:], draws={ONE: draws}).p == pytest.approx(2 * min(lower, upper))


def retrained(metric: str, rng: np.random.Generator, counts: tuple[list[int], list[int]], gap: float = 0.0):
    """The units (A, N, K) of retrained models: each an effect of its run and of its seed, items hard for all, noise."""
    n = 90
    kind = metrics.METRICS[metric].unit_names
    gold, hard, out = rng.random(n), np.repeat(rng.normal(size=n // 3), 3), []
    for side, worse in zip(counts, (0.0, gap), strict=True):
        for seeds in side:
            run = 0.25 * rng.normal() + worse
            for _ in range(seeds):
                wrong = 0.5 * hard + 0.8 * rng.normal(size=n) + run + 0.1 * rng.normal()
                if kind == metrics.NLI_UNITS:
                    out.append([gold * 0, wrong > 0.6])
                elif kind == metrics.NER_UNITS:
                    missed = np.clip(np.round(wrong), 0, 2)
                    out.append([2 - missed, np.clip(np.round(wrong + 0.2), 0, 2), missed])
                elif kind == metrics.QA_UNITS:
                    f1 = np.clip(0.6 - 0.3 * wrong, 0, 1)
                    out.append([f1 == 1, f1])
                else:
                    noise = 0.5 * hard + 0.8 * rng.normal(size=n)
                    out.append([gold, gold + 0.25 * np.exp(run + 0.1 * rng.normal()) * noise])
    return np.array(out, dtype=np.float64).transpose(0, 2, 1)


def p_of_both(metric: str, seed: int, *, counts=([2] * 5, [2] * 5), gap: float = 0.0) -> tuple[float, float]:
    """(p of the recipe test, p of the checkpoint test) on the same models."""
    rng = np.random.default_rng(seed)
    units, groups, found = retrained(metric, rng, counts, gap), np.repeat(np.arange(30), 3), metrics.METRICS[metric]
    scores = np.array([metrics.score(metric, u) for u in units])
    draws = resampling.bootstrap(found, units, groups, 30, 60, rng)
    recipe = recipes.claim({ONE: scores}, counts, draws={ONE: draws}, rng=rng)
    ours = sum(counts[0])
    if sum(counts[1]) != ours:
        return recipe.p, float("nan")
    null = resampling.swap(found, [(units[:ours], units[ours:])], groups, 30, 99, rng)[0]
    return recipe.p, resampling.p_value(float(scores[:ours].mean() - scores[ours:].mean()), null)


@pytest.mark.parametrize("metric", SHAPES)
def test_retrained_models_of_one_recipe_differ_one_time_in_twenty(metric: str) -> None:
    """While the checkpoint test, right about these very models, would take training's luck for a better recipe."""
    runs = 200
    recipe, checkpoint = (np.array([p_of_both(metric, i) for i in range(runs)]) <= 0.05).sum(axis=0)
    low, high = scipy_stats.binom.ppf([0.0005, 0.9995], runs, 12 / 252)
    assert low <= recipe <= high, f"{recipe} of {runs}"
    assert checkpoint > 2 * high, f"{checkpoint} of {runs}"


def test_unequal_runs_with_unequal_seeds_are_calibrated() -> None:
    runs = 200
    rejected = sum(p_of_both("accuracy", i, counts=([1] * 5, [4] * 8))[0] <= 0.05 for i in range(runs))
    low, high = scipy_stats.binom.ppf([0.0005, 0.9995], runs, 0.05)
    assert low <= rejected <= high, f"{rejected} of {runs}"


@pytest.mark.parametrize("metric", SHAPES)
def test_a_planted_gap_is_found(metric: str) -> None:
    assert sum(p_of_both(metric, i, gap=0.7)[0] <= 0.05 for i in range(20)) >= 16


def hierarchical(draws: np.ndarray, a: int, seeds: int, rng: np.random.Generator) -> np.ndarray:
    """Runs with replacement, seeds within each drawn run, examples: (R,), `a` runs a side, equally many seeds."""
    resamples, sides = draws.shape[1], []
    for first in (0, a):
        run = first + rng.integers(0, a, size=(resamples, a, 1))
        row = run * seeds + rng.integers(0, seeds, size=(resamples, a, seeds))
        sides.append(draws[row, np.arange(resamples)[:, None, None]].mean(axis=(1, 2)))
    return sides[0] - sides[1]


@pytest.mark.parametrize(
    ("run", "seed", "item", "kind"), [(1, 0.3, 0.3, 0), (0.1, 1, 0.3, 0), (0.05, 0.05, 3, 0), (0.3, 0.3, 1, 4)]
)
def test_coverage_and_p_whatever_the_noise_is_made_of(run: float, seed: float, item: float, kind: float) -> None:
    """The truth is 0. `kind` plants items that suit one recipe, though neither is better on the items not drawn."""
    runs, a, seeds, examples, resamples = 400, 5, 3, 150, 150
    covered = ignoring = rejected = widened = 0
    for i in range(runs):
        rng = np.random.default_rng(i)
        suits = np.repeat(kind * rng.normal(size=(2, 1, 1, examples)), a, axis=1)
        x = run * rng.normal(size=(2, a, 1, 1)) + seed * rng.normal(size=(2, a, seeds, 1)) + suits
        x = (x + item * rng.normal(size=(2, a, seeds, examples))).reshape(2 * a * seeds, examples)
        draws = x @ rng.multinomial(examples, np.full(examples, 1 / examples), size=resamples).T / examples
        how = {"seeds": ([seeds] * a, [seeds] * a), "rng": rng}
        found = recipes.claim({ONE: x.mean(axis=1)}, draws={ONE: draws}, **how)
        fixed = recipes.claim({ONE: x.mean(axis=1)}, **how)
        covered += found.low <= 0 <= found.high
        rejected += found.p <= 0.05
        ignoring += fixed.low <= 0 <= fixed.high
        # Hesterberg 2015's factor for few clusters, and t in place of the normal
        half = math.sqrt(a / (a - 1)) * scipy_stats.t.ppf(0.975, 2 * a - 2) * hierarchical(draws, a, seeds, rng).std()
        widened += abs(found.delta) <= half
    at_least, at_most = scipy_stats.binom.ppf([0.0005, 0.9995], runs, 0.95)
    assert at_least <= covered <= at_most, f"{covered} of {runs}"
    assert runs - at_most <= rejected <= runs - at_least, f"{rejected} of {runs}"
    if kind:
        assert ignoring < at_least, "the reason for draws"
    if max(seed, item) > run:
        assert widened > at_most, "the reason against the hierarchical bootstrap"
