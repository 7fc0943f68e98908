"""The demo runs as its commands say, and can be run again."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_runs import unibench

from unibench import demo, store


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's commands with less of everything."""
    for name, value in {
        "LANGUAGES": ("en", "de"), "TASKS": ("xnli", "sts17"), "TEACHER_STEPS": 60, "STEPS": 30, "VOCABULARY": 2000,
        "TRAIN_LIMIT": 60,
    }.items():  # fmt: skip
        monkeypatch.setattr(demo, name, value)


def test_the_demo_trains_runs_and_reports(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert unibench("demo", "--results", "there") == 0
    shown = capsys.readouterr().out
    for step in demo.steps(Path("there")):
        assert step.why in shown
        assert f"$ unibench {' '.join(step.words)}" in shown
    assert "unibench run --model all --tasks" in shown, "it ends in what to type next"
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert sorted(path.name for path in (tmp_path / "there" / "models").iterdir()) == [
        demo.MLM, demo.TEACHER, demo.UNIBERT
    ]  # fmt: skip
    records = list(store.load(tmp_path / "there"))
    assert {record.job.origin for record in records} == {"sample"}
    assert {record.status for record in records} <= {"ok", "unavailable"}
    assert {r.job.model for r in records if r.status == "ok"} == {demo.MLM, demo.UNIBERT, "scratch"}
    assert {r.language for r in records if r.status == "ok"} == {"en", "de", "en-en"}
    board = (tmp_path / "there" / "LEADERBOARD.md").read_text(encoding="utf-8")
    assert board.startswith("## Leaderboard: sample data, zero-shot from en")
    assert "Sample data: generated sentences" in board

    assert unibench("demo", "--results", "there") == 0
    shown = capsys.readouterr().out
    assert shown.count("is already trained; nothing to do") == 3
    assert "0 to do" in shown
    assert (tmp_path / "there" / "LEADERBOARD.md").read_text(encoding="utf-8") == board


def test_a_step_that_fails_ends_the_demo(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = demo.Step(why="fails", words=("doctor", "--results", str(tmp_path)))
    monkeypatch.setenv("UNIBENCH_CORPUS", "gone")
    monkeypatch.setattr(demo, "steps", lambda results: [failing, demo.Step(why="never", words=("models",))])
    assert unibench("demo", "--results", tmp_path / "there") == 1
    shown = capsys.readouterr().out
    assert "correct it, or unset it" in " ".join(shown.split())
    assert "never" not in shown


def test_the_full_demo_is_what_the_readme_says() -> None:
    steps = demo.steps(Path("demo"))
    assert [step.words[0] for step in steps] == ["train", "train", "train", "run", "report", "report"]
    families = {"xnli": "nli", "wikiann": "ner", "xquad": "qa", "stsb_multi": "sts", "sts17": "sts"}
    assert set(demo.TASKS) <= set(families)
    assert {families[task] for task in demo.TASKS} == {"nli", "ner", "qa", "sts"}
