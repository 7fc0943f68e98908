"""Extractive question answering: the span of the context that answers. Units: exact, f1 and, where questions may have
no answer, answerable (1 or 0).

Contexts longer than a row are read in overlapping windows. A training window that does not hold the whole answer points
at its first token, as do all windows of a question without one (Devlin et al. 2018, run_squad.py): that teaches such
windows low scores. Prediction never chooses that token as a span, but where questions may have no answer its score is
compared with the best span's.

Card options: `unanswerable` (an empty list of answers is a question without one) and `normalisation` (answers.py).

Shapes: B rows, T tokens, 2 for start and end, S spans of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unibench.adapters import nbest
from unibench.adapters.answers import Normalise, compare, normaliser
from unibench.adapters.base import Adapter, LinearHead
from unibench.adapters.rows import Rows, stack, tokenise
from unibench.cards import TaskCard
from unibench.data import Example
from unibench.errors import DataError
from unibench.metrics import ANSWERABLE, QA_UNITS

MAX_QUESTION_TOKENS = 64
OVERLAP_TOKENS = 128


class Qa(Adapter):
    """Question and context as one row; the question first, as in every published setup."""

    def unit_names(self, card: TaskCard) -> tuple[str, ...]:
        return (*QA_UNITS, ANSWERABLE) if _may_be_empty(card) else QA_UNITS

    def encode(
        self, tokenizer: Any, card: TaskCard, examples: Sequence[Example], *, max_tokens: int, training: bool
    ) -> Rows:
        spans = [_answer(card, example) for example in examples]
        lost = [bool(e.target and e.target["text"]) and span is None for e, span in zip(examples, spans, strict=True)]
        kept = [i for i in range(len(examples)) if not (training and lost[i])]
        counts = {"windowed": 0, "questions_cut": 0, "answer_not_at_offset": sum(lost)}
        if training:
            counts["windows_without_answer"] = 0
        questions = [examples[i].inputs["question"].strip() for i in kept]
        short = _cut_questions(tokenizer, questions, min(MAX_QUESTION_TOKENS, max_tokens // 3))
        counts["questions_cut"] = sum(a != b for a, b in zip(short, questions, strict=True))
        pairs = [(question, examples[i].inputs["context"]) for i, question in zip(kept, short, strict=True)]
        overlap = min(OVERLAP_TOKENS, max_tokens // 4)
        encodings: list[Any] = []
        of_example: list[int] = []
        allowed: list[NDArray[np.bool_]] = []
        begins: list[NDArray[np.int32]] = []
        ends: list[NDArray[np.int32]] = []
        answers: list[tuple[int, int]] = []
        windows_of = tokenise(tokenizer, pairs, max_tokens=max_tokens, strategy="only_second", overlap_tokens=overlap)
        for i, windows in zip(kept, windows_of, strict=True):
            counts["windowed"] += len(windows) > 1
            for window in windows:
                inside = np.array(window.sequence_ids, dtype=np.float64) == 1
                chars = np.array(window.offsets, dtype=np.int32).reshape(-1, 2)
                encodings.append(window)
                of_example.append(i)
                allowed.append(inside)
                begins.append(chars[:, 0])
                ends.append(chars[:, 1])
                if training:
                    span = spans[i]
                    answers.append((span and token_span(inside, chars, *span)) or (0, 0))
                    counts["windows_without_answer"] += answers[-1] == (0, 0)
        return stack(
            tokenizer,
            encodings,
            of_example,
            columns={"inside": (allowed, 0)},
            aside={"begin": begins, "end": ends},
            per_row={"answer": np.array(answers, dtype=np.int64).reshape(-1, 2)} if training else {},
            counts=counts,
        )

    def head(self, card: TaskCard, width: int, generator: torch.Generator) -> nn.Module:
        return LinearHead(width, 2, generator)

    def loss(self, output: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        allowed_BT = batch["inside"].bool()
        allowed_BT[:, 0] = True
        logits_BT2 = output.float().masked_fill(~allowed_BT.unsqueeze(-1), -torch.inf)
        return nn.functional.cross_entropy(logits_BT2, batch["answer"], reduction="sum")

    def weight(self, batch: Mapping[str, Tensor]) -> Tensor:
        return torch.tensor(2 * len(batch["answer"]))

    def predict(self, output: Tensor, batch: Mapping[str, Tensor]) -> list[NDArray[Any]]:
        """Returns (1 + S, 3) for each row: score, first and last token of its null answer, then of its best spans.

        0.8 kB a row; on the device `best_spans` says.
        """
        logits_BT2 = output.float()
        spans_BS3 = torch.stack([t.float() for t in nbest.best_spans(logits_BT2, batch["inside"].bool())], dim=-1)
        null_B13 = nn.functional.pad(logits_BT2[:, 0].sum(dim=-1)[:, None, None], (0, 2))
        return list(torch.cat([null_B13, spans_BS3], dim=1).cpu().numpy())

    def calibrate(
        self,
        card: TaskCard,
        examples: Sequence[Example],
        rows: Rows,
        answers: Sequence[NDArray[Any]],
        *,
        language: str = "",
    ) -> float | None:
        """Returns by how much the null answer must outscore the best span to be given, for the best F1 on `examples`.

        None for a card whose questions all have answers.
        """
        if not _may_be_empty(card):
            return None
        normalise = _normaliser(card, language)
        found = nbest.read(examples, rows, answers, 1)
        gains = [
            compare(read.text, example.target["text"], normalise, may_be_empty=True)[1]
            - compare("", example.target["text"], normalise, may_be_empty=True)[1]
            for read, example in zip(found, examples, strict=True)
        ]
        return nbest.best_threshold(np.array([read.margin for read in found]), np.array(gains))

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
        may_be_empty, normalise = _may_be_empty(card), _normaliser(card, language)
        found = nbest.read(examples, rows, answers, 1)
        units = np.zeros((len(examples), len(self.unit_names(card))))
        for i, (example, read) in enumerate(zip(examples, found, strict=True)):
            golds, text = example.target["text"], _given(read, threshold, may_be_empty)
            units[i, :2] = compare(text, golds, normalise, may_be_empty=may_be_empty)
            units[i, 2:] = bool(golds)
        return units

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
        """Returns, for each question, the answer given ("": none), the `N_BEST` best texts, and the null score.

        A text's score is that of its best span, which starts at character `start` of the context. The null score is
        null for a question of which no row was made.
        """
        return [
            {
                "answer": _given(read, threshold, _may_be_empty(card)),
                "nbest": [{"text": text, "score": score, "start": start} for text, score, start in read.answers],
                "null_score": read.null_score if np.isfinite(read.null_score) else None,
            }
            for read in nbest.read(examples, rows, answers, nbest.N_BEST)
        ]


def _may_be_empty(card: TaskCard) -> bool:
    return bool(card.options.get("unanswerable", False))


def _normaliser(card: TaskCard, language: str) -> Normalise:
    return normaliser(card.options.get("normalisation", "squad"), language)


def _given(read: nbest.Read, threshold: float, may_be_empty: bool) -> str:
    return "" if may_be_empty and read.margin > threshold else read.text


def token_span(inside: NDArray[np.bool_], chars: NDArray[np.int32], begin: int, end: int) -> tuple[int, int] | None:
    """Returns the first and last token that cover characters [begin, end) of the context, None if not all are here.

    Tokens are found by overlap, not by equal offsets: tokens may include the space before them, share a character
    (byte-level) or start inside a word the answer starts in.
    """
    at = np.flatnonzero(inside)
    if not len(at) or chars[at, 0].min() > begin or chars[at, 1].max() < end:
        return None
    touching = at[(chars[at, 1] > begin) & (chars[at, 0] < end)]
    return (int(touching[0]), int(touching[-1])) if len(touching) else None


def _answer(card: TaskCard, example: Example) -> tuple[int, int] | None:
    """Characters of the first gold answer that the context holds exactly where it is said to be; None without any."""
    if example.target is None:
        return None
    texts, starts = example.target["text"], example.target["start"]
    if not texts and not _may_be_empty(card):
        raise DataError(
            f"example {example.id!r} of task {card.name!r} has no answer, and the card does not say that there may be "
            "none; set unanswerable = true in its [options], or drop the question"
        )
    for text, begin in zip(texts, starts, strict=True):
        if text and begin >= 0 and example.inputs["context"].startswith(text, begin):
            return begin, begin + len(text)
    return None


def _cut_questions(tokenizer: Any, questions: list[str], limit: int) -> list[str]:
    """The questions, cut to `limit` tokens: a question as long as the row would leave no room for its context."""
    backend = tokenizer.backend_tokenizer
    cut = []
    for question, windows in zip(questions, tokenise(tokenizer, questions, max_tokens=10**6), strict=True):
        offsets = (
            [o for o, s in zip(windows[0].offsets, windows[0].sequence_ids, strict=True) if s == 0] if windows else []
        )
        short = question
        while len(offsets) > limit:  # the shorter text may be segmented otherwise, so look again
            short = short[: min(offsets[limit - 1][1], len(short) - 1)]
            offsets = backend.encode(short, add_special_tokens=False).offsets
        cut.append(short)
    return cut
