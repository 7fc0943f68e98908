"""Two systems' units on the same examples, in every shape of metric, with errors that groups share."""

from __future__ import annotations

import numpy as np

from unibench import metrics

SHAPES = ["accuracy", "macro_f1", "span_f1", "token_f1", "spearman", "pearson"]


def units_for(
    metric: str, gold_rng: np.random.Generator, rng: np.random.Generator, n: int, size: int, noise: float
) -> np.ndarray:
    def errors() -> np.ndarray:
        return 0.6 * np.repeat(rng.normal(size=n // size), size) + 0.8 * rng.normal(size=n)

    names = metrics.METRICS[metric].unit_names
    if names == metrics.NLI_UNITS:
        gold = gold_rng.integers(0, 3, n)
        wrong = errors() > 0.8 - noise
        return np.column_stack([gold, np.where(wrong, (gold + 1) % 3, gold)]).astype(float)
    if names == metrics.NER_UNITS:
        spans = gold_rng.integers(1, 4, n)
        missed = np.clip(np.round(errors() + noise), 0, spans)
        return np.column_stack([spans - missed, np.clip(np.round(errors() + noise), 0, 3), missed]).astype(float)
    if names == metrics.QA_UNITS:
        f1 = np.clip(0.6 - 0.3 * errors() - 0.3 * noise, 0, 1)
        return np.column_stack([f1 == 1, f1])
    gold = gold_rng.random(n)
    return np.column_stack([gold, gold + 0.4 * (1 + noise) * errors()])


def pair(metric: str, seed: int, *, groups: int, size: int, gap: float = 0.0, scale: float = 1.0):
    """(system, baseline, group of each row) on the same gold; `gap` worsens the baseline."""
    n = groups * size
    both = []
    for k, noise in ((0, 0.0), (1, gap)):
        units = units_for(metric, np.random.default_rng(seed), np.random.default_rng((seed, k)), n, size, noise)
        both.append(units[None])
    if metrics.METRICS[metric].unit_names == metrics.STS_UNITS:
        both[1] = both[1] * [1.0, scale] + [0.0, scale]
    return both[0], both[1], np.repeat(np.arange(groups), size)
