"""results/speeds.json as `unibench models` left it: how fast each model reads, and on which machine that was measured.

Reading needs no model opened: a trained one is known by what its speed depends on, its configuration and vocabulary.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = "speeds.json"
FIELDS = {"workload": str, "device": str, "processor": str, "precision": str, "threads": int}
NAMES = ("config.json", "tokenizer.json", "vocab.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What two speeds must share to be compared: the same pairs, read on the same machine in the same way."""

    workload: str
    device: str
    processor: str
    precision: str
    threads: int

    def __str__(self) -> str:
        threads = f", {self.threads} thread{'s' if self.threads > 1 else ''}" if self.device == "cpu" else ""
        return f"{self.processor} ({self.device}{threads}, {self.precision})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Pairs of sentences a second, tokens to logits. `number` is the file's row: a greater one was measured later."""

    pairs_per_s: float
    place: Place
    number: int


Speeds = Mapping[str, Sequence[Timing]]  # model's name, or the hash that the measurement knew it by


def read_speeds(results: Path) -> Speeds:
    """Returns every timing by the hash it was stored under and, of the models in RESULTS/models, by their names.

    Rows that also say a `name` are found under it, unless a model of that name is here, for then its folder decides.
    Empty where nothing was measured; what is not readable is passed over, for it is measured again.
    """
    out: dict[str, list[Timing]] = {}
    named: dict[str, dict[str, list[Timing]]] = {}
    for number, row in enumerate(read(results / FILE)):
        timing = _timing(row, number)
        if timing is None:
            continue
        out.setdefault(str(row["model"]), []).append(timing)
        if isinstance(row.get("name"), str):
            named.setdefault(row["name"], {}).setdefault(str(row["model"]), []).append(timing)
    if not out:
        return {}
    # of several models that bore one name, the one measured last
    names = {name: max(of.values(), key=lambda timings: timings[-1].number) for name, of in named.items()}
    here = {path.parent.name: identity(path.parent) for path in sorted(results.glob("models/*/config.json"))}
    return out | names | {name: out.get(key, []) for name, key in here.items()}


def read(path: Path) -> list[dict[str, Any]]:
    """Returns what was measured, a row each; nothing for a file that is not there or not readable."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def identity(folder: Path) -> str:
    """Returns a hash of what speed depends on, configuration and vocabulary; of gigabytes of weights none is needed."""
    digest = hashlib.sha256()
    for path in [*(folder / name for name in NAMES), *sorted(folder.glob("*.model"))]:
        if path.is_file():
            digest.update(f"{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _timing(row: Mapping[str, Any], number: int) -> Timing | None:
    try:
        place = Place(**{name: kind(row[name]) for name, kind in FIELDS.items()})
        speed = float(row["pairs_per_s"])
        return Timing(pairs_per_s=speed, place=place, number=number) if row["model"] and speed > 0 else None
    except (KeyError, TypeError, ValueError):
        return None
