"""The permutation null against a loop that swaps rows by hand, one resample after another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from scipy.stats import binomtest, rankdata
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


def coins(signature: str, task: str, language: str, groups: int, swaps: int) -> np.ndarray:
    rng = resampling.generator("swap", signature, task, language)
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
            heads = coins(signature, one.task, "" if one.parallel else one.language, len(everyone), R)[r]
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
    """A parallel task whose languages share only some groups, and three tasks drawn language by language."""
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
    found = permute(source, [("new", keys) for keys in tests.values()], swaps=R)
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
    found = permute(source, [test], swaps=R)[test]
    sides = [np.stack([one.units[m][s] for s in (0, 1)]) for m in ("new", "base")]
    place, groups = resampling.group_index(one.groups, sorted(set(one.groups))), len(set(one.groups))
    rng = resampling.generator("swap", "sig", "t", "" if parallel else "en")
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
    few, many = (permute(source, [test], swaps=n)[test] for n in (R, 8 * R))
    hits = [round(of.p * (of.swaps + 1)) - 1 for of in (few, many)]
    assert hits[0] <= hits[1] <= hits[0] + 7 * R
    for one in cells:
        key = (one.task, one.language)
        groups = source.place(key)[1]
        drawn = []
        for swaps in (R, 8 * R):
            of = source.swaps(key, groups, swaps)
            drawn.append(resampling.draw_swaps(of, swaps, groups) if isinstance(of, np.random.Generator) else of)
        assert np.array_equal(drawn[0], drawn[1][:R])


def test_another_model_task_or_test_moves_no_p() -> None:
    cells = mixed_cells()
    source = Source(pairing.plan(cells, "base"), "toy")
    tests: list[Of] = [("new", source.study.scope(None)), ("new", (("ner", "ro"),))]
    alone = permute(source, tests, swaps=R)
    more = [
        cell(c.task, c.language, c.metric, {"base": (0.60, (0, 1)), "new": (0.64, (0, 1)), "alt": (0.9, (0, 1))},
             parallel=c.parallel, groups=c.groups)
        for c in cells
    ] + [cell("zzz", "en", "accuracy", {"base": (0.6, (0,)), "new": (0.5, (0,))})]  # fmt: skip
    wider = Source(pairing.plan(more, "base"), "toy")
    crowd: list[Of] = [*tests, ("alt", wider.study.scope("ner")), ("new", (("zzz", "en"),))]
    beside = permute(wider, crowd, swaps=R)
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
    assert [of.p for of in permute(source, tests, swaps=R).values()] == [1.0] * len(tests)


def test_seeds_that_only_one_side_has_take_no_part() -> None:
    shared = cell("t", "en", "accuracy", {"base": (0.6, (0, 1)), "new": (0.66, (0, 1))})
    extra = cell("t", "en", "accuracy", {"base": (0.6, (0, 1, 2)), "new": (0.66, (0, 1, 3))})
    test: Of = ("new", (("t", "en"),))
    one, other = (permute(Source(pairing.plan([c], "base"), ""), [test], swaps=R)[test] for c in (shared, extra))
    assert one == other


def test_what_could_have_been_found_does_not_hang_on_the_task_that_comes_last() -> None:
    systems = {"base": (0.6, (0,)), "new": (0.66, (0,))}
    large = cell("a", "en", "accuracy", systems)
    small = cell("z", "en", "accuracy", systems, groups=[str(i // 40) for i in range(120)])  # 3 groups: p >= 1/4
    source = Source(pairing.plan([large, small], "base"), "")
    tests: list[Of] = [("new", (("z", "en"),)), ("new", source.study.scope(None))]
    found = permute(source, tests, swaps=R)
    assert math.isnan(found[tests[0]].detectable)
    assert found[tests[1]].detectable > 0


def test_groups_of_another_language_are_no_coins_of_a_cell() -> None:
    systems = {"base": (0.6, (0,)), "new": (0.66, (0,))}
    large = cell("t", "de", "accuracy", systems, parallel=True)
    small = cell("t", "en", "accuracy", systems, parallel=True, groups=[str(i // 40) for i in range(120)])
    source = Source(pairing.plan([large, small], "base"), "")
    test: Of = ("new", (("t", "en"),))
    found = permute(source, [test], swaps=R)[test]
    assert found.p >= 1 / 8  # of the 8 arrangements of 3 groups, 2 are the observed one
    assert math.isnan(found.detectable)


def test_undecided_is_what_an_exact_interval_leaves_open() -> None:
    alpha, swaps = 0.05, 999
    for hits in (0, 5, 20, 30, 35, 49, 60, 75, 90, 400):
        for factor in (1, 3, 20):
            p = (hits + 1) / (swaps + 1)
            test: Of = ("m", (("t", "en"),))
            ci = binomtest(hits, swaps).proportion_ci(0.99, "exact")
            opened = undecided({test: nulls.Tested(p=p, swaps=swaps, detectable=0.1)}, {test: factor * p}, alpha)
            assert bool(opened) == bool(ci.low <= alpha / factor <= ci.high), (hits, factor)
