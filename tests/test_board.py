"""Boards: what a family lets in, whom it compares with, and comparisons that are kept instead of made again."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_records import missing, record, store

from unibench import metrics, remembered
from unibench import store as stores
from unibench.board import Board, Load, boards
from unibench.declared import DEFAULT, Family
from unibench.errors import UnknownName, UserError
from unibench.report import Shown, leaderboard, of_board
from unibench.store import RunRecord

R = 200


def family(**more: Any) -> Family:
    return Family(**{"name": "mine", "written": "2026-01-01", "question": "Which?", **more})


def one(records: Iterable[RunRecord], **more: Any) -> Board:
    (board,) = boards(records, **{"resamples": R, **more})
    return board


def untouchable(record: RunRecord) -> RunRecord:
    raise AssertionError(f"the units of {record.job.model} in {record.language} were asked for")


def test_means_run_over_the_cells_that_the_family_covers_and_the_rest_is_named() -> None:
    records = store()
    board = one(records, family=family(tasks=("xnli", "sts17"), languages=("de", "ro", "en-tr")))
    assert board.outside == (("wikiann", "en"), ("wikiann", "ro"), ("xnli", "en"))
    assert {(r.job.task, r.language) for r in board.ok} == {("xnli", "de"), ("xnli", "ro"), ("sts17", "en-tr")}
    assert board.tasks == ("sts17", "xnli")

    def score(model: str, task: str, language: str) -> float:
        mine = [r for r in records if (r.job.model, r.job.task, r.language) == (model, task, language)]
        return float(np.mean([metrics.score(r.metric, r.units) for r in mine]))

    for model in ("mbert", "small"):
        (overall,) = [r for r in board.comparisons.rows if (r.model, r.task) == (model, None)]
        xnli = (score(model, "xnli", "de") + score(model, "xnli", "ro")) / 2
        assert overall.score == pytest.approx((xnli + score(model, "sts17", "en-tr")) / 2)
        assert overall.cells == overall.cells_wanted == 3
    notes = "\n".join(note for table in of_board(board, Shown()) for note in table.footnotes)
    assert "for the family does not cover them: wikiann en ro; xnli en." in notes


def test_without_a_family_nothing_is_outside() -> None:
    assert one(store()).outside == ()
    assert one(store()).family is DEFAULT


def test_the_family_says_who_the_baseline_is() -> None:
    board = one(store(), family=family(baseline="small"))
    assert (board.baseline, board.why) == ("small", "as family 'mine' says")
    assert {r.model for r in board.comparisons.rows if not math.isnan(r.p)} == {"mbert"}
    assert one(store(), baseline="small").why == "as asked"
    assert one(store(), baseline="small", family=family(baseline="small")).why == "as asked"
    with pytest.raises(UserError, match="family 'mine' compares with 'small', not with 'mbert'; leave out --baseline"):
        one(store(), baseline="mbert", family=family(baseline="small"))
    with pytest.raises(UnknownName, match="no model 'smal' in the results; did you mean 'small'"):
        one(store(), family=family(baseline="smal"))


def test_a_family_that_covers_nothing_is_refused_and_one_that_misses_a_setting_says_so() -> None:
    with pytest.raises(UserError, match="family 'mine' covers none of these results"):
        one(store(), family=family(tasks=("mlqa",)))
    sample = [replace(r, job=replace(r.job, origin="sample")) for r in store() if r.job.task == "sts17"]
    tables = leaderboard([*store(), *sample], resamples=R, family=family(tasks=("xnli",)))
    assert [t.title for t in tables] == [
        "Not covered: sample data, zero-shot from en",
        "Leaderboard: zero-shot from en",
        "xnli: zero-shot from en, test split",
    ]
    assert tables[0].rows == (("sts17", "en-tr"),)
    assert "Family 'mine' covers none of these results" in tables[0].footnotes[0]
    # failures alone are no mistake of the family's
    gone = one([missing("mbert")], family=family(tasks=("mlqa",)))
    assert gone.ok == ()
    assert gone.comparisons.rows == ()


def test_records_without_units_and_nobody_to_load_them_are_an_error() -> None:
    with pytest.raises(ValueError, match="units=True"):
        one([record("mbert", units=None), record("small", units=None)])


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder in two settings: on data a teacher, its students, runs of a recipe; on the sample a pair."""
    folder = tmp_path_factory.mktemp("stored")
    runs = [("mbert", 0.5, {}), ("owner/other", 0.62, {})]
    runs += [(f"u{i}", 0.7 + i / 50, {"recipe": "aa", "pretraining_seed": i, "objectives": "mlm+adversary",
                                      "size": "small"}) for i in range(3)]  # fmt: skip
    cells = [("xnli", x) for x in ("de", "en")] + [("wikiann", "en"), ("sts17", "en-tr")]
    for model, quality, extra in runs:
        for task, language in cells:
            for seed in (0, 1):
                stores.write(folder, record(model, task, language, seed, quality, provenance={"extra": extra}))
    for model in ("mbert", "u0"):
        stores.write(folder, record(model, job={"origin": "sample"}))
    stores.write(folder, missing("u2", "mlqa"))
    return folder


def known(folder: Path) -> list[RunRecord]:
    return list(stores.load(folder, units=False))


def loading(folder: Path) -> Load:
    return lambda record: stores.with_units(folder, record)


def same(one: Board, other: Board) -> bool:
    return repr((one.comparisons, one.evidence)) == repr((other.comparisons, other.evidence))


def test_what_was_kept_needs_no_units_and_is_the_same_to_the_last_digit(stored: Path, tmp_path: Path) -> None:
    fresh = list(boards(known(stored), resamples=R, load=loading(stored)))
    first = list(boards(known(stored), resamples=R, load=loading(stored), cache=tmp_path))
    again = list(boards(known(stored), resamples=R, load=untouchable, cache=tmp_path))
    assert [b.setting for b in again] == ["sample data, zero-shot from en", "zero-shot from en"]
    assert len(list(tmp_path.iterdir())) == 2
    for made, kept, anew in zip(first, again, fresh, strict=True):
        assert repr(kept) == repr(made)
        assert same(kept, anew)
    data = again[1]
    assert data.evidence.friedman is not None
    assert data.evidence.recipes
    assert data.evidence.mixed is not None
    assert None in data.evidence.standings
    assert any(math.isnan(r.p) for r in data.comparisons.rows)
    views = ("leaderboard", "languages", "tasks", "tests", "evidence", "efficiency", "transfer", "missing")
    assert repr(of_board(data, Shown(), views)) == repr(of_board(first[1], Shown(), views))


def miss(folder: Path, cache: Path, records: list[RunRecord] | None = None, **more: Any) -> bool:
    """Whether units were asked for."""
    asked: list[RunRecord] = []

    def load(record: RunRecord) -> RunRecord:
        asked.append(record)
        return stores.with_units(folder, record)

    given = known(folder) if records is None else records
    list(boards(given, **{"resamples": R, "load": load, "cache": cache, **more}))
    return bool(asked)


def test_another_question_is_computed_anew(stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert miss(stored, tmp_path)
    assert not miss(stored, tmp_path)
    for more in (
        {"family": family(correction="holm")},
        {"family": family(correction="holm", alpha=0.01)},
        {"family": family(correction="holm", question="Another?")},
        {"baseline": "u0"},
        {"resamples": R + 1},
    ):
        assert miss(stored, tmp_path, **more), more
        assert not miss(stored, tmp_path, **more), more
    assert not miss(stored, tmp_path), "nothing of the first was lost"
    assert not miss(stored, tmp_path, known(stored)[::-1]), "the order of records is nothing"
    fewer = [r for r in known(stored) if r.job.model != "u2"]
    assert miss(stored, tmp_path, fewer)
    monkeypatch.setattr(remembered, "code_sha256", lambda: "other code")
    assert miss(stored, tmp_path)


def test_a_record_that_changed_is_computed_anew(stored: Path, tmp_path: Path) -> None:
    assert miss(stored, tmp_path)
    records = known(stored)
    (at,) = [i for i, r in enumerate(records) if (r.job.model, r.job.task, r.job.seed) == ("u1", "wikiann", 1)]
    other = record("u1", "wikiann", "en", 1, 0.3, provenance={"extra": dict(records[at].provenance.extra)})  # type: ignore[union-attr]
    path = stores.write(tmp_path / "elsewhere", other)
    changed = stores.with_units(tmp_path / "elsewhere", stores.read(path, units=False))
    before = next(
        b for b in boards(records, resamples=R, load=untouchable, cache=tmp_path) if "sample" not in b.setting
    )
    assert miss(stored, tmp_path, [*records[:at], changed, *records[at + 1 :]])
    given = [*records[:at], changed, *records[at + 1 :]]
    after = next(b for b in boards(given, resamples=R, load=untouchable, cache=tmp_path) if "sample" not in b.setting)
    assert not same(before, after)


def test_records_that_cannot_be_told_apart_are_never_kept(tmp_path: Path) -> None:
    assert not any(r.units_sha256 for r in store())
    one(store(), cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("damage", ["cut", "empty", "digit", "list", "number", "null", "binary", "other", "folder"])
def test_a_damaged_file_is_computed_again_and_mended(stored: Path, tmp_path: Path, damage: str) -> None:
    records = [r for r in known(stored) if r.job.origin == "data"]
    assert miss(stored, tmp_path, records)
    before = one(records, load=untouchable, cache=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    at = whole.index(b'"delta": 0.') + 11
    digit = whole[:at] + str((int(whole[at : at + 1]) + 1) % 10).encode() + whole[at + 1 :]
    if damage == "folder":
        path.unlink()
        path.mkdir()
        (path / "file").touch()
    else:
        path.write_bytes({
            "cut": whole[:-40], "empty": b"", "digit": digit, "list": b"[]", "number": b"5", "null": b"null",
            "binary": b"\xff\xfe\x00", "other": b'{"comparisons": {}, "evidence": {}}',
        }[damage])  # fmt: skip
    assert miss(stored, tmp_path, records)
    if damage != "folder":
        assert path.read_bytes() == whole
        assert same(one(records, load=untouchable, cache=tmp_path), before)


def test_a_cache_that_cannot_be_written_does_no_harm(stored: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for cache in (tmp_path / "file", tmp_path / "file" / "below"):
        assert miss(stored, cache)
        assert miss(stored, cache)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
