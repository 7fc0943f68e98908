"""Tokenised splits, kept by content: on disk for the next job, in this process for the next model of a sweep's task.

The key covers all that `Adapter.encode` reads and the adapters' own source, so a hit is what encoding would give. One
split is one .npz file without pickles. A file that cannot be read is made again; where nothing can be written nothing
is kept. The folder is limited: the files that were not used for longest go first.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from unibench.adapters.base import Adapter
from unibench.adapters.rows import Rows
from unibench.atomic import writing
from unibench.cards import TaskCard
from unibench.data import Example, examples_sha256

CACHE_VERSION = 1  # of the files' layout
LIMIT_BYTES = 4 << 30  # of the folder
MEMORY_BYTES = 1 << 30  # of this process
ABANDONED_S = 3600  # after which an unfinished file is taken for one whose writer died

_REMEMBERED: OrderedDict[Path, Rows] = OrderedDict()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCache:
    """Encodes one card's splits for one tokenizer; `hits` names those that did not have to be tokenised.

    `folder` None keeps nothing and looks nothing up.
    """

    folder: Path | None
    adapter: Adapter
    tokenizer: Any
    card: TaskCard
    max_tokens: int
    limit_bytes: int = LIMIT_BYTES
    hits: list[str] = field(default_factory=list)

    def encode(self, split: str, examples: Sequence[Example], *, training: bool) -> Rows:
        """Returns the examples as the adapter encodes them; `split` is how they are called in `hits`."""
        if self.folder is None:
            return self._encoded(examples, training)
        path = self.folder / f"{self._key(examples, training)}.npz"
        rows = _REMEMBERED.get(path) or read(path)
        if rows is None:
            rows = self._encoded(examples, training)
            with suppress(OSError):  # a full disk or a folder that is read-only must not stop a job
                write(path, rows, self.limit_bytes)
        else:
            self.hits.append(split)
            with suppress(OSError):
                os.utime(path)
        _remember(path, rows)
        return rows

    def _encoded(self, examples: Sequence[Example], training: bool) -> Rows:
        return self.adapter.encode(self.tokenizer, self.card, examples, max_tokens=self.max_tokens, training=training)

    def _key(self, examples: Sequence[Example], training: bool) -> str:
        card = self.card
        parts = [
            CACHE_VERSION,
            _source_sha256(type(self.adapter).__module__),
            tokenizers.__version__,
            hashlib.sha256(self.tokenizer.backend_tokenizer.to_str().encode()).hexdigest(),
            self.tokenizer.pad_token_id,
            list(self.tokenizer.model_input_names),
            [card.family, list(card.labels), dict(card.options), card.sha256],
            self.max_tokens,
            training,
            examples_sha256(examples),
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read(path: Path) -> Rows | None:
    """Returns the rows stored at `path`; None where there are none, or they cannot be read in full."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            about = json.loads(bytes(stored["about"]))
            rows = Rows(
                starts=stored["starts"],
                columns={name: (stored[f"column {name}"], pad) for name, pad in about["columns"].items()},
                example=stored["example"],
                aside={name: stored[f"aside {name}"] for name in about["aside"]},
                per_row={name: stored[f"row {name}"] for name in about["per_row"]},
                rows_per_item=about["rows_per_item"],
                counts=about["counts"],
            )
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error):
        return None
    return rows


def write(path: Path, rows: Rows, limit_bytes: int) -> None:
    """Stores the rows at `path`, whole or not at all, and drops the files used least recently above the limit."""
    about = {
        "columns": {name: int(pad) for name, (_, pad) in rows.columns.items()},
        "aside": list(rows.aside),
        "per_row": list(rows.per_row),
        "rows_per_item": rows.rows_per_item,
        "counts": {name: int(count) for name, count in rows.counts.items()},
    }
    arrays: dict[str, NDArray[Any]] = {
        "about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8),
        "starts": rows.starts,
        "example": rows.example,
        **{f"column {name}": array for name, (array, _) in rows.columns.items()},
        **{f"aside {name}": array for name, array in rows.aside.items()},
        **{f"row {name}": array for name, array in rows.per_row.items()},
    }
    with writing(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    _make_room(path, limit_bytes)


def _make_room(newest: Path, limit_bytes: int) -> None:
    """Other processes may be at it as well: a file that is gone is no error."""
    for part in newest.parent.glob(".*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > ABANDONED_S:
                part.unlink()
    found = []
    for path in newest.parent.glob("*.npz"):
        with suppress(OSError):
            stat = path.stat()
            found.append((stat.st_mtime_ns, stat.st_size, path))
    room = limit_bytes - sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if room >= 0:
            break
        if path != newest:
            path.unlink(missing_ok=True)
            room += size


def _remember(path: Path, rows: Rows) -> None:
    _REMEMBERED[path] = rows
    _REMEMBERED.move_to_end(path)
    while sum(_bytes(kept) for kept in _REMEMBERED.values()) > MEMORY_BYTES:
        _REMEMBERED.popitem(last=False)


def _bytes(rows: Rows) -> int:
    columns = [array for array, _ in rows.columns.values()]
    return sum(
        array.nbytes for array in (rows.starts, rows.example, *columns, *rows.aside.values(), *rows.per_row.values())
    )


@cache
def _source_sha256(module: str) -> str:
    """Of the source that encodes: whoever changes an adapter must not be given what the old one made."""
    digest = hashlib.sha256()
    ours, theirs = Path(__file__).parent / "adapters", Path(sys.modules[module].__file__ or "").parent
    for path in sorted({*ours.glob("*.py"), *theirs.glob("*.py")}):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
