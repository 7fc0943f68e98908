"""What a person watches while a command runs. Numbers come from elsewhere; nothing is computed here but rates."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


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


class Building:
    """Shows a build: languages done, how much of the files is read, documents, MB of text a second, time left."""

    def __init__(self, console: Console) -> None:
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(), TextColumn("{task.fields[figures]}"),
            console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self.task: Any = None
        self.languages = self.finished = 0
        self.done: dict[str, float] = {}
        self.documents: dict[str, int] = {}
        self.text_bytes: dict[str, int] = {}

    def __enter__(self) -> Building:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, event: dict[str, Any]) -> None:
        """Takes one event of `unibert.build.build`."""
        kind = event["event"]
        if kind == "start":
            self.languages, self.began = event["languages"], time.monotonic()
            self.task = self.bar.add_task("reading", total=event["weight"], figures="")
            return
        language = event["language"]
        if kind == "failed":
            self._say(f"{language} failed: {event['reason']}", style="red")
            self._say("what is in work is finished; no other language is begun", style="red")
            return
        self.done[language] = event["done"]
        self.documents[language], self.text_bytes[language] = event["documents"], event["text_bytes"]
        if kind == "language":
            self.finished += 1
            self._say(f"{language}: {event['documents']:,} documents read, {event['kept']:,} kept")
        seconds = max(time.monotonic() - self.began, 1e-9)
        rate = f"{sum(self.text_bytes.values()) / 1e6 / seconds:.1f} MB/s"
        figures = f"{self.finished}/{self.languages} languages, {sum(self.documents.values()):,} documents, {rate}"
        self.bar.update(self.task, completed=sum(self.done.values()), figures=figures)

    def _say(self, text: str, style: str | None = None) -> None:
        self.bar.console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)
