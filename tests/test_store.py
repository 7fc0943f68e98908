"""The store keeps what it was given, once, under a path of its own, and says which file is broken."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unibench import staleness, store
from unibench.errors import DataError, StaleRecord
from unibench.store import Job, Provenance, Recipe, RunRecord

RECIPE = Recipe(learning_rates=(3e-5, 2e-4), epochs=2, batch_size=16, max_tokens=96)
JOB = Job(model="owner/model", task="xnli", protocol="zero-shot", train_languages=("en",), seed=1, recipe=RECIPE)
MADE = Provenance(
    commit="c" * 40, dirty=True, packages={"torch": "2"}, device="cpu", started="2026-01-01T00:00:00+00:00",
    seconds=1.25, card_sha256="card", data_sha256="data", model_sha256="model", data_stamp="stamp",
    extra={"learning_rate": 2e-4, "counts": {"en": {"rows": 3}}},
)  # fmt: skip
IDS = ("0000001", "0000002", "0000004")


def ok(language: str = "en", *, job: Job = JOB, shift: float = 0.0, **more: Any) -> RunRecord:
    base = RunRecord(
        job=job, language=language, status="ok", family="nli", metric="accuracy", split="test", parallel=True,
        scores={"accuracy": 2 / 3}, unit_names=("gold_id", "pred_id"),
        units=np.array([[0, 0], [1, 2], [2, 2]]) + shift,
        example_ids=IDS, groups=("g1", "g1", "g'été 2"), example_ids_sha256=store.ids_sha256(IDS), provenance=MADE,
    )  # fmt: skip
    return replace(base, **more)


def failed(reason: str, language: str = "en", job: Job = JOB) -> RunRecord:
    return RunRecord(job=job, language=language, status="failed", reason=reason, family="nli")


def test_a_record_comes_back_as_it_went(tmp_path: Path) -> None:
    path = store.write(tmp_path, ok())
    assert path == tmp_path / "runs" / "xnli" / "owner--model" / "zero-shot.en" / "en.seed1.json"
    found = store.read(path)
    assert found.units is not None
    assert found.units.dtype == np.float64
    assert found.units.tolist() == [[0, 0], [1, 2], [2, 2]]
    assert len(found.units_sha256) == 64
    assert replace(found, units=None, units_sha256="") == replace(ok(), units=None)
    bare = store.read(path, units=False)
    assert bare.units is None
    assert bare.example_ids == bare.groups == ()
    assert bare.example_ids_sha256 == found.example_ids_sha256 == store.ids_sha256(IDS) != store.ids_sha256(IDS[::-1])
    assert [r.language for r in store.load(tmp_path)] == ["en"]


def test_a_job_that_trains_nothing_comes_back_too(tmp_path: Path) -> None:
    job = Job(model="m", task="sts17", protocol="none", train_languages=(), seed=0, recipe=None, eval_limit=5)
    path = store.write(tmp_path, ok("en-en", job=job))
    assert path.parent.name == "none.none.eval5"
    assert store.read(path).job == job


def test_an_ok_record_is_written_once(tmp_path: Path) -> None:
    path = store.write(tmp_path, ok())
    before = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    assert len(before) == 2
    with pytest.raises(FileExistsError, match=r"en\.seed1\.json is already stored"):
        store.write(tmp_path, ok(shift=7.0))
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == before


def test_attempts_are_numbered_and_the_last_one_counts_until_one_succeeds(tmp_path: Path) -> None:
    for number in range(1, 12):
        path = store.write(tmp_path, failed(f"reason {number}"))
        assert path.name == f"en.seed1.attempt-{number}.json"
    assert [r.reason for r in store.load(tmp_path)] == ["reason 11"]  # in the alphabet 9 would come last
    path.with_name("en.seed1.attempt-3.json").unlink()
    assert store.write(tmp_path, failed("reason 12")).name == "en.seed1.attempt-12.json"
    store.write(tmp_path, failed("elsewhere", "sw"))
    store.write(tmp_path, ok())
    store.write(tmp_path, failed("too late"))
    assert [(r.language, r.status, r.reason) for r in store.load(tmp_path)] == [
        ("en", "ok", ""),
        ("sw", "failed", "elsewhere"),
    ]


@pytest.mark.parametrize("kept", [0, 1, 40, 400])
def test_a_truncated_record_is_named(tmp_path: Path, kept: int) -> None:
    path = store.write(tmp_path, ok())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"en\.seed1\.json is not a readable record") as caught:
        list(store.load(tmp_path, units=False))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["[]", "null", "{}", '{"schema": 1}', '{"schema": 99}'])
def test_another_json_is_no_record(tmp_path: Path, content: str) -> None:
    path = store.write(tmp_path, ok())
    path.write_text(content)
    with pytest.raises(DataError, match=r"en\.seed1\.json"):
        store.read(path)


def test_altered_truncated_or_missing_units_are_named(tmp_path: Path) -> None:
    path = store.write(tmp_path, ok())
    [units] = path.parent.glob("*.npz")
    whole = units.read_bytes()
    for damaged in (whole[:-1], whole[:60] + bytes([whole[60] ^ 1]) + whole[61:], b""):
        units.write_bytes(damaged)
        with pytest.raises(DataError, match=r"\.npz does not match its record en\.seed1\.json") as caught:
            store.read(path)
        assert str(units) in str(caught.value)
    assert store.read(path, units=False).scores == {"accuracy": 2 / 3}
    units.unlink()
    with pytest.raises(DataError, match=r"en\.seed1\.json is not a readable record"):
        store.read(path)


NAMES = (
    "../x", "../../etc/passwd", "..", ".", "", "/", "/abs", "a/b", "a--b", "a-/b", "a/-b", "a b", "a-b", "a_b", "a?b",
    ".hidden", "hidden", "..hidden", "模型", "模形", "\u202eabc", "-abc", "é", "e\u0301", "a\nb", "a\0b", "a\\b", "~",
    "-", "x" * 300, "x" * 301, "scratch:small", "C:", "🙂" * 80, "con.json",
)  # fmt: skip


def test_no_two_names_share_a_path_and_none_leaves_the_folder(tmp_path: Path) -> None:
    slugs = {name: store.slug(name) for name in NAMES}
    assert len(set(slugs.values())) == len(NAMES)
    for made in slugs.values():
        assert made
        assert not made.startswith(".")
        assert not set(made) & set("/\\\0\n ")
        assert made.isascii()
        assert len(made) < 120
    for name in NAMES:
        job = replace(JOB, model=name, task=name, train_languages=(name,))
        path = store.record_path(tmp_path, job, name)
        assert path.parents[3] == tmp_path / "runs"
        assert path.resolve().is_relative_to(tmp_path.resolve() / "runs")
        store.write(tmp_path, ok(name, job=job))
    assert {r.job.model for r in store.load(tmp_path)} == set(NAMES)


def test_readable_names_stay_readable() -> None:
    for name in ("wikiann", "mlm-xxsmall", "scratch:small", "en-ar", "multilingual.en+de", "unibert_2.1@x"):
        assert store.slug(name) == name
    assert store.slug("FacebookAI/xlm-roberta-base") == "FacebookAI--xlm-roberta-base"


def test_every_setting_has_a_folder_of_its_own(tmp_path: Path) -> None:
    many = ("af", "ar", "az", "bg", "bn", "de", "el", "en", "es", "et", "eu", "fa", "fi", "fr")
    jobs = [
        JOB,
        replace(JOB, protocol="multilingual"),
        replace(JOB, train_languages=("en", "de")),
        replace(JOB, train_languages=many),
        replace(JOB, train_languages=many[:-1]),
        replace(JOB, train_languages=(*many[:-1], "fy")),
        replace(JOB, train_limit=400),
        replace(JOB, eval_limit=400),
        replace(JOB, train_limit=400, eval_limit=50),
        replace(JOB, origin="sample"),
        replace(JOB, adversarial=("en", "de")),
        replace(JOB, adversarial=("en", "sw")),
    ]
    settings = [job.setting for job in jobs]
    assert len(set(settings)) == len(jobs)
    assert settings[8] == "zero-shot.en.train400.eval50"
    assert settings[3].startswith("zero-shot.14languages-")
    assert all(len(setting) < 60 for setting in settings)
    assert len({store.record_path(tmp_path, job, "en") for job in jobs}) == len(jobs)
    assert store.record_path(tmp_path, replace(JOB, seed=2), "en") != store.record_path(tmp_path, JOB, "en")


def test_what_differs_from_today_is_named() -> None:
    today = {"job": JOB, "card_sha256": "card", "data_sha256": "data", "model_sha256": "model"}
    assert staleness.stale(ok(), **today) == []
    for name in ("card", "data", "model"):
        assert staleness.stale(ok(), **{**today, f"{name}_sha256": "other"}) == [name]
    other = replace(JOB, recipe=replace(RECIPE, epochs=9))
    assert staleness.stale(ok(), **{**today, "job": other}) == ["recipe"]
    assert staleness.stale(ok(), job=other, card_sha256="", data_sha256="", model_sha256="") == [
        "recipe", "card", "data", "model",
    ]  # fmt: skip
    assert staleness.stale(ok(provenance=None), **today) == ["provenance"]
    error = staleness.refuse_stale(Path("results/runs/x.json"), ["card", "data"])
    assert isinstance(error, StaleRecord)
    assert str(error).startswith("results/runs/x.json was made by another card and from other data than today's")


def test_all_stale_records_are_one_line_that_a_shell_can_move(tmp_path: Path) -> None:
    made = {}
    for model in ("a", "b"):
        for language in ("de", "en", "ro"):
            record = ok(language, job=replace(JOB, model=model))
            made[model, language] = store.write(tmp_path / "my results", record, predictions=b"x")
    stale = [made[key] for key in made if key != ("b", "ro")]
    error = str(staleness.refuse_all_stale({path: ["data"] for path in stale}))
    assert error.count("was made from other data") == 3
    assert "than today's; and 2 more; move each away" in error
    assert "\n" not in error
    pattern = error[error.index("beside it (") + len("beside it (") : error.rindex(") or choose")]
    moved = subprocess.run(["bash", "-c", f"find {pattern} -type f"], capture_output=True, text=True, check=True)
    expected = {path for of in stale for path in of.parent.glob(f"{of.stem}.*")}
    assert {Path(line) for line in moved.stdout.splitlines()} == expected
    assert len(expected) == 5 * 3


RACES = 25


def _race(results: Path, shift: float, start: Any, outcomes: Any) -> None:
    won = []
    for seed in range(RACES):
        start.wait()
        try:
            store.write(results, ok(job=replace(JOB, seed=seed), shift=shift))
            won.append(seed)
        except FileExistsError:
            pass
    outcomes.put((shift, won))


def test_of_two_processes_that_write_one_record_exactly_one_wins(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, outcomes = context.Barrier(2, timeout=60), context.Queue()
    writers = [context.Process(target=_race, args=(tmp_path, shift, start, outcomes)) for shift in (0.0, 5.0)]
    for writer in writers:
        writer.start()
    won = dict(outcomes.get(timeout=60) for _ in writers)
    for writer in writers:
        writer.join()
    assert sorted(won[0.0] + won[5.0]) == list(range(RACES))
    for record in store.load(tmp_path):
        assert record.units is not None
        [shift] = [shift for shift, seeds in won.items() if record.job.seed in seeds]
        assert record.units[0, 0] == shift
        written = json.loads(store.record_path(tmp_path, record.job, "en").read_text())
        assert written["job"]["seed"] == record.job.seed
    assert not list(tmp_path.rglob("*.part"))


def test_predictions_stand_beside_their_record_and_nowhere_else(tmp_path: Path) -> None:
    path = store.write(tmp_path, ok(), b"what was predicted")
    found = store.read(path)
    [stored] = path.parent.glob("*.predictions.jsonl.gz")
    assert found.predictions == {"file": stored.name, "sha256": hashlib.sha256(b"what was predicted").hexdigest()}
    assert stored.name.startswith("en.seed1.")
    assert stored.read_bytes() == b"what was predicted"
    assert [record.language for record in store.load(tmp_path)] == ["en"]
    with pytest.raises(FileExistsError):
        store.write(tmp_path, ok(), b"something else")
    assert [p.read_bytes() for p in path.parent.glob("*.predictions.jsonl.gz")] == [b"what was predicted"]
    store.write(tmp_path, failed("reason", "sw"), None)
    assert store.read(path.parent / "sw.seed1.attempt-1.json").predictions == {}


def test_a_record_from_before_there_were_predictions_is_read(tmp_path: Path) -> None:
    path = store.write(tmp_path, ok())
    raw = json.loads(path.read_text())
    del raw["predictions"], raw["oracle"], raw["job"]["adversarial"]
    path.write_text(json.dumps(raw))
    found = store.read(path, units=False)
    assert (found.predictions, found.oracle, found.job) == ({}, {}, JOB)


def test_a_record_from_before_early_stopping_is_not_taken_for_todays(tmp_path: Path) -> None:
    path = store.write(tmp_path, ok())
    raw = json.loads(path.read_text())
    del raw["job"]["recipe"]["patience"]
    for name in ("adversarial", "adversary_strength", "max_tokens"):
        del raw["job"][name]
    path.write_text(json.dumps(raw))
    old = store.read(path)
    assert old.job.recipe is not None
    assert old.job.recipe.patience == 0
    assert old.job != ok().job
    assert replace(old.job, recipe=ok().job.recipe) == ok().job
