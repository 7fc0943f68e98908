"""What evaluate-v2.0.py of SQuAD does where a question may have no answer (Rajpurkar et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from oracles import squad_v1


def evaluate(
    predicted: str, golds: Sequence[str], normal: Callable[[str], str] = squad_v1.normalise
) -> tuple[float, float]:
    """Golds that normalising empties are no answers; without any the one gold answer is the empty text."""
    real = []
    for gold in golds:
        if normal(gold) != "":
            real.append(gold)
    if not real:
        real = [""]
    exact, overlap = [], []
    for gold in real:
        exact.append(1.0 if normal(predicted) == normal(gold) else 0.0)
        said, wanted = normal(predicted).split(), normal(gold).split()
        if said == [] or wanted == []:
            overlap.append(1.0 if said == wanted else 0.0)
        else:
            overlap.append(squad_v1.f1(said, wanted))
    return max(exact), max(overlap)


def total_at(threshold: float, na_scores: Sequence[float], answered: Sequence[float], empty: Sequence[float]) -> float:
    """The sum of scores when a question is left without answer where its no-answer score exceeds the threshold."""
    return sum(
        nothing if na > threshold else something
        for na, something, nothing in zip(na_scores, answered, empty, strict=True)
    )


def best_threshold(
    na_scores: Sequence[float], answered: Sequence[float], has_answer: Sequence[bool], empty_text: Sequence[bool]
) -> tuple[float, float | None]:
    """The best total and its threshold, as the script finds them: it starts from answering nothing, then answers one
    question after the other, by ascending no-answer score, and notes each total higher than all before.

    None where answering nothing is best (the script says 0.0, for its no-answer scores are probabilities). Of equal
    no-answer scores it also notes totals that no threshold gives.
    """
    total = float(sum(not has for has in has_answer))
    best, threshold = total, None
    for i in sorted(range(len(na_scores)), key=lambda i: na_scores[i]):
        if has_answer[i]:
            total += answered[i]
        elif not empty_text[i]:
            total -= 1
        if total > best:
            best, threshold = total, na_scores[i]
    return best, threshold
