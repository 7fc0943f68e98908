"""Stored records that today's command would not make: what differs, and what to move away. Nothing is moved here."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from unibench.errors import StaleRecord
from unibench.store import Job, RunRecord

MOST_STALE = 3  # records that an error names one by one


def stale(record: RunRecord, *, job: Job, card_sha256: str, data_sha256: str, model_sha256: str) -> list[str]:
    """Returns what differs between a stored record and today's job, as words; [] when the record may be reused."""
    made = record.provenance
    if made is None:
        return ["provenance"]
    differences = []
    if record.job != job:
        differences.append("recipe")
    for name, ours, today in (
        ("card", made.card_sha256, card_sha256),
        ("data", made.data_sha256, data_sha256),
        ("model", made.model_sha256, model_sha256),
    ):
        if ours != today:
            differences.append(name)
    return differences


def refuse_stale(path: Path, differences: Sequence[str]) -> StaleRecord:
    """Returns the error to raise for a record that today's command would not make."""
    return refuse_all_stale({path: differences})


def refuse_all_stale(found: Mapping[Path, Sequence[str]]) -> StaleRecord:
    """Returns the error to raise for all such records: the first few by name, and a shell's words for every file."""
    words = []
    for path, differences in found.items():
        made = " and ".join("from other data" if what == "data" else f"by another {what}" for what in differences)
        words.append(f"{path} was made {made} than today's")
    more = f"; and {len(words) - MOST_STALE} more" if len(words) > MOST_STALE else ""
    return StaleRecord(
        f"{'; '.join(words[:MOST_STALE])}{more}; move {'it' if len(words) == 1 else 'each'} away with the .npz and "
        f".predictions files beside it ({_glob(found)}) or choose another --results folder"
    )


def _glob(paths: Iterable[Path]) -> str:
    """Returns a shell pattern for these records with the files beside them; a folder where it holds no others."""
    stems: dict[Path, list[str]] = {}
    for path in paths:
        stems.setdefault(path.parent, []).append(path.stem)
    words = []
    for folder, of in stems.items():
        stored = {path.stem for path in folder.glob("*.json") if ".attempt-" not in path.name}
        if stored and stored <= set(of):
            words.append(shlex.quote(str(folder)))
        else:
            words.append(f"{shlex.quote(str(folder))}/{of[0] if len(of) == 1 else '{' + ','.join(of) + '}'}.*")
    return " ".join(words)
