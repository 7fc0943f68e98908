"""Bootstrap, jackknife and swaps against doing it row by row, and tests and intervals against the null itself."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from toy_pairs import SHAPES, pair

from unibench import metrics, resampling


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


def test_of_more_resamples_the_first_are_the_same() -> None:
    """So more may be drawn where a p is near its edge, whether from the start or by going on with the Generator."""
    for draw, groups in ((resampling.draw_weights, 700), (resampling.draw_swaps, 130)):
        long = draw(np.random.default_rng(4), 301, groups)
        for few in (1, 7, 150):
            rng = np.random.default_rng(4)
            assert np.array_equal(draw(rng, few, groups), long[:few])
            assert np.array_equal(draw(rng, 301 - few, groups), long[few:])
    ours, theirs, group_N = pair("span_f1", 2, groups=70, size=1)
    metric = metrics.METRICS["span_f1"]
    more = resampling.swap(metric, [(ours, theirs)], group_N, 70, 500, resampling.generator("y"))
    rng = resampling.generator("y")
    parts = [resampling.swap(metric, [(ours, theirs)], group_N, 70, size, rng) for size in (200, 300)]
    assert np.array_equal(np.concatenate(parts, axis=1), more)


def test_draws_are_fair() -> None:
    weights = resampling.draw_weights(np.random.default_rng(0), 4000, 20)
    assert (weights.sum(axis=1) == 20).all()
    counts = np.bincount(weights.ravel(), minlength=21)
    expected = scipy_stats.binom.pmf(np.arange(21), 20, 1 / 20) * weights.size
    assert counts[:6] == pytest.approx(expected[:6], abs=5 * np.sqrt(expected[:6]).max())
    assert weights.sum(axis=0) == pytest.approx(np.full(20, 4000), abs=5 * np.sqrt(4000))
    bits = np.unpackbits(resampling.draw_swaps(np.random.default_rng(0), 4000, 70), axis=1, count=70)
    assert bits.mean(axis=0) == pytest.approx(np.full(70, 0.5), abs=5 * 0.5 / np.sqrt(4000))


@pytest.mark.parametrize("metric", SHAPES)
def test_what_was_drawn_once_serves_many_cells(metric: str) -> None:
    ours, theirs, group_N = pair(metric, 9, groups=12, size=3)
    found = metrics.METRICS[metric]
    weights = resampling.draw_weights(np.random.default_rng(1), 40, 12)
    drawn = resampling.bootstrap(found, ours, group_N, 12, 30, weights)
    assert np.array_equal(drawn, resampling.bootstrap(found, ours, group_N, 12, 30, np.random.default_rng(1)))
    bits = resampling.draw_swaps(np.random.default_rng(1), 40, 12)
    drawn = resampling.swap(found, [(ours, theirs)], group_N, 12, 30, bits)
    assert np.array_equal(drawn, resampling.swap(found, [(ours, theirs)], group_N, 12, 30, np.random.default_rng(1)))


@pytest.mark.parametrize("metric", SHAPES)
def test_a_pair_is_swapped_alike_alone_and_among_others(metric: str) -> None:
    """Pairs on other numbers of seeds, and one against itself, share the arithmetic and nothing else."""
    found = metrics.METRICS[metric]
    ours, theirs, group_N = pair(metric, 5, groups=9, size=2, gap=0.5)
    worse = pair(metric, 5, groups=9, size=2, gap=0.9)[1]
    pairs = [
        (np.concatenate([ours, worse]), np.concatenate([theirs, theirs])),
        (theirs, theirs),
        (np.concatenate([worse, ours, ours]), np.concatenate([theirs, theirs, worse])),
    ]
    together = resampling.swap(found, pairs, group_N, 9, 60, np.random.default_rng(0))
    for one, drawn in zip(pairs, together, strict=True):
        alone = resampling.swap(found, [one], group_N, 9, 60, np.random.default_rng(0))[0]
        assert drawn == pytest.approx(alone, abs=1e-12)
    assert (together[1] == 0).all()


@pytest.mark.parametrize("part", ["answerable", "unanswerable"])
def test_a_part_is_swapped_like_the_rows_that_are_in_it(part: str) -> None:
    rng = np.random.default_rng(2)
    has = (np.arange(30) % 3 > 0) == (part == "answerable")
    ours, theirs = (np.column_stack([rng.integers(0, 2, 30), rng.random(30), np.arange(30) % 3 > 0]) for _ in range(2))
    bits = resampling.draw_swaps(rng, 50, 30)
    whole = resampling.swap(
        metrics.lookup(f"token_f1:{part}"), [(ours[None], theirs[None])], np.arange(30), 30, 50, bits
    )[0]
    swapped = np.unpackbits(bits, axis=1, count=30).astype(bool)
    first = np.array([(np.where(s, ours[:, 1], theirs[:, 1]) - np.where(s, theirs[:, 1], ours[:, 1]))[has].mean()
                      for s in swapped])  # fmt: skip
    assert np.abs(whole) == pytest.approx(np.abs(first), abs=1e-12)
    empty = np.column_stack([ours[:, :2], np.zeros(30)])[None]
    answerable = metrics.lookup("token_f1:answerable")
    assert np.isnan(resampling.swap(answerable, [(empty, empty)], np.arange(30), 30, 5, rng)).all()


def test_counts_stay_exact_however_large() -> None:
    """Totals near the largest that 32 bits hold exactly, and beyond: the same as with whole numbers."""
    rng = np.random.default_rng(0)
    for largest in (2_000, 200_000):
        units = rng.integers(largest // 2, largest, size=(2, 8_000, 3)).astype(float)
        drawn = resampling.draw_weights(rng, 20, 8_000)
        found = resampling.bootstrap(metrics.METRICS["span_f1"], units, np.arange(8_000), 8_000, 20, drawn)
        for a in range(2):
            tp, fp, fn = (drawn.astype(np.int64) @ units[a].astype(np.int64)).T
            assert found[a] == pytest.approx(2 * tp / (2 * tp + fp + fn), abs=1e-15)


@pytest.mark.parametrize(("rows", "levels"), [(60, 4), (60, 1000), (1000, 30), (2600, 50), (2600, 10**6)])
def test_resampled_spearman_is_scipys_of_the_repeated_rows(rows: int, levels: int) -> None:
    """With many ties, few and none; beyond 1,600 rows the sums leave 32 bits."""
    rng = np.random.default_rng(rows)
    gold = rng.integers(0, 6, rows) / 5
    units = np.stack([
        np.column_stack([gold, np.round((gold + rng.normal(size=rows)) * levels / 5)]),
        np.column_stack([gold, rng.integers(0, 2, rows)]),
        np.column_stack([gold[::-1], rng.normal(size=rows)]),
        np.column_stack([gold, gold + rng.random(rows) / 100]),
        np.column_stack([gold, np.full(rows, 0.5)]),
        np.column_stack([gold, np.full(rows, np.nan)]),
    ])  # fmt: skip
    weights = resampling.draw_weights(rng, 30, rows)
    found = resampling.bootstrap(metrics.METRICS["spearman"], units, np.arange(rows), rows, 30, weights)
    for r, times in enumerate(weights):
        for a in range(4):
            repeated = np.repeat(units[a], times, axis=0)
            assert found[a, r] == pytest.approx(scipy_stats.spearmanr(*repeated.T).statistic, abs=1e-12)
    assert np.isnan(found[4:]).all()


@pytest.mark.parametrize("metric", sorted(metrics.METRICS))
def test_the_jackknife_scores_without_each_group(metric: str) -> None:
    ours, theirs, group_N = pair(metric, 9, groups=12, size=3)
    group_N = np.random.default_rng(2).permutation(group_N)
    units = np.concatenate([ours, theirs])
    found = resampling.jackknife(metrics.METRICS[metric], units, group_N, 13)
    assert found.shape == (2, 13)
    for a in range(2):
        for g in range(13):  # the last one has no rows
            assert found[a, g] == pytest.approx(metrics.score(metric, units[a, group_N != g]), abs=1e-10)
    assert np.isnan(resampling.jackknife(metrics.METRICS[metric], units, np.zeros(36, dtype=int), 1)).all()


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


def test_generators_depend_on_the_whole_signature() -> None:
    draws = {resampling.generator(*s).integers(1 << 60) for s in [("a", "b"), ("ab", ""), ("a",), ("b", "a")]}
    assert len(draws) == 4
    assert resampling.generator("a", "b").integers(1 << 60) == resampling.generator("a", "b").integers(1 << 60)
