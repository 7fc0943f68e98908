"""Cards are read strictly: whatever is unknown, missing or contradictory is one line that names file and key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from unibench.cards import all_cards, card_folders, load_card, pick, pick_languages
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
        ('train = [{ hub = "o/tiny"', 'train = [{ hub = "../secret"', "train[0].hub is '../secret'; expected a Hub id"),
        ('licence = "l"', 'licence = "l", verified = true', "about.verified is true without evidence"),
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
        ('licence = "l"', 'licence = "l", translations = "matched"', "translations is 'matched'; expected \"unm"),
        ('licence = "l"', 'licence = "l", translations = ""', 'about.translations is ""; expected a text'),
        ('train_language = "en"', "", "train_language is what"),
        ('protocol = "zero-shot"', 'protocol = "none"', "\"none\" is for a card without"),
        ('split = "test"', 'split = "test", on_error = "skip"', "eval.on_error belongs at the top of the card"),
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


@pytest.mark.parametrize("name", ["all", "a,b"])
def test_a_name_that_no_command_could_give_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CardError, match=r"no task can be asked for by that name; rename the file"):
        load_card(write(tmp_path, MINIMAL, name))


def test_a_head_that_is_trained_needs_train(tmp_path: Path) -> None:
    alike = """
        title = "Alike"\nfamily = "sts"\nmetric = "spearman"\nprotocol = "none"\nlanguages = ["en"]
        columns = { sentence1 = "a", sentence2 = "b", score = "s" }
        eval = { hub = "o/tiny", config = "{lang}", split = "test" }
        options = { head = "cosine", scale = 5 }
        about = { summary = "s", licence = "l" }
    """
    assert load_card(write(tmp_path, alike)).protocol == "none"
    with pytest.raises(CardError, match=r"options.head must be 'cosine' without \[\[train\]\]"):
        load_card(write(tmp_path, alike.replace('"cosine"', '"cross-encoder"')))


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


FILES = 'files = "{lang}.tsv", reader = "tsv"'
OF_HUB = 'hub = "o/tiny", config = "{lang}", split = "test"'


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ('files = "{lang}.tsv"', "eval.reader is missing; expected what reads these files: conll, csv"),
        ('files = "{lang}.tsv", reader = "tvs"', "one of conll, csv, jsonl, squad, tsv; did you mean 'tsv'?"),
        ('files = "a.tsv", reader = "tsv"', "eval.files must choose the language in one way"),
        (FILES + ', language = "en"', "eval.files must choose the language in one way"),
        (FILES + ', config = "x"', "eval.config chooses files of a Hub dataset, and so does files"),
        (FILES + ', revision = "refs/pr/1"', "eval.revision chooses files of a Hub dataset"),
        (FILES + ', hub = "o/tiny", config = "x"', "eval.config chooses files of a Hub dataset, and so does files"),
        (FILES + ", format = { seperator = ',' }", "format.seperator is not a known key; did you mean 'separator'?"),
        (FILES + ', format = { separator = "tap" }', "format.separator is 'tap'; expected one character or comma or"),
        (FILES + ', format = { quote = "" }', 'eval.format.quote is ""; expected a text'),
        (FILES + ', format = { header = "no" }', 'eval.format.header is "no"; expected true or false'),
        (FILES + ', format = { columns = ["p"] }', "eval.format.columns is for a file without a header"),
        (FILES + ", format = { header = false }", "eval.format.columns is missing"),
        (FILES + ', format = { header = false, columns = ["p", "p"] }', "expected distinct names, and '_' for what"),
        (FILES + ', format = { header = false, columns = ["_"] }', "eval.format.columns names no column"),
        ('files = "{lang}", reader = "conll"', "eval.format.columns is missing; expected a list"),
        ('files = "{lang}", reader = "jsonl", format = { x = 1 }', "format.x is not a known key; this reader takes"),
        (FILES + ', columns = { lable = "y" }', "eval.columns.lable is not a known key; did you mean 'label'?"),
        (FILES + ', columns = { label = "" }', 'eval.columns.label is ""; expected a text'),
        (FILES + ', labels = ["yes", "maybe"]', "labels holds 'maybe'; expected one of yes, no, or a key of label_map"),
        (OF_HUB + ", format = { header = true }", "eval.format is of a reader; name it with reader"),
        (OF_HUB + ', reader = "cvs"', "eval.reader is 'cvs'"),
        ('hub = "o/tiny", files = "{lang}.txt"', "eval.reader is missing"),
        ('hub = "o/tiny", files = "../{lang}.txt", reader = "csv"', "eval.files is '../{lang}.txt'"),
    ],
)  # fmt: skip
def test_a_wrong_source_is_named_too(tmp_path: Path, new: str, expected: str) -> None:
    path = write(tmp_path, MINIMAL.replace(OF_HUB, new))
    with pytest.raises(CardError) as caught:
        load_card(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sources_that_are_right(tmp_path: Path) -> None:
    for new in (
        FILES,
        FILES + ', split = "test", aliases = { sw = "swa" }',
        FILES + ', hub = "o/tiny", revision = "refs/pr/1"',
        OF_HUB + ', reader = "csv", format = { separator = ";" }',
        'files = "all.jsonl", reader = "jsonl", prefix_column = "id", prefixes = { en = "e", sw = "s" }',
    ):
        card = load_card(write(tmp_path, MINIMAL.replace(OF_HUB, new)))
        assert card.eval.split == ("test" if "split" in new else card.eval.files), "what is scored has a name"
        assert card.folder == tmp_path
    renamed = FILES + ', labels = ["n", "yes"], columns = { label = "gold" }'
    card = load_card(write(tmp_path, MINIMAL.replace(OF_HUB, renamed) + 'label_map = { n = "no" }\n'))
    assert (card.eval.labels, card.eval.columns, card.label_map) == (("n", "yes"), {"label": "gold"}, {"n": "no"})


def test_a_map_leads_to_labels_of_the_card(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"label_map.n is 'not'; expected one of yes, no"):
        load_card(write(tmp_path, MINIMAL + 'label_map = { n = "not" }\n'))
    ner = MINIMAL.replace('"nli"', '"ner"').replace('"accuracy"', '"span_f1"')
    ner = ner.replace('premise = "p", hypothesis = "h", label = "y"', 'tokens = "t", tags = "g"')
    ner = ner.replace('["yes", "no"]', '["O", "B-PER", "I-PER"]')
    assert load_card(write(tmp_path, ner + 'label_map = { DATE = "O", PERSON = "PER" }\n')).label_map["DATE"] == "O"
    with pytest.raises(CardError, match=r"label_map.DATE is 'LOC'; expected one of O, PER"):
        load_card(write(tmp_path, ner + 'label_map = { DATE = "LOC" }\n'))
    with pytest.raises(CardError, match=r"options.scheme is 'iob'; expected one of iob2, iob1, bioes"):
        load_card(write(tmp_path, ner + 'options = { scheme = "iob" }\n'))
    with pytest.raises(CardError, match=r"on_error is 'ignore'; expected one of stop, skip"):
        load_card(write(tmp_path, ner + 'on_error = "ignore"\n'))


def test_translations_that_cannot_be_matched_are_said_and_move_no_hash(tmp_path: Path) -> None:
    said = MINIMAL.replace('licence = "l"', 'licence = "l", translations = "unmatched"')
    plain, loose = load_card(write(tmp_path, MINIMAL)), load_card(write(tmp_path, said))
    assert "translations" not in plain.about
    assert loose.about["translations"] == "unmatched"
    assert loose.sha256 == plain.sha256, "what a card says about its data is no part of how a number is made"
    built_in = {card.name: card for card in all_cards(BUILT_IN)}
    unmatched = {name for name, card in built_in.items() if "translations" in card.about}
    assert unmatched >= {"pawsx", "mlqa", "indicxnli", "americasnli"}
    assert not any(built_in[name].parallel for name in unmatched), "rows that can be matched are parallel"
    with pytest.raises(CardError) as caught:
        load_card(write(tmp_path, said.replace("unmatched", "none")))
    assert "\n" not in str(caught.value)


def test_hash_covers_what_can_move_a_number_and_nothing_else(tmp_path: Path) -> None:
    def sha256(text: str) -> str:
        return load_card(write(tmp_path, text)).sha256

    base = sha256(MINIMAL)
    reordered = "\n".join(sorted(MINIMAL.splitlines())) + "\n# a comment\n"
    checked = MINIMAL.replace('licence = "l"', 'licence = "l", verified = true, evidence = "e"')
    more = MINIMAL.replace('["en", "sw"]', '["en", "sw", "de"]')
    for same in (reordered, MINIMAL.replace("Tiny", "Tinier"), more, checked):
        assert sha256(same) == base
    for changed in (("rows:3", "rows:2"), ('train = [{ hub = "o/tiny"', 'train = [{ hub = "o/other"'), ('"p"', '"q"')):
        assert sha256(MINIMAL.replace(*changed, 1)) != base
    own = MINIMAL.replace(OF_HUB, FILES)
    kinds = {sha256(own), sha256(own + 'on_error = "skip"\n'), sha256(own + 'label_map = { n = "no" }\n')}
    for more in ('format = { quote = "|" }', 'columns = { label = "z" }', 'labels = ["no", "yes"]', 'split = "x"'):
        kinds.add(sha256(own.replace('reader = "tsv"', f'reader = "tsv", {more}')))
    assert len(kinds) == 7


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


def test_cards_import_no_heavy_library() -> None:
    code = (
        "import sys, unibench.cards, unibench.data, unibench.sources\n"
        "print([m for m in ('torch', 'datasets', 'huggingface_hub', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
