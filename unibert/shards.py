"""Documents -> memory-mapped token shards -> language-balanced, almost padding-free batches; a resumable position.

Legend: B sequences in a batch, T tokens of its longest, L languages.

A shard folder holds, for each language, `LANG.train.bin` and `LANG.heldout.bin` (token ids without [CLS]/[SEP], line
after line) with `….offsets.npy`, and `manifest.json`. Batches come from chunks of about CHUNK_BATCHES batches: a chunk
draws lines language by language, sorts them by length, cuts batches of a token budget and shuffles those. What a chunk
holds depends on (seed, chunk number, one cursor a language) and nothing else, so a position is a few integers.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unibert.corpus import Corpus, Counts, clean, is_heldout
from unibert.errors import UserError
from unibert.tokenizer import CLS, PAD, SEP

CHUNK_BATCHES = 64
ENCODE_LINES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Token ids (B, T) with [CLS] and [SEP], padded with [PAD] at the end; lengths (B,); language index (B,)."""

    tokens_BT: NDArray[np.int64]
    lengths_B: NDArray[np.int64]
    language_B: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where reading stands: the next batch is number `index` of chunk `chunk`, whose draw starts at `cursors`."""

    chunk: int
    index: int
    cursors: tuple[int, ...]


class Lines:
    """The lines of one language and split, memory-mapped; `lines[i]` is its token ids."""

    def __init__(self, folder: Path, language: str, split: str) -> None:
        stem = folder / f"{language}.{split}"
        self.offsets: NDArray[np.int64] = np.load(stem.with_name(f"{stem.name}.offsets.npy"))
        dtype = np.dtype(json.loads((folder / "manifest.json").read_text())["dtype"])
        path = stem.with_name(f"{stem.name}.bin")
        expected = int(self.offsets[-1]) * dtype.itemsize
        if path.stat().st_size != expected:
            raise UserError(f"{path} has {path.stat().st_size} bytes, expected {expected}; delete {folder}")
        empty = np.zeros(0, dtype)
        self.tokens: NDArray[Any] = np.memmap(path, dtype=dtype, mode="r") if expected else empty

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[Any]:
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens in each line."""
        return np.diff(self.offsets)


def build(corpus: Corpus, tokenizer: Any, folder: Path) -> Path:
    """Writes the shards of a corpus and returns `folder`; a finished folder is returned as it is.

    Raises UserError for a language none of whose lines survives cleaning.
    """
    if (folder / "manifest.json").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    dtype = np.uint16 if tokenizer.get_vocab_size() <= 1 << 16 else np.uint32
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".shards-"))
    try:
        counts: dict[str, Counts] = {}
        for language in corpus.languages:
            counts[language] = _build_language(corpus, language, tokenizer, temporary, dtype)
            if not counts[language].tokens["train"]:
                raise UserError(f"corpus {corpus.name!r} holds no usable line in {language!r}; leave it out")
        manifest = {
            "corpus": corpus.name,
            "corpus_sha256": corpus.identity,
            "tokenizer_sha256": hashlib.sha256(tokenizer.to_str().encode()).hexdigest(),
            "dtype": np.dtype(dtype).name,
            "languages": {language: asdict(count) for language, count in counts.items()},
        }
        (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        temporary.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)  # what an earlier, killed build may have left
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _build_language(corpus: Corpus, language: str, tokenizer: Any, folder: Path, dtype: type) -> Counts:
    counts = Counts()
    offsets: dict[str, list[int]] = {"train": [0], "heldout": [0]}
    files = {split: (folder / f"{language}.{split}.bin").open("wb") for split in offsets}
    try:
        for block in _blocks(clean(corpus.read(language), counts), ENCODE_LINES):
            for line, encoded in zip(block, tokenizer.encode_batch_fast(block, add_special_tokens=False), strict=True):
                split = "heldout" if is_heldout(line) else "train"
                counts.heldout_lines += split == "heldout"
                files[split].write(np.asarray(encoded.ids, dtype).tobytes())
                offsets[split].append(offsets[split][-1] + len(encoded.ids))
    finally:
        for file in files.values():
            file.close()
    for split, ends in offsets.items():
        np.save(folder / f"{language}.{split}.offsets.npy", np.asarray(ends, np.int64))
        counts.tokens[split] = ends[-1]
    return counts


def _blocks(lines: Iterator[str], size: int) -> Iterator[list[str]]:
    block: list[str] = []
    for line in lines:
        block.append(line)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block


def mixture(lengths: Mapping[str, int], alpha: float) -> NDArray[np.float64]:
    """Returns each language's share of the sampled tokens (L,): n_l^alpha, normalised (Conneau et al. 2020, eq. 1)."""
    weights = np.array([float(n) for n in lengths.values()]) ** alpha
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


class Batches:
    """An endless, resumable iterator of language-balanced batches of at most `batch_tokens` padded tokens."""

    def __init__(
        self,
        folder: Path,
        languages: Sequence[str],
        *,
        alpha: float,
        batch_tokens: int,
        max_tokens: int,
        long_share: float,
        seed: int,
    ) -> None:
        self.languages = tuple(languages)
        self.lines = [Lines(folder, language, "train") for language in languages]
        tokens = {code: int(lines.offsets[-1]) for code, lines in zip(languages, self.lines, strict=True)}
        self.shares_L = mixture(tokens, alpha)
        self.batch_tokens, self.max_tokens, self.long_share, self.seed = batch_tokens, max_tokens, long_share, seed
        self.position = Position(chunk=0, index=0, cursors=(0,) * len(self.lines))
        self._chunk: list[list[tuple[int, NDArray[Any]]]] | None = None
        self._after = self.position.cursors
        self._permutations: dict[int, tuple[int, NDArray[np.int64]]] = {}

    def seek(self, position: Position) -> None:
        """Makes `position` the next batch to be read."""
        self.position, self._chunk = position, None

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._chunk is None:
            self._chunk, self._after = self._draw(self.position)
        batch = collate(self._chunk[self.position.index])
        if self.position.index + 1 < len(self._chunk):
            self.position = Position(
                chunk=self.position.chunk, index=self.position.index + 1, cursors=self.position.cursors
            )
        else:
            self.position = Position(chunk=self.position.chunk + 1, index=0, cursors=self._after)
            self._chunk = None
        return batch

    def _draw(self, position: Position) -> tuple[list[list[tuple[int, NDArray[Any]]]], tuple[int, ...]]:
        """Returns the chunk's batches as lists of (language, tokens), and the cursors after it."""
        rng = np.random.default_rng([self.seed, position.chunk])
        target = CHUNK_BATCHES * self.batch_tokens
        room = self.max_tokens - 2
        cursors = list(position.cursors)
        rows: list[tuple[int, NDArray[Any]]] = []
        for index, share in enumerate(self.shares_L):
            budget = share * target
            long_budget, used = self.long_share * budget, 0.0
            while used < budget:
                joined = used < long_budget
                start, length = cursors[index], 0
                pieces: list[NDArray[Any]] = []
                while length < room:
                    line = self._line(index, start + len(pieces))[: room - length]
                    pieces.append(line)
                    length += len(line)
                    if not joined:
                        break
                # Rounding at random keeps the mix right even where a language's share is under a line a chunk.
                if used + length + 2 > budget and rng.random() > (budget - used) / (length + 2):
                    break
                cursors[index] += len(pieces)
                used += length + 2
                rows.append((index, np.concatenate(pieces)))
        # A small jitter of the length mixes neighbours between chunks without costing padding.
        order = np.argsort([len(tokens) + rng.uniform(0, 2) for _, tokens in rows], kind="stable")
        batches: list[list[tuple[int, NDArray[Any]]]] = []
        current: list[tuple[int, NDArray[Any]]] = []
        for i in order:
            width = len(rows[i][1]) + 4
            if current and width * (len(current) + 1) > self.batch_tokens:
                batches.append(current)
                current = []
            current.append(rows[i])
        batches.append(current)
        return [batches[i] for i in rng.permutation(len(batches))], tuple(cursors)

    def _line(self, language: int, cursor: int) -> NDArray[Any]:
        """The cursor-th line of a language: epoch after epoch, each a permutation of its own."""
        lines = self.lines[language]
        epoch, index = divmod(cursor, len(lines))
        if language not in self._permutations or self._permutations[language][0] != epoch:
            rng = np.random.default_rng([self.seed, 1 + language, epoch])
            self._permutations[language] = (epoch, rng.permutation(len(lines)))
        permutation = self._permutations[language][1]
        return lines[int(permutation[index])]


def collate(rows: Sequence[tuple[int, NDArray[Any]]]) -> Batch:
    """Returns one batch of (language, tokens) rows with [CLS] and [SEP] added."""
    lengths_B = np.array([len(tokens) + 2 for _, tokens in rows], np.int64)
    tokens_BT = np.full((len(rows), int(lengths_B.max())), PAD, np.int64)
    tokens_BT[:, 0] = CLS
    for row, (_, tokens) in zip(tokens_BT, rows, strict=True):
        row[1 : len(tokens) + 1] = tokens
        row[len(tokens) + 1] = SEP
    return Batch(tokens_BT=tokens_BT, lengths_B=lengths_B, language_B=np.array([i for i, _ in rows], np.int64))


def heldout(folder: Path, languages: Sequence[str], *, lines: int, max_tokens: int, batch_tokens: int) -> list[Batch]:
    """Returns batches of the first `lines` held-out lines of each language, sorted by length."""
    rows: list[tuple[int, NDArray[Any]]] = []
    for index, language in enumerate(languages):
        kept = Lines(folder, language, "heldout")
        chosen = [kept[i][: max_tokens - 2] for i in range(min(lines, len(kept)))]
        rows += [(index, tokens) for tokens in chosen if len(tokens)]
    if not rows:
        raise UserError(f"{folder} has no held-out line in any language; give the corpus more text")
    rows.sort(key=lambda row: len(row[1]))
    batches: list[list[tuple[int, NDArray[Any]]]] = [[]]
    for row in rows:
        if batches[-1] and (len(row[1]) + 2) * (len(batches[-1]) + 1) > batch_tokens:
            batches.append([])
        batches[-1].append(row)
    return [collate(batch) for batch in batches]


def unigram(folder: Path, languages: Sequence[str], vocab_size: int) -> NDArray[np.float64]:
    """Returns token frequencies of the training text by language (L, V), add-one smoothed."""
    counts_LV = np.ones((len(languages), vocab_size))
    for index, language in enumerate(languages):
        counts_LV[index] += np.bincount(np.asarray(Lines(folder, language, "train").tokens), minlength=vocab_size)
    frequencies: NDArray[np.float64] = counts_LV / counts_LV.sum(axis=1, keepdims=True)
    return frequencies
