"""Rows: what goes into a batch comes out of it, once, with little padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_encoders import KINDS, LINES, card_of, tokenizer_of

from unibench.adapters import ADAPTERS, RECIPES, get_adapter
from unibench.adapters.rows import Rows, collate, prediction_batches, stack, tokenise, training_batches
from unibench.errors import UnknownName


def _rows(lengths: list[int], per_item: int = 1) -> Rows:
    starts = np.cumsum([0, *lengths])
    return Rows(
        starts=starts,
        columns={"input_ids": (np.arange(1, starts[-1] + 1), 0)},
        example=np.arange(len(lengths)) // per_item,
        per_row={"gold": np.arange(len(lengths))},
        rows_per_item=per_item,
    )


def test_every_family_has_an_adapter_and_a_recipe_and_a_wrong_one_is_named() -> None:
    assert ADAPTERS.keys() == RECIPES.keys()
    for family in ADAPTERS:
        assert get_adapter(family).unit_names(card_of(family, "m", ("O",)))
    with pytest.raises(UnknownName, match=r"no task family 'nre'.*did you mean 'ner'"):
        get_adapter("nre")


def test_a_batch_holds_its_rows_padded_to_the_longest_and_no_further() -> None:
    batch = collate(_rows([3, 1, 2, 5]), np.array([2, 0]))
    assert batch["input_ids"].tolist() == [[5, 6, 0], [1, 2, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch["gold"].tolist() == [2, 0]


def test_an_epoch_meets_every_row_once_keeps_pairs_together_and_depends_on_its_generator_only() -> None:
    lengths = np.random.default_rng(0).integers(2, 60, 2 * 700).tolist()
    rows = _rows(lengths, per_item=2)
    first = training_batches(rows, 8, torch.Generator().manual_seed(3))
    torch.rand(5)
    again = training_batches(rows, 8, torch.Generator().manual_seed(3))
    other = training_batches(rows, 8, torch.Generator().manual_seed(4))
    flat = np.concatenate(first)
    assert sorted(flat.tolist()) == list(range(1400))
    assert (flat[0::2] % 2 == 0).all()
    assert (flat[1::2] == flat[0::2] + 1).all()
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert flat.tolist() != np.concatenate(other).tolist()


def test_training_batches_are_bucketed_by_length_but_not_ordered_by_it() -> None:
    lengths = np.random.default_rng(0).integers(2, 120, 3200)
    batches = training_batches(_rows(lengths.tolist()), 16, torch.Generator().manual_seed(0))
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    unsorted = sum(16 * lengths[i : i + 16].max() for i in range(0, 3200, 16))
    assert lengths.sum() / padded > 0.95
    assert lengths.sum() / unsorted < 0.6
    longest = np.array([lengths[batch].max() for batch in batches])
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.25


def test_prediction_meets_every_row_once_within_the_budget() -> None:
    lengths = np.random.default_rng(0).integers(1, 90, 500)
    batches = prediction_batches(_rows(lengths.tolist()), 256)
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    assert all(len(batch) * lengths[batch].max() <= 256 for batch in batches)
    assert prediction_batches(_rows([300, 2]), 256)[0].tolist() == [0]  # longer than the budget: alone, not dropped


@pytest.mark.parametrize("kind", KINDS)
def test_tokenising_matches_transformers_and_leaves_the_tokenizer_as_it_was(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    backend = tokenizer.backend_tokenizer
    backend.enable_padding(length=40, pad_id=0)
    backend.enable_truncation(7)
    before = (backend.padding, backend.truncation, backend.encode_special_tokens)
    try:
        found = [windows[0].ids for windows in tokenise(tokenizer, list(LINES), max_tokens=48)]
        assert (backend.padding, backend.truncation, backend.encode_special_tokens) == before
    finally:
        backend.no_padding()
        backend.no_truncation()
    assert found == tokenizer(list(LINES), truncation=True, max_length=48)["input_ids"]


def test_text_that_spells_a_special_token_stays_text() -> None:
    tokenizer = tokenizer_of("wordpiece")
    ((window,),) = tokenise(tokenizer, ["a [SEP] b"], max_tokens=20)
    assert window.ids.count(tokenizer.sep_token_id) == 1


def test_an_empty_text_under_a_tokenizer_without_special_tokens_is_no_row() -> None:
    tokenizer = tokenizer_of("unigram")
    backend = tokenizer.backend_tokenizer
    template = backend.post_processor
    try:
        backend.post_processor = None
        windows = list(tokenise(tokenizer, ["", "Anna"], max_tokens=20))
    finally:
        backend.post_processor = template
    assert windows[0] == []
    rows = stack(tokenizer, windows[1], [1])
    assert rows.lengths.tolist() == [len(windows[1][0].ids)]
