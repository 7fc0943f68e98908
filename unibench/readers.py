"""One row of a data set -> an example's inputs and target: one reader per task family.

A reader takes the row's values in the order of the family's columns. It returns None for a row without a label, counts
repairs in `notes`, and raises RowError for what no rule here covers: a test set must neither shrink nor change unseen.
Numbers may come as text, since text files hold nothing else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unibench import plugins
from unibench.cards import TaskCard
from unibench.labels import OUTSIDE, PREFIXES, iob2, resolve, type_of
from unibench.lines import RowError as RowError  # what plugins raise

ANSWER_WINDOW = 32  # characters around a stated answer_start in which a slipped answer is looked for
NO_GOLD = (-1, "-1", "-")  # how NLI data sets mark a pair whose annotators disagreed: the Hub's, and SNLI's own files

Reader = Callable[[Sequence[Any], "Counter[str]"], tuple[dict[str, Any], Any] | None]
Inputs = Callable[[Sequence[Any]], dict[str, Any]]  # of the same values, the label's not among them


def _nli_inputs(row: Sequence[Any]) -> dict[str, Any]:
    premise, hypothesis = row
    return {"premise": _text(premise, "premise"), "hypothesis": _text(hypothesis, "hypothesis")}


def _nli(card: TaskCard, names: tuple[str, ...]) -> Reader:
    spelt = dict.fromkeys([*card.label_map, *names, *card.labels])
    meanings = {name: found for name in spelt if (found := resolve(name, card.family, card.labels, card.label_map))}

    def read(row: Sequence[Any], notes: Counter[str]) -> tuple[dict[str, Any], Any] | None:
        *texts, label = row
        inputs = _nli_inputs(texts)
        if isinstance(label, str):
            label = label.strip()
        if label in NO_GOLD and str(label) not in meanings:
            return None
        name = label if isinstance(label, str) and label in meanings else _numbered(label, names, card.label_map)
        if name not in meanings:
            raise RowError(f"label is {_shown(label)}, expected 0 to {len(names) - 1} ({', '.join(names)})")
        return inputs, card.labels.index(meanings[name])

    return read


def _ner_inputs(row: Sequence[Any]) -> dict[str, Any]:
    (tokens,) = row
    if not isinstance(tokens, list):
        raise RowError(f"tokens is {tokens!r}, expected a list")
    if not tokens:
        raise RowError("0 tokens, expected at least one")
    return {"tokens": tuple(_text(token, "token") for token in tokens)}


def _ner(card: TaskCard, names: tuple[str, ...]) -> Reader:
    scheme = card.options.get("scheme", "iob2")
    types = dict.fromkeys(type_of(label) for label in card.labels if label != OUTSIDE)
    expected = f"O, or {'- '.join(PREFIXES[scheme])}- and one of {', '.join(types)}"

    def named(tag: Any, item: int) -> str:
        name = tag if isinstance(tag, str) and not tag.isdecimal() else _numbered(tag, names, {})
        if name is None:
            raise RowError(f"tag is {_shown(tag)}, expected 0 to {len(names) - 1} ({', '.join(names)})", item=item)
        if name != OUTSIDE and (name[:1] not in PREFIXES[scheme] or name[1:2] != "-"):
            raise RowError(f"tag is {name!r}, expected {expected} (scheme {scheme})", item=item)
        return name

    def mapped(tag: str, item: int, read_as: str) -> str:
        found = resolve(tag, card.family, card.labels, card.label_map)
        if found is not None and found != OUTSIDE:
            found = f"{read_as[0]}-{type_of(found)}"
        if found is None or found not in card.labels:
            raise RowError(f"tag is {tag!r}, expected {expected}; add it to labels or to label_map", item=item)
        return found

    def read(row: Sequence[Any], notes: Counter[str]) -> tuple[dict[str, Any], Any]:
        tokens, tags = row
        if not isinstance(tags, list):
            raise RowError(f"tags is {tags!r}, expected a list")
        # An empty sentence is refused, not dropped: a test set must not shrink unseen.
        if isinstance(tokens, list) and (not tokens or len(tokens) != len(tags)):
            raise RowError(f"{len(tokens)} tokens and {len(tags)} tags, expected as many of each and at least one")
        inputs = _ner_inputs([tokens])
        written = [named(tag, item) for item, tag in enumerate(tags)]
        # Types are mapped last: two that become one stay two entities where they meet.
        clean, repaired = iob2(written, scheme)
        pairs = enumerate(zip(written, clean, strict=True))
        target = tuple(mapped(tag, item, read_as) for item, (tag, read_as) in pairs)
        notes["iob_repaired"] += repaired
        return inputs, target

    return read


def _qa_inputs(row: Sequence[Any]) -> dict[str, Any]:
    context, question = row
    return {"context": _text(context, "context"), "question": _text(question, "question")}


def _qa(card: TaskCard, names: tuple[str, ...]) -> Reader:
    unanswerable = bool(card.options.get("unanswerable", False))

    def read(row: Sequence[Any], notes: Counter[str]) -> tuple[dict[str, Any], Any] | None:
        *asked, answers = row
        inputs = _qa_inputs(asked)
        given, stated = stated_answers(answers)
        if unanswerable and not given:
            notes["unanswerable"] += 1
            return inputs, {"text": (), "start": ()}
        # A test set whose answers are withheld carries an empty text in their place.
        kept = [(text, at) for text, at in zip(given, stated, strict=True) if _text(text, "answer").strip()]
        starts = [find_answer(inputs["context"], text, at) for text, at in kept]
        notes["answer_absent"] += starts.count(-1)
        notes["answer_moved"] += sum(start not in (-1, at) for start, (_, at) in zip(starts, kept, strict=True))
        return (inputs, {"text": tuple(text for text, _ in kept), "start": tuple(starts)}) if kept else None

    return read


def _sts_inputs(row: Sequence[Any]) -> dict[str, Any]:
    sentence1, sentence2 = row
    return {"sentence1": _text(sentence1, "sentence1"), "sentence2": _text(sentence2, "sentence2")}


def _sts(card: TaskCard, names: tuple[str, ...]) -> Reader:
    scale = float(card.options["scale"])

    def read(row: Sequence[Any], notes: Counter[str]) -> tuple[dict[str, Any], Any]:
        *sentences, score = row
        inputs = _sts_inputs(sentences)
        number = _number(score)
        if number is None or not 0 <= number <= scale:
            raise RowError(f"score is {score!r}, expected a number from 0 to {scale:g}")
        return inputs, number / scale

    return read


READERS: Mapping[str, Callable[[TaskCard, tuple[str, ...]], Reader]] = {
    "ner": _ner,
    "nli": _nli,
    "qa": _qa,
    "sts": _sts,
}
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # JSON may spell one alone
INPUTS: Mapping[str, Inputs] = {"ner": _ner_inputs, "nli": _nli_inputs, "qa": _qa_inputs, "sts": _sts_inputs}


def reader(card: TaskCard, names: tuple[str, ...]) -> Reader:
    """Returns what reads the card's rows; `names` are what numbers stand for in the data, before the card's map."""
    if card.family in READERS:
        return READERS[card.family](card, names)
    plugin = plugins.family(card.family)
    assert plugin is not None, "a card of an unknown family is refused when it is read"
    made: Reader = plugin.read(card, names)
    return made


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise RowError(f"{name} is {_shown(value)}, expected text")
    if not value.isascii() and (half := _SURROGATE.search(value)):
        raise RowError(f"{name} holds half a character ({half[0]!r}), which no file in UTF-8 can")
    return value


def _shown(value: Any) -> str:
    return "null" if value is None else repr(value)


def _numbered(value: Any, names: tuple[str, ...], label_map: Mapping[str, str]) -> str | None:
    """Returns the name that a number, as such or as text, stands for; None where the value is no such number."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    if str(value) in label_map:
        return str(value)
    if isinstance(value, str):
        if not (value.isascii() and value.isdecimal()):
            return None
        value = int(value)
    return names[value] if 0 <= value < len(names) else None


def _number(value: Any) -> float | None:
    if isinstance(value, str) and "_" not in value:  # Python reads 1_0 as 10, nobody else does
        try:
            return float(value)
        except ValueError:
            return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def stated_answers(answers: Any) -> tuple[list[Any], list[Any]]:
    """Returns texts and stated starts of {"text": [...], "answer_start": [...]}, or of a list of pairs of the two."""
    if isinstance(answers, list) and all(isinstance(a, dict) and {"text", "answer_start"} <= a.keys() for a in answers):
        answers = {key: [answer[key] for answer in answers] for key in ("text", "answer_start")}
    if not isinstance(answers, dict) or not all(isinstance(answers.get(k), list) for k in ("text", "answer_start")):
        raise RowError("answers is not a table of two lists, text and answer_start")
    texts, starts = answers["text"], answers["answer_start"]
    if len(texts) != len(starts):
        raise RowError(f"{len(texts)} answers and {len(starts)} starts, expected as many")
    return texts, starts


def find_answer(context: str, text: str, stated: Any) -> int:
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
