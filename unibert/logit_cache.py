"""What a teacher said, kept on disk: a resumed run, or a second student of the same batches, never asks it again.

Legend: B sequences, D the teacher's width, M masked positions, K kept pieces a position.

A folder holds `manifest.json` and segments, a pair of files for each process that ever wrote: `NAME.bin`, entries
end to end, and `NAME.idx`, a row for each. A segment grows at its end, its own process alone writes it, and a row
follows its entry. So a process that is killed leaves at worst an entry without a row or half a row, and neither is
read. (Nothing is synced to disk: a power cut may lose more, which the checksum in each row finds out.) Two processes
that write the same entry cost its space and nothing else.

Log-probabilities are float16, which is closest where probabilities are large (to 0.05% of the logarithm; in the tests
no position's soft loss moves by more than 0.005 nats), and pieces are uint16 (uint32 in a vocabulary
beyond 65,536): 4 K + 2 bytes a position. No entry is held in memory, only where each one is.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unibert.errors import UserError

SCHEMA = 1
MANIFEST = "manifest.json"
SMALLEST = -100.0  # stands for log 0, which would turn a loss into 0 x infinity
_ROW = np.dtype(
    [
        ("number", "<i8"),
        ("offset", "<i8"),
        ("size", "<i8"),
        ("targets", "<u8"),
        ("masked", "<i4"),
        ("top_k", "<i4"),
        ("sequences", "<i4"),
        ("width", "<i4"),
        ("index_bytes", "<i4"),
        ("checksum", "<u4"),  # of all that stands before it, and of the entry
    ]
)

TopK = tuple[Tensor, Tensor, Tensor]


class Kept(NamedTuple):
    """What the cache has of a micro-batch, None where it has nothing: `LogitCache.put` says what they are."""

    topk: TopK | None
    pooled_BD: Tensor | None


class LogitCache:
    """Entries by micro-batch number, for one `identity`: whatever decides the batches, their masks and the answers.

    That is the caller's to hash: the teacher's weights and precision, the shards, the order of reading, seed and
    mask rate. `top_k` None keeps pooled vectors alone.
    """

    def __init__(self, folder: Path, *, identity: str, top_k: int | None, temperature: float) -> None:
        """Opens or begins the cache; UserError when another identity or other settings began it."""
        self.folder = folder / identity[:16]
        settings = {"schema": SCHEMA, "identity": identity, "top_k": top_k, "temperature": temperature}
        self.folder.mkdir(parents=True, exist_ok=True)
        _claim(self.folder, settings)
        self._own: Path | None = None
        self._places: dict[int, tuple[Path, Any]] = {}
        for path in sorted(self.folder.glob("*.idx")):
            for row in _read_rows(path):
                self._place(path.with_suffix(".bin"), row)

    def __len__(self) -> int:
        return len(self._places)

    def get(self, number: int, targets_M: Tensor) -> Kept | None:
        """Returns what is kept of micro-batch `number`, on the device of its targets; None when nothing is.

        Raises UserError when the entry was made for other masked pieces than `targets_M`.
        """
        if number not in self._places:
            return None
        path, row = self._places[number]
        payload = np.fromfile(path, dtype=np.uint8, count=int(row["size"]), offset=int(row["offset"]))
        if _checksum(row, payload) != row["checksum"]:
            return None
        if row["targets"] != _hash(targets_M):
            raise UserError(
                f"{self.folder} keeps other masked pieces for micro-batch {number} than this run reads: it belongs to "
                f"other batches; remove that folder, or train without top_k"
            )
        return _unpack(row, payload, str(targets_M.device))

    def put(self, number: int, targets_M: Tensor, topk: TopK | None, pooled_BD: Tensor | None) -> Kept:
        """Adds an entry and returns it as `get` will, so that a first run and a resumed one see the same numbers.

        `topk`: log-probabilities (M, K), pieces (M, K), and the log of the remaining mass (M,), at least SMALLEST.
        `pooled_BD`: the vector of each sequence. Raises UserError when the disk takes no more.
        """
        masked, top_k = topk[0].shape if topk is not None else (len(targets_M), 0)
        sequences, width = pooled_BD.shape if pooled_BD is not None else (0, 0)
        parts: list[NDArray[Any]] = []
        index_bytes = 0
        if topk is not None:
            values_MK, index_MK, rest_M = topk
            index = index_MK.to(torch.int32).cpu().numpy()
            index_bytes = 2 if int(index.max(initial=0)) < 1 << 16 else 4
            parts = [index.astype(f"<u{index_bytes}"), _half(values_MK), _half(rest_M)]
        if pooled_BD is not None:
            parts.append(_half(pooled_BD))
        payload = np.frombuffer(b"".join(part.tobytes() for part in parts), dtype=np.uint8)
        row = np.zeros((), _ROW)
        row["number"], row["size"], row["targets"] = number, len(payload), _hash(targets_M)
        row["masked"], row["top_k"], row["index_bytes"] = masked, top_k, index_bytes
        row["sequences"], row["width"] = sequences, width
        path = self._own if self._own is not None else self.folder / f"{uuid.uuid4().hex}.bin"
        self._own = None  # nothing follows what a failing disk has cut short
        try:
            with path.open("ab") as file:
                row["offset"] = file.tell()
                row["checksum"] = _checksum(row, payload)
                file.write(payload.tobytes())
            with path.with_suffix(".idx").open("ab") as file:
                file.write(row.tobytes())
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror}); make room, or train without top_k") from None
        self._own = path
        self._place(path, row)
        return _unpack(row, payload, str(targets_M.device))

    def _place(self, path: Path, row: Any) -> None:
        number = int(row["number"])
        before = self._places.get(number)
        # Of two entries the fuller serves more students; of two alike, the newer is known to be whole.
        if before is None or row["size"] >= before[1]["size"]:
            self._places[number] = (path, row)


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    path = folder / MANIFEST
    if not path.exists():
        temporary = folder / f".{uuid.uuid4().hex}.part"  # a name of its own: two processes may begin at once
        temporary.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{path} is not readable; remove {folder} and it is made again") from None
    other = [
        f"{name} {found.get(name)!r}, not {value!r}" for name, value in settings.items() if found.get(name) != value
    ]
    if other:
        raise UserError(f"{folder} was begun with {' and '.join(other)}; remove it, or give the same settings")


def _read_rows(path: Path) -> Sequence[Any]:
    """Returns the whole rows of an index file whose entries are there to their end."""
    rows = np.fromfile(path, dtype=_ROW, count=path.stat().st_size // _ROW.itemsize)
    data = path.with_suffix(".bin")
    held = data.stat().st_size if data.exists() else 0
    return list(rows[(rows["size"] >= 0) & (rows["offset"] + rows["size"] <= held)])


def _checksum(row: Any, payload: NDArray[np.uint8]) -> int:
    return zlib.crc32(payload.tobytes(), zlib.crc32(row.tobytes()[:-4]))


def _hash(targets_M: Tensor) -> int:
    data = targets_M.to("cpu", torch.int64).numpy().astype("<i8").tobytes()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _half(values: Tensor) -> NDArray[np.float16]:
    return values.detach().half().cpu().numpy().astype("<f2")


def _unpack(row: Any, payload: NDArray[np.uint8], device: str) -> Kept:
    """Returns an entry in float32 and int64. What was rounded stays as it is: stored again, it is the same."""
    masked, top_k, index_bytes = int(row["masked"]), int(row["top_k"]), int(row["index_bytes"])
    sequences, width = int(row["sequences"]), int(row["width"])
    offset = 0

    def take(dtype: str, *shape: int) -> NDArray[Any]:
        nonlocal offset
        count = int(np.prod(shape))
        taken = np.frombuffer(payload, dtype=dtype, count=count, offset=offset).reshape(shape)
        offset += taken.nbytes
        return taken

    topk = pooled_BD = None
    if top_k:
        index_MK = torch.from_numpy(take(f"<u{index_bytes}", masked, top_k).astype(np.int64)).to(device)
        values_MK = torch.from_numpy(take("<f2", masked, top_k).astype(np.float32)).to(device)
        rest_M = torch.from_numpy(take("<f2", masked).astype(np.float32)).to(device)
        topk = values_MK, index_MK, rest_M
    if width:
        pooled_BD = torch.from_numpy(take("<f2", sequences, width).astype(np.float32)).to(device)
    return Kept(topk, pooled_BD)
