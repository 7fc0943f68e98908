"""Raw p -> adjusted p of a declared family: against the corrections themselves, and what is never moved."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from scipy.stats import norm
from statsmodels.stats.multitest import multipletests
from toy_records import record, store

from unibench import nulls, pairing
from unibench.cells import cells
from unibench.compare import FLAT, compare, compare_all
from unibench.comparisons import Comparison, Comparisons
from unibench.declared import DEFAULT, Family
from unibench.draws import Source
from unibench.report import leaderboard
from unibench.stats import gates
from unibench.store import RunRecord
from unibench.tables import CLOSED, Entry

R = 400
Name = tuple[str, str | None, str | None]
MODELS = (("mbert", 0.6), ("alt", 0.62), ("new", 0.67), ("small", 0.9))


@cache
def records() -> tuple[RunRecord, ...]:
    return tuple(store(MODELS))


def family(**more: Any) -> Family:
    return Family(name="mine", written="2026-01-01", question="Which?", **more)


def judged(of: Family, given: Iterable[RunRecord] | None = None, resamples: int = R) -> Comparisons:
    return compare(
        cells(records() if given is None else given), baseline="mbert", signature="s", resamples=resamples, family=of
    )


def names(found: Comparisons | Sequence[Comparison]) -> dict[Name, Comparison]:
    rows = found.rows if isinstance(found, Comparisons) else found
    return {(row.model, row.task, row.language): row for row in rows}


def raw(found: Comparisons) -> dict[Name, float]:
    return {name: row.p for name, row in names(found).items() if not math.isnan(row.p)}


def once(tests: dict[Name, float]) -> dict[Name, float]:
    """Without what is the same test twice in these records: sts17's mean is its only cell."""
    return {name: p for name, p in tests.items() if name[1:] != ("sts17", "en-tr")}


def test_gatekeeping_is_that_of_the_raw_p() -> None:
    found = judged(family(correction="gatekeeping"))
    expected = gates.gatekeeping(raw(found))
    assert len(expected) == 3 * (6 + 3 + 1) == found.family
    for name, row in names(found).items():
        if row.model == "mbert":
            assert math.isnan(row.p_adjusted)
        else:
            assert row.p_adjusted == expected[name].p_adjusted
            assert row.closed == expected[name].closed


@pytest.mark.parametrize(("correction", "method"), [("holm", "holm"), ("bh", "fdr_bh")])
def test_flat_corrections_are_those_of_statsmodels_and_count_no_test_twice(correction: str, method: str) -> None:
    found = judged(family(correction=correction))
    tests = once(raw(found))
    assert len(tests) == 3 * (6 + 2 + 1) == found.family
    expected = dict(zip(tests, multipletests(list(tests.values()), method=method)[1], strict=True))
    for name, row in names(found).items():
        if row.model != "mbert":
            twin = (name[0], "sts17", None) if name[1:] == ("sts17", "en-tr") else name
            assert row.p_adjusted == pytest.approx(expected[twin])
            assert not row.closed


def test_a_gate_is_closed_where_a_test_above_was_not_rejected_and_never_on_top() -> None:
    found = names(judged(family()))
    assert {row.closed for row in found.values()} == {True, False}
    for (model, task, language), row in found.items():
        above = [found[model, None, None]] if task else []
        above += [found[model, task, None]] if language else []
        assert row.closed == any(gate.p_adjusted > 0.05 for gate in above), (model, task, language)


def test_a_single_cell_is_one_test_under_three_names_and_its_top_has_no_gate() -> None:
    pair = [record("mbert"), record("small", quality=0.61)]
    found = {name: row for name, row in names(judged(DEFAULT, pair)).items() if name[0] == "small"}
    assert {row.p_adjusted for row in found.values()} == {found["small", None, None].p}
    assert found["small", None, None].p > 0.05
    assert [found[name].closed for name in (("small", None, None), ("small", "xnli", None), ("small", "xnli", "en"))] \
        == [False, True, True]  # fmt: skip
    board = leaderboard(pair, resamples=R)[0]
    marks = [v.marks for row in board.rows for v in row if isinstance(v, Entry)]
    assert all(CLOSED not in of for of in marks)


def test_a_family_of_one_corrects_nothing() -> None:
    found = judged(family(scope="overall", models=("new",)))
    assert found.family == 1
    tested = {name: row for name, row in names(found).items() if not math.isnan(row.p_adjusted)}
    assert list(tested) == [("new", None, None)]
    assert tested["new", None, None].p_adjusted == tested["new", None, None].p


@pytest.mark.parametrize("correction", gates.CORRECTIONS)
@pytest.mark.parametrize(
    ("narrowed", "member"),
    [
        ({"models": ("new", "alt")}, lambda m, t, x: m in ("new", "alt")),
        ({"scope": "overall"}, lambda m, t, x: t is None),
        ({"scope": "tasks"}, lambda m, t, x: x is None),
        ({"tasks": ("xnli",)}, lambda m, t, x: t in (None, "xnli")),
        ({"languages": ("en", "de")}, lambda m, t, x: x in (None, "en", "de")),
        ({"models": ("small",), "tasks": ("wikiann",), "languages": ("ro",)},
         lambda m, t, x: m == "small" and t in (None, "wikiann") and x in (None, "ro")),
    ],
)  # fmt: skip
def test_what_is_outside_the_family_keeps_its_p_and_gets_no_adjusted_one(
    correction: str, narrowed: dict[str, Any], member: Any
) -> None:
    whole, found = judged(family(correction=correction)), judged(family(correction=correction, **narrowed))
    inside = {}
    for name, row in names(found).items():
        if row.model == "mbert":
            continue
        assert not math.isnan(row.p)
        if row.swaps == names(whole)[name].swaps:
            assert row.p == names(whole)[name].p
        assert math.isnan(row.p_adjusted) != member(*name), name
        if member(*name):
            inside[name] = row.p
    tests = inside if correction == "gatekeeping" else once(inside)
    expected = gates.CORRECTIONS[correction](tests, 0.05)
    assert found.family == len(tests)
    for name in tests:
        assert names(found)[name].p_adjusted == pytest.approx(expected[name].p_adjusted)


def test_a_cell_outside_the_scope_gets_nothing_from_the_mean_that_it_alone_makes() -> None:
    pair = [record("mbert"), record("small", quality=0.9)]
    found = names(judged(family(scope="overall", correction="holm"), pair))
    assert found["small", None, None].p_adjusted == found["small", "xnli", "en"].p
    assert math.isnan(found["small", "xnli", "en"].p_adjusted)


def test_identical_models_have_p_1_everywhere() -> None:
    twins = [replace(r, job=replace(r.job, model="twin")) for r in records() if r.job.model == "mbert"]
    for correction in gates.CORRECTIONS:
        found = names(judged(family(correction=correction), [*records(), *twins], 100))
        for name, row in found.items():
            if name[0] == "twin":
                assert (row.p, row.p_adjusted, row.delta) == (1.0, 1.0, 0.0), name


def test_models_without_a_common_seed_are_no_tests() -> None:
    apart = [record("mbert", seed=0), record("lone", seed=1), record("new", seed=0, quality=0.7)]
    for correction, size in (("gatekeeping", 3), ("holm", 1)):
        found = judged(family(correction=correction), apart, 100)
        assert found.family == size
        for name, row in names(found).items():
            assert math.isnan(row.p) == math.isnan(row.p_adjusted) == (name[0] != "new"), name


def test_two_studies_are_one_family() -> None:
    mine = [r for r in records() if r.job.model in ("mbert", "new")]
    other = [r for r in records() if r.job.model in ("mbert", "small")]
    found = compare_all({"a": (cells(mine), "mbert"), "b": (cells(other), "mbert")}, signature="s", resamples=R)
    tests = {(key, *name): p for key, of in found.items() for name, p in once(raw(of)).items()}
    assert {of.family for of in found.values()} == {len(tests)} == {2 * (6 + 2 + 1)}
    expected = dict(zip(tests, multipletests(list(tests.values()), method="holm")[1], strict=True))
    for (key, *name), p in expected.items():
        assert names(found[key])[tuple(name)].p_adjusted == pytest.approx(p)  # type: ignore[index]


def close_call() -> tuple[Family, Comparisons, dict[str, nulls.Tested], Source]:
    """Models whose overall p lie on either side of alpha, some so near that so few swaps can't tell."""
    of = family(scope="overall", correction="holm", models=tuple(f"m{i:02d}" for i in range(5)))
    given = [record("mbert", quality=0.6)] + [
        record(f"m{i:02d}", quality=quality) for i, quality in enumerate((0.62, 0.68, 0.72, 0.76, 0.95))
    ]
    found = judged(of, given)
    source = Source(pairing.plan(cells(given), "mbert"), "s")
    key = (("xnli", "en"),)
    few = nulls.permute(source, {(m, key): 5 for m in of.models}, swaps=R)
    return of, found, {test[0]: tested for test, tested in few.items()}, source


def test_only_what_is_near_the_edge_is_drawn_again_and_no_other_p_moves() -> None:
    of, found, few, source = close_call()
    key = (("xnli", "en"),)
    holm = dict(zip(few, multipletests([t.p for t in few.values()], method="holm")[1], strict=True))
    opened = {test[0] for test in nulls.undecided(
        {(m, key): t for m, t in few.items()}, {(m, key): holm[m] for m in few}, of.alpha)}  # fmt: skip
    assert set() < opened < set(few)
    rows = {name[0]: row for name, row in names(found).items() if name[1] is None and name[0] != "mbert"}
    for model, row in rows.items():
        if model in opened:
            again = nulls.permute(source, {(model, key): 5}, swaps=nulls.ESCALATION * R)[model, key]
            assert (row.p, row.swaps, row.detectable) == (again.p, nulls.ESCALATION * R, again.detectable)
        else:
            assert (row.p, row.swaps, row.detectable) == (few[model].p, R, few[model].detectable)
    final = multipletests([row.p for row in rows.values()], method="holm")[1]
    assert [row.p_adjusted for row in rows.values()] == pytest.approx(list(final))
    assert found.swaps == R  # "at least"


# three models, three tasks, the languages of each: shares of alpha by hand
BRANCHES = {None: 3, "xnli": 27, "wikiann": 18, "sts17": 9}


@pytest.mark.parametrize(
    ("of", "hardest"),
    [
        (family(), lambda t, x: BRANCHES[t] if x else 3 if t is None else 9),
        (family(correction="holm"), lambda t, x: 27),  # 6 cells, 2 means of tasks and the overall one, of each model
        (family(correction="bh", scope="tasks"), lambda t, x: 1 if x and t != "sts17" else 12),
    ],
    ids=["gatekeeping", "holm", "outside the family"],
)
def test_what_is_detectable_is_so_at_the_hardest_step_of_each_test(of: Family, hardest: Any) -> None:
    """The task sts17 is its only cell: one test, and what stands in the family of the two decides."""
    found = judged(of, resamples=1100)
    source = Source(pairing.plan(cells(records()), "mbert"), "s")
    for (model, task, language), row in names(found).items():
        if model == "mbert":
            continue
        test = (model, source.study.scope(task) if language is None else ((str(task), language),))
        plain = nulls.permute(source, {test: 1}, swaps=row.swaps)[test]
        assert plain.p == row.p
        wider = (norm.isf(0.025 / hardest(task, language)) + norm.ppf(0.8)) / (norm.isf(0.025) + norm.ppf(0.8))
        assert row.detectable == pytest.approx(plain.detectable * wider), (model, task, language)


def test_a_family_raises_the_swaps_with_its_size() -> None:
    many = [record(m, q, x) for m in ("mbert", "a", "b") for q, x in (("xnli", "de"), ("xnli", "en"), ("mlqa", "en"))]
    assert compare(cells(many), baseline="mbert", resamples=100, family=FLAT).swaps >= 40 * 10
    one = compare(cells(many), baseline="mbert", resamples=100, family=family(scope="overall", models=("a",)))
    assert one.swaps == 100


def test_views_move_no_p() -> None:
    whole = leaderboard(list(records()), resamples=R, views=("tasks", "tests"))
    part = leaderboard(
        list(records()), resamples=R, views=("tasks", "tests"), tasks=["wikiann"], languages=["ro"], models=["new"]
    )
    shown = 0
    for table in part:
        (full,) = [t for t in whole if t.title == table.title]
        assert set(table.rows) <= set(full.rows)
        assert len(table.rows) < len(full.rows)
        shown += len(table.rows)
    assert shown > 4
