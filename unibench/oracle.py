"""What a language would have scored with the learning rate that its own dev set prefers: a bound, not a result.

The distance between it and the score is what choosing by another language's dev set costs (Keung et al. 2020).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unibench.data import Example
from unibench.loop import NotFiniteError
from unibench.meter import DivergedError, Measured, Meter
from unibench.trials import Searched
from unibench.vocabulary import Vocabulary

Splits = Mapping[str, Sequence[Example]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """The rate that the language's own dev set prefers, its score there, and every metric on what is scored."""

    learning_rate: float
    dev_score: float
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """Which trial each language's own dev set prefers (a tie goes to the earlier rate), and the score it gives there.

    `elsewhere` has what is scored where that trial is not the chosen one.
    """

    trial: Mapping[str, int]
    dev_score: Mapping[str, float]
    elsewhere: Mapping[str, Measured]

    def oracle(self, language: str, found: Searched, meter: Meter, chosen: Measured) -> Oracle | None:
        """Returns the language's oracle, given what the chosen trial measured; None where no trial has a dev score."""
        if language not in self.trial:
            return None
        return Oracle(
            learning_rate=found.trials[self.trial[language]].learning_rate,
            dev_score=self.dev_score[language],
            scores=meter.scores(self.elsewhere.get(language, chosen).units),
        )


def preferences(
    found: Searched, meter: Meter, vocabulary: Vocabulary, target_devs: Splits, evals: Splits
) -> Preferences:
    """Returns what each language of `target_devs` prefers among the trials whose weights were kept.

    A threshold stays the one that the training languages' dev set chose: the oracle is of the rate alone. The model is
    left with the weights of whichever trial was asked last.
    """
    trial: dict[str, int] = {}
    dev_score: dict[str, float] = {}
    for index in sorted(found.weights) if target_devs else ():
        meter.loop.model.load_state_dict(found.weights[index])
        this = found.trials[index]
        with vocabulary.whole():
            for language, examples in target_devs.items():
                split, phase = f"dev {language}", f"dev {this.learning_rate:g} {language}"
                try:
                    score = meter.dev_score(split, examples, this.precision, phase, this.threshold or 0.0, language)
                except NotFiniteError:  # it may still be the chosen one, which is another matter
                    continue
                if not math.isnan(score) and (language not in trial or score > dev_score[language]):
                    trial[language], dev_score[language] = index, score
    elsewhere: dict[str, Measured] = {}
    for index in sorted(set(trial.values()) - {found.best}):
        meter.loop.model.load_state_dict(found.weights[index])
        this = found.trials[index]
        with vocabulary.whole():
            for language in [code for code, preferred in trial.items() if preferred == index]:
                phase = f"oracle {language}"
                try:
                    found_here = meter.measure(
                        language, evals[language], this.precision, phase, threshold=this.threshold
                    )
                except DivergedError:  # the chosen trial's result must not be lost for it
                    del trial[language]
                else:
                    elsewhere[language] = found_here
    return Preferences(trial=trial, dev_score=dev_score, elsewhere=elsewhere)
