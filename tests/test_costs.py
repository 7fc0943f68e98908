"""How long the rest takes, against sums done by hand; and that nothing is said before anything is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from unibench import costs
from unibench.cards import Source, TaskCard
from unibench.costs import Timed
from unibench.jobs import Planned
from unibench.models import Encoder
from unibench.store import Job, Provenance, Recipe, RunRecord

RECIPE = Recipe(learning_rates=(1e-4, 1e-3), epochs=2, batch_size=8, max_tokens=32)
CARD = TaskCard(
    name="t", title="", family="nli", metric="accuracy", languages=("en", "ru"), protocol="zero-shot", train=(),
    dev=(), eval=Source(hub="t"), columns={},
)  # fmt: skip


def item(task: str = "t", model: str = "m", size: float | None = float(costs.TOKEN_PARAMETERS), **more: Any) -> Planned:
    about = {} if size is None else {"parameters_without_embeddings": size}
    job = Job(model=model, task=task, protocol="zero-shot", train_languages=("en",), seed=0, recipe=RECIPE)
    base = Planned(
        job=replace(job, seed=more.pop("seed", 0), recipe=more.pop("recipe", RECIPE)),
        card=CARD, encoder=Encoder(name=model, kind="path", about=about), languages=("en", "ru"),
    )  # fmt: skip
    return replace(base, **more)


def took(seconds: float, done: Planned, train: float = 100, dev: float = 10, scored: float = 20) -> Timed:
    return Timed(item=done, seconds=seconds, train_tokens=train, dev_tokens=dev, eval_tokens=scored)


# 2 rates x 2 epochs x (3 passes x 100 trained + 10 selected by) + 2 languages x 20 scored
PASSED = 2 * 2 * (3 * 100 + 10) + 2 * 20


def test_before_the_first_is_done_nothing_is_said() -> None:
    assert costs.estimates([item()], []) is None


def test_the_same_model_on_the_same_task_takes_as_long_again() -> None:
    assert costs.estimates([item(seed=1)], [took(12.0, item())]) == pytest.approx([12.0])
    assert costs.estimates([item(seed=2)], [took(12.0, item()), took(18.0, item(seed=1))]) == pytest.approx([15.0])


def test_another_model_takes_as_much_longer_as_it_is_larger() -> None:
    larger = item(model="n", size=7.0 * costs.TOKEN_PARAMETERS)  # and a share of its own for a token of any encoder
    assert costs.estimates([larger], [took(12.0, item())]) == pytest.approx([(7 + 1) / (1 + 1) * 12.0])
    unknown = item(model="n", size=None)
    assert costs.estimates([unknown], [took(12.0, item())]) == pytest.approx([12.0]), "counts as the mean of the others"


def test_a_language_less_an_oracle_more_and_no_training_are_reckoned_in() -> None:
    done = [took(float(PASSED), item())]  # a second a token
    assert costs.estimates([item(languages=("en",))], done) == pytest.approx([PASSED - 20])
    assert costs.estimates([item(oracle=("ru",))], done) == pytest.approx([PASSED + 2 * 10 * 500 / 1000])
    against = replace(item(seed=1), job=replace(item().job, adversarial=("en", "ru")))
    assert costs.estimates([against], done) == pytest.approx([PASSED + 2 * 3 * 2 * 100])
    assert costs.estimates([item(recipe=None)], done) == pytest.approx([2 * 20])
    assert costs.estimates([item(languages=(), missing={"all": "gone"})], done) == [0.0], "there is nothing to do"


def test_a_task_of_which_nothing_is_done_counts_as_the_mean_of_the_others() -> None:
    done = [took(float(PASSED), item("a")), took(2.0 * PASSED, item("b"), train=200, dev=20, scored=40)]
    assert costs.estimates([item("c")], done) == pytest.approx([1.5 * PASSED])
    assert costs.estimates([item("b", model="n")], done) == pytest.approx([2.0 * PASSED])


def test_the_time_left_is_shared_by_the_workers_and_never_below_the_longest() -> None:
    assert costs.remaining([10.0, 10.0, 10.0], [0.0, 0.0, 0.0], 1) == 30.0
    assert costs.remaining([10.0, 10.0, 10.0], [4.0, 0.0, 0.0], 1) == 26.0
    assert costs.remaining([10.0, 10.0, 10.0, 10.0], [0.0] * 4, 2) == 20.0
    assert costs.remaining([10.0, 2.0], [0.0, 0.0], 8) == 10.0
    assert costs.remaining([10.0, 2.0], [15.0, 0.0], 2) == 2.0, "one that is overdue does not shorten another"
    assert costs.remaining([], [], 4) == 0.0


def test_records_say_what_their_job_took() -> None:
    made = Provenance(
        commit="", dirty=False, packages={}, device="cpu", started="", seconds=7.0, card_sha256="", data_sha256="",
        model_sha256="", extra={"counts": {"train": {"tokens": 50}, "dev": {"tokens": 5}, "en": {"tokens": 8}}},
    )  # fmt: skip
    later = replace(made, seconds=9.0, extra={"counts": {**made.extra["counts"], "ru": {"tokens": 4}}})
    records = [
        RunRecord(job=item().job, language="en", status="ok", provenance=made),
        RunRecord(job=item().job, language="ru", status="ok", provenance=later),
        RunRecord(job=item().job, language="zh", status="failed", reason="r"),
    ]
    assert costs.timed(item(), records) == took(9.0, item(), train=50, dev=5, scored=6)
    assert costs.timed(item(), records[2:]) is None


def test_a_config_says_how_large_an_encoder_is(tmp_path: Path) -> None:
    bert = {"num_hidden_layers": 2, "hidden_size": 8, "intermediate_size": 32}
    distilbert = {"n_layers": 2, "dim": 8, "hidden_dim": 32}
    encoder = Encoder(name="e", kind="path", folder=tmp_path)
    for config in (bert, distilbert):
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert costs.parameters(encoder) == 2 * (4 * 8 * 8 + 2 * 8 * 32)
    assert costs.parameters(replace(encoder, kind="scratch")) is None, "its folder holds another model"
    for content in ("", "[]", "{}", '{"dim": "x"}'):
        (tmp_path / "config.json").write_text(content)
        assert costs.parameters(encoder) is None
    assert costs.parameters(replace(encoder, folder=None)) is None
