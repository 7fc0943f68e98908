"""The list of tasks says what the cards and the files here say, and fits a terminal of 100 columns."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from own_files import NER, writer
from tiny_runs import unibench

from unibench import task_listing
from unibench.cards import all_cards, card_folders, load_card
from unibench.data import Origin

Captured = pytest.CaptureFixture[str]


def rows(table: Any) -> dict[str, dict[str, Any]]:
    names = [column.name for column in table.columns]
    return {row[0]: dict(zip(names, row, strict=True)) for row in table.rows}


def test_every_card_is_listed_whole_and_fits_a_terminal(
    toys: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    cards = all_cards(card_folders(toys / "tasks"))
    for more in ([], ["--data", toys / "hub"], ["--data", "sample"]):
        assert unibench("tasks", "--tasks-dir", toys / "tasks", *more) == 0
        shown = capsys.readouterr().out
        assert [line for line in shown.split("\n") if len(line.rstrip()) > 100] == []
        lines = [line.split()[0] for line in shown.split("\n") if line.strip()]
        assert {card.name for card in cards if len(card.name) <= 18} <= set(lines), "no name is broken over two lines"
    assert unibench("tasks", "--tasks-dir", toys / "tasks", "--format", "json") == 0
    [table] = json.loads(capsys.readouterr().out)
    assert len(table["rows"]) == len(cards)
    by = {row[0]: row for row in table["rows"]}
    for card in cards:
        _, family, metric, protocol, languages, examples, licence, verified = by[card.name]
        assert (family, metric, protocol) == (card.family, card.metric, card.protocol)
        assert languages.split() == list(card.languages)
        assert examples == "–"
        assert licence
        assert "as stated by" not in licence
        assert verified == ("yes" if card.verified else "no")


def test_a_family_or_another_folder_can_be_asked_for(toys: Path, tmp_path: Path, capsys: Captured) -> None:
    assert unibench("tasks", "--tasks-dir", toys / "tasks", "--family", "sts", "--format", "csv") == 0
    listed = [line.split(",") for line in capsys.readouterr().out.split("\n") if line and not line.startswith("#")][1:]
    assert {line[1] for line in listed} == {"sts"}
    assert "toy_sts" in [line[0] for line in listed]
    assert unibench("tasks", "--family", "nil") == 2
    assert "no task family 'nil' in unibench; did you mean 'nli'?" in capsys.readouterr().err
    assert unibench("tasks", "--format", "yaml") == 2
    assert unibench("tasks", "--format", "markdown", "--out", tmp_path / "t.md") == 0
    assert (tmp_path / "t.md").read_text().startswith("## tasks\n")


def test_sizes_and_what_can_be_run_are_those_of_the_files_here(toys: Path, write_mirror: Callable[..., Path]) -> None:
    cards = [load_card(toys / "tasks" / f"toy_{name}.toml") for name in ("nli", "sts")]
    here = Origin(kind="mirror", root=toys / "hub")
    full = rows(task_listing.listing(cards, here, short=False))
    assert full["toy_nli"]["examples"] == "en 18, ru 18, zh 18"
    assert (full["toy_nli"]["scored here"], full["toy_nli"]["trained here"]) == ("3/3", "yes")
    assert (full["toy_sts"]["scored here"], full["toy_sts"]["trained here"]) == ("2/2", "")
    short = rows(task_listing.listing(cards, here, short=True))
    assert (short["toy_nli"]["examples"], short["toy_nli"]["here"]) == ("18", "3/3")
    row = {"p": "a", "h": "b", "y": 0}
    root = write_mirror("toy/nli", {"en/test": [row] * 1234, "zh/test": [row] * 12_345})
    table = task_listing.listing(cards, Origin(kind="mirror", root=root), short=True)
    assert (rows(table)["toy_nli"]["examples"], rows(table)["toy_nli"]["here"]) == ("1.2k–12k", "2/3*")
    assert (rows(table)["toy_sts"]["examples"], rows(table)["toy_sts"]["here"]) == ("–", "0/2")
    assert any(note.startswith("* cannot be trained from here") for note in table.footnotes)
    full = rows(task_listing.listing(cards, Origin(kind="mirror", root=root), short=False))
    assert full["toy_nli"]["trained here"] == f"toy/nli has no train split for en in {root}"
    (root / "toy/nli/en/test-00000-of-00001.parquet").write_bytes(b"broken")
    full = rows(task_listing.listing(cards, Origin(kind="mirror", root=root), short=False))
    assert full["toy_nli"]["examples"] == "zh 12345"


def test_long_lists_are_cut_between_words(toys: Path) -> None:
    card = load_card(toys / "tasks" / "toy_nli.toml")
    many = replace(
        card, languages=("af", "ar", "az", "bg", "bn"), about={"licence": "as stated by its authors: CC BY-NC 4.0 (no)"}
    )
    found = rows(task_listing.listing([many], Origin(kind="sample"), short=True))["toy_nli"]
    assert (found["languages"], found["licence"]) == ("5: af ar …", "CC BY-NC …")
    assert (
        rows(task_listing.listing([replace(card, languages=("pt",))], None, short=True))["toy_nli"]["languages"] == "pt"
    )


def test_details_say_what_is_here_language_by_language(toys: Path, capsys: Captured, monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert unibench("tasks", "show", "toy_nli", "--tasks-dir", toys / "tasks", "--data", toys / "hub") == 0
    shown = " ".join(word for word in capsys.readouterr().out.split() if set(word) != {"─"})
    for expected in (
        f"toy_nli, and what of it can be had from {toys / 'hub'} title A toy: is the hypothesis in the premise?",
        "protocol zero-shot, trained in en",
        "languages 3: en ru zh", "labels yes no maybe", "examples en 18, ru 18, zh 18", "scored toy/nli {lang} test",
        f"train here en ru; not zh: toy/nli has no train split for … in {toys / 'hub'}",
        "eval here en ru zh", "verified no",
    ):  # fmt: skip
        assert expected in shown
    assert unibench("tasks", "show", "xnli") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "published: " in shown
    assert " here " not in shown.split("published: ")[-1]


def test_files_of_ones_own_are_counted_and_told_how_they_are_read(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    mine = writer(tmp_path / "mine")(NER, {"test.txt": "a x O\n\nb x O\nc x O\n\nd x O\n"})
    here = Origin(kind="mirror", root=tmp_path)
    assert rows(task_listing.listing([mine], here, short=True))["mine"]["examples"] == "3"
    monkeypatch.setattr(task_listing, "MOST_BYTES", 8)
    assert rows(task_listing.listing([mine], here, short=True))["mine"]["examples"] == "–"
    made = task_listing.listing([mine], Origin(kind="sample"), short=True)
    assert "The generated sample is made where it is used, so its examples are not counted here." in made.footnotes
    assert unibench("tasks", "show", "mine", "--tasks-dir", mine.folder) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert 'scored test.txt read as conll with columns = ["word", "_", "tag"] summary' in shown, (
        "the file is named once"
    )
    assert 'label_map DATE = "O" options scheme = "iob1" ' in shown


@pytest.mark.realdata
def test_real_sizes(shared: Path) -> None:
    cards = [card for card in all_cards(card_folders()) if card.name in ("xnli", "tydiqa", "masakhaner2", "sts17")]
    found = rows(task_listing.listing(cards, Origin(kind="mirror", root=shared / "hub"), short=True))
    assert found["xnli"]["examples"] == "5,010"
    assert found["tydiqa"]["examples"] == "5,077 all"
    assert found["masakhaner2"]["examples"] == "1.6k–2.0k"
    assert found["sts17"]["examples"] == "250"
