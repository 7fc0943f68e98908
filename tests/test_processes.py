"""Two processes that train one run together have the losses of one process, and hand over to one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_runs

from unibert.config import Adversary, Distill, to_plain
from unibert.errors import UserError
from unibert.processes import Processes
from unibert.trainer import Trainer

SCRIPT = Path(__file__).with_name("gloo_run.py")


def run(trained: Path, work: Path, config_file: Path, *, steps: int, world: int) -> list[dict[str, float]]:
    """Takes steps of the run in `work` in so many processes; returns what the first one logged."""
    [shards], [vocabulary] = (trained / "shards").iterdir(), (trained / "tokenizers").iterdir()
    work.mkdir(exist_ok=True)
    losses = work / f"losses-{world}.json"
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"] if world > 1 else []
    command = [sys.executable, *launcher, SCRIPT, shards, work, steps, config_file, vocabulary, losses]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(losses.read_text())
    assert found["world"] == world
    rows: list[dict[str, float]] = found["rows"]
    return rows


@pytest.mark.parametrize("level", ["sentence", "token"])
def test_two_processes_have_the_losses_of_one_and_one_can_go_on_from_them(
    trained: Path, tmp_path: Path, level: Any
) -> None:
    adversary = Adversary(start_frac=0.1, ramp_frac=0.0, updates=2, level=level)
    tutor = str(trained / "models" / "tutor")
    distill = Distill(teacher=tutor, sentence_weight=1.0, relation_weight=1.0)
    config = replace(
        tiny_runs.asked(Path(), "x", steps=40).config, micro_batches=4, batch_tokens=1024, dropout=0.1,
        adversary=adversary, distill=distill,
    )  # fmt: skip
    file = tmp_path / "config.json"
    file.write_text(json.dumps(to_plain(config)))
    alone = run(trained, tmp_path / "one", file, steps=12, world=1)
    together = run(trained, tmp_path / "two", file, steps=8, world=2)
    together += run(trained, tmp_path / "two", file, steps=4, world=1)
    for one, two in zip(alone, together, strict=True):
        assert one == pytest.approx(two, rel=2e-3, abs=1e-4)
    names = {"mlm", "soft", "hidden", "relation", "sentence", "disc_loss", "strength", "grad_norm", "skipped"}
    assert names <= alone[-1].keys()
    assert alone[0]["mlm"] > alone[-1]["mlm"]


def test_micro_batches_that_cannot_be_shared_out_are_refused(trained: Path) -> None:
    [shards] = (trained / "shards").iterdir()
    three = Processes()
    three.world = 3
    config = replace(tiny_runs.asked(Path(), "x", steps=4).config, micro_batches=4, batch_tokens=1024)
    with pytest.raises(UserError, match="micro_batches 4 cannot be shared out to 3 processes"):
        Trainer(config, shards, 500, device="cpu", processes=three)
