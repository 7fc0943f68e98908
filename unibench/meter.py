"""One model as it stands -> predictions, units and scores of any split, each tokenised once.

Shapes: N examples, K units of an example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unibench.adapters.rows import Rows
from unibench.cards import TaskCard
from unibench.data import Example
from unibench.loop import Loop, NotFiniteError, Precision
from unibench.metrics import score, scores
from unibench.token_cache import TokenCache


class DivergedError(RuntimeError):
    """No learning rate gave a usable model, or the output is not finite even in fp32. The caller records a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The units (N, K) of a split, its adapter's outputs if they were asked for, and the precision that gave them."""

    units: NDArray[np.float64]
    outputs: list[Any]
    precision: Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """Measures one card's splits with the model of `loop`. `counts` says what the adapter met in each split."""

    loop: Loop
    card: TaskCard
    tokens: TokenCache
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    _rows: dict[str, Rows] = field(default_factory=dict)

    def rows(self, split: str, examples: Sequence[Example]) -> Rows:
        """Returns the split's rows; a name stands for the same examples every time."""
        if split not in self._rows:
            self._rows[split] = self.tokens.encode(split, examples, training=False)
            self.counts[split] = dict(self._rows[split].counts)
        return self._rows[split]

    def measure(
        self,
        language: str,
        examples: Sequence[Example],
        precision: Precision,
        phase: str,
        *,
        threshold: float | None,
        outputs: bool = False,
    ) -> Measured:
        """Returns a language's units, in fp32 where `precision` gives no finite numbers. Raises DivergedError.

        `threshold` is what was chosen on dev, None where nothing was.
        """
        rows, adapter = self.rows(language, examples), self.loop.adapter
        given: Any = {"language": language, "threshold": threshold or 0.0}
        for used in dict.fromkeys((precision, "fp32")):
            try:
                answers = self.loop.predict(rows, used, phase)
            except NotFiniteError:
                continue
            return Measured(
                units=adapter.units(self.card, examples, rows, answers, **given),
                outputs=adapter.outputs(self.card, examples, rows, answers, **given) if outputs else [],
                precision=used,
            )
        raise DivergedError(f"the encoder's output for {language!r} is not finite, in fp32 either")

    def dev_score(
        self, split: str, examples: Sequence[Example], precision: Precision, phase: str, threshold: float, language: str
    ) -> float:
        """Returns the card's metric on a dev set, in this precision alone. Raises NotFiniteError."""
        rows = self.rows(split, examples)
        answers = self.loop.predict(rows, precision, phase)
        return self._score(examples, rows, answers, threshold, language)

    def calibrated_dev_score(
        self, split: str, examples: Sequence[Example], precision: Precision, phase: str, language: str
    ) -> tuple[float, float | None]:
        """Returns the same by the threshold that suits these examples best, and that threshold; None: none to choose.

        Of a threshold as of a learning rate the best is reported, so the score flatters: it chooses, and is no result.
        """
        rows = self.rows(split, examples)
        answers = self.loop.predict(rows, precision, phase)
        threshold = self.loop.adapter.calibrate(self.card, examples, rows, answers, language=language)
        return self._score(examples, rows, answers, threshold or 0.0, language), threshold

    def _score(
        self, examples: Sequence[Example], rows: Rows, answers: Sequence[Any], threshold: float, language: str
    ) -> float:
        given: Any = {"language": language, "threshold": threshold}
        units = self.loop.adapter.units(self.card, examples, rows, answers, **given)
        return score(self.card.metric, units, self.loop.adapter.unit_names(self.card))

    def scores(self, units: NDArray[np.float64]) -> dict[str, float]:
        """Returns every metric of the card's family."""
        return scores(self.loop.adapter.unit_names(self.card), units)
