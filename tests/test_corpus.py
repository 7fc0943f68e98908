from __future__ import annotations

import gzip
import json

import pytest
import world
import zstandard

from unibert import built
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


def built_corpus(folder, texts, shard_bytes=400):
    """A finished corpus whose documents are pairs of lines, in small shards."""
    folder.mkdir(parents=True)
    records = {}
    for language, text in texts.items():
        with built.ShardWriter(folder, language, shard_bytes=shard_bytes) as writer:
            for pair in zip(text[::2], text[1::2], strict=True):
                writer.add("\n".join(pair))
        records[language] = {"shards": writer.shards}
    manifest = {"schema": built.SCHEMA, "source": {"name": "made here"}, "languages": records}
    (folder / "build.json").write_text("{}")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return manifest


def test_a_built_corpus_is_read_shard_by_shard_without_its_blank_lines(tmp_path):
    built_corpus(tmp_path / "built", world.corpus())
    corpus = from_folder(tmp_path / "built")
    assert corpus.languages == ("en", "ru", "zh")
    assert len(list((tmp_path / "built").glob("ru-*.txt.zst"))) > 10
    for language in corpus.languages:
        assert list(corpus.read(language)) == world.lines(language)
        assert list(corpus.read(language)) == world.lines(language), "a second reading starts afresh"


def test_shards_hold_documents_parted_by_one_blank_line(tmp_path):
    built_corpus(tmp_path / "built", {"en": ["one", "two", "three", "four"]}, shard_bytes=1000)
    data = (tmp_path / "built" / "en-00000.txt.zst").read_bytes()
    assert zstandard.ZstdDecompressor().decompressobj().decompress(data) == b"one\ntwo\n\nthree\nfour\n"
    assert list(built.documents(tmp_path / "built" / "en-00000.txt.zst")) == ["one\ntwo", "three\nfour"]


def test_a_built_corpus_is_known_by_its_manifest(tmp_path):
    manifest = built_corpus(tmp_path / "built", world.corpus())
    both = from_folder(tmp_path / "built", ("en", "ru")).identity
    assert both == from_folder(tmp_path / "built", ("ru", "en")).identity
    assert both != from_folder(tmp_path / "built").identity
    built_corpus(tmp_path / "again", world.corpus())
    assert both == from_folder(tmp_path / "again", ("en", "ru")).identity
    manifest["languages"]["ru"]["shards"][0]["sha256"] = "ab" * 32
    (tmp_path / "built" / "manifest.json").write_text(json.dumps(manifest))
    assert both != from_folder(tmp_path / "built", ("en", "ru")).identity


def spoil(folder, how):
    if how == "cut":
        path = folder / "en-00001.txt.zst"
        path.write_bytes(path.read_bytes()[:-1])
    elif how == "gone":
        (folder / "en-00001.txt.zst").unlink()
    elif how == "unfinished":
        (folder / "manifest.json").unlink()
    elif how == "another version":
        (folder / "manifest.json").write_text('{"schema": "unibert-corpus-99"}')
    elif how == "no JSON":
        (folder / "manifest.json").write_text("{")
    else:
        (folder / "manifest.json").write_text(json.dumps({"schema": built.SCHEMA, "languages": {"en": {"shards": []}}}))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut", r"en-00001\.txt\.zst has \d+ bytes, expected \d+"),
        ("gone", r"en-00001\.txt\.zst is missing"),
        ("unfinished", "is not finished; give the same `unibench corpus build` again"),
        ("another version", "was written by another version"),
        ("no JSON", "is not readable"),
        ("no text", "holds no text in any language"),
    ],
)
def test_a_built_corpus_that_is_not_whole_is_refused(tmp_path, how, message):
    built_corpus(tmp_path / "built", {"en": world.lines("en")})
    spoil(tmp_path / "built", how)
    with pytest.raises(UserError, match=message) as caught:
        from_folder(tmp_path / "built")
    assert "\n" not in str(caught.value)


def test_a_shard_that_rotted_is_refused_when_it_is_read(tmp_path):
    built_corpus(tmp_path / "built", {"en": world.lines("en")}, shard_bytes=100_000)
    path = tmp_path / "built" / "en-00000.txt.zst"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"en-00000\.txt\.zst is truncated or corrupt"):
        list(from_folder(tmp_path / "built").read("en"))


def test_a_language_that_a_built_corpus_lacks_is_named(tmp_path):
    built_corpus(tmp_path / "built", world.corpus())
    with pytest.raises(UserError, match=r"no language 'enn'.*did you mean 'en'"):
        from_folder(tmp_path / "built", ("enn",))


def test_a_manifest_of_something_else_leaves_a_plain_folder_plain(tmp_path):
    world.write(tmp_path)
    (tmp_path / "manifest.json").write_text('{"made": "by another program"}')
    assert from_folder(tmp_path).languages == ("en", "ru", "zh")
