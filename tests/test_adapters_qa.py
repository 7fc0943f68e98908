"""QA: answers survive tokenizing in every script, windows teach what they hold, and nothing may be the answer.

How spans are chosen: test_adapters_nbest.py; how answers are compared: test_oracles.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_encoders import KINDS, LINES, card_of, examples_of, tokenizer_of

from unibench import metrics
from unibench.adapters.qa import Qa
from unibench.adapters.rows import Rows, collate
from unibench.data import Example
from unibench.errors import DataError

CARD = card_of("qa", "token_f1")
MAY_BE_EMPTY = card_of("qa", "token_f1", unanswerable=True)
NOTHING: dict[str, tuple[Any, ...]] = {"text": (), "start": ()}


def _example(context: str, answer: str, question: str = "What is it?") -> Example:
    target = {"text": (answer,), "start": (context.index(answer),)}
    return examples_of([({"context": context, "question": question}, target)])[0]


def _said(score: float, first: int, last: int, null: float = 0.0) -> NDArray[np.float64]:
    """What `predict` returns for a row that knows one span."""
    return np.array([[null, 0, 0], [score, first, last]])


def _perfect_answers(rows: Rows) -> list[NDArray[np.float64]]:
    """What `predict` would return if the head had learnt every row: windows without the answer score below."""
    return [_said(0.0 if first == 0 else 1.0, first, last) for first, last in rows.per_row["answer"].tolist()]


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
def test_answers_come_back_from_their_tokens(kind: str, max_tokens: int) -> None:
    tokenizer = tokenizer_of(kind, LINES)
    exact_count = 0
    for context, answer in CASES:
        # in small windows the answer stands in the third of many
        example = _example(context if max_tokens > 40 else " ".join([*LINES[:3], context, LINES[8]]), answer)
        rows = Qa().encode(tokenizer, CARD, [example], max_tokens=max_tokens, training=True)
        if not rows.per_row["answer"].any():
            assert max_tokens == 40  # longer than a window's share of the context, in bytes
            continue
        (output,) = Qa().outputs(CARD, [example], rows, _perfect_answers(rows))
        found = output["answer"]
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
    assert rows.counts["answer_not_at_offset"] == 1
    both = Example(id="2", group="2", inputs=good.inputs, target={"text": ("Wien", "Vienna"), "start": (-1, 31)})
    rows = Qa().encode(tokenizer_of("unigram"), CARD, [both], max_tokens=128, training=True)
    assert rows.counts["answer_not_at_offset"] == 0  # one of its answers stands where it is said to
    assert rows.per_row["answer"].any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_question_longer_than_the_row_leaves_room_for_the_context(kind: str) -> None:
    example = _example(LINES[0], "Vienna", question=" ".join(LINES))
    rows = Qa().encode(tokenizer_of(kind), CARD, [example], max_tokens=48, training=True)
    assert rows.counts["questions_cut"] == 1
    assert rows.lengths.max() <= 48
    assert rows.per_row["answer"].any()


def _asked(count: int) -> tuple[list[Example], Rows]:
    """Questions of one short context; every second has no answer."""
    target = {"text": ("Lisbon",), "start": (LINES[1].index("Lisbon"),)}
    inputs = {"context": LINES[1], "question": "Where?"}
    examples = examples_of([(inputs, NOTHING if i % 2 else target) for i in range(count)])
    return examples, Qa().encode(tokenizer_of("unigram"), MAY_BE_EMPTY, examples, max_tokens=96, training=True)


def test_every_window_of_a_question_without_an_answer_points_at_the_first_token() -> None:
    examples = examples_of([({"context": " ".join(LINES[:5]), "question": "Where?"}, NOTHING)])
    rows = Qa().encode(tokenizer_of("unigram"), MAY_BE_EMPTY, examples, max_tokens=64, training=True)
    assert len(rows.lengths) > 1
    assert not rows.per_row["answer"].any()
    assert rows.counts["windows_without_answer"] == len(rows.lengths)
    assert rows.counts["answer_not_at_offset"] == 0
    with pytest.raises(DataError, match=r"'0000' of task 'toy_qa' has no answer.*set unanswerable = true"):
        Qa().encode(tokenizer_of("unigram"), CARD, examples, max_tokens=64, training=False)


def test_nothing_is_the_answer_where_the_null_score_exceeds_the_best_span_by_more_than_the_threshold() -> None:
    examples, rows = _asked(4)
    span = rows.per_row["answer"][0].tolist()
    assert span != [0, 0]
    answers = [_said(1.0, *span, null=null) for null in (0.0, 1.5, 1.5, 0.0)]  # by 0.5 or not at all
    units = Qa().units(MAY_BE_EMPTY, examples, rows, answers)
    assert units.tolist() == [[1, 1, 1], [1, 1, 0], [0, 0, 1], [0, 0, 0]]
    units = Qa().units(MAY_BE_EMPTY, examples, rows, answers, threshold=0.5)
    assert units.tolist() == [[1, 1, 1], [0, 0, 0], [1, 1, 1], [0, 0, 0]]
    said = [output["answer"] for output in Qa().outputs(MAY_BE_EMPTY, examples, rows, answers)]
    assert said == ["Lisbon", "", "", "Lisbon"]
    scores = metrics.scores(Qa().unit_names(MAY_BE_EMPTY), units)
    assert scores["token_f1:answerable"] == 1
    assert scores["token_f1:unanswerable"] == 0
    # a card whose questions all have answers gives one, whatever the null score
    assert Qa().unit_names(CARD) == ("exact", "f1")
    assert Qa().units(CARD, examples[:1], rows, answers[1:2]).tolist() == [[1, 1]]


def test_the_threshold_of_dev_gives_the_best_f1_of_all_thresholds() -> None:
    examples, rows = _asked(40)
    generator = np.random.default_rng(0)
    right = rows.per_row["answer"][0].tolist()
    wider = [right[0] - 1, right[1]]
    for _ in range(20):
        answers = [
            _said(0.0, *(right if generator.random() < 0.6 else wider), null=float(generator.normal(i % 2)))
            for i in range(40)
        ]

        def f1(threshold: float, answers: Sequence[NDArray[np.float64]] = answers) -> float:
            units = Qa().units(MAY_BE_EMPTY, examples, rows, answers, threshold=threshold)
            return metrics.score("token_f1", units, Qa().unit_names(MAY_BE_EMPTY))

        found = Qa().calibrate(MAY_BE_EMPTY, examples, rows, answers)
        assert found is not None
        assert f1(found) == pytest.approx(max(f1(float(t)) for t in [-100, *(answer[0, 0] for answer in answers)]))
        assert f1(found) > f1(100.0)
    assert Qa().calibrate(CARD, examples[:1], rows, answers[:1]) is None
    assert Qa().calibrate(MAY_BE_EMPTY, [], rows, []) is None


def test_a_language_decides_how_answers_are_compared_where_the_card_says_so() -> None:
    card = card_of("qa", "token_f1", normalisation="mlqa")
    example = _example(LINES[6], "北京大学")
    rows = Qa().encode(tokenizer_of("unigram", LINES), card, [example], max_tokens=96, training=True)
    inside = np.flatnonzero(rows.columns["inside"][0])
    begin = rows.aside["begin"][inside]
    at = inside[begin < len("北京大学在北京")]
    answers = [_said(1.0, at[0], at[-1])]
    (output,) = Qa().outputs(card, [example], rows, answers)
    assert output["answer"] != "北京大学"
    assert output["answer"].startswith("北京大学")
    f1 = {
        language: Qa().units(card, [example], rows, answers, language=language)[0, 1] for language in ("zh", "", "ja")
    }
    assert f1["zh"] == pytest.approx(2 * 4 / (4 + len(output["answer"])))
    assert f1[""] == f1["ja"] == 0
    assert Qa().units(CARD, [example], rows, answers, language="zh")[0, 1] == 0


def test_a_question_without_gold_may_be_read_but_not_trained_on() -> None:
    example = examples_of([({"context": LINES[0], "question": "Which?"}, None)])
    rows = Qa().encode(tokenizer_of("unigram"), CARD, example, max_tokens=96, training=False)
    assert rows.counts["answer_not_at_offset"] == 0


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
    perfect[wrong] = _said(2.0, inside[0], inside[0])
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
