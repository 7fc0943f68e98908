"""The adapter protocol: all that the fine-tuning loop knows about a task family, and the head most of them share.

Shapes: B rows of a batch, T tokens, D encoder width, C classes, N examples, K units of an example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unibench.adapters.rows import Rows
from unibench.cards import TaskCard
from unibench.data import Example

DROPOUT = 0.1
INIT_STD = 0.02  # BERT's, for every head


class Adapter(Protocol):
    """One task family. Stateless: the card travels with each call, and what depends on the data is a keyword.

    `language` is the code of the language the examples are in, "" where they are in several or it is not known;
    `threshold` is what `calibrate` returned. An adapter that inherits from this class need not write `calibrate`.
    """

    def unit_names(self, card: TaskCard) -> tuple[str, ...]:
        """Returns the names of the K columns of `units`."""
        ...

    def encode(
        self, tokenizer: Any, card: TaskCard, examples: Sequence[Example], *, max_tokens: int, training: bool
    ) -> Rows:
        """Returns the examples as rows of at most `max_tokens`; with `training`, also what `loss` reads.

        Without `training` targets may be None: those examples are only read, never scored.
        An example that cannot be trained on may be left out when `training`, if `Rows.counts` says so; otherwise every
        example is predicted, whatever its length.
        """
        ...

    def head(self, card: TaskCard, width: int, generator: torch.Generator) -> nn.Module:
        """Returns the module that maps (hidden_BTD, batch) to the output of `loss` and `predict`."""
        ...

    def loss(self, output: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Returns the summed loss of a training batch, a scalar, over what `weight` counts.

        A sum, so that a batch that does not fit in memory can be taken in parts.
        """
        ...

    def weight(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Returns by how much `loss` is divided to be a mean (tokens, rows or pairs of the batch), a scalar."""
        ...

    def predict(self, output: Tensor, batch: Mapping[str, Tensor]) -> list[NDArray[Any]]:
        """Returns one array for each row of the batch, whatever `units` needs of it."""
        ...

    def calibrate(
        self,
        card: TaskCard,
        examples: Sequence[Example],
        rows: Rows,
        answers: Sequence[NDArray[Any]],
        *,
        language: str = "",
    ) -> float | None:
        """Returns the threshold that suits a model's answers to its dev set best; None where there is none to choose.

        What is chosen on dev is what `units` and `outputs` are given for every other split; until then it is 0.
        """
        return None

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
        """Returns (N, K), row i scoring `examples[i]`, from the `predict` arrays of all rows in the order of `rows`."""
        ...

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
        """Returns what was predicted for each example as plain JSON values, for people who read predictions."""
        ...


class LinearHead(nn.Module):
    """Dropout and one linear layer on every token: output_BTC."""

    def __init__(self, width: int, classes: int, generator: torch.Generator) -> None:
        super().__init__()
        self.dropout = nn.Dropout(DROPOUT)
        self.out = linear(width, classes, generator)

    def forward(self, hidden_BTD: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        out: Tensor = self.out(self.dropout(hidden_BTD))
        return out


def mean_pool(hidden_BTD: Tensor, attention_mask_BT: Tensor) -> Tensor:
    """Returns the mean of the real tokens' vectors, special tokens included: (B, D), float32 in any precision."""
    real_BT1 = attention_mask_BT.unsqueeze(-1).float()
    return (hidden_BTD.float() * real_BT1).sum(dim=1) / real_BT1.sum(dim=1)


def linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """Returns a linear layer whose weights are drawn from `generator` alone, biases zero."""
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")  # its own draw would be a global one
    nn.init.normal_(layer.weight, std=INIT_STD, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer
