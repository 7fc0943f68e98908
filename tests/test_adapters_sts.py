"""STS: a sentence vector is the mean of its real tokens and a prediction their cosine, or a number read off it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from tiny_encoders import KINDS, LINES, bert, card_of, examples_of, roberta, tokenizer_of

from unibench.adapters.rows import collate
from unibench.adapters.sts import MeanPool, Sts
from unibench.errors import CardError
from unibench.finetune import finetune
from unibench.metrics import STS_UNITS, score
from unibench.store import Recipe

CARD = card_of("sts", "spearman", head="bi-encoder")
CROSS = card_of("sts", "spearman", head="cross-encoder")


def _examples(count: int = 5):
    return examples_of([({"sentence1": LINES[i], "sentence2": LINES[i + 1]}, i / 10) for i in range(count)])


def test_the_mean_counts_special_tokens_and_not_padding() -> None:
    rows = Sts().encode(tokenizer_of("unigram"), CARD, _examples(1), max_tokens=64, training=False)
    batch = collate(rows, np.array([0, 1]))
    hidden_BTD = torch.randn(*batch["input_ids"].shape, 8, generator=torch.Generator().manual_seed(0))
    pooled_BD = MeanPool()(hidden_BTD, batch)
    for i, length in enumerate(rows.lengths):  # the length includes <s> and </s>
        assert torch.allclose(pooled_BD[i], hidden_BTD[i, : int(length)].mean(dim=0), atol=1e-6)


def test_units_are_gold_and_cosine_in_the_order_of_the_examples() -> None:
    examples = _examples(5)
    adapter = Sts()
    rows = adapter.encode(tokenizer_of("unigram"), CARD, examples, max_tokens=64, training=False)
    vectors = torch.randn(10, 6, generator=torch.Generator().manual_seed(1))
    units = adapter.units(CARD, examples, rows, adapter.predict(vectors, {}))
    expected = torch.nn.functional.cosine_similarity(vectors[0::2].double(), vectors[1::2].double())
    assert units[:, 0].tolist() == [0, 0.1, 0.2, 0.3, 0.4]
    assert np.allclose(units[:, 1], expected.numpy(), atol=1e-6)


def test_the_loss_is_the_squared_distance_of_cosine_and_gold() -> None:
    rows = Sts().encode(tokenizer_of("unigram"), CARD, _examples(5), max_tokens=64, training=True)
    batch = collate(rows, np.array([4, 5, 8, 9]))  # pairs 2 and 4, gold 0.2 and 0.4
    vectors = torch.tensor([[1.0, 0], [1, 0], [1, 0], [0, 1]])  # cosines 1 and 0
    assert Sts().loss(vectors, batch).item() == pytest.approx((1 - 0.2) ** 2 + 0.4**2)
    assert Sts().weight(batch) == 2
    assert rows.rows_per_item == 2
    drawn = torch.randn(4, 6, generator=torch.Generator().manual_seed(2))
    cosine = torch.nn.CosineSimilarity()(drawn[0::2], drawn[1::2])
    expected = torch.nn.MSELoss()(cosine, torch.tensor([0.2, 0.4]))
    assert Sts().loss(drawn, batch) / Sts().weight(batch) == pytest.approx(expected.item())


def test_heads_that_do_not_exist_or_do_not_train_are_refused() -> None:
    with pytest.raises(CardError, match="head = 'cross'; expected one of cross-encoder, bi-encoder, cosine"):
        Sts().head(card_of("sts", "spearman", head="cross"), 8, torch.Generator())
    with pytest.raises(CardError, match="'cosine', which trains nothing"):
        Sts().encode(
            tokenizer_of("unigram"), card_of("sts", "spearman", head="cosine"), _examples(), max_tokens=9, training=True
        )


def test_a_cut_sentence_is_counted() -> None:
    rows = Sts().encode(tokenizer_of("unigram"), CARD, _examples(2), max_tokens=8, training=False)
    assert rows.counts["truncated"] == 4
    assert rows.lengths.tolist() == [8] * 4


@pytest.mark.parametrize("kind", KINDS)
def test_a_cross_encoder_reads_the_pair_as_one_row(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    rows = Sts().encode(tokenizer, CROSS, _examples(2), max_tokens=256, training=True)
    assert rows.rows_per_item == 1
    assert rows.per_row["gold"].tolist() == pytest.approx([0.0, 0.1])
    for i in range(2):
        expected = tokenizer(LINES[i], LINES[i + 1])
        for name, (flat, _) in rows.columns.items():
            assert flat[rows.starts[i] : rows.starts[i + 1]].tolist() == expected[name]


def test_a_cross_encoders_loss_is_the_squared_error_of_one_number() -> None:
    rows = Sts().encode(tokenizer_of("unigram"), CROSS, _examples(5), max_tokens=64, training=True)
    batch = collate(rows, np.array([4, 1]))
    output = torch.tensor([[0.9], [-0.4]])
    assert Sts().loss(output, batch).item() == pytest.approx((0.9 - 0.4) ** 2 + (-0.4 - 0.1) ** 2)
    expected = torch.nn.MSELoss()(output[:, 0], torch.tensor([0.4, 0.1]))
    assert Sts().loss(output, batch) / Sts().weight(batch) == pytest.approx(expected.item())


def test_a_cross_encoders_predictions_are_what_it_puts_out_below_0_and_above_1_too() -> None:
    examples = _examples(5)
    rows = Sts().encode(tokenizer_of("unigram"), CROSS, examples, max_tokens=64, training=False)
    put_out = torch.tensor([[1.4], [-0.3], [0.2], [1.6], [0.5]])
    answers = Sts().predict(put_out, {})
    units = Sts().units(CROSS, examples, rows, answers, language="en-ar")
    assert units[:, 1].tolist() == pytest.approx([1.4, -0.3, 0.2, 1.6, 0.5])
    assert Sts().outputs(CROSS, examples, rows, answers) == pytest.approx([1.4, -0.3, 0.2, 1.6, 0.5])
    gold = [example.target for example in examples]
    assert score("spearman", units) == pytest.approx(spearmanr(gold, put_out[:, 0]).statistic)
    assert score("pearson", units) == pytest.approx(pearsonr(gold, put_out[:, 0].double()).statistic)


def test_a_pair_without_tokens_is_scored_0_and_the_others_keep_their_places() -> None:
    examples = _examples(3)
    for card, per_pair in ((CROSS, 1), (CARD, 2)):
        rows = Sts().encode(tokenizer_of("unigram"), card, examples, max_tokens=64, training=False)
        kept = np.array([0, 2])
        fewer = replace(rows, example=np.repeat(kept, per_pair))
        answers = [np.array([0.5])] * 2 if card is CROSS else [np.array([1.0, 0.0])] * 4
        assert Sts().units(card, examples, fewer, answers)[:, 1].tolist() == (
            [0.5, 0, 0.5] if card is CROSS else [1, 0, 1]
        )


@pytest.mark.parametrize("head", ["cross-encoder", "bi-encoder"])
def test_pairs_across_languages_are_learned(head: str) -> None:
    # the same place in two scripts, or two different places
    places = ["Volga Волга", "Cairo القاهرة", "Beijing 北京", "Vienna Вена", "Delhi दिल्ली"]
    names = [place.split() for place in places]
    pairs = [(names[i][0], names[j][1], float(i == j)) for i in range(5) for j in range(5) if i == j or (i + j) % 2]
    examples = examples_of([({"sentence1": a, "sentence2": b}, gold) for a, b, gold in pairs])
    card = card_of("sts", "spearman", head=head)
    tokenizer = tokenizer_of("unigram", tuple(places))
    recipe = Recipe(learning_rates=(3e-3,), epochs=50, batch_size=4, max_tokens=64)
    encoder = roberta(tokenizer) if head == "cross-encoder" else bert(tokenizer)
    tuned = finetune(lambda: (tokenizer, encoder), card, examples, [], {"en-ar": examples}, recipe, seed=0)
    assert tuned.unit_names == STS_UNITS
    assert score("pearson", tuned.units["en-ar"]) > 0.8
    losses = tuned.trials[0].losses
    assert losses[-1] < losses[0]


def test_nothing_is_trained_under_cosine_and_its_scores_are_cosines_of_means() -> None:
    tokenizer = tokenizer_of("unigram")
    encoder = bert(tokenizer)
    examples = _examples(4)
    card = card_of("sts", "spearman", head="cosine")
    tuned = finetune(lambda: (tokenizer, encoder), card, [], [], {"en-en": examples}, None, seed=0)
    for unit, example in zip(tuned.units["en-en"], examples, strict=True):
        vectors = []
        for name in ("sentence1", "sentence2"):
            batch = tokenizer(example.inputs[name], return_tensors="pt", truncation=True, max_length=64)
            with torch.inference_mode():
                hidden_BTD = encoder.eval()(input_ids=batch["input_ids"]).last_hidden_state
            vectors.append(hidden_BTD[0].mean(dim=0))
        assert unit.tolist() == pytest.approx(
            [example.target, torch.nn.functional.cosine_similarity(*vectors, dim=0).item()], abs=1e-5
        )
