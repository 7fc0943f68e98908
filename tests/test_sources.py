"""Which files make up a split: all of it or nothing, in its own folder, and nothing outside the mirror."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unibench import data, mirror, models
from unibench.cards import Source, TaskCard
from unibench.download import Remote
from unibench.errors import Unavailable
from unibench.layout import pattern_of
from unibench.models import Encoder
from unibench.sources import Origin

CARD = TaskCard(
    name="tiny", title="", family="nli", metric="accuracy", languages=("en", "sw"), protocol="zero-shot", train=(),
    dev=(), eval=Source(hub="o/tiny", config="{lang}", split="test", aliases={"sw": "swa"}),
    columns={"premise": "p", "hypothesis": "h", "label": "y"}, labels=("yes", "no"),
)  # fmt: skip


def put(path: Path, words: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([{"p": word, "h": "x", "y": 0} for word in words.split()]), path)


def premises(root: Path, language: str = "en", card: TaskCard = CARD) -> list[str]:
    found = data.load(card, "eval", [language], Origin(kind="mirror", root=root))
    return [example.inputs["premise"] for example in found.examples]


def test_numbered_files_are_all_there_or_none_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "o/tiny/en/test"
    put(folder / "0000.parquet", "a b")
    put(folder / "0001.parquet", "c")
    assert premises(tmp_path) == ["a", "b", "c"]
    (folder / "0000.parquet").unlink()
    with pytest.raises(Unavailable, match=r"lacks some of its numbered files: there are en/test/0001.parquet"):
        premises(tmp_path)


def test_what_a_mirror_was_to_hold_and_does_not_is_missed(tmp_path: Path) -> None:
    put(tmp_path / "o/tiny/en/test/0000.parquet", "a b")
    planned = {f"en/test/{number:04d}.parquet": (9, "0" * 64) for number in range(2)}
    mirror.write(tmp_path, {"o/tiny": mirror.Held(commit="c" * 40, files=planned)})
    with pytest.raises(Unavailable, match=r"o/tiny en/test in .* lacks en/test/0001.parquet; fetch it again"):
        premises(tmp_path)
    put(tmp_path / "o/tiny/en/test/0001.parquet", "c")
    assert premises(tmp_path) == ["a", "b", "c"]


def test_a_pattern_stays_in_its_folder_and_a_name_in_its_own(tmp_path: Path) -> None:
    put(tmp_path / "o/tiny/en/test/0000.parquet", "a")
    put(tmp_path / "o/tiny/en/test/old/0000.parquet", "z")
    put(tmp_path / "o/tiny/en/test-extra/0000.parquet", "z")
    assert premises(tmp_path) == ["a"]
    put(tmp_path / "o/tiny/sw/test/0000.parquet", "z")
    assert premises(tmp_path, "sw") == ["z"]
    put(tmp_path / "o/tiny/swa/test/0000.parquet", "s")
    assert premises(tmp_path, "sw") == ["s"], "the alias, not both"


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.parquet", "a.parquet", True),
        ("*.parquet", "old/a.parquet", False),
        ("data/**/a-*.csv", "data/x/y/a-1.csv", True),
        ("data/**/a-*.csv", "data/a-1.csv", True),
        ("**", "x/y", True),
        ("a?.csv", "a/.csv", False),
        ("a[12].csv", "a2.csv", True),
        ("a.csv", "aXcsv", False),
    ],
)
def test_stars_mean_what_they_mean_to_a_reader_of_readmes(pattern: str, path: str, matches: bool) -> None:
    assert bool(pattern_of(pattern).fullmatch(path)) == matches


def test_words_in_a_csv_file_stay_words(tmp_path: Path) -> None:
    (tmp_path / "o/tiny/en").mkdir(parents=True)
    path = tmp_path / "o/tiny/en/test.tsv"
    path.write_text('p\th\ty\nNA\tnull\tyes\n"open\tNone\tno\nc"\tx\tyes\n')
    assert premises(tmp_path) == ["NA", '"open', 'c"']


@pytest.mark.parametrize("name", ["../x.csv", "/x.csv", "a/../../x", "a\\b", ".cache/x"])
def test_a_listing_cannot_lead_out_of_a_dataset(name: str) -> None:
    good: dict[str, Any] = {"hub": "o/tiny", "commit": "c" * 40, "name": "en/a.csv", "size": 1, "oid": "0" * 64}
    assert replace(Remote(**good), oid="1" * 40).oid
    with pytest.raises(Unavailable, match="which no dataset holds"):
        Remote(**{**good, "name": name})
    with pytest.raises(Unavailable, match="which no dataset holds"):
        Remote(**{**good, "oid": "../../x"})


def test_an_encoder_without_its_vocabulary_is_none(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((trained / "models" / "first" / name).read_bytes())
    with pytest.raises(Unavailable, match=r"holds no vocabulary \(tokenizer.json, vocab.txt"):
        models.load(Encoder(name="bare", kind="path", folder=folder))


def test_a_carved_dev_of_a_parallel_card_is_the_same_rows_in_every_language(tmp_path: Path) -> None:
    train = (replace(CARD.eval, split="train"),)
    words = " ".join(f"w{number}" for number in range(60))
    for code in ("en", "swa"):
        put(tmp_path / f"o/tiny/{code}/train/0000.parquet", words)
    origin = Origin(kind="mirror", root=tmp_path)
    for parallel in (True, False):
        card = replace(CARD, train=train, parallel=parallel)
        both = {part: data.load(card, part, ["en", "sw"], origin).examples for part in ("train", "dev")}
        said = {part: {example.inputs["premise"] for example in found} for part, found in both.items()}
        assert len(both["train"]) + len(both["dev"]) == 120
        assert bool(said["train"] & said["dev"]) != parallel, "dev in one language, train in another"
