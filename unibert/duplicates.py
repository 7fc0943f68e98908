"""Which documents repeat an earlier one, exactly or nearly, in memory that does not grow with the text.

Pass 1 writes a signature of each document to a file: a 128-bit hash of its normalised text (`unibert.grams`), a MinHash
signature (Broder 1997) of its word sequences, computed by datasketch, and hashes of the signature's bands (Leskovec et
al., Mining of Massive Datasets, 3.4). Pass 2 sorts one column of hashes at a time, as many of them as fit in memory.

Documents that share a band are only candidates: they count as near duplicates where their whole signatures agree in at
least `threshold` of the permutations, which estimates the Jaccard similarity with a standard error of at most 0.5 /
sqrt(permutations). Pairs join into components, of which the first document stays. Where many documents share a band,
each is compared with the leaders among them, documents near to none before, and not with every other.
"""

from __future__ import annotations

import hashlib
import json
import os
import types
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unibert.errors import UserError
from unibert.grams import grams, is_unspaced, normalised

BLOCK = 1024  # documents; each block holds column after column, so that reading one column reads little else
LEADERS = 256  # in one band hash; bounds the work where a template's documents are alike, but under the threshold
_HEADER_BYTES = 512
_MISSED = 0.05
_CHUNK = 512  # sequences hashed at once: the permutations of that many fit into a core's cache


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicates:
    """What counts as nearly the same: Jaccard similarity of at least `threshold` between sets of word sequences.

    A sequence is `words` long, or `characters` in text of scripts without spaces (Lee et al. 2022 and most since use
    five words; ten letters are about as many). A shorter document is one sequence. `seed` draws the permutations.
    """

    threshold: float = 0.8
    permutations: int = 128
    words: int = 5
    characters: int = 10
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise UserError(f"threshold {self.threshold} is not in (0, 1]; 0.8 is usual")
        for name in ("permutations", "words", "characters"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} {getattr(self, name)} finds nothing; use 1 or more")

    @property
    def bands(self) -> tuple[int, int]:
        """Number of bands and of their rows: the longest bands that miss a pair at the threshold in 5 % at most."""
        for rows in range(self.permutations, 1, -1):
            bands = self.permutations // rows
            if (1 - self.threshold**rows) ** bands <= _MISSED:
                return bands, rows
        return self.permutations, 1


class SignatureWriter:
    """Writes documents' signatures; the file appears at `path` when the context is left without an error."""

    def __init__(self, path: Path, settings: NearDuplicates) -> None:
        self._path, self._settings = path, settings
        self._temporary = path.with_name(f".{path.name}.part")
        self._sign = _signer(settings)
        self._block = np.zeros((), _block_dtype(settings))
        self._multipliers_R = (
            np.random.default_rng(settings.seed).integers(1, 1 << 64, settings.bands[1], np.uint64) | 1
        )
        self.documents = 0

    def __enter__(self) -> SignatureWriter:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._temporary.open("wb")
        self._file.write(_header(self._settings, 0))
        return self

    def add(self, document: str) -> None:
        """Appends one document's signature."""
        place = self.documents % BLOCK
        text = normalised(document)
        # What has no words at all is told apart by what it is.
        digest = hashlib.blake2b((text or document).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        self._block["exact"][place] = np.frombuffer(digest, "<u8")
        self._block["signature"][place] = self._sign(text or document)
        self.documents += 1
        if place == BLOCK - 1:
            self._flush()

    def _flush(self) -> None:
        bands, rows = self._settings.bands
        signature = self._block["signature"][:, : bands * rows].reshape(BLOCK, bands, rows)
        mixed = (signature * self._multipliers_R).sum(axis=2, dtype=np.uint64)
        self._block["bands"] = ((mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)).T
        self._file.write(self._block.tobytes())
        self._block = np.zeros_like(self._block)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        if kind is not None:
            self._file.close()
            self._temporary.unlink(missing_ok=True)
            return
        if self.documents % BLOCK:
            self._flush()
        self._file.seek(0)
        self._file.write(_header(self._settings, self.documents))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._temporary, self._path)


def duplicates(
    path: Path, settings: NearDuplicates, *, memory_bytes: int = 256 << 20
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns (exact_N, near_N): which documents repeat an earlier one exactly / nearly; the first stays.

    No document is both. The working memory is `memory_bytes` and 10 bytes a document, more only where a single hash is
    more frequent than fits; the answer does not depend on it. Raises UserError for a file written with other settings.
    """
    blocks, count = _read(path, settings)
    exact_N = np.zeros(count, bool)
    for members, starts in _groups(blocks, count, None, exact_N, memory_bytes):
        repeats = np.ones(len(members), bool)
        repeats[starts[:-1]] = False
        exact_N[members[repeats]] = True
    parents = np.arange(count, dtype=np.uint32)
    for band in range(settings.bands[0]):
        for members, starts in _groups(blocks, count, band, exact_N, memory_bytes):
            for earlier, later in _near(blocks, members, starts, settings, memory_bytes):
                for one, other in zip(earlier.tolist(), later.tolist(), strict=True):
                    _join(parents, one, other)
    near_N = parents != np.arange(count, dtype=np.uint32)
    return exact_N, near_N


def _groups(
    blocks: Any, count: int, band: int | None, without_N: NDArray[np.bool_], memory_bytes: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yields (members, starts): groups of documents of one band hash, or of one text (None), but those `without_N`.

    Group g is members[starts[g]:starts[g + 1]], two or more. Groups come in the order of their hashes and members in
    that of their numbers, however many parts it takes.
    """
    parts = max(1, -(-count * 96 // memory_bytes))  # bytes a document of hashes, numbers, sorting and copies
    edges = [part * (1 << 64) // parts for part in range(parts)] + [1 << 64]
    for first, end in pairwise(edges):
        found: list[tuple[NDArray[Any], ...]] = []
        for number, block in enumerate(blocks):
            columns = block["exact"].T if band is None else block["bands"][band][None]
            chosen = (columns[0] >= np.uint64(first)) & (columns[0] <= np.uint64(end - 1))
            chosen[max(0, count - number * BLOCK) :] = False
            places = np.flatnonzero(chosen)
            places = places[~without_N[number * BLOCK + places]]
            found.append((places + number * BLOCK, *columns[:, places]))
        if not any(len(places) for places, *_ in found):
            continue  # few hashes, many parts
        members, *keys = (np.concatenate(pieces) for pieces in zip(*found, strict=True))
        del found
        order = np.lexsort(keys[::-1])  # stable: members stay in order
        members = members[order]
        same = np.ones(max(0, len(members) - 1), bool)
        for key in keys:
            key = key[order]
            same &= key[1:] == key[:-1]
        after, before = np.concatenate([[False], same]), np.concatenate([same, [False]])
        shared = after | before
        starts = np.flatnonzero(~after[shared])
        yield members[shared], np.append(starts, np.count_nonzero(shared))


def _near(
    blocks: Any, members: NDArray[np.int64], starts: NDArray[np.int64], settings: NearDuplicates, memory_bytes: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yields (earlier, later) documents of the same group whose signatures agree; round by round, a leader a group."""
    step = max(1, memory_bytes // (16 * settings.permutations))
    groups = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    for _ in range(LEADERS):
        first = np.flatnonzero(np.diff(groups, prepend=-1))
        if len(first) == len(groups):
            return
        leaders = np.repeat(members[first], np.diff(np.append(first, len(groups))))
        left = np.ones(len(members), bool)
        left[first] = False
        pairs = np.flatnonzero(left)
        for start in range(0, len(pairs), step):
            some = pairs[start : start + step]
            near = _agreement(blocks, leaders[some], members[some]) >= settings.threshold
            left[some[near]] = False
            yield leaders[some[near]], members[some[near]]
        members, groups = members[left], groups[left]


def _agreement(blocks: Any, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.float64]:
    signatures = blocks["signature"]
    same = signatures[one // BLOCK, one % BLOCK] == signatures[other // BLOCK, other % BLOCK]
    agreement: NDArray[np.float64] = same.mean(axis=1)
    return agreement


def _join(parents: NDArray[np.uint32], one: int, other: int) -> None:
    """Joins two components under the earlier root."""
    roots = []
    for node in (one, other):
        while (parent := int(parents[node])) != node:
            parents[node] = parents[parent]
            node = parent
        roots.append(node)
    parents[max(roots)] = min(roots)


def _signer(settings: NearDuplicates) -> Callable[[str], NDArray[np.uint32]]:
    try:
        from datasketch import MinHash
    except ImportError:
        raise UserError("finding near duplicates needs datasketch; pip install 'datasketch>=2.0'") from None
    blank = MinHash(settings.permutations, seed=settings.seed, hashfunc=int, scheme="affine32")

    def sign(text: str) -> NDArray[np.uint32]:
        words = grams(text if text.endswith(" ") else f"{text} ")
        size = min(settings.characters if is_unspaced(text) else settings.words, len(words))
        hashes = (np.unique(words.hashes(size)) >> np.uint64(32)).tolist()
        sketch = blank.copy()
        for start in range(0, len(hashes), _CHUNK):
            sketch.update_batch(hashes[start : start + _CHUNK])
        values: NDArray[np.uint32] = sketch.hashvalues
        return values

    return sign


def _block_dtype(settings: NearDuplicates) -> np.dtype[np.void]:
    return np.dtype(
        [
            ("exact", "<u8", (BLOCK, 2)),
            ("bands", "<u8", (settings.bands[0], BLOCK)),
            ("signature", "<u4", (BLOCK, settings.permutations)),
        ]
    )


def _header(settings: NearDuplicates, count: int) -> bytes:
    return json.dumps({"format": 1, "documents": count, **asdict(settings)}).encode().ljust(_HEADER_BYTES)


def _read(path: Path, settings: NearDuplicates) -> tuple[Any, int]:
    """Returns the blocks, memory-mapped, and the number of documents."""
    dtype = _block_dtype(settings)
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(_HEADER_BYTES))
        count = int(header["documents"])
        matches = _header(settings, count) == json.dumps(header).encode().ljust(_HEADER_BYTES)
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} holds no signatures; delete it and sign the documents again") from None
    expected = _HEADER_BYTES + -(-count // BLOCK) * dtype.itemsize
    if not matches or path.stat().st_size != expected:
        raise UserError(
            f"{path} is cut short or was written with other settings; delete it and sign the documents again"
        )
    if not count:
        return np.zeros(0, dtype), 0
    return np.memmap(path, dtype, mode="r", offset=_HEADER_BYTES), count
