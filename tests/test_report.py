"""Reports from records: hand-computed tables, what may not meet in a table, and every hole a store can have."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from toy_records import N, missing, notes, record, row, store, table

from unibench import metrics, render
from unibench.board import choose_baseline
from unibench.compare import compare
from unibench.errors import DataError, StaleRecord, UnknownName, UserError
from unibench.pairing import Cell
from unibench.report import leaderboard
from unibench.store import RunRecord
from unibench.tables import Entry, Table


def report(records: Iterable[RunRecord], **more) -> list[Table]:
    return leaderboard(records, resamples=500, **more)


def test_scores_differences_and_improvements_by_hand() -> None:
    records = store([("mbert", 0.65), ("small", 0.8)])
    tables = report(records)
    by_cell: dict[tuple[str, str, str], float] = {}
    for r in records:
        key = (r.job.model, r.job.task, r.language)
        by_cell[key] = by_cell.get(key, 0.0) + metrics.score(r.metric, r.units) / 2

    def over(value) -> float:
        tasks = {"xnli": ("de", "en", "ro"), "wikiann": ("en", "ro"), "sts17": ("en-tr",)}
        return float(np.mean([np.mean([value(t, x) for x in languages]) for t, languages in tasks.items()]))

    small = row(table(tables, "Leaderboard"), "small")
    score = {m: (lambda t, x, m=m: by_cell[m, t, x]) for m in ("small", "mbert")}
    assert small["Δ"].value == pytest.approx(over(lambda t, x: score["small"](t, x) - score["mbert"](t, x)))
    assert small["RI %"].value == pytest.approx(over(lambda t, x: score["small"](t, x) / score["mbert"](t, x) - 1))
    assert small["ratio of means"] == pytest.approx(over(score["small"]) / over(score["mbert"]))
    assert small["Δ"].low < small["Δ"].value < small["Δ"].high
    assert small["RI %"].low < small["RI %"].value < small["RI %"].high
    assert small["cells"] == "6/6"
    assert small["wikiann span_f1"].value == pytest.approx(
        (by_cell["small", "wikiann", "en"] + by_cell["small", "wikiann", "ro"]) / 2
    )
    assert row(table(tables, "Leaderboard"), "mbert")["RI %"] == "baseline"
    german = row(table(tables, "xnli"), "de", "small")
    assert german["score"].value == pytest.approx(by_cell["small", "xnli", "de"])
    assert german["n"] == N
    assert german["seeds"] == "0 1"
    # 6 cells, 3 means of tasks and the overall one; a language's share of alpha is 1 in 3 tasks of 3 languages
    assert "family of 10 tests" in notes(tables)
    assert german["p"] <= german["p adjusted"].value <= 9 * german["p"]


def test_same_records_in_any_order_give_the_same_bytes() -> None:
    records = store()
    one = report(records)
    other = report([records[i] for i in np.random.default_rng(0).permutation(len(records))])
    for format in render.FORMATS:
        assert render.render(one, format) == render.render(other, format)


def test_filters_of_the_view_move_no_number() -> None:
    records = store([("mbert", 0.5), ("small", 0.55), ("xsmall", 0.6)])
    whole = report(records)
    part = report(records, tasks=["xnli"], languages=["de"], models=["small"])
    assert [t.title.split(":")[0] for t in part] == ["Leaderboard", "xnli"]
    assert [c.name for c in table(part, "Leaderboard").columns][-1] == "xnli accuracy"
    for name in ("RI %", "Δ", "p adjusted", "cells", "xnli accuracy"):
        assert row(table(part, "Leaderboard"), "small")[name] == row(table(whole, "Leaderboard"), "small")[name]
    assert row(table(part, "xnli"), "de", "small") == row(table(whole, "xnli"), "de", "small")
    assert {r[:2] for r in table(part, "xnli").rows} == {
        (language, model) for language in ("mean of 3", "de") for model in ("mbert", "small")
    }
    assert "narrowed" in notes(part)
    assert "narrowed" not in notes(whole)
    with pytest.raises(UnknownName, match="no task 'xlni' in the results; did you mean 'xnli'"):
        report(records, tasks=["xlni"])


def test_another_model_or_task_moves_no_raw_number() -> None:
    before = leaderboard(store())
    extra = [record("xsmall", "xnli", language, seed) for language in ("de", "en", "ro") for seed in (0, 1)]
    extra += [record(model, "mlqa", "en") for model in ("mbert", "small")]
    after = leaderboard([*store(), *extra])
    for language in ("de", "en", "ro"):
        one = row(table(before, "xnli"), language, "small")
        other = row(table(after, "xnli"), language, "small")
        for name in ("score", "Δ", "RI %", "p"):
            assert one[name] == other[name], name
        assert one["p adjusted"].value <= other["p adjusted"].value


def test_another_language_of_a_parallel_task_moves_no_cell() -> None:
    records = store()
    before = table(report(records), "xnli")
    more = [record(m, "xnli", "tr", s) for m in ("mbert", "small") for s in (0, 1)]
    assert row(before, "de", "small")["Δ"] == row(table(report([*records, *more]), "xnli"), "de", "small")["Δ"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"provenance": {"card_sha256": "other"}}, "card"),
        ({"provenance": {"data_sha256": "other"}}, "data"),
        ({"provenance": {"model_sha256": "other"}}, "model"),
        ({"example_ids_sha256": "other"}, "example ids"),
    ],
)
def test_records_of_another_making_are_refused_by_name(change: dict[str, object], what: str) -> None:
    records = [r for r in store() if (r.job.model, r.job.task, r.language, r.job.seed) != ("small", "xnli", "ro", 1)]
    odd = record("small", "xnli", "ro", 1, **change)
    with pytest.raises(StaleRecord, match=rf"runs/xnli/small/zero-shot[.]en/ro[.]seed1[.]json .* their {what} "):
        report([*records, odd])


def test_units_of_another_family_are_refused() -> None:
    with pytest.raises(DataError, match="accuracy needs"):
        report([record("mbert", unit_names=("a", "b"))])
    with pytest.raises(ValueError, match="units=True"):
        report([record("mbert", units=None)])


def test_empty_store_tells_to_run_first() -> None:
    with pytest.raises(UserError, match="run `unibench run` first"):
        report([])


def test_one_model_alone_has_scores_and_no_comparison() -> None:
    tables = report([record("small", "xnli", x) for x in ("de", "en")])
    small = row(table(tables, "Leaderboard"), "small")
    assert (small["RI %"], small["Δ"], small["p adjusted"]) == (None, None, None)
    assert 0 < small["xnli accuracy"].low < small["xnli accuracy"].value < 1
    assert "Baseline: none" in notes(tables)
    assert "p adjusted: Holm" not in notes(tables)
    alone = report([record("mbert", "xnli", x) for x in ("de", "en")])
    assert row(table(alone, "Leaderboard"), "mbert")["RI %"] == "baseline"
    assert "No other model has scores" in notes(alone)


def test_a_baseline_that_failed_everywhere_compares_nothing() -> None:
    tables = report([record("small"), missing("mbert", status="unavailable")], baseline="mbert")
    found = row(table(tables, "Leaderboard"), "small")
    assert found["cells"] == "1/1"
    assert found["RI %"].value != found["RI %"].value  # nan
    assert "mbert has no score in this setting" in notes(tables)
    assert row(table(tables, "Missing"), "xnli")["reason"] == "out of memory"


def test_a_baseline_missing_from_one_setting_is_not_replaced_there() -> None:
    records = [record("mbert"), record("small"), record("small", job={"origin": "sample"})]
    records.append(record("scratch", job={"origin": "sample"}))
    tables = report(records, baseline="mbert")
    sample, data = (t for t in tables if t.title.startswith("Leaderboard"))
    assert "mbert has no score in this setting, so nothing is compared." in sample.footnotes
    assert [r[0] for r in sample.rows] == ["scratch", "small"]
    assert not math.isnan(row(data, "small")["Δ"].value)


def test_nothing_but_failures_is_a_table_of_reasons() -> None:
    (found,) = report([missing("mbert", language=x) for x in ("de", "en")])
    assert found.rows == (("xnli", "mbert", "failed", "out of memory", "2", "de en", "0"),)
    assert any("Nothing in this setting succeeded" in note for note in found.footnotes)


def test_a_task_that_trains_nothing_is_headed_so_beside_others_and_alone() -> None:
    idle = {"protocol": "none", "train_languages": (), "recipe": None}
    still = [record(m, "sts17", "en-tr", job=idle) for m in ("mbert", "small")]
    titles = [t.title for t in report([record("mbert"), record("small"), *still])]
    assert titles[0] == "Leaderboard: zero-shot from en"
    assert "sts17: nothing trained (beside zero-shot from en), test split" in titles
    assert "xnli: zero-shot from en, test split" in titles
    assert "sts17: nothing trained, test split" in [t.title for t in report(still)]


def test_devices_and_precisions_that_differ_are_said() -> None:
    def on(model: str, device: str, precision: str) -> RunRecord:
        return record(model, provenance={"device": device, "extra": {"precision": precision}})

    assert "computed alike" not in notes(report([on("mbert", "cpu", "fp32"), on("small", "cpu", "fp32")]))
    said = notes(report([on("mbert", "cpu", "fp32"), on("small", "cuda", "bf16")]))
    assert "(device, precision: models): cpu fp32: mbert; cuda bf16: small." in said
    assert "computed alike" in notes(report([on("mbert", "cuda", "fp32"), on("small", "cuda", "bf16")]))


def test_missing_cells_are_gathered_by_reason() -> None:
    gone = [missing(m, "wikiann", x, "unavailable") for m in ("mbert", "small") for x in ("af", "az")]
    gone.append(missing("small", "xnli", "ro", seed=2))
    found = table(report([*store(), *gone]), "Missing")
    assert found.rows == (
        ("wikiann", "mbert, small", "unavailable", "out of memory", "2", "af az", "0"),
        ("xnli", "small", "failed", "out of memory", "1", "ro", "2"),
    )


def test_reasons_that_differ_in_their_language_alone_are_one() -> None:
    gone = [
        replace(missing("small", "wikiann", x, "unavailable"), reason=f"wikiann has no test split for {x} in mirror")
        for x in ("af", "az")
    ]
    found = table(report([*store(), *gone]), "Missing")
    reason = "wikiann has no test split for … in mirror"
    assert found.rows == (("wikiann", "small", "unavailable", reason, "2", "af az", "0"),)


def test_a_failed_seed_compares_on_the_seeds_both_have() -> None:
    records = [r for r in store() if (r.job.model, r.language, r.job.seed) != ("small", "de", 1)]
    records.append(missing("small", "xnli", "de", seed=1))
    tables = report(records)
    german = row(table(tables, "xnli"), "de", "small")
    (pair,) = [r for r in records if (r.job.model, r.language, r.status) == ("small", "de", "ok")]
    (other,) = [r for r in records if (r.job.model, r.language, r.job.seed) == ("mbert", "de", 0)]
    expected = metrics.score("accuracy", pair.units) - metrics.score("accuracy", other.units)
    assert german["Δ"].value == pytest.approx(expected)
    assert german["seeds"] == "0*"
    assert row(table(tables, "xnli"), "de", "mbert")["seeds"] == "0 1*"
    assert "seeds differ" in "\n".join(table(tables, "xnli").footnotes)
    assert "1 to 2 fine-tuning seeds" in notes(tables)


def test_models_without_a_common_seed_are_not_compared() -> None:
    tables = report([record("mbert", seed=0), record("small", seed=1)])
    found = row(table(tables, "xnli"), "en", "small")
    assert not math.isnan(found["score"].value)
    assert math.isnan(found["Δ"].value)
    assert math.isnan(found["p"])
    assert "not known" in "\n".join(table(tables, "xnli").footnotes)


def test_a_model_that_lacks_cells_is_marked_and_ranked_last() -> None:
    records = store([("mbert", 0.5), ("small", 0.6)]) + [record("xsmall", "xnli", "en", s, 0.95) for s in (0, 1)]
    board = table(report(records), "Leaderboard")
    assert [r[0] for r in board.rows] == ["mbert", "small", "xsmall"]
    found = row(board, "xsmall")
    assert found["cells"] == "1/6"
    assert found["Δ"].marks == ("†",)
    assert found["xnli accuracy"].marks == ("†",)
    assert found["wikiann span_f1"] is None
    assert any(note.startswith("†") for note in board.footnotes)


def test_constant_predictions_are_undefined_and_never_dropped_silently() -> None:
    def constant(r: RunRecord) -> RunRecord:
        return replace(r, units=np.column_stack([r.units[:, 0], np.full(N, 0.3)]))

    collapsed = [constant(r) if (r.job.model, r.job.task) == ("small", "sts17") else r for r in store()]
    tables = report(collapsed)
    assert math.isnan(row(table(tables, "Leaderboard"), "small")["Δ"].value)
    assert row(table(tables, "sts17"), "en-tr", "small")["score"].marks == ("‡",)
    assert "undefined" in notes(tables)
    # the baseline's collapse leaves the cell out, for every model alike
    collapsed = [constant(r) if (r.job.model, r.job.task) == ("mbert", "sts17") else r for r in store()]
    tables = report(collapsed)
    found = row(table(tables, "Leaderboard"), "small")
    assert found["cells"] == "5/5"
    assert not math.isnan(found["Δ"].value)
    assert "Out of every mean, the baseline's score being undefined: sts17 en-tr." in notes(tables)


def test_improvement_leaves_out_cells_where_the_reference_is_at_its_floor() -> None:
    records = [record("mbert", "xnli", x, quality=q) for x, q in (("de", 0.35), ("en", 0.9))]
    records += [record("small", "xnli", x, quality=0.7) for x in ("de", "en")]
    tables = report(records)
    assert "Out of RI and ratio, the baseline being too near its floor: xnli de." in notes(tables)
    german, english = (row(table(tables, "xnli"), x, "small") for x in ("de", "en"))
    assert math.isnan(german["RI %"].value)
    assert not math.isnan(german["Δ"].value)
    assert row(table(tables, "Leaderboard"), "small")["RI %"].value == pytest.approx(english["RI %"].value)
    assert row(table(tables, "xnli"), "de", "mbert")["above floor"] == "no"
    assert row(table(tables, "xnli"), "de", "mbert")["score"].marks == ("≈",)
    assert row(table(tables, "Leaderboard"), "mbert")["xnli accuracy"].marks == ("≈",)


def test_floors_are_the_majority_class_or_the_untrained_encoder() -> None:
    records = store([("scratch", 0.45), ("mbert", 0.46), ("small", 0.8)])
    tables = report(records)
    labels = records[0].units[:, 0]
    assert records[0].language == "de"
    majority = np.unique(labels, return_counts=True)[1].max() / N
    assert row(table(tables, "xnli"), "de", "scratch")["floor"] == pytest.approx(majority)
    spans = table(tables, "wikiann")
    untrained = row(spans, "en", "scratch")
    assert untrained["floor"] == 0.0
    assert row(spans, "en", "small")["floor"] == untrained["score"].value
    assert (row(spans, "en", "small")["above floor"], row(spans, "en", "mbert")["above floor"]) == ("yes", "no")
    assert "wikiann en ro" in notes(tables)
    # against the untrained encoder itself, the floor is 0: it can't be its own
    against = report(records, baseline="scratch")
    assert "wikiann" not in "".join(n for t in against for n in t.footnotes if n.startswith("Out of RI"))
    # and where it is absent
    absent = report(store([("mbert", 0.46), ("small", 0.8)]))
    assert row(table(absent, "wikiann"), "en", "small")["floor"] == 0.0


def trained(model: str, size: str, objectives: str, task: str = "xnli") -> RunRecord:
    return record(model, task, provenance={"extra": {"size": size, "objectives": objectives}})


def test_choice_of_the_baseline() -> None:
    assert choose_baseline([record("small"), record("xlm-r-base"), record("distilmbert")])[0] == "distilmbert"
    assert choose_baseline([record("small"), record("scratch")])[0] == "scratch"
    assert choose_baseline([missing("mbert"), record("scratch")])[0] == "scratch"
    assert choose_baseline([record("small"), record("scratch")], "small") == ("small", "as asked")
    name, why = choose_baseline([record("small")])
    assert name is None
    assert "--baseline" in why
    with pytest.raises(UnknownName, match="no model 'mbrt' in the results; did you mean 'mbert'"):
        choose_baseline([record("mbert")], "mbrt")


def test_a_sibling_trained_on_masking_alone_is_the_first_choice() -> None:
    full, sibling = trained("small", "small", "mlm+adversary+distill"), trained("small-mlm", "small", "mlm")
    assert choose_baseline([full, sibling, record("mbert")])[0] == "small-mlm"
    # no sibling: another size, or nothing beside it
    assert choose_baseline([full, trained("xs-mlm", "xsmall", "mlm"), record("mbert")])[0] == "mbert"
    assert choose_baseline([sibling, record("mbert")])[0] == "mbert"
    # of two siblings, the one with more cells
    pair = [trained("xs", "xsmall", "mlm+distill"), trained("xs-mlm", "xsmall", "mlm")]
    assert choose_baseline([full, sibling, *pair, trained("xs-mlm", "xsmall", "mlm", "mlqa")])[0] == "xs-mlm"


def test_holm_runs_over_the_declared_family() -> None:
    cells = []
    for task, languages in (("xnli", ("de", "en")), ("mlqa", ("en",))):
        for language in languages:
            runs = {m: record(m, task, language, quality=q) for m, q in (("old", 0.5), ("new", 0.6), ("alt", 0.52))}
            units = {m: {0: r.units} for m, r in runs.items()}
            cells.append(Cell(task=task, language=language, metric=runs["old"].metric, groups=runs["old"].groups,
                              parallel=True, units=units))  # fmt: skip
    found = compare(cells, baseline="old", resamples=999)
    # a model: 3 cells + xnli's mean + overall (mlqa's mean is its one cell)
    assert found.family == 10
    p = sorted({(r.model, r.task, r.language if r.task != "mlqa" else None): r.p for r in found.rows
                if r.model != "old"}.values())  # fmt: skip
    assert len(p) == 10
    smallest = min((r for r in found.rows if r.model != "old"), key=lambda r: r.p)
    assert smallest.p_adjusted == pytest.approx(min(1.0, 10 * smallest.p))
    assert all(math.isnan(r.p_adjusted) for r in found.rows if r.model == "old")


def test_table_refuses_a_row_of_another_width() -> None:
    with pytest.raises(ValueError, match="has 0 columns, a row has 1"):
        Table(title="t", columns=(), rows=((Entry(value=1.0),),))


def test_reports_need_no_torch() -> None:
    heavy = "{'torch', 'transformers', 'datasets', 'evaluate'}"
    code = f"import sys, unibench.report, unibench.render; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
