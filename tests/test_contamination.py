"""The oracle is plain Python: tuples of words in a set, looked up one by one."""

from __future__ import annotations

import os
import pickle
from itertools import islice

import numpy as np
import pytest

from unibert.contamination import Contamination, Index
from unibert.errors import UserError
from unibert.grams import normalised

SETTINGS = Contamination()
LONG = "the ship that left the harbour in the morning was seen again off the northern cape"  # 16 words
SHORT = "nobody had painted the lighthouse before"  # 6 words
CHINESE = "这座城市位于河流的北岸，历史悠久，每年都有许多游客前来参观古老的寺庙和花园。"  # 35 letters


def index(*texts):
    return Index.build(texts, SETTINGS)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (LONG, True), (f"Once, {LONG.upper()}!", True), (LONG.replace(" ", " – "), True),
        (LONG.replace(" ", "\n"), True),
        (" ".join(LONG.split()[:13]), True), (" ".join(LONG.split()[-13:]), True), (" ".join(LONG.split()[:12]), False),
        (LONG.replace("again", "once"), False), (f"So {SHORT}.", True), ("nobody had painted the lighthouse", False),
        (SHORT.replace("had", "has"), False), (f"据说{CHINESE}", True), (CHINESE[5:-4], True), (CHINESE[:20], False),
        ("", False), ("…", False),
    ],
)  # fmt: skip
def test_thirteen_words_or_a_short_text_whole(document, expected):
    built = index(LONG, SHORT, CHINESE)
    assert built.found(document) is expected
    assert (built.clean(document)[1] > 0) is expected


def test_texts_under_six_words_are_not_looked_for():
    assert index("a red house", "你好").size == 0
    assert not index("a red house", "你好").found("a red house 你好")


def test_a_short_text_that_begins_another_is_found_too():
    longer = f"{SHORT} the storm of that year"
    assert index(SHORT, longer).found(f"and {SHORT} it")
    assert not index(longer).found(f"and {SHORT} it")
    assert index(longer).found(longer)


def test_a_text_in_two_scripts_is_found_in_either_kind_of_document():
    built = index(f"{LONG} 北京", CHINESE)
    assert built.found(f"一些中文字在这里。{LONG}。还有一些中文字在这里，比英文多得多得多得多得多得多得多得多得多。")
    assert built.found(f"Some English words that go on and on before the text. {CHINESE}")


def test_only_the_lines_that_overlap_are_dropped():
    first, rest = " ".join(LONG.split()[:8]), " ".join(LONG.split()[8:])
    document = "\n".join(["Before it.", first, "—", f"{rest} and more", "Between.", SHORT, "After it."])
    assert index(LONG, SHORT).clean(document) == ("Before it.\n—\nBetween.\nAfter it.", 3)
    assert index(LONG).clean("Nothing of\n\nit.") == ("Nothing of\n\nit.", 0)
    assert index(LONG).clean(LONG) == ("", 1)


def test_equal_to_looking_up_every_tuple_of_words():
    rng = np.random.default_rng(0)
    letters = [f"w{i}" for i in range(5)]  # few, so that sequences do recur by chance
    settings = Contamination(words=5, shortest_words=3)

    def text(count):
        return [letters[i] for i in rng.integers(len(letters), size=count)]

    tests = [text(int(count)) for count in rng.integers(1, 12, size=60)]
    built = Index.build((" ".join(test) for test in tests), settings)
    known = {tuple(test[i : i + 5]) for test in tests for i in range(len(test) - 4)}
    known |= {tuple(test) for test in tests if 3 <= len(test) < 5}
    assert built.size == len(known)
    outcomes = []
    for _ in range(300):
        lines = [text(int(count)) for count in rng.integers(0, 5, size=4)]
        flat = [(word, number) for number, line in enumerate(lines) for word in line]
        touched = set()
        for start in range(len(flat)):
            for size in (3, 4, 5):
                span = flat[start : start + size]
                if len(span) == size and tuple(word for word, _ in span) in known:
                    touched |= {number for _, number in span}
        kept = [" ".join(line) for number, line in enumerate(lines) if number not in touched]
        document = "\n".join(" ".join(line) for line in lines)
        # by lines: one without words between two that overlap stays
        assert built.clean(document) == ("\n".join(kept), len(touched))
        assert built.found(document) is bool(touched)
        outcomes.append(bool(touched))
    assert 30 < sum(outcomes) < 270


def test_the_index_depends_on_the_texts_and_settings_alone():
    built = index(LONG, SHORT, CHINESE)
    assert built.sha256 == index(CHINESE, SHORT, LONG, LONG).sha256
    assert built.sha256 != index(LONG, SHORT).sha256
    assert built.sha256 != Index.build([LONG, SHORT, CHINESE], Contamination(words=12)).sha256
    assert built.size == (16 - 12) + 1 + (35 - 25)
    assert index().size == 0
    assert not index().found(LONG)


def test_an_index_survives_pickling_and_a_file(tmp_path):
    built = index(LONG, SHORT, CHINESE)
    built.save(tmp_path / "tests")
    assert os.listdir(tmp_path) == ["tests"]
    for copy in (pickle.loads(pickle.dumps(built)), Index.load(tmp_path / "tests")):
        assert (copy.sha256, copy.settings, copy.size) == (built.sha256, SETTINGS, built.size)
        assert copy.clean(f"{SHORT}\nand") == ("and", 1)


def test_another_file_is_refused(tmp_path):
    (tmp_path / "tests").write_bytes(b"not an index")
    with pytest.raises(UserError, match="holds no index of test sets"):
        Index.load(tmp_path / "tests")


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(UserError, match="shortest_words 14 is not between 1 and words, 13"):
        Contamination(shortest_words=14)


@pytest.mark.realdata
def test_real_test_sentences_are_found_where_they_were_planted_and_hardly_elsewhere(shared):
    import pyarrow.parquet as pq

    from unibert.corpus import from_folder

    flores = shared / "hub" / "openlanguagedata" / "flores_plus"
    xnli = shared / "hub" / "facebook" / "xnli"
    for language in ("sw", "zh"):
        texts = pq.read_table(next((flores / language).glob("*.parquet")))["text"].to_pylist()
        rows = pq.read_table(next((xnli / language).glob("test*.parquet")))
        texts += [*rows["premise"].to_pylist(), *rows["hypothesis"].to_pylist()]
        built = index(*texts)
        lines = list(islice(from_folder(shared / "corpus", (language,)).read(language), 2000))
        short = 12 if language == "zh" else 6
        for planted in (texts[7], next(t for t in rows["hypothesis"].to_pylist() if normalised(t).count(" ") == short)):
            assert built.clean("\n".join([*lines[:5], planted])) == ("\n".join(lines[:5]), 1)
        assert sum(built.found(line) for line in lines) <= 0.01 * len(lines)
