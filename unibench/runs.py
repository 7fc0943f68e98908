"""`unibench run`: fine-tune encoders on tasks and score them in every language. Parse, call, print."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unibench.options import Data, Results, TasksDir, banner, console, names, some

if TYPE_CHECKING:
    from unibench.jobs import Planned, Surroundings

EXAMPLES = """Example: unibench run --model all --tasks xnli_snli,wikiann --data mirror/ --train-limit 4000 --seeds 2

Example: unibench run --model mine --tasks xnli --adversarial --languages en,sw,ur --predictions

Example: unibench run --tasks all --shard 2/8 --results shared/results   (the second of eight machines)"""


def run(
    model: Annotated[str, typer.Option(help="all, or names, folders and Hub ids joined by commas.")] = "all",
    tasks: Annotated[str, typer.Option(help="all, or names joined by commas.")] = "all",
    languages: Annotated[str, typer.Option(help="all, or codes joined by commas.")] = "all",
    protocol: Annotated[
        str | None, typer.Option(help="zero-shot, monolingual or multilingual; by default each card's own.")
    ] = None,
    adversarial: Annotated[
        bool,
        typer.Option(
            "--adversarial",
            help="Learn the task against a language discriminator, over the training languages and unlabelled text of "
            "the others in --languages.",
        ),
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Fine-tunings of each model on each task.")] = 3,
    train_languages: Annotated[
        str | None, typer.Option(help="Languages zero-shot fine-tunes in; by default each card's own, mostly en.")
    ] = None,
    data: Data = None,
    train_limit: Annotated[int | None, typer.Option(min=1, help="At most this many training examples.")] = None,
    eval_limit: Annotated[int | None, typer.Option(min=1, help="About this many test examples, in whole groups.")] = (
        None
    ),
    oracle: Annotated[
        bool, typer.Option(help="Also note what each language's own dev split would have chosen, where it has one.")
    ] = True,
    predictions: Annotated[
        bool, typer.Option("--predictions", help="Keep each example's prediction beside the records this run makes.")
    ] = False,
    results: Results = Path("results"),
    tasks_dir: TasksDir = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a core on a CPU, one on a GPU.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Compute threads of each process on a CPU.")] = 1,
    shard: Annotated[
        str | None, typer.Option(help="K/N: do the K-th of N shares; machines that share --results split the work.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    retry: Annotated[bool, typer.Option("--retry", help="Also try again what was unavailable.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run, and stop.")] = False,
) -> None:
    """Fine-tune and score encoders. The same command again does only what is missing."""
    from unibench import cards, jobs, listings, models, picking, stored, sweep
    from unibench import data as sources
    from unibench.errors import UnknownName

    if protocol is not None and protocol not in sweep.PROTOCOLS:
        raise UnknownName("protocol", protocol, sweep.PROTOCOLS, "unibench")
    for option, words in (("--tasks", tasks), ("--model", model), ("--languages", languages)):
        if words != "all":
            some(words, option)
    picked = picking.pick_tasks(names(tasks), tasks_dir)
    wanted = names(languages)
    cards.pick_languages(wanted, picked)
    encoders = models.pick(names(model), results)
    origin = sources.origin(data, [card.eval.hub for card in picked])
    if origin.kind == "sample":
        banner("examples", asked=data == "sample")
    planned = sweep.plan(
        encoders,
        picked,
        availability=lambda card, part, language: sources.availability(card, part, language, origin),
        languages=None if wanted == "all" else wanted,
        protocol=protocol,
        train_languages=some(train_languages, "--train-languages") if train_languages is not None else (),
        adversarial=adversarial,
        oracle=oracle,
        seeds=seeds,
        train_limit=train_limit,
        eval_limit=eval_limit,
        named_tasks=tasks != "all",
        origin="sample" if origin.kind == "sample" else "data",
    )
    if shard is not None:
        planned = sweep.shard(planned, shard)
    training = {"--protocol": protocol is not None, "--adversarial": adversarial}
    listings.show_ignored(planned, [option for option, given in training.items() if given], console)
    if dry_run:
        listings.show_plan(planned, console)
        return
    around = jobs.Surroundings(
        results=results, origin=origin, device="cpu", precision="fp32", threads=threads, predictions=predictions
    )
    left = sweep.outstanding(planned, around, retry=retry)
    todo = [item for item in left if item.languages]
    count = listings.counted([item for item in planned if item.languages])
    console.print(f"{count} planned, {len(todo)} to do", highlight=False)
    without = stored.without_predictions(planned, around) if predictions else 0
    if without:
        _say(
            f"records stored without predictions, which are kept as they are: {without} (move them away to have them "
            "made again)"
        )
    listings.show_without_text(todo, console)
    if left:
        failures = _sweep(planned, left, around, device=device, precision=precision, workers=workers)
        if failures:
            console.print(f"{failures} records failed; the same command tries them again", style="red")
            raise typer.Exit(1)
    # another machine's share may have what this one lacks
    nothing = tasks != "all" and shard is None and not stored.any_scores(planned, around)
    for reason in stored.unavailable(planned if nothing else left, around):
        _say(reason)
    if nothing:
        console.print("nothing asked for has a score; --retry tries it again", style="red", highlight=False)
        raise typer.Exit(1)
    console.print(
        f"next: unibench report --significance --results {results}", highlight=False, markup=False, soft_wrap=True
    )


def _say(text: str) -> None:
    console.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)


def _sweep(
    planned: Sequence[Planned],
    left: Sequence[Planned],
    around: Surroundings,
    *,
    device: str,
    precision: str,
    workers: int | None,
) -> int:
    """Runs what is left and returns how many records failed."""
    from dataclasses import replace

    from unibench import costs, engines, stored
    from unibench.sweep_display import Sweep, span
    from unibert import machine

    on = machine.device(device)
    around = replace(around, device=on, precision=machine.precision(precision, on))
    processes = workers or (1 if on.startswith("cuda") else len(os.sched_getaffinity(0)))
    known = stored.done_before(planned, around)
    expected = costs.estimates(left, known)
    if expected is not None and any(expected):
        time = span(costs.remaining(expected, [0.0] * len(expected), processes))
        console.print(f"about {time}, going by {len(known)} of them that are stored", highlight=False)
    engines.silence()
    display = Sweep(console, left, workers=processes, known=known)
    with display.shown() as progress:
        for item, records in engines.run(left, around, workers=processes, progress=progress):
            display.done(item, records)
    display.close(around.results)
    return display.records["failed"]
