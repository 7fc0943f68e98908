"""The benchmarks run where there is no GPU and no time; what they claim of losses is checked, of speed nothing is."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import world

REPO = Path(__file__).resolve().parents[1]


def run(*arguments: str | Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *map(str, arguments)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_losses_are_the_hugging_face_trainers_over_twenty_steps() -> None:
    """Same weights, tokens, masks and rates in float32: the script exits with 1 beyond 1e-4."""
    out = run(REPO / "benchmarks" / "parity.py", "--size", "xxsmall", "--vocab-size", "2000")
    assert float(out.split("difference of 20 losses ")[1].split()[0]) <= 1e-4
    first, last = (float(out.split(word)[1].split()[0].rstrip(":")) for word in ("from ", " to "))
    assert last < first, "something was learned"


def test_the_gpu_benchmark_runs_whole_on_a_cpu(tmp_path: Path) -> None:
    out = run(REPO / "benchmarks" / "gpu" / "pretraining.py", "--tiny", "--out", tmp_path / "record.json")
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["device"] == "cpu"
    assert len(record["variants"]) == 4
    assert record["variants"][0]["variant"] in out
    assert all(row["tokens_per_s"] > 0 and 0 < row["utilisation"] < 1.5 for row in record["variants"])
    assert record["parity_nats"] < 0.05, "bf16 against fp32"
    assert record["last"] < record["first"]


def test_objectives_are_compared_over_seeds(tmp_path: Path) -> None:
    """One seed of every arm, minutes of steps left out: the table has its numbers from the models it names."""
    out = run(
        REPO / "benchmarks" / "arms.py", "--corpus", world.write(tmp_path / "text"), "--data", "sample", "--results",
        tmp_path, "--languages", "en,ru", "--steps", "3", "--teacher-steps", "2", "--teacher-size", "xxsmall",
        "--vocab-size", "700", "--seeds", "1", "--sentences", "8",
    )  # fmt: skip
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in out.splitlines() if line.startswith("| ")}
    loss = json.loads((tmp_path / "models" / "mlm-s0" / "unibert.json").read_text())["heldout"]["mlm"]["mean"]
    assert rows["held-out loss, nats"][1].strip() == f"{loss:.2f}"
    assert all(len(row) == 6 for row in rows.values())


def test_an_interval_over_three_seeds_is_students(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean 2, standard deviation 1, t(0.975, 2) = 4.3027: half a width of 4.3027 / sqrt(3)."""
    monkeypatch.syspath_prepend(str(REPO / "benchmarks"))
    arms = importlib.import_module("arms")
    assert arms.interval([1.0, 2.0, 3.0], 1.0) == "2.00 ± 2.48"
    assert arms.interval([0.5], 100.0) == "50.00"
    assert arms.interval([], 1.0) == "–"


def test_a_corpus_build_is_not_given_a_rate_that_nobody_could_measure() -> None:
    out = run(REPO / "benchmarks" / "corpus.py", "--languages", "en,fr", "--documents", "10").splitlines()
    less, more = (float(line.split()[0]) for line in out[:2])
    assert more > less > 0
    assert "too little to tell a rate by; give more --documents" in out[2]


def test_fine_tuning_is_measured_on_every_side(tmp_path: Path) -> None:
    words = ("--size", "xxsmall", "--vocab-size", "2000", "--repeats", "1", "--batches", "2")
    out = run(REPO / "benchmarks" / "finetuning.py", *words, "--out", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert len(found) == 4
    for side, [row] in found.items():
        assert side in out
        assert row["train"] > 0
        assert row["predict"] > 0


def test_resampling_is_measured_on_every_side_and_a_report_twice(tmp_path: Path) -> None:
    script = REPO / "benchmarks" / "statistics.py"
    out = run(script, "--tiny", "--store", tmp_path / "made", "--out", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    for part, sides in (("a", 5), ("b", 2)):
        assert found[part]["difference"] < 1e-12, "both sides compute the same thing"
        assert len(found[part]["sides"]) == sides
        for side, [row] in found[part]["sides"].items():
            assert side in out
            assert row["cpu_s"] > 0
    assert found["c"]["records"] == 3 * 2 * 8
    assert found["c"]["same"] is True
    for row in (found["c"]["cold"], found["c"]["warm"]):
        assert row["wall_s"] > 0
        assert 0 < row["cpu_s"] < 60
        assert 20 < row["memory_mb"] < 2000
    tables = json.loads((tmp_path / "made" / "report.json").read_text())
    assert "Leaderboard" in json.dumps(tables)
    (tmp_path / "made" / "left").mkdir()
    again = run(script, "--tiny", "--parts", "c", "--store", tmp_path / "made")
    assert "48 records" in again
    assert not (tmp_path / "made" / "left").exists(), "a store that is used again is cold again"


def test_a_benchmark_named_like_a_module_of_the_standard_library_hides_it_from_none(tmp_path: Path) -> None:
    out = run("-c", f"import sys; sys.path.insert(0, {str(REPO / 'benchmarks')!r})\n"
              "import statistics; print(statistics.__file__, statistics.median([1, 2, 6]))")  # fmt: skip
    assert out.split()[1] == "2"
    assert str(REPO) not in out.split()[0]
