"""What a person watches while a sweep runs: all of it, each job in work, what went wrong, and what it came to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from unibench import costs
from unibench.costs import Timed
from unibench.jobs import Planned
from unibench.store import Job, RunRecord

REFRESH_S = 1.0  # how often the time left is worked out anew between two jobs


class Sweep:
    """Shows a sweep: jobs done of all and the time left, a line for each in work, failures and warnings as they come.

    `known` are fine-tunings done before on this kind of machine; without any the time left is first told once a job
    is done.
    """

    def __init__(
        self,
        console: Console,
        items: Sequence[Planned],
        *,
        workers: int,
        known: Sequence[Timed] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = console
        self.left = {item.job: item for item in items}
        self.workers = workers
        self.known = list(known)
        self.clock = clock
        self.total = sum(bool(item.languages) for item in items)
        self.finished = 0
        self.records: Counter[str] = Counter()
        self.warnings = 0
        self.began = self.refreshed = clock()
        self.since: dict[Job, float] = {}
        self.lines: dict[Job, TaskID] = {}
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        self._estimate()
        self.task = self.bar.add_task("jobs", total=self.total, note=self._note())

    @contextmanager
    def shown(self) -> Iterator[Callable[[Planned, str, int, int], None]]:
        """Shows the bars for the length of a `with` block and yields what engines report phases to."""
        self.began = self.clock()
        with self.bar:
            yield self.phase

    def phase(self, item: Planned, name: str, done: int, total: int) -> None:
        """Notes how far a job is; the phase "" says that it is no longer in work."""
        job = item.job
        if not name:
            self._leave(job)
            return
        if job not in self.lines:
            self.since[job] = self.clock()
            self.lines[job] = self.bar.add_task(f"  {label(job)}", total=total, note="")
        self.bar.update(self.lines[job], completed=done, total=total, note=name)
        if self.clock() - self.refreshed >= REFRESH_S:
            self.refreshed = self.clock()
            self.bar.update(self.task, note=self._note())

    def done(self, item: Planned, records: Sequence[RunRecord]) -> None:
        """Counts one job's records and says what went wrong with it, if anything did."""
        self._leave(item.job)
        del self.left[item.job]
        self.records.update(record.status for record in records)
        for reason in dict.fromkeys(record.reason for record in records if record.status == "failed"):
            self._say(f"failed: {label(item.job)}: {reason}", "red")
        self._warn(item, records)
        found = costs.timed(item, records)
        if found is not None:
            self.known.append(found)
            self._estimate()
        self.finished += bool(item.languages)
        self.bar.update(self.task, completed=self.finished, note=self._note())
        if not self.console.is_terminal and item.languages:
            took = f" in {span(found.seconds)}" if found is not None else ""
            trained = "+".join(item.job.train_languages) or "nothing trained"
            note = self._note()
            self._say(
                f"{self.finished}/{self.total} {label(item.job)} ({trained}): {len(item.languages)} languages{took}; "
                f"{span(self.clock() - self.began)} elapsed{f', {note}' if note else ''}"
            )

    def close(self, results: Path) -> None:
        """Says what the sweep came to."""
        counts = ", ".join(f"{count} records {status}" for status, count in sorted(self.records.items()))
        plural = "" if self.warnings == 1 else "s"
        warned = f"; {self.warnings} warning{plural}, kept in the records" if self.warnings else ""
        self._say(f"{counts}{warned}; in {results / 'runs'} after {span(self.clock() - self.began)}")

    def _leave(self, job: Job) -> None:
        self.since.pop(job, None)
        if job in self.lines:
            self.bar.remove_task(self.lines.pop(job))

    def _warn(self, item: Planned, records: Sequence[RunRecord]) -> None:
        found = {
            record.language: text
            for record in records
            if record.provenance is not None and (text := record.provenance.extra.get("warning"))
        }
        self.warnings += len(found)
        if found:
            (language, text), *others = found.items()
            more = f" (likewise {' '.join(code for code, _ in others)})" if others else ""
            self._say(f"warning: {label(item.job)} {language}: {text}{more}", "yellow")

    def _estimate(self) -> None:
        found = costs.estimates(list(self.left.values()), self.known)
        self.estimates = None if found is None else dict(zip(self.left, found, strict=True))

    def _note(self) -> str:
        """Returns the time left in words, "" while nothing is known of it or nothing is left."""
        if self.estimates is None or not any(item.languages for item in self.left.values()):
            return ""
        now = self.clock()
        elapsed = [now - self.since.get(job, now) for job in self.left]
        return f"about {span(costs.remaining([self.estimates[job] for job in self.left], elapsed, self.workers))} left"

    def _say(self, text: str, style: str | None = None) -> None:
        self.bar.console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


def label(job: Job) -> str:
    """Returns what tells a job from the others of its sweep."""
    language = f" {job.train_languages[0]}" if job.protocol == "monolingual" and job.train_languages else ""
    return f"{job.task} {job.model}{language} seed {job.seed}"


def span(seconds: float) -> str:
    """Returns a length of time as a person says it: 40 s, 12 min, 3 h 05 min."""
    if seconds < 60:
        return f"{max(seconds, 0):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
