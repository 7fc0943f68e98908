"""Work in processes of their own: each takes an item at a time, says how far it is, and hands its result back.

Not a ProcessPoolExecutor: that one cannot end work that has begun, and leaves its workers to finish a job, writing,
when their parent was killed. Here a worker whose parent is gone ends at its next report.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from types import MappingProxyType
from typing import Any

from unibert.errors import UserError

Report = Callable[[dict[str, Any]], None]
Work = Callable[[str, Report], Any]
REPORT_EVERY_S = 0.3


def run(
    items: Sequence[str],
    work: Work,
    *,
    workers: int,
    report: Report,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[tuple[str, Any]]:
    """Yields (item, result) in the order they are done; a result that is a UserError is that item's failure.

    After a failure no further item is begun, and those in work are finished. One worker, or one item, works in this
    process; with more, `environment` is set in each of theirs. `work` must be picklable. Closing the generator ends the
    workers at once.
    """
    if workers == 1 or len(items) <= 1:
        for item in items:
            result = _attempt(work, item, report)
            yield item, result
            if isinstance(result, UserError):
                return
        return
    yield from _in_processes(list(items), work, min(workers, len(items)), report, dict(environment))


def _in_processes(
    waiting: list[str], work: Work, workers: int, report: Report, environment: dict[str, str]
) -> Iterator[tuple[str, Any]]:
    # "spawn": a forked copy of a process that has used threads may hang, and would hold the other workers' pipes open.
    context = multiprocessing.get_context("spawn")
    processes: dict[Connection, Any] = {}
    busy: dict[Connection, str] = {}
    try:
        for _ in range(workers):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, work, environment), daemon=True)
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: Ctrl-C is for the parent to answer
            try:
                process.start()
            finally:
                signal.signal(signal.SIGINT, before)
            there.close()
            processes[here] = process
            busy[here] = waiting.pop(0)
            here.send(busy[here])
        while busy:
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                item = busy[ready]
                try:
                    kind, content = ready.recv()
                except (EOFError, ConnectionResetError):
                    processes[ready].join()
                    content = UserError(
                        f"the worker on {item!r} died with code {processes[ready].exitcode} (out of memory?); "
                        "give fewer --workers and run the same command again"
                    )
                    kind = "gone"
                if kind == "report":
                    report(content)
                    continue
                if kind == "crash":
                    raise RuntimeError(f"the worker on {item!r} crashed:\n{content}")
                del busy[ready]
                if isinstance(content, UserError):
                    waiting.clear()
                elif waiting:
                    busy[ready] = waiting.pop(0)
                    ready.send(busy[ready])
                yield item, content
    finally:
        for connection, process in processes.items():
            process.terminate()
            connection.close()
        for process in processes.values():
            process.join()


def _serve(parent: Connection, work: Work, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    said = 0.0

    def report(event: dict[str, Any]) -> None:
        nonlocal said
        creator = multiprocessing.parent_process()
        if creator is None or not creator.is_alive():
            raise BrokenPipeError("the parent is gone")
        if time.monotonic() - said >= REPORT_EVERY_S:
            said = time.monotonic()
            parent.send(("report", event))

    try:
        while True:
            item = parent.recv()
            try:
                result = "result", _attempt(work, item, report)
            except (BrokenPipeError, EOFError):
                raise
            except Exception:
                result = "crash", traceback.format_exc()
            parent.send(result)
    except (EOFError, BrokenPipeError):
        return


def _attempt(work: Work, item: str, report: Report) -> Any:
    try:
        return work(item, report)
    except UserError as error:
        return error
