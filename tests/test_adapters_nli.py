"""NLI: both texts survive truncation, and labels that are placeholders never become a score."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_encoders import KINDS, LINES, card_of, examples_of, tokenizer_of

from unibench.adapters.nli import Nli
from unibench.adapters.pairs import PairHead
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


def test_the_loss_is_the_summed_cross_entropy_whatever_the_parts() -> None:
    examples = examples_of([_pairs(LINES[i], LINES[i + 1], i % 3) for i in range(6)])
    adapter = Nli()
    rows = adapter.encode(tokenizer_of("unigram"), CARD, examples, max_tokens=64, training=True)
    logits_BC = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    batch = collate(rows, np.arange(6))
    expected = torch.nn.CrossEntropyLoss()(logits_BC, torch.tensor([0, 1, 2, 0, 1, 2]))
    assert adapter.loss(logits_BC, batch) / adapter.weight(batch) == pytest.approx(expected.item())
    parts = [collate(rows, np.arange(*ends)) for ends in ((0, 2), (2, 6))]
    summed = adapter.loss(logits_BC[:2], parts[0]) + adapter.loss(logits_BC[2:], parts[1])
    assert summed / sum(adapter.weight(part) for part in parts) == pytest.approx(expected.item())


@pytest.mark.parametrize("labels", [("entailment", "not_entailment"), ("a", "b", "c", "d")])
def test_there_may_be_two_classes_or_more(labels: tuple[str, ...]) -> None:
    card = card_of("nli", "accuracy", labels)
    examples = examples_of([_pairs(LINES[i], LINES[i + 1], i % len(labels)) for i in range(4)])
    adapter = Nli()
    rows = adapter.encode(tokenizer_of("unigram"), card, examples, max_tokens=64, training=True)
    batch = collate(rows, np.arange(4))
    hidden_BTD = torch.randn(*batch["input_ids"].shape, 8, generator=torch.Generator().manual_seed(0))
    output = adapter.head(card, 8, torch.Generator().manual_seed(0))(hidden_BTD, batch)
    assert output.shape == (4, len(labels))
    assert adapter.loss(output, batch).isfinite()
    answers = adapter.predict(torch.eye(len(labels))[[1, 0, 1, 0]], {})
    assert adapter.units(card, examples, rows, answers)[:, 1].tolist() == [1, 0, 1, 0]
    assert adapter.outputs(card, examples, rows, answers, language="sw") == [labels[i] for i in (1, 0, 1, 0)]
    with pytest.raises(DataError, match=f"has label {len(labels)}"):
        adapter.encode(
            tokenizer_of("unigram"), card, examples_of([_pairs("a", "b", len(labels))]), max_tokens=9, training=True
        )


def test_the_head_reads_the_first_token_and_the_mean_of_the_real_ones() -> None:
    head = PairHead(4, 1, torch.Generator().manual_seed(0)).eval()
    hidden_BTD = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(1))
    mask_BT = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    output = head(hidden_BTD, {"attention_mask": mask_BT})
    for b, length in enumerate((5, 3)):
        summary = torch.cat([hidden_BTD[b, 0], hidden_BTD[b, :length].mean(dim=0)])
        expected = head.out.weight @ torch.tanh(head.dense.weight @ summary + head.dense.bias) + head.out.bias
        assert torch.allclose(output[b], expected, atol=1e-6)
    again = PairHead(4, 1, torch.Generator().manual_seed(0)).eval()
    assert torch.equal(again(hidden_BTD, {"attention_mask": mask_BT}), output)


def test_texts_without_a_label_are_read_and_never_trained_on() -> None:
    examples = examples_of([({"premise": LINES[0], "hypothesis": LINES[1]}, None)])
    rows = Nli().encode(tokenizer_of("unigram"), CARD, examples, max_tokens=64, training=False)
    assert len(rows.lengths) == 1
    assert Nli().outputs(CARD, examples, rows, [np.array(2)]) == ["contradiction"]
    with pytest.raises(DataError, match="has label None"):
        Nli().encode(tokenizer_of("unigram"), CARD, examples, max_tokens=64, training=True)
