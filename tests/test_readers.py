"""Rows say what their data set's own rules say: tags in any scheme, labels by name, number or map, answers or none."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from test_data import card_of

from unibench.labels import PREFIXES, iob2, resolve
from unibench.lines import RowError
from unibench.readers import reader

TYPES = ("PER", "LOC", "ORG")


def spans(draw: random.Random, tokens: int) -> list[tuple[str, int, int]]:
    """Returns (type, first, last) of entities that do not overlap; half of them touch the one before."""
    found, at = [], draw.randrange(2)
    while at < tokens:
        last = min(at + draw.choice((0, 0, 1, 2)), tokens - 1)
        found.append((draw.choice(TYPES), at, last))
        at = last + 1 + draw.choice((0, 0, 1, 2))
    return found


def written(entities: list[tuple[str, int, int]], tokens: int, scheme: str) -> list[str]:
    """The entities as the scheme's definition writes them."""
    tags = ["O"] * tokens
    for number, (kind, first, last) in enumerate(entities):
        before = entities[number - 1] if number else ("", -9, -9)
        touches = before[0] == kind and before[2] == first - 1
        letters = {
            "iob2": "B" + "I" * (last - first),
            "iob1": ("B" if touches else "I") + "I" * (last - first),
            "iobes": "S" if first == last else "B" + "I" * (last - first - 1) + "E",
            "bilou": "U" if first == last else "B" + "I" * (last - first - 1) + "L",
        }[scheme]
        for token, letter in enumerate(letters, start=first):
            tags[token] = f"{letter}-{kind}"
    return tags


@pytest.mark.parametrize(
    ("name", "option"), [("iob2", "iob2"), ("iob1", "iob1"), ("iobes", "bioes"), ("bilou", "bioes")]
)
def test_schemes_hold_the_entities_that_seqeval_finds(name: str, option: str) -> None:
    from seqeval import scheme as seqeval_schemes

    oracle = {"iob2": "IOB2", "iob1": "IOB1", "iobes": "IOBES", "bilou": "BILOU"}[name]
    draw = random.Random(name)
    compared = 0
    for _ in range(3000):
        tokens = draw.randint(1, 12)
        entities = spans(draw, tokens)
        tags = written(entities, tokens, name)
        clean, repaired = iob2(tags, option)
        assert not repaired, f"{tags} keeps to {name}"
        assert clean == written(entities, tokens, "iob2")
        found, expected = (
            {e.to_tuple() for e in seqeval_schemes.Tokens(t, getattr(seqeval_schemes, s)).entities}
            for t, s in ((clean, "IOB2"), (tags, oracle))
        )
        assert found == expected == {(None, kind, first, last + 1) for kind, first, last in entities}
        compared += len(found)
    assert compared > 5000


def test_any_sequence_becomes_valid_iob2_and_iob2_itself_scores_as_it_did() -> None:
    from seqeval.metrics.sequence_labeling import get_entities

    draw = random.Random(0)
    for scheme, letters in PREFIXES.items():
        for _ in range(2000):
            tags = [
                draw.choice(["O", *(f"{letter}-{kind}" for letter in letters for kind in TYPES[:2])])
                for _ in range(draw.randint(1, 8))
            ]
            clean, _ = iob2(tags, scheme)
            assert iob2(clean, "iob2") == (clean, False), f"{tags} in {scheme}"
            assert [tag == "O" for tag in clean] == [tag == "O" for tag in tags]
            assert [tag[2:] for tag in clean] == [tag[2:] for tag in tags]
            if scheme == "iob2":
                assert get_entities(clean) == get_entities(tags), "seqeval's default mode"


@pytest.mark.parametrize(
    ("scheme", "tags", "expected", "repaired"),
    [
        ("iob1", "I-X I-X B-X I-Y", "B-X I-X B-X B-Y", False),
        ("iob1", "B-X I-X", "B-X I-X", True),
        ("iob1", "I-X B-Y", "B-X B-Y", True),
        ("bioes", "E-X I-X E-X", "B-X B-X I-X", True),
        ("bioes", "B-X I-X O S-Y", "B-X I-X O B-Y", True),
        ("bioes", "B-X", "B-X", True),
        ("bioes", "S-X I-X", "B-X B-X", True),
        ("bioes", "B-X L-X U-X", "B-X I-X B-X", False),
        ("bioes", "B-X E-Y", "B-X B-Y", True),
        ("iob2", "O I-X I-Y", "O B-X B-Y", True),
    ],
)
def test_repairs(scheme: str, tags: str, expected: str, repaired: bool) -> None:
    assert iob2(tags.split(), scheme) == (expected.split(), repaired)


def read(card: Any, *row: Any, names: tuple[str, ...] = ()) -> tuple[Any, Counter[str]]:
    notes: Counter[str] = Counter()
    found = reader(card, names or card.labels)(row, notes)
    return None if found is None else found[1], +notes


def test_types_are_mapped_after_entities_are_told_apart() -> None:
    labels = ("O", "B-ENT", "I-ENT")
    card = card_of("ner", labels=labels, options={"scheme": "iob1"}, label_map={"X": "ENT", "Y": "ENT", "DATE": "O"})
    tags = ["I-X", "I-Y", "I-Y", "B-DATE", "I-DATE", "I-ENT"]
    target, notes = read(card, list("abcdef"), tags)
    assert target == ("B-ENT", "B-ENT", "I-ENT", "O", "O", "B-ENT")
    assert notes == {"iob_repaired": 1}, "B-DATE separates nothing"
    numbers = ("O", "I-X", "B-X", "I-DATE")
    assert read(card, list("abcd"), [1, 2, "3", 0], names=numbers)[0] == ("B-ENT", "B-ENT", "O", "O")
    with pytest.raises(RowError, match="tag is 'I-Z', expected O, or B- I- and one of ENT; add it to") as caught:
        read(card, ["a", "b"], ["O", "I-Z"])
    assert caught.value.item == 1
    begin_only = card_of("ner", labels=("O", "B-X"))
    with pytest.raises(RowError, match="tag is 'I-X'"):
        read(begin_only, ["a", "b"], ["B-X", "I-X"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("yes", 0), (" no ", 1), (1, 1), ("1", 1), ("0", 0), ("y", 0), ("neutral", 1),
        (-1, None), ("-1", None), ("-", None),
    ],
)  # fmt: skip
def test_nli_labels_by_name_number_and_map(value: Any, expected: int | None) -> None:
    card = card_of("nli", label_map={"y": "yes", "neutral": "no"})
    assert read(card, "p", "h", value)[0] == expected


@pytest.mark.parametrize("value", ["", "maybe", "2", 2, -2, "-2", "1.0", True, None, "Yes", "٣", ["yes"]])
def test_nli_labels_that_are_none(value: Any) -> None:
    with pytest.raises(RowError, match=r"label is .*, expected 0 to 1 \(yes, no\)"):
        read(card_of("nli", label_map={"y": "yes"}), "p", "h", value)


def test_numbers_stand_for_the_sources_own_labels() -> None:
    """Three classes read as two, in an order of the data's own; a name that is a digit is a name."""
    card = card_of("nli", labels=("entailment", "other"), label_map={"neutral": "other", "contradiction": "other"})
    names = ("contradiction", "entailment", "neutral")
    assert [read(card, "p", "h", label, names=names)[0] for label in (0, 1, 2, "0", "neutral")] == [1, 0, 1, 1, 1]
    digits = card_of("nli", labels=("1", "0"))
    assert [read(digits, "p", "h", label)[0] for label in ("1", "0", 1, 0)] == [0, 1, 1, 0]
    named = card_of("nli", label_map={"0": "no", "1": "yes", "-1": "no"})
    assert [read(named, "p", "h", label)[0] for label in ("0", 0, "1", 1, "-1")] == [1, 1, 0, 0, 1]


def test_resolve_names_no_label_that_the_card_lacks() -> None:
    labels = ("O", "B-PER", "I-PER")
    for name, expected in (
        ("S-PER", "B-PER"),
        ("O", "O"),
        ("E-DATE", "O"),
        ("B-LOC", None),
        ("PER", None),
        ("X", None),
    ):
        assert resolve(name, "ner", labels, {"DATE": "O"}) == expected
    assert resolve("ja", "nli", ("yes", "no"), {"ja": "yes"}) == "yes"
    assert resolve("ja", "nli", ("yes", "no"), {}) is None


def test_a_question_without_answers() -> None:
    none: dict[str, list[Any]] = {"text": [], "answer_start": []}
    answerable, not_always = card_of("qa"), card_of("qa", options={"unanswerable": True})
    assert read(answerable, "c", "q", none) == (None, {})
    assert read(not_always, "c", "q", none) == ({"text": (), "start": ()}, {"unanswerable": 1})
    assert read(not_always, "c", "q", []) == ({"text": (), "start": ()}, {"unanswerable": 1})
    assert read(not_always, "c", "q", {"text": [""], "answer_start": [0]}) == (None, {}), "withheld, not absent"
    pairs = [{"text": "c", "answer_start": 0, "answer_end": 1}]
    assert read(answerable, "c", "q", pairs)[0] == {"text": ("c",), "start": (0,)}


def test_answers_in_thai_with_a_mark_before_the_context() -> None:
    text = "แมวอยู่บนเสื่อ"
    for mark in ("", "\ufeff"):
        context = f"{mark}{text}"
        at = context.index("เสื่อ")
        for stated in (at, at - 1, at + 1):
            target, notes = read(card_of("qa"), context, "q", {"text": ["เสื่อ"], "answer_start": [stated]})
            assert target == {"text": ("เสื่อ",), "start": (at,)}
            assert notes == ({} if stated == at else {"answer_moved": 1})


def test_a_refused_row_counts_nothing_but_itself() -> None:
    notes: Counter[str] = Counter()
    answers = {"text": ["elsewhere", "c"], "answer_start": [0, None]}
    with pytest.raises(RowError, match="answer_start is None"):
        reader(card_of("qa"), ())(("c", "q", answers), notes)
    assert not +notes


@pytest.mark.parametrize(("score", "expected"), [("3.5", 0.7), (" 5 ", 1.0), ("0", 0.0), ("1e0", 0.2), (2, 0.4)])
def test_scores_as_text(score: Any, expected: float) -> None:
    assert read(card_of("sts"), "a", "b", score)[0] == pytest.approx(expected)


@pytest.mark.parametrize("score", ["3,5", "", "nan", "inf", "-1", "1_0", "5.1", True, None, "three"])
def test_scores_that_are_none(score: Any) -> None:
    with pytest.raises(RowError, match="expected a number from 0 to 5"):
        read(card_of("sts"), "a", "b", score)
