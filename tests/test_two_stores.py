"""Two sets of results: gains by hand, what is paired and what is not, and everything that changed in between."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from toy_records import RECIPE, missing, notes, record, row, store, table

from unibench import metrics, render
from unibench.compare import compare
from unibench.errors import StaleRecord, UserError
from unibench.pairing import Cell
from unibench.store import RunRecord
from unibench.tables import Table
from unibench.two_stores import against

NAMES = ("today", "may")


def other(records: list[RunRecord], **quality: float) -> list[RunRecord]:
    """The same experiments with other outcomes: the units of toy records follow from a model's name."""
    out = []
    for r in records:
        made = record(f"{r.job.model}'", r.job.task, r.language, r.job.seed, quality.get(r.job.model, 0.6))
        out.append(replace(made, job=r.job, provenance=r.provenance))
    return out


def compared(ours: list[RunRecord], theirs: list[RunRecord], **more) -> list[Table]:
    return against(ours, theirs, names=NAMES, resamples=500, **more)


def change(records: list[RunRecord], **made) -> list[RunRecord]:
    return [replace(r, provenance=replace(r.provenance, **made)) for r in records]


def differs(tables: list[Table]) -> dict[str, tuple[object, ...]]:
    return {str(r[0]): r[1:] for r in table(tables, "What differs").rows}


def score(records: list[RunRecord], model: str) -> float:
    """Mean over seeds, then languages, then tasks."""
    cells: dict[tuple[str, str], list[float]] = {}
    for r in records:
        if r.job.model == model:
            cells.setdefault((r.job.task, r.language), []).append(metrics.score(r.metric, r.units))
    tasks: dict[str, list[float]] = {}
    for (task, _), scores in cells.items():
        tasks.setdefault(task, []).append(float(np.mean(scores)))
    return float(np.mean([np.mean(scores) for scores in tasks.values()]))


def test_gains_by_hand() -> None:
    ours = store()
    theirs = other(ours, mbert=0.6, small=0.6)
    tables = compared(ours, theirs)
    for model in ("mbert", "small"):
        found = row(table(tables, "today against may"), model)
        assert found["in may"] == pytest.approx(score(theirs, model))
        assert found["in today"].value == pytest.approx(score(ours, model))
        assert found["Δ"].value == pytest.approx(score(ours, model) - score(theirs, model))
        assert found["Δ"].low < found["Δ"].value < found["Δ"].high
        assert found["cells"] == 6
    assert row(table(tables, "today against may"), "small")["p adjusted"] < 0.05
    assert "family of 18 tests" in notes(tables)  # 2 models x (6 cells + overall + 2 tasks; sts17 has but one cell)
    assert "fine-tuning seeds common to both sides (0 1)" in notes(tables)


def test_a_cell_is_what_the_paired_test_of_models_says() -> None:
    ours, theirs = [record("mbert", quality=0.75)], other([record("mbert")], mbert=0.6)
    units = {"old": {0: theirs[0].units}, "new": {0: ours[0].units}}
    cell = Cell(task="xnli", language="en", metric="accuracy", groups=ours[0].groups, parallel=True, units=units)
    said = compare([cell], baseline="old", signature="one set of results against another", resamples=500)
    (asked,) = (r for r in said.rows if r.model == "new" and r.language)
    found = row(table(compared(ours, theirs), "xnli, today against may"), "en", "mbert")
    assert (found["Δ"].value, found["p"], found["p adjusted"]) == (asked.delta, asked.p, asked.p_adjusted)
    assert (found["Δ"].low, found["Δ"].high, found["n"]) == (asked.ci_low, asked.ci_high, asked.n)


@pytest.mark.parametrize("twice", [False, True])
def test_identical_sets_differ_by_nothing(twice: bool) -> None:
    ours = store()
    tables = compared(ours, ours if twice else store())
    overview = table(tables, "today against may")
    for model in ("mbert", "small"):
        found = row(overview, model)
        assert (found["Δ"].value, found["Δ"].low, found["Δ"].high, found["p adjusted"]) == (0, 0, 0, 1)
    assert table(tables, "What differs").rows == ()
    assert "Nothing differs in what the records say" in notes(tables)
    assert not [t for t in tables if t.title.startswith("Not compared")]


def test_names_order_and_further_models_move_no_number() -> None:
    ours, theirs = store(), other(store(), mbert=0.55, small=0.7)
    first = compared(ours, theirs)
    shuffled = [[of[i] for i in np.random.default_rng(0).permutation(len(of))] for of in (ours, theirs)]
    assert render.render(compared(*shuffled), "json") == render.render(first, "json")
    renamed = against(ours, theirs, names=("A", "B"), resamples=500)
    assert table(renamed, "A against B").rows == table(first, "today against may").rows
    alone = compared(*([r for r in of if r.job.model == "mbert"] for of in (ours, theirs)))
    beside, by_itself = (row(table(t, "today against may"), "mbert") for t in (first, alone))
    assert beside["Δ"] == by_itself["Δ"]


def test_without_significance_there_is_no_p() -> None:
    tables = compared(store(), other(store()), significance=False)
    assert not [c for t in tables for c in t.columns if c.kind == "p"]
    assert "Holm" not in notes(tables)


def test_nothing_in_common_is_a_table_that_says_so() -> None:
    (only,) = compared([record("mbert")], [record("small", "wikiann", "ro")])
    assert only.title == "Not compared between today and may"
    assert only.rows == (
        ("zero-shot from en", "wikiann", "small", "only in may", "1", "ro", "0"),
        ("zero-shot from en", "xnli", "mbert", "only in today", "1", "en", "0"),
    )
    assert only.footnotes == ("today and may have nothing that may be compared, so no difference is shown.",)
    (none,) = compared([missing("mbert")], [missing("mbert")])
    assert none.rows == ()
    assert "nothing that may be compared" in notes([none])


def test_what_has_no_pair_is_listed_with_its_reason() -> None:
    ids = record("mbert", language="ro")
    ours = [
        record("mbert"),
        record("mbert", language="de"),
        record("small", language="de"),
        ids,
        record("mbert", seed=1),
    ]
    ours += [record("gone", language="de"), missing("never")]
    theirs = [record("mbert"), missing("mbert", language="de"), replace(ids, example_ids_sha256="other")]
    theirs += [missing("gone", language="all", status="unavailable"), replace(record("twice"), metric="macro_f1")]
    ours += [record("twice")]
    tables = compared(ours, theirs)
    gone = table(tables, "Not compared")
    assert {r[2:] for r in gone.rows} == {
        ("mbert", "failed in may: out of memory", "1", "de", "0"),
        ("small", "only in today", "1", "de", "0"),
        ("mbert", "other test examples in may", "1", "ro", "0"),
        ("mbert", "only in today", "1", "en", "1"),
        ("gone", "unavailable in may: out of memory", "1", "de", "0"),
        ("twice", "another metric in may", "1", "en", "0"),
    }
    assert gone.footnotes == ()
    found = row(table(tables, "xnli, today against may"), "en", "mbert")
    assert found["seeds"] == "0", "a mean is over the seeds of both"


def test_settings_never_meet_and_models_that_miss_alike_share_a_row() -> None:
    limited = [record(m, job={"train_limit": 50}) for m in ("mbert", "small")]
    tables = compared([record("mbert"), *limited], [record("mbert"), record("mbert", job={"origin": "sample"})])
    assert [t.title for t in tables[:2]] == [
        "today against may: zero-shot from en",
        "xnli, today against may: zero-shot from en",
    ]
    assert {r[:4] for r in table(tables, "Not compared").rows} == {
        ("zero-shot from en, at most 50 training examples", "xnli", "mbert, small", "only in today"),
        ("sample data, zero-shot from en", "xnli", "mbert", "only in may"),
    }


def test_a_catalogue_name_and_its_hub_id_are_one_model() -> None:
    theirs = [record("google-bert/bert-base-multilingual-cased")]
    found = row(table(compared([record("mbert", quality=0.7)], theirs), "today against may"), "mbert")
    assert found["Δ"].value == pytest.approx(
        metrics.score("accuracy", record("mbert", quality=0.7).units) - metrics.score("accuracy", theirs[0].units)
    )


def test_everything_that_changed_in_between_is_a_row() -> None:
    ours = [record("mbert", task) for task in ("xnli", "wikiann")]
    ours = change(ours, commit="a" * 40, dirty=True, packages={"torch": "2.6"}, extra={"precision": "bf16"})
    theirs = change(
        other([record("mbert", task) for task in ("xnli", "wikiann")]), packages={"torch": "2.5", "numpy": "2"}
    )
    theirs = [replace(r, job=replace(r.job, recipe=replace(RECIPE, epochs=9))) for r in theirs]
    theirs = [change([r], data_sha256="d" * 64)[0] if r.job.task == "xnli" else r for r in theirs]
    tables = compared(ours, theirs)
    found = differs(tables)
    assert found["commit"][:3] == ("aaaaaaaaaaaa with changes", "unknown", "2/2")
    assert found["package torch"][:2] == ("2.6", "2.5")
    assert found["package numpy"][:2] == ("unknown", "2")
    assert found["precision"][:2] == ("bf16", "unknown")
    assert "1 epochs" in str(found["recipe"][0])
    assert "9 epochs" in str(found["recipe"][1])
    assert found["data of xnli"] == ("data xnli en", "d" * 12, "1/2", "xnli", "mbert")
    assert sorted(found) == ["commit", "data of xnli", "package numpy", "package torch", "precision", "recipe"]
    assert "The data changed between the two (xnli), so Δ holds what that did to scores." in notes(tables)


def test_other_weights_and_cards_are_named() -> None:
    theirs = change(other([record("mbert")]), model_sha256="m" * 64, card_sha256="c" * 64)
    tables = compared([record("mbert")], theirs)
    assert differs(tables)["model of mbert"][:2] == ("model mbert", "m" * 12)
    assert "Other weights under one name in the two: mbert." in notes(tables)
    assert "The card changed between the two (xnli)" in notes(tables)


def test_an_undefined_score_is_left_out_and_said() -> None:
    flat = record("mbert", "sts17", "en-tr")
    flat = replace(flat, units=np.column_stack([flat.units[:, 0], np.full(len(flat.units), 0.3)]))
    good = record("mbert", "sts17", "en-tr", quality=0.8)
    tables = compared([good], [flat])
    assert "the score in may being undefined: mbert: sts17 en-tr" in notes(tables)
    assert table(tables, "today against may").rows == ()
    found = row(table(compared([flat], [good]), "today against may"), "mbert")
    assert math.isnan(found["Δ"].value)


def test_adversaries_of_other_languages_are_other_settings() -> None:
    def with_adversary(*languages: str) -> RunRecord:
        return record("mbert", job={"adversarial": languages})

    tables = compared([with_adversary("de", "en")], [with_adversary("de", "en"), with_adversary("en", "ro")])
    assert row(table(tables, "today against may"), "mbert")["Δ"].value == 0
    assert [r[3] for r in table(tables, "Not compared").rows] == ["only in may"]


def test_what_is_refused() -> None:
    for ours, theirs, said in (([], [record("mbert")], "'today'"), ([record("mbert")], [], "'may'")):
        with pytest.raises(UserError, match=f"no records in {said}"):
            compared(ours, theirs)
    with pytest.raises(UserError, match="both sets of results are called 'x'"):
        against([record("mbert")], [record("mbert")], names=("x", "x"))
    mixed = [record("mbert"), *change([record("mbert", seed=1)], model_sha256="other")]
    with pytest.raises(StaleRecord, match="differ in their model"):
        compared(mixed, [record("mbert")])
