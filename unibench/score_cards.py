"""`unibench card`: the scores of a model trained here, written into its card. Parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unibench.options import Results, TasksDir, console

EXAMPLES = """Example: unibench card unibert-xxsmall --results results

Example: unibench card unibert-xxsmall --check   (exit code 1 if its scores are not those stored)"""


def card(
    name: Annotated[str, typer.Argument(help="A model trained here, or a folder with a model and its README.md.")],
    results: Results = Path("results"),
    tasks_dir: TasksDir = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; say whether the card is up to date.")] = False,
) -> None:
    """Write a model's stored scores into its card, as the `model-index` that the Hugging Face Hub shows."""
    from unibench import atomic, models, scores_card, settings, store
    from unibench.cards import all_cards, card_folders
    from unibench.errors import StaleRecord, UserError

    encoder = models.find(name, results)
    if encoder.folder is None or encoder.kind == "scratch" or not (encoder.folder / "README.md").is_file():
        raise UserError(f"model {name!r} has no card here; expected a model trained here, or a folder with README.md")
    path = encoder.folder / "README.md"
    mine = [record for record in store.load(results, units=False) if record.job.model == encoder.name]
    ok = [record for record in mine if record.status == "ok"]
    used = {record.job.task for record in ok}
    tasks = {task.name: task for task in all_cards(card_folders(tasks_dir)) if task.name in used}
    today = models.sha256(encoder)
    stale = [
        record
        for record in ok
        if record.provenance is None
        or record.provenance.model_sha256 != today
        or (record.job.task in tasks and record.provenance.card_sha256 != tasks[record.job.task].sha256)
    ]
    if stale:
        raise StaleRecord(
            f"{len(stale)} of {len(ok)} records of {encoder.name!r} were made by other weights or another task card "
            f"than today's, the first {results / settings.file_of(stale[0])}; move them away and run again, or choose "
            "another --results folder"
        )
    before = path.read_bytes().decode("utf-8")  # not read_text, which changes line ends
    after = scores_card.with_scores(before, ok, tasks.values())
    sample = sum(record.job.origin == "sample" for record in ok)
    note = f", {sample} of them on the generated sample and labelled so" if sample else ""
    words = f"the scores of {len(ok)} records{note}"
    if check:
        console.print(
            f"{path} {'holds' if after == before else 'lacks'} {words}", highlight=False, markup=False, soft_wrap=True
        )
        raise typer.Exit(int(after != before))
    if after != before:
        atomic.write(path, after)
    console.print(
        f"{path} {'now holds' if after != before else 'already holds'} {words}",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
