"""Tables of evidence: what each must say below its numbers, what is withheld in words, and what is left out."""

from __future__ import annotations

import math

import pytest
from test_evidence import LANGUAGES, of, recipe, renamed, runs_of
from toy_records import notes, record, row, table

from unibench import render
from unibench.evidence import Evidence
from unibench.evidence_tables import tables
from unibench.tables import Entry, Table


def titles(found: list[Table]) -> list[str]:
    return [one.title.removesuffix(": toy") for one in found]


def made(found: Evidence) -> list[Table]:
    out = tables(found, "toy")
    for format in ("markdown", "csv", "json"):
        assert render.render(out, format) or not out
    assert all(not math.isnan(v) for t in out for r in t.rows for v in r if isinstance(v, float) and "withheld" not in
               [c.name for c in t.columns])  # fmt: skip
    return out


@pytest.fixture(scope="module")
def full() -> list[Table]:
    base = (0.60, 0.61, 0.62, 0.59, 0.60)
    tasks = (("xnli", LANGUAGES), ("wikiann", LANGUAGES), ("sts17", ("en-tr",)))
    records = [
        *recipe("mlm", base, tasks=tasks, objectives="mlm"),
        *recipe("uni", (0.80, 0.81, 0.79, 0.82, 0.80), tasks=tasks, objectives="mlm+adversary"),
        *recipe("few", (0.6, 0.7), tasks=tasks, objectives="mlm+distill", teacher_sha256="t"),
        *runs_of("hub", 0.65, tasks=tasks), *runs_of("scratch", 0.2, tasks=tasks, objectives="none"),
    ]  # fmt: skip
    return made(of([*records, *[renamed(r, "copy") for r in records if r.job.model == "few-s1"]], "mlm-s0"))


def test_every_part_has_its_table_and_a_signature(full: list[Table]) -> None:
    assert titles(full) == [
        "Ranks and ties", "Across cells", "Mean ranks over cells", "Pretraining runs", "Recipes", "Groups of models",
        "Other languages like these", "Mixed-effects model",
    ]  # fmt: skip
    assert all(sum(note.startswith("Signature: ") for note in one.footnotes) == 1 for one in full)
    assert all(len(one.footnotes) <= 5 for one in full)
    assert "Without a table" not in notes(full)


def test_ranks_stand_by_task_below_the_overall_ones(full: list[Table]) -> None:
    found = table(full, "Ranks and ties")
    assert found.columns[2].kind == "rank"
    tasks = [r[0] for r in found.rows]
    assert list(dict.fromkeys(tasks)) == ["overall", "sts17", "wikiann", "xnli"]
    place = row(found, "overall", "scratch")["rank"]
    assert isinstance(place, Entry)
    assert place.value == len([t for t in tasks if t == "overall"])
    assert "withheld" not in [c.name for c in found.columns]


def test_tests_over_cells_call_themselves_descriptive_and_say_when_tasks_are_too_few(full: list[Table]) -> None:
    found = table(full, "Across cells")
    assert row(found, "uni-s0", "task means")["smallest p"] == pytest.approx(0.25)
    words = " ".join(found.footnotes)
    assert words.startswith("Descriptive")
    assert "3 differing tasks cannot be significant" in words
    assert table(full, "Mean ranks").footnotes[0].startswith("Descriptive")


def test_every_run_is_shown_below_what_luck_does_and_copies_and_others_are_named(full: list[Table]) -> None:
    found = table(full, "Pretraining runs")
    names = list(dict.fromkeys(r[0] for r in found.rows))
    assert names == ["small mlm (5 runs)", "small mlm+adversary (5 runs)", "small mlm+distill (2 runs)"]
    mine = [r for r in found.rows if r[0] == names[0]]
    assert [r[1] for r in mine] == ["mean", "highest - lowest", "sd", "luck", *(f"seed {i}" for i in range(5))]
    scores = [row(found, names[0], f"seed {i}")["mean"] for i in range(5)]
    assert row(found, names[0], "highest - lowest")["mean"] == pytest.approx(max(scores) - min(scores))
    words = " ".join(found.footnotes)
    assert f"the runs of one recipe, {names[0]}, score {100 * min(scores):.1f} to {100 * max(scores):.1f}" in words
    assert "of 4 overall means and" in words
    assert "Of no recipe, for their records don't say how they were pretrained: hub." in words
    assert "are no runs: few-s1 of copy." in words or "are no runs: copy of few-s1." in words


def test_a_recipe_with_too_few_runs_says_so_beside_one_that_claims(full: list[Table]) -> None:
    found = table(full, "Recipes")
    good = row(found, "small mlm+adversary (5 runs)", "overall")
    assert good["p"] == pytest.approx(2 / 252) == good["smallest p"]
    assert good["withheld"] is None
    assert good["runs"] == "5 against 5"
    few = row(found, "small mlm+distill (2 runs)", "overall")
    assert math.isnan(few["p"])
    assert "2 runs against 5" in str(few["withheld"])
    assert "Holm over the 4 made" in " ".join(found.footnotes)


def test_groups_show_means_their_difference_and_who_has_one_vote(full: list[Table]) -> None:
    found = table(full, "Groups")
    assert [r[0] for r in found.rows] == ["UniBERT variants", "baselines", "difference"]
    assert row(found, "UniBERT variants")["clusters"] == 2
    assert row(found, "baselines")["models"] == "hub, mlm-s1, mlm-s2, mlm-s3, mlm-s4"
    words = " ".join(found.footnotes)
    assert "mlm-s1, mlm-s2, mlm-s3, mlm-s4" in words
    assert "2 clusters against 2: p cannot go below 0.333" in words


def test_languages_too_few_to_speak_of_others_share_a_row_with_the_reason(full: list[Table]) -> None:
    found = table(full, "Other languages")
    assert row(found, "xnli", "uni-s0")["languages"] == 10
    (short,) = [r for r in found.rows if r[0] == "sts17"]
    assert "uni-s4" in str(short[1])
    assert "1 language" in str(short[-1])


def test_the_mixed_model_says_what_differences_vary_by_and_each_remark_once(full: list[Table]) -> None:
    found = table(full, "Mixed-effects")
    assert "residual" in str(row(found, "uni-s0")["sd of Δ by"])
    assert not any(note.startswith("Terms") for note in found.footnotes)
    one_seed = (("xnli", ("de", "en")), ("wikiann", ("de", "en")))
    records = [one for i, name in enumerate(("base", "a", "b")) for one in runs_of(name, 0.5 + i / 9, (0,), one_seed)]
    (terms,) = [note for note in notes(made(of(records))).split("\n") if note.startswith("Terms: ")]
    assert terms.count("model x cell: part of residual, which it can't be told from") == 1


def test_one_model_alone_has_no_table_unless_it_has_runs_to_show() -> None:
    assert made(of(runs_of("base"))) == []
    (shown,) = made(of(recipe("base", (0.6,)), "base-s0"))
    assert titles([shown]) == ["Pretraining runs"]
    assert [r[1] for r in shown.rows] == ["seed 0"]
    assert "what luck alone does to a pretraining is unknown" in notes([shown])


def test_two_models_say_once_what_has_no_table_and_why() -> None:
    found = made(of([*runs_of("base"), *runs_of("good", 0.7)]))
    assert titles(found) == ["Ranks and ties", "Across cells", "Mixed-effects model"]
    said = [note for note in notes(found).split("\n") if note.startswith("Without a table")]
    assert len(said) == 1
    for words in (
        "mean ranks (Friedman's test is for 3 or more models; of 2 compare pairs (Wilcoxon))",
        "pretraining runs, recipes (no model's records say how it was pretrained)",
        "groups (it takes UniBERT variants and baselines, one of each beside the baseline)",
        "other languages (no task has the 10 languages it takes)",
    ):
        assert words in said[0]


def test_twins_tie_and_claim_nothing() -> None:
    records = runs_of("base")
    found = made(of([*records, *(renamed(r, "twin") for r in records)]))
    assert [r[3] for r in table(found, "Ranks").rows] == ["a"] * 8
    across = row(table(found, "Across"), "twin", "cells")
    assert across["p paired t"] == 1
    assert math.isnan(across["p Wilcoxon"])
    assert across["withheld"] == "no cell differs"
    assert "a mixed-effects model (every difference is the same" in notes(found)


def test_one_cell_and_one_seed_withhold_what_needs_more() -> None:
    found = made(of([record("base"), record("good", quality=0.9)]))
    assert titles(found) == ["Ranks and ties", "Across cells"]
    assert [r[0] for r in table(found, "Ranks").rows] == ["overall", "overall"]  # the only task is the overall mean
    across = row(table(found, "Across"), "good", "cells")
    assert across["p Wilcoxon"] == 1
    assert across["withheld"] == "one difference has no spread"
    assert "it takes two tasks or two languages" in notes(found)


def test_a_model_that_lacks_cells_is_ranked_nowhere_overall_and_the_row_says_why() -> None:
    records = [*runs_of("base"), *runs_of("good", 0.8), *runs_of("part", tasks=(("xnli", ("de", "en")),))]
    found = row(table(made(of(records)), "Ranks"), "overall", "part")
    assert found["withheld"] == "it has 2 of 6 cells"
    assert found["ties"] is None


def test_a_baseline_of_unknown_pretraining_takes_no_recipe_as_its_own() -> None:
    records = [*runs_of("hub"), *recipe("mlm", (0.6, 0.62, 0.61), objectives="mlm")]
    found = made(of(records, "hub"))
    assert "recipes (it is not known how the baseline was pretrained)" in notes(found)
    words = " ".join(table(found, "Pretraining runs").footnotes)
    assert "the runs of one recipe, small mlm (3 runs)" in words
    assert "rightly tells such runs apart" not in words
