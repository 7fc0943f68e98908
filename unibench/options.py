"""Options, words and the console that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from unibench.tables import Table

console = Console()
WHY = {
    "text": "no folder was named, by --corpus or $UNIBENCH_CORPUS",
    "examples": "no folder was named, by --data or $UNIBENCH_DATA, and the Hub does not answer",
}
Results = Annotated[Path, typer.Option("--results", help="Folder of models, records and reports.")]
Data = Annotated[str | None, typer.Option("--data", help="auto, hub, sample, or a folder laid out OWNER/NAME.")]
TasksDir = Annotated[Path | None, typer.Option("--tasks-dir", help="A folder of further task cards.")]


def names(words: str) -> Any:
    """Returns "all", or the comma-separated names."""
    return "all" if words == "all" else [word.strip() for word in words.split(",") if word.strip()]


def some(words: str, option: str) -> list[str]:
    """Returns the comma-separated names of an option that must name them; raises UserError for "all" or nothing."""
    from unibench.errors import UserError

    found = names(words)
    if found == "all" or not found:
        raise UserError(f"{option} is {words!r}; expected names joined by commas")
    return list(found)


def banner(what: str, *, asked: bool) -> None:
    """Says that the generated sample is in use, and, unless it was asked for, why and what to type for real data."""
    from rich.panel import Panel

    caution = "good to see that everything works, not to rank encoders; it never shares a table with real data"
    if asked:
        console.print(f"sample {what}, as asked: {caution}", style="yellow", highlight=False, markup=False)
        return
    text = (
        f"The generated sample's {what}: {WHY[what]}. It is {caution}. "
        "For real data: --data FOLDER or hub, --corpus FOLDER."
    )
    console.print(Panel(text, title="sample", style="yellow", expand=False))


def known_format(format: str, command: str, *more: str) -> str:
    """Returns a format that tables can be written in, "terminal" or one of `more`; raises UnknownName for another."""
    from unibench import render
    from unibench.errors import UnknownName

    known = ("terminal", *render.FORMATS, *more)
    if format not in known:
        raise UnknownName("format", format, known, command)
    return format


def deliver(tables: Iterable[Table], format: str, out: Path | None, say: Console) -> None:
    """Shows tables in the terminal, writes them as text to it, or to a file, which gets Markdown for "terminal"."""
    from unibench import render
    from unibert.manifest import write_text

    if format == "terminal" and out is None:
        render.show(tables, say)
        return
    text = render.render(tables, "markdown" if format == "terminal" else format)
    if out is None:
        sys.stdout.write(text)
        return
    write_text(out, text)
    say.print(f"wrote {out}", highlight=False, markup=False, soft_wrap=True)
