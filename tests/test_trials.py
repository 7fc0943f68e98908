"""Training stops when dev stops improving, the best epoch's weights are used, and the schedule knows nothing of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_encoders import bert, card_of, examples_of
from toy_tasks import NLI, TOKENIZER, load, make, nli

from unibench.finetune import finetune
from unibench.metrics import score
from unibench.store import Recipe

TRAIN, DEV, TEST = make(nli, 160, 1), make(nli, 60, 2), make(nli, 60, 3)


def _run(patience: int, rates: tuple[float, ...] = (3e-3,), *, epochs: int = 9, dev: Any = DEV, **options: Any) -> Any:
    recipe = Recipe(learning_rates=rates, epochs=epochs, batch_size=16, max_tokens=48, patience=patience)
    return finetune(load, NLI, TRAIN, dev, {"dev": DEV, "en": TEST}, recipe, 0, **options)


def _stops(scores: tuple[float, ...], patience: int) -> tuple[int, int]:
    """How many epochs are trained by the rule as it is written down, and which of them is the best (from 1)."""
    best = 0
    for epoch in range(len(scores)):
        if scores[epoch] > scores[best]:
            best = epoch
        if epoch - best >= patience:
            return epoch + 1, best + 1
    return len(scores), best + 1


def test_training_stops_after_patience_epochs_without_a_better_score() -> None:
    (whole,) = _run(patience=9).trials
    assert len(whole.dev_scores) == len(whole.losses) == 9
    assert whole.best_epoch == int(np.argmax(whole.dev_scores)) + 1
    stopped = set()
    for patience in (1, 2, 3):
        (trial,) = _run(patience=patience).trials
        trained, best = _stops(whole.dev_scores, patience)
        assert (len(trial.losses), trial.best_epoch) == (trained, best)
        # the same epochs to the last bit: the learning rate falls as if all of them were to come
        assert trial.losses == whole.losses[:trained]
        assert trial.dev_scores == whole.dev_scores[:trained]
        assert trial.dev_score == whole.dev_scores[best - 1]
        stopped.add(trained)
    assert min(stopped) < 9


def test_the_best_epochs_weights_predict_and_not_the_lasts() -> None:
    # a dev set whose labels mean something else: the more is learnt, the worse its score
    contrary = [replace(example, target=(example.target + 1) % 3) for example in DEV]
    recipe = Recipe(learning_rates=(3e-3,), epochs=9, batch_size=16, max_tokens=48, patience=2)
    found = finetune(load, NLI, TRAIN, contrary, {"dev": contrary}, recipe, 0)
    (trial,) = found.trials
    assert trial.best_epoch < len(trial.losses)
    assert trial.dev_scores[-1] != trial.dev_score
    assert score("accuracy", found.units["dev"]) == trial.dev_score
    assert score("accuracy", found.units["dev"]) != trial.dev_scores[-1]


def test_rates_compete_with_their_best_epochs() -> None:
    found = _run(9, (3e-3, 1e-3))
    best = [max(trial.dev_scores) for trial in found.trials]
    assert [trial.dev_score for trial in found.trials] == best
    assert found.learning_rate == (3e-3, 1e-3)[int(np.argmax(best))]
    assert score("accuracy", found.units["dev"]) == max(best)


def test_without_a_dev_set_every_epoch_is_trained_and_the_last_is_used() -> None:
    (trial,) = _run(1, dev=[], epochs=4).trials
    assert (len(trial.losses), trial.dev_scores, trial.best_epoch) == (4, (), 4)


def test_an_undefined_score_stops_nothing_and_is_beaten_by_any_other() -> None:
    card = card_of("sts", "spearman", head="bi-encoder")
    alike = examples_of([({"sentence1": "Lima", "sentence2": "Oslo"}, 0.5)] * 8)  # gold is constant: no correlation
    recipe = Recipe(learning_rates=(1e-3,), epochs=4, batch_size=4, max_tokens=48, patience=1)
    found = finetune(load, card, alike, alike, {"en": alike}, recipe, 0)
    assert np.isnan(found.trials[0].dev_scores).tolist() == [True] * 4
    assert found.trials[0].best_epoch == 4
    assert json.loads(json.dumps(found.notes(), allow_nan=False))["trials"][0]["dev_scores"] == [None] * 4


def test_a_record_says_what_happened_in_each_trial() -> None:
    (trial,) = _run(2).notes()["trials"]
    assert trial["epochs"] == len(trial["losses"]) == len(trial["dev_scores"])
    assert trial["best_epoch"] < trial["epochs"]
    assert trial["dev_score"] == trial["dev_scores"][trial["best_epoch"] - 1]
    assert (trial["batch_parts"], trial["retried_in_fp32"], trial["precision"]) == (1, False, "fp32")
    assert "discriminator_accuracy" not in trial


def test_words_that_only_the_dev_set_has_are_those_of_the_encoder() -> None:
    # training is on the vectors of its own words; dev is scored between epochs with all of them
    kept: list[Any] = []

    def watched() -> tuple[Any, Any]:
        kept.append(bert(TOKENIZER))
        return TOKENIZER, kept[-1]

    strange = examples_of([({"premise": "Zugspitze 7:45 ভাষা", "hypothesis": "q!?"}, 0)])
    seen: list[torch.Tensor] = []

    def look(phase: str, done: int, total: int) -> None:
        if phase.startswith("dev"):
            seen.append(kept[0].get_input_embeddings().weight.detach().clone())

    recipe = Recipe(learning_rates=(3e-3,), epochs=3, batch_size=16, max_tokens=48)
    finetune(watched, NLI, make(nli, 64, 1), strange, {"en": strange}, recipe, 0, progress=look)
    before = bert(TOKENIZER).get_input_embeddings().weight
    (ids,) = (TOKENIZER(strange[0].inputs["premise"])["input_ids"],)
    assert [len(whole) for whole in seen] == [len(before)] * 3
    untouched = [i for i in ids if torch.equal(seen[-1][i], before[i])]
    assert len(untouched) > 3
    assert not torch.equal(seen[0], seen[1])


@pytest.mark.parametrize("patience", [1, 4])
def test_stopping_early_repeats_itself(patience: int) -> None:
    assert _run(patience).units["en"].tobytes() == _run(patience).units["en"].tobytes()
