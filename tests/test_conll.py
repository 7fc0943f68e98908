"""Column files become tokens and tags; what is wrong with them is named by its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_files import HUB, NER, Write, error_of, scored, writer

from unibench.data import load


@pytest.fixture
def card(tmp_path: Path) -> Write:
    return writer(tmp_path / "mine")


def test_columns_of_iob1_tags(card: Write) -> None:
    text = (
        "\ufeff-DOCSTART- -X- O\n\n"
        "Ada NE I-PER\nLovelace NE I-PER\nund K O\nBabbage NE I-PER\r\n\n"
        " \t \n"
        "Paris  NE\tI-LOC\nBerlin NE B-LOC\n1843 NUM I-DATE\nsah\u00a0er V O"
    )
    mine = card(NER, {"test.txt": text, "train.txt": "\n\n".join([text[1:]] * 20)})
    found = scored(mine)
    assert [e.inputs["tokens"] for e in found.examples] == [
        ("Ada", "Lovelace", "und", "Babbage"),
        ("Paris", "Berlin", "1843", "sah\u00a0er"),
    ]
    assert [e.target for e in found.examples] == [("B-PER", "I-PER", "O", "B-PER"), ("B-LOC", "B-LOC", "O", "O")]
    assert found.notes == {}, "tags that keep to their scheme are not repaired"
    assert [e.id for e in found.examples] == ["0000001", "0000002"]
    assert load(mine, "train", ["de"], HUB).examples[0].id.startswith("train0.de.")


def test_comments_stand_before_sentences_and_separators_are_literal(card: Write) -> None:
    options = 'format = { columns = ["word", "tag"], separator = "tab", comment = "#" }'
    text = "# id 1\n# text\n#\tO\n\n# id 2\n  \tO\nNew York\tI-LOC\n# \tO\n"
    mine = card(NER.replace('format = { columns = ["word", "_", "tag"] }', options), {"test.txt": text})
    # what has every field is a token, whatever it begins with
    assert [e.inputs["tokens"] for e in scored(mine).examples] == [("#",), ("  ", "New York", "# ")]
    piped = options.replace('"tab"', '"|"').replace(', comment = "#"', "")
    mine = card(NER.replace('format = { columns = ["word", "_", "tag"] }', piped), {"test.txt": "a b|O\nc|B-PER\n"})
    assert scored(mine).examples[0].inputs["tokens"] == ("a b", "c")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a x O\nb x\n\nc x O\n", "test.txt:2: 2 fields, expected 3 (word _ tag)"),
        ("a x O\n\n\nb x O\nc x I-ORG\n", "test.txt:5: tag is 'I-ORG', expected O, or B- I- and one of PER, LOC"),
        ("a x O\nb x S-PER\n", "test.txt:2: tag is 'S-PER', expected O, or B- I- and one of PER, LOC (scheme iob1)"),
        ("a x O\nb x PER\n", "test.txt:2: tag is 'PER'"),
        ("a x O\nb x 5\n", "test.txt:2: tag is '5', expected 0 to 4 (O, B-PER"),
    ],
)
def test_a_wrong_line_is_named(card: Write, text: str, expected: str) -> None:
    message = error_of(card(NER, {"test.txt": text}))
    assert expected in message
    assert message.endswith("; correct the line or the card mine")
    assert message.startswith(str(card(NER, {}).folder))


def test_malformed_rows_are_passed_over_and_counted_if_the_card_says_so(card: Write) -> None:
    text = "a x O\n\nb x\nc x O\n\nd x I-ORG\n\ne x I-PER\n"
    mine = card(NER + 'on_error = "skip"\n', {"test.txt": text})
    found = scored(mine)
    assert [e.id for e in found.examples] == ["0000001", "0000004"], "the others keep their numbers"
    assert found.notes == {"malformed": 2}
    message = error_of(card(NER + 'on_error = "skip"\n', {"test.txt": "a x\n\nb x Q\n"}))
    assert "every row is malformed; the first: " in message
    assert "test.txt:1: 2 fields" in message


def test_documents_begin_where_the_token_says_so_in_any_column(card: Write) -> None:
    options = 'format = { columns = ["tag", "_", "word"], separator = "tab" }'
    text = "O\tx\t-DOCSTART-\n\nO\tx\ta\nO\tx\t-DOCSTART-s\n\n-DOCSTART-\n\nO\tx\tb\n"
    own = NER.replace('format = { columns = ["word", "_", "tag"] }', options)
    mine = card(own, {"test.txt": text})
    assert [e.inputs["tokens"] for e in scored(mine).examples] == [("a", "-DOCSTART-s"), ("b",)]
    # the line of the CoNLL-2003 files, in a file that is separated otherwise
    assert len(scored(card(own, {"test.txt": "-DOCSTART- -X- O O\n" + text})).examples) == 2
