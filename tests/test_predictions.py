"""Predictions come back as they went, the same bytes each time, and a file that was altered is named."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
from test_store import ok

from unibench import predictions, store
from unibench.data import Example
from unibench.errors import DataError

EXAMPLES = (
    Example(id="0000001", group="g1", inputs={"tokens": ("a",)}, target=("B-PER", "O")),
    Example(id="0000002", group="g1", inputs={}, target={"text": ("line\u2028break", "Ä\n"), "start": (3, -1)}),
    Example(id="0000004", group="g'été 2", inputs={}, target=0.5),
)
OUTPUTS = [["O", "O"], "two\nlines", {"score": 0.25}]
UNITS = np.array([[0.0, 1.0], [0.5, math.nan], [1.0, 0.0]])


def test_a_line_an_example_with_everything_of_it(tmp_path: Path) -> None:
    content = predictions.encode(EXAMPLES, OUTPUTS, ("exact", "f1"), UNITS)
    assert content == predictions.encode(EXAMPLES, OUTPUTS, ("exact", "f1"), UNITS)
    first = json.loads(gzip.decompress(content).split(b"\n")[0])
    assert first == {
        "id": "0000001", "group": "g1", "target": ["B-PER", "O"], "output": ["O", "O"],
        "units": {"exact": 0.0, "f1": 1.0},
    }  # fmt: skip
    path = store.write(tmp_path, ok(), content)
    rows = predictions.read(path, store.read(path))
    assert [row["output"] for row in rows] == OUTPUTS
    assert rows[1]["target"] == {"text": ["line\u2028break", "Ä\n"], "start": [3, -1]}
    assert rows[1]["units"] == {"exact": 0.5, "f1": None}
    assert [row["group"] for row in rows] == ["g1", "g1", "g'été 2"]


def test_predictions_and_examples_that_do_not_match_are_no_predictions() -> None:
    with pytest.raises(ValueError, match="zip"):
        predictions.encode(EXAMPLES, OUTPUTS[:2], ("exact", "f1"), UNITS)
    with pytest.raises(ValueError, match="zip"):
        predictions.encode(EXAMPLES, OUTPUTS, ("exact",), UNITS)


def test_altered_and_missing_files_are_named(tmp_path: Path) -> None:
    path = store.write(tmp_path, ok(), predictions.encode(EXAMPLES, OUTPUTS, ("exact", "f1"), UNITS))
    record = store.read(path)
    stored = path.with_name(record.predictions["file"])
    stored.write_bytes(stored.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"predictions\.jsonl\.gz does not match its record en\.seed1\.json"):
        predictions.read(path, record)
    stored.unlink()
    with pytest.raises(DataError, match="cannot be read") as caught:
        predictions.read(path, record)
    assert str(stored) in str(caught.value)
    assert predictions.read(path, ok()) == []
