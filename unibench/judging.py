"""Rows -> rows with p: every test drawn, corrected over one family, and drawn again where it is close."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np

from unibench import nulls, stats
from unibench.comparisons import Comparison
from unibench.declared import Family, members
from unibench.draws import Source
from unibench.nulls import Test, Tested
from unibench.stats import gates
from unibench.stats.gates import Hypothesis

Key = TypeVar("Key", bound=Hashable)


def judge(
    rows: Mapping[Key, list[tuple[Comparison, Test]]], sources: Mapping[Key, Source], resamples: int, family: Family
) -> tuple[dict[Key, list[Comparison]], int, int]:
    """Returns the rows with their p, raw and adjusted, how many tests were adjusted, and by how many permutations."""
    tests = {
        key: {
            (row.model, row.task, row.language): test
            for row, test in of
            if not np.isnan(sources[key].study.delta(*test))
        }
        for key, of in rows.items()
    }
    names = {key: _once({name: of[name] for name in members(family, of)}, family) for key, of in tests.items()}
    size = gates.family_size(
        family.correction, [(f"{i} {m}", t, c) for i, of in enumerate(names.values()) for m, t, c in of]
    )
    swaps = stats.resamples_for(size, resamples)
    family_tests = sum(map(len, names.values()))
    found = {
        key: nulls.permute(sources[key], of.values(), swaps=swaps, family=max(1, family_tests), alpha=family.alpha)
        for key, of in tests.items()
    }
    adjusted = _adjusted(found, tests, names, family)
    for key, of in found.items():
        wanted = {test: adjusted[key][test].p_adjusted for test in of if test in adjusted[key]}
        close = nulls.undecided({test: of[test] for test in wanted}, wanted, family.alpha)
        if close:
            more = nulls.permute(
                sources[key], close, swaps=nulls.ESCALATION * swaps, family=max(1, family_tests), alpha=family.alpha
            )
            of.update(more)
    adjusted = _adjusted(found, tests, names, family)
    return (
        {key: [_with_p(row, test, found[key], adjusted[key]) for row, test in of] for key, of in rows.items()},
        family_tests,
        swaps,
    )


def _once(tests: Mapping[Hypothesis, Test], family: Family) -> dict[Hypothesis, Test]:
    """Returns the tests without those that a shallower one already makes; in a tree an only child costs nothing."""
    if family.correction == "gatekeeping":
        return dict(tests)
    first: dict[Test, Hypothesis] = {}
    for name in sorted(tests, key=lambda n: (n[2] is not None, n[1] is not None)):
        first.setdefault(tests[name], name)
    return {name: tests[name] for name in tests if first[tests[name]] == name}


def _adjusted(
    found: Mapping[Key, Mapping[Test, Tested]],
    tests: Mapping[Key, Mapping[Hypothesis, Test]],
    names: Mapping[Key, Mapping[Hypothesis, Test]],
    family: Family,
) -> dict[Key, dict[Test, gates.Adjusted]]:
    """Returns each test of the family adjusted over all of `names`, whichever study it is of."""
    flat = {
        (f"{i} {model}", task, language): found[key][test].p
        for i, (key, of) in enumerate(names.items())
        for (model, task, language), test in of.items()
    }
    done = gates.CORRECTIONS[family.correction](flat, family.alpha)
    out: dict[Key, dict[Test, gates.Adjusted]] = {}
    for i, (key, of) in enumerate(names.items()):
        mine = out.setdefault(key, {})
        for (model, task, language), test in of.items():
            mine.setdefault(test, done[f"{i} {model}", task, language])
    return out


def _with_p(
    row: Comparison, test: Test, found: Mapping[Test, Tested], adjusted: Mapping[Test, gates.Adjusted]
) -> Comparison:
    if test not in found:
        return row
    of = found[test]
    row = replace(row, p=of.p, swaps=of.swaps, detectable=of.detectable)
    if test not in adjusted:
        return row
    return replace(row, p_adjusted=adjusted[test].p_adjusted, closed=adjusted[test].closed)
