"""Files lie below the card's folder, or in a dataset of the Hub, and are read by the reader that the card names."""

from __future__ import annotations

import gzip
import json
import os
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from own_files import HUB, NER, NLI, QA, STS, Write, error_of, scored, writer

from unibench import plugins, testsets
from unibench.cards import card_folders, load_card
from unibench.data import Loaded, Origin, availability, examples_sha256, load, origin, stamp
from unibench.errors import CardError, DataError, UserError
from unibench.lines import FileError, RowError, lines

SAMPLE = Origin(kind="sample")


@pytest.fixture
def card(tmp_path: Path) -> Write:
    return writer(tmp_path / "mine")


def test_files_are_used_whatever_the_data_but_for_the_sample(
    card: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = card(STS, {"pairs/en.csv": "a,b,gold\nx,y,1\n"})
    mirror = Origin(kind="mirror", root=tmp_path)
    reason = f"there is no file {mine.folder / 'pairs' / 'swa.csv'}"
    for near, said in (("SWA.csv", True), ("swa.csv.gz", True), ("swa.tsv", False)):
        (mine.folder / "pairs" / near).touch()
        assert availability(mine, "eval", "sw", HUB) == reason + (f"; there is {near}" if said else "")
        (mine.folder / "pairs" / near).unlink()
    assert load(mine, "eval", ["en"], mirror) == scored(mine, "en")
    assert scored(mine, "en").commits == {}
    assert availability(mine, "eval", "sw", HUB) == availability(mine, "eval", "sw", mirror) == reason
    assert availability(mine, "eval", "sw", SAMPLE) is None or "sample" in str(availability(mine, "eval", "sw", SAMPLE))
    assert len(load(mine, "eval", ["en"], SAMPLE).examples) > 100
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UNIBENCH_DATA", raising=False)
    assert origin("auto", [mine.eval.hub]) == HUB, "files are there, so nothing is generated"
    assert origin("auto", ["o/absent"]) == SAMPLE
    kept = testsets.collect([mine], HUB)
    assert kept.texts == ("x", "y")
    assert kept.used == ("mine pairs/{lang}.csv (en)",), "the pattern stands in for a split"


def test_stamp_covers_files(card: Write) -> None:
    mine = card(STS, {"pairs/en.csv": "a,b,gold\nx,y,1\n"})
    path = mine.folder / "pairs/en.csv"
    first, meaning = stamp(mine, ["eval"], ["en"], HUB), examples_sha256(scored(mine, "en").examples)
    os.utime(path, ns=(1, 1))
    second = stamp(mine, ["eval"], ["en"], HUB)
    assert first != second
    assert examples_sha256(scored(mine, "en").examples) == meaning
    path.write_text("a,b,gold\nx,y,10\n")
    os.utime(path, ns=(1, 1))
    assert stamp(mine, ["eval"], ["en"], HUB) != second, "the size alone tells"


def test_patterns_take_files_in_order_and_stay_in_the_folder(card: Write, tmp_path: Path) -> None:
    text = STS.replace("pairs/{lang}.csv", "pairs/{lang}[[]*.csv")
    files = {f"pairs/en[{n}].csv": f"a,b,gold\nx{n},y,1\n" for n in (2, 1)}
    mine = card(text, dict(files))
    assert [e.inputs["sentence1"] for e in scored(mine, "en").examples] == ["x1", "x2"]
    mine = card(STS.replace("{lang}.csv", "{lang}[1].csv"), {})
    assert len(scored(mine, "en").examples) == 1, "a name is a name before it is a pattern"
    (tmp_path / "secret.csv").write_text("a,b,gold\nx,y,1\n")
    (mine.folder / "pairs/sw.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(CardError, match="is a link out of the card's folder"):
        load(card(STS, {}), "eval", ["sw"], HUB)
    for pattern in ("/etc/{lang}", "../{lang}.csv", "a/../../{lang}", "~/{lang}", "C:/{lang}"):
        with pytest.raises(CardError, match=r"eval.files is .*; expected a path below the card's folder"):
            card(STS.replace("pairs/{lang}.csv", pattern), {})


def test_raw_files_of_a_hub_dataset(card: Write, tmp_path: Path) -> None:
    folder = tmp_path / "hub/o/raw"
    (folder / "data/deu").mkdir(parents=True)
    (folder / "data/deu/test.txt.gz").write_bytes(gzip.compress(b"Ada x I-PER\n"))
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: deu\n  data_files:\n  - split: test\n    path: data/deu/test.txt.gz\n---\n"
    )
    mirror = Origin(kind="mirror", root=tmp_path / "hub")
    own = 'files = "test.txt", language = "de"'
    for place in (
        'hub = "o/raw", config = "{lang}", split = "test", aliases = { de = "deu" }',
        'hub = "o/raw", files = "data/{lang}/test.*", aliases = { de = "deu" }',
    ):
        mine = card(NER.replace(own, place), {})
        [example] = load(mine, "eval", ["de"], mirror).examples
        assert example.target == ("B-PER",)
        (folder / "data/deu/test.txt.gz").write_bytes(gzip.compress(b"Ada x I-PER\n\nAda I-PER\n"))
        with pytest.raises(DataError) as caught:
            load(mine, "eval", ["de"], mirror)
        assert str(caught.value).startswith(f"{folder}/data/deu/test.txt.gz:3: 2 fields")
        (folder / "data/deu/test.txt.gz").write_bytes(gzip.compress(b"Ada x I-PER\n"))
    bare = STS.replace(
        'files = "pairs/{lang}.csv", aliases = { sw = "swa" }, reader = "csv"', place.split(", files")[0]
    )
    bare = bare.replace('hub = "o/raw"', 'hub = "o/raw", config = "{lang}", split = "test", aliases = { en = "deu" }')
    reason = availability(card(bare, {}), "eval", "en", mirror)
    assert reason == "o/raw deu/test is data/deu/test.txt.gz, which needs a reader: name one in the card"


def double_spaced(path: Path, format: Any) -> Any:
    """A reader as another package would offer it: fields two spaces apart."""
    for number, line in lines(path):
        if line.startswith("!"):
            raise FileError("is marked as bad", line=number)
        if line.startswith("?"):
            raise ZeroDivisionError
        fields = line.split("  ")
        yield number, dict(zip(format["columns"], fields, strict=True)) if len(fields) == 3 else RowError("no three")


def test_a_reader_of_another_package(card: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("spaced", f"{__name__}:double_spaced", plugins.READER_GROUP)
    monkeypatch.setattr(plugins, "_points", lambda group: (point,) if group == plugins.READER_GROUP else ())
    text = STS.replace('reader = "csv"', 'reader = "spaced", format = { columns = ["a", "b", "gold"] }')
    mine = card(text, {"pairs/en.csv": "x  y z  3\n"})
    assert scored(mine, "en").examples[0].inputs["sentence2"] == "y z"
    assert "en.csv:2: no three; correct" in error_of(card(text, {"pairs/en.csv": "x  y  3\nx\n"}), "en")
    assert "en.csv:2: is marked as bad" in error_of(card(text, {"pairs/en.csv": "x  y  3\n!\n"}), "en")
    with pytest.raises(UserError, match=r"en.csv: the reader 'spaced' fails \(ZeroDivisionError"):
        scored(card(text, {"pairs/en.csv": "?\n"}), "en")
    with pytest.raises(CardError, match="expected one of conll, csv, jsonl, squad, tsv, spaced; did you mean 'spaced'"):
        card(text.replace('"spaced"', '"spacd"'), {})


# --- the real data, written as files by other programs


@pytest.mark.realdata
def test_real_data_read_the_same_from_files(shared: Path, card: Write) -> None:
    import pandas as pd

    here = Origin(kind="mirror", root=shared / "hub")
    cards = {name: load_card(card_folders()[0] / f"{name}.toml") for name in ("stsb_multi", "xquad", "wikiann", "xnli")}

    def same(found: Loaded, name: str, language: str) -> bool:
        expected = load(cards[name], "eval", [language], here).examples
        return [(e.inputs, e.target) for e in found.examples] == [(e.inputs, e.target) for e in expected]

    def frame(place: str) -> pd.DataFrame:
        return pd.read_parquet(next((shared / "hub").glob(f"{place}*.parquet")))

    pairs = frame("mteb/stsb_multi_mt/zh/test").rename(columns={"sentence1": "a", "sentence2": "b"})
    text = pairs.astype({"similarity_score": "float64"}).to_csv(index=False)
    mine = card(STS.replace('"gold"', '"similarity_score"'), {"pairs/en.csv": text})
    assert same(scored(mine, "en"), "stsb_multi", "zh")

    thai = frame("google/xquad/xquad.th/validation")
    nested: list[Any] = []
    for row in thai.itertuples():
        if not nested or nested[-1]["context"] != row.context:
            nested.append({"context": row.context, "qas": []})
        answers = [
            {"text": t, "answer_start": int(s)}
            for t, s in zip(row.answers["text"], row.answers["answer_start"], strict=True)
        ]
        nested[-1]["qas"].append({"id": row.id, "question": row.question, "answers": answers})
    content = json.dumps({"version": "1.1", "data": [{"title": "", "paragraphs": nested}]}, ensure_ascii=False)
    assert same(scored(card(QA, {"test.json": content})), "xquad", "th")

    names = cards["wikiann"].labels
    blocks = []
    for row in frame("unimelb-nlp/wikiann/zh/test").head(10_000).itertuples():
        tags = [names[tag] for tag in row.ner_tags]
        blocks.append("".join(f"{token}\t{tag}\n" for token, tag in zip(row.tokens, tags, strict=True)))
    text = NER.replace('["word", "_", "tag"] }', '["word", "tag"], separator = "tab" }').replace("iob1", "iob2")
    text = text.replace('"I-LOC"]', '"I-LOC", "B-ORG", "I-ORG"]')
    found = scored(card(text, {"test.txt": "\n".join(blocks)}))
    assert found.notes == {"iob_repaired": 386}
    assert same(found, "wikiann", "zh")

    swahili = frame("facebook/xnli/sw/test")
    rows = [{"pair": {"p": r.premise, "h": r.hypothesis}, "gold": str(r.label)} for r in swahili.itertuples()]
    text = NLI.replace('["yes", "no"]', json.dumps(cards["xnli"].labels))
    assert same(scored(card(text, {"test.jsonl": "\n".join(map(json.dumps, rows))})), "xnli", "sw")
