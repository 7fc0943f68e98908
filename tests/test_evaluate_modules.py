"""Metrics through `evaluate`: the numbers of seqeval, scikit-learn, scipy and our own units, and no network."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import pytest
import seqeval.metrics
import sklearn.metrics
from scipy import stats
from toy_records import units_of

from unibench import evaluate_modules, metrics
from unibench.adapters.answers import compare, normaliser
from unibench.errors import DataError, UnknownName
from unibench.evaluate_modules import load, path

TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


def sentences(rng: np.random.Generator) -> list[list[str]]:
    return [[TAGS[i] for i in rng.integers(0, len(TAGS), 1 + n % 7)] for n in range(80)]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", str(tmp_path))


def computed(metric: str, predictions: Any, references: Any, **options: Any) -> float:
    found = load(metric).compute(predictions=predictions, references=references, **options)
    assert list(found) == [metric]
    assert type(found[metric]) is float
    return found[metric]


def test_spans_as_seqeval() -> None:
    said, gold = sentences(np.random.default_rng(0)), sentences(np.random.default_rng(1))
    for ours, theirs in (("span_f1", "f1_score"), ("precision", "precision_score"), ("recall", "recall_score")):
        assert computed(ours, said, gold) == pytest.approx(getattr(seqeval.metrics, theirs)(gold, said))


def test_labels_as_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    gold, said = rng.integers(0, 3, 200), rng.integers(0, 4, 200)  # a class that gold never has counts in no mean
    macro = sklearn.metrics.f1_score(gold, said, labels=[0, 1, 2], average="macro")
    for of in (lambda v: v, list, lambda v: [f"class {i}" for i in v]):
        assert computed("accuracy", of(said), of(gold)) == pytest.approx(sklearn.metrics.accuracy_score(gold, said))
        assert computed("macro_f1", of(said), of(gold)) == pytest.approx(macro)


def test_correlations_as_scipy() -> None:
    rng = np.random.default_rng(0)
    gold, said = rng.integers(0, 6, 100), rng.normal(size=100).astype(np.float32)
    assert computed("spearman", said, gold) == pytest.approx(stats.spearmanr(gold, said).statistic)
    assert computed("pearson", list(said), list(gold)) == pytest.approx(stats.pearsonr(gold, said).statistic, rel=1e-6)
    assert math.isnan(computed("spearman", [1.0, 1.0], [1, 2]))


def test_answers_as_the_official_scripts() -> None:
    said = ["the Cat!", "a big dog", "", "Paris"]
    gold = [["cat", "hat"], "dog", ["x"], ["Rome", "paris, France"]]
    assert computed("exact_match", said, gold) == pytest.approx(1 / 4)
    assert computed("token_f1", said, gold) == pytest.approx((1 + 2 / 3 + 0 + 2 / 3) / 4)
    assert computed("exact_match", ["", "x"], [[], []], unanswerable=True) == 0.5
    german = [("der Hund", "Hund"), ("die Katze", "eine Katze")]
    assert computed("exact_match", *zip(*german, strict=True)) == 0
    assert computed("exact_match", *zip(*german, strict=True), normalisation="mlqa", language="de") == 1


def test_what_the_adapters_store_scores_the_same() -> None:
    units = units_of("nli", "en", "mbert", 0, 0.6)
    for metric in ("accuracy", "macro_f1"):
        assert computed(metric, units[:, 1].astype(int), units[:, 0].astype(int)) == metrics.score(metric, units)
    units = units_of("sts", "en", "mbert", 0, 0.6)
    for metric in ("spearman", "pearson"):
        assert computed(metric, units[:, 1], units[:, 0]) == metrics.score(metric, units)
    said, gold = ["one two", "the three", "four"], [["one"], ["three", "3"], ["five"]]
    units = np.array([compare(s, g, normaliser("squad", "en")) for s, g in zip(said, gold, strict=True)])
    for metric in ("exact_match", "token_f1"):
        assert computed(metric, said, gold) == metrics.score(metric, units)


@pytest.mark.parametrize("metric", sorted(metrics.METRICS))
def test_every_metric_is_offered_and_says_what_it_takes(metric: str) -> None:
    assert "expected" in load(metric).inputs_description


def test_adding_bit_by_bit_and_using_it_twice() -> None:
    module = load("accuracy")
    module.add(prediction=1, reference=1)
    module.add_batch(predictions=np.array([1, 2, 3]), references=[1, 2, 2])
    assert module.compute() == {"accuracy": 0.75}
    assert module.compute(predictions=[1], references=[0]) == {"accuracy": 0.0}


@pytest.mark.parametrize(
    ("metric", "predictions", "references", "options", "said"),
    [
        ("accuracy", None, None, {}, "accuracy has nothing to score; give predictions and references"),
        ("accuracy", [1], None, {}, "only one of predictions and references"),
        ("accuracy", [], [], {}, "0 predictions and 0 references; expected as many of each, one at least"),
        ("accuracy", [1, 2], [1], {}, "2 predictions and 1 references"),
        ("accuracy", "ab", ["a", "b"], {}, "predictions are str; expected a list"),
        ("accuracy", [1, 1], [1, "1"], {}, "example 1: prediction 1, reference '1', of two types; expected two labels"),
        ("macro_f1", [0.5], [1], {}, "prediction 0.5, reference 1; expected two labels"),
        ("span_f1", [["B-X"]], [["O", "O"]], {}, "1 tags predicted where the reference has 2; expected for each"),
        ("span_f1", [["S-X"]], [["O"]], {}, "tag 'S-X'"),
        ("span_f1", ["O"], [["O"]], {}, "'O' is no list of tags"),
        ("token_f1", [None], ["a"], {}, "prediction None"),
        ("token_f1", ["a"], [[1]], {}, "reference [1]"),
        ("token_f1", ["a", "b"], ["a", []], {}, "example 1 has no answer; give unanswerable=True"),
        ("token_f1", ["a"], ["a"], {"normalise": "mlqa"}, "no option 'normalise' in token_f1; did you mean"),
        ("token_f1", ["a"], ["a"], {"normalisation": "mlq"}, "no normalisation 'mlq'"),
        ("accuracy", [1], [1], {"normalisation": "squad"}, "no option 'normalisation' in accuracy"),
        ("pearson", ["x"], [1], {}, "example 0: 'x'; expected two numbers"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_clear_line(
    metric: str, predictions: Any, references: Any, options: dict[str, Any], said: str
) -> None:
    module = load(metric)
    with pytest.raises((DataError, UnknownName)) as caught:
        module.compute(predictions=predictions, references=references, **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_text_and_a_list_of_texts_may_stand_side_by_side() -> None:
    assert computed("exact_match", ["one", "['two']"], ["one", ["two", "2"]]) == 1.0  # brackets are punctuation
    assert computed("token_f1", ["one", "two three"], ["one", ["two", "three two"]]) == 1.0


def test_an_unknown_metric() -> None:
    with pytest.raises(UnknownName, match=r"no metric 'acuracy' .* did you mean 'accuracy'"):
        load("acuracy")


def test_evaluate_loads_the_script_without_a_network(tmp_path: Path) -> None:
    code = """
import socket, sys

def refuse(*_):
    raise SystemExit("a network was used")

socket.socket.connect = socket.getaddrinfo = refuse
import evaluate
said = dict(predictions=[["B-LOC", "O"], ["O"]], references=[["B-LOC", "O"], ["B-PER"]])
print(evaluate.load(sys.argv[1], "span_f1").compute(**said))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(path())], capture_output=True, text=True, check=False,
        env={"HF_HOME": str(tmp_path), "PATH": "", "PYTHONPATH": str(Path(evaluate_modules.__file__).parents[1])},
    )  # fmt: skip
    assert done.stdout == "{'span_f1': 0.6666666666666666}\n", done.stderr
