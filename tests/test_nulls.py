"""The permutation null against a loop that swaps rows by hand, one resample after another."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from scipy.stats import binom, binomtest, norm, rankdata
from toy_records import units_of

from unibench import metrics, nulls, pairing, resampling
from unibench.draws import Source
from unibench.metrics import Array
from unibench.nulls import permute, undecided
from unibench.pairing import Cell, CellKey

FAMILY = {"accuracy": "nli", "span_f1": "ner", "spearman": "sts", "token_f1": "qa"}
R = 300
Of = tuple[str, tuple[CellKey, ...]]  # a model, and the cells it is tested in


def cell(
    task: str,
    language: str,
    metric: str,
    systems: Mapping[str, tuple[float, Sequence[int]]],
    *,
    parallel: bool = False,
    groups: Sequence[str] | None = None,
) -> Cell:
    """A cell of systems of a quality, on these seeds; groups of three rows unless told otherwise."""
    names = tuple(groups or [f"{i // 3:04d}" for i in range(120)])
    return Cell(
        task=task, language=language, metric=metric, groups=names, parallel=parallel,
        units={
            model: {s: units_of(FAMILY[metric], language, model, s, quality)[: len(names)] for s in seeds}
            for model, (quality, seeds) in systems.items()
        },
    )  # fmt: skip


def by_hand(metric: str, units: Array) -> float:
    """The four scores, of units that are ranks already where the metric is a rank correlation."""
    if metric == "accuracy":
        return float(np.mean(units[:, 0] == units[:, 1]))
    if metric == "token_f1":
        return float(np.mean(units[:, 1]))
    if metric == "spearman":
        return float(np.corrcoef(units.T)[0, 1])
    tp, fp, fn = units.sum(axis=0)
    return float(2 * tp / (2 * tp + fp + fn))


def digest_of(groups: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(set(groups))).encode()).hexdigest()[:16]


def coins(signature: str, everyone: Sequence[str], language: str, swaps: int) -> np.ndarray:
    """The coins (R, G) of these groups, whatever the task: in the same groups, another task meets the same ones."""
    groups, rng = len(everyone), resampling.generator("swap", signature, digest_of(everyone), language)
    return np.unpackbits(resampling.draw_swaps(rng, swaps, groups), axis=1, count=groups).astype(bool)


def slow_null(cells: Sequence[Cell], signature: str, model: str, baseline: str, seeds: Sequence[int]) -> Array:
    """Every resample's difference, averaged language -> task -> overall, rows swapped one group at a time."""
    universe: dict[str, list[str]] = {}
    for one in cells:
        place = one.task if one.parallel else f"{one.task}/{one.language}"
        universe[place] = sorted({*universe.get(place, []), *one.groups})
    out = []
    for r in range(R):
        by_task: dict[str, list[float]] = {}
        for one in cells:
            everyone = universe[one.task if one.parallel else f"{one.task}/{one.language}"]
            heads = coins(signature, everyone, "" if one.parallel else one.language, R)[r]
            stays = np.array([heads[everyone.index(group)] for group in one.groups])[:, None]
            gaps = []
            for seed in seeds:
                a, b = (one.units[m][seed] for m in (model, baseline))
                if one.metric == "spearman":
                    a, b = (np.column_stack([rankdata(column) for column in units.T]) for units in (a, b))
                gaps.append(
                    by_hand(one.metric, np.where(stays, a, b)) - by_hand(one.metric, np.where(stays, b, a))
                )  # fmt: skip
            by_task.setdefault(one.task, []).append(float(np.mean(gaps)))
        out.append(float(np.mean([np.mean(values) for values in by_task.values()])))
    return np.array(out)


def counted(observed: float, null: Array) -> float:
    return (sum(abs(x) >= abs(observed) - 1e-10 for x in null) + 1) / (len(null) + 1)


def mixed_cells(seeds: Sequence[int] = (0, 1)) -> list[Cell]:
    """A parallel task whose languages share only some groups, and three tasks drawn language by language, all jointly
    in en, where their groups are the same."""
    systems = {"base": (0.60, seeds), "new": (0.64, seeds)}
    shifted = [f"{i // 3 + 10:04d}" for i in range(90)]
    return [
        cell("nli", "de", "accuracy", systems, parallel=True),
        cell("nli", "en", "accuracy", systems, parallel=True, groups=shifted),
        cell("ner", "en", "span_f1", systems),
        cell("ner", "ro", "span_f1", systems),
        cell("sts", "en", "spearman", systems),
        cell("qa", "en", "token_f1", systems),
    ]


def test_a_mean_swaps_whole_groups_jointly_over_translations_and_averages_languages_then_tasks() -> None:
    cells = mixed_cells()
    source = Source(pairing.plan(cells, "base"), "toy")
    tests: dict[str | None, tuple[CellKey, ...]] = {None: source.study.scope(None), "nli": source.study.scope("nli")}
    found = permute(source, {("new", keys): 1 for keys in tests.values()}, swaps=R)
    for task, keys in tests.items():
        mine = [c for c in cells if (c.task, c.language) in keys]
        null = slow_null(mine, "toy", "new", "base", (0, 1))
        assert found["new", keys].p == pytest.approx(counted(source.study.delta("new", keys), null)), task
        assert found["new", keys].swaps == R


@pytest.mark.parametrize("metric", FAMILY)
@pytest.mark.parametrize("parallel", [True, False])
def test_a_cell_is_what_swap_says_of_it(metric: str, parallel: bool) -> None:
    one = cell("t", "en", metric, {"base": (0.6, (0, 1)), "new": (0.66, (0, 1))}, parallel=parallel)
    source = Source(pairing.plan([one], "base"), "sig")
    test: Of = ("new", (("t", "en"),))
    found = permute(source, {test: 1}, swaps=R)[test]
    sides = [np.stack([one.units[m][s] for s in (0, 1)]) for m in ("new", "base")]
    place, groups = resampling.group_index(one.groups, sorted(set(one.groups))), len(set(one.groups))
    rng = resampling.generator("swap", "sig", digest_of(one.groups), "" if parallel else "en")
    (null,) = resampling.swap(metrics.lookup(metric), [(sides[0], sides[1])], place, groups, R, rng)
    assert found.p == resampling.p_value(source.study.delta(*test), null)
    if metric != "spearman":
        assert found.p == pytest.approx(
            counted(source.study.delta(*test), slow_null([one], "sig", "new", "base", (0, 1)))
        )


def test_more_swaps_keep_the_first_ones() -> None:
    cells = mixed_cells()
    source = Source(pairing.plan(cells, "base"), "toy")
    test: Of = ("new", source.study.scope(None))
    few, many = (permute(source, {test: 1}, swaps=n)[test] for n in (R, 8 * R))
    hits = [round(of.p * (of.swaps + 1)) - 1 for of in (few, many)]
    assert hits[0] <= hits[1] <= hits[0] + 7 * R
    for one in cells:
        key = (one.task, one.language)
        groups = source.place(key)[1]
        drawn = [source.swaps(key, groups, swaps) for swaps in (R, 8 * R)]
        assert np.array_equal(drawn[0], drawn[1][:R])


def test_another_model_task_or_test_moves_no_p() -> None:
    cells = mixed_cells()
    source = Source(pairing.plan(cells, "base"), "toy")
    tests: list[Of] = [("new", source.study.scope(None)), ("new", (("ner", "ro"),))]
    alone = permute(source, dict.fromkeys(tests, 1), swaps=R)
    more = [
        cell(c.task, c.language, c.metric, {"base": (0.60, (0, 1)), "new": (0.64, (0, 1)), "alt": (0.9, (0, 1))},
             parallel=c.parallel, groups=c.groups)
        for c in cells
    ] + [cell("zzz", "en", "accuracy", {"base": (0.6, (0,)), "new": (0.5, (0,))})]  # fmt: skip
    wider = Source(pairing.plan(more, "base"), "toy")
    crowd: list[Of] = [*tests, ("alt", wider.study.scope("ner")), ("new", (("zzz", "en"),))]
    beside = permute(wider, dict.fromkeys(crowd, 1), swaps=R)
    for test in tests:
        assert beside[test] == alone[test]


def test_identical_models_are_never_told_apart() -> None:
    cells = [
        Cell(task=c.task, language=c.language, metric=c.metric, groups=c.groups, parallel=c.parallel,
             units={**c.units, "twin": c.units["base"]})
        for c in mixed_cells()
    ]  # fmt: skip
    source = Source(pairing.plan(cells, "base"), "toy")
    tests: list[Of] = [("twin", (key,)) for key in source.study.cells] + [("twin", source.study.scope(None))]
    assert [of.p for of in permute(source, dict.fromkeys(tests, 1), swaps=R).values()] == [1.0] * len(tests)


def test_seeds_that_only_one_side_has_take_no_part() -> None:
    shared = cell("t", "en", "accuracy", {"base": (0.6, (0, 1)), "new": (0.66, (0, 1))})
    extra = cell("t", "en", "accuracy", {"base": (0.6, (0, 1, 2)), "new": (0.66, (0, 1, 3))})
    test: Of = ("new", (("t", "en"),))
    one, other = (permute(Source(pairing.plan([c], "base"), ""), {test: 1}, swaps=R)[test] for c in (shared, extra))
    assert one == other


def test_what_could_have_been_found_does_not_hang_on_the_task_that_comes_last() -> None:
    systems = {"base": (0.6, (0,)), "new": (0.66, (0,))}
    large = cell("a", "en", "accuracy", systems)
    small = cell("z", "en", "accuracy", systems, groups=[str(i // 40) for i in range(120)])  # 3 groups: p >= 1/4
    source = Source(pairing.plan([large, small], "base"), "")
    tests: list[Of] = [("new", (("z", "en"),)), ("new", source.study.scope(None))]
    found = permute(source, dict.fromkeys(tests, 1), swaps=R)
    assert math.isnan(found[tests[0]].detectable)
    assert found[tests[1]].detectable > 0


def test_groups_of_another_language_are_no_coins_of_a_cell() -> None:
    systems = {"base": (0.6, (0,)), "new": (0.66, (0,))}
    large = cell("t", "de", "accuracy", systems, parallel=True)
    small = cell("t", "en", "accuracy", systems, parallel=True, groups=[str(i // 40) for i in range(120)])
    source = Source(pairing.plan([large, small], "base"), "")
    test: Of = ("new", (("t", "en"),))
    found = permute(source, {test: 1}, swaps=R)[test]
    assert found.p >= 1 / 8  # of the 8 arrangements of 3 groups, 2 are the observed one
    assert math.isnan(found.detectable)


def test_tasks_that_score_the_same_items_are_swapped_jointly() -> None:
    """Overall p of two tasks over the same groups, in another order of rows: one coin a group turns both."""
    systems = {"base": (0.60, (0, 1)), "new": (0.66, (0, 1))}
    names = [f"{i // 3:04d}" for i in range(120)]
    one, other = (
        cell(task, "en", metric, systems, groups=of)
        for task, metric, of in (("s", "spearman", names), ("s_cosine", "token_f1", names[::-1]))
    )
    source = Source(pairing.plan([one, other], "base"), "sig")
    test: Of = ("new", source.study.scope(None))
    found = permute(source, {test: 1}, swaps=R)[test]
    null = slow_null([one, other], "sig", "new", "base", (0, 1))
    assert found.p == pytest.approx(counted(source.study.delta(*test), null))


def overall_rejects(*, same_items: bool, runs: int = 300) -> int:
    """In how many of these runs a true null is rejected at 5 %: two models, two tasks that score the same answers."""
    rejected = 0
    for i in range(runs):
        rng = np.random.default_rng(i)
        gold = rng.integers(0, 3, 40)
        err = {model: rng.normal(size=40) for model in ("base", "new")}
        made = []
        for task in ("nli", "nli_other"):
            # trained anew for each, but what is hard for a model stays hard
            units = {
                model: {
                    0: np.column_stack([gold, np.where(own + 0.5 * rng.normal(size=40) > 0.5, (gold + 1) % 3, gold)])
                }
                for model, own in err.items()
            }
            own = task if not same_items else ""  # under other names nothing says that the items are the same
            made.append(Cell(task=task, language="en", metric="accuracy", parallel=True, units=units,
                             groups=tuple(f"{own}{n:04d}" for n in range(40))))  # fmt: skip
        source = Source(pairing.plan(made, "base"), str(i))
        test: Of = ("new", source.study.scope(None))
        rejected += permute(source, {test: 1}, swaps=199)[test].p <= 0.05
    return rejected


def test_the_overall_test_of_tasks_on_the_same_items_keeps_its_level_and_drawn_apart_would_not() -> None:
    low, high = binom.ppf([0.0005, 0.9995], 300, 0.05)
    found, apart = overall_rejects(same_items=True), overall_rejects(same_items=False)
    assert low <= found <= high, f"{found} of 300"
    assert apart > high, f"{apart} of 300"


def test_the_factor_of_a_test_raises_what_it_could_have_found_and_moves_no_p() -> None:
    one = cell("t", "en", "accuracy", {"base": (0.6, (0,)), "new": (0.66, (0,)), "alt": (0.5, (0,))})
    source = Source(pairing.plan([one], "base"), "")
    first: Of = ("new", (("t", "en"),))
    second: Of = ("alt", (("t", "en"),))
    plain = permute(source, {first: 1, second: 1}, swaps=999, alpha=0.1)
    found = permute(source, {first: 4, second: 20}, swaps=999, alpha=0.1)
    for test, factor in ((first, 4), (second, 20)):
        assert found[test].p == plain[test].p
        wider = (norm.isf(0.05 / factor) + norm.ppf(0.8)) / (norm.isf(0.05) + norm.ppf(0.8))  # Bloom 1995
        assert found[test].detectable == pytest.approx(plain[test].detectable * wider)


def test_undecided_is_what_an_exact_interval_leaves_open_but_for_what_no_draw_reached() -> None:
    alpha, swaps = 0.05, 999
    for hits in (0, 5, 20, 30, 35, 49, 60, 75, 90, 400):
        for factor in (1, 3, 20, 51):
            p = (hits + 1) / (swaps + 1)
            test: Of = ("m", (("t", "en"),))
            ci = binomtest(hits, swaps).proportion_ci(0.99, "exact")
            opened = undecided({test: nulls.Tested(p=p, swaps=swaps, detectable=0.1)}, {test: factor * p}, alpha)
            settled = hits == 0 and factor / (swaps + 1) <= alpha
            assert bool(opened) == bool(ci.low <= alpha / factor <= ci.high and not settled), (hits, factor)
            if hits == 0:
                assert bool(opened) == (factor == 51), "rejected, unless the factor alone forbids it"
