"""What stands beside the score: oracle, parts, warnings and counts, from toy records and by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from toy_records import N, record, row, store, table

from unibench import metrics
from unibench.report import leaderboard
from unibench.store import RunRecord
from unibench.tables import PARTIAL, Table


def report(records: list[RunRecord], **more) -> list[Table]:
    return leaderboard(records, resamples=100, **more)


def scored(r: RunRecord, oracle: float | None = None, **parts: float) -> RunRecord:
    found = {r.metric: metrics.score(r.metric, r.units), **{f"{r.metric}:{part}": s for part, s in parts.items()}}
    chosen = {"learning_rate": 1e-5, "dev_score": 0.5, "scores": {r.metric: oracle}, "source": f"500 {r.language} dev"}
    return replace(r, scores=found, oracle=chosen if oracle is not None else {})


def test_the_oracle_stands_beside_the_score_and_moves_nothing() -> None:
    records = [scored(record("mbert", language=x, seed=s)) for x in ("de", "en") for s in (0, 1)]
    plain = table(report(records), "xnli")
    assert "oracle" not in [c.name for c in plain.columns]
    with_one = [scored(r, 0.7 + 0.1 * r.job.seed) if r.language == "de" else r for r in records]
    found = table(report(with_one), "xnli")
    german, english = row(found, "de", "mbert"), row(found, "en", "mbert")
    assert german["oracle"] == pytest.approx(0.75)
    # trained on: chosen by its own dev set in any case
    assert english["oracle"] == pytest.approx(english["score"].value)
    mean = row(found, "mean of 2", "mbert")
    assert mean["oracle"] == pytest.approx((0.75 + english["score"].value) / 2)
    assert [{k: v for k, v in row(found, *r[:2]).items() if k != "oracle"} for r in found.rows] == [
        row(plain, *r[:2]) for r in plain.rows
    ]
    (note,) = (n for n in found.footnotes if n.startswith("oracle:"))
    assert "nothing is compared with it" in note
    assert "500 … dev" in note


def test_an_oracle_of_some_seeds_only_is_not_shown_beside_a_mean_of_all() -> None:
    records = [scored(record("mbert", language="de", seed=s), 0.7 if s else None) for s in (0, 1)]
    records += [scored(record("small", language="de", seed=s), 0.6) for s in (0, 1)]
    found = table(report(records), "xnli")
    assert row(found, "de", "mbert")["oracle"] is None
    assert row(found, "de", "small")["oracle"] == pytest.approx(0.6)


def test_types_of_names_are_averaged_over_seeds_then_languages() -> None:
    by_cell = {("en", 0): 0.5, ("en", 1): 0.7, ("ro", 0): 0.1, ("ro", 1): 0.3}
    records = [scored(record("mbert", "wikiann", x, s), LOC=f1, PER=0.4) for (x, s), f1 in by_cell.items()]
    records += [scored(record("small", "wikiann", "en", s), LOC=0.9) for s in (0, 1)]
    tables = report(records)
    found = table(tables, "wikiann by type")
    assert found.title == "wikiann by type: zero-shot from en, test split"
    assert row(found, "mbert")["LOC"].value == pytest.approx((0.6 + 0.2) / 2)
    assert row(found, "mbert")["PER"].value == pytest.approx(0.4)
    assert row(found, "small")["LOC"].value == pytest.approx(0.9)
    assert (row(found, "small")["LOC"].marks, row(found, "mbert")["LOC"].marks) == ((PARTIAL,), ())
    assert row(found, "small")["PER"] is None
    assert "LOC 2; PER 2" in " ".join(found.footnotes)
    assert [t.title for t in tables].index(found.title) == [t.title for t in tables].index(
        table(tables, "wikiann:").title
    ) + 1
    narrowed = table(report(records, languages=["en"]), "wikiann by type")
    assert row(narrowed, "mbert") == row(found, "mbert")


def test_parts_of_another_family_and_none_at_all() -> None:
    asked = scored(record("mbert", "mlqa"), answerable=0.3, unanswerable=float("nan"))
    found = table(report([asked]), "mlqa by whether there is an answer")
    assert [c.name for c in found.columns] == ["model", "answerable"]
    assert len([t for t in report([scored(record("mbert", "mlqa"))]) if t.title.startswith("mlqa")]) == 1
    # precision:LOC is not a part of span_f1
    other = replace(record("mbert", "wikiann"), scores={"precision:LOC": 0.5})
    assert not [t for t in report([other]) if "by type" in t.title]


def test_warnings_and_changed_rows_are_footnotes_of_their_task() -> None:
    chance = "accuracy 33.4 is not above chance (33.5, the majority class)"
    records = [record("mbert", language=x, seed=s, provenance={"extra": {"warning": chance, "rows": {"malformed": 2}}})
               for x in ("de", "en") for s in (0, 1)]  # fmt: skip
    records += [
        record("small", language="de", provenance={"extra": {"rows": {"malformed": 2, "iob_repaired": 0, "odd": 7}}}),
        record("small", "wikiann", "ro", provenance={"extra": {"rows": {"iob_repaired": 3}}}),
    ]
    tables = report(records)
    found = table(tables, "xnli").footnotes
    assert f"Warning, mbert (de, seed 0 1; en, seed 0 1): {chance}" in found
    # two seeds and two models read the same rows: each language counts once
    assert "Rows of the test sets, before any limit: 4 malformed, left out (de 2 en 2); 7 odd (de 7)." in found
    (note,) = (n for n in table(tables, "wikiann").footnotes if n.startswith("Rows"))
    assert "(ro 3)" in note
    assert not any("Warning" in n for n in table(report(records, models=["small"], baseline="small"), "xnli").footnotes)


def test_many_warnings_are_counted_not_listed() -> None:
    records = [record("mbert", seed=s, provenance={"extra": {"warning": f"odd {s:02d}"}}) for s in range(20)]
    found = [note for note in table(report(records), "xnli").footnotes if "arning" in note]
    assert len(found) == 13
    assert found[0] == "Warning, mbert (en, seed 0): odd 00"
    assert found[-1] == "And 8 further warnings, kept in the records."


def test_plain_records_have_no_further_notes() -> None:
    found = report(store())
    assert len(store()[0].units) == N
    assert not [n for t in found for n in t.footnotes if n.startswith(("Warning", "Rows", "oracle"))]
