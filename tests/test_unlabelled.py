"""Inputs without labels: of what is trained on or selected by, never of what is scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from own_files import HUB, NLI, Write, writer
from test_data import CARDS, card_of, ids, mirror, nli, qa

from unibench.cards import Source
from unibench.data import Origin, language_of, load, unlabelled
from unibench.errors import Unavailable


@pytest.fixture
def card(tmp_path: Path) -> Write:
    return writer(tmp_path / "mine")


def test_language_of_an_id() -> None:
    assert language_of("train0.en.0000017") == "en"
    assert language_of("dev12.en-ar.0000001") == "en-ar"
    for id in ("0000017", "train0.0000017", ".en.1", ""):
        with pytest.raises(ValueError, match="names no language"):
            language_of(id)


def test_the_train_split_comes_first_and_its_labels_do_not_matter(write_mirror: Callable[..., Path]) -> None:
    splits = {"en/train": [nli()], "sw/train": [nli(-1, premise=f"p{i}") for i in range(40)], "sw/dev": [nli(-1)]}
    here = mirror(write_mirror("o/tiny", splits))
    mine = card_of("nli", dev=(Source(hub="o/tiny", config="{lang}", split="dev"),))
    found = unlabelled(mine, "sw", here)
    assert len(found.examples) == 40
    assert {e.target for e in found.examples} == {None}
    assert {language_of(e.id) for e in found.examples} == {"sw"}
    assert found.examples[0].inputs == {"premise": "p0", "hypothesis": "h"}
    some = unlabelled(mine, "sw", here, 7)
    assert len(some.examples) == 7
    assert set(ids(some)) < set(ids(found))
    carved = card_of("nli")
    labelled = mirror(write_mirror("o/tiny", {"en/train": [nli(premise=f"p{i}") for i in range(40)]}))
    of_train = load(carved, "train", ["en"], labelled)
    assert ids(unlabelled(carved, "en", labelled)) == ids(of_train), "what selects is not read beforehand"


def test_a_column_of_labels_may_be_missing(write_mirror: Callable[..., Path]) -> None:
    rows = [{"p": "a", "h": "b"}] * 20
    here = mirror(write_mirror("o/tiny", {"sw/train": rows}))
    assert len(unlabelled(card_of("nli"), "sw", here).examples) == 18
    asked = [qa(f"c{i}", [], []) for i in range(20)]
    here = mirror(write_mirror("o/tiny", {"sw/train": asked}))
    assert len(unlabelled(card_of("qa", group="column:c"), "sw", here).examples) == 18


def test_the_dev_split_stands_in_unless_it_is_what_is_scored(write_mirror: Callable[..., Path]) -> None:
    english = (Source(hub="o/tiny", config="en", split="train", language="en"),)
    splits = {"en/train": [nli()], "sw/dev": [nli(-1)] * 3, "sw/test": [nli()], "en/test": [nli()]}
    here = mirror(write_mirror("o/tiny", splits))
    dev = Source(hub="o/tiny", config="{lang}", split="dev")
    mine = card_of("nli", train=english, dev=(dev,))
    assert ids(unlabelled(mine, "sw", here)) == [f"dev0.sw.000000{n}" for n in (1, 2, 3)]
    with pytest.raises(Unavailable, match="tiny has no train data for de, only for en; o/tiny has no config 'de'"):
        unlabelled(mine, "de", here)
    scored = replace(mine, dev=(replace(dev, split="test"),))
    with pytest.raises(Unavailable, match=r"only for en; .*test-00000-of-00001.parquet is what tiny scores"):
        unlabelled(scored, "sw", here)
    for trained in (replace(dev, split="test"), Source(hub="o/tiny", config="sw", split="test", language="de")):
        with pytest.raises(Unavailable, match="is what tiny scores"):
            unlabelled(replace(mine, train=(trained,), dev=()), trained.language or "sw", here)
    with pytest.raises(Unavailable, match=r"tiny has no train data for sw, only for en$"):
        unlabelled(replace(mine, dev=()), "sw", here)
    with pytest.raises(Unavailable, match="trains nothing"):
        unlabelled(replace(mine, train=(), dev=()), "sw", here)


def test_files_of_ones_own_are_refused_by_what_they_are_not_by_name(card: Write, tmp_path: Path) -> None:
    train = 'train = [{ files = "train.jsonl", language = "en", reader = "jsonl" }]\n'
    text = NLI.replace('protocol = "none"', 'protocol = "monolingual"').replace("eval =", train + "eval =")
    line = '{"pair": {"p": "a", "h": "b"}, "gold": ""}\n'
    mine = card(text, {"train.jsonl": line * 5, "test.jsonl": line})
    assert len(unlabelled(mine, "en", HUB).examples) == 4
    (mine.folder / "train.jsonl").unlink()
    (mine.folder / "train.jsonl").symlink_to(mine.folder / "test.jsonl")
    with pytest.raises(Unavailable, match=r"train.jsonl is what mine scores"):
        unlabelled(mine, "en", HUB)


def test_the_sample_has_train_text_too() -> None:
    sample = Origin(kind="sample")
    for name in ("xnli", "wikiann", "xquad", "stsb_multi"):
        found = unlabelled(CARDS[name], "de", sample, 10)
        assert len(found.examples) == 10
        scored = {repr(e.inputs) for e in load(CARDS[name], "eval", ["de"], sample).examples}
        assert not {repr(e.inputs) for e in found.examples} & scored
        assert all(e.target is None and language_of(e.id) == "de" for e in found.examples)
    train = {e.id: e.inputs for e in load(CARDS["wikiann"], "train", ["de"], sample).examples}
    assert all(train[e.id] == e.inputs for e in unlabelled(CARDS["wikiann"], "de", sample).examples)
    with pytest.raises(Unavailable, match="the generated sample has no xx sentences"):
        unlabelled(CARDS["xquad"], "xx", sample)
    with pytest.raises(Unavailable, match="trains nothing"):
        unlabelled(CARDS["sts17"], "en-en", sample)


@pytest.mark.realdata
def test_real_text_in_languages_that_are_not_trained_in(shared: Path) -> None:
    here = mirror(shared / "hub")
    found = unlabelled(CARDS["xnli_snli"], "sw", here)
    assert len(found.examples) == 1000, "dev, as `load` cuts it"
    tested = {tuple(e.inputs.values()) for e in load(CARDS["xnli_snli"], "eval", ["sw"], here).examples}
    assert not {tuple(e.inputs.values()) for e in found.examples} & tested
    assert len(unlabelled(CARDS["wikiann"], "sw", here).examples) == 1000
    with pytest.raises(Unavailable, match="xquad_tydiqa has no train data for th, only for"):
        unlabelled(CARDS["xquad_tydiqa"], "th", here)
