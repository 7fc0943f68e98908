"""Rows of a comparison by hand: whose draws it names, how many groups, the share of what chance leaves, equivalence."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

import numpy as np
import pytest
from toy_records import record, store

from unibench import metrics
from unibench.cells import cells
from unibench.compare import compare
from unibench.comparisons import Comparison
from unibench.declared import Family
from unibench.pairing import Cell
from unibench.store import RunRecord

Name = tuple[str, str | None, str | None]


def rows(given: Iterable[Cell], **more) -> dict[Name, Comparison]:
    found = compare(given, **{"baseline": "mbert", "signature": "s", "resamples": 400, **more})
    return {(row.model, row.task, row.language): row for row in found.rows}


def seed(*parts: str) -> str:
    return hashlib.sha256("\n".join(("swap", *parts)).encode()).hexdigest()[:8]


def digest_of(groups: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(set(groups))).encode()).hexdigest()[:16]


def test_every_row_names_its_draws_and_a_mean_of_several_what_theirs_begin_with() -> None:
    given = store()
    items = digest_of(given[0].groups)
    found = rows(cells(given))
    assert len(found) == 2 * (6 + 3 + 1)
    expected = {
        ("xnli", "de"): ("s", items, ""), ("xnli", "ro"): ("s", items, ""), ("xnli", None): ("s", items, ""),
        ("wikiann", "en"): ("s", items, "en"), ("wikiann", "ro"): ("s", items, "ro"), ("wikiann", None): ("s",),
        ("sts17", "en-tr"): ("s", items, "en-tr"), ("sts17", None): ("s", items, "en-tr"), (None, None): ("s",),
    }  # fmt: skip
    for (task, language), parts in expected.items():
        for model in ("mbert", "small"):
            assert found[model, task, language].drawn == seed(*parts), (task, language)


def with_groups(records: Iterable[RunRecord], groups: dict[str, tuple[str, ...]], *, parallel: bool) -> list[Cell]:
    return [
        Cell(task=c.task, language=c.language, metric=c.metric, groups=groups[c.language], parallel=parallel,
             units={m: {s: u[: len(groups[c.language])] for s, u in of.items()} for m, of in c.units.items()})
        for c in cells(records)
    ]  # fmt: skip


def test_groups_are_those_that_are_drawn_and_translations_count_once() -> None:
    pairs = [record(m, "xnli", x) for m in ("mbert", "small") for x in ("de", "en")]
    groups = {"de": tuple(f"{i // 3:04d}" for i in range(120)), "en": tuple(f"{i // 3 + 10:04d}" for i in range(90))}
    assert (len(set(groups["de"])), len(set(groups["en"]))) == (40, 30)
    assert set(groups["en"]) < set(groups["de"])
    for parallel, together in ((True, 40), (False, 70)):
        found = rows(with_groups(pairs, groups, parallel=parallel))
        cell_groups = {x: (found["small", "xnli", x].n, found["small", "xnli", x].groups) for x in ("de", "en")}
        assert cell_groups == {"de": (120, 40), "en": (90, 30)}
        for task in ("xnli", None):
            assert (found["small", task, None].n, found["small", task, None].groups) == (210, together)


def test_over_chance_is_the_share_of_what_the_baselines_floor_leaves_and_no_cell_is_chosen() -> None:
    given = store([("scratch", 0.3), ("mbert", 0.45), ("small", 0.8)])
    found = rows(cells(given))
    units = {(r.job.model, r.job.task, r.language, r.job.seed): r for r in given}

    def score(model: str, task: str, language: str) -> float:
        both = [units[model, task, language, s] for s in (0, 1)]
        return float(np.mean([metrics.score(r.metric, r.units) for r in both]))

    means = []
    for task, languages in (("sts17", ("en-tr",)), ("wikiann", ("en", "ro")), ("xnli", ("de", "en", "ro"))):
        shares = []
        for language in languages:
            gold = units["mbert", task, language, 0].units[:, 0]
            majority = np.unique(gold, return_counts=True)[1].max() / len(gold)
            floor = majority if task == "xnli" else max(0.0, score("scratch", task, language))
            shares.append((score("small", task, language) - score("mbert", task, language)) / (1 - floor))
            assert found["small", task, language].corrected == pytest.approx(shares[-1])
        means.append(np.mean(shares))
        assert found["small", task, None].corrected == pytest.approx(means[-1])
    overall = found["small", None, None]
    assert overall.corrected == pytest.approx(np.mean(means))
    assert 0 < overall.ri_cells < overall.cells == 6, "the improvement leaves cells out"
    assert all(math.isnan(row.corrected) for name, row in found.items() if name[0] == "mbert")


def test_over_chance_is_unknown_where_chance_leaves_nothing() -> None:
    alike = np.zeros((60, 2))  # one gold label: saying it always is right always
    wrong = np.column_stack([np.zeros(60), np.ones(60)])
    cell = Cell(task="t", language="en", metric="accuracy", groups=tuple(map(str, range(60))), parallel=False,
                units={"mbert": {0: wrong}, "small": {0: alike}})  # fmt: skip
    found = rows([cell])["small", "t", "en"]
    assert found.delta == 1
    assert math.isnan(found.corrected)


@pytest.mark.parametrize("few", [12, 40])
def test_twins_are_as_equivalent_as_the_smallest_cell_of_their_mean_allows(few: int) -> None:
    """None of n groups differs: (1 - margin)^n is the chance of it where a share `margin` would (Hanley 1983)."""
    family = Family(name="near", written="2026-01-01", question="Which?", margin=10)
    groups = {"de": tuple(f"{i // 3:04d}" for i in range(120)), "en": tuple(str(i % few) for i in range(120))}
    one = [record("mbert", "xnli", x) for x in ("de", "en")]
    made = [
        Cell(task=c.task, language=c.language, metric=c.metric, groups=c.groups, parallel=False,
             units={**c.units, "twin": c.units["mbert"]})
        for c in with_groups(one, groups, parallel=False)
    ]  # fmt: skip
    found = rows(made, family=family)
    for name, n in (("de", 40), ("en", few), (None, few)):
        row = found["twin", "xnli", name]
        assert row.equivalence_p == pytest.approx(max(0.9**n, 1 / 401))
        assert row.verdict == ("equivalent" if n == 40 else "not known")
    assert found["twin", None, None].verdict == found["twin", "xnli", "en"].verdict
