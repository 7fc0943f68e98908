"""JSON lines and SQuAD's files become examples; what is wrong with them is named by its line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from own_files import NLI, QA, Write, error_of, scored, writer

from unibench.errors import Unavailable


@pytest.fixture
def card(tmp_path: Path) -> Write:
    return writer(tmp_path / "mine")


def test_json_lines_with_nested_fields(card: Write) -> None:
    rows = [{"pair": {"p": "a", "h": "b"}, "gold": "no"}, {"pair.p": "dotted", "pair": {"h": "c"}, "gold": 0}]
    text = "\n\n".join(map(json.dumps, rows)) + "\n"
    found = scored(card(NLI, {"test.jsonl": text})).examples
    assert [(e.inputs["premise"], e.target) for e in found] == [("a", 1), ("dotted", 0)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"pair": {"p": "a", "h": "b"}, "gold": "maybe"}', "jsonl:3: label is 'maybe', expected 0 to 1 (yes, no)"),
        ('{"pair": {"p": "a"}, "gold": "no"}', "test.jsonl:3: no field 'pair.h', only pair, gold"),
        ('{"pair": "a", "gold": "no"}', "test.jsonl:3: no field 'pair.p'"),
        ('{"pair": {"p": 1, "h": "b"}, "gold": "no"}', "test.jsonl:3: premise is 1, expected text"),
        ('{"pair": {"p": "a"', "test.jsonl:3: it is not JSON ("),
        ("[1]", "test.jsonl:3: it is list, expected an object"),
    ],
)  # fmt: skip
def test_a_wrong_object_is_named(card: Write, line: str, expected: str) -> None:
    good = '{"pair": {"p": "a", "h": "b"}, "gold": "no"}'
    assert expected in error_of(card(NLI, {"test.jsonl": f"{good}\n\n{line}\n"}))
    skipped = card(NLI + 'on_error = "skip"\n', {"test.jsonl": f"{good}\n\n{line}\n{good}\n"})
    assert scored(skipped).notes == {"malformed": 1}
    assert [e.id for e in scored(skipped).examples] == ["0000001", "0000003"]
    assert "has no column 'pair.p'" in error_of(card(NLI, {"test.jsonl": '{"q": 1}\n{"q": 2}\n'}))


def squad_of(*paragraphs: tuple[str, list[dict[str, Any]]], version: str = "v2.0") -> dict[str, Any]:
    inner = [{"context": context, "qas": questions} for context, questions in paragraphs]
    return {"version": version, "data": [{"title": "t", "paragraphs": inner}]}


def asked(id: str, *answers: tuple[str, int], **more: Any) -> dict[str, Any]:
    return {"id": id, "question": f"{id}?", "answers": [{"text": t, "answer_start": s} for t, s in answers], **more}


def test_squad_in_thai(card: Write) -> None:
    """A mark at the start of a context counts in some copies' offsets and not in others'; both are understood."""
    context = "\ufeffกรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย"
    at = context.index("ประเทศไทย")
    content = squad_of(
        (
            context,
            [asked("ก", ("ประเทศไทย", at)), asked("ข", ("ประเทศไทย", at - 1), ("เมืองหลวง", context.index("เมือง")))],
        ),
        ("ไม่มี", [asked("ค", is_impossible=True, plausible_answers=[{"text": "ไม่", "answer_start": 0}])]),
    )
    for text in (json.dumps(content), json.dumps(content, ensure_ascii=False, indent=1)):
        mine = card(QA, {"test.json": "\ufeff" + text, "train-1.json.gz": gzip.compress(text.encode())})
        found = scored(mine)
        assert [e.target["start"] for e in found.examples] == [(at,), (at, context.index("เมือง")), ()]
        assert [e.target["text"] for e in found.examples][::2] == [("ประเทศไทย",), ()]
        assert found.examples[0].inputs == {"context": context, "question": "ก?"}
        assert found.notes == {"answer_moved": 1, "unanswerable": 1}
        assert [e.group for e in found.examples] == ["g000001", "g000001", "g000002"]
    answerable = card(QA.replace("unanswerable = true", ""), {"test.json": text})
    assert scored(answerable).notes == {"answer_moved": 1, "unlabelled": 1}, "else it is a question without a label"


def test_squad_without_its_answers_is_unavailable(card: Write) -> None:
    withheld = squad_of(("c", [{"id": "1", "question": "q"}, {"id": "2", "question": "q"}]))
    with pytest.raises(Unavailable, match="no row for th is labelled"):
        scored(card(QA, {"test.json": json.dumps(withheld)}))
    partly = squad_of(("c", [asked("1", ("c", 0)), {"id": "2", "question": "q"}]))
    assert "qas[1] (id '2'): answers is missing; a question that has none says" in error_of(
        card(QA, {"test.json": json.dumps(partly)})
    )
    nothing = squad_of(("c", [asked("1"), asked("2")]))
    with pytest.raises(Unavailable, match="no row for th is labelled"):
        scored(card(QA, {"test.json": json.dumps(nothing)}))


def test_a_wrong_question_is_named_by_its_line(card: Write) -> None:
    good = asked("1", ("c", 0))
    trap = asked('"id": "2"', ("c", 0))  # an id that looks like another's key and value
    for wrong, expected in (
        (asked("2", ("c", "0")), "answer_start is '0', expected a number"),  # type: ignore[arg-type]
        ({"id": "2", "answers": []}, "question is null, expected text"),
        (asked("2", ("c", 0), is_impossible=True), "is_impossible is true, and there are answers"),
        ({"id": "2", "question": "q", "answers": ["c"]}, "answers is not a list of objects"),
    ):
        text = json.dumps(squad_of(("c", [trap, good]), ("c", [wrong])), indent=2)
        line = next(n for n, line in enumerate(text.splitlines(), start=1) if line.strip() == '"id": "2",')
        assert f"test.json:{line}: {expected}" in error_of(card(QA, {"test.json": text}))
    nameless = {"question": "q", "answers": ["c"]}
    assert "test.json, data[0].paragraphs[0].qas[0] (id None): answers" in error_of(
        card(QA, {"test.json": json.dumps(squad_of(("c", [nameless])))})
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"data": [\n{"paragraphs": [}]}', "json:2: it is not JSON (Expecting value at column 17) (read as squad)"),
        ("[]", "test.json: the file has no list 'data'; expected SQuAD's data, paragraphs and qas"),
        ('{"data": [{"title": "t"}]}', "test.json: data[0] has no list 'paragraphs'"),
        ('{"data": [{"paragraphs": [{"context": "c"}]}]}', "test.json: data[0].paragraphs[0] has no list 'qas'"),
        ('{"data": [{"paragraphs": [{"qas": [1]}]}]}', "data[0].paragraphs[0].qas[0] is int, expected an object"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_squad(card: Write, text: str, expected: str) -> None:
    assert expected in error_of(card(QA + 'on_error = "skip"\n', {"test.json": text}))


@pytest.mark.parametrize("indent", [None, 1])
def test_a_question_is_named_where_a_line_says_nothing(card: Write, indent: int | None) -> None:
    questions = [{"id": f"q{i}", "question": "w?", "answers": [{"text": "a", "answer_start": 0}]} for i in range(3)]
    del questions[0]["id"]
    questions[2]["question"] = None
    whole = {"data": [{"paragraphs": [{"context": "a b", "qas": questions}]}]}
    message = error_of(card(QA, {"test.json": json.dumps(whole, indent=indent)}))
    place = "test.json:" if indent else "test.json, data[0].paragraphs[0].qas[2] (id 'q2'): "
    assert place in message
    assert "question is null" in message


def test_half_a_character_and_an_endless_number_are_named(card: Write) -> None:
    line = '{"pair": {"p": "a \\ud83d", "h": "b"}, "gold": "no"}\n'
    assert "test.jsonl:1: premise holds half a character" in error_of(card(NLI, {"test.jsonl": line}))
    assert "is not JSON" in error_of(card(QA, {"test.json": '{"data": ' + "9" * 5000 + "}"}))
