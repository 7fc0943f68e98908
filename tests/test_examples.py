"""A source may name columns and labels in its own way, and a malformed row moves no other row's id or group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from own_files import NLI, QA, Write, error_of, scored, writer
from test_data import card_of, ids, mirror, nli, qa

from unibench.cards import Source
from unibench.data import load
from unibench.errors import DataError

WriteMirror = Callable[..., Path]


@pytest.fixture
def card(tmp_path: Path) -> Write:
    return writer(tmp_path / "mine")


def test_a_malformed_row_is_passed_over_and_counted(write_mirror: WriteMirror) -> None:
    rows = [nli(0), nli(9), nli(-1), nli(1), nli(1, None)]
    here = mirror(write_mirror("o/tiny", {"en/test": rows, "sw/test": [nli(i % 2) for i in range(5)]}))
    mine = card_of("nli", group="rows:2", parallel=True, on_error="skip")
    found = load(mine, "eval", ["en"], here)
    assert ids(found) == ["0000001", "0000004"]
    assert found.notes == {"malformed": 2, "unlabelled": 1}
    for limit in (1, 3, 5):
        groups = [
            {e.group for e in load(mine, "eval", [language], here, limit=limit).examples} for language in ("en", "sw")
        ]
        assert groups[0] <= groups[1], "translations draw the same groups"
    with pytest.raises(DataError, match="row 2: label is 9, expected 0 to 1"):
        load(replace(mine, on_error="stop"), "eval", ["en"], here)
    here = mirror(write_mirror("o/tiny", {"en/test": [nli(8), nli(9)]}))
    with pytest.raises(DataError, match=r"every row is malformed; the first: .* row 1: label is 8"):
        load(mine, "eval", ["en"], here)
    here = mirror(write_mirror("o/tiny", {"en/test": [{"p": "a", "hypo": "b", "y": 0}]}))
    with pytest.raises(DataError, match="has no column 'h'"):
        load(mine, "eval", ["en"], here)


def test_an_unreadable_row_does_not_renumber_the_groups_of_translations(card: Write) -> None:
    """Groups are counted as they appear; one that nobody can read would shift those after it in one language only."""
    text = QA.replace('reader = "squad"', 'reader = "jsonl"').replace("test.json", "test.jsonl")
    text += 'on_error = "skip"\nparallel = true\n'
    good = '{"context": "c", "question": "q", "answers": {"text": ["c"], "answer_start": [0]}}\n'
    assert "test.jsonl:2: it is not JSON" in error_of(card(text, {"test.jsonl": good + "{\n" + good}))
    alone = text.replace("parallel = true\n", "")
    assert scored(card(alone, {"test.jsonl": good + "{\n" + good})).notes == {"malformed": 1}


def test_a_source_has_columns_and_labels_of_its_own(write_mirror: WriteMirror) -> None:
    rows: list[dict[str, Any]] = [{"p": "a", "hyp": "b", "gold": 2}, {"p": "a", "hyp": "c", "gold": 0}]
    here = mirror(write_mirror("o/three", {"en/train": rows * 10}))
    source = Source(
        hub="o/three", config="{lang}", split="train", columns={"hypothesis": "hyp", "label": "gold"},
        labels=("contradiction", "entailment", "neutral"),
    )  # fmt: skip
    names = {"entailment": "yes", "neutral": "no", "contradiction": "no"}
    mine = card_of("nli", train=(source,), label_map=names | {"neutral": "yes"}, group="column:h")
    found = [*load(mine, "train", ["en"], here).examples, *load(mine, "dev", ["en"], here).examples]
    assert {(e.inputs["hypothesis"], e.target) for e in found} == {("b", 0), ("c", 1)}
    assert {e.group for e in found} == {"train0.en.g000001", "train0.en.g000002"}, (
        "the group goes by this source's name"
    )


def test_names_in_the_data_are_mapped(write_mirror: WriteMirror) -> None:
    from datasets import ClassLabel, Dataset, Features, List, Value

    root = write_mirror("o/tiny", {"en/test": [nli()]})
    path = root / "o/tiny/en/test-00000-of-00001.parquet"
    labels = ClassLabel(names=["Contradiction", "entailment", "neutral"])
    features = Features({"p": Value("string"), "h": Value("string"), "y": labels})
    Dataset.from_list([nli(0), nli(1), nli(2)], features=features).to_parquet(path)
    two = {"entailment": "yes", "neutral": "no", "contradiction": "no"}
    found = load(card_of("nli", label_map=two), "eval", ["en"], mirror(root)).examples
    assert [e.target for e in found] == [1, 0, 1]
    with pytest.raises(DataError, match="names its labels Contradiction, entailment, neutral; the card tiny says"):
        load(card_of("nli", label_map={"entailment": "yes", "neutral": "no"}), "eval", ["en"], mirror(root))

    tags = ClassLabel(names=["O", "B-X", "I-X", "E-X", "S-X", "S-DATE", "B-DATE", "E-DATE"])
    features = Features({"words": List(Value("string")), "tags": List(tags)})
    rows = [{"words": list("abcdefg"), "tags": [1, 2, 3, 4, 5, 6, 7]}, {"words": ["a"], "tags": [0]}]
    Dataset.from_list(rows, features=features).to_parquet(path)
    mine = card_of("ner", labels=("O", "B-X", "I-X"), options={"scheme": "bioes"}, label_map={"DATE": "O"})
    loaded = load(mine, "eval", ["en"], mirror(root))
    assert loaded.examples[0].target == ("B-X", "I-X", "I-X", "B-X", "O", "O", "O")
    assert loaded.notes == {}
    with pytest.raises(DataError, match="names its labels O, B-X"):
        load(replace(mine, label_map={}), "eval", ["en"], mirror(root))


def test_questions_without_answers_are_kept_where_the_card_says_so(write_mirror: WriteMirror) -> None:
    rows = [qa("c", [], []), qa("c", ["c"], [0]), qa("c", [""], [0])]
    here = mirror(write_mirror("o/tiny", {"en/test": rows}))
    found = load(card_of("qa", options={"unanswerable": True}), "eval", ["en"], here)
    assert ids(found) == ["0000001", "0000002"]
    assert found.examples[0].target == {"text": (), "start": ()}
    assert found.notes == {"unanswerable": 1, "unlabelled": 1}
    assert load(card_of("qa"), "eval", ["en"], here).notes == {"unlabelled": 2}


def test_rows_of_another_language_are_not_read(card: Write) -> None:
    text = NLI.replace('languages = ["en"]', 'languages = ["en", "sw"]')
    text = text.replace('language = "en"', 'prefix_column = "id", prefixes = { en = "e-", sw = "s-" }')
    lines = [
        '{"id": "e-1", "pair": {"p": "a", "h": "b"}, "gold": "no"}',
        '{"id": "s-1", "pair": {"p": "a", "h": "b"}, "gold": "wrong"}',
    ]
    mine = card(text, {"test.jsonl": "\n".join(lines)})
    assert ids(scored(mine, "en")) == ["0000001"]
    assert "test.jsonl:2: label is 'wrong'" in error_of(mine, "sw")
