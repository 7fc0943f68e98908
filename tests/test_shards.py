from __future__ import annotations

import re

import numpy as np
import pytest
import world

from unibert import shards, tokenizer
from unibert.batches import Batches, mixture
from unibert.corpus import Corpus, Counts, clean, from_folder, from_iterable, is_heldout
from unibert.errors import UserError
from unibert.tokenizer import CLS, PAD, SEP

LANGUAGES = ("en", "ru", "zh")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    corpus = from_folder(world.write(folder / "text"))
    vocabulary = tokenizer.train(corpus, 700)
    return corpus, vocabulary, shards.build(corpus, vocabulary, folder / "shards")


def _batches(folder, **changes):
    settings = {"alpha": 0.3, "batch_tokens": 600, "max_tokens": 64, "long_share": 0.2, "seed": 5, **changes}
    return Batches(folder, LANGUAGES, **settings)


def test_no_text_is_unknown_and_every_text_comes_back(made):
    _, vocabulary, _ = made
    for text in ("the small house stands near a mountain.", "𓀀 ẞ ꙮ unseen", "高高的大山 ελληνικά", "3,141 km²"):
        ids = vocabulary.encode(text).ids
        assert tokenizer.UNK not in ids
        assert vocabulary.decode(ids) == text.replace("km²", "km2")


def test_shards_hold_every_clean_line_once(made):
    corpus, vocabulary, folder = made
    for language in LANGUAGES:
        kept = list(clean(corpus.read(language), Counts()))
        for split, wanted in (("train", False), ("heldout", True)):
            lines = shards.Lines(folder, language, split)
            texts = [line for line in kept if is_heldout(line) == wanted]
            assert len(lines) == len(texts)
            for i in (0, len(texts) // 2, len(texts) - 1):
                assert lines[i].tolist() == vocabulary.encode(texts[i], add_special_tokens=False).ids


def test_a_second_build_reuses_the_first_and_a_damaged_one_is_named(made, tmp_path):
    corpus, vocabulary, _ = made
    folder = shards.build(corpus, vocabulary, tmp_path / "s")
    before = (folder / "manifest.json").stat().st_mtime_ns
    assert shards.build(corpus, vocabulary, folder).stat()
    assert (folder / "manifest.json").stat().st_mtime_ns == before
    path = folder / "en.train.bin"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(UserError, match=r"en\.train\.bin has \d+ bytes, expected \d+"):
        shards.Lines(folder, "en", "train")


def test_a_language_without_a_usable_line_is_refused_and_leaves_nothing(made, tmp_path):
    _, vocabulary, _ = made
    corpus = from_iterable({"en": world.lines("en"), "xx": ["short", "tiny"]})
    with pytest.raises(UserError, match="no usable line in 'xx'"):
        shards.build(corpus, vocabulary, tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_batches_keep_their_budget_and_are_framed(made):
    _, _, folder = made
    batches = _batches(folder)
    seen = padded = 0
    for _ in range(150):
        batch = next(batches)
        rows, width = batch.tokens_BT.shape
        assert rows * width <= 600
        assert width <= 64
        assert (batch.tokens_BT[:, 0] == CLS).all()
        for row, length in zip(batch.tokens_BT, batch.lengths_B, strict=True):
            assert row[length - 1] == SEP
            assert (row[length:] == PAD).all()
            assert (row[:length] != PAD).all()
        seen += int(batch.lengths_B.sum())
        padded += rows * width
    assert seen / padded > 0.85, "length buckets waste little"


def test_languages_are_mixed_by_the_smoothed_share(made):
    _, _, folder = made
    batches = _batches(folder, long_share=0.0)
    tokens = np.zeros(3)
    for _ in range(600):
        batch = next(batches)
        np.add.at(tokens, batch.language_B, batch.lengths_B)
    np.testing.assert_allclose(tokens / tokens.sum(), batches.shares_L, atol=0.01)
    counts = {"a": 1000, "b": 10}
    np.testing.assert_allclose(mixture(counts, 0.3), np.array([1000**0.3, 10**0.3]) / (1000**0.3 + 10**0.3))


def test_long_inputs_hold_one_language_and_fill_the_window(made):
    _, _, folder = made
    batches = _batches(folder, long_share=0.5)
    long = total = 0
    for _ in range(200):
        batch = next(batches)
        long += int(batch.lengths_B[batch.lengths_B > 40].sum())
        total += int(batch.lengths_B.sum())
    assert 0.4 < long / total < 0.6


def test_an_epoch_shows_every_line_once(made):
    _, _, folder = made
    batches = _batches(folder, long_share=0.0, alpha=1.0)
    lines = batches.lines[0]
    drawn = [tuple(lines[batches._line(0, cursor)].tolist()) for cursor in range(2 * len(lines))]
    first, second = drawn[: len(lines)], drawn[len(lines) :]
    assert sorted(first) == sorted(second) == sorted(tuple(lines[i].tolist()) for i in range(len(lines)))
    assert first != second


def test_long_rows_of_a_curated_corpus_are_paragraphs_of_one_document_in_order(made, tmp_path):
    """Each paragraph names its document and number, so that a row tells where it was read."""
    _, vocabulary, _ = made
    texts = {n: [f"{n} {k} the old house stands near the school." for k in range(1 + n % 7)] for n in range(100, 400)}
    curated = Corpus(
        name="curated", languages=("en",), identity="0" * 64, read=lambda code: iter(()),
        documents=lambda code: ("\n".join(paragraphs) for paragraphs in texts.values()),
    )  # fmt: skip
    folder = shards.build(curated, vocabulary, tmp_path / "curated")
    held = {n for n, paragraphs in texts.items() if is_heldout(paragraphs[0])}
    heldout = shards.Lines(folder, "en", "heldout")
    assert 0 < len(heldout) == sum(len(texts[n]) for n in held), "a document is held out whole"
    batches = Batches(folder, ("en",), alpha=1.0, batch_tokens=600, max_tokens=64, long_share=0.9, seed=0)
    joined = 0
    for _ in range(100):
        batch = next(batches)
        for row, length in zip(batch.tokens_BT, batch.lengths_B, strict=True):
            text = vocabulary.decode(row[1 : length - 1].tolist()).replace(" ", "")
            found = re.findall(r"(\d{3})(\d)the", text)
            assert len({n for n, _ in found}) == 1, text
            numbers = [int(k) for _, k in found]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            joined += len(numbers) > 1
    assert joined > 100


def test_reading_resumes_at_any_position_with_the_same_batches(made):
    _, _, folder = made
    whole = _batches(folder)
    for stop in (0, 3, 64, 97):
        part = _batches(folder)
        for _ in range(stop):
            next(part)
        resumed = _batches(folder)
        resumed.seek(part.position)
        for _ in range(40):
            one, two = next(part), next(resumed)
            assert np.array_equal(one.tokens_BT, two.tokens_BT)
            assert np.array_equal(one.language_B, two.language_B)
    assert not np.array_equal(next(whole).tokens_BT, next(_batches(folder, seed=6)).tokens_BT)


def test_unigram_frequencies_are_those_of_the_text(made):
    _, vocabulary, folder = made
    frequencies = shards.unigram(folder, LANGUAGES, vocabulary.get_vocab_size())
    np.testing.assert_allclose(frequencies.sum(axis=1), 1.0)
    tokens = np.asarray(shards.Lines(folder, "en", "train").tokens)
    piece = int(np.bincount(tokens).argmax())
    expected = (np.count_nonzero(tokens == piece) + 1) / (len(tokens) + vocabulary.get_vocab_size())
    assert frequencies[0, piece] == pytest.approx(expected)
