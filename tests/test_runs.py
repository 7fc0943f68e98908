"""`unibench run` as it is typed: adversary, oracle, predictions, shares, what is said before, meanwhile and after."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from tiny_runs import unibench
from typer.testing import CliRunner

from unibench import predictions, store
from unibench.cli import app

Captured = pytest.CaptureFixture[str]


def line(toys: Path, results: Path, *more: str | Path) -> list[str | Path]:
    return [
        "run", "--model", "first", "--tasks", "toy_nli", "--tasks-dir", toys / "tasks", "--data", toys / "hub",
        "--seeds", "1", "--workers", "1", "--results", results, *more,
    ]  # fmt: skip


def said(capsys: Captured) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_a_run_says_what_it_does_and_what_it_came_to(toys: Path, results: Path, capsys: Captured) -> None:
    assert unibench(*line(toys, results, "--predictions")) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "1 fine-tunings planned, 1 to do"
    assert re.fullmatch(r"1/1 toy_nli first seed 0 \(en\): 3 languages in \d+ s; \d+ s elapsed", shown[1])
    assert re.fullmatch(rf"3 records ok; in {re.escape(str(results / 'runs'))} after \d+ s", shown[2])
    assert shown[3] == f"next: unibench report --significance --results {results}"
    assert len(shown) == 4
    for record in store.load(results):
        assert len(predictions.read(store.record_path(results, record.job, record.language), record)) == 18
        assert bool(record.oracle) == (record.language == "ru")
    assert unibench(*line(toys, results, "--seeds", "2", "--no-oracle")) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "2 fine-tunings planned, 1 to do"
    assert re.fullmatch(r"about \d+ s, going by 1 of them that are stored", shown[1])
    later = {r.language: r for r in store.load(results) if r.job.seed == 1}
    assert later["ru"].oracle == later["ru"].predictions == {}


def test_an_adversary_is_a_setting_of_its_own(toys: Path, results: Path, capsys: Captured) -> None:
    assert unibench(*line(toys, results, "--adversarial")) == 0
    why = f"toy/nli has no train split for … in {toys / 'hub'}"
    assert f"toy_nli: no unlabelled text in zh for the adversary: {why}" in said(capsys)
    assert {(r.language, r.status, r.job.adversarial) for r in store.load(results)} == {
        (code, "ok", ("en", "ru")) for code in ("en", "ru", "zh")
    }
    assert unibench(*line(toys, results)) == 0
    assert "1 fine-tunings planned, 1 to do" in said(capsys)
    assert len(list(store.load(results))) == 6


@pytest.mark.parametrize("protocol", ["zero-shot", "monolingual", "multilingual"])
def test_every_protocol_takes_an_adversary(toys: Path, results: Path, capsys: Captured, protocol: str) -> None:
    more = ["--adversarial", "--protocol", protocol, "--languages", "en,ru"]
    assert unibench(*line(toys, results, *more)) == 0, said(capsys)
    for record in store.load(results):
        assert set(record.job.adversarial) == {"en", "ru"}
        assert record.provenance is not None
        assert set(record.provenance.extra["adversary"]["languages"]) == {"en", "ru"}


def test_a_dry_run_shows_all_of_it(
    toys: Path, results: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert unibench(*line(toys, results, "--adversarial", "--tasks", "toy_nli,toy_sts", "--dry-run")) == 0
    head, _, nli, sts, *rest = (row for row in capsys.readouterr().out.splitlines() if row.strip())
    names = ("models", "seeds", "protocol", "trained on", "adversary over", "scored in", "oracle for")
    columns = [*(head.index(name) for name in names), 999]
    cells = [[row[a:b].strip() for a, b in itertools.pairwise(columns)] for row in (nli, sts)]
    assert cells == [
        ["first", "0", "zero-shot", "en", "en ru", "en ru zh", "ru"],
        ["first", "0", "none", "", "", "en-ru en-en", ""],
    ]
    assert rest[0].startswith("toy_nli: no unlabelled text in zh for the adversary: ")
    assert rest[1] == "2 fine-tunings, 5 records"
    assert unibench(*line(toys, results, "--no-oracle", "--dry-run")) == 0
    shown = capsys.readouterr().out
    assert "adversary over" not in shown
    assert shown.splitlines()[3].split() == ["toy_nli", "first", "0", "zero-shot", "en", "en", "ru", "zh"]


def test_two_machines_share_a_plan(toys: Path, results: Path, capsys: Captured) -> None:
    both = ("--tasks", "toy_sts", "--model", "first,scratch,tutor")
    done = []
    for share in ("1/2", "2/2"):
        assert unibench(*line(toys, results, *both, "--shard", share)) == 0
        done.append([record.job.model for record in store.load(results)])
    assert len(done[0]) < len(done[1]) or not done[0]
    assert set(done[1]) == {"first", "scratch", "tutor"}
    assert len(done[1]) == len({(r.job, r.language) for r in store.load(results)}), "none twice"
    capsys.readouterr()
    assert unibench(*line(toys, results, *both)) == 0
    assert "3 fine-tunings planned, 0 to do" in said(capsys)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--shard", "3/2"], "--shard '3/2': expected K/N with K from 1 to N, such as 2/8 for the second of eight"),
        (["--shard", "two"], "--shard 'two': expected K/N"),
        (
            ["--adversarial", "--languages", "zh"],
            "task 'toy_nli' cannot be run with --adversarial: a discriminator needs text in two languages, and there "
            "is only en: toy/nli has no train split for zh",
        ),
        (["--adversarial", "--languages", "en"], "there is only en: no other language was asked for"),
    ],
)
def test_a_mistake_is_one_line(toys: Path, trained: Path, capsys: Captured, more: list[str], expected: str) -> None:
    before = sorted(trained.rglob("*"))
    assert unibench(*line(toys, trained, *more)) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    assert expected in told
    assert sorted(trained.rglob("*")) == before


def test_help_has_an_example_of_each_kind_of_run() -> None:
    shown = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "160"})
    assert shown.exit_code == 0
    examples = [row.strip() for row in shown.output.splitlines() if "Example: unibench run" in row]
    assert len(examples) == 3
    for option in ("--adversarial", "--predictions", "--shard"):
        assert any(option in example for example in examples)
