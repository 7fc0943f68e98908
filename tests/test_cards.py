"""Cards are read strictly, and the built-in ones say what the data sets' authors say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from unibench.cards import FAMILIES, all_cards, card_folders, load_card, pick, pick_languages
from unibench.errors import CardError, UnknownName, UserError

BUILT_IN = card_folders()
MINIMAL = """
title = "Tiny"
family = "nli"
metric = "accuracy"
protocol = "zero-shot"
train_language = "en"
languages = ["en", "sw"]
labels = ["yes", "no"]
group = "rows:3"
columns = { premise = "p", hypothesis = "h", label = "y" }
train = [{ hub = "o/tiny", config = "{lang}", split = "train" }]
eval = { hub = "o/tiny", config = "{lang}", split = "test" }
about = { summary = "s", paper = "p", url = "u", licence = "l" }
"""


def write(folder: Path, text: str, name: str = "tiny") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_minimal_card(tmp_path: Path) -> None:
    card = load_card(write(tmp_path, MINIMAL))
    assert (card.name, card.metric, card.languages) == ("tiny", "accuracy", ("en", "sw"))
    assert card.train[0].hub == "o/tiny"
    assert card.dev == ()
    assert card.columns == {"premise": "p", "hypothesis": "h", "label": "y"}
    assert not card.parallel


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('title = "Tiny"', 'title = ""', 'title is ""; expected a text'),
        ('metric = "accuracy"', 'metric = "acuracy"', "one of accuracy, macro_f1; did you mean 'accuracy'?"),
        ('metric = "accuracy"', 'metric = "span_f1"', "metric is 'span_f1'; expected one of accuracy, macro_f1"),
        ('family = "nli"', 'family = "nil"', "expected one of ner, nli, qa, sts; did you mean 'nli'?"),
        ('title = "Tiny"', "", "title is missing; expected a text"),
        ('title = "Tiny"', "title = 3", "title is 3; expected a text"),
        ('title = "Tiny"', 'titel = "Tiny"', "title is missing"),
        ('group = "rows:3"', 'groups = "rows:3"', "groups is not a known key; did you mean 'group'?"),
        ('group = "rows:3"', 'group = "rows:0"', "group is 'rows:0'"),
        ('group = "rows:3"', "parallel = 1", "parallel is 1; expected true or false"),
        ('languages = ["en", "sw"]', 'languages = ["en", "en"]', "expected a list of distinct texts"),
        ('labels = ["yes", "no"]', "", "labels is missing; expected a list"),
        ('premise = "p"', 'premis = "p"', "columns.premise is missing"),
        ('label = "y"', 'label = "y", extra = "z"', "columns.extra is not a known key"),
        ('split = "train"', 'split = "train", spilt = "x"', "train[0].spilt is not a known key; did you mean 'split'?"),
        ('split = "train"', 'split = "train", revision = "main"', "train[0].revision is 'main'; expected a 40-digit"),
        ('split = "train"', 'split = "train", language = "en"', "must choose the language in one way"),
        ('split = "train"', 'split = "train", prefix_column = "id"', "come together"),
        ('hub = "o/tiny", config = "{lang}", split = "test"', 'hub = "tiny"', "eval.config is missing"),
        ('config = "{lang}", split = "test"', 'config = "all", split = "test"', "must choose the language in one way"),
        (', licence = "l"', "", "about.licence is missing"),
        ('train_language = "en"', "", "train_language is what"),
        ('protocol = "zero-shot"', 'protocol = "none"', "\"none\" is for a card without"),
        ('title = "Tiny"', 'title = "Tiny', "is not a readable TOML file"),
    ],
)  # fmt: skip
def test_a_wrong_card_is_one_line_that_names_file_and_key(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in MINIMAL
    path = write(tmp_path, MINIMAL.replace(old, new, 1))
    with pytest.raises(CardError) as caught:
        load_card(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert expected in message
    assert "\n" not in message


def test_ner_labels_are_checked(tmp_path: Path) -> None:
    ner = MINIMAL.replace('"nli"', '"ner"').replace('"accuracy"', '"span_f1"')
    ner = ner.replace('premise = "p", hypothesis = "h", label = "y"', 'tokens = "t", tags = "g"')
    for labels, expected in (
        ('["O", "PER"]', "'PER'; expected O, B-TYPE or I-TYPE"),
        ('["O", "I-PER"]', "'I-PER' without 'B-PER'"),
        ('["B-PER"]', "no 'O'"),
    ):
        path = write(tmp_path, ner.replace('["yes", "no"]', labels))
        with pytest.raises(CardError, match=expected):
            load_card(path)


def test_hash_covers_what_can_move_a_number_and_nothing_else(tmp_path: Path) -> None:
    def sha256(text: str) -> str:
        return load_card(write(tmp_path, text)).sha256

    base = sha256(MINIMAL)
    reordered = "\n".join(sorted(MINIMAL.splitlines())) + "\n# a comment\n"
    for same in (reordered, MINIMAL.replace("Tiny", "Tinier"), MINIMAL.replace('["en", "sw"]', '["en", "sw", "de"]')):
        assert sha256(same) == base
    for changed in (("rows:3", "rows:2"), ('train = [{ hub = "o/tiny"', 'train = [{ hub = "o/other"'), ('"p"', '"q"')):
        assert sha256(MINIMAL.replace(*changed, 1)) != base


def test_pick_names_and_says_did_you_mean(tmp_path: Path) -> None:
    assert [card.name for card in pick(["xquad", "xnli", "xquad"], BUILT_IN)] == ["xquad", "xnli"]
    assert pick("all", BUILT_IN) == pick(["all"], BUILT_IN) == all_cards(BUILT_IN)
    with pytest.raises(UnknownName, match="no task 'xlni' in tasks/; did you mean 'xnli'"):
        pick(["xlni"], BUILT_IN)


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    write(tmp_path / "mine", MINIMAL)
    folders = card_folders(tmp_path / "mine")
    assert {card.name for card in all_cards(folders)} == {"tiny"} | {card.name for card in all_cards(BUILT_IN)}
    write(tmp_path / "mine", "not a card", "broken")
    assert [card.name for card in pick(["tiny", "xnli"], folders)] == ["tiny", "xnli"], "only named files are opened"
    with pytest.raises(CardError, match=r"broken.toml"):
        pick("all", folders)
    with pytest.raises(UserError, match="does not exist"):
        card_folders(tmp_path / "nowhere")


def test_a_card_never_shadows_a_built_in_one(tmp_path: Path) -> None:
    path = write(tmp_path / "mine", MINIMAL, "xnli")
    with pytest.raises(CardError, match="built-in card 'xnli'; rename your file") as caught:
        pick(["xnli"], card_folders(tmp_path / "mine"))
    assert str(path) in str(caught.value)


def test_pick_languages() -> None:
    cards = pick(["xnli", "masakhaner2"], BUILT_IN)
    assert pick_languages(None, cards) == pick_languages("all", cards) == {c.name: c.languages for c in cards}
    assert pick_languages(["yo", "sw"], cards) == {"xnli": ("sw",), "masakhaner2": ("sw", "yo")}
    with pytest.raises(UnknownName, match="no language 'jp' in the picked tasks"):
        pick_languages(["sw", "jp"], cards)


@pytest.mark.parametrize("card", all_cards(BUILT_IN), ids=lambda card: card.name)
def test_built_in_cards_are_whole(card) -> None:  # type: ignore[no-untyped-def]
    assert set(card.columns) == set(FAMILIES[card.family].columns)
    assert card.about["licence"].startswith("as stated by")
    assert card.about["url"].startswith("https://")
    for reference in card.about["reference"]:
        assert set(reference.get("percent", {})) <= set(card.languages)
        assert reference.get("percent") or reference.get("average_percent")
    if card.train_language:
        assert any(s.language in (None, card.train_language) for s in card.train)


@pytest.mark.parametrize(("model", "average"), [("mBERT", 66.3), ("XLM-R base", 74.5), ("mMiniLM-L12-H384", 71.1)])
def test_xnli_reference_scores_agree_with_their_published_average(model: str, average: float) -> None:
    """A typing error in one of 45 numbers would move the mean away from the average their authors printed."""
    [xnli] = pick(["xnli"], BUILT_IN)
    [reference] = [r for r in xnli.about["reference"] if r["model"] == model]
    assert len(reference["percent"]) == 15
    assert sum(reference["percent"].values()) / 15 == pytest.approx(average, abs=0.051)
    assert reference["average_percent"] == average


def test_protocol_traps() -> None:
    """Other training data, other name; and what is translated from a split is never selected on it."""
    cards = {card.name: card for card in all_cards(BUILT_IN)}
    for name in ("xnli_snli", "xquad_tydiqa", "mlqa_dev_tydiqa"):
        assert cards[name].train != cards[name.split("_")[0]].train
    assert cards["mlqa"].eval.split == "test"
    assert cards["mlqa_dev_tydiqa"].eval.split == "validation"
    assert cards["xquad"].dev == () == cards["mlqa"].dev
    assert all(s.hub != "google/xquad" for card in cards.values() for s in (*card.train, *card.dev))
    assert [name for name, card in cards.items() if card.parallel] == [
        "stsb_multi", "xnli", "xnli_snli", "xquad", "xquad_tydiqa",
    ]  # fmt: skip


def test_cards_import_no_heavy_library() -> None:
    code = (
        "import sys, unibench.cards, unibench.data, unibench.sources\n"
        "print([m for m in ('torch', 'datasets', 'huggingface_hub', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
