"""Metrics against seqeval, scikit-learn and scipy; and their features against repeating the rows by hand."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from seqeval.metrics import f1_score as seqeval_f1
from seqeval.metrics import precision_score as seqeval_precision
from seqeval.metrics import recall_score as seqeval_recall
from seqeval.metrics.sequence_labeling import get_entities
from sklearn.metrics import accuracy_score, f1_score

from unibench import families, metrics, reduces
from unibench.errors import UnknownName

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]


def units_of(family: str, rng: np.random.Generator, n: int) -> np.ndarray:
    if family == "nli":
        return rng.integers(0, 3, size=(n, 2)).astype(float)
    if family == "ner":
        return rng.integers(0, 3, size=(n, 3)).astype(float)
    if family == "qa":
        return np.column_stack([rng.integers(0, 2, n), rng.random(n)]).astype(float)
    if family == "qa3":
        return np.column_stack([rng.integers(0, 2, n), rng.random(n), rng.integers(0, 2, n)]).astype(float)
    gold = rng.integers(0, 6, n) / 5
    return np.column_stack([gold, gold + rng.normal(size=n).round(1)])


FAMILIES = [(family, name) for family, about in families.FAMILIES.items() for name in about.metrics]
PARTS = [
    ("ner", "span_f1:LOC"),
    ("ner", "recall:LOC"),
    ("qa3", "token_f1:answerable"),
    ("qa3", "exact_match:unanswerable"),
]


@pytest.mark.parametrize("seed", range(5))
def test_span_metrics_equal_seqeval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gold = [list(rng.choice(TAGS, size=rng.integers(1, 9))) for _ in range(60)]
    predicted = [[t if rng.random() < 0.6 else str(rng.choice(TAGS)) for t in tags] for tags in gold]
    rows = []
    for truth, guess in zip(gold, predicted, strict=True):
        a, b = set(get_entities(truth)), set(get_entities(guess))
        rows.append([len(a & b), len(b - a), len(a - b)])
    units = np.array(rows, dtype=float)
    assert metrics.score("span_f1", units) == pytest.approx(seqeval_f1(gold, predicted), abs=1e-12)
    assert metrics.score("precision", units) == pytest.approx(seqeval_precision(gold, predicted), abs=1e-12)
    assert metrics.score("recall", units) == pytest.approx(seqeval_recall(gold, predicted), abs=1e-12)


def test_spans_that_nobody_has_score_0_but_no_sentences_score_nan() -> None:
    for name in ("span_f1", "precision", "recall"):
        assert metrics.score(name, np.zeros((4, 3))) == 0.0
        assert math.isnan(metrics.score(name, np.zeros((0, 3))))
    assert metrics.score("precision", np.array([[0.0, 0.0, 2.0]])) == 0.0
    assert metrics.score("recall", np.array([[0.0, 2.0, 0.0]])) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_label_metrics_equal_scikit_learn_over_the_classes_of_gold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gold, predicted = rng.integers(0, 2 + seed % 2, 50), rng.integers(0, 4, 50)
    units = np.column_stack([gold, predicted]).astype(float)
    expected = f1_score(gold, predicted, labels=np.unique(gold), average="macro", zero_division=0)
    assert metrics.score("macro_f1", units) == pytest.approx(expected, abs=1e-12)
    assert metrics.score("accuracy", units) == pytest.approx(accuracy_score(gold, predicted), abs=1e-12)


def test_question_answering_metrics_are_means() -> None:
    units = np.array([[1, 1.0], [0, 0.5], [0, 0.0], [1, 1.0]])
    assert metrics.score("exact_match", units) == 0.5
    assert metrics.score("token_f1", units) == 0.625


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(-4, 4)), min_size=2, max_size=40),
    st.sampled_from([1e-6, 1.0, 1e6]),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_correlations_equal_scipy_with_ties(pairs: list[tuple[int, int]], scale: float) -> None:
    units = np.array(pairs, dtype=float) * [0.2, scale]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rank = scipy_stats.spearmanr(units[:, 0], units[:, 1]).statistic
        linear = scipy_stats.pearsonr(units[:, 0], units[:, 1]).statistic
    assert metrics.score("spearman", units) == pytest.approx(rank, abs=1e-9, nan_ok=True)
    assert metrics.score("pearson", units) == pytest.approx(linear, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("name", ["spearman", "pearson"])
@pytest.mark.parametrize("constant", [0.0, 0.1, 1e9 + 0.1])
def test_constant_or_nan_predictions_have_no_correlation(name: str, constant: float) -> None:
    gold = np.arange(7.0)
    assert math.isnan(metrics.score(name, np.column_stack([gold, np.full(7, constant)])))
    assert math.isnan(metrics.score(name, np.column_stack([gold, np.r_[np.nan, gold[1:]]])))


@pytest.mark.parametrize(("family", "name"), [*FAMILIES, *PARTS])
def test_no_examples_score_nan(family: str, name: str) -> None:
    metric = metrics.lookup(name)
    assert metric.name == name
    assert math.isnan(metrics.score(name, np.zeros((0, len(metric.unit_names)))))


@pytest.mark.parametrize(("family", "name"), [*FAMILIES, *PARTS])
def test_weighted_totals_equal_repeating_the_rows(family: str, name: str) -> None:
    rng = np.random.default_rng(3)
    metric = metrics.lookup(name)
    units = units_of(family, rng, 30)
    weights = rng.integers(0, 4, size=(20, 30)).astype(float)
    if metric.reweigh is not None:
        found = metric.reweigh(units[None], weights)[0]
    else:
        found = metric.finish(weights @ metric.features(units))
    for row, value in zip(weights, found, strict=True):
        assert value == pytest.approx(metrics.score(name, np.repeat(units, row.astype(int), axis=0)), abs=1e-10)


def test_weighted_midranks_equal_scipy_ranks_of_the_repeated_sample() -> None:
    rng = np.random.default_rng(4)
    values = rng.integers(0, 6, 15).astype(float)
    weights = rng.integers(0, 3, size=(10, 15))
    found, spread = reduces.weighted_midranks(values, weights.T.astype(float))
    for row, ranks, squares in zip(weights, found.T, spread, strict=True):
        expected = scipy_stats.rankdata(np.repeat(values, row))
        assert np.repeat(ranks, row) == pytest.approx(expected)
        assert squares == pytest.approx(((expected - expected.mean()) ** 2).sum())
    assert reduces.midranks(values) == pytest.approx(scipy_stats.rankdata(values))


def test_a_resample_of_one_repeated_row_has_no_correlation() -> None:
    units = np.array([[0.0, 1.3], [1.0, 0.2], [0.5, 0.1]])
    weights = np.array([[3.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    ranked = metrics.METRICS["spearman"].reweigh
    assert ranked is not None
    assert list(np.isnan(ranked(units[None], weights)[0])) == [True, False, True]
    linear = metrics.METRICS["pearson"]
    assert list(np.isnan(linear.finish(weights @ linear.features(units)))) == [True, False, True]


@pytest.mark.parametrize(("family", "name"), [*FAMILIES, *PARTS])
def test_scoring_leaves_units_alone_and_preparing_leaves_the_score_alone(family: str, name: str) -> None:
    units = units_of(family, np.random.default_rng(5), 25)
    before = units.copy()
    metric = metrics.lookup(name)
    assert metrics.score(name, metric.prepare(units)) == pytest.approx(metrics.score(name, units), abs=1e-12)
    assert np.array_equal(units, before)


def test_floor_of_labels_is_that_of_always_answering_the_majority() -> None:
    units = np.array([[0, 1], [0, 1], [0, 2], [1, 1], [2, 2]], dtype=float)
    assert metrics.floor("accuracy", units) == 0.6
    # majority class: precision 3/5, recall 1, F1 3/4; the other two classes 0
    assert metrics.floor("macro_f1", units) == pytest.approx(0.25)
    assert metrics.floor("span_f1", np.ones((3, 3))) == 0.0


def test_a_part_of_the_questions_is_scored_alone_and_undefined_where_there_is_none() -> None:
    units = np.array([[1, 1, 1], [0, 0.5, 1], [1, 1, 0], [0, 0, 0], [0, 0, 0]], dtype=float)
    found = metrics.scores(("exact", "f1", "answerable"), units)
    assert found == pytest.approx(
        {
            "exact_match": 0.4,
            "token_f1": 0.5,
            "exact_match:answerable": 0.5,
            "token_f1:answerable": 0.75,
            "exact_match:unanswerable": 1 / 3,
            "token_f1:unanswerable": 1 / 3,
        }
    )
    found = metrics.scores(("exact", "f1", "answerable"), units[:2])
    assert math.isnan(found["token_f1:unanswerable"])
    assert found["token_f1:answerable"] == found["token_f1"] == 0.75


def test_scores_are_those_that_the_columns_allow_wherever_they_stand() -> None:
    units = np.array([[9, 1, 2, 0, 1, 1, 0], [9, 0, 1, 1, 0, 1, 1]], dtype=float)
    found = metrics.scores(("other", "tp", "fp", "fn", "tp:PER", "fp:PER", "fn:PER"), units)
    assert found == {
        "span_f1": 1 / 3, "precision": 0.25, "recall": 0.5,
        "span_f1:PER": 0.4, "precision:PER": 1 / 3, "recall:PER": 0.5,
    }  # fmt: skip
    assert list(metrics.scores(("exact", "f1"), units[:, :2])) == ["exact_match", "token_f1"]
    assert metrics.scores(("tp", "fp"), units[:, :2]) == {}


def test_units_that_are_not_the_metrics_are_refused_and_never_regrouped() -> None:
    with pytest.raises(ValueError, match=r"span_f1 reads the units \('tp', 'fp', 'fn'\).*of shape \(4, 6\)"):
        metrics.score("span_f1", np.zeros((4, 6)))
    with pytest.raises(ValueError, match="give \\(N, K\\) units"):
        metrics.score("span_f1:LOC", np.zeros((4, 3)), ("tp", "fp", "fn"))
    units = np.array([[5.0, 1.0, 0.0, 1.0]])
    assert metrics.score("recall", units, ("x", "tp", "fp", "fn")) == 0.5
    assert metrics.columns("recall", ("fn", "tp", "x", "fp"), units).tolist() == [[1, 1, 5]]


@pytest.mark.parametrize("name", ["accuracy:LOC", "token_f1:LOC", "token_f1:", "spearman:answerable", ":LOC"])
def test_a_metric_has_only_the_parts_of_its_family(name: str) -> None:
    with pytest.raises(UnknownName, match="no metric"):
        metrics.lookup(name)


def test_an_unknown_metric_is_named_with_a_suggestion() -> None:
    with pytest.raises(UnknownName, match=r"no metric 'spaerman' in unibench[.]metrics; did you mean 'spearman'"):
        metrics.score("spaerman", np.zeros((1, 2)))
