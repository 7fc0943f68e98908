"""JSON files: one object a line, and the documents of SQuAD with their paragraphs and questions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unibench.lines import FileError, RowError, lines, text
from unibench.strict import StrictTable

_ID = re.compile(r'"id"\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9]+(?=[\s,}]))')


def no_options(table: StrictTable) -> dict[str, Any]:
    """Returns {}: these files say themselves how they are to be read, so a [format] may hold nothing."""
    for key in table.raw:
        raise table.error(key, "is not a known key; this reader takes no options")
    return {}


def json_lines(path: Path, options: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    """Yields the number of each line and its object; blank lines are no rows."""
    for number, line in lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, RowError(f"it is not JSON ({error})")
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            yield number, RowError(f"it is {type(row).__name__}, expected an object; write one object a line")


def squad(path: Path, options: Mapping[str, Any]) -> Iterator[tuple[int | str, dict[str, Any] | RowError]]:
    """Yields the line of each question and its id, title, context, question, answers and is_impossible.

    `answers` is {"text": [...], "answer_start": [...]}, as the Hub's copies of such data sets have it. Where version 2
    says that there is none, both lists are empty; where the key is missing from all questions, as in a test
    set that withholds its answers, an empty text stands for them; missing from some, it is a fault of theirs. Version
    1.1 and 2 differ in `is_impossible` alone (Rajpurkar et al. 2016, 2018); `plausible_answers` are none.
    """
    content = text(path)
    try:
        whole = json.loads(content)
    except json.JSONDecodeError as error:
        raise FileError(f"it is not JSON ({error.msg} at column {error.colno})", line=error.lineno) from None
    except ValueError as error:  # such as a number of thousands of digits
        raise FileError(f"it is not JSON ({error})") from None
    except RecursionError:
        raise FileError("it is nested too deep to be a SQuAD file") from None
    lines_of_ids: dict[Any, list[int]] = {}  # ids should be unique, and are not always
    if content.strip().count("\n"):  # of a file that is one line, the line says nothing
        for line, found in _lines_of_ids(content):
            lines_of_ids.setdefault(found, []).append(line)
    questions = list(_questions(whole))
    withheld = not any("answers" in question for *_, question in questions)
    for where, title, context, question in questions:
        id = question.get("id")
        known = lines_of_ids.get(id, []) if isinstance(id, str) else []
        yield known.pop(0) if known else f"{where} (id {id!r})", _row(id, title, context, question, withheld)


def _lines_of_ids(content: str) -> Iterator[tuple[int, Any]]:
    """Yields (line, value) of every key "id". Within a string its quotes would be escaped, so none is found there."""
    at, line = 0, 1
    for found in _ID.finditer(content):
        line += content.count("\n", at, found.start())
        at = found.start()
        yield line, json.loads(found[1])


def _questions(whole: Any) -> Iterator[tuple[str, Any, Any, dict[str, Any]]]:
    """Yields (where, title, context, question); raises FileError for what is not nested as it should be."""
    for d, document in enumerate(_list(whole, "data", "the file")):
        for p, paragraph in enumerate(_list(document, "paragraphs", f"data[{d}]")):
            place = f"data[{d}].paragraphs[{p}]"
            for q, question in enumerate(_list(paragraph, "qas", place)):
                if not isinstance(question, dict):
                    raise FileError(f"{place}.qas[{q}] is {type(question).__name__}, expected an object")
                yield f"{place}.qas[{q}]", document.get("title", ""), paragraph.get("context"), question


def _list(value: Any, key: str, place: str) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise FileError(f"{place} has no list {key!r}; expected SQuAD's data, paragraphs and qas")
    return found


def _row(id: Any, title: Any, context: Any, question: Mapping[str, Any], withheld: bool) -> dict[str, Any] | RowError:
    impossible = question.get("is_impossible", False)
    if "answers" not in question and not impossible and not withheld:
        return RowError("answers is missing; a question that has none says is_impossible or has an empty list")
    answers = question.get("answers", [] if impossible else [{"text": "", "answer_start": -1}])
    if not isinstance(answers, list) or not all(isinstance(a, dict) and "text" in a for a in answers):
        return RowError("answers is not a list of objects that have text and answer_start")
    if impossible and answers:
        return RowError("is_impossible is true, and there are answers")
    return {
        "id": id,
        "title": title,
        "context": context,
        "question": question.get("question"),
        "answers": {
            "text": [answer["text"] for answer in answers],
            "answer_start": [answer.get("answer_start") for answer in answers],
        },
        "is_impossible": impossible,
    }
