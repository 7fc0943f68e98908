"""The project's metrics as modules of Hugging Face's `evaluate`, which load without a network.

    from unibench.evaluate_modules import load
    load("span_f1").compute(predictions=[["B-LOC", "O"]], references=[["B-LOC", "O"]])  # {"span_f1": 1.0}

`evaluate.load(str(evaluate_modules.path()), "span_f1")` gives the same: this file is the script, and the metric its
configuration. What a metric is, metrics.py says; here predictions and references only become its units, in the way that
the adapters make them. A leaf: `evaluate` imports torch, so nothing imports this module.

Legend: `N` examples, `K` units an example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import datasets
import evaluate
import numpy as np

from unibench import metrics
from unibench.adapters.answers import compare, normaliser
from unibench.adapters.ner import span_counts
from unibench.errors import DataError, UnknownName
from unibench.metrics import NER_UNITS, NLI_UNITS, QA_UNITS, STS_UNITS, Array

RULES = ("squad", "mlqa")


def load(metric: str, **options: Any) -> evaluate.Metric:
    """Returns the module of one of metrics.METRICS, which keeps what it is given in memory.

    `options` are those of `evaluate.load`. Raises UnknownName for another metric.
    """
    return Unibench(**{"config_name": metric, "keep_in_memory": options.get("num_process", 1) == 1, **options})


def path() -> Path:
    """Returns the script that `evaluate.load` takes, with the metric's name as its second argument."""
    return Path(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the metrics over one kind of units are given: `features` are the types kept, `words` say it to people.

    `fault` says what is wrong with one (prediction, reference), "" if nothing, and `kept` makes it of those types;
    `units` makes (N, K) of all of them and the `options` that `compute` was given.
    """

    features: tuple[Any, Any]  # of a prediction and a reference
    words: str
    fault: Callable[[Any, Any], str]
    kept: Callable[[Any, Any], tuple[Any, Any]]
    units: Callable[..., Array]
    options: Mapping[str, Any] = field(default_factory=dict)


class Unibench(evaluate.Metric):  # type: ignore[misc]
    """One metric, named by `config_name`. `compute` returns {name: score}, with scores in 0..1, correlations -1..1."""

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name not in metrics.METRICS:
            raise UnknownName("metric", self.config_name, metrics.METRICS, "unibench.evaluate_modules")
        self.inputs = INPUTS[metrics.METRICS[self.config_name].unit_names]
        return evaluate.MetricInfo(
            description=f"{self.config_name} as unibench computes it: see unibench/metrics.py",
            citation="",
            inputs_description=self.inputs.words,
            features=datasets.Features(zip(("predictions", "references"), self.inputs.features, strict=True)),
        )

    def compute(self, *, predictions: Any = None, references: Any = None, **options: Any) -> Any:
        """Returns {metric: score} of what was added and these; see evaluate.EvaluationModule.compute."""
        for name in options:
            if name not in self.inputs.options:
                raise UnknownName("option", name, self.inputs.options, self.config_name)
        given = [x for x in (predictions, references) if x is not None]
        if len(given) == 1:
            raise DataError(f"{self.config_name} was given only one of predictions and references; it compares the two")
        if not given and not len(self):
            raise DataError(f"{self.config_name} has nothing to score; give predictions and references, or add them")
        return super().compute(predictions=predictions, references=references, **options)

    def add_batch(self, *, predictions: Any = None, references: Any = None) -> None:
        """Adds lists of equal length; see evaluate.EvaluationModule.add_batch."""
        for name, given in (("predictions", predictions), ("references", references)):
            if isinstance(given, str) or not isinstance(given, Sized):
                raise DataError(f"{self.config_name}: {name} are {type(given).__name__}; expected a list")
        if len(predictions) != len(references) or not len(predictions):
            raise DataError(
                f"{self.config_name} was given {len(predictions)} predictions and {len(references)} references; "
                "expected as many of each, one at least"
            )
        kept = []
        for i, pair in enumerate(zip(*map(_plain, (predictions, references)), strict=True)):
            if fault := self.inputs.fault(*pair):
                raise DataError(f"{self.config_name}, example {i}: {fault}; {self.inputs.words}")
            kept.append(self.inputs.kept(*pair))
        super().add_batch(predictions=[prediction for prediction, _ in kept], references=[gold for _, gold in kept])

    def add(self, *, prediction: Any = None, reference: Any = None) -> None:
        """Adds one example; see evaluate.EvaluationModule.add."""
        self.add_batch(predictions=[prediction], references=[reference])

    def _compute(self, *, predictions: Any, references: Any, **options: Any) -> dict[str, float]:
        units = self.inputs.units(predictions, references, **{**self.inputs.options, **options})
        return {self.config_name: metrics.score(self.config_name, units)}


def _plain(values: Any) -> Any:
    """Returns what an array or tensor holds as a list; a list as it is."""
    return values.tolist() if hasattr(values, "tolist") else values


def _label_fault(prediction: Any, reference: Any) -> str:
    kinds = {str if isinstance(v, str) else int if isinstance(v, Integral) else None for v in (prediction, reference)}
    said = f"prediction {prediction!r}, reference {reference!r}"
    return said if None in kinds else f"{said}, of two types" if len(kinds) > 1 else ""


def _label_kept(prediction: Any, reference: Any) -> tuple[str, str]:
    """Returns texts in which 1 and "1" differ."""
    first, second = (f"'{v}'" if isinstance(v, str) else str(int(v)) for v in (prediction, reference))
    return first, second


def _label_units(predictions: Any, references: Any) -> Array:
    ids = {label: i for i, label in enumerate(sorted({*predictions, *references}))}
    return np.array([[ids[r], ids[p]] for p, r in zip(predictions, references, strict=True)], dtype=np.float64)


def _tag_fault(prediction: Any, reference: Any) -> str:
    for tags in (prediction, reference):
        if not _texts(tags):
            return f"{tags!r} is no list of tags"
        wrong = [tag for tag in tags if tag != "O" and tag[:2] not in ("B-", "I-")]
        if wrong:
            return f"tag {wrong[0]!r}"
    unequal = len(prediction) != len(reference)
    return f"{len(prediction)} tags predicted where the reference has {len(reference)}" if unequal else ""


def _tag_units(predictions: Any, references: Any) -> Array:
    return np.array([span_counts(r, p) for p, r in zip(predictions, references, strict=True)], dtype=np.float64)


def _answer_fault(prediction: Any, reference: Any) -> str:
    if not isinstance(prediction, str):
        return f"prediction {prediction!r}"
    return "" if isinstance(reference, str) or _texts(reference) else f"reference {reference!r}"


def _answer_units(predictions: Any, references: Any, *, normalisation: str, language: str, unanswerable: bool) -> Array:
    if normalisation not in RULES:
        raise UnknownName("normalisation", normalisation, RULES, "unibench.adapters.answers")
    golds = [list(gold) for gold in references]
    if not unanswerable and not all(golds):
        raise DataError(f"example {golds.index([])} has no answer; give unanswerable=True if a question may have none")
    normalise = normaliser(normalisation, language)
    pairs = zip(predictions, golds, strict=True)
    return np.array([compare(p, gold, normalise, may_be_empty=unanswerable) for p, gold in pairs], dtype=np.float64)


def _number_fault(prediction: Any, reference: Any) -> str:
    wrong = [v for v in (prediction, reference) if isinstance(v, bool) or not isinstance(v, Real)]
    return f"{wrong[0]!r}" if wrong else ""


def _number_units(predictions: Any, references: Any) -> Array:
    return np.column_stack([references, predictions]).astype(np.float64)


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(part, str) for part in value)


_TEXT, _TEXTS, _NUMBER = datasets.Value("string"), datasets.List(datasets.Value("string")), datasets.Value("float64")
INPUTS: Mapping[tuple[str, ...], Inputs] = {
    NLI_UNITS: Inputs(
        features=(_TEXT, _TEXT),
        words="expected two labels, both whole numbers or both texts",
        fault=_label_fault,
        kept=_label_kept,
        units=_label_units,
    ),
    NER_UNITS: Inputs(
        features=(_TEXTS, _TEXTS),
        words="expected for each sentence a list of tags (O, B-TYPE, I-TYPE), as long as the other's",
        fault=_tag_fault,
        kept=lambda prediction, reference: (list(prediction), list(reference)),
        units=_tag_units,
    ),
    QA_UNITS: Inputs(
        features=(_TEXT, _TEXTS),
        words="expected a text as prediction, and as reference a text or a list of those that are right",
        fault=_answer_fault,
        kept=lambda prediction, reference: (prediction, [reference] if isinstance(reference, str) else list(reference)),
        units=_answer_units,
        options={"normalisation": "squad", "language": "en", "unanswerable": False},
    ),
    STS_UNITS: Inputs(
        features=(_NUMBER, _NUMBER),
        words="expected two numbers",
        fault=_number_fault,
        kept=lambda prediction, reference: (float(prediction), float(reference)),
        units=_number_units,
    ),
}
