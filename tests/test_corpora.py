"""`unibench corpus`: from a mirror and from the Hub, with task cards' test sets; what it shows; one line a mistake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fake_hub
import pytest
from conftest import mirror_at
from test_build import documents
from tiny_runs import unibench

from unibench import holdings, testsets
from unibench.cards import all_cards, card_folders, load_card
from unibench.data import Origin
from unibert import built, tokenizer
from unibert.corpus import from_folder
from unibert.documents import WIKIPEDIA

REPO = Path(__file__).resolve().parents[1]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
Captured = pytest.CaptureFixture[str]
CARD = """
title = "A toy whose passages are documents of the corpus"
family = "nli"
metric = "accuracy"
protocol = "none"
languages = ["en", "ru", "sw"]
labels = ["yes", "no"]
columns = { premise = "p", hypothesis = "h", label = "y" }
eval = { hub = "toy/seen", config = "{lang}", split = "test" }
about = { summary = "s", licence = "none" }
"""


def rows(texts: list[str]) -> list[dict[str, str]]:
    return [{"id": str(i), "url": "u", "title": "t", "text": text} for i, text in enumerate(texts)]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror of two Wikipedias and of a test set made of a document of each; tasks/ with its card."""
    monkeypatch.setenv("COLUMNS", "160")
    write = mirror_at(tmp_path / "hub")
    texts = {code: documents(code, 30) for code in ("en", "ru")}
    write(WIKIPEDIA, {f"20231101.{code}/train": rows([*text, text[5], "Too short."]) for code, text in texts.items()})
    tests = {
        code: [{"p": text[7], "h": "A hypothesis.", "y": 0}, {"p": text[9], "h": "Another.", "y": 1}]
        for code, text in texts.items()
    }
    write("toy/seen", {f"{code}/test": examples for code, examples in tests.items()})
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "toy_seen.toml").write_text(CARD)
    return tmp_path


def build(home: Path, *more: str | Path) -> int:
    return unibench(
        "corpus", "build", "--data", home / "hub", "--tasks-dir", home / "tasks", "--workers", "1",
        "--results", home / "results", *more,
    )  # fmt: skip


def manifest(home: Path) -> dict[str, Any]:
    found = built.read(home / "results" / "corpora" / "wikipedia")
    assert found is not None
    return found


def test_wikipedia_from_a_mirror_without_what_the_cards_test(home: Path, capsys: Captured) -> None:
    assert build(home) == 0
    shown = capsys.readouterr().out
    assert f"{WIKIPEDIA}: 2 languages, 2 to build" in shown
    assert "no text in 105 of the 107 languages: af an ar" in shown
    cards = len(all_cards(card_folders())) + 1  # and the one of this test
    assert f"of the test sets of 1 of {cards} tasks to look for" in shown
    found = manifest(home)
    for code in ("en", "ru"):
        record = found["languages"][code]
        assert record["read"]["documents"] == 32
        assert record["exact_duplicates"]["documents"] == 1
        assert record["contaminated"] == {
            "documents": 2, "touched": 2,
            **{unit: record["contaminated"][unit] for unit in ("characters", "tokens", "bytes")},
        }  # fmt: skip
        text = documents(code, 30)
        path = home / "results" / "corpora" / "wikipedia" / f"{code}-00000.txt.zst"
        assert list(built.documents(path)) == [line for i, line in enumerate(text) if i not in (7, 9)]
        [file] = record["files"]
        assert file["file"] == f"20231101.{code}/train-00000-of-00001.parquet"
        assert file["sha256"] == fake_hub.sha256(home / "hub" / WIKIPEDIA / file["file"])
    assert found["tests"]["used"] == ["toy_seen test (en ru)"]
    assert any(reason.startswith("toy_seen test (sw): ") for reason in found["tests"]["unavailable"])
    assert any(reason.startswith("xnli ") for reason in found["tests"]["unavailable"])


def test_training_finds_the_wikipedia_that_was_built(
    home: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["train", "--size", "xxsmall", "--steps", "5", "--objectives", "mlm", "--corpus", "wikipedia", "--dry-run"]
    assert unibench(*line, "--results", home / "results") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "no Wikipedia in" in said
    assert "unibench corpus build --source wikipedia" in said
    assert build(home) == 0
    capsys.readouterr()
    assert unibench(*line, "--results", home / "results") == 0
    assert "wikipedia, 2 languages: en, ru" in capsys.readouterr().out
    monkeypatch.setenv("UNIBENCH_CORPUS", str(home / "results" / "corpora" / "wikipedia"))
    assert unibench(*line, "--results", home / "elsewhere") == 0


def test_the_same_command_again_builds_nothing_and_says_the_same(home: Path, capsys: Captured) -> None:
    assert build(home) == 0
    table = capsys.readouterr().out.split("test sets of")[1].split("\n", 3)[3]
    folder = home / "results" / "corpora" / "wikipedia"
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.zst")}
    assert build(home) == 0
    again = capsys.readouterr().out
    assert "2 languages, 0 to build" in again
    assert again.endswith(table)
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.zst")} == before
    assert unibench("corpus", "stats", folder) == 0
    assert capsys.readouterr().out.strip() == table.rpartition("next: ")[0].strip()


def test_a_dry_run_writes_nothing(home: Path, capsys: Captured) -> None:
    assert build(home, "--dry-run") == 0
    assert "  ru: 1 files, 0.0 MB" in capsys.readouterr().out
    assert not (home / "results").exists()


def test_stats_are_the_manifests_numbers(home: Path, capsys: Captured) -> None:
    assert build(home, "--decontaminate", "none", "--skip", "length,script,duplicates") == 0
    capsys.readouterr()
    assert unibench("corpus", "stats", home / "results" / "corpora" / "wikipedia", "--format", "json") == 0
    languages, steps = json.loads(capsys.readouterr().out)
    names = [column["name"] for column in languages["columns"]]
    for row in languages["rows"]:
        line = dict(zip(names, row, strict=True))
        record = manifest(home)["languages"][line["language"]]
        assert (line["read"], line["kept"], line["exact"], line["tests"], line["faults"]) == (32, 32, 0, 0, 0)
        assert line["tokens"] == record["kept"]["tokens"]
        assert line["change"] == 0
    assert [row[0] for row in steps["rows"]][:3] == ["read", "unicode", "control"]
    assert "length" not in [row[0] for row in steps["rows"]]
    assert "Test sets were not looked for (--decontaminate none)." in languages["footnotes"]


def record_of(read: int, kept: int, **steps: int) -> dict[str, Any]:
    """A language of so many characters, of which each step takes so many."""

    def amount(characters: int) -> dict[str, int]:
        return {"documents": characters // 10, "characters": characters, "tokens": characters // 5, "touched": 0}

    left, entered = read, {}
    for name, taken in steps.items():
        entered[name], left = amount(left), left - taken
    curation = {"steps": entered, "kept": amount(left)}
    record = {"read": amount(read), "kept": amount(kept), "curation": curation, "faults": {"counts": {}, "first": []}}
    record |= dict.fromkeys(("exact_duplicates", "contaminated"), amount(0)) | {"near_duplicates": amount(left - kept)}
    return record | {"shards": [{}] if kept else [], "revision": ""}


def test_the_worst_loss_comes_first_and_the_steps_add_up() -> None:
    records = {
        "en": record_of(1000, 900, length=60, script=40),
        "de": record_of(1000, 300, length=200, script=100),
        "sw": record_of(0, 0, length=0, script=0),
    }
    recipe = {"limit": 100, "curation": {"skip": ["markup"]}, "duplicates": None}
    whole = {"source": {"name": "text", "config": ""}, "recipe": recipe, "languages": records, "tests": None}
    whole |= {"absent": [], "ignored": []}
    languages, steps = holdings.overview(whole, "title")
    assert [(row[0], row[-1]) for row in languages.rows] == [
        ("sw", ""), ("de", "near duplicates 40.0%"), ("en", "length 6.0%"),
    ]  # fmt: skip
    assert [row[-2] for row in languages.rows[1:]] == [pytest.approx(-0.7), pytest.approx(-0.1)]
    assert "Nothing is left of 1 languages: sw" in languages.footnotes
    assert "At most 100 documents of each language were read (--limit)." in languages.footnotes
    assert "Steps left out (--skip): markup, duplicates" in languages.footnotes
    assert [(row[0], row[2]) for row in steps.rows] == [
        ("read", 2000), ("length", -260), ("script", -140), ("exact duplicates", 0), ("near duplicates", -400),
        ("test sets", 0), ("kept", 1200),
    ]  # fmt: skip


def test_tokenizers_side_by_side(home: Path, capsys: Captured) -> None:
    assert build(home) == 0
    corpus = from_folder(home / "results" / "corpora" / "wikipedia")
    vocabulary = tokenizer.train(corpus, 500)
    for folder in (home / "results" / "models" / "first", home / "elsewhere" / "first"):
        tokenizer.save(vocabulary, folder)
    capsys.readouterr()
    asked = ["--tokenizer", "first", "--tokenizer", home / "elsewhere" / "first", "--lines", "20", "--format", "json"]
    results = home / "results"
    assert unibench("corpus", "stats", results / "corpora" / "wikipedia", *asked, "--results", results) == 0
    [table] = json.loads(capsys.readouterr().out)
    names = [column["name"] for column in table["columns"]]
    shown = ("first", str(home / "elsewhere" / "first"))  # by their folders' names, where that tells them apart
    assert names == [
        "language", "per", "lines",
        *(f"{name} {what}" for name in shown for what in ("tokens", "bytes/token", "fallback")),
    ]  # fmt: skip
    assert {row[0] for row in table["rows"]} == {"en", "ru"}
    for row in table["rows"]:
        assert row[1] == "word"
        assert row[3:6] == row[6:9], "one vocabulary"


def test_the_list_names_every_wikipedia(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert unibench("corpus", "stats", "--list", "--format", "csv") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "nb,Norwegian Bokmål,20231101.no,the edition `no` is Bokmål; Nynorsk has `nn`" in lines
    assert len([line for line in lines if ",20231101." in line]) == 107


def test_each_text_of_a_test_set_is_collected_once(home: Path) -> None:
    card = load_card(home / "tasks" / "toy_seen.toml")
    found = testsets.collect([card, card], Origin(kind="mirror", root=home / "hub"))
    expected = {text for code in ("en", "ru") for text in (documents(code, 30)[7], documents(code, 30)[9])}
    assert set(found.texts) == expected | {"A hypothesis.", "Another."}
    assert len(found.texts) == 6
    assert found.used == ("toy_seen test (en ru)",) * 2
    sample = testsets.collect([card], Origin(kind="sample"))
    assert sample.texts == sample.used == ()
    assert sample.unavailable == ("toy_seen test: neither a data folder nor the Hub has any",)


MISTAKES = [
    (["--source", "nowhere"], "no folder nowhere; --source takes wikipedia"),
    (["--languages", "en,sw"], "no train split of config '20231101.sw' for 'sw'"),
    (["--skip", "lenght"], "no curation step 'lenght' in unibench corpus build; did you mean 'length'?"),
    (["--decontaminate", "task"], "no --decontaminate 'task' in unibench corpus build; did you mean 'tasks'?"),
    (["--data", "sample"], "--data sample holds no corpus"),
    (["--data", "hub"], f"the Hub does not answer, and {WIKIPEDIA} is on it; offline, give --data MIRROR"),
    (["--revision", "main"], "is at no known commit, not at --revision main"),
    (["--column", "body"], "has no column 'body' in its 32 rows; it has id, url, title, text"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "expected"), MISTAKES, ids=lambda value: " ".join(value)[:30])
def test_a_mistake_is_one_line(home: Path, capsys: Captured, more: list[str], expected: str) -> None:
    assert build(home, *more) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1, said
    assert expected in said
    assert not list((home / "results").rglob("*.zst"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "corpus stats needs the folder of a corpus, or --list"),
        (["tasks"], "holds no corpus that `unibench corpus build` made"),
        (["--list", "--format", "xml"], "no format 'xml'"),
        (["nowhere", "--tokenizer", "x"], "no folder nowhere"),
    ],
)
def test_a_mistake_in_stats_is_one_line(capsys: Captured, arguments: list[str], expected: str) -> None:
    assert unibench("corpus", "stats", *arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert expected in said


def process(home: Path, *more: str | Path, **environment: str) -> subprocess.Popen[str]:
    words = ["corpus", "build", "--results", home / "results", "--decontaminate", "none", *more]
    folders = os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "unibench.cli", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={**os.environ, **environment, "PYTHONPATH": folders},
    )  # fmt: skip


def test_the_hub_gives_the_same_bytes_as_its_mirror(home: Path) -> None:
    online = {"HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(home / "hf")}
    with (
        fake_hub.serving(home / "hub", COMMIT) as endpoint,
        process(home, "--data", "hub", "--workers", "1", HF_ENDPOINT=endpoint, **online) as done,
    ):
        out, error = done.communicate()
    assert done.returncode == 0, error
    assert f"{WIKIPEDIA} at {COMMIT}: 2 languages" in out
    assert manifest(home)["source"]["revision"] == COMMIT
    assert build(home, "--decontaminate", "none", "--out", home / "mirrored") == 0
    for code in ("en", "ru"):
        name = f"{code}-00000.txt.zst"
        assert (home / "mirrored" / name).read_bytes() == (
            home / "results" / "corpora" / "wikipedia" / name
        ).read_bytes()


def test_ctrl_c_is_one_line_and_leaves_nothing_half_written(home: Path) -> None:
    folder = home / "text"
    folder.mkdir()
    for code in ("en", "ru"):
        (folder / f"{code}.txt").write_text("\n".join(documents(code, 20_000)))
    out = home / "results" / "corpora" / "text"
    with process(home, "--source", folder, "--workers", "2") as running:
        while not list(out.glob(".part-*/curated*")):
            assert running.poll() is None
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate()
    assert running.returncode == 130
    assert said == "error: stopped; the same command goes on from what is stored\n"
    assert not list(out.glob(".part-*"))


@pytest.mark.realdata
def test_real_text_of_many_scripts_is_built_and_trained_from(shared: Path, tmp_path: Path, capsys: Captured) -> None:
    line = ["--source", shared / "corpus", "--languages", "th,zh,ar,azb,en", "--limit", "800", "--workers", "2"]
    assert unibench("corpus", "build", *line, "--out", tmp_path / "out", "--decontaminate", "none") == 0
    corpus = from_folder(tmp_path / "out")
    assert corpus.languages == ("ar", "azb", "en", "th", "zh")
    for language in corpus.languages:
        lines = list(corpus.read(language))
        assert len(lines) > 200
        assert all(lines)


def test_lines_of_another_language_go_where_that_is_asked_for(home: Path) -> None:
    pytest.importorskip("py3langid", reason="the language step is an extra")
    folder = home / "text"
    folder.mkdir()
    stray = "Der alte Mann ging jeden Morgen durch den Wald und sprach mit den Vögeln in den Bäumen."
    own = [f"The old teacher walked {n} miles through the forest and talked about the weather." for n in range(30)]
    (folder / "en.txt").write_text("\n".join([*own, stray]) + "\n")
    assert build(home, "--source", folder, "--decontaminate", "none", "--language-confidence", "0.9") == 0
    out = home / "results" / "corpora" / "text"
    assert built.load(out / built.MANIFEST)["recipe"]["curation"]["min_confidence"] == 0.9
    kept = list(from_folder(out).read("en"))
    assert stray not in kept
    assert own[0] in kept
