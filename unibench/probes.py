"""`unibench probe`: evidence of what pretrained encoders do with language, on frozen vectors. Parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from unibench.options import Data, Results, banner, console, deliver, known_format, names

MOST_LANGUAGES = 24  # of --languages auto, and 200 sentences: a small encoder is read in a minute on two cores


def probe(
    model: Annotated[list[str], typer.Argument(help="Names, folders and Hub ids; all for every one trained here.")],
    languages: Annotated[
        str,
        typer.Option(
            help=f"auto ({MOST_LANGUAGES} at most that every model was trained in), all, or codes joined by commas."
        ),
    ] = "auto",
    sentences: Annotated[int, typer.Option(min=4, help="Aligned sentences; half of them are tested.")] = 200,
    layer: Annotated[
        int | None, typer.Option(min=0, help="Read vectors after this layer; else the adversary's own, or the last.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides the halves and the masks.")] = 0,
    data: Data = None,
    results: Results = Path("results"),
    format: Annotated[str, typer.Option(help="terminal, markdown, csv or json.")] = "terminal",
    out: Annotated[Path | None, typer.Option(help="File to write; the terminal if left out.")] = None,
    plot: Annotated[Path | None, typer.Option(help="PNG, SVG or PDF file to draw the figure to.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Compute threads on a CPU; all cores.")] = None,
) -> None:
    """Probe frozen encoders: is the language readable, are translations near, beside an untrained encoder.

    The same command again reads what is stored.
    """
    from unibench import models, parallel, sources

    known_format(format, "unibench probe")
    if plot is not None:
        from unibench import probe_plot

        probe_plot.check(plot)
    # The document alone goes to standard output, so that it can be piped
    say = console if format == "terminal" or out is not None else Console(stderr=True)
    asked = [name for words in model for name in ([words] if words == "all" else names(words))]
    encoders = models.pick("all" if "all" in asked else asked, results)
    if "all" in asked:
        encoders = [encoder for encoder in encoders if encoder.kind == "trained"]
    origin = sources.origin(data, [parallel.FLORES.hub])
    if origin.kind == "sample" and say is console:
        banner("examples", asked=data == "sample")
    elif origin.kind == "sample":
        say.print("sentences of the generated sample: not for ranking encoders", style="yellow")
    spoken = [encoder.about["languages"] for encoder in encoders if "languages" in encoder.about]
    chosen = parallel.choose(
        languages if languages in ("all", "auto") else names(languages),
        parallel.languages_in(origin),
        spoken,
        MOST_LANGUAGES,
    )
    from unibench import engines, probe_tables, probing
    from unibert import machine

    engines.silence()
    machine.set_threads(threads)
    subjects, notes = probing.line_up(encoders, results, layer)
    aligned = parallel.load(chosen, origin, sentences=sentences)
    say.print(
        f"{len(chosen)} languages (--languages): {' '.join(chosen)}; {len(aligned.ids)} sentences (--sentences) of "
        f"{aligned.name}, half of them tested",
        highlight=False,
        markup=False,
    )
    for note in notes:
        say.print(note, style="yellow", highlight=False, markup=False)
    on = machine.device(device)

    def notify(text: str) -> None:
        say.print(text, highlight=False, markup=False, soft_wrap=True)

    records = [probing.record(s, aligned, results, seed=seed, device=on, notify=notify) for s in subjects]
    tables = probe_tables.tables(records)
    if plot is not None:
        probe_plot.draw(records, plot)
        notify(f"drew {plot}")
    deliver(tables, format, out, say)
