"""What is chosen on dev is applied everywhere else, and adapters are told which language they score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tiny_encoders import card_of
from toy_tasks import load, make, qa

from unibench.adapters.qa import Qa
from unibench.data import Example
from unibench.finetune import finetune
from unibench.store import Recipe

CARD = card_of("qa", "token_f1", unanswerable=True)
RECIPE = Recipe(learning_rates=(3e-3, 1e-3), epochs=3, batch_size=16, max_tokens=48, patience=3)


def _half(generator: np.random.Generator) -> tuple[dict[str, Any], Any]:
    """Every other question has no answer, which its own words tell."""
    inputs, target = qa(generator)
    if generator.integers(0, 2):
        return inputs, target
    return {**inputs, "question": "seven blue?"}, {"text": (), "start": ()}


def _run(**options: Any) -> Any:
    evals = {"en": make(_half, 40, 3), "sw": make(_half, 30, 4)}
    return finetune(load, CARD, make(_half, 160, 1), make(_half, 60, 2), evals, RECIPE, 0, **options)


def test_a_question_is_left_unanswered_by_the_threshold_that_dev_chose() -> None:
    found = _run(keep_outputs=True)
    (chosen,) = [trial for trial in found.trials if trial.learning_rate == found.learning_rate]
    assert chosen.threshold is not None
    assert chosen.threshold != 0.0
    given = set()
    for outputs in found.outputs.values():
        for output in outputs:
            margin = output["null_score"] - output["nbest"][0]["score"]
            assert output["answer"] == ("" if margin > chosen.threshold else output["nbest"][0]["text"])
            given.add(output["answer"] == "")
    assert given == {True, False}
    assert found.notes()["trials"][0]["threshold"] == found.trials[0].threshold


def test_adapters_are_told_the_language_where_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, str]] = []
    units: Callable[..., Any] = Qa.units

    def spy(self: Qa, card: Any, examples: Any, *rest: Any, language: str = "", threshold: float = 0.0) -> Any:
        told.append((len(examples), language))
        return units(self, card, examples, *rest, language=language, threshold=threshold)

    monkeypatch.setattr(Qa, "units", spy)
    _run(target_devs={"sw": make(_half, 20, 5)}, language_of=lambda example: "en")
    assert {(60, "en"), (20, "sw"), (40, "en"), (30, "sw")} == set(told)
    told.clear()
    _run()
    assert {(60, ""), (40, "en"), (30, "sw")} == set(told)

    def mixed(example: Example) -> str:
        return "en" if int(example.id) % 2 else "de"

    told.clear()
    _run(language_of=mixed)
    assert (60, "") in told
