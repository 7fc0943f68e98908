"""Which examples a job stands on, and that its hashes move when one of them does and only then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toy_jobs

from unibench import data, supplies
from unibench.adapters import RECIPES
from unibench.cards import load_card
from unibench.data import Origin
from unibench.store import Job
from unibench.supplies import Supplies

JOB = Job(
    model="m", task="toy_nli", protocol="zero-shot", train_languages=("en",), seed=0, recipe=RECIPES["nli"]
)  # fmt: skip


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    toy_jobs.forget()
    yield
    toy_jobs.forget()


def of(toys: Path, **more: Any) -> Supplies:
    card = load_card(toys / "tasks" / "toy_nli.toml")
    return Supplies(job=replace(JOB, **more), card=card, origin=Origin(kind="mirror", root=toys / "hub"))


def test_text_is_read_of_languages_that_are_not_trained_on_or_of_all_where_all_are(toys: Path) -> None:
    assert of(toys).texts() == {}
    assert set(of(toys, adversarial=("en", "ru")).texts()) == {"ru"}
    both = of(toys, train_languages=("en", "ru"), adversarial=("en", "ru")).texts()
    assert {code: len(found.examples) for code, found in both.items()} == {"en": 24, "ru": 24}
    limited = of(toys, adversarial=("en", "ru"), train_limit=7).texts()["ru"].examples
    assert len(limited) == 7
    assert all(example.target is None for example in limited), "no label is there to be read"


def test_examples_are_loaded_once_a_process(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = of(toys, adversarial=("en", "ru"))
    before = [first.train(), first.dev(), first.scored("zh"), first.own_dev("ru"), first.texts()["ru"]]
    monkeypatch.setattr(data, "load", None)
    monkeypatch.setattr(data, "unlabelled", None)
    again = of(toys, adversarial=("en", "ru"), model="another", seed=5)
    after = [again.train(), again.dev(), again.scored("zh"), again.own_dev("ru"), again.texts()["ru"]]
    assert all(a is b for a, b in zip(before, after, strict=True))


def test_a_languages_own_dev_examples_and_where_they_are_from(toys: Path) -> None:
    found = of(toys)
    own = found.own_dev("ru")
    assert own is not None
    assert len(own.examples) == 12
    assert found.own_dev("zh") is None
    assert found.own_dev_source("ru") == "toy/nli validation"
    carved = replace(found, card=replace(found.card, dev=()))
    assert carved.own_dev_source("ru") == "toy/nli train, a part of it held out"
    sample = replace(found, origin=Origin(kind="sample"))
    assert sample.own_dev_source("ru") == "dev, the generated sample"


def test_every_part_counts_and_a_seed_does_not(toys: Path) -> None:
    settings: list[dict[str, Any]] = [
        {},
        {"train_languages": ("ru",)},
        {"train_limit": 9},
        {"eval_limit": 5},
        {"adversarial": ("en", "ru")},
        {"adversarial": ("en", "ru"), "train_limit": 7},
        {"recipe": None},
    ]
    hashes = [of(toys, **setting).sha256("zh") for setting in settings]
    assert len(set(hashes)) == len(settings)
    assert of(toys, seed=9, model="other").sha256("zh") == hashes[0]
    assert of(toys).sha256("ru") != hashes[0]
    stamps = {of(toys, **setting).stamp("zh") for setting in settings}
    assert len(stamps) == 4, "limits leave the files alone: plain, from ru, with text of ru, untrained"


def test_what_is_forgotten_is_read_again(toys: Path) -> None:
    first = of(toys).train()
    supplies.forget()
    again = of(toys).train()
    assert again is not first
    assert again.examples == first.examples
