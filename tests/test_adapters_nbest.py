"""The best answers over all windows, against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_encoders import LINES, card_of, examples_of, tokenizer_of

from unibench.adapters.nbest import MAX_ANSWER_TOKENS, N_BEST, SPANS, best_spans
from unibench.adapters.qa import Qa
from unibench.adapters.rows import collate

CARD = card_of("qa", "token_f1")


def _said(score: float, first: int, last: int, null: float = 0.0) -> NDArray[np.float64]:
    """What `predict` returns for a row that knows one span."""
    return np.array([[null, 0, 0], [score, first, last]])


def _all_spans(logits: torch.Tensor, inside: torch.Tensor) -> list[tuple[float, int, int]]:
    """Every allowed span of one row, by brute force, the best first."""
    at = [i for i, allowed in enumerate(inside.tolist()) if allowed]
    spans = [(float(logits[s, 0] + logits[e, 1]), s, e) for s in at for e in at if s <= e < s + MAX_ANSWER_TOKENS]
    return sorted(spans, reverse=True)


def test_the_best_spans_are_the_best_of_all_allowed_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    for length in (1, 7, 80):
        logits = torch.randn(6, length, 2, generator=generator)
        inside = torch.rand(6, length, generator=generator) < 0.8
        inside[0] = False
        scores, first, last = best_spans(logits, inside)
        assert scores.shape == (6, min(SPANS, length * MAX_ANSWER_TOKENS))
        assert (scores[0] == -torch.inf).all()
        for row in range(6):
            expected = _all_spans(logits[row], inside[row])[:SPANS]
            count = len(expected)
            found = list(zip(scores[row].tolist(), first[row].tolist(), last[row].tolist(), strict=True))
            assert found[:count] == expected
            assert (scores[row, count:] == -torch.inf).all()


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    words=st.lists(st.sampled_from(sorted({w for line in LINES for w in line.split()})), min_size=1, max_size=40),
    white=st.sampled_from([" ", "  ", "\n", " \ufeff"]),
    max_tokens=st.integers(20, 64),
    seed=st.integers(0, 9),
)
def test_answers_are_the_best_distinct_texts_of_all_windows(
    kind: str, words: list[str], white: str, max_tokens: int, seed: int
) -> None:
    contexts = ["\ufeff" + white.join(words), white.join(reversed(words))]
    examples = examples_of([({"context": c, "question": "Who?"}, {"text": ("x",), "start": (-1,)}) for c in contexts])
    rows = Qa().encode(tokenizer_of(kind), CARD, examples, max_tokens=max_tokens, training=False)
    batch = collate(rows, np.arange(len(rows.lengths)))
    logits = torch.randn(*batch["input_ids"].shape, 2, generator=torch.Generator().manual_seed(seed)) * 3
    outputs = Qa().outputs(CARD, examples, rows, Qa().predict(logits, batch))
    assert len(outputs) == 2
    for i, output in enumerate(outputs):
        mine = np.flatnonzero(rows.example == i)
        best: dict[str, float] = {}
        for row in mine:
            for score, first, last in _all_spans(logits[row], batch["inside"][row])[:SPANS]:
                begin = rows.aside["begin"][rows.starts[row] + first]
                text = contexts[i][begin : rows.aside["end"][rows.starts[row] + last]].strip(" \n\ufeff")
                best[text] = max(score, best.get(text, -np.inf))
        best.pop("", None)
        expected = sorted(best.items(), key=lambda found: -found[1])[:N_BEST]
        assert [(answer["text"], answer["score"]) for answer in output["nbest"]] == expected
        assert all(contexts[i].startswith(answer["text"], answer["start"]) for answer in output["nbest"])
        assert output["answer"] == (expected[0][0] if expected else "")
        assert output["null_score"] == min(float(logits[row, 0].sum()) for row in mine)


def test_a_byte_order_mark_is_no_part_of_an_answer() -> None:
    tokenizer = tokenizer_of("byte-level", LINES)
    example = examples_of([({"context": "\ufeffVienna", "question": "?"}, {"text": ("Vienna",), "start": (1,)})])
    rows = Qa().encode(tokenizer, CARD, example, max_tokens=64, training=False)
    inside = np.flatnonzero(rows.columns["inside"][0])
    answers = [_said(1.0, inside[0], inside[-1])]
    assert rows.aside["begin"][inside[0]] == 0
    assert Qa().units(CARD, example, rows, answers).tolist() == [[1, 1]]
    (output,) = Qa().outputs(CARD, example, rows, answers)
    assert output["nbest"] == [{"text": "Vienna", "score": 1.0, "start": 1}]


@pytest.mark.parametrize("kind", ["byte-level", "byte-level-no-prefix-space"])
def test_what_bytes_say_is_still_the_best_text_of_all(kind: str) -> None:
    """Spans within one character are one text, so that fewer than `N_BEST` may be left of a row's spans."""
    example = examples_of([({"context": LINES[3], "question": "?"}, {"text": ("x",), "start": (-1,)})])
    rows = Qa().encode(tokenizer_of(kind), CARD, example, max_tokens=80, training=False)
    batch = collate(rows, np.arange(len(rows.lengths)))
    for seed in range(10):
        logits = torch.randn(*batch["input_ids"].shape, 2, generator=torch.Generator().manual_seed(seed))
        (output,) = Qa().outputs(CARD, example, rows, Qa().predict(logits, batch))
        spans = [(*_all_spans(logits[row], batch["inside"][row])[0], row) for row in range(len(rows.lengths))]
        score, first, last, row = max(spans)
        at = rows.starts[row]
        assert output["answer"] == LINES[3][rows.aside["begin"][at + first] : rows.aside["end"][at + last]]
        texts = [answer["text"] for answer in output["nbest"]]
        assert len(set(texts)) == len(texts) <= N_BEST
        assert output["nbest"][0]["score"] == score


def test_the_null_score_is_the_least_of_all_windows() -> None:
    card = card_of("qa", "token_f1", unanswerable=True)
    context = " ".join(LINES[:4])
    target = {"text": ("Lisbon",), "start": (context.index("Lisbon"),)}
    (example,) = examples_of([({"context": context, "question": "Where?"}, target)])
    rows = Qa().encode(tokenizer_of("wordpiece"), card, [example], max_tokens=32, training=True)
    holds = rows.per_row["answer"].any(axis=1)
    answers = [
        _said(2.0 if has else 0.0, *(span if has else (0, 0)), null=1.0 if has else 9.0)
        for has, span in zip(holds.tolist(), rows.per_row["answer"].tolist(), strict=True)
    ]
    assert Qa().units(card, [example], rows, answers).tolist() == [[1, 1, 1]]
    (output,) = Qa().outputs(card, [example], rows, answers)
    assert output["null_score"] == 1.0
