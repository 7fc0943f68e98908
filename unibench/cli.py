"""The command line. Parse, call, print; no logic. Heavy imports wait inside the commands that need them."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from unibench import corpora, look, probes, provisions, reports, runs, score_cards
from unibench.options import Results, banner, console, names

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Train compact multilingual encoders, benchmark them beside baselines, and report how sure the gains are.",
)
VOCABULARY, SAMPLE_VOCABULARY = 32_000, 16_000


@app.command(
    epilog="Example: unibench train --size xxsmall --corpus text/ --languages en,de,sw --budget 5m --name first"
)
def train(
    size: Annotated[str, typer.Option(help="base, small, xsmall or xxsmall.")] = "small",
    corpus: Annotated[
        str,
        typer.Option(help="auto, sample, wikipedia (once built), or a folder: a built corpus, or LANG.txt[.zst|.gz]."),
    ] = "auto",
    languages: Annotated[str, typer.Option(help="all, or codes joined by commas.")] = "all",
    objectives: Annotated[str, typer.Option(help="mlm, with adversary and distill as wanted.")] = (
        "mlm,adversary,distill"
    ),
    teacher: Annotated[str, typer.Option(help="auto, none, the name of a model trained here, or a folder.")] = "auto",
    tokenizer: Annotated[str, typer.Option(help="auto (one per corpus), a model trained here, or a folder.")] = "auto",
    vocab_size: Annotated[
        int | None,
        typer.Option(help="Pieces of a vocabulary trained by --tokenizer auto; 16000 on the sample, else 32000."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps; excludes --budget.")] = None,
    budget: Annotated[
        str | None, typer.Option(help="Wall-clock time such as 90s, 10m, 2h; becomes steps. Without --steps: 10m.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides weights, data order, masks.")] = 0,
    name: Annotated[str | None, typer.Option(help="Name of the export; made from size and objectives.")] = None,
    results: Results = Path("results"),
    config: Annotated[Path | None, typer.Option(help="TOML file of further training settings.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="Compute threads on a CPU; all cores.")] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write the curve for TensorBoard too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained, and stop.")] = False,
) -> None:
    """Pretrain a compact encoder. The same command again resumes, or says that it is done.

    Several GPUs: torchrun --nproc-per-node 4 --no-python unibench train …
    """
    from unibert import machine, request

    on = machine.device(device)
    text = _corpus(corpus, languages)
    sampled = not isinstance(text, str)
    asked = request.build(
        size=size,
        corpus=text,
        languages=languages,
        objectives=objectives,
        results=results,
        device=on,
        precision=machine.precision(precision, on),
        teacher=teacher,
        tokenizer=tokenizer,
        vocab_size=vocab_size if vocab_size is not None else SAMPLE_VOCABULARY if sampled else VOCABULARY,
        steps=steps,
        budget=budget,
        seed=seed,
        name=name,
        config_file=config,
        tensorboard=tensorboard,
    )
    if steps is None and budget is None:
        console.print(f"no --steps or --budget: training for {request.DEFAULT_BUDGET}, a first look", style="yellow")
    for what, value in request.describe(asked):
        console.print(f"[bold]{what:>11}[/]  ", end="")
        console.print(value, markup=False, highlight=False)
    if dry_run:
        return
    from unibench.display import Training
    from unibench.engines import silence
    from unibert.pretrain import pretrain

    silence()
    machine.set_threads(threads)
    console.quiet = os.environ.get("RANK", "0") != "0"  # of several processes the first one speaks
    with Training(console) as display:
        out = pretrain(asked, device=on, notify=display)
    console.print(f"exported to {out}", highlight=False, markup=False)
    card = (out / "README.md").read_text(encoding="utf-8")
    console.print(card.split("\n# ", 1)[1].split("\n## ", 1)[0], markup=False, highlight=False)


app.add_typer(look.tasks_app, name="tasks")
app.add_typer(corpora.corpus_app, name="corpus")
app.add_typer(provisions.data_app, name="data")
app.command(epilog="Example: unibench models --results results")(look.models)
app.command(epilog=runs.EXAMPLES)(runs.run)
app.command(epilog=reports.EXAMPLES)(reports.report)
app.command(epilog=score_cards.EXAMPLES)(score_cards.card)
app.command(epilog="Example: unibench probe unibert-xxsmall --data mirror/ --plot probe.png")(probes.probe)


@app.command(epilog="Example: unibench demo --results demo")
def demo(results: Results = Path("demo")) -> None:
    """Show the whole thing work, offline, in minutes: train, run and report on the generated sample."""
    import time

    from unibench import demo as demos
    from unibert.manifest import write_text

    began = time.monotonic()
    write_text(results / "settings.toml", demos.SETTINGS)
    for number, step in enumerate(steps := demos.steps(results), start=1):
        console.rule(f"[bold]{number}/{len(steps)}[/] {step.why}", align="left")
        console.print(
            f"$ unibench {shlex.join(step.words)}", style="cyan", highlight=False, markup=False, soft_wrap=True
        )
        code = app(step.words, standalone_mode=False)
        if code:
            raise typer.Exit(code)
    console.rule(f"done in {(time.monotonic() - began) / 60:.1f} minutes", align="left")
    console.print(demos.NEXT.format(results=results), highlight=False, markup=False)


@app.command(epilog="Example: unibench doctor --results results")
def doctor(results: Results = Path("results")) -> None:
    """Say what this machine offers, and the remedy for what is missing. Exit code 1 if something will fail."""
    from unibench import doctor as doctors
    from unibench import listings
    from unibert import machine

    on = machine.device("auto")
    found = doctors.examine(results, device=on, precision=machine.precision("auto", on))
    listings.show_findings(found, console)
    if any(finding.status == "problem" for finding in found):
        raise typer.Exit(1)


def main() -> None:
    """Runs the command line; what a user can mend ends in one line on stderr and exit code 2."""
    from unibench.errors import UniBenchError
    from unibert import environment
    from unibert.errors import UserError as TrainingError

    environment.prepare()
    try:
        app()
    except (UniBenchError, TrainingError) as error:
        _complain(str(error))
        sys.exit(2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            raise
        _complain(f"{error.strerror}: {error.filename or 'while writing'}; free or choose another --results folder")
        sys.exit(2)
    except SystemExit as stopped:
        if stopped.code == 130:  # Ctrl-C, of which typer says nothing
            _complain("stopped; the same command goes on from what is stored")
        raise


def _complain(message: str) -> None:
    Console(stderr=True, soft_wrap=True).print(f"error: {message}", style="red", markup=False, highlight=False)


def _corpus(spec: str, languages: str) -> Any:
    """Returns the sample's Corpus for "sample", and for "auto" where $UNIBENCH_CORPUS is not set; else the folder."""
    folder = os.environ.get("UNIBENCH_CORPUS")
    if spec == "auto" and folder:
        return folder
    if spec not in ("auto", "sample"):
        return spec
    from unibench.sample import text
    from unibert.corpus import Corpus
    from unibert.languages import LANGUAGES

    chosen = text.pick(names(languages), LANGUAGES)
    banner("text", asked=spec == "sample")
    silent = [code for code in LANGUAGES if code not in chosen]
    if languages == "all" and silent:
        console.print(f"no text in {len(silent)} of {len(LANGUAGES)} languages: {' '.join(silent)}", highlight=False)
    return Corpus(
        name="sample", languages=chosen, identity=text.identity(chosen), read=lambda code: iter(text.lines(code))
    )


if __name__ == "__main__":
    main()
