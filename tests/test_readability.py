"""Probe records beside scores: by hand, with all that is left out named, no test where it can't show much."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats
from toy_views import column, compared, hit

from unibench import plots, readability
from unibench.readability import spearman
from unibench.store import RunRecord
from unibench.tables import Table


def probe(model: str, value: float, **more: Any) -> dict[str, Any]:
    """Returns what `unibench probe` stores of a model, as far as it is read here, of the weights of toy records."""
    ends = {"low": value - 0.01, "high": value + 0.01}
    measures = {
        "probe": {"value": value, **ends, "chance": 0.25},
        "same_language": {"value": value / 2, **ends, "chance": 0.2},
        "translation": {"value": 0.1, **ends, "chance": 0.01},
        "effective_rank": {"value": 80.0, "low": None, "high": None, "chance": None},
    }
    return {
        "model": model, "model_sha256": f"model {model}", "kind": "trained", "layer": 4, "layers": 4, "data": "flores",
        "data_sha256": "d", "languages": ["en", "de", "sw", "zh"], "sentences": 200, "tested": 100,
        "measures": measures,
        "settings": {"layer": 4, "seed": 0, "version": 1}, **more,
    }  # fmt: skip


UNTRAINED = probe("untrained-2x8-50", 0.9, kind="untrained", model_sha256="u")
SHAPE = {"layers": 2, "width": 8, "vocabulary": 50, "objectives": "none"}


def scores(model: str, de: float, sw: float = 0.4, ner: float = 0.2, **more: Any) -> list[RunRecord]:
    cells = (
        ("xnli", "en", 0.9),
        ("xnli", "de", de),
        ("xnli", "sw", sw),
        ("wikiann", "en", 0.9),
        ("wikiann", "de", ner),
    )
    return [hit(model, task, language, score, **more) for task, language, score in cells]


def made(records: list[RunRecord], probes: list[dict[str, Any]]) -> list[Table]:
    return readability.tables(records, compared(records, None), probes, "Readability")


def text(table: Table) -> str:
    return "\n".join(table.footnotes)


def test_a_table_by_hand() -> None:
    records = [*scores("a", 0.8), *scores("b", 0.5)]
    (table,) = made(records, [UNTRAINED, probe("a", 0.6), probe("b", 0.95)])
    assert [row[0] for row in table.rows] == ["chance", "untrained-2x8-50", "a", "b"]
    assert column(table, "fresh probe") == {"chance": 0.25, "untrained-2x8-50": 0.9, "a": 0.6, "b": 0.95}
    assert column(table, "nearest: same language")["b"] == 0.475
    assert column(table, "effective rank") == {"chance": None, "untrained-2x8-50": 80, "a": 80, "b": 80}
    # the languages trained on are in no mean: xnli (.8 + .4) / 2, wikiann .2
    assert column(table, "zero-shot transfer") == pytest.approx(
        {"chance": None, "untrained-2x8-50": None, "a": 0.4, "b": 0.325}
    )
    assert "mean over all 3 cells (task and language) that every model here has" in text(table)
    assert "100 of 200 sentences of flores in each of 4 languages: en de sw zh" in text(table)
    assert "2 of them are too few for a rank correlation, which takes 5" in text(table)
    drawn, chance = readability.readings(records, compared(records, None), [UNTRAINED, probe("a", 0.6)])
    assert chance == 0.25
    assert [(r.model, r.untrained, r.probe, r.probe_low) for r in drawn] == [
        ("untrained-2x8-50", True, 0.9, pytest.approx(0.89)), ("a", False, 0.6, pytest.approx(0.59))
    ]  # fmt: skip
    assert drawn[1].transfer == pytest.approx(0.4)
    assert math.isnan(drawn[0].transfer)
    plots.readability(drawn, chance=chance)


def test_an_untrained_encoder_of_the_same_shape_lends_its_score_and_is_said_to() -> None:
    floor = scores("scratch", 0.3, 0.3, 0.1, provenance={"extra": SHAPE})
    (table,) = made([*scores("a", 0.8), *floor], [UNTRAINED, probe("a", 0.6)])
    assert column(table, "zero-shot transfer")["untrained-2x8-50"] == pytest.approx(0.2)
    assert "The transfer beside untrained-2x8-50 is that of scratch" in text(table)
    assert "not probed" not in text(table), "a floor has no probe record of its own"
    other = scores("scratch", 0.3, provenance={"extra": {**SHAPE, "width": 16}})
    (apart,) = made([*scores("a", 0.8), *other], [UNTRAINED, probe("a", 0.6)])
    assert column(apart, "zero-shot transfer")["untrained-2x8-50"] is None
    # one that lacks a cell has no mean over the same cells, and takes no cell from the models
    (short,) = made([*scores("a", 0.8), *floor[:2]], [UNTRAINED, probe("a", 0.6)])
    assert column(short, "zero-shot transfer")["untrained-2x8-50"] is None
    assert column(short, "zero-shot transfer")["a"] == pytest.approx(0.4)


def test_a_probe_of_other_weights_than_the_scores_is_left_out_and_named() -> None:
    records = [*scores("a", 0.8), *scores("b", 0.5), *scores("c", 0.5)]
    stale = probe("b", 0.95, model_sha256="retrained")
    (table,) = made(records, [probe("a", 0.6), stale, probe("elsewhere", 0.5)])
    assert "b" not in column(table, "fresh probe")
    assert "b: left out, for the probe was of other weights than the scores are; probe again." in text(table)
    assert "c: not probed in this way; see `unibench probe`." in text(table)
    assert "elsewhere: probed, but without scores in this setting." in text(table)
    assert "No untrained encoder was probed in this way." in text(table)
    (only,) = made(records, [stale])
    assert [row[0] for row in only.rows] == ["chance"]
    assert readability.readings(records, compared(records, None), [stale]) == ([], pytest.approx(math.nan, nan_ok=True))
    (both,) = made(records, [probe("b", 0.7), stale])
    assert column(both, "fresh probe")["b"] == 0.7
    assert "left out" not in text(both)


@pytest.mark.parametrize(
    "other",
    [
        {"languages": ["en", "de"]}, {"sentences": 100}, {"data_sha256": "e"}, {"data": "sample"}, {"layer": 2},
        {"settings": {"layer": 4, "seed": 1, "version": 1}}, {"settings": {"layer": 4, "seed": 0, "version": 2}},
    ],
)  # fmt: skip
def test_other_ways_of_probing_never_share_a_table(other: dict[str, Any]) -> None:
    records = [*scores("a", 0.8), *scores("b", 0.5), *scores("c", 0.5)]
    probes = [probe("a", 0.6), probe("b", 0.7), probe("c", 0.8, **other)]
    tables = made(records, probes)
    assert sorted([str(row[0]) for row in t.rows] for t in tables) == [["chance", "a", "b"], ["chance", "c"]]
    drawn, _ = readability.readings(records, compared(records, None), probes)
    assert [r.model for r in drawn] == ["a", "b"], "the figure is of the way that most were probed in"
    assert {t.title.startswith("Readability, ") for t in tables} == {True}


def test_models_of_other_depth_are_read_equally_far_up() -> None:
    records = [*scores("a", 0.8), *scores("b", 0.5)]
    shallow = probe("b", 0.7, layer=2, layers=2, settings={"layer": 2, "seed": 0, "version": 1})
    (table,) = made(records, [probe("a", 0.6), shallow])
    assert [row[:2] for row in table.rows] == [("chance", None), ("a", "4/4"), ("b", "2/2")]


def test_of_two_records_alike_the_later_counts() -> None:
    old, new = ({"provenance": {"started": f"2026-0{month}-01"}} for month in (1, 2))
    (table,) = made(scores("a", 0.8), [probe("a", 0.6, **new), probe("a", 0.7, **old)])
    assert column(table, "fresh probe")["a"] == 0.6


def test_five_models_have_a_rank_correlation_with_what_it_could_show_at_best() -> None:
    quality = {"a": 0.3, "b": 0.4, "c": 0.5, "d": 0.6, "e": 0.7}
    records = [record for model, de in quality.items() for record in scores(model, de)]
    probes = [probe(model, 1 - de) for model, de in quality.items()]
    (table,) = made(records, probes)
    assert "over 5 models: fresh probe -1.00 (least p 0.017); nearest: same language -1.00 (least p 0.017); " in text(
        table
    )
    assert "nearest: translation not defined; effective rank not defined" in text(table)
    (four,) = made(records, probes[:4])
    assert "4 of them are too few" in text(four)


@pytest.mark.parametrize("ties", [False, True])
def test_the_correlation_and_its_least_p_are_those_of_scipy(ties: bool) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=6), rng.normal(size=6)
    x = np.round(x) if ties else x
    rho, least = spearman(x, y)
    assert rho == pytest.approx(scipy_stats.spearmanr(x, y).statistic)
    exact = scipy_stats.permutation_test(
        (x,), lambda of: scipy_stats.spearmanr(of, y).statistic, permutation_type="pairings", n_resamples=np.inf,
        vectorized=False,
    )  # fmt: skip
    extremes = np.abs(exact.null_distribution)
    assert least == pytest.approx(np.mean(extremes > extremes.max() - 1e-9))
    assert least == pytest.approx(2 / 720) or ties
    assert spearman(np.arange(10.0), np.arange(10.0)) == (pytest.approx(1), 2 / math.factorial(10))


def test_nothing_to_show_is_no_table() -> None:
    records = scores("a", 0.8)
    assert made(records, []) == []
    assert made([], [probe("a", 0.6)]) == []
    assert made(records, [probe("elsewhere", 0.6), UNTRAINED]) == []
    trained_in_each = [hit("a", "xnli", "de", 0.8, job={"protocol": "monolingual", "train_languages": ("de",)})]
    assert made(trained_in_each, [probe("a", 0.6)]) == []
    assert readability.readings(records, compared(records, None), [])[0] == []


def test_a_model_scored_in_english_alone_has_no_transfer() -> None:
    records = [hit("a", "xnli", "en", 0.9)]
    (table,) = made(records, [probe("a", 0.6)])
    assert math.isnan(column(table, "zero-shot transfer")["a"])
    assert "no score: of 0 cells" in text(table)
    assert readability.readings(records, compared(records, None), [probe("a", 0.6)])[0] == []


def test_files_are_read_in_order_and_broken_ones_named(tmp_path: Path) -> None:
    assert readability.read_probes(tmp_path) == []
    (tmp_path / "probes").mkdir()
    for name, content in (
        ("b", json.dumps(probe("a", 0.6))),
        ("a", "{"),
        ("c", "[]"),
        ("d", "{}"),
        ("e", '{"layer": 0}'),
    ):
        (tmp_path / "probes" / f"{name}.json").write_text(content)
    found = readability.read_probes(tmp_path)
    assert [p.get("unreadable", p.get("model")) for p in found] == ["a.json", "a", "c.json", "d.json", "e.json"]
    (table,) = made(scores("a", 0.8), found)
    assert "Not readable, delete it and probe again: a.json, c.json, d.json, e.json." in text(table)
    (alone,) = made(scores("a", 0.8), [{"unreadable": "a.json"}])
    assert alone.rows == ()
    assert "a.json" in text(alone)
