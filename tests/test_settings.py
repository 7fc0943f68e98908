"""Which records meet in a table: same data, protocol, adversary and limits, and no task run in two ways."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from toy_records import RECIPE, missing, record, store, table

from unibench.errors import StaleRecord
from unibench.report import leaderboard
from unibench.settings import by_setting, refuse_mixtures
from unibench.store import RunRecord
from unibench.tables import Table


def report(records: Iterable[RunRecord]) -> list[Table]:
    return leaderboard(records, resamples=100)


def test_settings_never_share_a_table() -> None:
    records = store()
    records += store(job={"train_limit": 100})
    records += store(job={"origin": "sample"})
    records += [record(m, "xnli", x, job={"protocol": "monolingual", "train_languages": (x,)})
                for m in ("mbert", "small") for x in ("de", "en")]  # fmt: skip
    tables = report(records)
    boards = [t.title for t in tables if t.title.startswith("Leaderboard")]
    assert boards == [
        "Leaderboard: monolingual",
        "Leaderboard: sample data, zero-shot from en",
        "Leaderboard: zero-shot from en",
        "Leaderboard: zero-shot from en, at most 100 training examples",
    ]
    assert "Sample data" in "\n".join(tables[boards_at(tables, boards[1])].footnotes)
    assert "Sample data" not in "\n".join(tables[boards_at(tables, boards[2])].footnotes)


def boards_at(tables: list[Table], title: str) -> int:
    return [t.title for t in tables].index(title)


def test_two_recipes_of_one_task_part_its_tables_and_leave_the_others_together() -> None:
    other = {"recipe": replace(RECIPE, epochs=9)}
    records = store() + [record(m, "wikiann", "en", 7, job=other) for m in ("mbert", "small")]
    titles = [t.title for t in report(records) if t.title.startswith("Leaderboard")]
    assert len(titles) == 3
    assert sum("9 epochs" in t for t in titles) == 1
    main = table([t for t in report(records) if "epochs" not in t.title], "Leaderboard")
    assert [c.name for c in main.columns][-2:] == ["sts17 spearman", "xnli accuracy"]
    # different recipes of different families are as it should be
    mixed = [r if r.job.task != "wikiann" else replace(r, job=replace(r.job, **other)) for r in store()]
    assert len([t for t in report(mixed) if t.title.startswith("Leaderboard")]) == 1


def titles(records: Iterable[RunRecord]) -> dict[str, set[tuple[str, str]]]:
    """Returns the (task, language) of each setting."""
    return {title: {(r.job.task, r.language) for r in group} for title, group in by_setting(records).items()}


def against(*languages: str, **more) -> dict[str, object]:
    return {"adversarial": languages, **more}


def test_an_adversary_parts_a_setting_from_the_one_without() -> None:
    records = [record("mbert"), record("mbert", job=against("ar", "de", "en"))]
    assert titles(records) == {
        "zero-shot from en": {("xnli", "en")},
        "zero-shot from en, with a language adversary over ar+de+en": {("xnli", "en")},
    }
    assert titles([record("mbert", job=against("ar", "en", train_limit=50, origin="sample"))]).keys() == {
        "sample data, zero-shot from en, with a language adversary over ar+en, at most 50 training examples"
    }


def test_two_adversaries_of_one_task_do_not_meet_and_those_of_two_tasks_do() -> None:
    xnli, wikiann = record("mbert", job=against("de", "en")), record("mbert", "wikiann", job=against("en", "sw"))
    assert titles([xnli, wikiann]) == {
        "zero-shot from en, with a language adversary over each task's languages": {("xnli", "en"), ("wikiann", "en")}
    }
    other = record("mbert", seed=1, job=against("en", "ru"))
    assert titles([xnli, wikiann, other]) == {
        "zero-shot from en, with a language adversary over de+en": {("xnli", "en")},
        "zero-shot from en, with a language adversary over en+ru": {("xnli", "en")},
        "zero-shot from en, with a language adversary over each task's languages": {("wikiann", "en")},
    }
    # another task with a set that has a name joins it
    joined = titles([xnli, other, record("mbert", "wikiann", job=against("de", "en"))])
    assert joined["zero-shot from en, with a language adversary over de+en"] == {("xnli", "en"), ("wikiann", "en")}


def test_each_language_of_a_monolingual_task_may_have_an_adversary_of_its_own() -> None:
    records = [
        record("mbert", language=x, job=against("en", x, protocol="monolingual", train_languages=(x,)))
        for x in ("de", "ro")
    ]
    assert titles(records) == {
        "monolingual, with a language adversary over each task's languages": {("xnli", "de"), ("xnli", "ro")}
    }


def test_what_failed_stands_beside_what_it_would_have_joined() -> None:
    records = [record("mbert", job=against("de", "en")), missing("small", "xnli", "all", job=against("en"))]
    assert [len(group) for group in by_setting(records).values()] == [2]
    alone = {"protocol": "monolingual", "train_languages": ("de",)}
    assert titles([missing("small", "xnli", "all", job=alone)]).keys() == {"monolingual"}


def test_many_languages_are_counted_and_two_such_sets_stay_apart() -> None:
    codes = [f"a{letter}" for letter in "bcdefghijklmnopqrst"]
    records = [record("mbert", seed=s, job=against(*codes[s : s + 16])) for s in (0, 1)]
    found = list(titles(records))
    assert len(found) == 2
    assert all("over 16 languages (" in title for title in found)


def test_sides_of_two_protocols_may_differ_in_data_but_in_nothing_else() -> None:
    one = record("mbert")
    other = record("mbert", job={"protocol": "multilingual"}, provenance={"data_sha256": "other"})
    with pytest.raises(StaleRecord, match="their data "):
        refuse_mixtures([one, other])
    refuse_mixtures([one, other], data=False)
    with pytest.raises(StaleRecord, match="their model "):
        refuse_mixtures([one, record("mbert", language="de", provenance={"model_sha256": "other"})], data=False)
