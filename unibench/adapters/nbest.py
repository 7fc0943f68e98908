"""The best answers to a question over all windows of its context, and whether to give one.

Shapes: B rows, T tokens, L lengths of a span, S spans of a row, N questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unibench.adapters.rows import Rows
from unibench.data import Example

MAX_ANSWER_TOKENS = 30
SPANS = 64  # kept of each row: spans of other tokens may be the same text, and N_BEST texts are wanted
N_BEST = 20
# A byte order mark that a data set forgot is no part of an answer, and the rules of comparison do not remove it.
_WHITE = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\ufeff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What all windows of one question say: (text, score, start in the context), the best first, texts distinct.

    `null_score` is the score of the first token as an answer, the least of all windows: one that holds an answer
    suffices (run_squad.py). inf where there is no window. `margin` is by how much it exceeds the best answer's score.
    """

    answers: tuple[tuple[str, float, int], ...]
    null_score: float

    @property
    def margin(self) -> float:
        return self.null_score - self.answers[0][1] if self.answers else np.inf

    @property
    def text(self) -> str:
        """The best answer; "" where the windows hold no text."""
        return self.answers[0][0] if self.answers else ""


def best_spans(logits_BT2: Tensor, inside_BT: Tensor, count: int = SPANS) -> tuple[Tensor, Tensor, Tensor]:
    """Returns (score, first token, last token) of the best spans in each row, best first, each (B, S).

    S is `count`, or fewer where T has no more; the score is -inf where a row has no more. They are the best of all
    spans of at most `MAX_ANSWER_TOKENS` tokens, exactly: the published scripts search the 20 best starts and ends,
    which can only miss. Takes 4 L bytes for each token of the batch, padding included: 8 MB for 65,536 tokens.
    """
    start_BT, end_BT = logits_BT2.masked_fill(~inside_BT.unsqueeze(-1), -torch.inf).unbind(-1)
    ahead = nn.functional.pad(end_BT, (0, MAX_ANSWER_TOKENS - 1), value=-torch.inf)
    scores_BTL = start_BT.unsqueeze(-1) + ahead.unfold(-1, MAX_ANSWER_TOKENS, 1)
    scores_BX = scores_BTL.flatten(1)
    scores_BS, at_BS = scores_BX.topk(min(count, scores_BX.shape[1]))
    first_BS = at_BS // MAX_ANSWER_TOKENS
    return scores_BS, first_BS, first_BS + at_BS % MAX_ANSWER_TOKENS


def read(examples: Sequence[Example], rows: Rows, spans: Sequence[NDArray[Any]], count: int) -> list[Read]:
    """Returns up to `count` answers to each question.

    `spans` holds, for each row, (1 + S, 3): score, first and last token; the row's null score first, then its spans,
    the best first. Raw logits compare across windows of one question, as in run_squad.py. Spans of white space alone
    are no answers.
    """
    best: list[dict[str, tuple[float, int]]] = [{} for _ in examples]
    null_N = np.full(len(examples), np.inf)
    for row, found in enumerate(spans):
        i = int(rows.example[row])
        null_N[i] = min(null_N[i], found[0, 0])
        context = examples[i].inputs["context"]
        first = int(rows.starts[row])
        texts: set[str] = set()
        for score, begin_token, end_token in found[1:].tolist():
            if len(texts) == count or score == -np.inf:
                break
            begin, end = rows.aside["begin"][first + int(begin_token)], rows.aside["end"][first + int(end_token)]
            text = context[begin:end].lstrip(_WHITE)
            begin, text = int(end) - len(text), text.rstrip(_WHITE)
            if text:
                texts.add(text)
                before = best[i].get(text)
                if before is None or (score, -begin) > (before[0], -before[1]):
                    best[i][text] = score, begin
    return [
        Read(
            answers=tuple(
                sorted(((text, *where) for text, where in found.items()), key=lambda a: (-a[1], a[2]))[:count]
            ),
            null_score=float(null),
        )
        for found, null in zip(best, null_N, strict=True)
    ]


def best_threshold(margin_N: NDArray[np.float64], gain_N: NDArray[np.float64]) -> float | None:
    """Returns the threshold t for which answering where margin <= t, and nowhere else, gains most; the least such t.

    `gain_N` is the score of answering less that of not answering. t is a question's own margin (best_f1_thresh of
    evaluate-v2.0.py), or below all of them where no answering gains anything. None without a finite margin.
    """
    finite = np.isfinite(margin_N)
    if not finite.any():
        return None
    order = np.argsort(margin_N[finite], kind="stable")
    margin_M, total_M = margin_N[finite][order], np.cumsum(gain_N[finite][order])
    attainable_M = np.r_[margin_M[1:] != margin_M[:-1], True]  # equal margins are answered together
    best = int(np.argmax(np.where(attainable_M, total_M, -np.inf)))
    return float(margin_M[best]) if total_M[best] > 0 else float(margin_M[0]) - 1.0
