"""Extractive question answering: the span of the context that answers. Units: exact, f1 (SQuAD v1.1).

Every question has an answer in its context. Contexts longer than a row are read in overlapping windows; a training
window that does not hold the whole answer points at its first token (Devlin et al. 2018, run_squad.py), which teaches
such windows low scores, and prediction never chooses that token.

Shapes: B rows, T tokens, 2 for start and end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unibench.adapters import squad
from unibench.adapters.base import LinearHead
from unibench.adapters.rows import Rows, stack, tokenise
from unibench.cards import TaskCard
from unibench.data import Example

MAX_QUESTION_TOKENS = 64
OVERLAP_TOKENS = 128
MAX_ANSWER_TOKENS = 30


class Qa:
    """Question and context as one row; the question first, as in every published setup."""

    def unit_names(self, card: TaskCard) -> tuple[str, ...]:
        return ("exact", "f1")

    def encode(
        self, tokenizer: Any, card: TaskCard, examples: Sequence[Example], *, max_tokens: int, training: bool
    ) -> Rows:
        counts = {"windowed": 0, "questions_cut": 0}
        if training:
            kept = [i for i, example in enumerate(examples) if _answer(example) is not None]
            counts |= {"answer_not_at_offset": len(examples) - len(kept), "windows_without_answer": 0}
        else:
            kept = list(range(len(examples)))
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
                    span = _answer(examples[i])
                    assert span is not None
                    answers.append(token_span(inside, chars, *span) or (0, 0))
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
        scores_B, first_B, last_B = best_spans(output.float(), batch["inside"].bool())
        return list(torch.stack([scores_B.double(), first_B.double(), last_B.double()], dim=1).cpu().numpy())

    def units(
        self, card: TaskCard, examples: Sequence[Example], rows: Rows, answers: Sequence[NDArray[Any]]
    ) -> NDArray[np.float64]:
        texts = _texts(examples, rows, answers)
        golds = [example.target["text"] for example in examples]
        return np.array(
            [(squad.exact(text, gold), squad.f1(text, gold)) for text, gold in zip(texts, golds, strict=True)],
            dtype=np.float64,
        ).reshape(-1, 2)

    def outputs(
        self, card: TaskCard, examples: Sequence[Example], rows: Rows, answers: Sequence[NDArray[Any]]
    ) -> list[Any]:
        return _texts(examples, rows, answers)


def _texts(examples: Sequence[Example], rows: Rows, answers: Sequence[NDArray[Any]]) -> list[str]:
    """The best answer to each question, over all its windows."""
    best_score = np.full(len(examples), -np.inf)
    texts = [""] * len(examples)
    for row, (score, first, last) in enumerate(answers):
        i = int(rows.example[row])
        if score > best_score[i]:  # raw logits compare across windows of one question, as in run_squad.py
            best_score[i] = score
            begin = rows.aside["begin"][rows.starts[row] + int(first)]
            end = rows.aside["end"][rows.starts[row] + int(last)]
            texts[i] = examples[i].inputs["context"][begin:end].strip()
    return texts


def best_spans(logits_BT2: Tensor, inside_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns (score, first token, last token) of the best span in each row, each (B,); score -inf where none is.

    The best of all spans of at most `MAX_ANSWER_TOKENS` tokens, exactly: the published scripts search the 20 best
    starts and ends, which can only miss.
    """
    start_BT, end_BT = logits_BT2.masked_fill(~inside_BT.unsqueeze(-1), -torch.inf).unbind(-1)
    ahead = nn.functional.pad(end_BT, (0, MAX_ANSWER_TOKENS - 1), value=-torch.inf)
    windows_BTL = ahead.unfold(-1, MAX_ANSWER_TOKENS, 1)
    end_score_BT, steps_BT = windows_BTL.max(dim=-1)
    score_B, first_B = (start_BT + end_score_BT).max(dim=-1)
    last_B = first_B + steps_BT.gather(-1, first_B.unsqueeze(-1)).squeeze(-1)
    return score_B, first_B, last_B


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


def _answer(example: Example) -> tuple[int, int] | None:
    """Characters of the first gold answer; None unless the context holds it exactly where it is said to be."""
    text, begin = example.target["text"][0], example.target["start"][0]
    end = begin + len(text)
    return (begin, end) if text and example.inputs["context"][begin:end] == text else None


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
