"""Semantic similarity: the cosine of two sentence vectors. Units: gold, predicted.

`card.options["head"]`: "bi-encoder" trains the encoder so that the cosine meets the gold similarity (mean squared
error, as sentence-transformers' CosineSimilarityLoss); "cosine" trains nothing and measures the encoder as it comes.
A sentence vector is the mean over all real tokens of the row, special tokens included and padding not: the published
untrained scores (sentence-transformers) were measured so.

Shapes: B rows (the two sentences of a pair are rows 2i and 2i+1), T tokens, D width, P pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unibench.adapters.base import mean_pool
from unibench.adapters.rows import Rows, stack, tokenise
from unibench.cards import TaskCard
from unibench.data import Example
from unibench.errors import CardError

HEADS = ("bi-encoder", "cosine")


class MeanPool(nn.Module):
    """One vector for each sentence, (B, D)."""

    def forward(self, hidden_BTD: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return mean_pool(hidden_BTD, batch["attention_mask"])


class Sts:
    """Two sentences, two rows, one similarity."""

    def unit_names(self, card: TaskCard) -> tuple[str, ...]:
        return ("gold", "predicted")

    def encode(
        self, tokenizer: Any, card: TaskCard, examples: Sequence[Example], *, max_tokens: int, training: bool
    ) -> Rows:
        if training and _head(card) == "cosine":
            raise CardError(f"task {card.name!r} has head = 'cosine', which trains nothing; use 'bi-encoder' to train")
        texts = [example.inputs[name] for example in examples for name in ("sentence1", "sentence2")]
        windows = list(tokenise(tokenizer, texts, max_tokens=max_tokens))
        kept = [i for i in range(len(examples)) if windows[2 * i] and windows[2 * i + 1]]
        gold = np.array([examples[i].target for i in kept], dtype=np.float32)
        return stack(
            tokenizer,
            [windows[2 * i + side][0] for i in kept for side in (0, 1)],
            [i for i in kept for _ in (0, 1)],
            per_row={"gold": np.repeat(gold, 2)} if training else {},
            rows_per_item=2,
            counts={"truncated": sum(len(found) > 1 for found in windows)},
        )

    def head(self, card: TaskCard, width: int, generator: torch.Generator) -> nn.Module:
        _head(card)
        return MeanPool()

    def loss(self, output: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        cosine_P = nn.functional.cosine_similarity(output[0::2], output[1::2])
        return nn.functional.mse_loss(cosine_P, batch["gold"][0::2], reduction="sum")

    def weight(self, batch: Mapping[str, Tensor]) -> Tensor:
        return torch.tensor(len(batch["gold"]) // 2)

    def predict(self, output: Tensor, batch: Mapping[str, Tensor]) -> list[NDArray[Any]]:
        return list(nn.functional.normalize(output, dim=-1).cpu().numpy())

    def units(
        self, card: TaskCard, examples: Sequence[Example], rows: Rows, answers: Sequence[NDArray[Any]]
    ) -> NDArray[np.float64]:
        units = np.zeros((len(examples), 2))
        units[:, 0] = [example.target for example in examples]
        if answers:
            vectors_BD = np.stack(answers).astype(np.float64)
            units[rows.example[0::2], 1] = (vectors_BD[0::2] * vectors_BD[1::2]).sum(axis=1)
        return units

    def outputs(
        self, card: TaskCard, examples: Sequence[Example], rows: Rows, answers: Sequence[NDArray[Any]]
    ) -> list[Any]:
        return [float(unit[1]) for unit in self.units(card, examples, rows, answers)]


def _head(card: TaskCard) -> str:
    head = card.options.get("head", "bi-encoder")
    if head not in HEADS:
        raise CardError(f"task {card.name!r} has head = {head!r}; expected one of {', '.join(HEADS)}")
    return str(head)
