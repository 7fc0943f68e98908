"""How fast encoders read, kept by machine; and the listing that shows it. No number is compared with a clock."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from unibench import model_listing, models, render, speed
from unibench.catalogue import CATALOGUE
from unibench.cli import app
from unibench.speed import Machine

HERE = Machine(device="cpu", processor="a processor", precision="fp32", threads=1)


def measured(results: Path, on: Machine, *names: str) -> tuple[dict[str, float], dict[str, str], list[str]]:
    said: list[str] = []
    found, reasons = speed.speeds(models.pick(names, results), results, on, said.append)
    return found, reasons, said


def test_the_workload_is_the_same_everywhere() -> None:
    texts = speed.workload()
    assert len(texts) == speed.PAIRS == 64
    assert all(premise and hypothesis for premise, hypothesis in texts)
    assert sum("\u0e00" <= premise[0] <= "\u0e7f" for premise, _ in texts) >= 4  # Thai
    assert "64 pairs of sentences" in speed.describe()
    assert "batches of 32" in speed.describe()


def test_a_speed_is_measured_once_a_machine(results: Path) -> None:
    found, reasons, said = measured(results, HERE, "first", "scratch")
    assert said == ["measuring first", "measuring scratch"]
    assert not reasons
    assert all(math.isfinite(value) and value > 0 for value in found.values())
    rows = json.loads((results / "speeds.json").read_text())
    assert [row["pairs_per_s"] for row in rows] == pytest.approx(list(found.values()), rel=1e-3)
    assert {(row["processor"], row["device"], row["precision"], row["threads"]) for row in rows} == {
        ("a processor", "cpu", "fp32", 1)
    }
    for row in rows:  # what is read back is what the file says, not a new measurement
        row["pairs_per_s"] = 12.5
    (results / "speeds.json").write_text(json.dumps(rows))
    assert measured(results, HERE, "first", "scratch") == ({"first": 12.5, "scratch": 12.5}, {}, [])
    for other in (replace(HERE, threads=2), replace(HERE, processor="another"), replace(HERE, precision="bf16")):
        assert measured(results, other, "first")[2] == ["measuring first"]
    assert len(json.loads((results / "speeds.json").read_text())) == 5


def test_encoders_of_one_shape_and_vocabulary_share_a_speed(results: Path) -> None:
    measured(results, HERE, "first")
    twin = Path(shutil.copytree(results / "models" / "first", results / "models" / "twin"))
    assert measured(results, HERE, "twin")[2] == []
    config = json.loads((twin / "config.json").read_text())
    (twin / "config.json").write_text(json.dumps({**config, "num_attention_heads": 2}))
    assert measured(results, HERE, "twin")[2] == ["measuring twin"]


def test_a_file_that_is_not_readable_is_measured_again(results: Path) -> None:
    (results / "speeds.json").write_text('[{"half')
    assert measured(results, HERE, "first")[2] == ["measuring first"]
    assert len(speed.read(results / "speeds.json")) == 1


def test_what_cannot_be_opened_has_a_reason_and_no_speed(results: Path) -> None:
    weights = results / "models" / "first" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    found, reasons, _ = measured(results, HERE, "first")
    assert found == {}
    assert "cannot be opened" in reasons["first"]
    assert not (results / "speeds.json").exists()


def test_a_model_that_is_not_here_is_never_fetched_for_it(results: Path) -> None:
    encoder = models.Encoder(name="far", kind="catalogue", hub="some-owner/some-model")
    assert speed.speeds([encoder], results, HERE, lambda text: None) == ({}, {})


def test_measuring_leaves_the_global_generator_alone(results: Path) -> None:
    before = torch.get_rng_state()
    measured(results, HERE, "first")
    assert torch.equal(torch.get_rng_state(), before)


def test_the_listing_says_what_is_known_and_why_the_rest_is_not(trained: Path) -> None:
    encoders = models.available(trained)
    table = model_listing.listing(encoders, {"first": 812.4}, {}, workload="WORK", machine="MACHINE")
    by_name = {row[0]: dict(zip([c.name for c in table.columns], row, strict=True)) for row in table.rows}
    assert by_name["first"]["pairs/s"] == 812.4
    assert by_name["first"]["here"] == "yes"
    assert by_name["first"]["licence"] is None
    assert by_name["xlm-r-base"] | {"pairs/s": 0} == {
        "name": "xlm-r-base",
        "kind": "Hub",
        "shape": "12×768",
        "total M": 277.0,
        "body M": 85.1,
        "pieces": 250002,
        "licence": "MIT",
        "pairs/s": 0,
        "here": "no",
    }
    assert math.isnan(by_name["xlm-r-base"]["pairs/s"])
    notes = "\n".join(table.footnotes)
    assert "pairs/s: WORK; on MACHINE." in notes
    assert f"{', '.join(CATALOGUE)}: it is not in the Hugging Face cache and the Hub cannot be reached." in notes
    assert "e5-small, e5-base: made for inputs that begin with 'query: '" in notes
    assert "pairs/s" not in [column.name for column in model_listing.listing(encoders).columns]
    assert "| xlm-r-base | Hub | 12×768 | 277 | 85.1 | 250002 | MIT | – | no |" in render.render([table], "markdown")


def test_a_model_that_would_be_fetched_says_so(tmp_path: Path) -> None:
    encoder = models.Encoder(name="a/b", kind="catalogue", hub="a/b")
    table = model_listing.listing([encoder])
    assert table.rows[0][-1] == "fetch"
    assert any(note.startswith("fetch: ") for note in table.footnotes)


def test_the_command_writes_what_it_shows(results: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    threads = torch.get_num_threads()
    try:
        shown = runner.invoke(app, ["models", "--results", str(results), "--format", "csv", "--threads", "1"])
    finally:
        torch.set_num_threads(threads)
    assert shown.exit_code == 0, shown.output
    lines = [line for line in shown.stdout.splitlines() if not line.startswith("#")]
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO("\n".join(lines)))}
    assert list(rows) == ["first", "scratch", *CATALOGUE, "tutor"]
    assert float(rows["first"]["pairs/s"]) > 0
    assert rows["mbert"]["pairs/s"] == ""
    out = tmp_path / "models.md"
    again = runner.invoke(app, ["models", "--results", str(results), "--no-speed", "--out", str(out)])
    assert again.exit_code == 0
    assert "| first | trained |" in out.read_text()
    assert "pairs/s" not in out.read_text()


def test_one_model_in_detail(trained: Path) -> None:
    shown = CliRunner().invoke(
        app, ["models", "mmbert-base", "--no-speed", "--format", "json", "--results", str(trained)]
    )
    assert shown.exit_code == 0, shown.output
    [table] = json.loads(shown.stdout)
    facts = dict(table["rows"])
    assert facts["Hub id"] == "jhu-clsp/mmBERT-base"
    assert facts["parameters"] == "306,939,648"
    assert facts["languages named by its authors"] == 1833
    assert facts["source"].startswith("https://")
    trained_here = CliRunner().invoke(
        app, ["models", "first", "--no-speed", "--format", "json", "--results", str(trained)]
    )
    facts = dict(json.loads(trained_here.stdout)[0]["rows"])
    assert facts["objectives"] == "mlm"
    assert facts["sha256"] == models.sha256(models.find("first", trained))


def test_listing_without_speeds_loads_no_torch(trained: Path) -> None:
    code = (
        "import sys; from unibench.cli import main; sys.argv = ['unibench', 'models', '--no-speed', '--results', "
        f"{str(trained)!r}]\ntry:\n    main()\nexcept SystemExit as done:\n    assert not done.code, done.code\n"
        "print(sorted({'torch', 'transformers', 'datasets'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("[]\n")
