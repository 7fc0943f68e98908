"""Work in other processes: results, failures, deaths, and an end with nothing left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from unibert.errors import UserError
from unibert.workers import Report, run


def heard(_: dict[str, Any]) -> None:
    pass


def double(item: str, report: Report) -> tuple[str, int]:
    report({"item": item})
    return item * 2, os.getpid()


def picky(item: str, report: Report) -> str:
    if item == "bad":
        raise UserError("bad is refused")
    time.sleep(0.2)
    return item


def deadly(item: str, report: Report) -> str:
    if item == "b":
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def broken(item: str, report: Report) -> str:
    raise KeyError(item)


def endless(item: str, report: Report) -> str:
    Path(item).write_text(str(os.getpid()))
    while True:
        report({})
        time.sleep(0.01)


@pytest.mark.parametrize("workers", [1, 3])
def test_every_item_is_worked_on_once(workers: int) -> None:
    events: list[dict[str, Any]] = []
    results = dict(run(["a", "b", "c", "d"], double, workers=workers, report=events.append))
    assert {item: result for item, (result, _) in results.items()} == {"a": "aa", "b": "bb", "c": "cc", "d": "dd"}
    assert {"item": "a"} in events
    assert ({pid for _, pid in results.values()} == {os.getpid()}) == (workers == 1)


def setting(item: str, report: Report) -> str | None:
    return os.environ.get("WORKERS_ONLY")


def test_an_environment_is_the_workers_alone() -> None:
    given = {"WORKERS_ONLY": "yes"}
    assert dict(run(["a", "b"], setting, workers=2, report=heard, environment=given)) == {"a": "yes", "b": "yes"}
    assert "WORKERS_ONLY" not in os.environ


@pytest.mark.parametrize("workers", [1, 2])
def test_after_a_failure_nothing_is_begun_and_what_is_in_work_is_finished(workers: int) -> None:
    results = dict(run(["bad", "a", *"bcdefgh"], picky, workers=workers, report=heard))
    assert str(results.pop("bad")) == "bad is refused"
    assert len(results) == workers - 1


def test_a_worker_that_dies_is_named() -> None:
    results = dict(run(["a", "b"], deadly, workers=2, report=heard))
    assert isinstance(results["b"], UserError)
    assert "the worker on 'b' died with code -9 (out of memory?); give fewer --workers" in str(results["b"])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_mistake_of_ours_is_no_users_error(workers: int) -> None:
    with pytest.raises((KeyError, RuntimeError), match="a"):
        list(run(["a", "b"], broken, workers=workers, report=heard))


def pid_in(path: Path) -> int:
    for _ in range(600):
        if path.is_file() and (text := path.read_text()):
            return int(text)
        time.sleep(0.05)
    raise AssertionError(f"no worker wrote {path}")


def gone(pid: int) -> bool:
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_closing_ends_the_workers_at_once(tmp_path: Path) -> None:
    items = [str(tmp_path / name) for name in ("a", "b")]
    began: list[int] = []

    def report(_: dict[str, Any]) -> None:
        began.extend(pid_in(Path(item)) for item in items)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run(items, endless, workers=2, report=report))
    assert len(set(began)) == 2
    assert all(map(gone, began))


def test_workers_die_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    items = [str(tmp_path / name) for name in ("a", "b")]
    code = f"import test_workers as t; list(t.run({items!r}, t.endless, workers=2, report=t.heard))"
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    parent = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)})
    pids = [pid_in(Path(item)) for item in items]
    parent.kill()
    parent.wait()
    assert all(map(gone, pids))
