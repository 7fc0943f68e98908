"""What `unibench models` wrote is found again by name, by folder and by hash, and nothing else is believed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from unibench import models, speed, timings
from unibench.speed import Machine

HERE = {"workload": "w", "device": "cpu", "processor": "P", "precision": "fp32", "threads": 2}


def write(results: Path, *rows: object) -> Path:
    (results / timings.FILE).write_text(json.dumps(rows))
    return results


def row(model: str, pairs_per_s: float, **more: object) -> dict[str, object]:
    return {"model": model, **HERE, "pairs_per_s": pairs_per_s, **more}


def folder(results: Path, name: str, config: str) -> Path:
    path = results / "models" / name
    path.mkdir(parents=True)
    (path / "config.json").write_text(config)
    return path


def test_what_was_really_measured_is_found_by_name_and_a_floor_by_its_hash(results: Path) -> None:
    on = Machine(device="cpu", processor="P", precision="fp32", threads=1)
    encoders = models.pick(["first", "scratch"], results)
    measured, reasons = speed.speeds(encoders, results, on, lambda text: None)
    assert not reasons
    shutil.copytree(results / "models" / "first", results / "models" / "twin")
    found = timings.read_speeds(results)
    for key, name in (("first", "first"), ("twin", "first"), (models.sha256(encoders[1]), "scratch")):
        (timing,) = found[key]
        assert timing.pairs_per_s == pytest.approx(measured[name], rel=1e-3)
        assert str(timing.place) == str(on)
    assert "tutor" in found
    assert not found["tutor"], "here, but never measured"


def test_a_name_in_the_file_counts_only_where_no_folder_says_what_the_model_is_today(tmp_path: Path) -> None:
    key = timings.identity(folder(tmp_path, "mine", "{}"))
    write(
        tmp_path, row("old", 1.0, name="mine"), row(key, 2.0), row("a", 3.0, name="hub"), row("b", 4.0, name="hub"),
        row("b", 5.0, name="hub", threads=4), row("a", 6.0),
    )  # fmt: skip
    found = timings.read_speeds(tmp_path)
    assert [t.pairs_per_s for t in found["mine"]] == [2.0]
    assert [t.pairs_per_s for t in found["hub"]] == [4.0, 5.0], "what bore the name last"
    assert [(t.pairs_per_s, t.number) for t in found["a"]] == [(3.0, 2), (6.0, 5)]


def test_a_model_is_its_configuration_and_its_vocabulary(tmp_path: Path) -> None:
    one, two = folder(tmp_path, "one", "{}"), folder(tmp_path, "two", "{}")
    assert timings.identity(one) == timings.identity(two)
    (two / "model.safetensors").write_bytes(b"other weights")
    assert timings.identity(one) == timings.identity(two)
    for name in ("tokenizer.json", "vocab.txt", "spiece.model"):
        (two / name).write_text("pieces")
        assert timings.identity(one) != timings.identity(two), name
        (two / name).unlink()


@pytest.mark.parametrize(
    "content", ["", "[{", "{}", "[1, null]", '[{"model": "m"}]', '[{"model": "m", "pairs_per_s": 0}]']
)
def test_what_is_not_a_measurement_is_passed_over(tmp_path: Path, content: str) -> None:
    assert timings.read_speeds(tmp_path) == {}
    (tmp_path / timings.FILE).write_text(content)
    assert timings.read_speeds(tmp_path) == {}


def test_of_several_rows_the_broken_ones_alone_are_passed_over(tmp_path: Path) -> None:
    bad = [row("m", -1.0), row("m", float("inf"), threads="many"), {**row("m", 3.0), "device": None}]
    found = timings.read_speeds(write(tmp_path, *bad[:2], row("m", 7.0)))
    assert [(t.pairs_per_s, t.number) for t in found["m"]] == [(7.0, 2)]
