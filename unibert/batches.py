"""Token shards -> language-balanced, almost padding-free batches; a resumable position.

Legend: B sequences in a batch, T tokens of its longest, L languages.

Batches come from chunks of about CHUNK_BATCHES batches: a chunk draws lines language by language, sorts them by length,
cuts batches of a token budget and shuffles those. What a chunk holds depends on (seed, chunk number, one cursor a
language) and nothing else, so a position is a few integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unibert.errors import UserError
from unibert.shards import Lines
from unibert.tokenizer import CLS, PAD, SEP

CHUNK_BATCHES = 64


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
        cursors = list(position.cursors)
        rows: list[tuple[int, NDArray[Any]]] = []
        for index, share in enumerate(self.shares_L):
            budget = share * target
            long_budget, used = self.long_share * budget, 0.0
            while used < budget:
                tokens, read = self._row(index, cursors[index], joined=used < long_budget)
                # Rounding at random keeps the mix right even where a language's share is under a line a chunk.
                if used + len(tokens) + 2 > budget and rng.random() > (budget - used) / (len(tokens) + 2):
                    break
                cursors[index] += read
                used += len(tokens) + 2
                rows.append((index, tokens))
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

    def _row(self, language: int, cursor: int, *, joined: bool) -> tuple[NDArray[Any], int]:
        """Returns the tokens of a row that begins with the cursor-th line, and how many cursors it takes up.

        A joined row goes on with its document where lines have one; lines that stand alone are strung together.
        """
        room = self.max_tokens - 2
        lines, number = self.lines[language], self._line(language, cursor)
        pieces, read = [lines[number][:room]], 1
        room -= len(pieces[0])
        while joined and room > 0:
            if lines.documents:
                following = lines.after(number)
                if following is None:
                    break
                number = following
            else:
                number = self._line(language, cursor + read)
                read += 1
            pieces.append(lines[number][:room])
            room -= len(pieces[-1])
        return np.concatenate(pieces), read

    def _line(self, language: int, cursor: int) -> int:
        """The number of the cursor-th line of a language: epoch after epoch, each a permutation of its own."""
        lines = self.lines[language]
        epoch, index = divmod(cursor, len(lines))
        if language not in self._permutations or self._permutations[language][0] != epoch:
            rng = np.random.default_rng([self.seed, 1 + language, epoch])
            self._permutations[language] = (epoch, rng.permutation(len(lines)))
        return int(self._permutations[language][1][index])


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
