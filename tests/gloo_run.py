"""Some steps of a run, by however many processes this was started in: python gloo_run.py SHARDS STATE STEPS CONFIG."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from unibert import checkpoint, teacher
from unibert.config import from_plain
from unibert.processes import Processes
from unibert.trainer import Trainer


def main(shards: str, work: str, steps: str, config_file: str, vocabulary: str, losses: str) -> None:
    torch.set_num_threads(1)
    config = from_plain(json.loads(Path(config_file).read_text()))
    processes = Processes("cpu")
    size = json.loads((Path(vocabulary) / "tokenizer.json").read_text())
    assert config.distill is not None
    taught_by = teacher.Teacher(
        config.distill, student_tokenizer=Path(vocabulary), device="cpu", bf16=False, cache=None
    )
    trainer = Trainer(
        config, Path(shards), len(size["model"]["vocab"]), device="cpu", teacher=taught_by, processes=processes
    )
    state = checkpoint.load_state(Path(work))
    if state is not None:
        trainer.load_state_dict(state)
    rows = []
    for _ in range(int(steps)):
        rows.append({name: float(value) for name, value in trainer.step().items()})
    processes.wait()
    if processes.first:
        checkpoint.save_state(Path(work), trainer.state_dict())
        Path(losses).write_text(json.dumps({"world": processes.world, "rows": rows}))
    processes.wait()
    processes.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
