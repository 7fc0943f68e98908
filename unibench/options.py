"""Options, words and the console that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

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
