"""The built-in cards say what the data sets' authors and the data themselves say, and where it was looked up."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import SHARED

from unibench import data
from unibench.cards import Source, TaskCard, all_cards, card_folders
from unibench.catalogue import CATALOGUE
from unibench.errors import Unavailable
from unibench.families import FAMILIES
from unibench.labels import resolve
from unibench.opening import open_split
from unibench.sources import locate

CARDS = {card.name: card for card in all_cards(card_folders())}
each_card = pytest.mark.parametrize("card", CARDS.values(), ids=CARDS.keys())

# Every commit that a card names, and the public file that names it too (mteb: embeddings-benchmark/mteb).
PINNED = {
    "google/xquad": "51adfef1c1287aab1d2d91b5bead9bcfb9c68583",  # mteb, XQuADRetrieval.py
    "mteb/stsb_multi_mt": "29afa2569dcedaaa2fe6a3dcfebab33d28b82e8c",  # mteb, STSBenchmarkMultilingualSTS.py
    "mteb/sts17-crosslingual-sts": "faeb762787bd10488a50c8b5be4a3b82e411949c",  # mteb, STS17CrosslingualSTS.py
    "mteb/sts22-crosslingual-sts": "d31f33a128469b20e357535c39b82fb3c3f6f2bd",  # mteb, STS22CrosslingualSTS.py
    "klue/klue": "349481ec73fff722f88e0453ca05c77a447d967c",  # mteb, KlueSTS.py
    "nilc-nlp/assin2": "0ff9c86779e06855536d8775ce5550550e1e5a2d",  # mteb, Assin2STS.py
    "azarijafari/FarsTail": "7335288588f14e5a687d97fc979194c2abe6f4e7",  # mteb, FarsTail.py
    "mteb/JSTS": "5bac629e25799df4c9c80a6a5db983d6cba9e77d",  # mteb, JSTS.py
    "SemRel/SemRel2024": "ef5c383d1b87eb8feccde3dfb7f95e42b1b050dd",  # mteb, SemRel24STS.py
    "eduagarcia/sick-br": "0cdfb1d51ef339011c067688a3b75b82f927c097",  # mteb, SickBrSTS.py
    "mteb/indic_sts": "91b14b94dab7e75bd82ecfa8c3404c6a88fe3790",  # mteb, IndicCrosslingualSTS.py
}
# Other training data than the published protocol's: the name says so after the name of the card whose data are scored.
OTHER_TRAINING = {
    "xnli_snli": "xnli",
    "xquad_tydiqa": "xquad",
    "mlqa_dev_tydiqa": "mlqa",
    "masakhaner2_wikiann": "masakhaner2",
    "conll2002_conll2003": "conll2002",
}


def sources_of(card: TaskCard) -> tuple[Source, ...]:
    return (*card.train, *card.dev, card.eval)


def place(source: Source, language: str) -> tuple[str, str, str]:
    """Which rows of which data set: what two sources must not share if one is trained on and the other scored."""
    words = (source.config or source.files).replace("{lang}", source.names_of(language)[0])
    return source.hub, words, source.split


# --- what every card says


@each_card
def test_a_card_says_who_made_the_data_and_how_it_was_checked(card: TaskCard) -> None:
    assert set(card.columns) == set(FAMILIES[card.family].columns)
    assert card.about["licence"].startswith("as stated by")
    assert card.about["url"].startswith("https://")
    assert card.about["paper"]
    assert len(card.about["evidence"]) > 40
    if card.verified:
        assert re.search(r"compared with the data|huggingface/datasets|mteb|README|dml-qom", card.about["evidence"])


def test_twenty_cards_are_verified_in_every_family() -> None:
    verified = Counter(card.family for card in CARDS.values() if card.verified)
    assert verified.total() >= 20
    assert all(verified[family] >= 5 for family in ("ner", "nli", "qa", "sts")), verified


@each_card
def test_languages_are_codes(card: TaskCard) -> None:
    for language in card.languages:
        codes = language.split("-") if card.family == "sts" else [language]
        assert all(re.fullmatch(r"[a-z]{2,3}", code) for code in codes), language


@each_card
def test_no_commit_is_invented(card: TaskCard) -> None:
    for source in sources_of(card):
        if source.revision != "refs/convert/parquet":
            assert source.revision in (None, PINNED.get(source.hub)), source.hub


@each_card
def test_references_name_our_encoders_and_agree_with_their_printed_average(card: TaskCard) -> None:
    """A typing error in one of many numbers would move their mean away from the average that the source prints."""
    for reference in card.about["reference"]:
        assert reference["model"] in CATALOGUE
        percent = reference.get("percent", {})
        assert percent or "average_percent" in reference
        assert set(percent) <= set(card.languages)
        if "average_percent" in reference and percent:
            assert len(percent) == len(card.languages)
            mean = sum(percent.values()) / len(percent)
            assert mean == pytest.approx(reference["average_percent"], abs=0.051), reference["model"]


# --- protocols


@each_card
def test_nothing_that_is_scored_is_trained_on_or_selected_on(card: TaskCard) -> None:
    scored = {place(card.eval, language) for language in card.languages}
    for source in (*card.train, *card.dev):
        spoken = [source.language] if source.language else [*source.prefixes] or [*card.languages, card.train_language]
        assert not scored & {place(source, language) for language in spoken if language}, source


@each_card
def test_zero_shot_trains_in_its_language(card: TaskCard) -> None:
    if card.protocol == "zero-shot":
        assert any(source.language in (None, card.train_language) for source in card.train)
    if card.protocol == "none":
        assert card.options["head"] == "cosine"
    assert card.eval.split not in ("train", "dev")


def test_other_training_data_have_another_name() -> None:
    for name, official in OTHER_TRAINING.items():
        assert name.startswith(official)
        assert CARDS[name].eval.hub == CARDS[official].eval.hub
        assert {s.hub for s in CARDS[name].train}.isdisjoint(s.hub for s in CARDS[official].train)


def test_traps_of_single_data_sets() -> None:
    assert CARDS["mlqa"].eval.split == "test"
    assert CARDS["mlqa_dev_tydiqa"].eval.split == "validation"
    assert {name for name, card in CARDS.items() if card.options.get("normalisation") == "mlqa"} == {
        "mlqa",
        "mlqa_dev_tydiqa",
    }, "the other sets are scored as SQuAD is"
    assert all(s.hub != "google/xquad" for card in CARDS.values() for s in (*card.train, *card.dev)), "xquad.en leaks"
    assert CARDS["xquad"].dev == (), "SQuAD's own validation split is what XQuAD translates"
    assert [name for name, card in CARDS.items() if card.options.get("unanswerable")] == ["squad_v2"]
    assert {name for name, card in CARDS.items() if card.parallel} == {
        "stsb_multi", "stsb_multi_cosine", "stsb_multi_cross", "xnli", "xnli_snli", "xquad", "xquad_tydiqa",
    }  # fmt: skip
    assert len({card.options["head"] for name, card in CARDS.items() if name.startswith("stsb_multi")}) == 3


# --- what the data say


def cards_with(*, scored: bool) -> pytest.MarkDecorator:
    """Parametrizes over the cards that take from a data set in the mirror: the one they score, or any."""
    having = [
        card
        for card in CARDS.values()
        if any((SHARED / "hub" / s.hub).is_dir() for s in ([card.eval] if scored else sources_of(card)))
    ]
    return pytest.mark.parametrize("card", having, ids=[card.name for card in having])


@pytest.fixture(scope="module")
def hub(shared: Path) -> data.Origin:
    return data.origin(str(shared / "hub"))


@pytest.mark.realdata
@cards_with(scored=False)
def test_columns_and_label_order_are_the_data_s(card: TaskCard, hub: data.Origin) -> None:
    """In every language and part at hand, from the files' own schema: nothing is decoded."""
    seen = 0
    for source in sources_of(card):
        for language in dict.fromkeys((*card.languages, card.train_language)):
            if source.language not in (None, language) or (source.prefixes and language not in source.prefixes):
                continue
            split = locate(source, language, hub, card.folder)
            if isinstance(split, str):
                continue
            rows = open_split(split)
            columns = {**card.columns, **source.columns}
            grouped = [card.group.removeprefix("column:")] if card.group.startswith("column:") else []
            assert {*columns.values(), *grouped} <= set(rows.column_names), split.name
            if card.family in ("ner", "nli"):
                feature = rows.features[columns["tags" if card.family == "ner" else "label"]]
                names = getattr(getattr(feature, "feature", feature), "names", None)
                assert names, f"{split.name} does not name its labels"
                own = [resolve(name, card.family, card.labels, card.label_map) for name in names]
                assert None not in own, (split.name, names)
                if not card.label_map:
                    assert tuple(names) == card.labels, split.name
            seen += 1
    assert seen


def _some(card: TaskCard, hub: data.Origin) -> list[str]:
    """Returns up to three languages whose scored split is at hand: the first, one from the middle and the last."""
    at_hand = [code for code in card.languages if data.availability(card, "eval", code, hub) is None]
    return list(dict.fromkeys(at_hand[i] for i in (0, len(at_hand) // 2, -1))) if at_hand else []


@pytest.mark.realdata
@cards_with(scored=True)
def test_examples_load(card: TaskCard, hub: data.Origin) -> None:
    if card.name == "tydiqa":
        with pytest.raises(Unavailable, match="placeholders"):  # as this copy has it, and the card warns
            data.load(card, "eval", ["sw"], hub)
        return
    languages = _some(card, hub)
    if not languages:
        pytest.skip(f"no scored split of {card.name} at hand")
    for language in languages:
        loaded = data.load(card, "eval", [language], hub)
        assert loaded.examples
        faulty = sum(loaded.notes.get(note, 0) for note in ("malformed", "unlabelled", "answer_absent"))
        assert faulty <= 0.01 * len(loaded.examples), (language, loaded.notes)
        if card.family in ("ner", "nli"):
            targets = Counter(t for e in loaded.examples for t in (e.target if card.family == "ner" else [e.target]))
            assert len(targets) == len(card.labels), f"{language} never has one of its labels: {targets}"
        if card.family == "sts":
            targets = Counter(e.target for e in loaded.examples)
            assert 0 <= min(targets) < 0.1, "the scale is the data's"
            assert 0.9 < max(targets) <= 1


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "part", "language", "count"),
    [
        ("xnli", "eval", "sw", 5010),
        ("xnli_snli", "train", "en", 99_890 + 44_983),
        ("snli", "eval", "en", 9824),
        ("lingnli", "eval", "en", 7371),
        ("wikiann", "train", "en", 20_000),
        ("masakhaner2", "eval", "yo", 1964),
        ("masakhaner2_wikiann", "train", "en", 20_000),
        ("xquad", "eval", "th", 1190),
        ("mlqa_dev_tydiqa", "eval", "en", 1148),
        ("mlqa_dev_tydiqa", "eval", "es", 500),
        ("stsb_multi", "train", "en", 5749),
        ("stsb_multi_cross", "eval", "ja", 1379),
        ("stsb_multi_cosine", "eval", "zh", 1379),
        ("sts17", "eval", "en-tr", 250),
    ],
)
def test_as_many_examples_as_published(name: str, part: Any, language: str, count: int, hub: data.Origin) -> None:
    assert len(data.load(CARDS[name], part, [language], hub).examples) == count


@pytest.mark.realdata
def test_tydiqa_trains_on_all_of_english(hub: data.Origin) -> None:
    """3,696 published questions, a tenth of which select."""
    train, dev = (data.load(CARDS["tydiqa"], part, ["en"], hub) for part in ("train", "dev"))
    assert len(train.examples) + len(dev.examples) == 3696
    assert not {e.inputs["context"] for e in train.examples} & {e.inputs["context"] for e in dev.examples}


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["xnli", "xquad", "stsb_multi"])
def test_parallel_rows_are_the_same_item_in_every_language(name: str, hub: data.Origin) -> None:
    """Labels, scores and groups are the witnesses: they are not translated."""
    card = CARDS[name]
    english = data.load(card, "eval", ["en"], hub).examples
    for language in card.languages:
        other = data.load(card, "eval", [language], hub).examples
        assert [(e.id, e.group) for e in other] == [(e.id, e.group) for e in english], language
        if card.family != "qa":
            assert [e.target for e in other] == [e.target for e in english], language


@pytest.mark.realdata
def test_dates_of_masakhaner2_become_no_names(hub: data.Origin) -> None:
    official = data.load(CARDS["masakhaner2"], "eval", ["zu"], hub).examples
    mapped = data.load(CARDS["masakhaner2_wikiann"], "eval", ["zu"], hub).examples
    assert sum(tag == "B-DATE" for e in official for tag in e.target) > 100
    for one, other in zip(official, mapped, strict=True):
        assert one.inputs == other.inputs
        assert other.target == tuple("O" if tag.endswith("-DATE") else tag for tag in one.target)
