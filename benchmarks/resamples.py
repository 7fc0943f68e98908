"""Resampling of scores and spans, ours and by loops over rows: parts (a) and (b) of `statistics.py`.

Legend: `L` languages, `M` models, `N` examples, `K` units, `R` resamples.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import interleaved
import numpy as np

from unibench import metrics, resampling
from unibench.metrics import Array

OURS, APART, HITS = "unibench", "unibench, a draw a language", "unibench, scores of 0 and 1"
LOOP, SHARING = "index loop", "index loop, draws shared"
SPANS, SEQEVAL = "unibench, span F1", "seqeval"
PARTS = {"a": (OURS, APART, HITS, LOOP, SHARING), "b": (SPANS, SEQEVAL)}
PEERS = {"a": (LOOP, SHARING), "b": (SEQEVAL,)}
FULL = {"resamples": 10_000, "examples": 5_000, "sentences": 2_000, "models": 8, "languages": 15, "looped": 60}
TINY = {"resamples": 200, "examples": 90, "sentences": 60, "models": 3, "languages": 2, "looped": 4}
KINDS = ("PER", "LOC", "ORG")


def scored(size: argparse.Namespace, *, whole: bool) -> Array:
    """Returns a score for every example (L, M, N): 0..1, or 0 and 1 where `whole`."""
    found = np.random.default_rng(0).random((size.languages, size.models, size.examples))
    return np.round(found) if whole else found


def pairs(models: int) -> tuple[list[int], list[int]]:
    """Returns the first and the second model of every pair."""
    firsts, seconds = zip(*itertools.combinations(range(models), 2), strict=True)
    return list(firsts), list(seconds)


def resampled(scores_LMN: Array, resamples: int, *, jointly: bool = True, metric: str = "token_f1") -> list[Array]:
    """Returns the differences (pairs, R) in every language; the draws are the same in all, drawn once where `jointly`.

    "token_f1" and "exact_match" are the means of any score, and of 0 and 1.
    """
    firsts, seconds = pairs(scores_LMN.shape[1])
    n = scores_LMN.shape[2]
    drawn = resampling.draw_weights(resampling.generator("all"), resamples, n) if jointly else None
    out = []
    for scores_MN in scores_LMN:
        draws = resampling.generator("all") if drawn is None else drawn
        units_MNK = np.stack([scores_MN, scores_MN], axis=-1)
        found_MR = resampling.bootstrap(metrics.lookup(metric), units_MNK, np.arange(n), n, resamples, draws)
        out.append(found_MR[firsts] - found_MR[seconds])
    return out


def looped(scores_LMN: Array, resamples: int) -> list[Array]:
    """Returns the same from a loop over drawn indices for each pair and language."""
    out = []
    for scores_MN in scores_LMN:
        found = []
        for a, b in itertools.combinations(scores_MN, 2):
            rng = resampling.generator("all")
            gaps = np.empty(resamples)
            for r in range(resamples):
                index = rng.integers(0, len(a), len(a))
                gaps[r] = a[index].mean() - b[index].mean()
            found.append(gaps)
        out.append(np.stack(found))
    return out


def looped_sharing(scores_LMN: Array, resamples: int) -> list[Array]:
    """Returns the same from a loop that draws once for all, and takes the mean of each model once a language."""
    L, M, n = scores_LMN.shape
    firsts, seconds = pairs(M)
    rng = resampling.generator("all")
    means_LMR = np.empty((L, M, resamples))
    for r in range(resamples):
        index = rng.integers(0, n, n)
        for at in itertools.product(range(L), range(M)):
            means_LMR[(*at, r)] = scores_LMN[at][index].mean()
    return list(means_LMR[:, firsts] - means_LMR[:, seconds])


def tagged(sentences: int) -> tuple[list[list[str]], list[list[str]]]:
    """Returns gold and predicted tags of sentences of 8 to 30 tokens."""
    rng = np.random.default_rng(1)
    tags = ["O", *(f"{mark}-{kind}" for kind in KINDS for mark in "BI")]
    often = [0.64, *([0.06] * 6)]
    gold = [rng.choice(tags, size=rng.integers(8, 31), p=often).tolist() for _ in range(sentences)]
    return gold, [[t if rng.random() < 0.85 else str(rng.choice(tags)) for t in row] for row in gold]


def span_units(gold: list[list[str]], predicted: list[list[str]]) -> Array:
    """Returns tp, fp and fn of every sentence (N, 3), in entities as seqeval reads them."""
    from seqeval.metrics.sequence_labeling import get_entities

    both = [(set(get_entities(a)), set(get_entities(b))) for a, b in zip(gold, predicted, strict=True)]
    return np.array([[len(a & b), len(b - a), len(a - b)] for a, b in both], dtype=np.float64)


def spans_resampled(units_NK: Array, resamples: int) -> Array:
    """Returns span F1 (R,) of resampled sentences."""
    n = len(units_NK)
    rng = resampling.generator("spans")
    return resampling.bootstrap(metrics.lookup("span_f1"), units_NK[None], np.arange(n), n, resamples, rng)[0]


def spans_looped(gold: list[list[str]], predicted: list[list[str]], resamples: int) -> Array:
    """Returns the same from seqeval, called with the tags of each resample."""
    from seqeval.metrics import f1_score

    rng, found = resampling.generator("spans"), np.empty(resamples)
    for r in range(resamples):
        index = rng.integers(0, len(gold), len(gold))
        found[r] = f1_score([gold[i] for i in index], [predicted[i] for i in index])
    return found


def difference(part: str, size: argparse.Namespace) -> float:
    """Returns the largest difference between the sides of a part that are given the same draws, on a few of them."""
    if part == "b":
        tags = tagged(size.sentences)
        return float(np.abs(spans_resampled(span_units(*tags), 2) - spans_looped(*tags, 2)).max())
    worst = 0.0
    for whole, metric in ((False, "token_f1"), (True, "exact_match")):
        rows = scored(size, whole=whole)[:2]
        sides = [resampled(rows, 2, jointly=jointly, metric=metric) for jointly in (True, False)]
        sides += [looped(rows, 2), looped_sharing(rows, 2)]
        worst = max(worst, *(float(np.abs(np.stack(side) - np.stack(sides[0])).max()) for side in sides[1:]))
    return worst


def worker(side: str, size: argparse.Namespace) -> Callable[[], dict[str, Any]]:
    """Returns what measures one side: CPU seconds of all resamples, where the side is a loop extrapolated from some."""
    few = size.looped
    if side in PARTS["b"]:
        tags = tagged(size.sentences)
        units = span_units(*tags)
        ours, theirs = lambda: spans_resampled(units, size.resamples), lambda: spans_looped(*tags, few)
        run: Callable[[], Any] = ours if side == SPANS else theirs
    else:
        rows = scored(size, whole=side == HITS)
        run = {
            OURS: lambda: resampled(rows, size.resamples),
            APART: lambda: resampled(rows, size.resamples, jointly=False),
            HITS: lambda: resampled(rows, size.resamples, metric="exact_match"),
            LOOP: lambda: looped(rows, few),
            SHARING: lambda: looped_sharing(rows, few),
        }[side]
    times = size.resamples / few if side in (LOOP, SHARING, SEQEVAL) else 1.0

    def measure() -> dict[str, Any]:
        began = time.process_time()
        run()
        return {"cpu_s": (time.process_time() - began) * times}

    return measure


def words(size: argparse.Namespace) -> list[str]:
    """Returns the sizes as options of this script."""
    return [word for name in FULL for word in (f"--{name}", str(getattr(size, name)))]


def compare(part: str, size: argparse.Namespace, repeats: int, verbose: bool) -> dict[str, Any]:
    """Measures all sides of a part in turn, prints medians and ratios, and returns every measurement."""
    apart = difference(part, size)
    found = interleaved.measure(
        __file__, PARTS[part], words(size), repeats=repeats, environments={}, verbose=verbose
    )  # fmt: skip
    many = len(pairs(size.models)[0])
    what = {
        "a": f"{size.resamples:,} paired bootstraps × {size.examples:,} examples × {many} pairs × {size.languages} "
        "languages",
        "b": f"span F1 of {size.resamples:,} resamples of {size.sentences:,} sentences",
    }[part]
    print(
        f"({part}) {what}; loops extrapolated from {size.looped} resamples; one thread, CPU time, {repeats} "
        f"interleaved repeats; from the same draws the largest difference is {apart:.0e}"
    )
    for side, rows in found.items():
        seconds = [row["cpu_s"] for row in rows]
        line = f"{side:32} {statistics.median(seconds):10,.2f} s"
        if side not in PEERS[part]:
            for peer in PEERS[part]:
                ratios = [row["cpu_s"] / own for row, own in zip(found[peer], seconds, strict=True)]
                line += f"  x{statistics.median(ratios):,.1f} ({min(ratios):,.1f} to {max(ratios):,.1f}) against {peer}"
        print(line)
    print("peak memory", ", ".join(f"{s} {max(r['memory_mb'] for r in rows):,.0f} MB" for s, rows in found.items()))
    return {"what": what, "looped": size.looped, "difference": apart, "sides": found}


def main() -> None:
    """Answers as one side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", required=True)
    for name in FULL:
        parser.add_argument(f"--{name}", type=int, required=True)
    arguments = parser.parse_args()
    interleaved.answer(lambda: worker(arguments.worker, arguments))


if __name__ == "__main__":
    main()
