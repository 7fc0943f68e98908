"""Where a job runs changes nothing in what it stores, and one that kills its process stops no other."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import KeysView
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from unibench import data, engines, models, store
from unibench.cards import load_card
from unibench.errors import DataError
from unibench.sweep import Planned, Surroundings, plan


class Deadly(dict[str, Any]):
    """What an encoder says of itself; reading it, after the fine-tuning and before anything is stored, is fatal."""

    def keys(self) -> KeysView[str]:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().keys()


def around(results: Path, toys: Path) -> Surroundings:
    origin = data.Origin(kind="mirror", root=toys / "hub")
    return Surroundings(results=results, origin=origin, device="cpu", precision="fp32", threads=1)


def planned(trained: Path, toys: Path, names: list[str], task: str, **options: Any) -> list[Planned]:
    return plan(
        models.pick(names, trained), [load_card(toys / "tasks" / f"{task}.toml")],
        availability=lambda card, part, code: None, **options,
    )  # fmt: skip


def unheard(name: str, done: int, total: int) -> None:
    raise AssertionError("worker processes report no phases")


def test_worker_processes_store_the_same_bytes_as_this_one(trained: Path, toys: Path, tmp_path: Path) -> None:
    items = planned(trained, toys, ["first", "scratch"], "toy_nli", seeds=1, languages=["en", "zh"])
    items += planned(trained, toys, ["first"], "toy_sts")
    phases: list[str] = []
    units: dict[int, dict[str, bytes]] = {}
    for workers, progress in ((1, lambda name, done, total: phases.append(name)), (2, unheard)):
        here = around(tmp_path / str(workers), toys)
        yielded = {
            item.job: {record.language for record in records}
            for item, records in engines.run(items, here, workers=workers, progress=progress)
        }
        assert yielded == {item.job: set(item.languages) for item in items}
        found = sorted((here.results / "runs").rglob("*.npz"))
        units[workers] = {str(path.relative_to(here.results)): path.read_bytes() for path in found}
    assert len(units[1]) == 6
    assert units[2] == units[1]
    assert "predict zh" in phases
    scores = [[(r.job, r.language, r.scores) for r in store.load(tmp_path / str(n))] for n in (1, 2)]
    assert scores[0] == scores[1]


def test_a_job_that_kills_its_process_is_a_failed_record_and_the_others_finish(
    trained: Path, toys: Path, tmp_path: Path
) -> None:
    items = planned(trained, toys, ["first", "tutor"], "toy_sts")
    fatal = replace(items[0], encoder=replace(items[0].encoder, about=Deadly(size="xxsmall")))
    here = around(tmp_path / "results", toys)
    outcomes = list(engines.run([fatal, items[1]], here, workers=2, progress=unheard))
    assert {item.job.model: {r.status for r in records} for item, records in outcomes} == {
        "first": {"failed"},
        "tutor": {"ok"},
    }
    stored = {(r.job.model, r.language, r.status, r.reason) for r in store.load(here.results)}
    assert stored == {
        ("first", "en-en", "failed", "its worker process died (out of memory?)"),
        ("first", "en-ru", "failed", "its worker process died (out of memory?)"),
        ("tutor", "en-en", "ok", ""),
        ("tutor", "en-ru", "ok", ""),
    }


def test_what_a_user_must_mend_stops_the_run_from_a_worker_too(trained: Path, toys: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(toys, tmp_path / "toys"))
    for path in copied.rglob("en-en/test-*.parquet"):
        path.write_bytes(b"PAR1")
    items = planned(trained, toys, ["first", "tutor"], "toy_sts", languages=["en-en"])
    with pytest.raises(DataError, match="cannot be read as parquet"):
        list(engines.run(items, around(tmp_path / "results", copied), workers=2, progress=unheard))
    assert not (tmp_path / "results").exists()
