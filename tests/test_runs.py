"""`unibench run` as it is typed: adversary, oracle, predictions, shares, what is said before, meanwhile and after."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_runs import nli_rows, unibench, write_toys
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
    assert shown[0] == "1 fine-tuning planned, 1 to do"
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
    assert "1 fine-tuning planned, 1 to do" in said(capsys)
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
    ignored, head, _, nli, sts, *rest = (row for row in capsys.readouterr().out.splitlines() if row.strip())
    names = ("models", "seeds", "protocol", "trained on", "adversary over", "scored in", "oracle for")
    columns = [*(head.index(name) for name in names), 999]
    cells = [[row[a:b].strip() for a, b in itertools.pairwise(columns)] for row in (nli, sts)]
    assert ignored == "toy_sts: nothing is trained, so --adversarial changes nothing"
    assert cells == [
        ["first", "0", "zero-shot", "en", "en ru", "en ru zh", "ru"],
        ["first", "0", "none", "", "", "en-ru en-en", ""],
    ]
    assert rest[0].startswith("toy_nli: no unlabelled text in zh for the adversary: ")
    assert rest[1] == "2 jobs (1 without training), 5 records"
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
    assert "3 jobs (nothing trained) planned, 0 to do" in said(capsys)


def test_nothing_but_gaps_says_why_and_is_exit_code_1(
    toys: Path, results: Path, tmp_path: Path, capsys: Captured, write_mirror: Callable[..., Path]
) -> None:
    write_toys(tmp_path / "unused", write_mirror)
    unlabelled = [{**row, "y": -1} for row in nli_rows("en", 24, 1)]
    hub = write_mirror("toy/nli", {"en/train": unlabelled}, readme=False)
    for _ in range(2):  # found out by the first run, and noted by it
        assert unibench(*line(toys, results, "--data", hub)) == 1
        shown = capsys.readouterr().out.splitlines()
        (why,) = (row for row in shown if row.startswith("unavailable: "))
        assert why.startswith("unavailable: toy_nli first (en ru zh): ")
        assert "no row for en is labelled" in why
        assert shown[-1] == "nothing asked for has a score; --retry tries it again"
    assert unibench(*line(toys, results, "--data", hub, "--tasks", "toy_nli,toy_sts")) == 0, "something has"


def test_stored_records_without_predictions_are_counted(toys: Path, results: Path, capsys: Captured) -> None:
    assert unibench(*line(toys, results, "--languages", "en,ru")) == 0
    assert "without predictions" not in said(capsys)
    assert unibench(*line(toys, results, "--predictions")) == 0
    assert "stored without predictions, which are kept as they are: 2 (move them away" in said(capsys)
    assert {r.language for r in store.load(results) if r.predictions} == {"zh"}


def test_what_cannot_matter_to_a_task_that_trains_nothing_is_said(toys: Path, results: Path, capsys: Captured) -> None:
    more = ["--tasks", "toy_sts", "--dry-run"]
    assert unibench(*line(toys, results, *more, "--protocol", "monolingual", "--adversarial")) == 0
    shown = said(capsys)
    assert "toy_sts: nothing is trained, so --protocol and --adversarial change nothing" in shown
    assert "1 job (nothing trained), 2 records" in shown
    assert unibench(*line(toys, results, *more)) == 0
    assert "change nothing" not in said(capsys)


def test_a_task_of_ones_own_needs_its_folder_and_the_error_says_so(results: Path, capsys: Captured) -> None:
    assert unibench("run", "--tasks", "toy_nli", "--results", results) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: no task 'toy_nli' in tasks/")
    assert told.rstrip().endswith("; for a card of your own add --tasks-dir FOLDER")
    assert unibench("report", "--reference", "--tasks", "toy_nli", "--results", results) == 2
    assert "add --tasks-dir FOLDER" in capsys.readouterr().err


def test_a_report_takes_a_tasks_folder_in_every_view(toys: Path, results: Path, capsys: Captured) -> None:
    assert unibench(*line(toys, results, "--tasks", "toy_sts")) == 0
    assert unibench("report", "--results", results, "--tasks", "toy_sts", "--tasks-dir", toys / "tasks") == 0
    assert "toy_sts: nothing trained, test split" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--shard", "3/2"], "--shard '3/2': expected K/N with K from 1 to N, such as 2/8 for the second of eight"),
        (["--shard", "two"], "--shard 'two': expected K/N"),
        (["--train-languages", "all"], "--train-languages is 'all'; expected names joined by commas"),
        (["--languages", ","], "--languages is ','; expected names joined by commas"),
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
