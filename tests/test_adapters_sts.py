"""STS: a sentence vector is the mean of its real tokens, a prediction is their cosine."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_encoders import LINES, card_of, examples_of, tokenizer_of

from unibench.adapters.rows import collate
from unibench.adapters.sts import MeanPool, Sts
from unibench.errors import CardError

CARD = card_of("sts", "spearman", head="bi-encoder")


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


def test_heads_that_do_not_exist_or_do_not_train_are_refused() -> None:
    with pytest.raises(CardError, match="head = 'cross'; expected one of bi-encoder, cosine"):
        Sts().head(card_of("sts", "spearman", head="cross"), 8, torch.Generator())
    with pytest.raises(CardError, match="'cosine', which trains nothing"):
        Sts().encode(
            tokenizer_of("unigram"), card_of("sts", "spearman", head="cosine"), _examples(), max_tokens=9, training=True
        )


def test_a_cut_sentence_is_counted() -> None:
    rows = Sts().encode(tokenizer_of("unigram"), CARD, _examples(2), max_tokens=8, training=False)
    assert rows.counts["truncated"] == 4
    assert rows.lengths.tolist() == [8] * 4
