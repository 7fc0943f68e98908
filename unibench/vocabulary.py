"""Training on the token vectors that its rows use, and no others.

Exact, because a vector no row uses gets no gradient and token vectors are not decayed: what comes back is the whole
matrix, its unseen part untouched. With a vocabulary of 120k most of a small encoder's training step would go into
zeros (2x128, CPU: 9.0k tokens/s without this, 16.6k with it).

Shapes: S tokens of all rows laid end to end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from unibench.adapters.rows import Rows


class Vocabulary:
    """An encoder's token vectors, cut down to those of the rows it is trained on. Made by `seen_vocabulary`.

    Meanwhile the encoder's state holds the seen vectors alone, so a copy of it costs no more than what can change.
    """

    def __init__(self, embedding: nn.Embedding, used: tuple[Rows, ...]) -> None:
        self.embedding = embedding
        self.entire = embedding.weight
        # the ids up to padding's keep their numbers: RoBERTa-like encoders compare with it
        last_kept = max(embedding.padding_idx or 0, *(rows.columns["input_ids"][1] for rows in used))
        ids = [np.unique(rows.columns["input_ids"][0]) for rows in used]
        self.seen = np.unique(np.concatenate([*ids, np.arange(last_kept + 1)]))
        self.at = torch.from_numpy(self.seen).long().to(self.entire.device)
        self.own = nn.Parameter(self.entire.detach()[self.at])
        embedding.weight = self.own

    def renumbered(self, rows: Rows) -> Rows:
        """Returns the rows in the ids of the vectors there are now; they must be among those it was made for."""
        ids_S, pad_id = rows.columns["input_ids"]
        return replace(rows, columns={**rows.columns, "input_ids": (np.searchsorted(self.seen, ids_S), pad_id)})

    @contextmanager
    def whole(self) -> Iterator[None]:
        """The encoder has all its vectors, as trained up to now, for the length of a `with` block: to predict."""
        with torch.no_grad():
            self.entire[self.at] = self.own
        self.embedding.weight = self.entire
        try:
            yield
        finally:
            self.embedding.weight = self.own

    def restore(self) -> None:
        """Gives the encoder all its vectors back, for good."""
        with self.whole():
            pass
        self.embedding.weight = self.entire


class Everything(Vocabulary):
    """All token vectors of an encoder that does not keep them as an ordinary embedding."""

    def __init__(self) -> None:
        pass

    def renumbered(self, rows: Rows) -> Rows:
        return rows

    @contextmanager
    def whole(self) -> Iterator[None]:
        yield

    def restore(self) -> None:
        pass


@contextmanager
def seen_vocabulary(encoder: Any, *used: Rows) -> Iterator[Vocabulary]:
    """Yields the encoder's token vectors cut down to those of the rows `used`, and puts the others back in the end."""
    embedding = encoder.get_input_embeddings() if hasattr(encoder, "get_input_embeddings") else None
    vocabulary = Vocabulary(embedding, used) if isinstance(embedding, nn.Embedding) else Everything()
    try:
        yield vocabulary
    finally:
        vocabulary.restore()
