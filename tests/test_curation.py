from __future__ import annotations

import re
import sys
import unicodedata

import pytest
import world
from hypothesis import given, settings
from hypothesis import strategies as st

from unibert import curation
from unibert.corpus import from_folder
from unibert.curation import STEPS, Curation, StepCounts, Tally, count_words, curate
from unibert.errors import UserError
from unibert.languages import LANGUAGES
from unibert.markup import strip_markup
from unibert.scripts import SCRIPTS, WRITTEN_IN, foreign_pattern

ONLY = {name: tuple(other for other in STEPS if other != name) for name in STEPS}
SENTENCE = "A river runs through the old town."


def run(document, language="en", tally=None, **asked):
    return curate(document, language, Curation(**asked), tally or Tally(), count_words)


def only(step, document, language="en", **asked):
    tally = Tally()
    return curate(document, language, Curation(skip=ONLY[step], **asked), tally, count_words), tally.steps[step]


def test_every_language_has_its_scripts():
    assert WRITTEN_IN.keys() == LANGUAGES.keys()
    assert {script for scripts in WRITTEN_IN.values() for script in scripts} <= SCRIPTS.keys()
    assert [WRITTEN_IN[code] for code in ("sr", "ja", "kk")] == [
        ("Cyrl", "Latn"), ("Hani", "Hira", "Kana"), ("Cyrl", "Latn", "Arab")
    ]  # fmt: skip


NAMES = {
    "Latn": "LATIN", "Cyrl": "CYRILLIC", "Grek": "GREEK", "Armn": "ARMENIAN", "Hebr": "HEBREW", "Arab": "ARABIC",
    "Deva": "DEVANAGARI", "Beng": "BENGALI", "Guru": "GURMUKHI", "Gujr": "GUJARATI", "Taml": "TAMIL", "Telu": "TELUGU",
    "Knda": "KANNADA", "Mlym": "MALAYALAM", "Thai": "THAI", "Laoo": "LAO", "Mymr": "MYANMAR", "Khmr": "KHMER",
    "Geor": "GEORGIAN", "Tfng": "TIFINAGH", "Hang": "HANGUL", "Hira": "HIRAGANA", "Kana": "KATAKANA", "Hani": "CJK",
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_s_letters_are_those_that_unicode_names_after_it(script):
    assert NAMES.keys() == SCRIPTS.keys()
    foreign = foreign_pattern((script,))
    any_script = re.compile(rf"(FULLWIDTH |HALFWIDTH )?({'|'.join(NAMES.values())})\b")
    named = re.compile(rf"(FULLWIDTH |HALFWIDTH )?{NAMES[script]}\b")
    for point in range(0x10000):
        letter = chr(point)
        name = unicodedata.name(letter, "")
        if unicodedata.category(letter)[0] == "L" and any_script.match(name):
            shared = "HIRAGANA-KATAKANA" in name or "KATAKANA-HIRAGANA" in name
            assert shared or bool(named.match(name)) != bool(foreign.match(letter)), f"{point:04X} {name}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's 3.5 km, isn't it?", 8), ("हिन्दी में किताबें", 3), ("می‌خواهم بروم", 2), ("我住在北京。", 5), ("ที่บ้าน", 4),
        ("– … !", 0), ("", 0), ("한국어 위키백과", 2), ("東京タワーは333m", 7), ("snake_case", 2), ("e\u0301tude", 1),
    ],
)  # fmt: skip
def test_words_are_runs_of_letters_and_digits_or_letters_of_scripts_without_spaces(text, words):
    assert count_words(text) == words


def test_unicode_is_composed_and_lines_that_decoding_broke_are_dropped():
    document = "\ufeffun cafe\u0301\nbroken \ufffd here\nlone \ud800 half\nmore"
    cleaned, counts = only("unicode", document)
    assert cleaned == "un café\nmore"
    assert (counts.dropped_lines, counts.changed_documents) == (2, 1)


def test_control_characters_go_and_joiners_stay():
    cleaned, counts = only("control", "  می\u200cخواهم\x00 بروم\u00a0 \r\n\r\n\tnext\u3000line  ")
    assert cleaned == "می\u200cخواهم بروم\nnext line"
    assert (counts.changed_documents, counts.dropped_lines) == (1, 0)


@pytest.mark.parametrize(
    ("wiki", "plain"),
    [
        ("Rome{{efn|a {{small|b}}}} is old.", "Rome is old."),
        ("[[Rome|The city]] of [[Italy]]s.", "The city of Italys."),
        ("[[File:Rome at night.jpg|thumb|200px|[[Rome]] by [https://x.org night]]]\nText.", "Text."),
        ("Text.\n[[Category:Cities]]\n[[Kategorie:Städte]]", "Text."),
        ("Star [[Star Wars: Hope|Wars]].", "Star Wars."),
        ('Old<ref name="a">Book, p. 3.</ref> and<ref name=b/> new.<br/>Next', "Old and new.\nNext"),
        ("AT&amp;T&nbsp;&amp;nbsp;&ndash; R&D &lt;b&gt;bold&lt;/b&gt;", "AT&T – R&D bold"),
        ("می&zwnj;خواهم", "می\u200cخواهم"),
        ("x < y and y > z", "x < y and y > z"),
        ("== History ==\nText.\n=== Notes on it ===\nMore.", "Text.\nMore."),
        ("Text.\n== References ==\nBook.\n=== Web ===\nPage.\n== Geography ==\nHills.", "Text.\nHills."),
        ("Text.\nWeblinks\nSome page.", "Text."),
        ("文。\n参考文献\n本。", "文。"),
        ("נוסח.\nקישורים חיצוניים:\nדף.", "נוסח."),
        ("{| class=\"x\"\n|-\n| a || b\n|}\nText.", "Text."),
        ("{|\n| a\nof a cell\n{|\n|}\n|}\nText.\n{|\nleft open", "Text.\nleft open"),
        ("| stray = cell\nText {{unclosed\nKept.", "Kept."),
        ("thumb|250px|A view\nText.", "Text."),
        ("See https://example.org/a_b, or www.example.org.", "See , or ."),
        ("詳細はhttps://example.org/を見る。", "詳細はを見る。"),
        ("Ada (; born 1815) and () or ( , 1900)", "Ada (born 1815) and or (1900)"),
        ("'''Ada''' wrote ''notes''. __NOTOC__", "Ada wrote notes."),
        ("* item one\n## item two\n: indented", "item one\nitem two\nindented"),
        ("As said.[1][23]", "As said."),
        ("Plain text, [sic] here.", "Plain text, [sic] here."),
    ],
)  # fmt: skip
def test_markup_is_removed_and_text_stays(wiki, plain):
    assert only("markup", wiki)[0] == plain


def test_what_markup_drops_is_counted_in_lines():
    assert strip_markup("a\n== b ==\n| c\nd") == ("a\nd", 2)
    _, counts = only("markup", "Text.\nReferences\nBook.\nOther book.")
    assert counts.dropped_lines == 3


@pytest.mark.parametrize("piece", ["<ref>a ", "{{a ", "[[a ", "<!-- ", "{|\n", "((((", "[http://a ", "'''", "= ", "&a"])
def test_markup_that_never_closes_is_left_behind_in_time(piece):
    text, _ = strip_markup(f"A sentence.\n{piece * 20_000}\nAnother one.")
    assert text.startswith("A sentence.\n")
    assert text.endswith("Another one.")


def test_stubs_and_endless_lines_go_and_long_documents_are_cut_at_a_line():
    document = "\n".join(["Early life", SENTENCE, "x" * 90, "Yes.", "Five words and no end", "“Why?”"])
    cleaned, counts = only("length", document, max_line_characters=80)
    assert cleaned.split("\n") == [SENTENCE, "Yes.", "Five words and no end", "“Why?”"]
    assert counts.dropped_lines == 2
    cleaned, counts = only("length", "\n".join([SENTENCE] * 5), max_characters=2 * len(SENTENCE) + 10)
    assert (cleaned, counts.dropped_lines) == ("\n".join([SENTENCE] * 2), 3)
    assert only("length", "word " * 30 + "end.", max_characters=40)[0] == ("word " * 30)[:40]
    assert only("length", "Too short here.")[0] is None


def test_what_later_steps_leave_must_be_long_enough_too():
    document = "Это предложение на другом языке.\nBut a few words."
    tally = Tally()
    assert run(document, tally=tally) is None
    assert (tally.steps["script"].dropped_lines, tally.steps["script"].dropped_documents) == (1, 1)
    assert run(document, min_characters=10) == "But a few words."


def test_repeated_lines_go_and_documents_of_repetition_too():
    lines = world.lines("en")
    cleaned, counts = only("repetition", "\n".join([*lines[:6], lines[0], "1 2 3 4 – 5 %", lines[6]]))
    assert cleaned.split("\n") == lines[:7]
    assert counts.dropped_lines == 2
    assert only("repetition", "\n".join(lines[:2] * 2))[0] is None
    assert only("repetition", "the same five words again " * 8)[0] is None
    assert only("repetition", "同じ言葉を何度も繰り返す" * 8, "ja")[0] is None
    assert only("repetition", "\n".join(world.lines("en")))[0] is None  # a template's sentences, and it shows
    assert only("repetition", "\n".join(world.lines("en")), max_repeated_share=1.0)[0] is not None


@pytest.mark.parametrize(
    ("language", "line", "stays"),
    [
        ("ru", "Это русское предложение.", True), ("ru", "This is an English sentence.", False),
        ("hi", "यह AutoCorrect का एक उदाहरण है।", True), ("sr", "Ovo je latinica.", True),
        ("sr", "Ово је ћирилица.", True), ("uz", "Oʻzbek tili gʻarbda.", True), ("pa", "یہ پنجابی ہے۔", False),
        ("pnb", "یہ پنجابی ہے۔", True), ("ja", "東京タワーへ行きました。", True),
        ("zh", "これはとてもいいことです。", False),
        ("ko", "漢字를 섞어 쓴 글이다.", True), ("en", "Tōkyō (東京) is large.", True),
        ("kab", "Tutlayt ⵜⴰⵎⴰⵣⵉⵖⵜ", True),
        ("en", "№ 5, 100 %", True),
    ],
)  # fmt: skip
def test_lines_in_another_script_go(language, line, stays):
    cleaned, counts = only("script", f"{line}\n{line}", language)
    assert (cleaned is not None, counts.dropped_lines) == (stays, 0 if stays else 2)


def test_a_language_of_unknown_script_passes_unjudged():
    cleaned, counts = only("script", "ᏣᎳᎩ\nᎦᏬᏂᎯᏍᏗ", "chr")
    assert (cleaned, counts.unjudged_lines) == ("ᏣᎳᎩ\nᎦᏬᏂᎯᏍᏗ", 2)


def test_lines_in_another_language_go_only_where_the_identifier_knows_this_one():
    pytest.importorskip("py3langid")
    german = "Das ist ein deutscher Satz über das Wetter in den Bergen."
    english = "This is an English sentence about the weather in the mountains."
    cleaned, counts = only("language", f"{german}\n{english}\nOkay.", "de", min_confidence=0.9)
    assert (cleaned, counts.dropped_lines, counts.unjudged_lines) == (f"{german}\nOkay.", 1, 1)
    cleaned, counts = only("language", f"{german}\n{english}", "bar", min_confidence=0.9)
    assert (counts.dropped_lines, counts.unjudged_lines) == (0, 2)
    tally = Tally()
    assert run(english, "de", tally=tally) == english
    assert "language" not in tally.steps


def test_the_language_step_without_its_extra_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    curation._identifier.cache_clear()
    with pytest.raises(UserError, match=r"needs py3langid; pip install unibench\[corpus\]"):
        run(SENTENCE, min_confidence=0.9)
    curation._identifier.cache_clear()


def test_the_tally_follows_documents_characters_and_tokens_from_step_to_step():
    document = (
        "== Title ==\n" + SENTENCE + "\nShort stub\n" + "Ein Fluss fließt.\n" * 1 + "Река течёт через старый город."
    )
    tally = Tally()
    assert run(document, tally=tally) == f"{SENTENCE}\nEin Fluss fließt."
    assert run("Only this\nand that", tally=tally) is None
    plain = tally.to_plain()
    assert list(plain["steps"]) == ["unicode", "control", "markup", "length", "repetition", "script"]
    entered = {name: (c["documents"], c["tokens"]) for name, c in plain["steps"].items()}
    # by hand: 1 + 7 + 2 + 3 + 5 words, then the 4 of the second document
    assert entered == {
        "unicode": (2, 22), "control": (2, 22), "markup": (2, 22), "length": (2, 21), "repetition": (1, 15),
        "script": (1, 15),
    }  # fmt: skip
    assert plain["steps"]["length"]["dropped_documents"] == 1
    assert plain["steps"]["length"]["dropped_lines"] == 1 + 2
    assert plain["kept"] == {"documents": 1, "characters": len(SENTENCE) + 18, "tokens": 10}


def test_tallies_merge_to_what_one_would_have_counted():
    documents = [SENTENCE, "Stub", "Река течёт через старый город.", f"== A ==\n{SENTENCE}"]
    whole, parts = Tally(), [Tally(), Tally()]
    for index, document in enumerate(documents):
        run(document, tally=whole)
        run(document, tally=parts[index % 2])
    parts[0].merge(parts[1])
    assert parts[0].to_plain() == whole.to_plain()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"skip": ("markups",)}, "no curation step 'markups'; did you mean 'markup'"),
        ({"skip": ("xyz",)}, "no curation step 'xyz'; known: unicode, control"),
        ({"max_repeated_share": 30}, "max_repeated_share 30 is not a share"),
        ({"min_confidence": 1.5}, "min_confidence 1.5 is not a share"),
        ({"min_characters": 9, "max_characters": 3}, "min_characters 9 is not between 0 and 3"),
    ],
)
def test_settings_that_make_no_sense_are_refused(asked, message):
    with pytest.raises(UserError, match=message):
        Curation(**asked)


def test_a_skipped_step_neither_acts_nor_counts():
    tally = Tally()
    document = "== Title of it ==\n" + SENTENCE
    assert run(document, tally=tally, skip=("markup", "length")) == document
    assert not {"markup", "length"} & tally.steps.keys()


PIECES = st.sampled_from(
    ["[[", "]]", "{{", "}}", "|", "<ref>", "</ref>", "&nbsp;", "&#769;", "&#1;", "&#xD800;", "\ufeff", "\x07", "\u00a0",
     "\n", "e", "\u0301", "== ", "'''", "( ", ")", "File:a.jpg", "word ", "слово ", "字", "\ufffd", "http://a.b ", "\r"]
)  # fmt: skip


@settings(max_examples=300, deadline=None, database=None)
@given(st.lists(PIECES, max_size=30).map("".join), st.sampled_from(["en", "ru", "zh"]))
def test_whatever_comes_in_what_comes_out_is_clean(document, language):
    cleaned = run(document, language, min_characters=1, min_line_words=0)
    if cleaned is None:
        return
    assert unicodedata.is_normalized("NFC", cleaned)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\xa0\ufeff\ufffd]|  | \n|\n |\n\n", cleaned)
    assert cleaned == cleaned.strip() != ""


@pytest.mark.realdata
def test_real_lines_are_in_their_scripts_and_few_are_dropped(shared):
    corpus = from_folder(shared / "corpus", tuple(sorted(LANGUAGES)))
    for language in corpus.languages:
        lines = [line for line, _ in zip(corpus.read(language), range(200), strict=False)]
        counts = StepCounts()
        STEPS["script"]("\n".join(lines), language, Curation(), counts)
        assert counts.dropped_lines <= 0.05 * len(lines), language


@pytest.mark.realdata
def test_no_clean_sentence_is_taken_for_another_language(shared):
    pytest.importorskip("py3langid")
    import pyarrow.parquet as pq

    for language in ("af", "az", "bs", "fr", "gl", "hi", "id", "ms", "nn", "oc", "sk", "sl", "tt", "uz", "zh"):
        path = next((shared / "hub" / "openlanguagedata" / "flores_plus" / language).glob("*.parquet"))
        text = "\n".join(" ".join(line.split()) for line in pq.read_table(path)["text"].to_pylist()[:100])
        assert only("language", text, language, min_confidence=0.9)[1].dropped_lines == 0, language
