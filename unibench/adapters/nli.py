"""Natural-language inference: a pair of texts, one of two or more classes. Units: gold_id, pred_id.

Shapes: B rows, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unibench.adapters.base import Adapter
from unibench.adapters.pairs import PairHead, encode_pairs
from unibench.adapters.rows import Rows
from unibench.cards import TaskCard
from unibench.data import Example
from unibench.errors import DataError


class Nli(Adapter):
    """Premise and hypothesis as one row; the longer of the two is cut first where they do not fit."""

    def unit_names(self, card: TaskCard) -> tuple[str, ...]:
        return ("gold_id", "pred_id")

    def encode(
        self, tokenizer: Any, card: TaskCard, examples: Sequence[Example], *, max_tokens: int, training: bool
    ) -> Rows:
        gold = [_gold(card, example) for example in examples if training or example.target is not None]
        pairs = [(example.inputs["premise"], example.inputs["hypothesis"]) for example in examples]
        return encode_pairs(tokenizer, pairs, np.array(gold) if training else None, max_tokens=max_tokens)

    def head(self, card: TaskCard, width: int, generator: torch.Generator) -> nn.Module:
        return PairHead(width, len(card.labels), generator)

    def loss(self, output: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(output.float(), batch["gold"], reduction="sum")

    def weight(self, batch: Mapping[str, Tensor]) -> Tensor:
        return torch.tensor(len(batch["gold"]))

    def predict(self, output: Tensor, batch: Mapping[str, Tensor]) -> list[NDArray[Any]]:
        return list(output.float().argmax(dim=-1).cpu().numpy())

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
        return np.column_stack([[example.target for example in examples], _predicted(examples, rows, answers)])

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
        return [card.labels[int(label_id)] for label_id in _predicted(examples, rows, answers)]


def _predicted(examples: Sequence[Example], rows: Rows, answers: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """Returns (N,) the class of every example; one of which no token is left is given the first."""
    predicted = np.zeros(len(examples))
    predicted[rows.example] = answers
    return predicted


def _gold(card: TaskCard, example: Example) -> int:
    """The label's index; the Hub marks missing labels -1, and training on those scores a plausible 33%."""
    if not isinstance(example.target, int) or not 0 <= example.target < len(card.labels):
        raise DataError(
            f"example {example.id!r} of task {card.name!r} has label {example.target!r}; expected an index into "
            f"{list(card.labels)}; drop the unlabelled rows or choose a split that is labelled"
        )
    return example.target
