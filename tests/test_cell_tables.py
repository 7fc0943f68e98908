"""Languages beside models, and every test with what it stands on: marks, columns, signatures that say the truth."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from scipy.stats import binomtest
from toy_records import N, record, row, store, table

from unibench import cell_tables, metrics, resampling
from unibench.cell_tables import BETTER, WORSE, language_table
from unibench.comparisons import Comparison, Comparisons
from unibench.declared import DEFAULT, Family
from unibench.report import leaderboard
from unibench.signatures import Signature, seed_of
from unibench.store import RunRecord
from unibench.tables import CLOSED, Entry, Table

NAN = float("nan")
MODELS = ("base", "good", "bad", "same")


def made(model: str, language: str | None, p: float = NAN, delta: float = NAN, **more: Any) -> Comparison:
    return Comparison(
        model=model, baseline="base", task="t", language=language, metric="accuracy", score=0.5, score_low=0.4,
        score_high=0.6, above_floor=True, delta=delta, p=p / 10, p_adjusted=p, n=9, **more,
    )  # fmt: skip


def found(rows: Iterable[Comparison]) -> Comparisons:
    return Comparisons(rows=tuple(rows), family=1, resamples=9, swaps=9, ineligible={}, undefined=())


ROWS = [
    made(model, language, p, delta, **({} if language else {"cells": 2, "cells_wanted": 2}))
    for language in ("de", "en", None)
    for model, p, delta in (("base", NAN, NAN), ("good", 0.01, 0.1), ("bad", 0.05, -0.1), ("same", 0.051, 0.1))
]


def marks(of: Table) -> dict[tuple[str, str], tuple[str, ...]]:
    names = [column.name for column in of.columns]
    return {
        (str(line[0]), name): value.marks
        for line in of.rows
        for name, value in zip(names, line, strict=True)
        if isinstance(value, Entry)
    }


def test_marks_say_who_is_told_apart_and_in_which_direction() -> None:
    shown = language_table(found(ROWS), "title", "t", MODELS, None, 0.05)
    assert [c.name for c in shown.columns] == ["language", "base", "bad", "good", "same"]
    assert [line[0] for line in shown.rows] == ["mean of 2", "de", "en"]
    for language in ("mean of 2", "de", "en"):
        said = {model: marks(shown)[language, model] for model in MODELS}
        assert said == {"base": (), "good": (BETTER,), "bad": (WORSE,), "same": ()}
    assert "adjusted p at most alpha" in shown.footnotes[0]
    strict = language_table(found(ROWS), "title", "t", MODELS, None, 0.005)
    assert not any(marks(strict).values())
    assert not any(BETTER in note for note in strict.footnotes)


def test_a_model_that_lacks_a_language_has_a_gap_there_and_filters_hide_only() -> None:
    rows = [one for one in ROWS if (one.model, one.language) != ("good", "de")]
    shown = language_table(found(rows), "title", "t", MODELS, None, 0.05)
    assert row(shown, "de")["good"] is None
    part = language_table(found(ROWS), "title", "t", ("base", "good"), {"en"}, 0.05)
    assert [c.name for c in part.columns] == ["language", "base", "good"]
    assert [line[0] for line in part.rows] == ["mean of 2", "en"], "a filter moves no mean"
    assert part.rows[1][2] == language_table(found(ROWS), "title", "t", MODELS, None, 0.05).rows[2][3]


def test_without_significance_no_mark_speaks_of_p() -> None:
    records = store([("mbert", 0.5), ("small", 0.9)])
    views = ("languages", "tasks", "tests", "leaderboard")
    with_p, without = (leaderboard(records, resamples=200, views=views, significance=s) for s in (True, False))
    assert any(BETTER in of for t in with_p for of in marks(t).values())
    for shown in without:
        assert all(column.kind != "p" for column in shown.columns)
        assert not any({BETTER, WORSE, CLOSED} & set(of) for of in marks(shown).values())
        assert not any(BETTER in note or note.startswith(CLOSED) for note in shown.footnotes)


def alone(records: Iterable[RunRecord]) -> list[RunRecord]:
    """Every example a group of its own, as McNemar's test wants it."""
    return [replace(r, groups=tuple(f"{i:04d}" for i in range(N))) for r in records]


def digest_of(groups: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(set(groups))).encode()).hexdigest()[:16]


def columns(shown: Table) -> list[str]:
    return [column.name for column in shown.columns]


def judged(records: Iterable[RunRecord], title: str, **more: Any) -> Table:
    return table(leaderboard(list(records), resamples=400, views=("tests",), **more), f"Tests of {title}")


def test_mcnemar_stands_where_it_is_valid_and_nowhere_else() -> None:
    pairs = [record(m, "xnli", x, quality=q) for m, q in (("mbert", 0.5), ("small", 0.6)) for x in ("de", "en")]
    assert "p McNemar" not in columns(judged(pairs, "xnli")), "groups of three"
    single = alone(pairs)
    assert "p McNemar" not in columns(judged([*single, *alone(replace(r, job=replace(r.job, seed=1)) for r in pairs)],
                                               "xnli")), "two seeds"  # fmt: skip
    spans = [record(m, "wikiann", "en", quality=q) for m, q in (("mbert", 0.5), ("small", 0.6))]
    assert "p McNemar" not in columns(judged(alone(spans), "wikiann")), "no mean of hits"
    shown = judged(single, "xnli")
    for language in ("de", "en"):
        hits = {r.job.model: r.units[:, 0] == r.units[:, 1] for r in single if r.language == language}
        ours, theirs = (sum(hits[a] & ~hits[b]) for a, b in (("small", "mbert"), ("mbert", "small")))
        assert row(shown, language)["p McNemar"] == pytest.approx(binomtest(int(ours), int(ours + theirs)).pvalue)
        assert row(shown, language)["p"] == pytest.approx(row(shown, language)["p McNemar"], abs=0.08)
    assert row(shown, "mean of 2")["p McNemar"] is None
    assert [note for note in shown.footnotes if "McNemar" in note] == [
        "p McNemar: exact, two-sided, of one seed's hits and misses; not adjusted, and in no family."
    ]
    assert not any("McNemar" in note for note in judged(pairs, "xnli").footnotes)


def test_groups_stand_beside_examples() -> None:
    shown = judged(store([("mbert", 0.5), ("small", 0.6)]), "xnli")
    assert columns(shown)[-3:] == ["n", "groups", "signature"]
    assert (row(shown, "de")["n"], row(shown, "de")["groups"]) == (N, 40), "groups of three"
    assert (row(shown, "mean of 3")["n"], row(shown, "mean of 3")["groups"]) == (3 * N, 40), "translations share them"
    overall = judged(store([("mbert", 0.5), ("small", 0.6)]), "the overall means")
    # xnli once, wikiann in each language, sts17
    assert (row(overall, "mean of 6")["n"], row(overall, "mean of 6")["groups"]) == (6 * N, 4 * 40)


def test_equivalence_stands_where_the_family_has_a_margin() -> None:
    records = store([("mbert", 0.6), ("small", 0.9)])
    records += [replace(r, job=replace(r.job, model="twin")) for r in records if r.job.model == "mbert"]
    plain = judged(records, "xnli")
    assert not any("within" in name for name in columns(plain))
    family = Family(name="near", written="2026-01-01", question="Which?", margin=7.5)
    shown = judged(records, "xnli", family=family)
    assert [name for name in columns(shown) if "within" in name] == ["within ±7.5", "p within"]
    assert any("within ±7.5: whether the difference lies within 7.5 points" in note for note in shown.footnotes)
    verdicts = {line[1]: line[columns(shown).index("within ±7.5")] for line in shown.rows if line[0] == "mean of 3"}
    assert verdicts == {"small": "different", "twin": "equivalent"}
    assert row(shown, "mean of 3", "twin")["p within"] == pytest.approx((1 - 0.075) ** 40), "40 groups, none differs"
    for name in ("p", "p adjusted", "Δ", "Δ BCa", "detectable"):
        assert row(shown, "de", "small")[name] == row(plain, "de", "small")[name]


def test_every_test_signs_the_seed_of_the_generator_that_it_used() -> None:
    records = store([("mbert", 0.6), ("small", 0.7)])
    setting = "zero-shot from en"
    items = digest_of(records[0].groups)
    used: Mapping[tuple[str, str], tuple[str, ...]] = {
        ("xnli", "de"): (setting, items, ""), ("xnli", "mean of 3"): (setting, items, ""),
        ("wikiann", "ro"): (setting, items, "ro"), ("sts17", "en-tr"): (setting, items, "en-tr"),
        ("wikiann", "mean of 2"): (setting,), ("the overall means", "mean of 6"): (setting,),
    }  # fmt: skip
    for (task, place), seeded in used.items():
        line = row(judged(records, task), place, "small")
        signed = Signature.parse(str(line["signature"]))
        assert signed.text == line["signature"]
        assert signed.seed == hashlib.sha256("\n".join(("swap", *seeded)).encode()).hexdigest()[:8]
        assert signed.family == DEFAULT.label
        assert signed.correction == "gatekeeping"
        assert signed.test == "perm:groups,two-sided"
        assert signed.definition == "delta of scores to mbert"


def test_the_signed_seed_and_resamples_give_back_the_p() -> None:
    records = [record(m, "wikiann", "ro", quality=q) for m, q in (("mbert", 0.6), ("small", 0.63))]
    line = row(judged(records, "wikiann"), "ro", "small")
    signed = Signature.parse(str(line["signature"]))
    parts = ("swap", "zero-shot from en", digest_of(records[0].groups), "ro")
    assert seed_of(*parts) == signed.seed
    groups = sorted(set(records[0].groups))
    place = resampling.group_index(records[0].groups, groups)
    (null,) = resampling.swap(
        metrics.lookup("span_f1"), [(records[1].units[None], records[0].units[None])], place, len(groups),
        signed.resamples or 0, resampling.generator(*parts),
    )  # fmt: skip
    delta = line["Δ"]
    assert isinstance(delta, Entry)
    assert line["p"] == resampling.p_value(delta.value, null)


def test_nothing_tested_is_no_table() -> None:
    for rows in (ROWS[:1], [made("base", None), made("lone", None)]):
        assert cell_tables.tests_table(found(rows), "t", "t", MODELS, None, DEFAULT) is None
    views = leaderboard([record("mbert"), record("small", seed=1)], resamples=100, views=("tests",))
    assert views == []


def test_what_is_outside_the_family_has_a_p_and_no_adjusted_one() -> None:
    family = Family(name="few", written="2026-01-01", question="Which?", scope="tasks")
    shown = judged(store([("mbert", 0.5), ("small", 0.8)]), "xnli", family=family)
    german, mean = row(shown, "de", "small"), row(shown, "mean of 3", "small")
    assert isinstance(german["p"], float)
    assert german["p adjusted"] is None
    assert isinstance(mean["p adjusted"], Entry)
    assert not math.isnan(mean["p adjusted"].value)
    assert Signature.parse(str(mean["signature"])).family == family.label
