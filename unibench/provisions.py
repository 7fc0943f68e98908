"""`unibench data`: carry data sets to machines that cannot reach the Hub. Parse, call, print."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from unibench.options import TasksDir, console, names, some

data_app = typer.Typer(
    rich_markup_mode="rich",
    no_args_is_help=True,
    help="Fetch the tasks' data sets into a folder for --data, and check such a folder.",
)
PARTS = ("train", "dev", "eval")


@data_app.command(epilog="Example: unibench data fetch --tasks xquad,wikiann --languages en,de,sw --to mirror/")
def fetch(
    to: Annotated[Path, typer.Option(help="The folder to write, which --data of other commands then takes.")],
    tasks: Annotated[str, typer.Option(help="all, or names joined by commas.")] = "all",
    languages: Annotated[str, typer.Option(help="Those to be scored: all, or codes joined by commas.")] = "all",
    parts: Annotated[str, typer.Option(help="Of train, dev and eval, joined by commas.")] = ",".join(PARTS),
    protocol: Annotated[
        str | None, typer.Option(help="zero-shot, monolingual or multilingual: what will be trained in.")
    ] = None,
    train_languages: Annotated[
        str | None, typer.Option(help="Languages zero-shot will train in; by default each card's own, mostly en.")
    ] = None,
    tasks_dir: TasksDir = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be fetched, and stop.")] = False,
) -> None:
    """Fetch what the tasks need from the Hub, checked by hash. The same command again does only what is missing."""
    from rich.filesize import decimal

    from unibench import cards, sweep
    from unibench import fetch as fetching
    from unibench.errors import UnknownName, UserError
    from unibench.picking import pick_tasks
    from unibench.sources import hub_reachable

    asked = some(parts, "--parts")
    wanted: Any = [part for part in PARTS if part in asked]
    for part in asked:
        if part not in PARTS:
            raise UnknownName("part", part, PARTS, "unibench data fetch")
    if protocol is not None and protocol not in sweep.PROTOCOLS:
        raise UnknownName("protocol", protocol, sweep.PROTOCOLS, "unibench")
    picked = pick_tasks(names(tasks), tasks_dir)
    spoken = cards.pick_languages(names(languages), picked)
    if not hub_reachable():
        raise UserError("the Hub does not answer; run this where it can be reached, and carry the folder over")
    found = fetching.plan(
        picked,
        to,
        parts=wanted,
        languages=spoken,
        protocol=protocol,
        train_languages=some(train_languages, "--train-languages") if train_languages is not None else (),
        named=tasks != "all",
    )
    for line in found.missing:
        console.print(f"not to be had: {line}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    for line in found.described():
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if dry_run or not found.files:
        return
    with _bar() as begin:
        done = fetching.fetch(found, to, begin)
    words = ["unibench", "run", "--tasks", tasks, "--data", str(to)]
    words += ["--tasks-dir", str(tasks_dir)] if tasks_dir is not None else []
    console.print(
        f"files fetched: {done.files} ({decimal(done.size)}), there already: {done.kept}; "
        f"next: {shlex.join(words)}",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip


@data_app.command(epilog="Example: unibench data verify mirror/")
def verify(folder: Annotated[Path, typer.Argument(help="A folder that `data fetch` wrote.")]) -> None:
    """Read every file of such a folder again and name those that are missing or damaged. Exit code 2 if there are."""
    from rich.filesize import decimal

    from unibench import mirror

    wrong = mirror.verify(folder)
    for line in wrong:
        console.print(line, style="red", highlight=False, markup=False, soft_wrap=True)
    held = mirror.read(folder).values()
    count, size = sum(len(of.files) for of in held), sum(size for of in held for size, _ in of.files.values())
    if wrong:
        console.print(
            f"{len(wrong)} of {count} files are not as they were fetched; the same unibench data fetch repairs them",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
        raise typer.Exit(2)
    console.print(f"{count} files, {decimal(size)}: all as they were fetched", highlight=False, markup=False)


@contextmanager
def _bar() -> Iterator[Callable[[int], Callable[[int], None]]]:
    """Shows bytes, their rate and the time left; yields what `fetch.fetch` calls to begin."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TextColumn("left:"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:

        def begin(size: int) -> Callable[[int], None]:
            task = bar.add_task("fetching", total=size)
            return lambda come: bar.advance(task, come)

        yield begin
