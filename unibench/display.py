"""What a person watches while a command runs. Numbers come from elsewhere; nothing is computed here but rates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from unibench.jobs import Planned
from unibench.jobs import Progress as Phase
from unibench.store import RunRecord


class Training:
    """Shows a pretraining run: losses by objective, tokens/s, time left, the discriminator's accuracy beside chance."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.languages = 0
        self.heldout = ""
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self.task: Any = None

    def __enter__(self) -> Training:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, event: dict[str, Any]) -> None:
        """Takes one event of `unibert.train.fit`."""
        kind = event["event"]
        if kind == "note":
            self.bar.console.print(event["text"], highlight=False, markup=False, soft_wrap=True)
        elif kind == "start":
            self.languages = event["languages"]
            if self.task is not None:
                self.bar.remove_task(self.task)
            resumed = f", resuming at step {event['step']:,}" if event["step"] else ""
            self.bar.console.print(f"training {event['steps']:,} steps{resumed}", highlight=False)
            self.task = self.bar.add_task("steps", total=event["steps"], completed=event["step"], figures="")
        elif kind == "step":
            self.bar.update(self.task, completed=event["step"], figures=f"{self._figures(event)}{self.heldout}")
        elif kind == "evaluation":
            text = f"held-out mlm {event['heldout_mlm']:.3f}, effective rank {event['effective_rank']:.1f}"
            self.heldout = f" | {text}"
            if not self.console.is_terminal:
                self.console.print(f"step {event['step']:,}: {text}", highlight=False)

    def _figures(self, event: dict[str, Any]) -> str:
        losses = [f"{name} {event[name]:.3f}" for name in ("mlm", "soft", "hidden") if name in event]
        if "disc_accuracy" in event:
            losses.append(f"D {event['disc_accuracy']:.0%} (chance {1 / self.languages:.0%})")
        return f"{' '.join(losses)} | {event['tokens_per_s']:,.0f} tokens/s"


class Sweep:
    """Shows a sweep: jobs done of all, time left, what the current one is doing, and each failure as it happens."""

    def __init__(self, console: Console, total: int) -> None:
        self.console = console
        self.outcomes: Counter[str] = Counter()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[phase]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("fine-tunings", total=total, phase="")

    @contextmanager
    def shown(self) -> Iterator[Phase]:
        """Shows the bar for the length of a `with` block and yields what jobs report their phases to."""
        with self.bar:
            yield self._phase

    def _phase(self, name: str, done: int, total: int) -> None:
        self.bar.update(self.task, phase=f"{name} {done}/{total}")

    def done(self, item: Planned, records: list[RunRecord]) -> None:
        """Counts one job's records and says what went wrong with it, if anything did."""
        job = item.job
        self.outcomes.update(record.status for record in records)
        for reason in dict.fromkeys(record.reason for record in records if record.status == "failed"):
            text = f"failed: {job.task} {job.model} seed {job.seed}: {reason}"
            self.bar.console.print(text, style="red", highlight=False, markup=False, soft_wrap=True)
        self.bar.update(self.task, advance=1, phase=f"{job.task} {job.model} seed {job.seed}")
        if not self.console.is_terminal and item.languages:
            trained = "+".join(job.train_languages) or "nothing trained"
            self.console.print(
                f"{job.task} {job.model} seed {job.seed} ({trained}): {len(item.languages)} languages",
                highlight=False,
                markup=False,
            )
