"""The oracle is what the rate that a language's own dev set prefers would have scored, and it changes nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from toy_tasks import NLI, load, make, nli

from unibench.data import Example
from unibench.finetune import finetune
from unibench.metrics import score
from unibench.store import Recipe

RATES = (1e-9, 3e-3)
RECIPE = Recipe(learning_rates=RATES, epochs=4, batch_size=16, max_tokens=48, patience=4)
TRAIN, DEV = make(nli, 240, 1), make(nli, 60, 2)


def _contrary(examples: list[Example]) -> list[Example]:
    """A language in which every label means another: whoever learns English is wrong about all of it."""
    return [replace(example, target=(example.target + 1) % 3) for example in examples]


EVALS = {"en": make(nli, 60, 3), "sw": make(nli, 60, 4), "xx": _contrary(make(nli, 60, 5))}
DEVS = {"sw": make(nli, 40, 6), "xx": _contrary(make(nli, 40, 7))}


def _run(**options: Any) -> Any:
    return finetune(load, NLI, TRAIN, DEV, EVALS, RECIPE, 0, **options)


def test_the_oracle_scores_what_its_rate_scores_when_it_is_the_only_one() -> None:
    found = _run(target_devs=DEVS)
    assert found.learning_rate == 3e-3
    assert found.oracle.keys() == {"sw", "xx"}
    for language, rate in (("sw", 3e-3), ("xx", 1e-9)):
        oracle = found.oracle[language]
        devs = {code: DEVS[language] if code == language else [] for code in EVALS}
        alone = _run(learning_rate=rate)
        dev_alone = finetune(load, NLI, TRAIN, DEV, {language: devs[language]}, RECIPE, 0, learning_rate=rate)
        assert oracle.learning_rate == rate
        assert oracle.dev_score == score("accuracy", dev_alone.units[language])
        assert oracle.scores.keys() == {"accuracy", "macro_f1"}
        for metric, value in oracle.scores.items():
            assert value == score(metric, alone.units[language])
    assert score("accuracy", found.units["xx"]) < found.oracle["xx"].scores["accuracy"]
    assert score("accuracy", found.units["sw"]) == found.oracle["sw"].scores["accuracy"]


def test_the_oracle_changes_no_result() -> None:
    plain, found = _run(), _run(target_devs=DEVS)
    assert plain.oracle == {}
    assert found.learning_rate == plain.learning_rate
    for language in EVALS:
        assert found.units[language].tobytes() == plain.units[language].tobytes()
    assert [trial.losses for trial in found.trials] == [trial.losses for trial in plain.trials]


def test_only_where_another_trial_is_preferred_is_anything_predicted_again() -> None:
    phases: dict[str, None] = {}
    _run(target_devs=DEVS, progress=lambda phase, done, total: phases.setdefault(phase))
    assert [phase for phase in phases if phase.startswith(("oracle", "predict"))] == [
        "oracle xx", "predict en", "predict sw", "predict xx",
    ]  # fmt: skip
    assert [phase for phase in phases if phase.startswith("dev")] == [
        "dev 1e-09", "dev 0.003", "dev 1e-09 sw", "dev 1e-09 xx", "dev 0.003 sw", "dev 0.003 xx",
    ]  # fmt: skip


def test_a_tie_on_the_target_dev_goes_to_the_earlier_rate() -> None:
    same = replace(RECIPE, learning_rates=(1e-12, 3e-3, 1e-11))
    found = finetune(load, NLI, TRAIN, DEV, EVALS, same, 0, target_devs={"xx": DEVS["xx"]})
    assert found.oracle["xx"].learning_rate == 1e-12


def test_there_is_no_oracle_where_there_is_nothing_to_choose_or_to_choose_by() -> None:
    assert _run(target_devs=DEVS, learning_rate=3e-3).oracle == {}
    assert _run(target_devs={"sw": []}).oracle == {}
    assert _run(target_devs={"yy": DEVS["sw"]}).oracle == {}  # not scored
    trained_on = _run(target_devs=DEVS, language_of=lambda example: "sw" if int(example.id) % 2 else "en")
    assert trained_on.oracle.keys() == {"xx"}
    assert finetune(load, NLI, [], [], EVALS, None, 0, target_devs=DEVS).oracle == {}


def test_outputs_are_given_for_every_example_when_asked_for() -> None:
    found = _run(keep_outputs=True, learning_rate=3e-3)
    assert found.outputs.keys() == EVALS.keys()
    assert all(len(found.outputs[language]) == len(examples) for language, examples in EVALS.items())
    assert _run(learning_rate=3e-3).outputs == {}


@pytest.mark.parametrize("rate", [1e30])
def test_a_diverged_trial_is_nobodys_preference(rate: float) -> None:
    recipe = replace(RECIPE, learning_rates=(rate, 3e-3))
    found = finetune(load, NLI, TRAIN, DEV, EVALS, recipe, 0, target_devs=DEVS)
    assert {oracle.learning_rate for oracle in found.oracle.values()} == {3e-3}
