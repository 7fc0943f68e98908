"""Learning rates tried one after the other, each stopped early and left with its best epoch; the dev set chooses.

Every rate starts from the same weights and meets the same batches in the same order.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from unibench.adapters.rows import Rows
from unibench.adversarial import Adversary, Opposition
from unibench.data import Example
from unibench.loop import NotFiniteError, Precision
from unibench.memory import Parts
from unibench.meter import DivergedError, Meter
from unibench.store import Recipe
from unibench.vocabulary import Vocabulary

State = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One learning rate's training. `losses` and `dev_scores` have one number for each epoch that was trained.

    Both are empty where the numbers were not finite in the end. `best_epoch` counts from 1 and is the one whose weights
    are used; 0 where none is. `threshold` is what the adapter chose on dev in that epoch, None where it chooses none.
    `precision` is the one used in the end: "fp32" after a bf16 attempt whose numbers were not finite, which
    `retried_in_fp32` tells from what was asked for. `batch_parts` is into how many parts memory made it cut the
    batches; `discriminator` is the accuracy of the adversary's over each epoch, as it learned.
    """

    learning_rate: float
    dev_scores: tuple[float, ...]
    best_epoch: int
    threshold: float | None
    losses: tuple[float, ...]
    precision: Precision
    retried_in_fp32: bool
    batch_parts: int
    discriminator: tuple[float, ...]
    seconds: float

    @property
    def dev_score(self) -> float:
        """The best epoch's; nan where there is none, or no dev set."""
        return self.dev_scores[self.best_epoch - 1] if self.dev_scores else math.nan

    @property
    def diverged(self) -> bool:
        """True if the numbers were not finite in fp32 either."""
        return not self.losses

    def notes(self) -> dict[str, Any]:
        """Returns it as plain JSON values; a score that is nan becomes None."""
        return {
            "learning_rate": self.learning_rate,
            "dev_score": _plain(self.dev_score),
            "dev_scores": [_plain(score) for score in self.dev_scores],
            "epochs": len(self.losses),
            "best_epoch": self.best_epoch,
            "losses": list(self.losses),
            "precision": self.precision,
            "retried_in_fp32": self.retried_in_fp32,
            "batch_parts": self.batch_parts,
            "diverged": self.diverged,
            "seconds": round(self.seconds, 3),
            **({"threshold": self.threshold} if self.threshold is not None else {}),
            **({"discriminator_accuracy": list(self.discriminator)} if self.discriminator else {}),
        }


@dataclass(slots=True)
class _Course:
    """A trial on its way: `state` are the best epoch's weights, `guessed` the discriminator's accuracies."""

    losses: list[float] = field(default_factory=list)
    dev_scores: list[float] = field(default_factory=list)
    guessed: list[float] = field(default_factory=list)
    best_epoch: int = 0
    threshold: float | None = None
    state: State | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """Every trial, the index of the best, and weights by index: copies in the CPU's memory."""

    trials: tuple[Trial, ...]
    best: int
    weights: Mapping[int, State]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The trials of one fine-tuning. `rows` are the training rows in the ids of `vocabulary`.

    `dev` may be empty where there is one rate: then its last epoch is used. `dev_language` is "" where it has several.
    """

    meter: Meter
    vocabulary: Vocabulary
    rows: Rows
    dev: Sequence[Example]
    dev_language: str
    recipe: Recipe
    precision: Precision
    order_seed: int
    dropout_seed: int
    opposition: Opposition | None = None

    def run(self, rates: Sequence[float], *, keep_all: bool) -> Searched:
        """Returns the trials of these rates; a tie goes to the earlier one. The model is left as the last trial was.

        The best trial's weights are kept or, with `keep_all`, those of all usable ones: 4 bytes a parameter each, less
        the token vectors that no row uses. Raises DivergedError.
        """
        initial = copied(self.meter.loop.model)
        trials: list[Trial] = []
        weights: dict[int, State] = {}
        best = -1
        for index, rate in enumerate(rates):
            trial, state = self._trial(rate, initial)
            trials.append(trial)
            if state is None or (len(rates) > 1 and math.isnan(trial.dev_score)):
                continue
            if best < 0 or trial.dev_score > trials[best].dev_score:
                best = index
            weights[index] = state
            if not keep_all:
                weights = {best: weights[best]}
        if best < 0:
            metric = self.meter.card.metric
            tried = [
                f"{t.learning_rate:g} ({'not finite' if t.diverged else f'{metric} on dev undefined'})" for t in trials
            ]
            raise DivergedError(f"no learning rate gave a usable model: {', '.join(tried)}")
        return Searched(trials=tuple(trials), best=best, weights=weights)

    def _trial(self, rate: float, initial: State) -> tuple[Trial, State | None]:
        began = time.perf_counter()
        for used in dict.fromkeys((self.precision, "fp32")):  # bf16's failure is tried again in fp32, from the start
            self.meter.loop.model.load_state_dict(initial)
            parts = Parts()
            try:
                course = self._train(rate, used, parts)
            except NotFiniteError:
                course = _Course()
                continue
            break
        trial = Trial(
            learning_rate=rate,
            dev_scores=tuple(course.dev_scores),
            best_epoch=course.best_epoch,
            threshold=course.threshold,
            losses=tuple(course.losses),
            precision=used,
            retried_in_fp32=used != self.precision,
            batch_parts=parts.count,
            discriminator=tuple(course.guessed),
            seconds=time.perf_counter() - began,
        )
        return trial, course.state

    def _train(self, rate: float, precision: Precision, parts: Parts) -> _Course:
        course = _Course()
        adversary = self._adversary()
        torch.manual_seed(self.dropout_seed)
        order = torch.Generator().manual_seed(self.order_seed)
        loop = self.meter.loop
        for loss in loop.epochs(self.rows, self.recipe, rate, precision, order, parts=parts, adversary=adversary):
            course.losses.append(loss)
            if adversary is not None:
                course.guessed.append(adversary.accuracy())
            if not self.dev:
                course.best_epoch = len(course.losses)
                continue
            with self.vocabulary.whole():
                score, threshold = self.meter.calibrated_dev_score(
                    "dev", self.dev, precision, f"dev {rate:g}", self.dev_language
                )
            best = course.dev_scores[course.best_epoch - 1] if course.best_epoch else math.nan
            course.dev_scores.append(score)
            # an undefined score never wins over a defined one, and nobody waits for better before there is one
            if math.isnan(best) or score > best:
                course.best_epoch, course.threshold = len(course.losses), threshold
                course.state = copied(loop.model)
            elif len(course.losses) - course.best_epoch >= self.recipe.patience:
                break
        if course.state is None:
            course.state = copied(loop.model)
        return course

    def _adversary(self) -> Adversary | None:
        if self.opposition is None:
            return None
        rows = self.vocabulary.renumbered(self.opposition.rows)
        width = int(self.meter.loop.model.encoder.config.hidden_size)
        return Adversary(self.opposition, rows, width, self.meter.loop.device)


def copied(model: nn.Module) -> State:
    """Returns the weights as copies in the CPU's memory."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}


def _plain(number: float) -> float | None:
    return None if math.isnan(number) else number
