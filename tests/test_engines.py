"""Where a job runs changes nothing in what it stores, and one that kills its process stops no other."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, KeysView
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toy_jobs

from unibench import engines, models, store, sweep
from unibench.cards import load_card
from unibench.errors import DataError
from unibench.jobs import Planned, Surroundings
from unibench.store import Job
from unibench.sweep import plan


class Deadly(dict[str, Any]):
    """What an encoder says of itself; copying it, after the fine-tuning and before anything is stored, is fatal."""

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> KeysView[str]:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().keys()


def around(results: Path, toys: Path) -> Surroundings:
    return toy_jobs.around(results, toys / "hub")


def planned(trained: Path, toys: Path, names: list[str], task: str, **options: Any) -> list[Planned]:
    return plan(
        models.pick(names, trained), [load_card(toys / "tasks" / f"{task}.toml")],
        availability=lambda card, part, code: None, **options,
    )  # fmt: skip


class Heard:
    """What was told of jobs in work."""

    def __init__(self) -> None:
        self.phases: dict[Job, list[str]] = {}

    def __call__(self, item: Planned, phase: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        self.phases.setdefault(item.job, []).append(phase)


def test_workers_store_the_bytes_that_one_process_stores_and_survive_a_job_that_kills_its_own(
    trained: Path, toys: Path, tmp_path: Path
) -> None:
    items = planned(trained, toys, ["first"], "toy_nli", seeds=1, languages=["en", "zh"])
    items += planned(trained, toys, ["scratch"], "toy_sts")
    doomed = items[1].encoder
    fatal = replace(items[1], encoder=replace(doomed, about=Deadly(doomed.about)))

    heard = Heard()
    alone = around(tmp_path / "alone", toys)
    told = list(engines.run(items, alone, workers=1, progress=heard))
    assert [item for item, _ in told] == items
    assert "predict zh" in heard.phases[items[0].job]

    heard = Heard()
    together = around(tmp_path / "together", toys)
    outcomes = {
        item.job: [(record.language, record.status) for record in records]
        for item, records in engines.run([fatal, items[0]], together, workers=2, progress=heard)
    }
    assert heard.phases[items[0].job], "workers tell of their phases"
    assert "" in heard.phases[items[1].job], "its line is taken back when its process died"
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
    return {str(path.relative_to(results)): path.read_bytes() for path in (results / "runs").rglob("*.npz")}


def test_what_a_user_must_mend_stops_the_run_from_a_worker_too(trained: Path, toys: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(toys, tmp_path / "toys"))
    for path in copied.rglob("en-en/test-*.parquet"):
        path.write_bytes(b"PAR1")
    items = planned(trained, toys, ["first", "tutor"], "toy_sts", languages=["en-en"])
    with pytest.raises(DataError, match="cannot be read as parquet"):
        list(engines.run(items, around(tmp_path / "results", copied), workers=2, progress=Heard()))
    assert not (tmp_path / "results").exists()


def test_a_full_pipe_silences_no_worker_and_what_is_told_arrives_whole(trained: Path, toys: Path) -> None:
    [item] = planned(trained, toys, ["first"], "toy_sts", languages=["en-en"])
    ear, heard = engines.Ear(), Heard()
    for number in range(20_000):  # some of them to nobody: more than a pipe holds
        engines._Teller(number % 2, ear.mouth)(f"phase {number}", number, 20_000)
    ear.hear({0: item}, heard)
    [phase] = heard.phases[item.job]
    assert 1000 < int(phase.removeprefix("phase ")) < 20_000, "the latest that went through, and of a known job only"
    assert ear.begun == {0, 1}
    engines._Teller(0, ear.mouth)("x" * 9000, 1, 2)
    ear.hear({0: item}, heard)
    assert heard.phases[item.job][1] == "x" * 100, "never longer than a pipe takes at once"
    ear.close()


KILLED = """
import json, sys
from pathlib import Path
from unibench import engines
from test_engines import around, planned
trained, toys, results, workers = sys.argv[1:]
def tell(item, phase, done, total):
    print("alive", flush=True)
items = planned(Path(trained), Path(toys), ["first", "scratch"], "toy_nli", seeds=2, languages=["en", "zh"])
if __name__ == "__main__":
    for item, records in engines.run(items, around(Path(results), Path(toys)), workers=int(workers), progress=tell):
        print("done", flush=True)
"""


def test_a_killed_run_leaves_no_process_and_goes_on_to_the_same_records(
    trained: Path, toys: Path, tmp_path: Path
) -> None:
    items = planned(trained, toys, ["first", "scratch"], "toy_nli", seeds=2, languages=["en", "zh"])
    whole = around(tmp_path / "whole", toys)
    list(engines.run(items, whole, workers=1, progress=Heard()))

    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    killed = around(tmp_path / "killed", toys)
    arguments = [sys.executable, str(script), str(trained), str(toys), str(killed.results), "2"]
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if line == "done\n":
                break
        os.kill(process.pid, signal.SIGKILL)
    # Its workers hold its output open, so the stream has ended only once they have
    deadline = time.monotonic() + 60
    while _group(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _group(process.pid) == []
    found = units(killed.results)
    assert 2 <= len(found) < 8, "something was stored, not everything"
    left = sweep.outstanding(items, killed)
    assert sorted(len(item.languages) for item in left) != [2] * 4
    list(engines.run(left, killed, workers=1, progress=Heard()))
    assert units(killed.results) == units(whole.results)
    assert sweep.outstanding(items, killed) == []


def _group(leader: int) -> list[int]:
    """Returns the processes of a group that are still running."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(status[2]) == leader and status[0] != "Z":
            found.append(int(folder.name))
    return found
