"""The manifest of a mirror: which files of which dataset were fetched at which commit, and are they still so?"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unibench import atomic
from unibench.errors import DataError, UserError

MANIFEST = "unibench-mirror.json"
SCHEMA = 1
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A dataset in a mirror. `revision` is what was asked for ("" for none), `commit` what that was then.

    `files` maps paths inside the dataset to (size in bytes, sha256).
    """

    commit: str
    revision: str = ""
    files: Mapping[str, tuple[int, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashes:
    """The hashes of one file: its sha256, as LFS names it, and git's sha1 of it as a blob."""

    sha256: str
    blob: str


def read(root: Path) -> dict[str, Held]:
    """Returns the datasets that the mirror's manifest lists, none without a manifest. DataError for a bad one."""
    path = root / MANIFEST
    if not path.is_file():
        return {}
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["schema"] != SCHEMA:
            raise ValueError(f"schema is {raw['schema']!r}, expected {SCHEMA}")
        return {
            hub: Held(
                commit=held["commit"],
                revision=held["revision"],
                files={name: (int(entry["size"]), entry["sha256"]) for name, entry in held["files"].items()},
            )
            for hub, held in raw["datasets"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise DataError(f"{path} is not a mirror's manifest ({reason}); delete it and fetch again") from error


def write(root: Path, datasets: Mapping[str, Held]) -> None:
    """Writes the manifest atomically."""
    plain: dict[str, Any] = {
        hub: {
            "commit": held.commit,
            "revision": held.revision,
            "files": {name: {"size": size, "sha256": sha} for name, (size, sha) in sorted(held.files.items())},
        }
        for hub, held in sorted(datasets.items())
    }
    atomic.write(
        root / MANIFEST, json.dumps({"schema": SCHEMA, "datasets": plain}, indent=1, ensure_ascii=False) + "\n"
    )


def hashes(path: Path) -> Hashes:
    """Returns both hashes of a file, read once."""
    sha256 = hashlib.sha256()
    blob = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            sha256.update(chunk)
            blob.update(chunk)
    return Hashes(sha256=sha256.hexdigest(), blob=blob.hexdigest())


def verify(root: Path) -> list[str]:
    """Returns what is wrong with the files that the manifest lists, a line each; every byte is read.

    Raises UserError where there is no manifest.
    """
    if not (root / MANIFEST).is_file():
        raise UserError(f"{root} has no {MANIFEST}; expected a folder that unibench data fetch wrote")
    wrong = []
    for hub, held in read(root).items():
        for name, (size, sha256) in held.files.items():
            path = root / hub / name
            if not path.is_file():
                wrong.append(f"{path} is missing")
            elif path.stat().st_size != size:
                wrong.append(f"{path} has {path.stat().st_size:,} bytes, expected {size:,}")
            elif hashes(path).sha256 != sha256:
                wrong.append(f"{path} is damaged: its sha256 is not the one that was fetched")
    return wrong


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Keeps other processes from writing to the mirror for the length of a `with` block; UserError if one does."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = (root / ".unibench-mirror.lock").open("w")
    except OSError as error:
        raise UserError(f"{root} cannot be written to ({error.strerror}); choose another --to") from error
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another unibench data fetch writes to {root}; wait for it or choose another --to"
            ) from None
        yield
