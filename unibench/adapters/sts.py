"""Semantic similarity of two sentences. Units: gold, predicted; gold is in 0..1.

`card.options["head"]`:

- "cross-encoder" reads the pair as one row and puts out one number, trained by mean squared error on the gold score, as
  the published regression set-ups for STS-B do. What it puts out is neither clamped nor squashed: correlations do not
  ask for a range, and clamping would tie the most and the least similar pairs.
- "bi-encoder" trains the encoder so that the cosine of two sentence vectors meets the gold score (mean squared error,
  as sentence-transformers' CosineSimilarityLoss).
- "cosine" trains nothing and measures the encoder as it comes.

A sentence vector is the mean over all real tokens of the row, special tokens included and padding not: the published
untrained scores (sentence-transformers) were measured so.

Shapes: B rows, T tokens, D width, P pairs. Of a bi-encoder the two sentences of a pair are rows 2i and 2i+1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unibench.adapters.base import Adapter, mean_pool
from unibench.adapters.pairs import PairHead, encode_pairs
from unibench.adapters.rows import Rows, stack, tokenise
from unibench.cards import TaskCard
from unibench.data import Example
from unibench.errors import CardError

HEADS = ("cross-encoder", "bi-encoder", "cosine")


class MeanPool(nn.Module):
    """One vector for each sentence, (B, D)."""

    def forward(self, hidden_BTD: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return mean_pool(hidden_BTD, batch["attention_mask"])


class Sts(Adapter):
    """Two sentences, one similarity."""

    def unit_names(self, card: TaskCard) -> tuple[str, ...]:
        return ("gold", "predicted")

    def encode(
        self, tokenizer: Any, card: TaskCard, examples: Sequence[Example], *, max_tokens: int, training: bool
    ) -> Rows:
        head = _head(card)
        if training and head == "cosine":
            raise CardError(
                f"task {card.name!r} has head = 'cosine', which trains nothing; use 'bi-encoder' or 'cross-encoder' to "
                "train"
            )
        pairs = [(example.inputs["sentence1"], example.inputs["sentence2"]) for example in examples]
        gold = np.array([example.target for example in examples], dtype=np.float32) if training else None
        if head == "cross-encoder":
            return encode_pairs(tokenizer, pairs, gold, max_tokens=max_tokens)
        return _encode_sides(tokenizer, pairs, gold, max_tokens=max_tokens)

    def head(self, card: TaskCard, width: int, generator: torch.Generator) -> nn.Module:
        return PairHead(width, 1, generator) if _head(card) == "cross-encoder" else MeanPool()

    def loss(self, output: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        if "cosine" in batch:
            cosine_P = nn.functional.cosine_similarity(output[0::2], output[1::2])
            return nn.functional.mse_loss(cosine_P, batch["cosine"][0::2], reduction="sum")
        return nn.functional.mse_loss(output[:, 0], batch["gold"], reduction="sum")

    def weight(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Returns the number of pairs."""
        return torch.tensor(len(batch["cosine"]) // 2 if "cosine" in batch else len(batch["gold"]))

    def predict(self, output: Tensor, batch: Mapping[str, Tensor]) -> list[NDArray[Any]]:
        """Returns the score (1,) of a pair, or the vector (D,) of a sentence, of length 1."""
        if output.shape[-1] > 1:  # no encoder's vectors are one number wide
            output = nn.functional.normalize(output, dim=-1)
        return list(output.cpu().numpy())

    def units(
        self,
        card: TaskCard,
        examples: Sequence[Example],
        rows: Rows,
        answers: Sequence[NDArray[Any]],
        *,
        language: str = "",
        threshold: float = 0.0,
    ) -> NDArray[np.float64]:
        return np.column_stack([[example.target for example in examples], _predicted(card, examples, rows, answers)])

    def outputs(
        self,
        card: TaskCard,
        examples: Sequence[Example],
        rows: Rows,
        answers: Sequence[NDArray[Any]],
        *,
        language: str = "",
        threshold: float = 0.0,
    ) -> list[Any]:
        return [float(value) for value in _predicted(card, examples, rows, answers)]


def _predicted(
    card: TaskCard, examples: Sequence[Example], rows: Rows, answers: Sequence[NDArray[Any]]
) -> NDArray[np.float64]:
    """Returns (N,) the similarity of every pair; 0 for one of which no token is left."""
    predicted = np.zeros(len(examples))
    if answers:
        answers_BD = np.stack(answers).astype(np.float64)
        if _head(card) == "cross-encoder":
            predicted[rows.example] = answers_BD[:, 0]
        else:
            predicted[rows.example[0::2]] = (answers_BD[0::2] * answers_BD[1::2]).sum(axis=1)
    return predicted


def _encode_sides(
    tokenizer: Any, pairs: Sequence[tuple[str, str]], gold: NDArray[Any] | None, *, max_tokens: int
) -> Rows:
    """Returns two rows a pair, side by side; `cosine`, in both, is what their cosine shall be."""
    windows = list(tokenise(tokenizer, [text for pair in pairs for text in pair], max_tokens=max_tokens))
    kept = [i for i in range(len(pairs)) if windows[2 * i] and windows[2 * i + 1]]
    return stack(
        tokenizer,
        [windows[2 * i + side][0] for i in kept for side in (0, 1)],
        [i for i in kept for _ in (0, 1)],
        per_row={} if gold is None else {"cosine": np.repeat(gold[kept], 2)},
        rows_per_item=2,
        counts={"truncated": sum(len(found) > 1 for found in windows)},
    )


def _head(card: TaskCard) -> str:
    head = card.options.get("head", "bi-encoder")
    if head not in HEADS:
        raise CardError(f"task {card.name!r} has head = {head!r}; expected one of {', '.join(HEADS)}")
    return str(head)
