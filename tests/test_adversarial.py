"""The discriminator learns, the encoder unlearns what it reads, and the task's own course is left alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_encoders import bert, examples_of
from toy_tasks import NLI, PLACES, TOKENIZER, TOYS, load, make, nli

from unibench.adapters import get_adapter
from unibench.adapters.rows import Rows, collate
from unibench.adversarial import Adversary, Opposition, oppose
from unibench.data import Example
from unibench.finetune import finetune
from unibench.loop import Model
from unibench.store import Recipe
from unibert.objectives import ganin_ramp
from unibert.probe import fresh_guesses, same_language_neighbours

RECIPE = Recipe(learning_rates=(1e-3,), epochs=3, batch_size=16, max_tokens=48, patience=3)
TRAIN, DEV, TEST = make(nli, 96, 1), make(nli, 30, 2), make(nli, 40, 3)
TEXTS = {"sw": make(nli, 20, 7), "ru": make(nli, 70, 8)}


def _run(strength: float = 0.1, texts: Any = TEXTS, seed: int = 0, **options: Any) -> Any:
    given = {"unlabelled": texts, "language_of": lambda example: "en", "adversary_strength": strength, **options}
    return finetune(load, NLI, TRAIN, DEV, {"en": TEST}, RECIPE, seed, **given)


def _rows(examples: list[Example], *, training: bool = False) -> Rows:
    return get_adapter("nli").encode(TOKENIZER, NLI, examples, max_tokens=48, training=training)


def _setup(strength: float = 1.0) -> Opposition:
    texts = [(code, example) for code, examples in TEXTS.items() for example in examples]
    rows = _rows([example for _, example in texts])
    return oppose(_rows(TRAIN, training=True), ["en"] * len(TRAIN), rows, [code for code, _ in texts], strength, 5)


def test_the_gradient_is_reversed_for_the_encoder_and_not_for_the_discriminator() -> None:
    setup = _setup(strength=0.5)
    adversary = Adversary(setup, setup.rows, 32, "cpu")
    adversary.draw(np.arange(6), progress=0.3)
    hidden_BTD = torch.randn(6, 5, 32, generator=torch.Generator().manual_seed(1)).requires_grad_()
    mask_BT = torch.tensor([[1, 1, 1, 0, 0]] * 3 + [[1] * 5] * 3)
    loss, _ = adversary.labelled(hidden_BTD, {"attention_mask": mask_BT}, np.arange(6))
    loss.backward()
    reversed_BTD = hidden_BTD.grad
    own = [p.grad.clone() for p in adversary.discriminator.parameters()]

    plain_BTD = hidden_BTD.detach().clone().requires_grad_()
    pooled_BD = torch.stack([plain_BTD[i, : mask_BT[i].sum()].mean(0) for i in range(6)])
    adversary.discriminator.zero_grad()
    logits_BL = adversary.discriminator(pooled_BD)
    english = setup.languages.index("en")
    by_hand = -logits_BL.log_softmax(-1)[:, english].sum() * adversary.weight_L[english] / 12
    by_hand.backward()
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert reversed_BTD.abs().max() > 1e-4
    assert torch.allclose(reversed_BTD, -0.5 * ganin_ramp(0.3) * plain_BTD.grad, atol=1e-7)
    assert all(
        torch.allclose(a, p.grad, atol=1e-6) for a, p in zip(own, adversary.discriminator.parameters(), strict=True)
    )


def test_unlabelled_rows_are_drawn_evenly_over_their_languages_and_all_of_them_before_any_twice() -> None:
    setup = _setup()
    adversary = Adversary(setup, setup.rows, 32, "cpu")
    met: Counter[int] = Counter()
    by_language: Counter[str] = Counter()
    for _ in range(8):
        adversary.draw(np.arange(5), progress=0.0)
        assert len(adversary.drawn_B) == 5
        met.update(adversary.drawn_B.tolist())
        by_language.update(setup.languages[i] for i in setup.unlabelled_R[adversary.drawn_B])
        assert abs(by_language["sw"] - by_language["ru"]) <= 8
    assert sum(by_language.values()) == 40
    swahili = [met[row] for row in np.flatnonzero(setup.unlabelled_R == setup.languages.index("sw"))]
    assert max(swahili) - min(swahili) <= 1
    assert max(met[row] for row in np.flatnonzero(setup.unlabelled_R == setup.languages.index("ru"))) == 1


def test_every_language_weighs_the_same_over_a_batch() -> None:
    train = _rows(TRAIN[:30], training=True)
    setup = oppose(train, ["en"] * 24 + ["de"] * 6, _rows(TEXTS["sw"] + TEXTS["ru"]), ["sw"] * 20 + ["ru"] * 70, 1.0, 0)
    assert setup.languages == ("de", "en", "ru", "sw")
    weight = Adversary(setup, setup.rows, 32, "cpu").weight_L.tolist()
    # a batch holds on average 1/10 de, 4/10 en, 1/4 ru, 1/4 sw
    assert weight == pytest.approx([2.5, 0.625, 1.0, 1.0])
    assert sum(w * share for w, share in zip(weight, (0.1, 0.4, 0.25, 0.25), strict=True)) == pytest.approx(1.0)


def test_without_strength_the_task_learns_what_it_learns_without_an_adversary() -> None:
    kept: list[Any] = []

    def watched() -> tuple[Any, Any]:
        kept.append(bert(TOKENIZER))
        return TOKENIZER, kept[-1]

    def trained(**options: Any) -> Any:
        return finetune(watched, NLI, TRAIN, DEV, {"en": TEST}, RECIPE, 0, **options)

    # texts of no other word than the training set's: with more, sums over gradients are rounded elsewhere
    texts = {"sw": [replace(example, id=f"s{example.id}") for example in TRAIN[:40]]}
    alone = trained()
    opposed = trained(unlabelled=texts, language_of=lambda example: "en", adversary_strength=0.0)
    assert opposed.trials[0].losses == alone.trials[0].losses
    assert opposed.units["en"].tobytes() == alone.units["en"].tobytes()
    first, second = (encoder.state_dict() for encoder in kept)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert len(opposed.trials[0].discriminator) == 3
    assert alone.trials[0].discriminator == ()
    pushed = trained(unlabelled=texts, language_of=lambda example: "en", adversary_strength=0.1)
    assert pushed.trials[0].losses != alone.trials[0].losses


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = _run()
    assert torch.equal(torch.rand(2), expected)
    again, other = _run(), _run(seed=1)
    assert again.units["en"].tobytes() == first.units["en"].tobytes()
    assert again.trials[0].losses == first.trials[0].losses
    assert again.trials[0].discriminator == first.trials[0].discriminator
    assert other.trials[0].discriminator != first.trials[0].discriminator


def test_of_unlabelled_examples_only_inputs_are_read() -> None:
    relabelled = {code: [replace(e, target=None) for e in examples] for code, examples in TEXTS.items()}
    assert _run(texts=relabelled).trials[0].losses == _run().trials[0].losses


@pytest.mark.parametrize("family", TOYS)
def test_every_family_can_have_an_adversary_and_says_what_happened(family: str) -> None:
    card, row = TOYS[family]
    found = finetune(
        load, card, make(row, 50, 1), make(row, 20, 2), {"sw": make(row, 10, 3)}, RECIPE, 0,
        unlabelled={"sw": make(row, 30, 4)}, language_of=lambda example: "en",
    )  # fmt: skip
    about = found.notes()["adversary"]
    assert about == {
        "languages": ["en", "sw"],
        "strength": 0.1,
        "chance": 0.5,
        "unlabelled_rows": about["unlabelled_rows"],
    }
    assert about["unlabelled_rows"] >= 30
    accuracies = found.notes()["trials"][0]["discriminator_accuracy"]
    assert len(accuracies) == 3
    assert all(0.2 < accuracy < 0.8 for accuracy in accuracies)  # the languages are the same words, so there is nothing
    assert found.counts.keys() == {"train", "unlabelled", "dev", "sw"}


def _marked(word: str, seed: int) -> list[Example]:
    """Texts whose language is told by one word and nothing else, and whose label does not depend on it."""
    generator = np.random.default_rng(seed)
    made = []
    for label in generator.integers(0, 3, 240).tolist():
        said = [PLACES[i] for i in generator.integers(0, len(PLACES), 3)]
        made.append(({"premise": " ".join([word, *said]), "hypothesis": ("river", "blue", "seven")[label]}, label))
    return examples_of(made)


def test_a_fresh_probe_reads_less_of_the_language_and_the_task_is_learnt_all_the_same() -> None:
    english, swahili = _marked("Anna", 1), _marked("Omar", 2)

    def probed(strength: float) -> tuple[float, float, float]:
        kept: list[Any] = []

        def watched() -> tuple[Any, Any]:
            kept.append(bert(TOKENIZER))
            return TOKENIZER, kept[-1]

        recipe = Recipe(learning_rates=(1e-3,), epochs=20, batch_size=16, max_tokens=48)
        found = finetune(
            watched, NLI, english, [], {"sw": swahili}, recipe, 1,
            unlabelled={"sw": swahili}, language_of=lambda example: "en", adversary_strength=strength,
        )  # fmt: skip
        batch = collate(_rows([*english, *swahili]), np.arange(480))
        with torch.no_grad():
            hidden_BTD = Model(kept[0], torch.nn.Identity()).encode(batch)
        mask_BT1 = batch["attention_mask"].unsqueeze(-1)
        pooled_BD = (hidden_BTD * mask_BT1).sum(1) / mask_BT1.sum(1)
        language_B = torch.tensor([0] * 240 + [1] * 240)
        guess_B = fresh_guesses(pooled_BD[::2], language_B[::2], pooled_BD[1::2], languages=2)
        units = found.units["sw"]
        right = float((guess_B == language_B[1::2]).float().mean())
        return right, same_language_neighbours(pooled_BD, language_B), float((units[:, 0] == units[:, 1]).mean())

    probe, neighbours, learnt = probed(0.0)
    fallen_probe, fallen_neighbours, still_learnt = probed(0.3)
    assert probe > 0.95
    assert fallen_probe < probe - 0.04
    assert neighbours > 0.95
    assert fallen_neighbours < neighbours - 0.1
    assert learnt > 0.95
    assert still_learnt > 0.95


def test_an_adversary_with_nothing_to_tell_apart_is_refused() -> None:
    with pytest.raises(ValueError, match="language_of"):
        _run(language_of=None)
    with pytest.raises(ValueError, match="rows in en, 20 of them unlabelled"):
        _run(texts={"en": TEXTS["sw"]})
