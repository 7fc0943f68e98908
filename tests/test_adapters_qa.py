"""QA: answers survive tokenizing in every script, decoding is exact, and scoring is SQuAD v1.1's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoders import KINDS, LINES, card_of, examples_of, tokenizer_of

from unibench.adapters import squad
from unibench.adapters.qa import MAX_ANSWER_TOKENS, Qa, best_spans
from unibench.adapters.rows import Rows, collate
from unibench.data import Example

CARD = card_of("qa", "token_f1")


@pytest.mark.parametrize(
    ("predicted", "golds", "exact", "f1"),
    [
        ("the Danube", ["Danube"], 1, 1),  # an article
        ("a cat, an owl and the dog", ["cat owl and dog!"], 1, 1),
        ("Theatre", ["atre"], 0, 0),  # an article is a whole word
        ("DANUBE.", ["danube"], 1, 1),
        ("U.S.A", ["USA"], 1, 1),  # punctuation is removed, not replaced by a space
        ("twenty-one", ["twenty one"], 0, 0),
        ("  the   river\tDanube\n", ["river Danube"], 1, 1),
        ("a b c", ["b d"], 0, 0.5),  # {b, c} against {b, d}: "a" is an article
        ("b b c", ["b c c"], 0, 2 / 3),  # common words are counted with multiplicity: b and c
        ("Vienna Budapest", ["Vienna", "in Budapest Vienna now"], 0, 2 / 3),  # best gold: one of two words found
        ("Vienna", ["Graz", "vienna"], 1, 1),
        ("北京大学", ["北京大学"], 1, 1),
        ("北京大学。", ["北京大学"], 0, 0),  # full-width punctuation is not ASCII, and there are no spaces
        ("", ["Danube"], 0, 0),
        ("the", ["a"], 1, 0),  # both empty once normalised: equal, but no common word (v2.0 says 1)
    ],
)
def test_scoring_as_the_official_script(predicted: str, golds: list[str], exact: float, f1: float) -> None:
    assert squad.exact(predicted, golds) == exact
    assert squad.f1(predicted, golds) == pytest.approx(f1)


def _example(context: str, answer: str, question: str = "What is it?") -> Example:
    target = {"text": (answer,), "start": (context.index(answer),)}
    return examples_of([({"context": context, "question": question}, target)])[0]


def _perfect_answers(rows: Rows) -> list[np.ndarray]:
    """What `predict` would return if the head had learnt every row: windows without the answer score below."""
    return [np.array([0.0 if first == 0 else 1.0, first, last]) for first, last in rows.per_row["answer"]]


CASES = [
    ("The river Danube flows through Vienna and Budapest.", "Vienna and Budapest"),
    ("The river Danube flows through Vienna and Budapest.", "The river"),
    ("The river Danube flows through Vienna and Budapest.", "Budapest"),
    (LINES[3], "กรุงเทพมหานคร"),
    (LINES[3], "แม่น้ำเจ้าพระยา"),
    ("\ufeff" + LINES[3], "แม่น้ำเจ้าพระยา"),
    ("\ufeff" + LINES[3], "อ่าวไทย"),
    (LINES[5], "武汉和南京"),
    (LINES[6], "北京市海淀区"),
    (LINES[7], "الخرطوم والقاهرة"),
    (LINES[9], "Каспийское море"),
    (LINES[11], "यमुना"),
    ("İstanbul Boğazı  Karadeniz'i\n\nMarmara Denizi'ne bağlar 🌊 ve güzeldir.", "güzeldir"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("max_tokens", [40, 256])
def test_answers_come_back_from_their_tokens(kind: str, max_tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tokenizer_of(kind, LINES)
    exact_count = 0
    for context, answer in CASES:
        # in small windows the answer stands in the third of many
        example = _example(context if max_tokens > 40 else " ".join([*LINES[:3], context, LINES[8]]), answer)
        rows = Qa().encode(tokenizer, CARD, [example], max_tokens=max_tokens, training=True)
        if not rows.per_row["answer"].any():
            assert max_tokens == 40  # longer than a window's share of the context, in bytes
            continue
        found = _decoded(example, rows, monkeypatch)
        (begin,), end = example.target["start"], example.target["start"][0] + len(answer)
        # The oracle reads the context by itself, in one piece: an answer is exact unless a token straddles its edge
        offsets = tokenizer.backend_tokenizer.encode(example.inputs["context"]).offsets
        text = example.inputs["context"]
        straddled = any(
            (a < begin < b and text[a:begin].strip()) or (a < end < b and text[end:b].strip()) for a, b in offsets
        )
        assert answer in found
        assert straddled or found == answer
        exact_count += found == answer
    assert exact_count >= {"wordpiece": 8, "unigram": 8}.get(kind, 5)


def test_windows_cover_the_context_and_only_those_with_the_whole_answer_point_at_it() -> None:
    tokenizer = tokenizer_of("unigram", LINES)
    example = _example(" ".join(LINES), "Vienna and Budapest")
    rows = Qa().encode(tokenizer, CARD, [example], max_tokens=48, training=True)
    assert rows.counts["windowed"] == 1
    assert rows.lengths.max() <= 48
    covered = np.zeros(len(example.inputs["context"]), dtype=bool)
    inside = rows.columns["inside"][0]
    for begin, end in zip(rows.aside["begin"][inside == 1], rows.aside["end"][inside == 1], strict=True):
        covered[begin:end] = True
    missed = "".join(c for c, seen in zip(example.inputs["context"], covered, strict=True) if not seen)
    assert missed.strip() == ""
    pointing = rows.per_row["answer"].any(axis=1)
    assert 0 < pointing.sum() < len(pointing)
    assert rows.counts["windows_without_answer"] == (~pointing).sum()


def test_an_answer_that_is_not_where_it_is_said_to_be_is_left_out_of_training_and_counted() -> None:
    good = _example(LINES[0], "Vienna")
    moved = Example(id="1", group="1", inputs=good.inputs, target={"text": ("Vienna",), "start": (3,)})
    rows = Qa().encode(tokenizer_of("unigram"), CARD, [moved, good], max_tokens=128, training=True)
    assert rows.counts["answer_not_at_offset"] == 1
    assert rows.example.tolist() == [1]
    rows = Qa().encode(tokenizer_of("unigram"), CARD, [moved, good], max_tokens=128, training=False)
    assert rows.example.tolist() == [0, 1]  # but it is scored


@pytest.mark.parametrize("kind", KINDS)
def test_a_question_longer_than_the_row_leaves_room_for_the_context(kind: str) -> None:
    example = _example(LINES[0], "Vienna", question=" ".join(LINES))
    rows = Qa().encode(tokenizer_of(kind), CARD, [example], max_tokens=48, training=True)
    assert rows.counts["questions_cut"] == 1
    assert rows.lengths.max() <= 48
    assert rows.per_row["answer"].any()


def test_the_best_span_is_the_best_of_all_allowed_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    for length in (1, 7, 80):
        logits = torch.randn(6, length, 2, generator=generator)
        inside = torch.rand(6, length, generator=generator) < 0.8
        inside[0] = False
        scores, first, last = best_spans(logits, inside)
        assert scores[0] == -torch.inf
        for row in range(6):
            spans = [
                (float(logits[row, s, 0] + logits[row, e, 1]), s, e)
                for s in range(length)
                for e in range(s, min(s + MAX_ANSWER_TOKENS, length))
                if inside[row, s] and inside[row, e]
            ]
            if spans:
                assert (scores[row].item(), first[row].item(), last[row].item()) == max(spans)


def test_training_may_point_at_the_first_token_and_at_the_context_only() -> None:
    rows = Qa().encode(tokenizer_of("unigram"), CARD, [_example(LINES[0], "Vienna")], max_tokens=128, training=True)
    batch = collate(rows, np.array([0]))
    logits = torch.zeros(*batch["input_ids"].shape, 2)
    choices = int(batch["inside"].sum()) + 1
    assert (Qa().loss(logits, batch) / Qa().weight(batch)).item() == pytest.approx(np.log(choices), rel=1e-5)
    logits[0, 1] = 100  # the question's first token: not a choice, so it takes nothing away
    assert (Qa().loss(logits, batch) / Qa().weight(batch)).item() == pytest.approx(np.log(choices), rel=1e-5)


def test_a_context_without_text_is_answered_by_nothing() -> None:
    example = examples_of([({"context": "", "question": "Who?"}, {"text": ("Anna",), "start": (0,)})])
    rows = Qa().encode(tokenizer_of("unigram"), CARD, example, max_tokens=64, training=False)
    batch = collate(rows, np.arange(len(rows.lengths)))
    answers = Qa().predict(torch.zeros(*batch["input_ids"].shape, 2), batch)
    assert Qa().units(CARD, example, rows, answers).tolist() == [[0, 0]]


def test_the_best_scoring_window_answers() -> None:
    example = _example(" ".join(LINES[:4]), "Lisbon")
    rows = Qa().encode(tokenizer_of("wordpiece"), CARD, [example], max_tokens=32, training=True)
    perfect = _perfect_answers(rows)
    assert Qa().units(CARD, [example], rows, perfect).tolist() == [[1, 1]]
    wrong = int(np.argmin([answer[0] for answer in perfect]))
    inside = np.flatnonzero(rows.columns["inside"][0][rows.starts[wrong] : rows.starts[wrong + 1]])
    perfect[wrong] = np.array([2.0, inside[0], inside[0]])
    assert Qa().units(CARD, [example], rows, perfect)[0, 0] == 0


@pytest.mark.realdata
@pytest.mark.parametrize("language", ["th", "zh", "ar"])
def test_real_answers_come_back(language: str, shared: Path) -> None:
    import pyarrow.parquet as pq

    (path,) = (shared / "hub/google/xquad" / f"xquad.{language}").glob("*.parquet")
    table = pq.read_table(path).slice(0, 200).to_pylist()
    examples = [
        Example(
            id=row["id"],
            group=row["context"],
            inputs={"context": row["context"], "question": row["question"]},
            target={"text": tuple(row["answers"]["text"]), "start": tuple(row["answers"]["answer_start"])},
        )
        for row in table
    ]
    # byte-level, for it has no unknown characters: a run of those is one token, and answers inside it are lost
    rows = Qa().encode(tokenizer_of("byte-level"), CARD, examples, max_tokens=512, training=True)
    assert rows.counts["answer_not_at_offset"] == 0
    units = Qa().units(CARD, examples, rows, _perfect_answers(rows))
    assert units[:, 0].mean() > 0.9


def _decoded(example: Example, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> str:
    """The text that `units` compares with the gold answers."""
    seen: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(squad, "exact", lambda text, golds: seen.append(text) or 0.0)
        Qa().units(CARD, [example], rows, _perfect_answers(rows))
    return seen[0]
