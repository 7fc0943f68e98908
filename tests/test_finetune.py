"""The loop learns what can be learnt, chooses the rate that dev prefers, repeats itself, and survives bad numbers."""

from __future__ import annotations

import json
import math
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from tiny_encoders import bert, card_of, examples_of, roberta, tokenizer_of
from torch import nn
from toy_tasks import NLI, TOKENIZER, TOYS, WORDS
from toy_tasks import load as _load
from toy_tasks import make as _make
from toy_tasks import nli as _nli
from toy_tasks import sts as _sts

from unibench import finetune as module
from unibench import loop
from unibench.finetune import DivergedError, finetune
from unibench.metrics import score
from unibench.store import Recipe
from unibench.vocabulary import Everything

RECIPE = Recipe(learning_rates=(3e-3,), epochs=4, batch_size=16, max_tokens=48, patience=4)
TRAIN, DEV, TEST = _make(_nli, 320, 1), _make(_nli, 60, 2), _make(_nli, 90, 3)


def _run(recipe: Recipe | None = RECIPE, seed: int = 0, load: Any = _load, **options: Any) -> Any:
    return finetune(load, NLI, TRAIN, DEV, {"en": TEST}, recipe, seed, **options)


@pytest.mark.parametrize("family", TOYS)
def test_a_learnable_toy_is_learnt_in_every_language_from_one_training(family: str) -> None:
    card, row = TOYS[family]
    recipe = Recipe(learning_rates=(3e-3,), epochs=6, batch_size=16, max_tokens=48)
    evals = {"en": _make(row, 80, 3), "sw": _make(row, 50, 4)}
    untrained = finetune(_load, card, [], [], evals, None, 0)
    found = finetune(_load, card, _make(row, 400, 1), _make(row, 60, 2), evals, recipe, 0)
    assert found.unit_names == untrained.unit_names
    for language, examples in evals.items():
        assert found.units[language].shape == (len(examples), len(found.unit_names))
        assert found.units[language].dtype == np.float64
        assert score(card.metric, found.units[language], found.unit_names) > 0.8
        assert score(card.metric, untrained.units[language], found.unit_names) < 0.6
    (trial,) = found.trials
    assert trial.losses[-1] < 0.5 * trial.losses[0]
    assert trial.dev_score > 0.8
    assert found.learning_rate == 3e-3
    assert found.counts.keys() == {"train", "dev", "en", "sw"}
    assert untrained.learning_rate is None
    assert untrained.trials == ()


def test_the_same_seed_gives_the_same_bytes_and_leaves_the_global_generators_alone() -> None:
    card = card_of("sts", "spearman", head="bi-encoder")
    train, dev, test = (_make(_sts, n, n) for n in (64, 20, 30))

    def units(seed: int) -> bytes:
        return finetune(_load, card, train, dev, {"en": test}, RECIPE, seed).units["en"].tobytes()

    torch.manual_seed(11)
    np.random.seed(11)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(11)
    np.random.seed(11)
    first = units(5)
    assert torch.equal(torch.rand(3), expected[0])
    assert (np.random.rand(3) == expected[1]).all()
    assert units(5) == first
    assert units(6) != first


def test_the_grid_keeps_the_rate_that_dev_prefers_and_predicts_with_its_weights() -> None:
    grid = Recipe(learning_rates=(1e-9, 3e-3, 1e-7), epochs=4, batch_size=16, max_tokens=48, patience=4)
    found = _run(grid)
    scores = [trial.dev_score for trial in found.trials]
    assert found.learning_rate == 3e-3
    assert scores[1] == max(scores) > 0.8
    alone = _run(grid, learning_rate=3e-3)  # from the same weights, over the same batches
    assert alone.trials[0].losses == found.trials[1].losses
    assert alone.units["en"].tobytes() == found.units["en"].tobytes()
    assert [trial.learning_rate for trial in alone.trials] == [3e-3]


def test_a_tie_goes_to_the_first_rate() -> None:
    assert _run(Recipe(learning_rates=(1e-12, 1e-11), epochs=1, batch_size=16, max_tokens=48)).learning_rate == 1e-12


def test_a_grid_without_dev_examples_is_refused_and_one_rate_is_not() -> None:
    grid = Recipe(learning_rates=(1e-3, 3e-3), epochs=1, batch_size=16, max_tokens=48)
    with pytest.raises(ValueError, match="2 learning rates but no dev examples"):
        finetune(_load, NLI, TRAIN, [], {"en": TEST}, grid, 0)
    found = finetune(_load, NLI, TRAIN, [], {"en": TEST}, grid, 0, learning_rate=3e-3)
    assert found.learning_rate == 3e-3
    assert math.isnan(found.trials[0].dev_score)


@pytest.mark.parametrize("make", [bert, roberta])
def test_padding_changes_no_prediction(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    card = card_of("sts", "spearman", head="cosine")  # its predictions are real numbers, so nothing hides
    texts = [" ".join(WORDS[i % 7 : i % 7 + 1 + i % 19]) for i in range(41)]
    pairs = examples_of([({"sentence1": a, "sentence2": b}, 0.5) for a, b in pairwise(texts)])

    def cosines() -> Any:
        return finetune(lambda: (TOKENIZER, make(TOKENIZER)), card, [], [], {"en": pairs}, None, 0).units["en"][:, 1]

    together = cosines()
    monkeypatch.setattr(loop, "PREDICT_TOKENS", {"cpu": 1})  # each row alone, so without padding
    assert np.allclose(together, cosines(), atol=1e-6)
    assert together.std() > 0.01


def test_units_follow_the_order_of_the_examples() -> None:
    forward = _run().units["en"]
    backward = finetune(_load, NLI, TRAIN, DEV, {"en": TEST[::-1]}, RECIPE, 0).units["en"]
    assert np.array_equal(backward[::-1], forward)


class Fragile(nn.Module):
    """A real encoder with a number that bfloat16 rounds away: log(1.001 - 1) is -inf there, and 0 times it nan."""

    def __init__(self, inner: Any, after_calls: int = 0) -> None:
        super().__init__()
        self.inner, self.config = inner, inner.config
        self.calls_left = after_calls
        self.one = nn.Linear(1, 1, bias=False).requires_grad_(False)
        self.one.weight.fill_(1.001)
        self.seen: set[torch.dtype] = set()

    def forward(self, **inputs: Any) -> Any:
        out = self.inner(**inputs)
        near = self.one(torch.ones(1, 1))
        self.seen.add(near.dtype)
        self.calls_left -= 1
        if self.calls_left < 0:
            out.last_hidden_state = out.last_hidden_state + 0.0 * torch.log(near.float() - 1.0)
        return out


def test_numbers_that_are_not_finite_in_bf16_are_tried_again_in_real_fp32() -> None:
    made: list[Fragile] = []

    def load() -> tuple[Any, Any]:
        made.append(Fragile(bert(TOKENIZER)))
        return TOKENIZER, made[-1]

    found = _run(load=load, precision="bf16")
    assert made[0].seen == {torch.bfloat16, torch.float32}
    assert found.trials[0].precision == found.precision == "fp32"
    assert not found.trials[0].diverged
    assert found.notes()["trials"][0]["retried_in_fp32"]
    plain = _run(load=load, precision="fp32")
    assert made[1].seen == {torch.float32}
    assert found.units["en"].tobytes() == plain.units["en"].tobytes()
    assert found.trials[0].losses == plain.trials[0].losses


def test_bf16_that_stays_finite_is_used_and_learns() -> None:
    found = _run(precision="bf16")
    assert found.precision == found.trials[0].precision == "bf16"
    assert not found.trials[0].retried_in_fp32
    assert score("accuracy", found.units["en"]) > 0.8


def test_a_prediction_that_is_not_finite_in_bf16_is_made_in_fp32() -> None:
    untrained = finetune(_load, NLI, [], [], {"en": TEST}, None, 0)
    fragile = finetune(
        lambda: (TOKENIZER, Fragile(bert(TOKENIZER))), NLI, [], [], {"en": TEST}, None, 0, precision="bf16"
    )
    assert fragile.units["en"].tobytes() == untrained.units["en"].tobytes()
    assert fragile.counts["en"]["predicted_in_fp32"] == 1
    assert "predicted_in_fp32" not in untrained.counts["en"]


def test_a_rate_that_diverges_is_recorded_and_not_chosen() -> None:
    found = _run(Recipe(learning_rates=(1e30, 3e-3), epochs=4, batch_size=16, max_tokens=48, patience=4))
    assert [trial.diverged for trial in found.trials] == [True, False]
    assert math.isnan(found.trials[0].dev_score)
    assert found.learning_rate == 3e-3
    assert found.units["en"].tobytes() == _run(learning_rate=3e-3).units["en"].tobytes()
    notes = json.loads(json.dumps(found.notes(), allow_nan=False))
    assert notes["trials"][0]["dev_score"] is None
    assert notes["trials"][1]["dev_score"] == found.trials[1].dev_score


def test_when_no_rate_works_the_reason_says_what_was_tried() -> None:
    with pytest.raises(DivergedError, match=r"no learning rate gave a usable model: 1e\+30 \(not finite\)"):
        _run(Recipe(learning_rates=(1e30,), epochs=1, batch_size=16, max_tokens=48))


def test_an_encoder_whose_output_is_nan_gives_no_scores() -> None:
    def load() -> tuple[Any, Any]:
        broken = bert(TOKENIZER)
        nn.init.constant_(broken.encoder.layer[0].output.dense.weight, math.nan)
        return TOKENIZER, broken

    with pytest.raises(DivergedError, match="output for 'en' is not finite"):
        finetune(load, NLI, [], [], {"en": TEST}, None, 0)


def test_a_checkpoint_in_half_precision_is_trained_in_float32() -> None:
    kept: list[Any] = []

    def load() -> tuple[Any, Any]:
        kept.append(bert(TOKENIZER).to(torch.bfloat16))
        return TOKENIZER, kept[-1]

    _run(load=load)
    assert {p.dtype for p in kept[0].parameters()} == {torch.float32}


def test_training_on_the_seen_vocabulary_alone_changes_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []

    def load() -> tuple[Any, Any]:
        kept.append(roberta(TOKENIZER))  # its positions depend on padding's id, which must keep its number
        return TOKENIZER, kept[-1]

    @contextmanager
    def everything(encoder: Any, *used: Any) -> Any:
        yield Everything()

    _run(load=load)
    with monkeypatch.context() as patch:
        patch.setattr(module, "seen_vocabulary", everything)
        _run(load=load)
    before = roberta(TOKENIZER).get_input_embeddings().weight
    small, whole = (encoder.state_dict() for encoder in kept)
    words = "embeddings.word_embeddings.weight"
    untouched = (small[words] == before).all(dim=1)
    assert 50 < untouched.sum() < len(before) - 10
    assert torch.equal(small[words][untouched], whole[words][untouched])
    assert all(torch.allclose(small[name], whole[name], atol=1e-5) for name in small)
    assert not torch.allclose(small[words], before, atol=1e-3)


def test_words_that_training_never_saw_are_not_decayed() -> None:
    kept: list[Any] = []

    def load() -> tuple[Any, Any]:
        kept.append(bert(TOKENIZER))
        return TOKENIZER, kept[-1]

    heavy = Recipe(learning_rates=(1e-3,), epochs=1, batch_size=16, max_tokens=48, weight_decay=10.0)
    _run(heavy, load=load)
    before, after = bert(TOKENIZER).state_dict(), kept[0].state_dict()
    positions = "embeddings.position_embeddings.weight"
    assert torch.equal(after[positions][50:], before[positions][50:])
    matrix = "encoder.layer.0.attention.self.query.weight"
    assert after[matrix].norm() < 0.95 * before[matrix].norm()


@pytest.mark.parametrize("make", [bert, roberta])
def test_input_longer_than_the_encoders_positions_is_cut_to_them(make: Any) -> None:
    encoder = make(TOKENIZER)
    limit = loop.max_row_tokens(encoder, 384)
    assert limit == 64  # RoBERTa's 66 positions less those up to padding's id
    long = examples_of([({"premise": " ".join(WORDS) * 9, "hypothesis": "Anna"}, 0)])
    found = finetune(lambda: (TOKENIZER, encoder), NLI, [], [], {"en": long}, None, 0)
    assert found.counts["en"] == {"rows": 1, "tokens": 64, "truncated": 1}
    assert loop.max_row_tokens(encoder, 32) == 32


def test_token_types_go_only_to_an_encoder_that_has_them() -> None:
    tokenizer = tokenizer_of("wordpiece")
    pair = {"en": TEST[:4]}
    assert "token_type_ids" in tokenizer.model_input_names
    finetune(lambda: (tokenizer, bert(tokenizer, types=1)), NLI, [], [], pair, None, 0)  # type 1 would be out of range
    two_types = bert(tokenizer)
    nn.init.constant_(two_types.embeddings.token_type_embeddings.weight[1], 1e4)
    seen: list[Any] = []
    two_types.embeddings.register_forward_hook(lambda module, args, out: seen.append(out))
    types: list[Any] = []
    two_types.register_forward_pre_hook(lambda m, a, kw: types.append(kw["token_type_ids"]), with_kwargs=True)
    finetune(lambda: (tokenizer, two_types), NLI, [], [], pair, None, 0)
    assert types[0].max() == 1


def test_progress_reports_every_phase_to_its_end() -> None:
    told: dict[str, list[tuple[int, int]]] = {}
    _run(progress=lambda phase, done, total: told.setdefault(phase, []).append((done, total)))
    assert list(told) == ["train 0.003 fp32", "dev 0.003", "predict en"]
    for phase, reports in told.items():
        once = list(range(1, reports[-1][1] + 1))
        assert [done for done, _ in reports] == once * (RECIPE.epochs if phase.startswith("dev") else 1)
    assert told["train 0.003 fp32"][-1] == (80, 80)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_learns_the_same_toy(precision: Any) -> None:
    found = _run(device="cuda", precision=precision)
    assert found.precision == precision
    assert score("accuracy", found.units["en"]) > 0.8
