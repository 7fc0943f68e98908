"""A language discriminator against the encoder while it learns a task: what it reads, and how it is fed and trained.

It guesses the language of mean-pooled last states, of the rows that the task is learned from and of as many rows of
unlabelled text; its gradient comes back reversed into the encoder (Ganin et al. 2016) while it learns as fast as it can
with an optimiser of its own. Every language counts the same, however many of its rows are met.

The task's own course is left alone: dropout on unlabelled rows draws from another stream, so with strength 0 the
encoder learns what it learns without an adversary.

Shapes: B rows of a batch, T tokens, D width, L languages, R rows of a split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unibench.adapters.base import mean_pool
from unibench.adapters.rows import Rows, collate
from unibert.objectives import Discriminator, ganin_ramp, gradient_reversal, language_loss

HIDDEN = 256
# The discriminator's, in every trial, for at the encoder's rate it would lag behind. At 1e-3 a fresh probe read the
# language of a toy as well as ever (0.97 to 1.00 of it, three seeds), at 3e-3 less of it (0.73 to 0.97).
RATE = 3e-3
MAX_GRAD_NORM = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Opposition:
    """What every trial's adversary has in common.

    `rows` are unlabelled text; `labelled_R` and `unlabelled_R` give the index into `languages` of each training row and
    each row of `rows`.
    """

    languages: tuple[str, ...]
    rows: Rows
    labelled_R: NDArray[np.int64]
    unlabelled_R: NDArray[np.int64]
    strength: float
    seed: int

    def notes(self) -> dict[str, Any]:
        """Returns what a record keeps of it, as plain JSON values."""
        return {
            "languages": list(self.languages),
            "strength": self.strength,
            "chance": 1 / len(self.languages),
            "unlabelled_rows": len(self.unlabelled_R),
        }


def oppose(
    train: Rows, train_languages: Sequence[str], rows: Rows, row_languages: Sequence[str], strength: float, seed: int
) -> Opposition:
    """Returns the opposition of these training rows and unlabelled rows, given the language of each split's examples.

    Raises ValueError when fewer than two languages have rows: there would be nothing to tell apart.
    """
    labelled = [train_languages[i] for i in train.example.tolist()]
    unlabelled = [row_languages[i] for i in rows.example.tolist()]
    languages = tuple(sorted({*labelled, *unlabelled}))
    if len(languages) < 2 or not unlabelled:
        raise ValueError(
            f"the adversary has rows in {', '.join(languages) or 'no language'}, {len(unlabelled)} of them unlabelled; "
            "give unlabelled examples in a language that is not trained on"
        )
    index = {language: i for i, language in enumerate(languages)}
    return Opposition(
        languages=languages,
        rows=rows,
        labelled_R=np.array([index[language] for language in labelled], dtype=np.int64),
        unlabelled_R=np.array([index[language] for language in unlabelled], dtype=np.int64),
        strength=strength,
        seed=seed,
    )


class Adversary:
    """One trial's discriminator. For each step: `draw`, then `labelled` and `unlabelled` of each part, then `step`."""

    def __init__(self, setup: Opposition, rows: Rows, width: int, device: str) -> None:
        self.setup, self.rows, self.device = setup, rows, device
        self.generator = torch.Generator().manual_seed(setup.seed)
        with self._own_randomness(setup.seed):
            self.discriminator = Discriminator(width, len(setup.languages), HIDDEN).to(device)
        self.optimizer = torch.optim.AdamW(self.discriminator.parameters(), lr=RATE, fused=True)
        self.weight_L = torch.from_numpy(_balance(setup)).to(device)
        item_R = setup.unlabelled_R[:: rows.rows_per_item]
        self.pools = [_Pool(np.flatnonzero(item_R == i), self.generator) for i in np.unique(item_R)]
        self.counts_2L = torch.zeros(2, len(setup.languages), device=device)
        self.drawn_B = np.zeros(0, dtype=np.int64)
        self.size, self.scale, self.seed = 0, 0.0, 0

    def draw(self, chosen_B: NDArray[np.int64], progress: float) -> None:
        """Draws as many unlabelled rows as the task's batch has, evenly over their languages, for one step."""
        per_item = self.rows.rows_per_item
        share, rest = divmod(len(chosen_B) // per_item, len(self.pools))
        order = torch.randperm(len(self.pools), generator=self.generator).tolist()
        items = np.concatenate([self.pools[p].take(share + (turn < rest)) for turn, p in enumerate(order)])
        self.drawn_B = (items[:, None] * per_item + np.arange(per_item)).ravel()
        self.size = len(chosen_B) + len(self.drawn_B)
        self.scale = self.setup.strength * ganin_ramp(progress)
        self.seed = int(torch.randint(2**31, (), generator=self.generator))

    def labelled(
        self, hidden_BTD: Tensor, batch: Mapping[str, Tensor], part_B: NDArray[np.int64]
    ) -> tuple[Tensor, Tensor]:
        """Returns a part of the task's batch as its share of the adversary's mean loss, and its counts.

        Counts (2, L) are the rows of each language, and those of them whose language was guessed.
        """
        return self._loss(hidden_BTD, batch["attention_mask"], self.setup.labelled_R[part_B])

    def unlabelled(self, encode: Callable[[Mapping[str, Tensor]], Tensor], parts: int) -> Tensor:
        """Adds the gradient of the rows drawn, taken in so many parts; returns their counts."""
        counts_2L = torch.zeros_like(self.counts_2L)
        items = self.drawn_B.reshape(-1, self.rows.rows_per_item)
        for number, part in enumerate(np.array_split(items, parts)):
            if not len(part):
                continue
            part_B = part.ravel()
            batch = collate(self.rows, part_B, self.device)
            with self._own_randomness(self.seed + number):
                loss, found_2L = self._loss(encode(batch), batch["attention_mask"], self.setup.unlabelled_R[part_B])
                torch.autograd.backward(loss)
            counts_2L += found_2L
        return counts_2L

    def step(self, counts_2L: Tensor) -> None:
        """One step of the discriminator, and what it knew before it."""
        nn.utils.clip_grad_norm_(self.discriminator.parameters(), MAX_GRAD_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.counts_2L += counts_2L

    def accuracy(self) -> float:
        """Returns the share of rows whose language was guessed since the last call, each language counting the same."""
        seen_L, right_L = self.counts_2L.double().cpu()
        self.counts_2L.zero_()
        met_L = seen_L > 0
        return float((right_L[met_L] / seen_L[met_L]).mean())

    def _loss(self, hidden_BTD: Tensor, mask_BT: Tensor, language_B: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        language = torch.from_numpy(language_B).to(self.device, non_blocking=True)
        pooled_BD = gradient_reversal(mean_pool(hidden_BTD, mask_BT), self.scale)
        logits_BL = self.discriminator(pooled_BD)
        with torch.no_grad():
            right_B = (logits_BL.argmax(dim=-1) == language).float()
            counts_2L = torch.zeros_like(self.counts_2L)
            counts_2L[0].index_add_(0, language, torch.ones_like(right_B))
            counts_2L[1].index_add_(0, language, right_B)
        return language_loss(logits_BL, language, self.weight_L) / self.size, counts_2L

    @contextmanager
    def _own_randomness(self, seed: int) -> Iterator[None]:
        with torch.random.fork_rng(devices=[self.device] if self.device.startswith("cuda") else []):
            torch.manual_seed(seed)
            yield


class _Pool:
    """One language's items: all of them in a random order, then all of them in another."""

    def __init__(self, items: NDArray[np.int64], generator: torch.Generator) -> None:
        self.items, self.generator = items, generator
        self.waiting = items[:0]

    def take(self, count: int) -> NDArray[np.int64]:
        while len(self.waiting) < count:
            order = torch.randperm(len(self.items), generator=self.generator).numpy()
            self.waiting = np.concatenate([self.waiting, self.items[order]])
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken


def _balance(setup: Opposition) -> NDArray[np.float32]:
    """Weights (L,) under which every language costs the same over a batch, and that average 1 over it."""
    share_L = np.zeros(len(setup.languages))
    for row_languages, even in ((setup.labelled_R, False), (setup.unlabelled_R, True)):
        counts_L = np.bincount(row_languages, minlength=len(share_L)).astype(np.float64)
        counts_L = (counts_L > 0).astype(np.float64) if even else counts_L
        share_L += counts_L / counts_L.sum() / 2
    return (1 / (len(share_L) * share_L)).astype(np.float32)
