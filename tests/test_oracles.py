"""Scores against references: seqeval for spans, and the official scripts of SQuAD 1.1, SQuAD 2.0 and MLQA for answers.

The references of answers stand in oracles/; the cases whose scores were derived by hand judge them as well.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from oracles import mlqa, squad_v1, squad_v2
from seqeval.metrics import classification_report
from tiny_encoders import card_of

from unibench import metrics
from unibench.adapters.answers import compare, normaliser
from unibench.adapters.nbest import best_threshold
from unibench.adapters.ner import Ner, span_counts

TYPES = ("LOC", "ORG", "PER", "WORK-OF-ART")
LABELS = ("O", *(f"{prefix}-{kind}" for kind in reversed(TYPES) for prefix in "BI"))

ENGLISH = [
    ("the Danube", ["Danube"], 1, 1),  # an article
    ("a cat, an owl and the dog", ["cat owl and dog!"], 1, 1),
    ("Theatre", ["atre"], 0, 0),  # an article is a whole word
    ("DANUBE.", ["danube"], 1, 1),
    ("U.S.A", ["USA"], 1, 1),  # punctuation is removed, not replaced by a space
    ("twenty-one", ["twenty one"], 0, 0),
    ("  the   river\tDanube\n", ["river Danube"], 1, 1),
    ("a b c", ["b d"], 0, 0.5),  # {b, c} against {b, d}: "a" is an article
    ("b b c", ["b c c"], 0, 2 / 3),  # common words are counted with multiplicity: b and c
    ("Vienna Budapest", ["Vienna", "in Budapest Vienna now"], 0, 2 / 3),  # best gold: one of two words found
    ("Vienna", ["Graz", "vienna"], 1, 1),
    ("北京大学", ["北京大学"], 1, 1),
    ("", ["Danube"], 0, 0),
]
SQUAD = [
    *ENGLISH,
    ("北京大学。", ["北京大学"], 0, 0),  # full-width punctuation is not ASCII, and there are no spaces
    ("北京大学", ["北京"], 0, 0),
    ("the", ["a"], 1, 0),  # both empty once normalised: equal, but no common word
]
SQUAD_2 = [
    *ENGLISH,
    ("", [], 1, 1),  # rightly unanswered
    ("Danube", [], 0, 0),
    ("the", [], 1, 1),  # an article alone is no answer
    ("", ["the"], 1, 1),  # nor is it a gold one
    ("a", ["the", "Danube"], 0, 0),  # beside another gold answer it is not even a gold one
]
MLQA = [
    *(("en", *case) for case in ENGLISH),
    ("en", "“Danube”", ["Danube"], 1, 1),  # Unicode's punctuation
    ("en", "5 € + 3", ["5 € 3"], 1, 1),  # ASCII symbols go, others stay
    ("en", "the", ["a"], 1, 0),
    ("es", "¿El Danubio?", ["danubio"], 1, 1),
    ("es", "the Danubio", ["Danubio"], 0, 2 / 3),  # English articles are words here
    ("de", "Der Rhein und die Mosel", ["Rhein und Mosel"], 1, 1),
    ("de", "Ein Eine", ["der"], 1, 0),
    ("vi", "Những con sông của Hà Nội", ["con sông Hà Nội"], 1, 1),
    ("hi", "गंगा नदी।", ["गंगा नदी"], 1, 1),  # danda is punctuation
    ("ar", "القاهرة", ["قاهرة"], 1, 1),
    ("ar", "السلام", ["س لام"], 0, 0),  # "al" goes at the start, but "la" is no "al": one word against two
    ("ar", "بالعراق", ["ب عراق"], 1, 1),  # and goes inside a word, which it cuts in two
    ("zh", "北京大学。", ["北京大学"], 1, 1),
    ("zh", "北京大学", ["北京"], 0, 2 / 3),  # characters are words: 2 of 4 and 2 of 2
    ("zh", "1949年", ["1949 年"], 1, 1),
    ("zh", "NBA球员", ["NBA 球星"], 0, 2 / 3),  # nba, 球 in common; three words each
    ("zh", "龦", ["龦龦"], 0, 0),  # beyond the script's range: one word, as in any other language
]


@pytest.mark.parametrize(("predicted", "golds", "exact", "f1"), SQUAD)
def test_squad_1_by_hand(predicted: str, golds: list[str], exact: float, f1: float) -> None:
    assert squad_v1.evaluate(predicted, golds) == pytest.approx((exact, f1))
    assert compare(predicted, golds, normaliser("squad", "xx")) == pytest.approx((exact, f1))


@pytest.mark.parametrize(("predicted", "golds", "exact", "f1"), SQUAD_2)
def test_squad_2_by_hand(predicted: str, golds: list[str], exact: float, f1: float) -> None:
    assert squad_v2.evaluate(predicted, golds) == pytest.approx((exact, f1))
    assert compare(predicted, golds, normaliser("squad", ""), may_be_empty=True) == pytest.approx((exact, f1))


@pytest.mark.parametrize(("language", "predicted", "golds", "exact", "f1"), MLQA)
def test_mlqa_by_hand(language: str, predicted: str, golds: list[str], exact: float, f1: float) -> None:
    assert mlqa.evaluate(predicted, golds, language) == pytest.approx((exact, f1))
    assert compare(predicted, golds, normaliser("mlqa", language)) == pytest.approx((exact, f1))


@pytest.mark.parametrize("language", ["th", "ja", ""])
def test_other_languages_than_mlqas_seven_have_no_articles_and_are_split_at_spaces(language: str) -> None:
    normalise = normaliser("mlqa", language)
    assert compare("กรุงเทพ", ["กรุงเทพมหานคร"], normalise) == (0, 0)
    assert compare("the 東京。", ["the 東京"], normalise) == (1, 1)
    assert compare("the 東京", ["東京"], normalise) == pytest.approx((0, 2 / 3))


PIECES = (
    "a", "an", "The", "theatre", "el", "la", "der", "DEM", "là", "của", "Những", "ال", "القاهرة", "بالعراق", "س",
    "北京", "球", "NBA球", "龦", "กรุงเทพ", "कि", "गंगा", "a\u0301", "e\u0301l", "İ", "ß", "ſ", "1949", "x_y", "🌊", "٣",
    ".", "-", "'", "’", "“", "。", "、", "؟", "।", "€", "+", "²", "¡", "_", " ", " ", " ", "  ", "\t", "\u00a0",
    "\u3000", "\u200b", "\ufeff",
)  # fmt: skip


def _text(rng: np.random.Generator) -> str:
    return "".join(PIECES[i] for i in rng.integers(0, len(PIECES), rng.integers(0, 8)))


def _question(rng: np.random.Generator, fewest: int) -> tuple[str, list[str]]:
    """A prediction and gold answers that often share its pieces."""
    golds = [_text(rng) for _ in range(int(rng.integers(fewest, 4)))]
    near = golds[0] if golds and rng.random() < 0.7 else ""
    predicted = _text(rng) if rng.random() < 0.5 else near + (" " + _text(rng) if rng.random() < 0.5 else "")
    return predicted, golds


def test_answers_score_as_the_official_scripts_score_them() -> None:
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(4000):
        predicted, golds = _question(rng, 1)
        found = compare(predicted, golds, normaliser("squad", "zh"))
        assert found == pytest.approx(squad_v1.evaluate(predicted, golds), abs=1e-12), (predicted, golds)
        seen.append(found)
        language = mlqa.LANGUAGES[int(rng.integers(7))]
        found = compare(predicted, golds, normaliser("mlqa", language))
        assert found == pytest.approx(mlqa.evaluate(predicted, golds, language), abs=1e-12), (predicted, golds)
        predicted, golds = _question(rng, 0)
        found = compare(predicted, golds, normaliser("squad", ""), may_be_empty=True)
        assert found == pytest.approx(squad_v2.evaluate(predicted, golds), abs=1e-12), (predicted, golds)
    exact, f1 = np.array(seen).T
    assert 0.2 < exact.mean() < 0.8  # neither all right nor all wrong
    assert ((f1 > 0) & (f1 < 1)).mean() > 0.1


@pytest.mark.realdata
@pytest.mark.parametrize("language", mlqa.LANGUAGES)
def test_real_answers_score_as_the_official_scripts_score_them(language: str, shared: Path) -> None:
    import pyarrow.parquet as pq

    (path,) = (shared / f"hub/facebook/mlqa/mlqa.{language}.{language}").glob("validation*.parquet")
    rng = np.random.default_rng(4)
    for row in pq.read_table(path).slice(0, 500).to_pylist():
        golds = row["answers"]["text"]
        begin = max(0, row["answers"]["answer_start"][0] + int(rng.integers(-6, 7)))
        predicted = row["context"][begin : begin + len(golds[0]) + int(rng.integers(-3, 8))]
        assert compare(predicted, golds, normaliser("mlqa", language)) == mlqa.evaluate(predicted, golds, language)
        assert compare(predicted, golds, normaliser("squad", language)) == squad_v1.evaluate(predicted, golds)


def test_the_threshold_is_squad_2s_best_f1_threshold() -> None:
    rng = np.random.default_rng(1)
    nothing = 0
    for _ in range(1500):
        count = int(rng.integers(1, 30))
        has = rng.random(count) < rng.random()
        margins = rng.normal(size=count) - 2 * has
        answered = np.where(has, rng.choice([0, 0.25, 0.5, 1], count), 0.0)  # a text scores 0 where none is right
        best, threshold = squad_v2.best_threshold(margins.tolist(), answered.tolist(), has.tolist(), [False] * count)
        found = best_threshold(margins, answered - ~has)
        assert found is not None
        assert squad_v2.total_at(found, margins.tolist(), answered.tolist(), (~has).tolist()) == pytest.approx(best)
        assert found == threshold if threshold is not None else found < margins.min()
        nothing += threshold is None
    assert 10 < nothing < 1000


def test_equal_margins_are_answered_together() -> None:
    """Where the script's own sweep would stop between two questions that no threshold tells apart."""
    rng = np.random.default_rng(2)
    for _ in range(500):
        margins, gains = rng.integers(0, 4, 8).astype(float), rng.choice([-1.0, 0.0, 0.5, 1.0], 8)
        found = best_threshold(margins, gains)
        totals = {t: float(gains[margins <= t].sum()) for t in (-1.0, *margins.tolist())}
        assert found == min(t for t in totals if totals[t] == max(totals.values())) or found == margins.min() - 1
        assert float(gains[margins <= found].sum()) == max(totals.values())
    assert best_threshold(np.array([np.inf, -np.inf]), np.ones(2)) is None
    assert best_threshold(np.zeros(0), np.zeros(0)) is None
    assert best_threshold(np.array([np.inf, 2.0]), np.array([0.0, 1.0])) == 2.0


def test_ten_thousand_tag_sequences_score_as_seqeval_scores_them_over_all_types_and_by_type() -> None:
    rng = np.random.default_rng(3)
    card = card_of("ner", "span_f1", LABELS)
    names = Ner().unit_names(card)
    assert names[:6] == ("tp", "fp", "fn", "tp:LOC", "fp:LOC", "fn:LOC")
    sequences = invalid = 0
    for corpus in range(100):
        used = LABELS if corpus % 4 else LABELS[:5]  # every fourth corpus lacks two of the types
        weights = np.array([0.4, *[0.6 / (len(used) - 1)] * (len(used) - 1)])
        gold = [rng.choice(used, n, p=weights).tolist() for n in rng.integers(0, 12, 100)]
        keep = rng.random()
        predicted = [[t if rng.random() < keep else str(rng.choice(used)) for t in tags] for tags in gold]
        units = np.array([span_counts(g, p, TYPES) for g, p in zip(gold, predicted, strict=True)], dtype=float)
        found = metrics.scores(names, units)
        report = classification_report(gold, predicted, output_dict=True, zero_division=0)
        for kind, suffix in (("micro avg", ""), *((kind, f":{kind}") for kind in TYPES)):
            expected = report.get(kind)
            if expected is None:  # of a type that nobody names seqeval says nothing
                assert corpus % 4 == 0
                expected = {"precision": 0.0, "recall": 0.0, "f1-score": 0.0}
            assert found[f"precision{suffix}"] == expected["precision"]
            assert found[f"recall{suffix}"] == expected["recall"]
            assert found[f"span_f1{suffix}"] == pytest.approx(expected["f1-score"], abs=1e-12)
            assert metrics.score(f"span_f1{suffix}", units, names) == found[f"span_f1{suffix}"]
        sequences += len(gold)
        invalid += sum(
            b[0] == "I" and a[2:] != b[2:] for tags in gold for a, b in zip(["O", *tags], tags, strict=False)
        )
    assert sequences == 10_000
    assert invalid > 5_000
    assert not any(math.isnan(value) for value in found.values())
