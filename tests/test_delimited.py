"""Tables become pairs and scores, quotes and all; what is wrong with them is named by its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_files import STS, Write, error_of, scored, writer


@pytest.fixture
def card(tmp_path: Path) -> Write:
    return writer(tmp_path / "mine")


def test_sentence_pairs_as_csv(card: Write) -> None:
    english = 'b,"a",gold,note\r\n"two, and ""three""",one,3.5,\r\n\r\n"x\u2028y\nz",w,5,n\r\n'
    mine = card(STS, {"pairs/en.csv": english, "pairs/swa.csv": "a,b,gold\nja,nein,2.5\n"})
    pairs = [(e.inputs["sentence1"], e.inputs["sentence2"], e.target) for e in scored(mine, "en").examples]
    assert pairs == [("one", 'two, and "three"', 0.7), ("w", "x\u2028y\nz", 1.0)]
    assert scored(mine, "sw").examples[0].target == 0.5, "sw is called swa here"
    headless = STS.replace(
        'reader = "csv"', 'reader = "tsv", format = { header = false, columns = ["_", "a", "b", "gold"] }'
    )
    mine = card(headless, {"pairs/en.csv": 'x\t"Quoted" word\tb\t 0.0 \n'})
    assert scored(mine, "en").examples[0].inputs["sentence1"] == '"Quoted" word', "tab-separated text has no quotes"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b,gold\nx,y,1\nx,y,much\n", "en.csv:3: score is 'much', expected a number from 0 to 5"),
        ("a,b,gold\nx,y,1\n\nx,y,5.01\n", "en.csv:4: score is '5.01'"),
        ("a,b,gold\nx,y,nan\n", "en.csv:2: score is 'nan'"),
        ("a,b,gold\nx,y,1_0\n", "en.csv:2: score is '1_0'"),
        ('a,b,gold\n"x\ny",z,1\nx,y\n', "en.csv:4: 2 fields, expected 3 (a, b, gold)"),
        ('a,b,gold\n"x"y,z,1\n', "en.csv:2: it is not a row ("),
        ('a,b,gold\nx,y,1\n"x,y,2\nx,y,3\n', "en.csv:3: a row that ends in line 4: it is not a row ("),
        ('a,b,gold\n"x,y,2\n"x,y,3\n', "en.csv:2: a row that ends in line 3"),
        ("a,b,b\n1,2,3\n", "en.csv:1: the header has the column 'b' twice"),
        ("a;b;gold\nx;y;1\n", 'card mine names; it has a;b;gold; say format = { separator = "semicolon" }?'),
        ("a\tb\tgold\nx\ty\t1\n", '; say format = { separator = "tab" }?'),
        ("a\nx\n", "en.csv has no column 'b', which the card mine names; it has a"),
        ("a,c,gold\nx,y,1\n", "en.csv has no column 'b', which the card mine names; it has a, c, gold"),
    ],
)
def test_a_wrong_row_of_a_table_is_named(card: Write, text: str, expected: str) -> None:
    assert expected in error_of(card(STS, {"pairs/en.csv": text}), "en")


def test_what_is_wrong_with_a_whole_file_is_never_passed_over(card: Write) -> None:
    """A stray quote would swallow good rows up to the next one, and count as one row."""
    skip = STS + 'on_error = "skip"\n'
    good = card(skip, {"pairs/en.csv": "a,b,gold\nx,y,1\nx,y\nx,y,2\n"})
    assert scored(good, "en").notes == {"malformed": 1}
    for text in ('a,b,gold\nx,y,1\n"x,y,2\nx,y,3\n', "a,c,gold\nx,y,1\n", "a,b,b\n1,2,3\n", b"a,b,gold\n\xff,y,1\n"):
        error_of(card(skip, {"pairs/en.csv": text}), "en")
