"""NLI: both texts survive truncation, and labels that are placeholders never become a score."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_encoders import KINDS, LINES, card_of, examples_of, tokenizer_of

from unibench.adapters.nli import Nli
from unibench.adapters.rows import collate
from unibench.errors import DataError

CARD = card_of("nli", "accuracy", ("entailment", "neutral", "contradiction"))


def _pairs(premise: str, hypothesis: str, label: int = 0) -> tuple[dict[str, str], int]:
    return {"premise": premise, "hypothesis": hypothesis}, label


@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_is_what_transformers_makes_of_it(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    rows = Nli().encode(tokenizer, CARD, examples_of([_pairs(LINES[0], LINES[1])]), max_tokens=256, training=False)
    expected = tokenizer(LINES[0], LINES[1])
    assert {name: flat.tolist() for name, (flat, _) in rows.columns.items()} == {
        name: ids for name, ids in expected.items() if name != "attention_mask"
    }
    assert ("token_type_ids" in rows.columns) == (kind == "wordpiece")


def test_the_longer_text_is_cut_first_and_the_cut_is_counted() -> None:
    tokenizer = tokenizer_of("unigram")
    short = tokenizer.backend_tokenizer.encode(" Anna", add_special_tokens=False).ids
    examples = examples_of([_pairs(LINES[0] * 5, "Anna"), _pairs("Anna", LINES[0] * 5), _pairs("Anna", "Anna")])
    rows = Nli().encode(tokenizer, CARD, examples, max_tokens=40, training=False)
    assert rows.lengths.tolist()[:2] == [40, 40]
    assert rows.counts["truncated"] == 2
    ids = rows.columns["input_ids"][0]
    assert ids[: rows.starts[1]][-len(short) - 1 : -1].tolist() == short
    assert ids[rows.starts[1] : rows.starts[2]][1 : 1 + len(short)].tolist() == short


def test_units_are_gold_and_prediction_in_the_order_of_the_examples() -> None:
    examples = examples_of([_pairs(LINES[i], LINES[i + 1], i % 3) for i in range(6)])
    adapter = Nli()
    rows = adapter.encode(tokenizer_of("unigram"), CARD, examples, max_tokens=64, training=True)
    assert collate(rows, np.array([4, 2]))["gold"].tolist() == [1, 2]
    answers = adapter.predict(torch.eye(3)[[2, 2, 1, 1, 0, 0]], {})
    assert adapter.units(CARD, examples, rows, answers).tolist() == [[0, 2], [1, 2], [2, 1], [0, 1], [1, 0], [2, 0]]


@pytest.mark.parametrize("label", [-1, 3, "neutral"])
def test_a_label_that_is_none_of_the_cards_is_refused(label: object) -> None:
    examples = examples_of([({"premise": "a", "hypothesis": "b"}, label)])
    with pytest.raises(DataError, match=r"'0000' of task 'toy_nli' has label .*drop the unlabelled rows"):
        Nli().encode(tokenizer_of("unigram"), CARD, examples, max_tokens=16, training=False)
