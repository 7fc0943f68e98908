"""Metrics: pure reduces of stacked unit rows, written so that resampling them is a matrix product.

Legend: `N` examples, `K` units an example, `F` features, `A` arrays of units (one per model and seed), `R` resamples.

A metric maps every unit row to features whose *totals* say everything (`finish(totals)` is the score), so a resample is
`finish(weights_RN @ features_NF)` and a swap of two systems' rows is a signed sum. Rank correlation is the exception:
under a bootstrap the ranks themselves change, so spearman also carries `reweigh`.

A metric may be asked for a part of its examples, as METRIC:PART: of spans a type ("span_f1:LOC"), of questions those
that have an answer in their context and those that have none ("token_f1:answerable", "exact_match:unanswerable").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from unibench import plugins, reduces
from unibench.errors import UnknownName
from unibench.reduces import Array, midranks

__all__ = ["METRICS", "Array", "Metric", "columns", "floor", "lookup", "midranks", "score", "scores"]

NLI_UNITS = ("gold_id", "pred_id")
NER_UNITS = ("tp", "fp", "fn")  # and, of each type of the card, the same with ":TYPE"
QA_UNITS = ("exact", "f1")
ANSWERABLE = "answerable"  # the third unit of a card that has questions without an answer: 1 or 0
STS_UNITS = ("gold", "predicted")

ANSWERED = {"answerable": 1.0, "unanswerable": 0.0}  # parts of such a card's questions


def _as_is(units_NK: Array) -> Array:
    return units_NK


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One score of one task family.

    `prepare` (N, K) -> (N, K) puts one model's, one seed's units on a scale that another model's rows may be swapped
    into; it never changes the score. `features` (N, K) -> (N, F) follows it, and `finish` (..., F) totals -> (...).
    `reweigh` (A, N, K), (R, N) integer weights -> (A, R) replaces totals where they aren't sufficient.
    """

    name: str
    unit_names: tuple[str, ...]
    features: Callable[[Array], Array]
    finish: Callable[[Array], Array]
    prepare: Callable[[Array], Array] = _as_is
    reweigh: Callable[[Array, Array], Array] | None = None


def score(metric: str, units: Array, unit_names: Sequence[str] | None = None) -> float:
    """Returns the score, in 0..1 (correlations: -1..1), of stacked units (N, K).

    `unit_names` are the K columns' names; None: they are the metric's own. nan for no examples, for nan predictions,
    and for a correlation with a constant; 0 where a ratio of span counts is undefined, which is seqeval's convention
    (of a type that is neither in gold nor predicted, too). Raises UnknownName for a metric that does not exist,
    ValueError for units that are not the metric's.
    """
    return _score(lookup(metric), units, unit_names)


def scores(unit_names: Sequence[str], units: Array) -> dict[str, float]:
    """Returns every metric, by name, that these columns (N, K) allow: parts after the wholes, in the columns' order."""
    names = tuple(unit_names)
    found = [metric for metric in METRICS.values() if set(metric.unit_names) <= set(names)]
    kinds = [name.partition(":")[2] for name in names if name.startswith(f"{NER_UNITS[0]}:")]
    parts = [*kinds, *(ANSWERED if ANSWERABLE in names else ())]
    found += [part for metric in found for name in parts if (part := _part(f"{metric.name}:{name}")) is not None]
    if set(names) > {name for metric in found for name in metric.unit_names}:  # then another package made them
        found += [m for p in plugins.families().values() for m in p.metrics.values() if set(m.unit_names) <= set(names)]
    return {metric.name: _score(metric, units, names) for metric in found}


def columns(metric: str, unit_names: Sequence[str], units: Array) -> Array:
    """Returns those of the units (N, K) that the metric reads, in its order; raises as `score` does."""
    return _columns(lookup(metric), np.asarray(units, dtype=np.float64), tuple(unit_names))


def lookup(metric: str) -> Metric:
    """Returns the metric of this name, built in, a part of one, or of an installed package.

    Raises UnknownName, with a suggestion, when there is none.
    """
    found = METRICS.get(metric) or _part(metric) or plugins.metric(metric)
    if found is None:
        raise UnknownName("metric", metric, METRICS, "unibench.metrics")
    return found


def floor(metric: str, units: Array) -> float:
    """Returns the score of knowing nothing but the answers' frequencies.

    For labels, the score of always answering the majority class of these gold labels (its accuracy, or macro F1).
    0 for the other families: their floor is what an untrained encoder scores, which units alone cannot tell.
    """
    rows = np.asarray(units, dtype=np.float64)
    if lookup(metric).unit_names != NLI_UNITS or not len(rows):
        return 0.0
    classes, counts = np.unique(rows[:, 0], return_counts=True)
    constant = np.column_stack([rows[:, 0], np.full(len(rows), classes[np.argmax(counts)])])
    return score(metric, constant)


def _score(metric: Metric, units: Array, unit_names: Sequence[str] | None) -> float:
    rows = np.asarray(units, dtype=np.float64)
    if not rows.size:
        return float("nan")
    rows = _columns(metric, rows, metric.unit_names if unit_names is None else tuple(unit_names))
    return float(metric.finish(metric.features(metric.prepare(rows)).sum(axis=0)))


def _columns(metric: Metric, units: Array, names: tuple[str, ...]) -> Array:
    if units.ndim != 2 or units.shape[1] != len(names) or not set(metric.unit_names) <= set(names):
        raise ValueError(
            f"{metric.name} reads the units {metric.unit_names} of {names}, and units are of shape {units.shape}; "
            "give (N, K) units and the names of their K columns"
        )
    return units[:, [names.index(name) for name in metric.unit_names]]


def _part(name: str) -> Metric | None:
    """The metric METRIC:PART; None where the metric has no such part."""
    whole, _, part = name.partition(":")
    metric = METRICS.get(whole)
    if metric is None or not part:
        return None
    if metric.unit_names == NER_UNITS:
        return replace(metric, name=name, unit_names=tuple(f"{unit}:{part}" for unit in NER_UNITS))
    if metric.unit_names == QA_UNITS and part in ANSWERED:
        features = reduces.part_features(metric.features, ANSWERED[part])
        return replace(metric, name=name, unit_names=(*QA_UNITS, ANSWERABLE), features=features)
    return None


METRICS: dict[str, Metric] = {
    "accuracy": Metric(name="accuracy", unit_names=NLI_UNITS, features=reduces.hit_features, finish=reduces.mean),
    "macro_f1": Metric(name="macro_f1", unit_names=NLI_UNITS, features=reduces.class_features, finish=reduces.macro_f1),
    "span_f1": Metric(
        name="span_f1", unit_names=NER_UNITS, features=reduces.span_features, finish=reduces.span_ratio((1, 2), 0.5)
    ),
    "precision": Metric(
        name="precision", unit_names=NER_UNITS, features=reduces.span_features, finish=reduces.span_ratio((1,), 1.0)
    ),
    "recall": Metric(
        name="recall", unit_names=NER_UNITS, features=reduces.span_features, finish=reduces.span_ratio((2,), 1.0)
    ),
    "exact_match": Metric(
        name="exact_match", unit_names=QA_UNITS, features=reduces.mean_features(0), finish=reduces.mean
    ),
    "token_f1": Metric(name="token_f1", unit_names=QA_UNITS, features=reduces.mean_features(1), finish=reduces.mean),
    "spearman": Metric(
        name="spearman",
        unit_names=STS_UNITS,
        features=reduces.moments,
        finish=reduces.correlation,
        prepare=reduces.rank,
        reweigh=reduces.reweighed_spearman,
    ),
    "pearson": Metric(
        name="pearson",
        unit_names=STS_UNITS,
        features=reduces.moments,
        finish=reduces.correlation,
        prepare=reduces.standardise,
    ),
}
