"""One row of a data set -> an example's inputs and target: one reader per task family.

A reader takes the row's values in the order of the family's columns. It returns None for a row without a label, counts
repairs in `notes`, and raises RowError for what no rule here covers: a test set must neither shrink nor change unseen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unibench.cards import TaskCard

ANSWER_WINDOW = 32  # characters around a stated answer_start in which a slipped answer is looked for
Reader = Callable[[Sequence[Any], "Counter[str]"], tuple[dict[str, Any], Any] | None]


class RowError(Exception):
    """What is wrong with one row, without where it stands."""


def _nli(card: TaskCard, names: tuple[str, ...]) -> Reader:
    index = {name: card.labels.index(name) for name in names}

    def read(row: Sequence[Any], notes: Counter[str]) -> tuple[dict[str, Any], Any] | None:
        premise, hypothesis, label = row
        inputs = {"premise": _text(premise, "premise"), "hypothesis": _text(hypothesis, "hypothesis")}
        if label == -1:  # how the Hub's NLI data sets mark a pair its annotators disagreed on
            return None
        return inputs, index[_label(label, names, "label")]

    return read


def _ner(card: TaskCard, names: tuple[str, ...]) -> Reader:
    def read(row: Sequence[Any], notes: Counter[str]) -> tuple[dict[str, Any], Any]:
        tokens, tags = row
        for name, value in (("tokens", tokens), ("tags", tags)):
            if not isinstance(value, list):
                raise RowError(f"{name} is {value!r}, expected a list")
        # An empty sentence is refused, not dropped: a test set must not shrink unseen.
        if not tokens or len(tokens) != len(tags):
            raise RowError(f"{len(tokens)} tokens and {len(tags)} tags, expected as many of each and at least one")
        tokens = tuple(_text(token, "token") for token in tokens)
        named = [_label(tag, names, "tag") for tag in tags]
        repaired = _iob2(named)
        notes["iob_repaired"] += repaired != named
        return {"tokens": tokens}, tuple(repaired)

    return read


def _qa(card: TaskCard, names: tuple[str, ...]) -> Reader:
    def read(row: Sequence[Any], notes: Counter[str]) -> tuple[dict[str, Any], Any] | None:
        context, question, answers = row
        inputs = {"context": _text(context, "context"), "question": _text(question, "question")}
        if not isinstance(answers, dict) or not all(isinstance(answers.get(k), list) for k in ("text", "answer_start")):
            raise RowError("answers is not a table of two lists, text and answer_start")
        if len(answers["text"]) != len(answers["answer_start"]):
            raise RowError(
                f"{len(answers['text'])} answers and {len(answers['answer_start'])} starts, expected as many"
            )
        texts, starts = [], []
        for text, stated in zip(answers["text"], answers["answer_start"], strict=True):
            # A test set whose answers are withheld carries an empty text in their place.
            if _text(text, "answer").strip() == "":
                continue
            start = _find_answer(context, text, stated)
            notes["answer_absent"] += start == -1
            notes["answer_moved"] += start not in (-1, stated)
            texts.append(text)
            starts.append(start)
        return (inputs, {"text": tuple(texts), "start": tuple(starts)}) if texts else None

    return read


def _sts(card: TaskCard, names: tuple[str, ...]) -> Reader:
    scale = float(card.options["scale"])

    def read(row: Sequence[Any], notes: Counter[str]) -> tuple[dict[str, Any], Any]:
        sentence1, sentence2, score = row
        inputs = {"sentence1": _text(sentence1, "sentence1"), "sentence2": _text(sentence2, "sentence2")}
        if not isinstance(score, int | float) or isinstance(score, bool) or not 0 <= score <= scale:
            raise RowError(f"score is {score!r}, expected a number from 0 to {scale:g}")
        return inputs, score / scale

    return read


READERS: Mapping[str, Callable[[TaskCard, tuple[str, ...]], Reader]] = {
    "ner": _ner,
    "nli": _nli,
    "qa": _qa,
    "sts": _sts,
}


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise RowError(f"{name} is {'null' if value is None else repr(value)}, expected text")
    return value


def _label(value: Any, names: tuple[str, ...], name: str) -> str:
    """Returns the label's name; files hold either its number or the name itself."""
    if isinstance(value, str) and value in names:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names):
        return names[value]
    shown = "null" if value is None else repr(value)
    raise RowError(f"{name} is {shown}, expected 0 to {len(names) - 1} ({', '.join(names)})")


def _iob2(tags: Sequence[str]) -> list[str]:
    """Returns the tags with every entity begun by B-: an I- after O or after another type begins one.

    That is how conlleval and seqeval's default mode read such tags, so scores do not depend on the repair.
    """
    repaired = []
    before = "O"
    for tag in tags:
        begins = tag.startswith("I-") and before[2:] != tag[2:]
        repaired.append(f"B-{tag[2:]}" if begins else tag)
        before = tag
    return repaired


def _find_answer(context: str, text: str, stated: Any) -> int:
    """Returns where the answer starts: as stated where that is true, else its nearest occurrence within `ANSWER_WINDOW`
    characters, else -1. Farther away it would be another mention of the same words.
    """
    if not isinstance(stated, int):
        raise RowError(f"answer_start is {stated!r}, expected a number")
    if stated >= 0 and context.startswith(text, stated):
        return stated
    low = max(0, stated - ANSWER_WINDOW)
    window = context[low : max(0, stated + ANSWER_WINDOW + len(text))]
    starts = [low + offset for offset in range(len(window)) if window.startswith(text, offset)]
    return min(starts, key=lambda start: abs(start - stated), default=-1)
