"""Where a job runs changes nothing in what it stores, and one that kills its process stops no other."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator, KeysView
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from unibench import data, engines, models, store
from unibench.cards import load_card
from unibench.errors import DataError
from unibench.jobs import Planned, Surroundings
from unibench.sweep import plan


class Deadly(dict[str, Any]):
    """What an encoder says of itself; copying it, after the fine-tuning and before anything is stored, is fatal."""

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

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


def test_workers_store_the_bytes_that_one_process_stores_and_survive_a_job_that_kills_its_own(
    trained: Path, toys: Path, tmp_path: Path
) -> None:
    items = planned(trained, toys, ["first"], "toy_nli", seeds=1, languages=["en", "zh"])
    items += planned(trained, toys, ["scratch"], "toy_sts")
    doomed = items[1].encoder
    fatal = replace(items[1], encoder=replace(doomed, about=Deadly(doomed.about)))

    phases: list[str] = []
    alone = around(tmp_path / "alone", toys)
    told = list(engines.run(items, alone, workers=1, progress=lambda name, done, total: phases.append(name)))
    assert [item for item, _ in told] == items
    assert "predict zh" in phases

    together = around(tmp_path / "together", toys)
    outcomes = {
        item.job: [(record.language, record.status) for record in records]
        for item, records in engines.run([fatal, items[0]], together, workers=2, progress=unheard)
    }
    assert outcomes == {
        items[0].job: [("en", "ok"), ("zh", "ok")],
        items[1].job: [("en-ru", "failed"), ("en-en", "failed")],
    }
    expected = units(alone.results)
    assert len(expected) == 4
    assert units(together.results) == {path: found for path, found in expected.items() if "/scratch/" not in path}
    for record in store.load(together.results):
        lost = record.job.model == "scratch"
        assert record.status == ("failed" if lost else "ok")
        assert record.reason == ("its worker process died (out of memory?)" if lost else "")


def units(results: Path) -> dict[str, bytes]:
    return {str(path.relative_to(results)): path.read_bytes() for path in results.rglob("*.npz")}


def test_what_a_user_must_mend_stops_the_run_from_a_worker_too(trained: Path, toys: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(toys, tmp_path / "toys"))
    for path in copied.rglob("en-en/test-*.parquet"):
        path.write_bytes(b"PAR1")
    items = planned(trained, toys, ["first", "tutor"], "toy_sts", languages=["en-en"])
    with pytest.raises(DataError, match="cannot be read as parquet"):
        list(engines.run(items, around(tmp_path / "results", copied), workers=2, progress=unheard))
    assert not (tmp_path / "results").exists()
