"""Sweeps over the toy cards and tiny encoders of conftest.py, planned and run as `unibench run` would."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unibench import data, jobs, models, store, supplies
from unibench.cards import TaskCard
from unibench.jobs import Planned, Surroundings
from unibench.sweep import plan


def around(results: Path, hub: Path, **more: Any) -> Surroundings:
    return Surroundings(
        results=results, origin=data.Origin(kind="mirror", root=hub), device="cpu", precision="fp32", threads=1, **more
    )


def planned_for(names: list[str], cards: list[TaskCard], here: Surroundings, **options: Any) -> list[Planned]:
    found = lambda card, part, code: data.availability(card, part, code, here.origin)  # noqa: E731
    return plan(models.pick(names, here.results), cards, availability=found, **{"seeds": 1, **options})


def run(planned: Sequence[Planned], here: Surroundings) -> list[store.RunRecord]:
    return [record for item in planned for record in jobs.execute(item, here, lambda *_: None)]


def forget() -> None:
    """Makes this process read data and models afresh, as another command would."""
    supplies.forget()
    models._hash.cache_clear()
