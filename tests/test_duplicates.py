"""Exact Jaccard similarity, over sets of words made by `str.split`, is the oracle here; so is datasketch's own LSH."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import islice, pairwise

import numpy as np
import pytest
from datasketch import MinHash, MinHashLSH

from unibert.duplicates import BLOCK, NearDuplicates, SignatureWriter, duplicates
from unibert.errors import UserError
from unibert.grams import grams, is_unspaced, normalised

SETTINGS = NearDuplicates()
VOCABULARY = [a + b + c for a in "bdkmrst" for b in "aeiou" for c in ("n", "l", "rt", "s")]


def words(rng, count):
    return [VOCABULARY[i] for i in rng.integers(len(VOCABULARY), size=count)]


def edited(rng, text, edits):
    """The text with so many words replaced."""
    text = list(text)
    for place in rng.choice(len(text), size=edits, replace=False):
        text[place] = f"{VOCABULARY[rng.integers(len(VOCABULARY))]}x"
    return text


def shingles(text, size=5):
    parts = text.split()
    return set(zip(*(parts[i:] for i in range(size)), strict=False))


def jaccard(one, other):
    return len(shingles(one) & shingles(other)) / len(shingles(one) | shingles(other))


def signed(path, documents, settings=SETTINGS):
    with SignatureWriter(path, settings) as writer:
        for document in documents:
            writer.add(document)
    return path


def found(path, documents, settings=SETTINGS, **options):
    exact, near = duplicates(signed(path, documents, settings), settings, **options)
    assert not (exact & near).any()
    return np.flatnonzero(exact).tolist(), np.flatnonzero(near).tolist()


def polynomial(text):
    """The documented hash, in Python's own integers."""
    value = sum(byte * 0x9E3779B97F4A7C15**place for place, byte in enumerate(text.encode())) % 2**64
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        value = (value ^ (value >> shift)) * factor % 2**64
    return value ^ (value >> 31)


def test_the_hash_of_a_sequence_is_the_polynomial_of_its_bytes_wherever_it_stands():
    text = normalised("The quick brown Fox; 東京 über the QUICK, brown fox")
    assert text == "the quick brown fox 東 京 über the quick brown fox "
    parts = [f"{word} " for word in text.split()]
    for size in (1, 3, 5):
        expected = [polynomial("".join(parts[i : i + size])) for i in range(len(parts) - size + 1)]
        assert grams(text).hashes(size).tolist() == expected
    assert grams(text).hashes(4)[0] == grams(text).hashes(4)[7]
    assert len(grams(text).hashes(12)) == 0
    assert len(grams("")) == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Straße, 5 ﬁnal!", "STRASSE 5 final", True), ("می‌خواهم", "میخواهم", True), ("ＡＢＣ１", "abc1", True),
        ("e\u0301tude", "Étude", True), ("हिन्दी", "हिनदी", False), ("東京", "東 京", True), ("a b", "ab", False),
    ],
)  # fmt: skip
def test_normalisation_forgets_case_width_and_punctuation_and_keeps_marks(one, other, same):
    assert (normalised(one) == normalised(other)) is same


def test_text_without_spaces_is_told_apart():
    assert is_unspaced(normalised("我们住在北京 in 2020"))
    assert not is_unspaced(normalised("the city 北京 is large and old"))


def test_bands_are_the_longest_that_miss_five_percent_at_most():
    assert SETTINGS.bands == (18, 7)
    missed = {rows: (1 - 0.8**rows) ** (128 // rows) for rows in range(1, 129)}
    assert missed[7] <= 0.05 < min(missed[rows] for rows in range(8, 129))


def test_exact_repeats_differ_in_case_and_punctuation_at_most_and_the_first_stays(tmp_path):
    rng = np.random.default_rng(0)
    one, two = " ".join(words(rng, 40)), " ".join(words(rng, 40))
    documents = [one, two, one.upper() + "!", "...", two, "!?", "...", "", ""]
    assert found(tmp_path / "s", documents) == ([2, 4, 6, 8], [])


def test_near_repeats_are_found_and_texts_of_a_kind_are_kept(tmp_path):
    rng = np.random.default_rng(1)
    article = words(rng, 200)
    near, related = edited(rng, article, 3), edited(rng, article, 40)
    documents = [" ".join(text) for text in (words(rng, 200), article, words(rng, 200), near, related)]
    assert jaccard(documents[1], documents[3]) > 0.85
    assert jaccard(documents[1], documents[4]) < 0.5
    assert found(tmp_path / "s", documents) == ([], [3])


def test_scripts_without_spaces_are_compared_letter_by_letter(tmp_path):
    text = "".join(chr(0x4E00 + i) for i in np.random.default_rng(2).integers(2000, size=300))
    assert found(tmp_path / "s", [text, text[:290] + "的" + text[291:], text[::-1]]) == ([], [1])


def test_a_chain_is_one_component_and_its_first_stays(tmp_path):
    rng = np.random.default_rng(3)
    chain = [words(rng, 400)]
    for step in range(4):
        chain.append([*chain[-1][: 80 * step], *edited(rng, chain[-1][80 * step : 80 * step + 80], 5),
                      *chain[-1][80 * step + 80 :]])  # fmt: skip
    documents = [" ".join(text) for text in chain]
    assert min(jaccard(a, b) for a, b in pairwise(documents)) > 0.85
    assert jaccard(documents[0], documents[-1]) < 0.7
    order = [2, 0, 4, 3, 1]
    assert found(tmp_path / "s", [documents[i] for i in order]) == ([], [1, 2, 3, 4])


@pytest.fixture(scope="module")
def pairs():
    """Texts of 60 to 300 words, each followed by an edited copy, and the exact similarity of the two."""
    rng = np.random.default_rng(4)
    documents, similarity = [], []
    for _ in range(600):
        text = words(rng, int(rng.integers(60, 300)))
        copy = edited(rng, text, int(rng.integers(1, max(2, len(text) // 15))))
        documents += [" ".join(text), " ".join(copy)]
        similarity.append(jaccard(*documents[-2:]))
    return documents, np.array(similarity)


def test_errors_against_exact_similarity_are_those_of_the_estimate(tmp_path, pairs):
    documents, similarity = pairs
    exact, near = found(tmp_path / "s", documents)
    assert exact == []
    assert all(number % 2 for number in near)  # no text is near to one that it was not made from
    flagged = np.isin(np.arange(len(similarity)) * 2 + 1, near)
    # Two standard errors of the estimate, sqrt(0.8 * 0.2 / 128) = 0.035, on either side of the threshold.
    low, high = similarity < 0.73, similarity > 0.87
    assert low.sum() > 100 < high.sum()
    assert flagged[low].mean() <= 0.02
    assert flagged[high].mean() >= 0.98
    wrong = flagged != (similarity >= 0.8)
    assert wrong.mean() < 0.08
    assert (abs(similarity[wrong] - 0.8) < 0.12).all()


def test_what_is_near_is_what_datasketch_s_own_index_finds_and_its_signatures_confirm(tmp_path, pairs):
    documents, _ = pairs
    lsh = MinHashLSH(num_perm=128, params=SETTINGS.bands)
    expected, stored = [], {}
    for number, document in enumerate(documents):
        sketch = MinHash(128, seed=1, hashfunc=int, scheme="affine32")
        sketch.update_batch({int(h) >> 32 for h in grams(normalised(document)).hashes(5)})
        if any(sketch.jaccard(stored[other]) >= 0.8 for other in lsh.query(sketch)):
            expected.append(number)
        stored[number] = sketch
        lsh.insert(number, sketch)
    assert found(tmp_path / "s", documents) == ([], expected)


def test_the_answer_does_not_depend_on_memory_nor_on_blocks(tmp_path, pairs):
    rng = np.random.default_rng(5)
    documents = [*pairs[0], *(pairs[0][int(i)] for i in rng.integers(1200, size=2 * BLOCK - 1200))]
    assert len(documents) == 2 * BLOCK
    path = signed(tmp_path / "s", documents)
    large = duplicates(path, SETTINGS)
    for memory in (4096, 50_000):
        small = duplicates(path, SETTINGS, memory_bytes=memory)
        assert all(np.array_equal(a, b) for a, b in zip(large, small, strict=True))
    first: dict[str, int] = {}
    assert large[0].tolist() == [first.setdefault(text, i) != i for i, text in enumerate(documents)]
    assert found(tmp_path / "t", [*documents, documents[0]])[0][-1] == 2 * BLOCK


def test_many_texts_under_the_threshold_that_share_a_band_stay_and_their_copies_go(tmp_path):
    rng = np.random.default_rng(6)
    template = words(rng, 150)
    articles = [" ".join(edited(rng, template, 12)) for _ in range(60)]
    copies = [f"{article} end" for article in articles]
    assert max(jaccard(articles[0], other) for other in articles[1:]) < 0.6
    exact, near = found(tmp_path / "s", articles + copies)
    assert (exact, near) == ([], list(range(60, 120)))


def test_nothing_in_nothing_out(tmp_path):
    assert found(tmp_path / "s", []) == ([], [])


def test_the_file_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(AttributeError), SignatureWriter(tmp_path / "s", SETTINGS) as writer:
        writer.add(None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", [{"seed": 2}, {"threshold": 0.7}, {"words": 4}, {"permutations": 64}])
def test_signatures_of_other_settings_are_refused(tmp_path, change):
    signed(tmp_path / "s", ["some text"])
    with pytest.raises(UserError, match="written with other settings"):
        duplicates(tmp_path / "s", replace(SETTINGS, **change))


def test_a_broken_file_is_refused(tmp_path):
    path = signed(tmp_path / "s", ["some text"])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="is cut short"):
        duplicates(path, SETTINGS)
    path.write_bytes(b"something else")
    with pytest.raises(UserError, match="holds no signatures"):
        duplicates(path, SETTINGS)


@pytest.mark.parametrize(
    ("asked", "message"),
    [({"threshold": 80}, r"threshold 80 is not in \(0, 1\]"), ({"words": 0}, "words 0 finds nothing")],
)
def test_settings_that_make_no_sense_are_refused(asked, message):
    with pytest.raises(UserError, match=message):
        NearDuplicates(**asked)


def test_parts_of_the_hash_space_may_be_empty(tmp_path):
    documents = ["the same few words in every document of this folder"] * 40 + ["another that says something else"]
    assert found(tmp_path / "s", documents, memory_bytes=1000) == (list(range(1, 40)), [])


def test_without_datasketch_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(UserError, match=r"needs datasketch; pip install 'datasketch>=2\.0'"):
        SignatureWriter(tmp_path / "s", SETTINGS)


@pytest.mark.realdata
def test_no_two_real_sequences_share_a_hash(shared):
    from unibert.corpus import from_folder

    for language in ("en", "fi", "hi", "zh"):
        text = normalised("\n".join(islice(from_folder(shared / "corpus", (language,)).read(language), 5000)))
        parts = text.split()
        distinct = set(zip(*(parts[i:] for i in range(5)), strict=False))
        assert len(np.unique(grams(text).hashes(5))) == len(distinct) > 10_000
