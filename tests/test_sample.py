"""The generated world: right by construction, and checked to be so in every language that has a file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from seqeval.metrics.sequence_labeling import get_entities

from unibench import cards, data
from unibench.errors import DataError, Unavailable, UnknownName
from unibench.sample import check, examples, facts, fingerprint, lexicon, pairs, tasks, templates, text
from unibench.sample.examples import Row
from unibench.sample.facts import Fact, World
from unibench.sample.tokens import tokenise
from unibench.sources import Origin
from unibert.languages import LANGUAGES

REPO = Path(__file__).resolve().parents[1]
CODES = templates.codes()
XNLI = ["ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh"]
XQUAD = ["ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh"]
STSB = ["de", "en", "es", "fr", "it", "ja", "nl", "pl", "pt", "ru", "zh"]
WIKIANN = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
MASAKHA = (*WIKIANN, "B-DATE", "I-DATE")
SAMPLE = Origin(kind="sample")


def card(name: str) -> cards.TaskCard:
    return cards.pick([name], cards.card_folders())[0]


# The world


def test_borders_stand_on_both_sides_and_facts_are_cldrs():
    world = lexicon.countries()
    for country in world.values():
        assert all(country.code in world[other].borders for other in country.borders), country
    assert (world["JP"].currency, world["JP"].language, world["JP"].continent) == ("JPY", "ja", "142")
    assert world["NO"].language == "no"
    assert world["FI"].language is None, "Finland has two official languages"
    assert lexicon.city("Europe/Rome", "de") == "Rom"
    assert lexicon.city("Europe/Rome", "en") == "Rome", "CLDR leaves out what equals the zone's own name"


def test_no_name_of_one_part_is_met_in_another():
    names: dict[str, set[tuple[str, int]]] = {}
    for part in ("train", "dev", "eval"):
        world = World(np.random.default_rng(0), part, places_apart=True)
        for of in ("person", "organisation", "city", "country"):
            for _ in range(300):
                key = world.draw(of)
                used = {key} if isinstance(key, str) else {("brand", key[1])} if key[0] == "o" else {
                    (key[0], key[1]), ("family", key[2])
                }  # fmt: skip
                names.setdefault(part, set()).update(used)  # type: ignore[arg-type]
    assert not names["train"] & names["eval"]
    assert not names["train"] & names["dev"]
    assert not names["dev"] & names["eval"]


# The languages


def test_the_languages_asked_for_are_there():
    assert set(XNLI) | set(XQUAD) | set(STSB) | {"ko", "fa", "uk", "id", "fi"} <= set(CODES)
    assert len(CODES) >= 27


@pytest.mark.parametrize("code", CODES)
def test_every_wording_says_its_fact_and_no_other(code):
    assert check.problems(code) == []


@pytest.mark.parametrize("code", CODES)
def test_there_are_several_wordings_of_everything(code):
    here, english = templates.language(code), templates.language("en")
    for relation, wordings in english.statements.items():
        assert len(here.statements[relation]) >= len(wordings), relation
    for relation, wordings in english.questions.items():
        assert len(here.questions[relation]) >= len(wordings), relation
    assert all(here.checklist[point] for point in templates.CHECKLIST)


MISTAKES = [
    ('"{person} lives in {city}."', '"{person} was born in {city}."', "reads back as born_in"),
    ('"{person} lives in {city}."', '"{person} lives in  {city}."', "has a space too many"),
    ('"{person} lives in {city}."', '"{person} lives in {city}"', "ends without a stop"),
    ('"{person} lives in {city}."', '"{person} lives."', "does not use city"),
    ('"{person} lives in {city}."', '"{person} lives in {town}."', "has a slot 'town'"),
    ('"{person} lives in {city}."', '"{person} lives in {city:at}."', "asks for the form 'at'"),
    ('"{person} lives in {city}."', '"{person} lives in {city?a|b}."', "has '{city?a|b}'"),
    ('"{person} lives in {city}."', '"{person} lives in {city}}."', "has a brace that belongs to no slot"),
    ('"Brandt", "Castro"', '"Brandt", "Brandt"', "has to be a list of 40 distinct texts"),
    ('["", "{}"]]', '["^X$", "{}"]]', "has to end in a rule for every name"),
    ("[checklist]", "[checklists]", "has to say how the file handles"),
    ('name = "English"', "name = English", "is not a readable TOML file"),
    ("[cities]", '[cities]\nFR = "London"', "are both called 'london'"),
]


@pytest.mark.parametrize(("right", "wrong", "expected"), MISTAKES, ids=[expected for _, _, expected in MISTAKES])
def test_a_mistake_in_a_file_is_found(tmp_path, monkeypatch, right, wrong, expected):
    written = (templates.FOLDER / "en.toml").read_text(encoding="utf-8")
    assert right in written
    (tmp_path / "en.toml").write_text(written, encoding="utf-8")
    (tmp_path / "xx.toml").write_text(written.replace(right, wrong, 1), encoding="utf-8")
    for module, name in ((templates, "language"), (templates, "name"), (templates, "formed"), (check, "_names")):
        getattr(module, name).cache_clear()
    monkeypatch.setattr(templates, "FOLDER", tmp_path)
    monkeypatch.setitem(lexicon.LOCALES, "xx", "en")
    lexicon.locale.cache_clear()
    found = check.problems("xx")
    monkeypatch.undo()
    templates.language.cache_clear()
    assert any(expected in line for line in found), found


def test_latin_letters_left_in_another_script_are_found(monkeypatch):
    assert check._wrong("ru", "Paris — столица Франции.") == ["holds Latin letters (Paris)"]
    assert check._wrong("de", "Paris ist eine Stadt.") == []


def test_a_choice_follows_the_person_and_a_form_its_rules():
    english = templates.language("en")
    [third] = [t for t in english.statements["lives_in"] if any(getattr(p, "choices", ()) for p in t)]
    man, woman = (
        templates.render("en", third, Fact(relation="lives_in", entities=((sex, 0, 0), "FR"))) for sex in "mf"
    )
    assert man.text == "Paris is the city where Daniel Novak has his home."
    assert woman.text == "Paris is the city where Anna Novak has her home."
    assert templates.formed("en", "country", "the", "NL") == ("the Netherlands", 4, 15)
    assert templates.formed("en", "country", "the", "FR") == ("France", 0, 6)
    [span] = [span for span in woman.spans if span.slot == "person"]
    assert woman.text[span.start : span.end] == "Anna Novak"


@pytest.mark.parametrize(
    ("text", "spaced", "tokens"),
    [
        ("May 3, 1990, 2,400 people.", True, ["May", "3", ",", "1990", ",", "2,400", "people", "."]),
        ("l’Italie et Nagy-Weber", True, ["l’", "Italie", "et", "Nagy-Weber"]),
        ("Paris'te yaşıyor.", True, ["Paris'te", "yaşıyor", "."]),
        ("फ़्रांस में", True, ["फ़्रांस", "में"]),
        ("می‌کند،", True, ["می‌کند", "،"]),
        ("巴黎是法国。", False, ["巴", "黎", "是", "法", "国", "。"]),
        ("\u0e17\u0e35\u0e48\u0e19\u0e35\u0e48 2,400", False, ["\u0e17\u0e35\u0e48", "\u0e19\u0e35\u0e48", "2,400"]),
    ],
)
def test_tokens(text, spaced, tokens):
    assert [text[start:end] for start, end in tokenise(text, spaced=spaced)] == tokens


# The tasks


FAMILIES = [
    ("ner", "wikiann", WIKIANN),
    ("nli", "xnli", pairs.NLI_LABELS),
    ("qa", "xquad", ()),
    ("sts", "stsb_multi", ()),
]


@pytest.mark.parametrize(("family", "name", "labels"), FAMILIES)
@pytest.mark.parametrize("code", CODES)
def test_every_family_is_told_in_every_language(family, name, labels, code):
    assert tasks.unavailable(family, code, labels) is None
    rows = tasks.rows(family, name, "eval", code, labels)
    english = tasks.rows(family, name, "eval", "en", labels)
    assert len(rows) == examples.SIZES["eval"]
    assert [row.group for row in rows] == [row.group for row in english]
    assert set(Counter(row.group for row in rows).values()) == {examples.PER_GROUP[family]}
    for row, same in zip(rows, english, strict=True):
        if family == "ner":
            assert Counter(kind for kind, *_ in get_entities(list(row.target))) == Counter(
                kind for kind, *_ in get_entities(list(same.target))
            ), row
        elif family == "qa":
            [answer], [start] = row.target["text"], row.target["start"]
            assert answer
            assert row.inputs["context"].startswith(answer, start)
        else:
            assert row.target == same.target
    if code != "en":
        assert [row.inputs for row in rows] != [row.inputs for row in english]


@pytest.mark.parametrize("code", CODES)
def test_named_entities_of_eval_are_unseen(code):
    def entities(part):
        found = set()
        for row in tasks.rows("ner", "wikiann", part, code, WIKIANN):
            tokens = row.inputs["tokens"]
            found |= {tuple(tokens[first : last + 1]) for _, first, last in get_entities(list(row.target))}
        return found

    trained, scored = entities("train"), entities("eval")
    assert len(scored) > 100
    assert not trained & scored


def test_dates_are_tagged_only_where_the_card_has_them():
    tags = Counter(tag for row in tasks.rows("ner", "masakhaner2", "eval", "sw", MASAKHA) for tag in row.target)
    assert tags["B-DATE"] > 10
    tags = Counter(tag for row in tasks.rows("ner", "wikiann", "eval", "sw", WIKIANN) for tag in row.target)
    assert set(tags) | {"I-LOC"} == set(WIKIANN), "Swahili has few places of two words"


def test_inference_follows_from_the_facts(monkeypatch):
    """Each premise's sentences are read back, and the label is derived from what was read."""
    days = [f.value for p in pairs._nli_facts("xnli", "dev") for f, _ in p.stated + tuple(h[1:] for h in p.hypotheses)]
    monkeypatch.setattr(check, "_days", lambda: tuple(sorted(str(day) for day in days if "-" in str(day))))
    check._names.cache_clear()
    for row in tasks.rows("nli", "xnli", "dev", "en", pairs.NLI_LABELS):
        sentences = re.findall(r"[^.]+\.", row.inputs["premise"])
        assert len(sentences) in (1, 2)
        known: dict[tuple[str, facts.Key], facts.Key] = {}
        for sentence in sentences:
            [fact] = check.parse("en", sentence.strip())
            known[fact.relation, fact.subject] = fact.value
            for relation, made in facts.RELATIONS.items():
                if made.follows_from == fact.relation:
                    known[relation, fact.subject] = fact.value
        [fact] = check.parse("en", row.inputs["hypothesis"])
        told = known.get((fact.relation, fact.subject))
        label = "neutral" if told is None else "entailment" if told == fact.value else "contradiction"
        assert pairs.NLI_LABELS[row.target] == label, row
    check._names.cache_clear()


def hypothesis_only_accuracy(rows, held_out):
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        CountVectorizer(token_pattern=r"\S+", ngram_range=(1, 2)), LogisticRegression(max_iter=200, C=0.1)
    )
    model.fit([row.inputs["hypothesis"] for row in rows], [row.target for row in rows])
    right = model.predict([row.inputs["hypothesis"] for row in held_out])
    return float(np.mean(right == [row.target for row in held_out]))


@pytest.mark.parametrize("code", ["en", "de", "ru", "tr", "sw"])
def test_a_hypothesis_alone_says_nothing_about_its_label(code, monkeypatch):
    # More test pairs than a card has, so that chance itself varies by less than the 3 points allowed.
    monkeypatch.setattr(examples, "SIZES", {"train": 3000, "dev": 6000, "eval": 6000})
    train, held_out = (tasks.rows("nli", "shortcut", part, code, pairs.NLI_LABELS) for part in ("train", "eval"))
    pairs._nli_facts.cache_clear()
    assert abs(hypothesis_only_accuracy(train, held_out) - 1 / 3) < 0.03


def test_the_hypothesis_only_classifier_would_see_a_shortcut():
    rows = tasks.rows("nli", "xnli", "train", "en", pairs.NLI_LABELS)
    given = [
        Row(
            row.group, {**row.inputs, "hypothesis": row.inputs["hypothesis"] + " never" * (row.target == 2)}, row.target
        )
        for row in rows
    ]
    assert hypothesis_only_accuracy(given[:2000], given[2000:]) > 0.5


def test_similarity_is_the_share_of_what_is_told():
    a = Fact(relation="lives_in", entities=(("f", 0, 0), "FR"))
    b = Fact(relation="lives_in", entities=(("f", 0, 0), "DE"))
    c = Fact(relation="founded", entities=(("o", 0, 0), 1900))
    assert pairs.similarity([a], [a]) == 1
    assert pairs.similarity([a], [b]) == pytest.approx(2 / 3)
    assert pairs.similarity([a, c], [a]) == pytest.approx((1 + 0 + 1) / 3)
    assert pairs.similarity([a], [c]) == 0
    scores = [row.target for row in tasks.rows("sts", "stsb_multi", "eval", "en", ())]
    assert min(scores) == 0
    assert max(scores) == 1
    assert len({round(score, 3) for score in scores}) > 6


def test_pairs_across_languages_say_the_same():
    crossed = tasks.rows("sts", "sts17", "eval", "en-ar", ())
    english = tasks.rows("sts", "sts17", "eval", "en-en", ())
    arabic = tasks.rows("sts", "sts17", "eval", "ar-ar", ())
    assert [row.inputs["sentence1"] for row in crossed] == [row.inputs["sentence1"] for row in english]
    assert [row.inputs["sentence2"] for row in crossed] == [row.inputs["sentence2"] for row in arabic]
    assert [row.target for row in crossed] == [row.target for row in arabic]


def test_cards_do_not_share_examples():
    one, other = (tasks.rows("nli", name, "eval", "en", pairs.NLI_LABELS) for name in ("xnli", "xnli_snli"))
    assert not {row.inputs["premise"] for row in one} & {row.inputs["premise"] for row in other}


# Through the cards


def test_every_card_is_served_in_the_languages_the_sample_has():
    served = 0
    for one in cards.all_cards(cards.card_folders()):
        for language in one.languages:
            reason = data.availability(one, "eval", language, SAMPLE)
            spoken = language.split("-") if one.family == "sts" else [language]
            if reason is None:
                assert set(spoken) <= set(CODES), (one.name, language)
            else:  # the sample has no such sentences, or no such labels
                assert set(spoken) - set(CODES) or one.family in ("ner", "nli"), (one.name, language, reason)
                assert reason == tasks.unavailable(one.family, language, one.labels)
            served += reason is None
    assert served > 60


def test_a_card_in_the_sample_loads_like_any_other():
    loaded = data.load(card("xnli"), "eval", ["sw"], SAMPLE, limit=30)
    full = data.load(card("xnli"), "eval", ["sw"], SAMPLE)
    assert len(loaded.examples) == 30
    assert {e.id for e in loaded.examples} < {e.id for e in full.examples}
    assert loaded.parallel
    assert data.load(card("wikiann"), "eval", ["sw"], SAMPLE).parallel, "the same facts in every language"
    train = data.load(card("wikiann"), "train", ["en"], SAMPLE, limit=100)
    dev = data.load(card("wikiann"), "dev", ["en"], SAMPLE)
    assert (len(train.examples), len(dev.examples)) == (100, examples.SIZES["dev"])
    assert not {e.group for e in train.examples} & {e.group for e in dev.examples}
    assert data.load(card("sts17"), "eval", ["en-ar"], SAMPLE).examples[0].target <= 1


def test_what_the_sample_does_not_have_is_said():
    with pytest.raises(Unavailable, match="the generated sample has no qu sentences; unibench doctor lists"):
        data.load(card("wikiann"), "eval", ["qu"], SAMPLE)
    reason = data.availability(card("xquad"), "train", "de", SAMPLE)
    assert reason == "xquad has no train data for de, only for en"
    assert tasks.unavailable("nli", "en", ("yes", "no", "maybe")) == (
        "the generated sample labels pairs entailment, neutral, contradiction, not yes, no, maybe"
    )
    assert "tags PER, ORG, LOC and DATE" in str(tasks.unavailable("ner", "en", ("O", "B-GPE", "I-GPE")))


def test_the_stamp_follows_the_files_behind_the_sample(monkeypatch):
    before = data.stamp(card("xnli"), ("eval",), ("en",), SAMPLE)
    assert data.stamp(card("xnli"), ("eval",), ("en",), SAMPLE) == before
    assert data.stamp(card("xnli"), ("eval",), ("de",), SAMPLE) != before
    monkeypatch.setattr(data, "sample_fingerprint", lambda: "another")
    assert data.stamp(card("xnli"), ("eval",), ("en",), SAMPLE) != before


# Text


def test_text_is_the_same_in_another_process():
    code = "import hashlib; from unibench.sample import text, tasks; print(hashlib.sha256(repr((text.lines('de'), " \
           "tasks.rows('qa', 'xquad', 'eval', 'de', ()))).encode()).hexdigest())"  # fmt: skip
    printed = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO,
                       env={**os.environ, "PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(printed) == 1


def test_93_of_the_107_languages_have_text():
    spoken = text.pick("all", LANGUAGES)
    assert len(LANGUAGES) == 107
    assert set(LANGUAGES) - set(spoken) == {
        "azb", "ba", "bar", "bpy", "io", "lmo", "min", "pms", "pnb", "rw", "sco", "su", "vo", "war"
    }  # fmt: skip
    assert set(CODES) <= set(spoken)


def test_phrases_are_in_the_language_and_not_in_english():
    welsh = text.lines("cy")
    assert len(welsh) == text.PHRASE_LINES
    assert any("Gwlad Pwyl" in line for line in welsh)
    assert not any("Poland" in re.sub(r"\(.*\)", "", line) for line in welsh)
    for code in text.pick("all", LANGUAGES):
        if code not in CODES:
            lines = text.lines(code)
            assert len(set(lines)) > 200, code
            assert not any("M0" in line or "()" in line for line in lines), code


@pytest.mark.parametrize("code", ["en", "zh", "sw"])
def test_no_example_is_a_line_of_the_text(code):
    lines = set(text.lines(code))
    for family, name, labels in FAMILIES:
        for part in ("dev", "eval"):
            for row in tasks.rows(family, name, part, code, labels):
                for value in row.inputs.values():
                    if family != "sts" and isinstance(value, str) and len(value) > 60:
                        assert value not in lines, value


def test_a_language_without_text_is_refused_by_name():
    with pytest.raises(UnknownName, match="no language 'min' in the sample's text"):
        text.pick(["en", "min"], LANGUAGES)
    assert text.identity(("en", "de")) == text.identity(("de", "en"))
    assert text.identity(("en",)) != text.identity(("en", "de"))
    assert fingerprint() == fingerprint()


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(DataError, match=r"xy\.toml is not a readable TOML file"):
        templates.language("xy")
