"""What is missing is said once for each reason, and for exactly the tasks, models and languages it holds for."""

from __future__ import annotations

from dataclasses import replace

from toy_records import missing, store, table

from unibench.catalogue import CATALOGUE
from unibench.gaps import gaps_table, general
from unibench.report import leaderboard
from unibench.store import RunRecord

TASKS = ("xnli", "wikiann", "sts17")
WHY = "is not in the Hugging Face cache and the Hub cannot be reached"


def gone(model: str, task: str) -> RunRecord:
    return replace(missing(model, task, "all", "unavailable"), reason=f"{CATALOGUE[model].hub} {WHY}")


def test_encoders_that_cannot_be_had_are_one_row_for_all_tasks() -> None:
    lost = [gone(model, task) for model in ("mbert", "xlm-r-base", "labse") for task in TASKS]
    found = table(leaderboard([*store((("small", 0.8),)), *lost], resamples=100), "Missing")
    assert found.rows == (("all 3 tasks", "labse, mbert, xlm-r-base", "unavailable", f"… {WHY}", "all", "", "0"),)


def test_another_set_of_tasks_or_another_reason_is_another_row() -> None:
    lost = [gone("mbert", task) for task in TASKS] + [gone("labse", task) for task in TASKS[:2]]
    lost.append(replace(gone("labse", "sts17"), reason="out of disk"))
    found = gaps_table(lost, "Missing", TASKS)
    assert found is not None
    assert sorted(row[:4] for row in found.rows) == [
        ("all 3 tasks", "mbert", "unavailable", f"… {WHY}"),
        ("sts17", "labse", "unavailable", "out of disk"),
        ("wikiann, xnli", "labse", "unavailable", f"… {WHY}"),
    ]
    assert gaps_table([], "Missing", TASKS) is None


def test_a_data_set_keeps_its_name_and_so_does_the_language_trained_on() -> None:
    def reasons(*given: tuple[str, str]) -> list[str]:
        return [reason for _, reason in general(replace(missing("mbert", language=x), reason=why) for x, why in given)]

    split = "owner/data has no test split for {} in mirror"
    assert reasons(("de", split.format("de")), ("ro", split.format("ro"))) == [split.format("…")] * 2
    assert (
        reasons(("en", "no row for en is labelled"), ("ro", "no row for en is labelled"))
        == ["no row for en is labelled"] * 2
    )
