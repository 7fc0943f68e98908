"""Protocol against protocol: hand-computed gains of each encoder over itself, what may not be paired, one family."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import unibench
from toy_records import RECIPE, missing, notes, record, row, table

from unibench import metrics, protocol_tables, render, store
from unibench.compare import compare
from unibench.errors import StaleRecord, UnknownName, UserError
from unibench.pairing import Cell
from unibench.protocols import axis
from unibench.store import RunRecord
from unibench.tables import PARTIAL, Table

LANGUAGES = ("de", "en", "ro")


def mono(model: str, quality: float, language: str = "de", task: str = "xnli", seed: int = 0, **more) -> RunRecord:
    job = {"protocol": "monolingual", "train_languages": (language,), **more.pop("job", {})}
    return record(model, task, language, seed, quality, job=job, **more)


def multi(model: str, quality: float, language: str = "de", task: str = "xnli", seed: int = 0, **more) -> RunRecord:
    # toy units follow from a model's name: another protocol's are another model's
    made = record(f"{model}'", task, language, seed, quality, **more)
    job = {"protocol": "multilingual", "train_languages": LANGUAGES, "adversarial": LANGUAGES, **more.get("job", {})}
    return replace(
        made,
        job=replace(made.job, model=model, **job),
        provenance=replace(made.provenance, model_sha256=f"model {model}", data_sha256=f"all of {task} {language}"),
    )  # fmt: skip


def both(models: dict[str, tuple[float, float]], tasks: tuple[str, ...] = ("xnli",), **more) -> list[RunRecord]:
    out = []
    for model, (alone, together) in models.items():
        for task in tasks:
            for language in LANGUAGES:
                for seed in (0, 1):
                    out.append(mono(model, alone, language, task, seed, **more))
                    out.append(multi(model, together, language, task, seed, **more))
    return out


def compared(records: list[RunRecord], against: str = "monolingual", **more) -> list[Table]:
    return axis(records, against=against, resamples=500, **more)


def overview(tables: list[Table]) -> Table:
    return table(tables, "Protocols against")


ADVERSARIAL = "multilingual +adversarial"


def mean_score(records: list[RunRecord], **wanted: str) -> float:
    """The mean over languages, then over tasks, of seed means."""
    cells: dict[tuple[str, str], list[float]] = {}
    for r in records:
        if all(getattr(r.job, name) == value for name, value in wanted.items()):
            cells.setdefault((r.job.task, r.language), []).append(metrics.score(r.metric, r.units))
    tasks: dict[str, list[float]] = {}
    for (task, _), scores in cells.items():
        tasks.setdefault(task, []).append(float(np.mean(scores)))
    return float(np.mean([np.mean(scores) for scores in tasks.values()]))


def test_gains_by_hand() -> None:
    records = both({"mbert": (0.6, 0.8)}, ("xnli", "wikiann"))
    tables = compared(records)
    found = row(overview(tables), ADVERSARIAL, "mbert")
    alone = mean_score(records, protocol="monolingual")
    together = mean_score(records, protocol="multilingual")
    assert found["Δ"].value == pytest.approx(together - alone)
    assert found["ratio of means"] == pytest.approx(together / alone)
    improved = []
    for task in ("xnli", "wikiann"):
        by_language = []
        for language in LANGUAGES:
            at = [r for r in records if (r.job.task, r.language) == (task, language)]
            ours, theirs = mean_score(at, protocol="multilingual"), mean_score(at, protocol="monolingual")
            by_language.append(ours / theirs - 1)
            cell = row(table(tables, f"{task} against monolingual"), ADVERSARIAL, language, "mbert")
            assert cell["Δ"].value == pytest.approx(ours - theirs)
            assert cell["under monolingual"] == pytest.approx(theirs)
            assert cell["seeds"] == "0 1"
        improved.append(np.mean(by_language))
    assert found["RI %"].value == pytest.approx(np.mean(improved))
    assert found["RI %"].low < found["RI %"].value < found["RI %"].high
    assert (found["cells"], found["cells of RI"]) == ("6/6", "6")
    assert "family of 9 tests" in notes(tables)  # 6 cells, 2 tasks, overall


def test_a_cell_is_what_the_paired_test_of_models_says() -> None:
    runs = [mono("mbert", 0.6), multi("mbert", 0.75)]
    units = {"old": {0: runs[0].units}, "new": {0: runs[1].units}}
    cell = Cell(task="xnli", language="de", metric="accuracy", groups=runs[0].groups, parallel=True, units=units)
    said = compare([cell], baseline="old", signature="; against monolingual", resamples=500)
    (asked,) = (r for r in said.rows if r.model == "new" and r.language)
    found = row(table(compared(runs), "xnli"), ADVERSARIAL, "de", "mbert")
    assert found["Δ"].value == pytest.approx(asked.delta)
    assert (found["p"], found["p adjusted"]) == (asked.p, asked.p_adjusted)
    assert (found["Δ"].low, found["Δ"].high) == (asked.ci_low, asked.ci_high)
    assert found["n"] == asked.n


def test_holm_runs_over_all_models_and_protocols_whatever_is_shown() -> None:
    records = both({"mbert": (0.6, 0.64), "small": (0.6, 0.7)})
    zero = [record(m, "xnli", x, s, 0.62) for m in ("mbert", "small") for x in LANGUAGES for s in (0, 1)]
    zero = [replace(r, job=replace(r.job, train_languages=("tr",))) for r in zero]
    tables = compared([*records, *zero])
    assert "family of 16 tests" in notes(tables)  # 2 models x 2 protocols x (3 cells + overall)
    p: dict[tuple[str, str, str], tuple[float, float]] = {}
    for r in table(tables, "xnli").rows:
        p[str(r[0]), str(r[2]), str(r[1])] = (r[7], r[8])
    assert len(p) == 16
    smallest = min(p.values())
    assert smallest[1] == pytest.approx(min(1.0, 16 * smallest[0]))
    view = compared([*records, *zero], protocol="multilingual+adversarial", tasks=["xnli"])
    assert "family of 16 tests" in notes(view)
    assert "narrowed" in notes(view)
    assert {r[0] for r in overview(view).rows} == {ADVERSARIAL}
    for model in ("mbert", "small"):
        assert row(overview(view), ADVERSARIAL, model) == row(overview(tables), ADVERSARIAL, model)


def test_another_model_moves_no_raw_number_and_order_no_byte() -> None:
    one, two = both({"mbert": (0.6, 0.7)}), both({"mbert": (0.6, 0.7), "small": (0.5, 0.7)})
    alone, beside = (row(overview(axis(x, against="monolingual")), ADVERSARIAL, "mbert") for x in (one, two))
    assert {k: v for k, v in alone.items() if k != "p adjusted"} == {
        k: v for k, v in beside.items() if k != "p adjusted"
    }
    shuffled = [two[i] for i in np.random.default_rng(0).permutation(len(two))]
    assert render.render(compared(two), "json") == render.render(compared(shuffled), "json")


def test_groups_are_means_that_list_their_members_and_have_no_p() -> None:
    records = both({"ours": (0.5, 0.7), "mlm": (0.6, 0.7), "mbert": (0.6, 0.8), "scratch": (0.4, 0.42)})
    about = {"ours": "mlm+adversary", "mlm": "mlm", "scratch": "none"}
    records = [
        replace(r, provenance=replace(r.provenance, extra={"objectives": about[r.job.model]}))
        if r.job.model in about else r for r in records
    ]  # fmt: skip
    tables = compared(records)
    members = {m: row(overview(tables), ADVERSARIAL, m) for m in ("ours", "mlm", "mbert")}
    baselines = row(overview(tables), ADVERSARIAL, "mean of baselines (2)")
    variants = row(overview(tables), ADVERSARIAL, "mean of UniBERT variants (1)")
    assert baselines["Δ"].value == pytest.approx((members["mlm"]["Δ"].value + members["mbert"]["Δ"].value) / 2)
    assert baselines["RI %"].value == pytest.approx((members["mlm"]["RI %"].value + members["mbert"]["RI %"].value) / 2)
    assert variants["RI %"].value == members["ours"]["RI %"].value
    assert (baselines["p adjusted"], math.isnan(baselines["RI %"].low)) == (None, True)
    assert "UniBERT variants, trained here with an adversary or distillation: ours. " in notes(tables)
    assert "Baselines, all others that were trained: mbert, mlm." in notes(tables)


def test_the_floor_is_the_untrained_encoder_under_the_same_protocol() -> None:
    records = both({"mbert": (0.5, 0.8), "scratch": (0.48, 0.1)}, ("wikiann",))
    found = row(overview(compared(records)), ADVERSARIAL, "mbert")
    assert found["cells of RI"] == "0"
    assert math.isnan(found["RI %"].value)
    assert "being too near its floor: mbert: wikiann de en ro" in notes(compared(records))
    low = both({"mbert": (0.5, 0.8), "scratch": (0.25, 0.48)}, ("wikiann",))
    assert row(overview(compared(low)), ADVERSARIAL, "mbert")["cells of RI"] == "3"
    assert row(overview(compared(low)), ADVERSARIAL, "scratch")["cells of RI"] == "3", "no floor of its own"


def test_one_experiment_done_twice_is_left_out() -> None:
    records = [mono("mbert", 0.7, x) for x in LANGUAGES] + [record("mbert", "xnli", x) for x in LANGUAGES]
    tables = compared(records)
    assert row(overview(tables), "zero-shot from en", "mbert")["cells"] == "2/2"
    assert {r[1] for r in table(tables, "xnli").rows} == {"mean of 2", "de", "ro"}
    assert "Left out of zero-shot from en: xnli en: both train on the same languages" in notes(tables)
    with pytest.raises(UserError, match="is left out: both train on the same languages"):
        compared([mono("mbert", 0.7, "en"), record("mbert", "xnli", "en")])


def test_recipes_limits_and_origins_must_agree() -> None:
    other = {"recipe": replace(RECIPE, epochs=9)}
    with pytest.raises(UserError, match="is left out: fine-tuned by different recipes"):
        compared([mono("mbert", 0.7), multi("mbert", 0.8, job=other)])
    for job in ({"train_limit": 50}, {"eval_limit": 50}, {"origin": "sample"}):
        with pytest.raises(UserError, match="no model has scores in one task, language, seed and setting under both"):
            compared([mono("mbert", 0.7), multi("mbert", 0.8, job=job)])
        tables = compared([mono("mbert", 0.7, job=job), multi("mbert", 0.8, job=job)])
        assert len([t for t in tables if t.title.startswith("Protocols")]) == 1
    assert "not to rank protocols" in notes(tables)


def test_rows_are_over_the_seeds_of_both_sides_and_say_so() -> None:
    records = [*both({"mbert": (0.6, 0.8)}), *(mono("mbert", 0.6, x, seed=2) for x in LANGUAGES)]
    tables = compared(records)
    assert {r[10] for r in table(tables, "xnli").rows if not str(r[1]).startswith("mean")} == {"0 1"}
    assert "the fine-tuning seeds common to both sides (0 1), so they may differ from the leaderboard's" in notes(
        tables
    )
    assert "3 fine-tuning seeds" not in notes(tables)
    one = notes(compared([mono("mbert", 0.6, seed=1), mono("mbert", 0.6), multi("mbert", 0.8, seed=1)]))
    assert "the fine-tuning seed common to both sides (1)" in one


def test_an_adversary_is_named_shortly_in_rows_and_wholly_once_below() -> None:
    tables = compared(both({"mbert": (0.6, 0.8)}))
    whole = "multilingual, with a language adversary over de+en+ro"
    assert notes(tables).count(whole) == 1
    assert f"{ADVERSARIAL}: {whole}." in overview(tables).footnotes
    backwards = compared(both({"mbert": (0.6, 0.8)}), "multilingual+adversarial")
    assert [t.title for t in backwards] == [f"Protocols against {ADVERSARIAL}", f"xnli against {ADVERSARIAL}"]
    # two adversaries of one protocol are told apart by their languages
    other = {"adversarial": ("de", "en"), "adversary_strength": 1.0}
    records = [*both({"mbert": (0.6, 0.8)}), *(multi("mbert", 0.7, x, seed=5, job=other) for x in LANGUAGES)]
    records += [mono("mbert", 0.6, x, seed=5) for x in LANGUAGES]
    assert {r[0] for r in overview(compared(records)).rows} == {whole, whole.replace("+ro", "")}


def test_a_terminal_says_the_one_protocol_in_the_title_and_several_in_rows() -> None:
    records = both({"mbert": (0.6, 0.8)})
    for before in compared(records):
        after = protocol_tables.for_terminal(before)
        assert [c.name for c in after.columns] == [c.name for c in before.columns[1:]]
        assert [(ADVERSARIAL, *r) for r in after.rows] == list(before.rows)
        assert ADVERSARIAL in after.title
        assert "against monolingual" in after.title
        assert after.footnotes == before.footnotes
    several = overview(compared([*records, *(record("mbert", "xnli", x, 0, 0.7) for x in LANGUAGES)]))
    assert protocol_tables.for_terminal(several) == several


def test_devices_that_differ_are_said() -> None:
    records = both({"mbert": (0.6, 0.8)})
    assert "computed alike" not in notes(compared(records))
    odd = replace(records[1], provenance=replace(records[1].provenance, device="cuda", extra={"precision": "bf16"}))
    assert "(device, precision: models): cpu: mbert; cuda bf16: mbert." in notes(compared([records[0], odd]))


def test_seeds_and_models_without_a_pair() -> None:
    with pytest.raises(UserError, match=r"under both 'monolingual' and 'multilingual[+]adversarial'"):
        compared([mono("mbert", 0.7, seed=0), multi("mbert", 0.8, seed=1)])
    records = [*both({"mbert": (0.6, 0.8)}), mono("small", 0.7), multi("xsmall", 0.7)]
    assert f"Not compared under {ADVERSARIAL}, without a pair on one seed: small, xsmall." in notes(compared(records))


def test_cells_that_only_the_reference_has_mark_a_mean_as_partial() -> None:
    records = [*both({"mbert": (0.6, 0.8)}), mono("mbert", 0.6, "en", "wikiann")]
    found = row(overview(compared(records)), ADVERSARIAL, "mbert")
    assert found["cells"] == "3/4"
    assert found["Δ"].marks == (PARTIAL,)


def test_two_protocols_share_card_rows_and_model_or_are_refused() -> None:
    for change, what in (({"card_sha256": "other"}, "card"), ({"model_sha256": "other"}, "model")):
        odd = multi("mbert", 0.8)
        with pytest.raises(StaleRecord, match=f"their {what} "):
            compared([mono("mbert", 0.7), replace(odd, provenance=replace(odd.provenance, **change))])
    with pytest.raises(StaleRecord, match="their example ids "):
        compared([mono("mbert", 0.7), replace(multi("mbert", 0.8), example_ids_sha256="other")])


def test_what_failed_is_listed_and_a_collapsed_reference_breaks_nothing() -> None:
    gone = missing("mbert", language="ro", job={"protocol": "monolingual", "train_languages": ("ro",)})
    found = table(compared([mono("mbert", 0.7), multi("mbert", 0.8), gone]), "Missing")
    assert found.rows[0][:4] == ("xnli", "mbert", "failed", "out of memory")
    flat = mono("mbert", 0.7, "en-tr", "sts17")
    flat = replace(flat, units=np.column_stack([flat.units[:, 0], np.full(len(flat.units), 0.3)]))
    tables = compared([flat, multi("mbert", 0.8, "en-tr", "sts17")])
    assert overview(tables).rows == ()
    assert "score compared with being undefined: mbert: sts17 en-tr" in notes(tables)


@pytest.mark.parametrize(
    ("records", "more", "expected"),
    [
        ([], {}, "no scores under 'monolingual' (nothing is stored); `unibench run --protocol monolingual` makes them"),
        ([record("mbert")], {}, "no scores under 'monolingual' (stored: zero-shot)"),
        ([mono("mbert", 0.7)], {}, "all scores are under 'monolingual'; `unibench run --protocol zero-shot` makes"),
        ([mono("mbert", 0.7)], {"protocol": "zero-shot+adversarial"}, "run --protocol zero-shot --adversarial`"),
    ],
)  # fmt: skip
def test_nothing_to_compare_says_what_is_missing(records: list[RunRecord], more: dict[str, str], expected: str) -> None:
    with pytest.raises(UserError) as caught:
        compared(records, **more)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_of_protocols_and_tasks() -> None:
    with pytest.raises(UnknownName, match=r"no protocol 'monolingul' .* did you mean 'monolingual'"):
        compared([], "monolingul")
    with pytest.raises(UnknownName, match="no task 'xlni' in the results"):
        compared(both({"mbert": (0.6, 0.7)}), tasks=["xlni"])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for r in [*both({"mbert": (0.6, 0.8)}), record("mbert", "sts17", "en-tr", job={"protocol": "none"})]:
        store.write(tmp_path, r)
    arguments = ["report", "--results", tmp_path, "--against", "monolingual", "--format", "csv"]
    assert unibench(*arguments) == 0
    plain = capsys.readouterr().out
    assert f"\n{ADVERSARIAL},mbert" in plain
    assert "p adjusted" not in plain
    assert unibench(*arguments, "--significance", "--protocol", "multilingual+adversarial") == 0
    assert "over a family of 4 tests" in " ".join(capsys.readouterr().out.split())
    assert unibench(*arguments[:-3], "multilingual") == 2
    said = capsys.readouterr().err
    assert "no scores under 'multilingual' (stored: monolingual, multilingual+adversarial)" in said
    assert said.count("\n") == 1
