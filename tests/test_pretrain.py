"""The whole of `unibench train`: killed and resumed, taught and untaught, run twice, asked for something else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_runs
import world

from unibert import pretrain
from unibert.config import Adversary, Distill, ModelConfig
from unibert.errors import UserError
from unibert.manifest import model_sha256, read_manifest

REPO = Path(__file__).resolve().parents[1]
SETTINGS = """
batch_tokens = 512
eval_every_steps = 40
checkpoint_every_s = 0.001
[model]
layers = 1
width = 64
positions = 64
[adversary]
start_frac = 0.3
"""


def made(results: Path, name: str) -> dict:  # type: ignore[type-arg]
    manifest = read_manifest(results / "models" / name)
    assert manifest is not None
    return manifest


def test_killed_and_resumed_it_is_the_run_that_was_never_killed(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, tutor = world.write(tmp_path / "world"), trained / "models" / "tutor"
    (tmp_path / "tiny.toml").write_text(SETTINGS)
    results = tmp_path / "results"

    def arguments(name: str) -> list[str | Path]:
        return [
            "train", "--size", "xxsmall", "--corpus", text, "--steps", "160", "--config", tmp_path / "tiny.toml",
            "--objectives", "mlm,adversary,distill", "--teacher", tutor, "--tokenizer", tutor, "--name", name,
            "--results", results, "--threads", "1", "--device", "cpu", "--precision", "fp32",
        ]  # fmt: skip

    work = results / "training" / "killed"
    with (tmp_path / "log").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "unibench.cli", *map(str, arguments("killed"))],
            env={**os.environ, "PYTHONPATH": str(REPO)}, stdout=log, stderr=log,
        )  # fmt: skip
        while child.poll() is None and not ((work / "state.pt").exists() and _step(work) >= 80):
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL, (tmp_path / "log").read_text()
    assert 80 <= _step(work) < 160
    assert not (results / "models").exists()

    for name in ("killed", "whole"):
        assert tiny_runs.unibench(*arguments(name)) == 0
        assert ("resuming at step" in capsys.readouterr().out) == (name == "killed")
    curves = [(results / "models" / name / "metrics.jsonl").read_text() for name in ("killed", "whole")]
    assert curves[0] == curves[1]
    rows = [json.loads(line) for line in curves[0].splitlines()]
    assert {"mlm", "soft", "hidden", "disc_loss", "disc_accuracy", "strength"} <= set().union(*rows)
    assert [row["step"] for row in rows if "mlm" in row] == list(range(20, 161, 20))
    manifests = [made(results, name) for name in ("killed", "whole")]
    assert manifests[0]["model_sha256"] == manifests[1]["model_sha256"]
    assert manifests[0]["objectives"] == "mlm+adversary+distill"
    assert not (work / "state.pt").exists()


def _step(work: Path) -> int:
    path = work / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=0)


def contents(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_the_same_request_again_does_nothing(results: Path) -> None:
    folder = results / "models" / "first"
    before = contents(folder)
    [note] = tiny_runs.train(tiny_runs.asked(results, "first", steps=100))
    assert note == f"{folder} is already trained; nothing to do"
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"steps": 101}, "steps"),
        ({"seed": 7}, "seed"),
        ({"size": "small"}, "size"),
        ({"width": 128}, "model"),
        ({"adversary": Adversary()}, "adversary, objectives"),
        ({"distill": True}, "distill, objectives, teacher"),
        ({"vocab_size": 700, "mask_rate": 0.3}, "mask_rate, vocab_size"),
    ],
)
def test_another_request_under_a_finished_name_is_refused(trained: Path, changes: dict, named: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(UserError, match=f"first was trained with another {named}; choose another --name"):
        tiny_runs.train(tiny_runs.asked(trained, "first", **{"steps": 100, **changes}))


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    with pytest.raises(UserError, match="was not written by unibench train"):
        tiny_runs.train(tiny_runs.asked(tmp_path, "mine"))
    assert [path.name for path in tmp_path.rglob("*")] == ["models", "mine"]


def test_every_size_shares_one_vocabulary_and_one_set_of_shards(trained: Path) -> None:
    assert len(list((trained / "tokenizers").iterdir())) == len(list((trained / "shards").iterdir())) == 1
    first, tutor = made(trained, "first"), made(trained, "tutor")
    assert first["tokenizer_sha256"] == tutor["tokenizer_sha256"]
    assert first["shards"] == tutor["shards"]


def test_the_manifest_tells_the_truth(trained: Path) -> None:
    manifest = made(trained, "first")
    folder = trained / "models" / "first"
    assert manifest["model_sha256"] == model_sha256(folder)
    assert (manifest["steps"], manifest["is_teacher"], manifest["objectives"]) == (100, False, "mlm")
    assert manifest["languages"] == list(tiny_runs.LANGUAGES)
    layer = 4 * (64 * 64 + 64) + 2 * (64 * 256) + 256 + 64 + 4 * 64
    pooler = 64 * 64 + 64
    assert manifest["parameters_without_embeddings"] in (layer, layer + pooler)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert manifest["heldout"]["mlm"]["mean"] == pytest.approx(rows[-1]["heldout_mlm"])
    assert 0 <= manifest["probe"]["probe_accuracy"] <= 1
    assert manifest["probe"]["chance"] == pytest.approx(1 / 3)
    assert f"# {manifest['name']}\n" in (folder / "README.md").read_text()


# Who teaches.


def test_a_larger_model_that_beats_the_siblings_is_found(results: Path) -> None:
    assert made(results, "tutor")["heldout"]["mlm"]["mean"] < made(results, "first")["heldout"]["mlm"]["mean"]
    notes = tiny_runs.train(tiny_runs.asked(results, "student", distill=True))
    assert "teacher tutor, found" in notes
    manifest = made(results, "student")
    assert manifest["objectives"] == "mlm+distill"
    assert manifest["steps"] == 20, "finding one costs nothing"
    assert manifest["teacher"]["model_sha256"] == made(results, "tutor")["model_sha256"]
    assert manifest["teacher"]["steps"] == 200
    assert [path.name for path in sorted((results / "models").iterdir())] == ["first", "student", "tutor"]


def test_without_one_the_next_size_up_is_trained_within_half_of_the_budget(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(pretrain.PRESETS, "xsmall", ModelConfig(layers=1, width=128, positions=64))
    for name in ("tutor", "first"):
        shutil.rmtree(results / "models" / name)
    request = tiny_runs.asked(results, "student", steps=120, distill=True)
    notes = tiny_runs.train(request)
    assert "teacher teacher-xsmall-student, trained within half of the budget" in notes
    teacher, student = made(results, "teacher-xsmall-student"), made(results, "student")
    assert (teacher["steps"], student["steps"]) == (60, 60)
    assert teacher["is_teacher"]
    assert not student["is_teacher"]
    assert (teacher["size"], teacher["objectives"]) == ("xsmall", "mlm")
    assert teacher["tokenizer_sha256"] == student["tokenizer_sha256"]
    assert student["teacher"]["why"].startswith("teacher teacher-xsmall-student")

    # Killed after its teacher was done, the student still owes it half of the budget.
    shutil.rmtree(results / "models" / "student")
    shutil.rmtree(results / "training" / "student")
    tiny_runs.train(request)
    assert made(results, "student")["model_sha256"] == student["model_sha256"]


def test_an_equal_teaches_where_nothing_larger_does_better(results: Path) -> None:
    shutil.rmtree(results / "models" / "tutor")
    notes = tiny_runs.train(tiny_runs.asked(results, "student", steps=4, distill=True))
    assert "teacher first, found" in notes
    # What was itself taught teaches nobody, however low its loss.
    again = tiny_runs.train(tiny_runs.asked(results, "another", steps=4, distill=True))
    assert "teacher first, found" in again


def test_a_short_budget_is_not_halved_for_a_teacher(results: Path) -> None:
    for name in ("tutor", "first"):
        shutil.rmtree(results / "models" / name)
    notes = tiny_runs.train(tiny_runs.asked(results, "student", steps=None, budget_s=3.0, distill=True))
    assert any("no teacher found, and 3 s are too few to train one first" in note for note in notes)
    assert "a budget of 3 s is" in " ".join(notes), "all of it is the student's"
    assert [path.name for path in (results / "models").iterdir()] == ["student"]
    assert made(results, "student")["objectives"] == "mlm"


def test_a_teacher_that_learned_nothing_teaches_nobody(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pretrain.PRESETS, "xsmall", ModelConfig(layers=1, width=128, positions=64))
    for name in ("tutor", "first"):
        shutil.rmtree(results / "models" / name)
    notes = tiny_runs.train(tiny_runs.asked(results, "student", steps=4, distill=True))
    [why] = [note for note in notes if "unigram frequencies" in note]
    assert why.endswith("trained without distillation")
    manifest = made(results, "student")
    assert (manifest["objectives"], manifest["steps"]) == ("mlm", 2)
    assert manifest["teacher"]["why"] == why
    assert manifest["teacher"]["folder"] is None


@pytest.mark.parametrize(
    ("size", "teacher", "why"),
    [("base", "auto", "no size above base to teach it"), ("xxsmall", "none", "no teacher, as asked")],
)
def test_some_go_without(results: Path, size: str, teacher: str, why: str) -> None:
    if size == "base":
        shutil.rmtree(results / "models" / "tutor")
    notes = tiny_runs.train(tiny_runs.asked(results, "student", steps=2, size=size, teacher=teacher, distill=True))
    assert any(note.startswith(why) for note in notes)
    manifest = made(results, "student")
    assert (manifest["objectives"], manifest["steps"]) == ("mlm", 2)


def test_a_teacher_by_name_or_folder(results: Path, tmp_path: Path) -> None:
    settings = Distill(teacher="", temperature=1.0, soft_weight=0.5, hidden_weight=0.0)
    named = replace(tiny_runs.asked(results, "a", teacher="first", distill=True), distill_settings=settings)
    tiny_runs.train(named)
    folder = shutil.copytree(results / "models" / "first", tmp_path / "elsewhere")
    tiny_runs.train(replace(named, name="b", teacher=str(folder)))
    first, second = made(results, "a"), made(results, "b")
    assert first["model_sha256"] == second["model_sha256"]
    assert first["config"]["distill"]["soft_weight"] == 0.5
    assert second["config"]["distill"]["teacher"] == str(folder)


def test_a_teacher_that_cannot_teach_is_refused_before_anything_is_trained(results: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    tiny_runs.train(tiny_runs.asked(other, "foreign", steps=1, vocab_size=500))
    for teacher, expected in (
        ("nobody", "no teacher 'nobody': not in"),
        (str(other / "models" / "foreign"), "has another vocabulary than this run"),
    ):
        with pytest.raises(UserError, match=expected) as caught:
            tiny_runs.train(tiny_runs.asked(results, "student", teacher=teacher, distill=True))
        assert "\n" not in str(caught.value)
    assert not (results / "models" / "student").exists()
    assert not list((results / "training").glob("student/*"))


def test_a_resumed_run_keeps_the_teacher_it_began_with(results: Path) -> None:
    request = tiny_runs.asked(results, "student", distill=True)
    tiny_runs.train(request)
    shutil.rmtree(results / "models" / "student")  # as if it had been stopped before its export
    with pytest.raises(UserError, match="was begun with --teacher auto; give the same"):
        tiny_runs.train(replace(request, teacher="first"))


def test_a_vocabulary_is_a_model_trained_here_or_a_folder(results: Path) -> None:
    tiny_runs.train(tiny_runs.asked(results, "borrower", steps=1, tokenizer="first", vocab_size=5000))
    assert made(results, "borrower")["tokenizer_sha256"] == made(results, "first")["tokenizer_sha256"]
    with pytest.raises(UserError, match=r"no tokenizer\.json in nowhere"):
        tiny_runs.train(tiny_runs.asked(results, "lost", tokenizer="nowhere"))


def test_sizes_stand_from_large_to_small() -> None:
    widths = [pretrain.PRESETS[size].width for size in pretrain.SIZES]
    assert widths == sorted(widths, reverse=True)
