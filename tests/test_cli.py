"""The command line: the whole path on toys, a second run that does nothing, and one clear line for every mistake."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_runs
import world
from safetensors.torch import load_file, save_file
from tiny_runs import unibench
from typer.testing import CliRunner

from unibench import store
from unibench.catalogue import CATALOGUE
from unibench.cli import app

REPO = Path(__file__).resolve().parents[1]
COMMANDS = (
    "train", "corpus build", "corpus stats", "probe", "run", "report", "tasks", "tasks show", "models",
    "demo", "doctor",
)  # fmt: skip
SETTINGS = "batch_tokens = 512\n[model]\nlayers = 1\nwidth = 64\npositions = 64\n"
Captured = pytest.CaptureFixture[str]


def in_a_process(*commands: list[str]) -> tuple[int, str, str]:
    """Runs commands in one fresh process; returns exit code, stdout (ending in the heavy modules loaded), stderr."""
    code = """
import json, sys
from unibench.cli import main
stopped = 0
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["unibench", *arguments]
    try:
        main()
    except SystemExit as exit:
        stopped = stopped or exit.code or 0
print("heavy:", [name for name in ("torch", "transformers", "datasets", "evaluate") if name in sys.modules])
sys.exit(stopped)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps([list(map(str, command)) for command in commands])],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(REPO), "COLUMNS": "160"},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def home(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where text/, tiny.toml, hub/ and tasks/ lie, and results/ once something ran. To be read only."""
    folder = Path(shutil.copytree(toys, tmp_path_factory.mktemp("home") / "home"))
    world.write(folder / "text")
    (folder / "tiny.toml").write_text(SETTINGS)
    return folder


def train_line(home: Path, results: Path, *more: str | Path) -> list[str | Path]:
    return [
        "train", "--size", "xxsmall", "--corpus", home / "text", "--objectives", "mlm", "--vocab-size", "600",
        "--config", home / "tiny.toml", "--name", "tiny", "--threads", "1", "--results", results, *more,
    ]  # fmt: skip


def run_line(home: Path, results: Path, *more: str | Path) -> list[str | Path]:
    return [
        "run", "--tasks", "toy_nli,toy_sts", "--tasks-dir", home / "tasks", "--data", home / "hub", "--seeds", "1",
        "--workers", "1", "--results", results, *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def measured(home: Path) -> Path:
    """The results folder after train and run, as a user would have it. To be read only."""
    results = home / "results"
    assert unibench(*train_line(home, results, "--steps", "20")) == 0
    assert unibench(*run_line(home, results)) == 0
    return results


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
    return {name: of for name, of in found.items() if not name.startswith("cache/comparisons/")}


def test_train_run_report(measured: Path) -> None:
    found = {(r.job.model, r.job.task, r.language): (r.status, r.reason) for r in store.load(measured)}
    for model in ("tiny", "scratch"):
        for task, language in (("toy_nli", "en"), ("toy_nli", "ru"), ("toy_nli", "zh"), ("toy_sts", "en-ru")):
            assert found[model, task, language] == ("ok", "")
    for model in CATALOGUE:
        for task in ("toy_nli", "toy_sts"):
            status, reason = found[model, task, "all"]
            assert status == "unavailable"
            assert reason
    assert len(found) == 2 * 5 + len(CATALOGUE) * 2
    origins = {r.job.origin for r in store.load(measured)}
    assert origins == {"data"}


def test_the_same_commands_again_do_nothing(home: Path, measured: Path, capsys: Captured) -> None:
    before = snapshot(measured)
    assert unibench(*train_line(home, measured, "--steps", "20")) == 0
    assert "is already trained; nothing to do" in " ".join(capsys.readouterr().out.split())
    assert unibench(*run_line(home, measured)) == 0
    assert "4 jobs (2 without training) planned, 0 to do" in capsys.readouterr().out
    assert snapshot(measured) == before, "a report keeps what it computed, and changes nothing else"


def test_more_asked_for_is_only_more_done(home: Path, measured: Path, tmp_path: Path, capsys: Captured) -> None:
    results = Path(shutil.copytree(measured, tmp_path / "results"))
    before = snapshot(results / "runs")
    assert unibench(*run_line(home, results, "--model", "tiny", "--seeds", "2")) == 0
    assert "3 jobs (1 without training) planned, 1 to do" in capsys.readouterr().out
    after = snapshot(results / "runs")
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 2 * 3


def test_a_report_is_the_same_bytes_twice_and_moves_nothing(measured: Path, tmp_path: Path, capsys: Captured) -> None:
    before = snapshot(measured)
    for out in ("a.md", "b.md"):
        arguments = ["--significance", "--baseline", "scratch", "--format", "markdown", "--out", tmp_path / out]
        assert unibench("report", "--results", measured, *arguments) == 0
    assert (tmp_path / "a.md").read_bytes() == (tmp_path / "b.md").read_bytes()
    board = (tmp_path / "a.md").read_text()
    assert "| tiny" in board
    assert "Holm" in board
    assert "the Hub cannot be reached" in board
    capsys.readouterr()
    for format in ("csv", "json", "markdown", "terminal"):
        assert unibench("report", "--results", measured, "--format", format, "--tasks", "toy_sts") == 0
        shown = capsys.readouterr().out
        assert "tiny" in shown
        assert "toy_sts" in shown
    assert snapshot(measured) == before


def test_a_report_without_baseline_says_which_it_took(measured: Path, capsys: Captured) -> None:
    assert unibench("report", "--results", measured, "--format", "markdown") == 0
    assert "Baseline: scratch (the first available of" in capsys.readouterr().out


def test_a_new_dataset_is_one_file(home: Path, measured: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "cards").mkdir()
    renamed = tiny_runs.STS_CARD.replace('languages = ["en-ru", "en-en"]', 'languages = ["en-en"]')
    (tmp_path / "cards" / "my_own.toml").write_text(renamed)
    assert unibench("tasks", "--tasks-dir", tmp_path / "cards") == 0
    assert "my_own" in capsys.readouterr().out
    results = Path(shutil.copytree(measured / "models", tmp_path / "results" / "models")).parent
    line = run_line(home, results, "--tasks", "my_own", "--tasks-dir", tmp_path / "cards", "--model", "tiny")
    assert unibench(*line) == 0
    [record] = store.load(results)
    assert (record.job.task, record.language, record.status) == ("my_own", "en-en", "ok")


def test_a_failed_record_is_exit_code_1_and_is_tried_again(
    home: Path, measured: Path, tmp_path: Path, capsys: Captured
) -> None:
    broken = Path(shutil.copytree(measured / "models" / "tiny", tmp_path / "broken"))
    tensors = load_file(broken / "model.safetensors")
    tensors["bert.embeddings.LayerNorm.weight"].fill_(float("nan"))
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    line = run_line(home, tmp_path / "results", "--tasks", "toy_sts", "--model", broken)
    for _ in range(2):
        assert unibench(*line) == 1
        shown = capsys.readouterr().out
        assert "1 job (nothing trained) planned, 1 to do" in shown
        assert "failed: toy_sts broken seed 0: DivergedError" in shown
        assert "2 records failed; the same command tries them again" in shown


def test_without_steps_or_budget_it_says_how_long(home: Path, tmp_path: Path, capsys: Captured) -> None:
    assert unibench(*train_line(home, tmp_path / "results", "--dry-run")) == 0
    shown = capsys.readouterr().out
    assert "no --steps or --budget: training for 10m, a first look" in shown
    assert "600 s, turned into steps" in shown


def test_the_commands_of_the_design_card_take_the_sample_where_nothing_else_is(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert unibench("train", "--size", "small", "--dry-run") == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "The generated sample's text: no folder was named, by --corpus or $UNIBENCH_CORPUS" in shown
    assert "no text in 14 of 107 languages: azb ba bar" in shown
    assert "sample, 93 languages: af, an, ar" in shown
    assert "unibert-small (small: 6 layers, width 384) starts" in shown
    assert unibench("run", "--model", "all", "--tasks", "xnli,wikiann", "--dry-run") == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert (
        "The generated sample's examples: no folder was named, by --data or $UNIBENCH_DATA, and the Hub does" in shown
    )
    assert "0 fine-tunings, 0 records" in shown, "nothing has been trained yet"
    assert not list(tmp_path.iterdir())


def test_a_folder_of_text_can_be_the_default(
    home: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNIBENCH_CORPUS", str(home / "text"))
    assert unibench("train", "--size", "xxsmall", "--steps", "5", "--results", tmp_path, "--dry-run") == 0
    assert "text, 3 languages: en, ru, zh" in capsys.readouterr().out


def test_examples_are_shown(home: Path, capsys: Captured) -> None:
    assert unibench("tasks", "show", "toy_nli", "--language", "ru", "--count", "2",
                    "--tasks-dir", home / "tasks", "--data", home / "hub") == 0  # fmt: skip
    shown = capsys.readouterr().out
    assert "A toy: is the hypothesis in the premise?; 18 examples" in shown
    assert "0000001" in shown
    assert "0000003" not in shown
    assert any(f"label        {label}" in shown for label in ("yes", "no", "maybe"))
    for task, language, expected in (
        ("wikiann", "sw", "]LOC"), ("xquad", "th", "answers"), ("stsb_multi", "pl", "score"),
        ("sts17", "en-ar", "score"),
    ):  # fmt: skip
        assert unibench("tasks", "show", task, "--language", language, "--data", "sample") == 0
        assert expected in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["wikian", "--language", "sw"], "no task 'wikian'"),
        (["all", "--language", "sw"], "no task 'all' in tasks show, which takes one; known: americasnli, assin2"),
        (["wikiann", "--language", "swa"], "no language 'swa' in the picked tasks; did you mean 'sw'?"),
        (
            ["wikiann", "--language", "qu"],
            "the generated sample has no qu sentences; unibench doctor lists its languages",
        ),
        (["wikiann", "--language", "sw", "--part", "tests"], "no part 'tests' in a task; known: dev, eval, train"),
        (["xquad", "--language", "de", "--part", "train"], "xquad has no train data for de, only for en"),
    ],
)
def test_a_mistake_in_tasks_show_is_one_line(tmp_path: Path, capsys: Captured, more: list[str], expected: str) -> None:
    refused(unibench("tasks", "show", *more, "--data", "sample"), expected, capsys, tmp_path / "results")


def test_a_dry_run_writes_nothing(home: Path, tmp_path: Path, capsys: Captured) -> None:
    results = tmp_path / "results"
    assert unibench(*train_line(home, results, "--budget", "10m", "--dry-run")) == 0
    shown = capsys.readouterr().out
    assert "tiny (xxsmall: 1 layers, width 64) starts" in shown
    assert "600 s, turned into steps" in shown
    assert unibench(*run_line(home, results, "--dry-run")) == 0
    assert not results.exists()


TRAIN_MISTAKES = [
    (["--size", "smal"], "no size 'smal'; did you mean 'small'?"),
    (["--objectives", "mlm,adversray"], "no objective 'adversray'; did you mean 'adversary'?"),
    (["--objectives", "distill"], "leaves out mlm"),
    (["--budget", "10"], "--budget '10': expected a number and a unit, such as 90s, 10m or 2h"),
    (["--budget", "0m"], "--budget '0m'"),
    (["--budget", "tenm"], "--budget 'tenm'"),
    (["--steps", "5", "--budget", "1m"], "--steps 5 and --budget 1m exclude each other; give one"),
    (["--steps", "5", "--corpus", "wikipedia"], "no Wikipedia in"),
    (["--steps", "5", "--corpus", "sample", "--languages", "en,min"], "no language 'min' in the sample's text"),
    (["--steps", "0"], "steps 0 trains nothing"),
    (["--steps", "5", "--corpus", "nowhere"], "no folder nowhere"),
    (["--steps", "5", "--languages", "en,rru"], "no language 'rru' in"),
    (["--steps", "5", "--languages", "en", "--objectives", "mlm,adversary"], "an adversary needs two languages"),
    (["--steps", "5", "--config", "absent.toml"], "--config absent.toml cannot be read"),
    (["--steps", "5", "--name", "../x"], "--name '../x': use letters"),
    (["--steps", "5", "--device", "tpu"], "--device 'tpu' is unknown; use auto, cpu or cuda"),
    (["--steps", "5", "--precision", "fp8"], "--precision 'fp8' is unknown"),
    (["--steps", "5", "--threads", "0"], "--threads 0: use 1 or more"),
    (["--steps", "5", "--tokenizer", "nowhere"], "no tokenizer.json in nowhere"),
    (["--steps", "5", "--vocab-size", "300"], "--vocab-size 300 leaves no room"),
    (["--steps", "5", "--vocab-size", "0"], "--vocab-size 0 leaves no room"),
]


@pytest.mark.parametrize(("more", "expected"), TRAIN_MISTAKES, ids=lambda value: " ".join(value)[:40])
def test_a_mistake_in_train_is_one_line(
    home: Path, tmp_path: Path, capsys: Captured, more: list[str], expected: str
) -> None:
    results = tmp_path / "results"
    refused(unibench(*train_line(home, results, *more)), expected, capsys, results)


def refused(code: int, expected: str, capsys: Captured, results: Path) -> None:
    said = capsys.readouterr()
    assert code == 2
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1, said.err
    assert expected in said.err
    assert not results.exists(), sorted(results.rglob("*"))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("stepz = 3", "no setting 'stepz'; did you mean 'steps'?"),
        ("mask_rate = 7.0", "mask_rate 7.0 is outside"),
        ("mask_rate = 'x'", "mask_rate = 'x'; expected float"),
        ("[model]\nwidth = 100", "width 100 is not a multiple of 64"),
        ("[adversary]\nstrength = 1.0", "[adversary] is not in use in this run; add it to --objectives"),
        ("[distill]\ntemperature = 1.0", "[distill] is not in use in this run"),
        ("mask_rate = ", "is not TOML"),
    ],
)
def test_a_mistake_in_a_settings_file_is_one_line(
    home: Path, tmp_path: Path, capsys: Captured, settings: str, expected: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(settings)
    code = unibench(*train_line(home, tmp_path / "results", "--steps", "5", "--config", path))
    refused(code, expected, capsys, tmp_path / "results")


RUN_MISTAKES = [
    (["--tasks", "xlni"], "no task 'xlni' in"),
    (["--tasks", "xlni"], "did you mean 'xnli'?"),
    (["--languages", "en,qq"], "no language 'qq' in the picked tasks"),
    (["--model", "scrach"], "did you mean 'scratch'?"),
    (["--model", "scratch"], "model 'scratch' cannot be used here: no vocabulary yet"),
    (["--model", "scratch:smal"], "no size 'smal'"),
    (["--model", "mbert"], "model 'mbert' cannot be used here"),
    (["--protocol", "zeroshot"], "no protocol 'zeroshot' in unibench; did you mean 'zero-shot'?"),
    (["--data", "nowhere"], "the data folder nowhere (--data) does not exist"),
    (["--tasks-dir", "nowhere"], "the tasks folder nowhere does not exist"),
    (["--tasks", "wikiann"], "unimelb-nlp/wikiann is not in"),
    (["--train-languages", "zh"], "toy/nli has no train split for zh"),
]


@pytest.mark.parametrize(("more", "expected"), RUN_MISTAKES, ids=lambda value: " ".join(value)[:40])
def test_a_mistake_in_run_is_one_line(
    home: Path, tmp_path: Path, capsys: Captured, more: list[str], expected: str
) -> None:
    results = tmp_path / "results"
    refused(unibench(*run_line(home, results, *more)), expected, capsys, results)


def test_a_card_with_a_wrong_key_is_one_line(home: Path, tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "cards" / "toy_nli.toml"
    path.parent.mkdir()
    path.write_text(tiny_runs.NLI_CARD.replace("labels =", "lables ="))
    code = unibench(*run_line(home, tmp_path / "results", "--tasks", "toy_nli", "--tasks-dir", path.parent))
    refused(code, f"{path}: ", capsys, tmp_path / "results")


def test_a_missing_split_is_one_line(
    home: Path, tmp_path: Path, capsys: Captured, write_mirror: Callable[..., Path]
) -> None:
    rows = [{"premise": "a", "hypothesis": "b", "label": 0}] * 6
    hub = write_mirror("facebook/xnli", {"en/validation": rows, "en/test": rows})
    code = unibench("run", "--tasks", "xnli", "--languages", "en", "--data", hub, "--results", tmp_path / "results")
    expected = "task 'xnli' cannot be run with --protocol zero-shot: facebook/xnli has no train split for en"
    refused(code, expected, capsys, tmp_path / "results")


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "column", "null"])
def test_malformed_data_are_one_line(
    home: Path, measured: Path, tmp_path: Path, capsys: Captured, write_mirror: Callable[..., Path], damage: str
) -> None:
    row = {"a": "the small house", "b": "the old house", "s": 3.0}
    rows = {"column": [{"a": "x", "s": 1.0}], "null": [row, {**row, "b": None}]}.get(damage, [row] * 3)
    hub = write_mirror("toy/sts", {"en-en/test": rows})
    [path] = hub.rglob("*.parquet")
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-30], "empty": b"", "text": b"<html>not found</html>"}.get(damage, whole))
    results = tmp_path / "results"
    line = run_line(home, results, "--tasks", "toy_sts", "--data", hub, "--model", measured / "models" / "tiny")
    expected = {"column": "has no column 'b'", "null": "row 2: sentence2 is null"}.get(
        damage, "cannot be read as parquet"
    )
    code = unibench(*line, "--languages", "en-en")
    said = capsys.readouterr().err
    assert str(path) in said
    assert expected in said
    assert (code, said.count("\n")) == (2, 1)
    assert not results.exists()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--format", "mardown"], "no format 'mardown' in unibench report; did you mean 'markdown'?"),
        (["--baseline", "tinny"], "no model 'tinny' in the results; did you mean 'tiny'?"),
        (["--tasks", "toy_nil"], "no task 'toy_nil' in the results; did you mean 'toy_nli'?"),
        (["--results", "nowhere"], "no records to report"),
    ],
)
def test_a_mistake_in_report_is_one_line(
    measured: Path, tmp_path: Path, capsys: Captured, more: list[str], expected: str
) -> None:
    out = tmp_path / "board.md"
    refused(unibench("report", "--results", measured, "--out", out, *more), expected, capsys, out)


def test_a_broken_record_is_one_line(measured: Path, tmp_path: Path, capsys: Captured) -> None:
    results = Path(shutil.copytree(measured, tmp_path / "results"))
    path = next(results.glob("runs/*/tiny/*/en.seed0.json"))
    path.write_text(path.read_text()[:200])
    assert unibench("report", "--results", results, "--out", tmp_path / "board.md") == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path} is not a readable record")
    assert said.count("\n") == 1
    assert not (tmp_path / "board.md").exists()


def test_the_exit_code_and_the_line_reach_the_shell(home: Path, tmp_path: Path) -> None:
    code, out, err = in_a_process(run_line(home, tmp_path / "results", "--tasks", "xlni"))
    assert (code, out) == (2, "heavy: []\n")
    assert err.startswith("error: no task 'xlni' in ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"])
    assert shown.exit_code == 0
    assert f"Example: unibench {command}" in shown.output


def test_help_names_every_command() -> None:
    shown = CliRunner().invoke(app, ["--help"])
    assert shown.exit_code == 0
    assert all(command.split()[0] in shown.output for command in COMMANDS)


def test_help_and_lists_and_reports_never_load_torch(home: Path, measured: Path) -> None:
    code, out, err = in_a_process(
        ["--help"],
        *([*command.split(), "--help"] for command in COMMANDS),
        ["tasks", "show", "xquad", "--language", "ru", "--data", "sample"],
        ["tasks", "--tasks-dir", home / "tasks", "--data", home / "hub"],
        ["models", "--no-speed", "--results", measured],
        ["report", "--results", measured, "--significance"],
    )
    assert code == 0, err
    assert out.endswith("heavy: []\n")
    for shown in ("toy_nli", "tiny", "mminilm-l12", "Leaderboard"):
        assert shown in out
