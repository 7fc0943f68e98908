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
    stands = {key: _stands({name: of[name] for name in members(family, of)}, family) for key, of in tests.items()}
    names = {key: {name: of[name] for name in stands[key].values()} for key, of in tests.items()}
    size = gates.family_size(
        family.correction, [(f"{i} {m}", t, c) for i, of in enumerate(names.values()) for m, t, c in of]
    )
    swaps = stats.resamples_for(size, resamples, family.alpha)
    family_tests = sum(map(len, names.values()))
    steps = gates.hardest(
        family.correction, [(f"{i} {m}", t, c) for i, of in enumerate(names.values()) for m, t, c in of]
    )
    factors: dict[Key, dict[Test, int]] = {key: {} for key in names}
    for i, key in enumerate(names):
        for (model, task, language), test in tests[key].items():  # one of several names may be in the family alone
            step = steps.get((f"{i} {model}", task, language), 1)
            factors[key][test] = max(step, factors[key].get(test, 1))
    found = {key: nulls.permute(sources[key], factors[key], swaps=swaps, alpha=family.alpha) for key in tests}
    adjusted = _adjusted(found, names, family)
    for key, of in found.items():
        wanted = {test: adjusted[key][name].p_adjusted for name, test in names[key].items()}
        close = nulls.undecided({test: of[test] for test in wanted}, wanted, family.alpha)
        if close:
            again = {test: factors[key][test] for test in close}
            of.update(nulls.permute(sources[key], again, swaps=nulls.ESCALATION * swaps, alpha=family.alpha))
    adjusted = _adjusted(found, names, family)
    by_row = {key: {name: adjusted[key][of] for name, of in stands[key].items()} for key in rows}
    return (
        {key: [_with_p(row, test, found[key], by_row[key]) for row, test in of] for key, of in rows.items()},
        family_tests,
        swaps,
    )


def _stands(tests: Mapping[Hypothesis, Test], family: Family) -> dict[Hypothesis, Hypothesis]:
    """Returns which test stands for each in the correction: the shallowest one that averages the very same cells.

    In a tree each stands for itself: there an only child costs nothing, and its gate may be closed where it has none.
    """
    if family.correction == "gatekeeping":
        return {name: name for name in tests}
    first: dict[Test, Hypothesis] = {}
    for name in sorted(tests, key=lambda n: (n[2] is not None, n[1] is not None)):
        first.setdefault(tests[name], name)
    return {name: first[test] for name, test in tests.items()}


def _adjusted(
    found: Mapping[Key, Mapping[Test, Tested]], names: Mapping[Key, Mapping[Hypothesis, Test]], family: Family
) -> dict[Key, dict[Hypothesis, gates.Adjusted]]:
    """Returns each test of the family adjusted over all of `names`, whichever study it is of."""
    flat = {
        (f"{i} {model}", task, language): found[key][test].p
        for i, (key, of) in enumerate(names.items())
        for (model, task, language), test in of.items()
    }
    done = gates.CORRECTIONS[family.correction](flat, family.alpha)
    return {
        key: {(model, task, language): done[f"{i} {model}", task, language] for model, task, language in of}
        for i, (key, of) in enumerate(names.items())
    }


def _with_p(
    row: Comparison, test: Test, found: Mapping[Test, Tested], adjusted: Mapping[Hypothesis, gates.Adjusted]
) -> Comparison:
    if test not in found:
        return row
    of = found[test]
    row = replace(row, p=of.p, swaps=of.swaps, detectable=of.detectable)
    name = (row.model, row.task, row.language)
    if name not in adjusted:
        return row
    return replace(row, p_adjusted=adjusted[name].p_adjusted, closed=adjusted[name].closed)
