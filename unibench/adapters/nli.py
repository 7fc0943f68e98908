"""Natural-language inference: a pair of texts, one class. Units: gold_id, pred_id.

Shapes: B rows, T tokens, D width, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unibench.adapters.base import DROPOUT, linear, mean_pool
from unibench.adapters.rows import Rows, stack, tokenise
from unibench.cards import TaskCard
from unibench.data import Example
from unibench.errors import DataError


class PairHead(nn.Module):
    """A tanh layer on a summary of the pair and a classifier.

    The summary is the first token's vector beside the mean of all real tokens. The published head reads the first token
    alone, which fails small encoders whose pretraining never used it: a 2x128 one trained from random weights on 24,000
    SNLI pairs got accuracy 0.54 and 0.42 at rates 3e-4 and 1e-3 by the first token, 0.55 and 0.52 by the mean or both.
    Not the encoder's own pooler either: half of the encoders compared were pretrained without one.
    """

    def __init__(self, width: int, classes: int, generator: torch.Generator) -> None:
        super().__init__()
        self.dropout = nn.Dropout(DROPOUT)
        self.dense = linear(2 * width, width, generator)
        self.out = linear(width, classes, generator)

    def forward(self, hidden_BTD: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        summary_B2D = torch.cat([hidden_BTD[:, 0].float(), mean_pool(hidden_BTD, batch["attention_mask"])], dim=-1)
        dense_BD = torch.tanh(self.dense(self.dropout(summary_B2D)))
        logits_BC: Tensor = self.out(self.dropout(dense_BD))
        return logits_BC


class Nli:
    """Premise and hypothesis as one row; the longer of the two is cut first where they do not fit."""

    def unit_names(self, card: TaskCard) -> tuple[str, ...]:
        return ("gold_id", "pred_id")

    def encode(
        self, tokenizer: Any, card: TaskCard, examples: Sequence[Example], *, max_tokens: int, training: bool
    ) -> Rows:
        gold = np.array([_gold(card, example) for example in examples], dtype=np.int64)
        pairs = [(example.inputs["premise"], example.inputs["hypothesis"]) for example in examples]
        windows = list(tokenise(tokenizer, pairs, max_tokens=max_tokens))
        kept = [i for i, found in enumerate(windows) if found]
        return stack(
            tokenizer,
            [windows[i][0] for i in kept],
            kept,
            per_row={"gold": gold[kept]} if training else {},
            counts={"truncated": sum(len(found) > 1 for found in windows)},
        )

    def head(self, card: TaskCard, width: int, generator: torch.Generator) -> nn.Module:
        return PairHead(width, len(card.labels), generator)

    def loss(self, output: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(output.float(), batch["gold"], reduction="sum")

    def weight(self, batch: Mapping[str, Tensor]) -> Tensor:
        return torch.tensor(len(batch["gold"]))

    def predict(self, output: Tensor, batch: Mapping[str, Tensor]) -> list[NDArray[Any]]:
        return list(output.float().argmax(dim=-1).cpu().numpy())

    def units(
        self, card: TaskCard, examples: Sequence[Example], rows: Rows, answers: Sequence[NDArray[Any]]
    ) -> NDArray[np.float64]:
        units = np.zeros((len(examples), 2))
        units[:, 0] = [example.target for example in examples]
        units[rows.example, 1] = answers
        return units

    def outputs(
        self, card: TaskCard, examples: Sequence[Example], rows: Rows, answers: Sequence[NDArray[Any]]
    ) -> list[Any]:
        return [card.labels[int(unit[1])] for unit in self.units(card, examples, rows, answers)]


def _gold(card: TaskCard, example: Example) -> int:
    """The label's index; the Hub marks missing labels -1, and training on those scores a plausible 33%."""
    if not isinstance(example.target, int) or not 0 <= example.target < len(card.labels):
        raise DataError(
            f"example {example.id!r} of task {card.name!r} has label {example.target!r}; expected an index into "
            f"{list(card.labels)}; drop the unlabelled rows or choose a split that is labelled"
        )
    return example.target
