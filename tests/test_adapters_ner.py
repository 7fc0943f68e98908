"""NER: every token is read off at its own first subword, once, and the units are seqeval's spans.

Their sums against seqeval's scores: test_oracles.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
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


def test_spans_are_counted_over_all_types_and_by_type() -> None:
    gold = ("B-PER", "I-PER", "O", "B-LOC", "B-LOC", "O")
    #       right             wrong  wrong type     half of two
    found = ("B-PER", "I-PER", "B-LOC", "B-PER", "I-LOC", "I-LOC")
    assert span_counts(gold, found, ("LOC", "ORG", "PER")) == [1, 3, 2, 0, 2, 2, 0, 0, 0, 1, 1, 0]
    assert Ner().unit_names(CARD) == ("tp", "fp", "fn", "tp:LOC", "fp:LOC", "fn:LOC", "tp:PER", "fp:PER", "fn:PER")


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
    assert units.tolist() == span_counts(example[0].target, example[0].target, ("LOC", "PER"))
    assert units[1] == units[2] == 0
    assert units[0] == len(spans(example[0].target))


TEXT = st.text(
    st.one_of(
        st.sampled_from(sorted({c for line in LINES for c in line})),
        st.sampled_from("\u0301\u200b\u200d\ufeff\u00a0\x00\u0e33🌊👩️'-#"),
        st.characters(exclude_categories=("Cs",)),
    ),
    max_size=12,
)
TOKENS = st.lists(TEXT, min_size=1, max_size=25)


def _pieces(kind: str, tokens: Sequence[str]) -> list[list[int]]:
    """The subwords of every token, encoded by itself with the space that running text would put before it."""
    backend = tokenizer_of(kind).backend_tokenizer
    spaced = [" " + t if i and kind == "byte-level-no-prefix-space" else t for i, t in enumerate(tokens)]
    return [backend.encode(token, add_special_tokens=False).ids for token in spaced]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(tokens=TOKENS)
def test_any_tokens_are_aligned_by_their_first_subwords(kind: str, tokens: list[str]) -> None:
    pieces = _pieces(kind, tokens)
    example = examples_of([({"tokens": tuple(tokens)}, ("O",) * len(tokens))])
    rows = Ner().encode(tokenizer_of(kind), CARD, example, max_tokens=2000, training=True)
    expected = [i if at == 0 else -1 for i, piece in enumerate(pieces) for at in range(len(piece))]
    if not expected:
        assert len(rows.lengths) == 0
        return
    assert rows.columns["input_ids"][0][1:-1].tolist() == [id_ for piece in pieces for id_ in piece]
    assert rows.aside["word"].tolist() == [-1, *expected, -1]
    assert rows.counts["tokens_without_subwords"] == sum(not piece for piece in pieces)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(tokens=TOKENS, max_tokens=st.integers(5, 40))
def test_any_token_of_a_long_sentence_is_read_off_at_its_first_subword_with_most_context(
    kind: str, tokens: list[str], max_tokens: int
) -> None:
    flat = [(id_, i, at) for i, piece in enumerate(_pieces(kind, tokens)) for at, id_ in enumerate(piece)]
    # By brute force: windows of all but the two special tokens, each as many tokens on as they do not share
    room, step = max_tokens - 2, max_tokens - 2 - max(1, max_tokens // 4)
    first = [0]
    while first[-1] + room < len(flat):
        first.append(first[-1] + step)
    expected: dict[int, tuple[int, int]] = {}  # token -> window, position
    for place, (_, token, at) in enumerate(flat):
        if at == 0:
            contexts = {}
            for w, begin in enumerate(first):
                end = min(begin + room, len(flat))
                if begin <= place < end:
                    before = place - begin if begin else len(flat)
                    after = end - 1 - place if end < len(flat) else len(flat)
                    contexts[w] = min(before, after)
            w = min(contexts, key=lambda w: (-contexts[w], w))
            expected[token] = w, 1 + place - first[w]
    example = examples_of([({"tokens": tuple(tokens)}, ("O",) * len(tokens))])
    rows = Ner().encode(tokenizer_of(kind), CARD, example, max_tokens=max_tokens, training=False)
    used = sorted({w for w, _ in expected.values()})  # windows that own no token are left out
    found = {}
    for row, w in enumerate(used):
        part = slice(rows.starts[row], rows.starts[row + 1])
        ids = rows.columns["input_ids"][0][part].tolist()
        assert ids[1:-1] == [id_ for id_, _, _ in flat[first[w] : first[w] + room]]
        found |= {int(token): (w, at) for at, token in enumerate(rows.aside["word"][part]) if token >= 0}
    assert len(rows.lengths) == len(used)
    assert found == expected


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
    assert Ner().units(CARD, example, rows, answers)[:, :3].tolist() == [[0, 1, 1], [0, 0, 1]]
    assert Ner().outputs(CARD, example, rows, answers) == [["B-PER", "O", "O"], ["O"]]


def test_a_sentence_without_tags_may_be_read_but_not_trained_on() -> None:
    example = examples_of([({"tokens": ("Anna", "bought")}, None)])
    rows = Ner().encode(tokenizer_of("wordpiece"), CARD, example, max_tokens=32, training=False)
    assert len(rows.lengths) == 1


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
