"""Ours beside published scores: differences by hand, and every reason for which two numbers may not stand together."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import unibench
from toy_records import RECIPE, missing, record, row

from unibench import cards, metrics, render, store
from unibench.cards import TaskCard
from unibench.errors import StaleRecord, UserError
from unibench.published import published
from unibench.reference import beside
from unibench.store import RunRecord
from unibench.tables import Table

HUB = "google-bert/bert-base-multilingual-cased"
HUBS = {"mbert": HUB}
CARD = """
title = "Toy"
family = "nli"
metric = "accuracy"
protocol = "zero-shot"
train_language = "en"
languages = ["de", "en", "ro"]
labels = ["a", "b", "c"]
[columns]
premise = "p"
hypothesis = "h"
label = "l"
[[train]]
hub = "o/n"
config = "{lang}"
split = "train"
[eval]
hub = "o/n"
config = "{lang}"
split = "test"
[about]
summary = "A toy."
licence = "none"
"""
REFERENCE = """
[[about.reference]]
model = "mbert"
source = "a README"
metric = "accuracy"
"""


@pytest.fixture
def card(tmp_path: Path) -> TaskCard:
    return load(tmp_path, 'percent = { de = 50.0, en = 60.0 }\nnote = "of old"\n')


def load(folder: Path, entry: str) -> TaskCard:
    path = folder / "xnli.toml"
    path.write_text(CARD + REFERENCE + entry)
    return replace(cards.load_card(path), sha256="card xnli")  # the one toy records are made from


def exact(language: str, percent: float, seed: int = 0, **more) -> RunRecord:
    """A record of 100 examples that scores exactly `percent`."""
    found = record(more.pop("model", "mbert"), language=language, seed=seed, **more)
    right = np.arange(100) < percent
    ids = found.example_ids[:100]
    units = np.column_stack([np.zeros(100), np.where(right, 0.0, 1.0)])
    return replace(found, units=units, example_ids=ids, groups=found.groups[:100],
                   example_ids_sha256=store.ids_sha256(ids))  # fmt: skip


def compared(records: list[RunRecord], card: TaskCard, **more) -> Table:
    return beside(records, [card], hubs=HUBS, resamples=200, **more)


def verdicts(found: Table) -> dict[str, str]:
    return {str(r[2]): str(r[-1]) for r in found.rows}


def test_differences_by_hand(card: TaskCard) -> None:
    records = [exact("de", 52), exact("de", 54, 1), exact("en", 60), exact("en", 61, 1), exact("ro", 99)]
    found = compared(records, card)
    assert [c.name for c in found.columns] == [
        "task", "model", "language", "metric", "ours", "published", "difference", "verdict",
    ]  # fmt: skip
    german = row(found, "xnli", "mbert", "de")
    assert german["ours"].value == pytest.approx(0.53)
    assert german["ours"].low < 0.53 < german["ours"].high
    assert (german["published"], german["difference"]) == (0.5, pytest.approx(0.03))
    # the languages the source names, not ro: (53 + 60.5) / 2 - 55
    mean = row(found, "xnli", "mbert", "average of 2")
    assert mean["difference"] == pytest.approx(0.0175)
    assert verdicts(found) == {"average of 2": "agrees", "de": "differs", "en": "agrees"}
    assert verdicts(compared(records, card, tolerance_points=3)) == dict.fromkeys(
        ("average of 2", "de", "en"), "agrees"
    )
    assert verdicts(compared(records, card, tolerance_points=0.4)) == dict.fromkeys(verdicts(found), "differs")
    notes = "\n".join(found.footnotes)
    assert "3 published scores: 2 agrees, 1 differs." in notes
    assert "Published, xnli, mbert accuracy: a README; of old." in notes
    assert "Averages that their source does not give are means of its languages: xnli mbert accuracy." in notes
    assert "mean over seeds 0 1" in notes


def test_a_score_exactly_at_the_tolerance_agrees(card: TaskCard) -> None:
    assert verdicts(compared([exact("de", 52), exact("en", 58)], card)) == dict.fromkeys(
        ("average of 2", "de", "en"), "agrees"
    )


def test_no_records_at_all(card: TaskCard) -> None:
    found = compared([], card)
    assert verdicts(found) == dict.fromkeys(("average of 2", "de", "en"), "not run: no record")
    assert row(found, "xnli", "mbert", "de")["published"] == 0.5
    assert "`unibench run --model mbert --tasks xnli --data hub`" in "\n".join(found.footnotes)
    assert render.render([found], "csv").count("not run: no record") == 3


def test_the_hub_id_counts_as_the_name(card: TaskCard) -> None:
    under_id = exact("de", 52, model=HUB.upper())
    assert verdicts(compared([under_id], card))["de"] == "agrees"
    both = [exact("de", 50), replace(missing(HUB, language="de"), reason="gone")]
    assert verdicts(compared(both, card))["de"] == "agrees"
    assert verdicts(compared([exact("de", 50, model="other/model")], card))["de"] == "not run: no record"
    # one model under two names must be one model
    other = exact("de", 52, 1, model=HUB, provenance={"model_sha256": "other"})
    with pytest.raises(StaleRecord, match="model"):
        compared([exact("de", 50), other], card)


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        ({"train_limit": 2000}, "at most 2000 training examples"),
        ({"eval_limit": 90}, "at most 90 test examples"),
        ({"origin": "sample"}, "sample data"),
        ({"protocol": "monolingual", "train_languages": ("de",)}, "monolingual"),
        ({"protocol": "multilingual", "train_languages": ("de", "en")}, "multilingual"),
        ({"train_languages": ("fr",)}, "zero-shot from fr"),
        ({"adversarial": ("de", "en")}, "with a language adversary"),
        ({"origin": "sample", "train_limit": 9}, "sample data, at most 9 training examples"),
    ],
)
def test_what_is_not_the_published_experiment_is_not_compared(
    card: TaskCard, job: dict[str, object], reason: str
) -> None:
    found = verdicts(compared([exact("de", 50, job=job)], card))
    assert found["de"] == f"not run: not comparable: {reason}"
    assert found["en"] == "not run: no record"
    assert found["average of 2"] == "not run: lacks de en"
    # the experiment itself takes precedence, however many others are stored
    assert verdicts(compared([exact("de", 50, job=job), exact("de", 51)], card))["de"] == "agrees"


def test_reasons_of_what_was_tried_come_before_what_was_run_otherwise(card: TaskCard) -> None:
    gone = missing("mbert", language="all", status="unavailable")
    assert verdicts(compared([gone], card)) == dict.fromkeys(
        ("average of 2", "de", "en"), "not run: unavailable: out of memory"
    )
    near, far = exact("de", 50, job={"train_limit": 5}), exact("de", 50, job={"train_limit": 5, "origin": "sample"})
    assert verdicts(compared([far, near], card))["de"] == "not run: not comparable: at most 5 training examples"
    tried = missing("mbert", language="de")
    assert verdicts(compared([far, near, tried], card))["de"] == "not run: failed: out of memory"


def test_two_recipes_of_one_model_are_no_mean(card: TaskCard) -> None:
    other = exact("de", 50, 1, job={"recipe": replace(RECIPE, epochs=9)})
    assert verdicts(compared([exact("de", 50), other], card))["de"] == (
        "not run: not comparable: stored with several recipes"
    )


def test_an_edited_card_is_refused_where_a_record_would_be_used(card: TaskCard) -> None:
    with pytest.raises(StaleRecord, match=r"xnli/mbert/zero-shot[.]en/de[.]seed0[.]json was made by another card"):
        compared([exact("de", 50)], replace(card, sha256="edited"))
    edited = replace(card, sha256="edited")
    assert verdicts(compared([exact("de", 50, job={"origin": "sample"})], edited))["de"].endswith("sample data")


def test_another_metric_of_the_same_units(tmp_path: Path) -> None:
    card = load(tmp_path, "percent = { de = 30.0 }\n")
    about = {**card.about, "reference": [{**card.about["reference"][0], "metric": "macro_f1"}]}
    ours = record("mbert", language="de")
    found = row(compared([ours], replace(card, about=about)), "xnli", "mbert", "de")
    assert found["metric"] == "macro_f1"
    assert found["ours"].value == pytest.approx(metrics.score("macro_f1", ours.units))
    assert len(compared([ours], card).rows) == 1, "one language has no average"


def test_an_average_alone_is_over_the_card_s_languages_or_nobody_knows_which(tmp_path: Path) -> None:
    card = load(tmp_path, 'average_percent = 61.0\nnote = "over 3 languages"\n')
    records = [exact("de", 50), exact("en", 60)]
    assert verdicts(compared(records, card)) == {"average of 3": "not run: lacks ro"}
    assert verdicts(compared([*records, exact("ro", 70)], card)) == {"average of 3": "agrees"}
    card = load(tmp_path, 'average_percent = 61.0\nnote = "over XTREME\'s 40 languages"\n')
    assert verdicts(compared(records, card)) == {
        "average": "not run: published over 40 languages, of which its card has 3 and names none"
    }
    about = {**card.about, "reference": [{**card.about["reference"][0], "languages": ["de", "en"]}]}
    named = replace(card, about=about)
    assert row(compared(records, named), "xnli", "mbert", "average of 2")["difference"] == pytest.approx(-0.06)


def test_a_published_average_is_taken_as_it_is(tmp_path: Path) -> None:
    card = load(tmp_path, "average_percent = 54.0\npercent = { de = 50.0, en = 60.0 }\n")
    found = compared([exact("de", 50), exact("en", 60)], card)
    assert row(found, "xnli", "mbert", "average of 2")["difference"] == pytest.approx(0.01)
    assert "Averages" not in "\n".join(found.footnotes)


def test_constant_predictions_neither_agree_nor_differ() -> None:
    card = next(card for card in cards.pick(["sts17"], cards.card_folders()) if published(card))
    first = published(card)[0]
    language = next(iter(first.scores))
    flat = record(first.model, "sts17", language, job={"protocol": "none", "train_languages": (), "recipe": None})
    flat = replace(flat, units=np.column_stack([flat.units[:, 0], np.full(len(flat.units), 0.3)]))
    found = beside([flat], [replace(card, sha256="card sts17")], hubs={}, resamples=50)
    assert row(found, "sts17", first.model, language)["verdict"].startswith("undefined")


def test_cards_without_published_scores(card: TaskCard) -> None:
    silent = replace(card, name="silent", about={})
    with pytest.raises(UserError, match="no published scores to compare with on silent"):
        beside([], [silent], hubs={})
    found = beside([], [card, silent], hubs={})
    assert "No published scores on the cards of silent." in found.footnotes


def test_the_built_in_cards_and_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cited = [entry for card in cards.all_cards(cards.card_folders()) for entry in published(card)]
    assert {"xnli", "xquad", "mlqa", "sts17"} <= {entry.task for entry in cited}
    assert unibench("report", "--reference", "--results", tmp_path, "--format", "csv") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("#")]
    rows = list(csv.DictReader(io.StringIO("\n".join(lines))))
    assert len(rows) >= sum(len(entry.scores) for entry in cited)
    assert all(found["verdict"].startswith("not run: ") for found in rows)
    assert unibench("report", "--reference", "--results", tmp_path, "--tasks", "xnli", "--out", tmp_path / "r.md") == 0
    assert "| xnli |" in (tmp_path / "r.md").read_text()
    assert "| sts17 |" not in (tmp_path / "r.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--reference", "--baseline", "mbert"], "--baseline belongs to the leaderboard"),
        (["--reference", "--significance"], "--significance belongs to --against or the leaderboard"),
        (["--tolerance", "1"], "--tolerance belongs to --reference; leave it out, or add --reference"),
        (["--reference", "--against", "monolingual"], "are two views of the records"),
        (["--reference", "--tasks", "xlni"], "did you mean 'xnli'?"),
        (["--reference", "--tasks", "xnli_snli"], "no published scores to compare with on xnli_snli"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert unibench("report", "--results", tmp_path, *arguments) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1
