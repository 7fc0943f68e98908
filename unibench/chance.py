"""Warns of scores that knowing nothing would give: labels that are placeholders, labels in another order, a training
that diverged. One line about one record's units; no torch.

Public harnesses have reported such scores as results (33 % on three balanced classes, from test labels that were
placeholders). A warning is no verdict: where data are few, or a language is beyond the encoder, chance is what it is.

Shapes: N examples, K units of an example.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np

from unibench.metrics import ANSWERABLE, NER_UNITS, NLI_UNITS, QA_UNITS, STS_UNITS, Array, lookup, score

Named = Mapping[str, Array]  # a column (N,) by its unit's name

FEWEST = 20  # examples; of fewer, chance and knowledge look alike
NOTHING = 0.01  # a share of spans or answers found that is as good as none
ALPHA = 0.05  # two-sided
CRITICAL = 1.959964  # the normal's for ALPHA
RANK_SPREAD = 1.06  # of a rank correlation's Fisher z, beside Pearson's; Fieller, Hartley and Pearson 1957


def warning(metric: str, units: Array, unit_names: Sequence[str] | None = None, groups: Sequence[Hashable] = ()) -> str:
    """Returns a line that says what is suspicious about a record's units (N, K), "" if nothing is.

    `groups` (N,) says which examples belong together: they count as one piece of evidence. `unit_names` are the K
    columns' names; None: the first are the metric's own, the rest is not read. Labels warn where the 95 % interval of
    the accuracy reaches the share of the majority class, spans and answers where next to none is found, similarity
    where the correlation is not above 0. Of metrics that other packages bring nothing is said. Raises UnknownName for
    a metric that does not exist.
    """
    whole = lookup(metric.partition(":")[0])
    warn = _OF_UNITS.get(whole.unit_names)
    if warn is None or len(units) < FEWEST:
        return ""
    columns = np.asarray(units, dtype=np.float64).T
    named = dict(zip(unit_names or whole.unit_names, columns, strict=unit_names is not None))
    if not all(np.isfinite(named[name]).all() for name in whole.unit_names):
        return f"{whole.name} has units that are not numbers: a training diverged"
    return warn(whole.name, named, groups)


def _labels(metric: str, named: Named, groups: Sequence[Hashable]) -> str:
    gold, predicted = (named[name] for name in NLI_UNITS)
    count = len(gold)
    classes, sizes = np.unique(gold, return_counts=True)
    if len(classes) == 1:
        return f"all {count} gold labels are class {classes[0]:g}: look for placeholder labels"
    answered = np.unique(predicted)
    if len(answered) == 1:
        return f"all {count} predictions are class {answered[0]:g}: look for a rate that diverged, or was too low"
    hits = gold == predicted
    share, accuracy = float(sizes.max()) / count, float(hits.mean())
    low_tail, high_tail = _tails(hits.astype(np.float64), share, groups)
    where = f"accuracy {100 * accuracy:.1f} is {{}} chance ({100 * share:.1f}, the majority class): look for"
    if low_tail <= ALPHA / 2:
        return where.format("below") + " labels in another order than the card's, or placeholder labels"
    if high_tail > ALPHA / 2:
        return where.format("not above") + " placeholder labels, label order, or a rate that diverged"
    return ""


def _tails(hits_N: Array, share: float, groups: Sequence[Hashable]) -> tuple[float, float]:
    """Returns the probabilities of at most and of at least this many hits where each has the probability `share`.

    Exact (binomial) for examples that stand alone: the high one exceeds ALPHA / 2 just where the Clopper-Pearson
    interval reaches `share`. Where examples belong together, Student's t over the groups' sums; groups that are all
    alike have no spread, and count as one example each.
    """
    from scipy.stats import binom, t

    count, total = len(hits_N), float(hits_N.sum())
    _, group_N = np.unique([str(group) for group in groups] or np.arange(count), return_inverse=True)
    sums_G = np.bincount(group_N, hits_N - total / count)
    independent = len(sums_G)
    spread = math.sqrt(independent / max(independent - 1, 1) * float(sums_G @ sums_G))
    if independent == count or spread < 1e-9:
        seen = round(total * independent / count)
        return float(binom.cdf(seen, independent, share)), float(binom.sf(seen - 1, independent, share))
    z = (total - share * count) / spread
    return float(t.cdf(z, independent - 1)), float(t.sf(z, independent - 1))


def _spans(metric: str, named: Named, groups: Sequence[Hashable]) -> str:
    units_NK = np.column_stack([named[name] for name in NER_UNITS])
    right, wrong, missed = units_NK.sum(axis=0)
    if right + missed == 0:
        return f"there is no gold entity in {len(units_NK)} sentences: look for placeholder labels"
    if right + wrong == 0:
        return f"none of {right + missed:.0f} entities is found, and none is predicted: look for a rate that diverged"
    found = score(metric, units_NK)
    if found >= NOTHING:
        return ""
    return (
        f"{metric} {100 * found:.1f} is next to nothing ({right:.0f} of {right + missed:.0f} entities are found, "
        f"{wrong:.0f} wrong ones): look for a rate that diverged, or labels of another scheme"
    )


def _answers(metric: str, named: Named, groups: Sequence[Hashable]) -> str:
    has_answer = named.get(ANSWERABLE, np.ones(len(named["f1"]))) > 0  # to answer nothing is right where there is none
    count = int(has_answer.sum())
    if count == 0:
        return f"none of {len(has_answer)} questions has an answer: look for placeholder answers"
    found = float(named["f1"][has_answer].mean())
    if found >= NOTHING:
        return ""
    return (
        f"token_f1 {100 * found:.1f} is next to nothing (over {count} questions that have an answer): look for a rate "
        "that diverged, or answers that are not in their contexts"
    )


def _similarity(metric: str, named: Named, groups: Sequence[Hashable]) -> str:
    gold, predicted = (named[name] for name in STS_UNITS)
    if gold.min() == gold.max():
        return f"all {len(gold)} gold scores are {gold[0]:g}: look for placeholder scores"
    found = score(metric, np.column_stack([gold, predicted]))
    if math.isnan(found):
        return f"all {len(gold)} predicted scores are alike: look for a rate that diverged"
    independent = len(set(groups)) if len(groups) else len(gold)
    if independent <= 3:
        return ""
    spread = (RANK_SPREAD if metric == "spearman" else 1.0) / math.sqrt(independent - 3)
    z = math.atanh(min(max(found, -0.999999), 0.999999)) / spread
    if z < -CRITICAL:
        return f"{metric} {100 * found:.1f} is below 0: look for a scale that runs the other way"
    if z <= CRITICAL:
        return f"{metric} {100 * found:.1f} is not above 0: look for scores of other pairs, or a rate that diverged"
    return ""


_OF_UNITS: Mapping[tuple[str, ...], Callable[[str, Named, Sequence[Hashable]], str]] = {
    NLI_UNITS: _labels,
    NER_UNITS: _spans,
    QA_UNITS: _answers,
    STS_UNITS: _similarity,
}
