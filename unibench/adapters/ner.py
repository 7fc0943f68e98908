"""Named entities: one tag for each token, scored as spans. Units: tp, fp, fn of each sentence, over all types and by
type.

Summed over sentences, the units give the corpus-level scores of seqeval's default mode, overall and by type.

Shapes: B rows, T subwords, C tags.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unibench.adapters.base import Adapter, LinearHead
from unibench.adapters.rows import Rows, stack, tokenise
from unibench.adapters.spans import spans
from unibench.cards import TaskCard
from unibench.data import Example
from unibench.errors import CardError, DataError
from unibench.labels import OUTSIDE, type_of
from unibench.metrics import NER_UNITS

IGNORED = -100


class Ner(Adapter):
    """A token is tagged at its first subword; a token of which no subword is left (a stray control character) is O.

    A sentence longer than a row becomes overlapping windows, and each token is trained and predicted in exactly one of
    them: where its first subword has the most context on its poorer side.
    """

    def unit_names(self, card: TaskCard) -> tuple[str, ...]:
        return (*NER_UNITS, *(f"{unit}:{kind}" for kind in _types(card) for unit in NER_UNITS))

    def encode(
        self, tokenizer: Any, card: TaskCard, examples: Sequence[Example], *, max_tokens: int, training: bool
    ) -> Rows:
        tag_id = _tag_ids(card)
        for example in examples:
            if example.target is not None:
                _check(example, card, tag_id)
        space = " " if _wants_spaces(tokenizer) else ""
        sentences = [[t if i == 0 else space + t for i, t in enumerate(e.inputs["tokens"])] for e in examples]
        encodings: list[Any] = []
        of_example: list[int] = []
        words: list[NDArray[np.int64]] = []
        counts = {"windowed": 0, "tokens_without_subwords": 0}
        overlap = max(1, max_tokens // 4)
        windows_of = tokenise(tokenizer, sentences, max_tokens=max_tokens, overlap_tokens=overlap, pretokenised=True)
        for i, windows in enumerate(windows_of):
            owned = first_subwords(windows)
            counts["windowed"] += len(windows) > 1
            counts["tokens_without_subwords"] += len(sentences[i]) - sum(int((word >= 0).sum()) for word in owned)
            for window, word in zip(windows, owned, strict=True):
                if (word >= 0).any():  # a row that owns no token has nothing to learn or to say
                    encodings.append(window)
                    of_example.append(i)
                    words.append(word)
        columns: dict[str, tuple[Sequence[Any], int]] = {}
        if training:
            tags = [np.array([tag_id[tag] for tag in e.target] + [IGNORED]) for e in examples]  # word -1 reads the last
            columns["tags"] = ([tags[i][word] for i, word in zip(of_example, words, strict=True)], IGNORED)
        return stack(tokenizer, encodings, of_example, columns=columns, aside={"word": words}, counts=counts)

    def head(self, card: TaskCard, width: int, generator: torch.Generator) -> nn.Module:
        return LinearHead(width, len(card.labels), generator)

    def loss(self, output: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        logits, tags = output.float().flatten(0, 1), batch["tags"].flatten()
        return nn.functional.cross_entropy(logits, tags, ignore_index=IGNORED, reduction="sum")

    def weight(self, batch: Mapping[str, Tensor]) -> Tensor:
        return (batch["tags"] != IGNORED).sum()

    def predict(self, output: Tensor, batch: Mapping[str, Tensor]) -> list[NDArray[Any]]:
        return list(output.float().argmax(dim=-1).cpu().numpy())

    def units(
        self,
        card: TaskCard,
        examples: Sequence[Example],
        rows: Rows,
        answers: Sequence[NDArray[Any]],
        *,
        language: str = "",
        threshold: float = 0.0,
    ) -> NDArray[np.float64]:
        types = _types(card)
        predicted = _tags(card, examples, rows, answers)
        counts = [span_counts(e.target, tags, types) for e, tags in zip(examples, predicted, strict=True)]
        return np.array(counts, dtype=np.float64).reshape(len(examples), len(self.unit_names(card)))

    def outputs(
        self,
        card: TaskCard,
        examples: Sequence[Example],
        rows: Rows,
        answers: Sequence[NDArray[Any]],
        *,
        language: str = "",
        threshold: float = 0.0,
    ) -> list[Any]:
        """Returns the tags of each sentence, as they were predicted: an entity may begin with I-."""
        return [list(tags) for tags in _tags(card, examples, rows, answers)]


def _types(card: TaskCard) -> tuple[str, ...]:
    return tuple(sorted({type_of(label) for label in card.labels if label != OUTSIDE}))


def _tags(card: TaskCard, examples: Sequence[Example], rows: Rows, answers: Sequence[NDArray[Any]]) -> list[list[str]]:
    """The predicted tag of every token."""
    predicted = [[OUTSIDE] * len(example.inputs["tokens"]) for example in examples]
    for row, answer in enumerate(answers):
        word = rows.aside["word"][rows.starts[row] : rows.starts[row + 1]]
        at = np.flatnonzero(word >= 0)  # the answer is as long as its batch's longest row
        tags = predicted[rows.example[row]]
        for token, tag in zip(word[at].tolist(), answer[at].tolist(), strict=True):
            tags[token] = card.labels[tag]
    return predicted


def span_counts(gold: Sequence[str], predicted: Sequence[str], types: Sequence[str] = ()) -> list[int]:
    """Returns tp, fp, fn of all spans, then of those of each type in `types`.

    A span counts as found when type, first and last token all agree: one of another type is a fp of that type and
    a fn of its own.
    """
    wanted, found = spans(gold), spans(predicted)
    sets = (wanted & found, found - wanted, wanted - found)
    by_type = [Counter(span[0] for span in those) for those in sets]
    return [*(len(those) for those in sets), *(counted[kind] for kind in types for counted in by_type)]


def first_subwords(windows: Sequence[Any]) -> list[NDArray[np.int64]]:
    """Returns for each window, at each subword, the token that is read off there, or -1: every token at most once.

    The leading token of a later window may be the rest of a token cut in two. It has no context before it, so it never
    displaces the token's first subword, which the overlap guarantees to be in an earlier window.
    """
    owned = []
    best: dict[int, tuple[int, int, int]] = {}  # token -> context, window, position
    for w, window in enumerate(windows):
        word = np.nan_to_num(np.array(window.word_ids, dtype=np.float64), nan=-1).astype(np.int64)
        first = (word >= 0) & (word != np.concatenate([[-1], word[:-1]]))
        owned.append(np.where(first, word, -1))
        if len(windows) == 1:
            return owned
        inside = np.flatnonzero(word >= 0)
        for position in np.flatnonzero(first).tolist():
            before = position - inside[0] if w else len(word)  # the sentence's own ends cut nothing off
            after = inside[-1] - position if w < len(windows) - 1 else len(word)
            context = int(min(before, after))
            token = int(word[position])
            if token not in best or context > best[token][0]:
                best[token] = (context, w, position)
    cleared = [np.full_like(word, -1) for word in owned]
    for token, (_, w, position) in best.items():
        cleared[w][position] = token
    return cleared


def _wants_spaces(tokenizer: Any) -> bool:
    """True for a tokenizer that joins pre-split words unless each but the first brings its own space (GPT-2's)."""
    backend = tokenizer.backend_tokenizer

    def ids(text: Any) -> list[int]:
        return list(backend.encode(text, is_pretokenized=not isinstance(text, str), add_special_tokens=False).ids)

    running = ids("a a")
    return ids(["a", "a"]) != running and ids(["a", " a"]) == running


def _tag_ids(card: TaskCard) -> dict[str, int]:
    if OUTSIDE not in card.labels:
        raise CardError(f"task {card.name!r} lists the tags {list(card.labels)}; the tag 'O' is missing from labels")
    return {tag: i for i, tag in enumerate(card.labels)}


def _check(example: Example, card: TaskCard, tag_id: Mapping[str, int]) -> None:
    if len(example.target) != len(example.inputs["tokens"]):
        raise DataError(
            f"example {example.id!r} of task {card.name!r} has {len(example.inputs['tokens'])} tokens "
            f"but {len(example.target)} tags; expected one tag for each token"
        )
    for tag in example.target:
        if tag not in tag_id:
            raise DataError(
                f"example {example.id!r} of task {card.name!r} has tag {tag!r}; expected one of {list(card.labels)}"
            )
