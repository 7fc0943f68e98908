"""Which documents hold text of a test set: sequences of words that both have, whatever their case and punctuation.

Thirteen words are the rule of Brown et al. 2020 (GPT-3, appendix C). A test text shorter than that is one sequence if
it has six words or more; below, it says nothing that others do not say.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unibert.errors import UserError
from unibert.grams import Grams, grams, is_unspaced, normalised
from unibert.scripts import unspaced_pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class Contamination:
    """What counts as overlap: `words` in a row, or all of a shorter test text that has `shortest_words`.

    In text of scripts without spaces letters are counted, two for a word (Chinese has about 1.6, Japanese 2.2).
    """

    words: int = 13
    shortest_words: int = 6
    characters: int = 26
    shortest_characters: int = 12

    def __post_init__(self) -> None:
        for longest, shortest in (("words", "shortest_words"), ("characters", "shortest_characters")):
            if not 1 <= getattr(self, shortest) <= getattr(self, longest):
                raise UserError(
                    f"{shortest} {getattr(self, shortest)} is not between 1 and {longest}, {getattr(self, longest)}"
                )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Index:
    """The hashes of test sets' sequences; sorted arrays, so that it is small, quick to load, and can be pickled.

    `hashes` has every sequence and every short text whole. A short text is found by `prefixes`, the hashes of its first
    words, which are fewer than its own; `lengths` are the numbers of words that short texts have.
    """

    settings: Contamination
    hashes: NDArray[np.uint64]
    prefixes: NDArray[np.uint64]
    lengths: NDArray[np.int64]
    sha256: str

    @classmethod
    def build(cls, texts: Iterable[str], settings: Contamination) -> Index:
        """Returns the index of test texts; their order and repetitions make no difference."""
        hashes, prefixes, lengths = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)], set[int]()
        for text in texts:
            words = normalised(text)
            size, shortest = _sizes(settings, unspaced=is_unspaced(words))
            stream = grams(words)
            if len(stream) >= size:
                hashes.append(stream.hashes(size))
            elif len(stream) >= shortest:
                hashes.append(stream.hashes(len(stream)))
                prefixes.append(stream.hashes(shortest)[:1])
                lengths.add(len(stream))
        return cls._of(
            settings,
            np.unique(np.concatenate(hashes)),
            np.unique(np.concatenate(prefixes)),
            np.array(sorted(lengths), np.int64),
        )

    @classmethod
    def _of(
        cls,
        settings: Contamination,
        hashes: NDArray[np.uint64],
        prefixes: NDArray[np.uint64],
        lengths: NDArray[np.int64],
    ) -> Index:
        digest = hashlib.sha256(json.dumps(asdict(settings)).encode())
        for array, dtype in ((hashes, "<u8"), (prefixes, "<u8"), (lengths, "<i8")):
            digest.update(len(array).to_bytes(8, "little") + array.astype(dtype).tobytes())
        return cls(settings=settings, hashes=hashes, prefixes=prefixes, lengths=lengths, sha256=digest.hexdigest())

    @property
    def size(self) -> int:
        """Number of different sequences."""
        return len(self.hashes)

    def found(self, document: str) -> bool:
        """Returns whether any sequence of the test sets stands in the document."""
        return any(len(at) for at, _ in self._overlaps(normalised(document)))

    def clean(self, document: str) -> tuple[str, int]:
        """Returns the document without the lines that overlap, and their number. A sequence may run over lines."""
        lines = document.split("\n")
        words = [normalised(line) for line in lines]
        counts = [line.count(" ") for line in words]
        ends = np.cumsum(counts)
        touched = np.zeros(len(lines) + 1, np.int64)  # +1 where an overlap begins, -1 after its end
        for at, length in self._overlaps("".join(words)):
            np.add.at(touched, np.searchsorted(ends, at, side="right"), 1)
            np.add.at(touched, np.searchsorted(ends, at + length - 1, side="right") + 1, -1)
        drop = np.cumsum(touched)[:-1] > 0
        if not drop.any():
            return document, 0
        # A line without words between two that overlap is none of the test set's.
        drop &= np.array(counts) > 0
        kept = [line for line, gone in zip(lines, drop.tolist(), strict=True) if not gone]
        return "\n".join(kept), int(drop.sum())

    def save(self, path: Path) -> None:
        """Writes the index to a file of numpy's kind, whole or not at all."""
        temporary = path.with_name(f".{path.name}.part")
        settings = np.frombuffer(json.dumps(asdict(self.settings)).encode(), np.uint8)
        with temporary.open("wb") as file:
            np.savez(file, settings=settings, hashes=self.hashes, prefixes=self.prefixes, lengths=self.lengths)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: Path) -> Index:
        """Returns the index that `save` wrote. Raises UserError for another file."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
                settings = Contamination(**json.loads(saved["settings"].tobytes()))
                return cls._of(settings, saved["hashes"], saved["prefixes"], saved["lengths"])
        except FileNotFoundError:
            raise
        except Exception as error:
            raise UserError(f"{path} holds no index of test sets ({error}); delete it and build it again") from None

    def _overlaps(self, words: str) -> Iterator[tuple[NDArray[np.int64], int]]:
        """Yields (at, length): that many words from each word `at` on stand in a test set."""
        stream = grams(words)
        for unspaced in (False, True) if unspaced_pattern().search(words) else (False,):
            size, shortest = _sizes(self.settings, unspaced=unspaced)
            yield _found(self.hashes, stream, size), size
            if len(self.prefixes) and len(begun := _found(self.prefixes, stream, shortest)):
                for length in self.lengths.tolist():
                    yield _found(self.hashes, stream, length, begun[begun + length <= len(stream)]), length


def _sizes(settings: Contamination, *, unspaced: bool) -> tuple[int, int]:
    if unspaced:
        return settings.characters, settings.shortest_characters
    return settings.words, settings.shortest_words


def _found(
    known: NDArray[np.uint64], stream: Grams, size: int, at: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Returns the words, of those `at`, from which on `size` words are known."""
    hashes = stream.hashes(size, at)
    if not len(known) or not len(hashes):
        return np.zeros(0, np.int64)
    places = np.searchsorted(known, hashes)
    places[places == len(known)] = 0
    hits: NDArray[np.int64] = np.flatnonzero(known[places] == hashes)
    return hits if at is None else at[hits]
