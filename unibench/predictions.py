"""What was predicted for each example, kept beside a record for people who read answers rather than scores."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unibench.data import Example
from unibench.errors import DataError
from unibench.store import RunRecord


def encode(
    examples: Sequence[Example], outputs: Sequence[Any], unit_names: Sequence[str], units_NK: NDArray[np.float64]
) -> bytes:
    """Returns gzipped JSON lines, one an example: id, group, target, output, units by name; nan becomes null.

    The same predictions are the same bytes.
    """
    lines = [
        json.dumps(
            {
                "id": example.id,
                "group": example.group,
                "target": example.target,
                "output": output,
                "units": {
                    name: None if math.isnan(value) else value
                    for name, value in zip(unit_names, row.tolist(), strict=True)
                },
            },
            ensure_ascii=False,
        )
        for example, output, row in zip(examples, outputs, units_NK, strict=True)
    ]
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)


def read(path: Path, record: RunRecord) -> list[dict[str, Any]]:
    """Returns the predictions of the record that stands at `path`, a dictionary an example; [] if it has none.

    Raises DataError, naming the file, when it is missing or altered.
    """
    if not record.predictions:
        return []
    stored = path.with_name(record.predictions["file"])
    try:
        content = stored.read_bytes()
    except OSError as error:
        raise DataError(f"{stored}, which {path.name} lists, cannot be read ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != record.predictions["sha256"]:
        raise DataError(f"{stored} does not match its record {path.name}; delete both and run again")
    # not splitlines(): a text may hold U+2028, which that takes for the end of a line
    return [json.loads(line) for line in gzip.decompress(content).split(b"\n") if line]
