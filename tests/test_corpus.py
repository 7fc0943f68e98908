from __future__ import annotations

import gzip

import pytest
import world
import zstandard

from unibert.corpus import Counts, clean, from_folder, from_iterable, is_heldout
from unibert.errors import UserError


def test_the_three_file_kinds_hold_the_same_lines(tmp_path):
    text = "\n".join(world.lines("ru")).encode()
    (tmp_path / "a.txt").write_bytes(text)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(text))
    (tmp_path / "c.txt.zst").write_bytes(zstandard.compress(text[:999]) + zstandard.compress(text[999:]))
    corpus = from_folder(tmp_path)
    assert corpus.languages == ("a", "b", "c")
    assert list(corpus.read("a")) == list(corpus.read("b")) == list(corpus.read("c")) == world.lines("ru")


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_truncated_file_is_refused_not_shortened(tmp_path, suffix):
    text = "\n".join(f"{i} {line}" for i in range(40) for line in world.lines("en")).encode()
    whole = gzip.compress(text) if suffix == "gz" else zstandard.compress(text)
    (tmp_path / f"en.txt.{suffix}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=rf"en\.txt\.{suffix} is truncated or corrupt after line \d+"):
        list(from_folder(tmp_path).read("en"))


def test_invalid_utf8_names_its_line(tmp_path):
    (tmp_path / "en.txt").write_bytes(b"first line here\nsecond \xff line\n")
    with pytest.raises(UserError, match=r"en\.txt, line 2 is not UTF-8"):
        list(from_folder(tmp_path).read("en"))


def test_identity_follows_content_and_languages(tmp_path):
    world.write(tmp_path)
    both = from_folder(tmp_path, ("en", "ru")).identity
    assert both == from_folder(tmp_path, ("ru", "en")).identity
    assert both != from_folder(tmp_path, ("en",)).identity
    (tmp_path / "ru.txt").write_text("другая строка текста\n", encoding="utf-8")
    assert both != from_folder(tmp_path, ("en", "ru")).identity


@pytest.mark.parametrize(
    ("languages", "message"),
    [(("enn",), "no language 'enn'.*did you mean 'en'"), (("xx",), "no language 'xx'")],
)
def test_an_unknown_language_is_named(tmp_path, languages, message):
    world.write(tmp_path)
    with pytest.raises(UserError, match=message):
        from_folder(tmp_path, languages)


def test_folders_that_hold_no_corpus_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"holds no LANG\.txt"):
        from_folder(tmp_path)
    with pytest.raises(UserError, match="no folder"):
        from_folder(tmp_path / "absent")
    (tmp_path / "en.txt").touch()
    with pytest.raises(UserError, match="is empty"):
        from_folder(tmp_path)
    (tmp_path / "en.txt.gz").write_bytes(gzip.compress(b"x"))
    with pytest.raises(UserError, match=r"both en\.txt and en\.txt\.gz"):
        from_folder(tmp_path)


def test_cleaning_counts_what_it_drops():
    counts = Counts()
    composed, decomposed = "un café très calme", "un cafe\u0301 tre\u0300s calme"
    kept = list(clean([composed, decomposed, "short", "a\x00 tab\tand  spaces", composed], counts))
    assert kept == [composed, "a tab and spaces"]
    assert (counts.lines_read, counts.lines_kept, counts.duplicates, counts.too_short) == (5, 2, 2, 1)


def test_joiners_that_spelling_needs_survive_cleaning():
    persian = "می\u200cخواهم به خانه بروم"
    assert list(clean([persian], Counts())) == [persian]


def test_held_out_lines_are_about_two_percent_and_depend_on_the_line_alone():
    lines = [f"{i} {line}" for i in range(10) for line in world.lines("en")]
    held = [line for line in lines if is_heldout(line)]
    assert 0.01 < len(held) / len(lines) < 0.03
    assert held == [line for line in lines if is_heldout(line)]


def test_an_iterator_that_could_be_read_only_once_is_refused():
    with pytest.raises(UserError, match="only once"):
        from_iterable({"en": iter(["a line of text"])})
    assert list(from_iterable({"en": ["a line of text"]}).read("en")) == ["a line of text"]
