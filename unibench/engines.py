"""Where jobs run: in this process, or in worker processes. Results do not depend on which."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from unibench import jobs
from unibench.jobs import Planned, Progress, Surroundings
from unibench.store import RunRecord


def run(
    items: Sequence[Planned], around: Surroundings, *, workers: int, progress: Progress
) -> Iterator[tuple[Planned, list[RunRecord]]]:
    """Yields each job with its records as it is done; what was done before an interruption is stored.

    With one worker everything happens here and `progress` is told of phases; with more, each has a process of its own.
    """
    if workers == 1 or len(items) <= 1:
        for item in items:
            yield item, jobs.execute(item, around, progress)
        return
    yield from _in_processes(items, around, workers)


def _in_processes(
    items: Sequence[Planned], around: Surroundings, workers: int
) -> Iterator[tuple[Planned, list[RunRecord]]]:
    left = dict(enumerate(items))
    alone = False  # after a worker died, one job at a time tells which one kills it
    while left:
        with _pool(1 if alone else workers) as pool:
            waiting: dict[Future[list[RunRecord]], int] = {}
            queue = list(left)[:1] if alone else list(left)
            try:
                for number in queue:
                    waiting[pool.submit(_work, left[number], around)] = number
                while waiting:
                    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in done:
                        number = waiting.pop(future)
                        yield left[number], future.result()
                        del left[number]
            except BrokenProcessPool:
                if alone:
                    item = left.pop(queue[0])
                    yield item, jobs.failed(item, around, "its worker process died (out of memory?)")
                alone = not alone
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _pool(workers: int) -> ProcessPoolExecutor:
    # "spawn": a forked copy of a process that has used torch or CUDA may hang.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(max_workers=workers, mp_context=context, initializer=_quieten)


def _quieten() -> None:
    # Idle threads that spin take the core a neighbour needs; transformers' bars would tear the sweep's own.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    silence()


def silence() -> None:
    """Turns off the progress bars and chatter of the libraries underneath; errors still come through."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def _work(item: Planned, around: Surroundings) -> list[RunRecord]:
    return jobs.execute(item, around, _unheard)


def _unheard(*_: Any) -> None:
    pass
