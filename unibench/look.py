"""Commands that only look: which tasks and models there are, and what an example of a task is like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unibench.options import Data, Results, TasksDir, banner, console

tasks_app = typer.Typer(rich_markup_mode="rich")


@tasks_app.callback(invoke_without_command=True, epilog="Example: unibench tasks --data mirror/")
def tasks(
    context: typer.Context,
    data: Annotated[
        str | None, typer.Option(help="Say what can be run from here: auto, hub, sample, or a folder.")
    ] = None,
    tasks_dir: TasksDir = None,
) -> None:
    """List the benchmark tasks, their languages, and with --data what can be run; `tasks show` prints examples."""
    if context.invoked_subcommand is not None:
        return
    from unibench import cards, listings

    listings.show_tasks(cards.all_cards(cards.card_folders(tasks_dir)), data, console)


@tasks_app.command(epilog="Example: unibench tasks show wikiann --language sw --count 3")
def show(
    task: Annotated[str, typer.Argument(help="A task's name.")],
    language: Annotated[str, typer.Option(help="One of its languages.")],
    part: Annotated[str, typer.Option(help="train, dev or eval.")] = "eval",
    count: Annotated[int, typer.Option(min=1, help="How many examples.")] = 5,
    data: Data = None,
    tasks_dir: TasksDir = None,
) -> None:
    """Print examples of a task in a language, as a model will be asked them."""
    from unibench import cards, listings
    from unibench import data as sources
    from unibench.errors import UnknownName

    if part not in ("train", "dev", "eval"):
        raise UnknownName("part", part, ("train", "dev", "eval"), "a task")
    folders = cards.card_folders(tasks_dir)
    if task == "all":
        raise UnknownName("task", task, [card.name for card in cards.all_cards(folders)], "tasks show, which takes one")
    [card] = cards.pick([task], folders)
    cards.pick_languages([language], [card])
    origin = sources.origin(data, [card.eval.hub])
    if origin.kind == "sample":
        banner("examples", asked=data == "sample")
    loaded = sources.load(card, part, [language], origin)  # type: ignore[arg-type]
    listings.show_examples(card, loaded, count, console)


def models(results: Results = Path("results")) -> None:
    """List the encoders: trained here, the untrained floor, and known baselines, with what each needs."""
    from unibench import listings

    listings.show_models(results, console)
