"""What a run records as it goes: `metrics.jsonl`, and the same rows for TensorBoard where asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unibert.manifest import write_text

METRICS = "metrics.jsonl"


class Journal:
    """Rows by step, cut back to the step that training goes on from, so that none stands there twice."""

    def __init__(self, work: Path, step: int, *, tensorboard: bool = False) -> None:
        self.path, self.scalars_folder = work / METRICS, work / "tensorboard"
        self.tensorboard = tensorboard
        self.scalars: Any = None
        self.cut(step)

    def cut(self, step: int) -> None:
        """Drops the rows of later steps."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        kept = []
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:  # the line being written when the run was killed
                break
            if row["step"] <= step:
                kept.append(line)
        write_text(self.path, "".join(f"{line}\n" for line in kept))
        if self.tensorboard:
            from unibert.curves import Scalars

            self.close()
            self.scalars = Scalars(self.scalars_folder, resumed_step=step)

    def add(self, row: dict[str, Any]) -> None:
        """Appends a row."""
        with self.path.open("a") as file:
            file.write(json.dumps(row, sort_keys=True) + "\n")
        if self.scalars is not None:
            self.scalars.add(row)

    def close(self) -> None:
        """Finishes TensorBoard's file."""
        if self.scalars is not None:
            self.scalars.close()
            self.scalars = None
