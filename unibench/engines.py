"""Where jobs run: in this process, or in worker processes. Results do not depend on which."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import Connection

from unibench import jobs
from unibench.jobs import Planned, Surroundings
from unibench.store import RunRecord

# Told of a job's phase and how far it is; the phase "" says that its process died and that it waits once more.
Told = Callable[[Planned, str, int, int], None]
TELL_S = 0.2  # how often a worker tells of one phase, and how often it is listened to


def run(
    items: Sequence[Planned], around: Surroundings, *, workers: int, progress: Told
) -> Iterator[tuple[Planned, list[RunRecord]]]:
    """Yields each job with its records as it is done; what was done before an interruption is stored.

    With one worker everything happens here; with more, each has a process of its own. `progress` is told of phases.
    """
    if workers == 1 or len(items) <= 1:
        for item in items:
            yield item, jobs.execute(item, around, partial(progress, item))
        return
    yield from _in_processes(items, around, workers, progress)


def _in_processes(
    items: Sequence[Planned], around: Surroundings, workers: int, progress: Told
) -> Iterator[tuple[Planned, list[RunRecord]]]:
    left = dict(enumerate(items))
    alone = False  # after a worker died, one job at a time tells which one kills it
    while left:
        ear = Ear()
        with _pool(1 if alone else workers, ear.mouth) as pool:
            waiting: dict[Future[list[RunRecord]], int] = {}
            queue = list(left)[:1] if alone else list(left)
            try:
                for number in queue:
                    waiting[pool.submit(_work, number, left[number], around)] = number
                while waiting:
                    done, _ = wait(waiting, timeout=TELL_S, return_when=FIRST_COMPLETED)
                    ear.hear(left, progress)
                    for future in done:
                        number = waiting.pop(future)
                        yield left[number], future.result()
                        del left[number]
            except BrokenProcessPool:
                for number in ear.begun & left.keys():
                    progress(left[number], "", 0, 0)
                if alone:
                    item = left.pop(queue[0])
                    yield item, jobs.failed(item, around, "its worker process died (out of memory?)")
                alone = not alone
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            finally:
                ear.close()


class Ear:
    """Hears what worker processes tell of their jobs, over one pipe that a killed worker cannot block.

    Not a multiprocessing.Queue: a worker that dies while it holds a queue's lock silences the others for good. A write
    of less than PIPE_BUF bytes needs no lock, being whole or not there at all; if the pipe is full it is left out.
    """

    def __init__(self) -> None:
        self.reader, self.mouth = multiprocessing.get_context("spawn").Pipe(duplex=False)
        for end in (self.reader, self.mouth):
            os.set_blocking(end.fileno(), False)
        self.begun: set[int] = set()
        self.rest = b""

    def hear(self, left: Mapping[int, Planned], progress: Told) -> None:
        """Passes on what was told since the last call of jobs that are left."""
        latest: dict[int, tuple[str, int, int]] = {}
        while True:
            try:
                told = os.read(self.reader.fileno(), 1 << 16)
            except BlockingIOError:
                break
            *lines, self.rest = (self.rest + told).split(b"\n")
            for line in lines:
                number, phase, done, total = json.loads(line)
                latest[number] = phase, done, total
        self.begun |= latest.keys()
        for number, found in latest.items():
            if number in left:
                progress(left[number], *found)

    def close(self) -> None:
        """Ends the hearing."""
        self.reader.close()
        self.mouth.close()


class _Teller:
    """Tells one job's phases through a pipe, each at most once in TELL_S."""

    def __init__(self, number: int, mouth: Connection) -> None:
        self.number = number
        self.mouth = mouth
        self.phase = ""
        self.told = 0.0

    def __call__(self, phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        if phase == self.phase and now - self.told < TELL_S:
            return
        self.phase, self.told = phase, now
        line = json.dumps([self.number, phase[:100], done, total]).encode() + b"\n"
        try:
            os.write(self.mouth.fileno(), line)
        except (BlockingIOError, BrokenPipeError):  # nobody listens now; the job is what counts
            return


def _pool(workers: int, mouth: Connection) -> ProcessPoolExecutor:
    # "spawn": a forked copy of a process that has used torch or CUDA may hang.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(max_workers=workers, mp_context=context, initializer=_prepare, initargs=(mouth,))


_MOUTH: list[Connection] = []  # of this process, where it is a worker


def _prepare(mouth: Connection) -> None:
    _MOUTH.append(mouth)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Idle threads that spin take the core a neighbour needs; transformers' bars would tear the sweep's own.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    silence()


def _end_with_parent() -> None:
    """A pool's workers hold both ends of its queue, so one whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def silence() -> None:
    """Turns off the progress bars and chatter of the libraries underneath; errors still come through."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def _work(number: int, item: Planned, around: Surroundings) -> list[RunRecord]:
    return jobs.execute(item, around, _Teller(number, _MOUTH[-1]))
