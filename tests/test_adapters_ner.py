"""NER: every token is read off at its own first subword, once, and the units sum to seqeval's score."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from seqeval.metrics import f1_score
from seqeval.metrics.sequence_labeling import get_entities
from tiny_encoders import KINDS, LINES, card_of, examples_of, tokenizer_of

from unibench.adapters.ner import IGNORED, Ner, first_subwords, span_counts
from unibench.adapters.rows import collate, tokenise
from unibench.adapters.spans import spans
from unibench.errors import CardError, DataError

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
CARD = card_of("ner", "span_f1", TAGS)


def _split(line: str) -> tuple[str, ...]:
    """Words where there are spaces; Chinese as characters, as WikiANN has it; Thai in pieces."""
    if " " in line:
        return tuple(line.split())
    size = 1 if "北" in line or "长" in line else 5
    return tuple(line[i : i + size] for i in range(0, len(line), size))


SENTENCES = [_split(line) for line in LINES]


def _random_tags(generator: np.random.Generator, length: int) -> tuple[str, ...]:
    return tuple(generator.choice(TAGS, length, p=(0.4, 0.15, 0.15, 0.15, 0.15)).tolist())


def test_spans_are_seqevals_on_random_tags_i_without_b_included() -> None:
    generator = np.random.default_rng(1)
    for _ in range(3000):
        tags = _random_tags(generator, int(generator.integers(0, 12)))
        assert spans(tags) == set(get_entities(list(tags)))


def test_summed_counts_give_seqevals_corpus_f1() -> None:
    generator = np.random.default_rng(2)
    for _ in range(40):
        gold = [_random_tags(generator, int(n)) for n in generator.integers(3, 15, 30)]
        keep = 0.7
        found = [tuple(np.where(generator.random(len(g)) < keep, g, _random_tags(generator, len(g)))) for g in gold]
        tp, fp, fn = np.sum([span_counts(g, p) for g, p in zip(gold, found, strict=True)], axis=0)
        expected = f1_score([list(g) for g in gold], [list(map(str, p)) for p in found])
        assert 2 * tp / (2 * tp + fp + fn) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_each_token_is_labelled_at_its_first_subword(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    generator = np.random.default_rng(3)
    examples = examples_of([({"tokens": s}, _random_tags(generator, len(s))) for s in SENTENCES])
    rows = Ner().encode(tokenizer, CARD, examples, max_tokens=512, training=True)
    assert len(rows.lengths) == len(examples)
    for i, example in enumerate(examples):
        # The oracle tokenises every word by itself, with the space that running text would put before it
        pieces = [
            tokenizer.backend_tokenizer.encode(
                ("" if j == 0 or kind in ("wordpiece", "unigram", "byte-level") else " ") + token,
                add_special_tokens=False,
            ).ids
            for j, token in enumerate(example.inputs["tokens"])
        ]
        ids = rows.columns["input_ids"][0][rows.starts[i] : rows.starts[i + 1]].tolist()
        assert ids[1:-1] == [id_ for piece in pieces for id_ in piece]
        firsts = 1 + np.cumsum([0, *(len(piece) for piece in pieces[:-1])])
        expected = np.full(len(ids), IGNORED)
        expected[firsts] = [TAGS.index(tag) for tag in example.target]
        assert rows.columns["tags"][0][rows.starts[i] : rows.starts[i + 1]].tolist() == expected.tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("max_tokens", [8, 17, 64])
def test_no_token_of_a_long_sentence_is_lost_or_read_twice(kind: str, max_tokens: int) -> None:
    tokens = tuple(token for sentence in SENTENCES for token in sentence)
    example = examples_of([({"tokens": tokens}, _random_tags(np.random.default_rng(4), len(tokens)))])
    rows = Ner().encode(tokenizer_of(kind), CARD, example, max_tokens=max_tokens, training=False)
    words = rows.aside["word"]
    assert rows.lengths.max() <= max_tokens
    assert sorted(words[words >= 0].tolist()) == list(range(len(tokens)))
    assert rows.counts["windowed"] == 1
    # and the tags said at those subwords come back as the sentence's tags
    answers = []
    for row in range(len(rows.lengths)):
        word = words[rows.starts[row] : rows.starts[row + 1]]
        said = np.array([TAGS.index(example[0].target[w]) if w >= 0 else 1 for w in word])
        answers.append(np.concatenate([said, [1, 3]]))  # a batch may be wider than the row
    (units,) = Ner().units(CARD, example, rows, answers)
    assert units.tolist() == [len(spans(example[0].target)), 0, 0]


def test_windowed_subwords_are_the_ones_the_whole_sentence_has() -> None:
    """A token cut by a window's edge is not read off at its second half."""
    tokenizer = tokenizer_of("wordpiece")
    words = ["Kaspisches", "Mississippi", "Budapest", "Karadeniz'i"] * 6
    (whole,) = tokenise(tokenizer, [words], max_tokens=10_000, pretokenised=True)
    (owned,) = first_subwords(whole)
    first_id = {int(w): whole[0].ids[p] for p, w in enumerate(owned) if w >= 0}
    for max_tokens in range(6, 40):
        (windows,) = tokenise(
            tokenizer, [words], max_tokens=max_tokens, overlap_tokens=max(1, max_tokens // 4), pretokenised=True
        )
        for window, owned in zip(windows, first_subwords(windows), strict=True):
            for position in np.flatnonzero(owned >= 0):
                assert window.ids[position] == first_id[int(owned[position])]


def test_a_token_in_two_windows_is_read_off_where_it_has_more_context() -> None:
    tokenizer = tokenizer_of("wordpiece")
    words = list("abcdefghijklmnopqrst")  # one subword each
    (windows,) = tokenise(tokenizer, [words], max_tokens=12, overlap_tokens=4, pretokenised=True)
    first, second = (owned[owned >= 0].tolist() for owned in first_subwords(windows)[:2])
    assert [w for w in windows[0].word_ids if w is not None][-4:] == [6, 7, 8, 9]  # the overlap
    assert first[-2:] == [6, 7]
    assert second[:2] == [8, 9]


def test_a_token_without_subwords_is_predicted_o() -> None:
    tags = ("B-PER", "I-PER", "O")
    example = examples_of([({"tokens": ("Anna", "\u200b\x00", "bought")}, tags), ({"tokens": ("\x00",)}, ("B-LOC",))])
    rows = Ner().encode(tokenizer_of("wordpiece"), CARD, example, max_tokens=32, training=True)
    assert rows.counts["tokens_without_subwords"] == 2
    assert rows.example.tolist() == [0]  # nothing is left of the second sentence, so no row is made of it
    answers = [np.where(rows.aside["word"] == 0, TAGS.index("B-PER"), 0)]
    assert Ner().units(CARD, example, rows, answers).tolist() == [[0, 1, 1], [0, 0, 1]]


def test_the_loss_reads_labelled_subwords_only() -> None:
    example = examples_of([({"tokens": s}, ("O",) * len(s)) for s in SENTENCES[:3]])
    rows = Ner().encode(tokenizer_of("unigram"), CARD, example, max_tokens=64, training=True)
    batch = collate(rows, np.arange(3))
    labelled = batch["tags"] != IGNORED
    output = torch.zeros(*batch["tags"].shape, len(TAGS))
    output[..., 0] = torch.where(labelled, 50.0, -50.0)
    assert Ner().loss(output, batch).item() < 1e-6


def test_tags_that_do_not_fit_are_refused_by_name() -> None:
    encode = Ner().encode
    tokenizer = tokenizer_of("unigram")
    with pytest.raises(DataError, match="'0000' of task 'toy_ner' has tag 'B-GPE'"):
        encode(tokenizer, CARD, examples_of([({"tokens": ("a",)}, ("B-GPE",))]), max_tokens=8, training=False)
    with pytest.raises(DataError, match="has 2 tokens but 1 tags"):
        encode(tokenizer, CARD, examples_of([({"tokens": ("a", "b")}, ("O",))]), max_tokens=8, training=False)
    with pytest.raises(CardError, match="the tag 'O' is missing"):
        encode(tokenizer, card_of("ner", "span_f1", ("B-X",)), [], max_tokens=8, training=False)
