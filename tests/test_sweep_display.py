"""What is shown of a sweep: lines where nobody watches, bars where somebody does, and no time that is made up."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from test_costs import RECIPE, item

from unibench.jobs import Planned
from unibench.store import Provenance, RunRecord
from unibench.sweep_display import Sweep, label, span


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def shown(items: Sequence[Planned], workers: int = 1, *, terminal: bool = False, **more: Any) -> tuple[Any, Any, Any]:
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, force_terminal=terminal, width=120, color_system=None)
    return Sweep(console, items, workers=workers, clock=clock, **more), clock, out


def records(done: Planned, seconds: float, **extra: Any) -> list[RunRecord]:
    counts = {part: {"tokens": 100} for part in ("train", "dev", "en", "ru")}
    made = Provenance(
        commit="", dirty=False, packages={}, device="cpu", started="", seconds=seconds, card_sha256="", data_sha256="",
        model_sha256="", extra={"counts": counts, **extra},
    )  # fmt: skip
    return [RunRecord(job=done.job, language=code, status="ok", provenance=made) for code in done.languages]


def test_without_a_terminal_every_job_is_a_line_and_the_time_left_comes_after_the_first() -> None:
    items = [item(seed=seed) for seed in range(3)]
    sweep, clock, out = shown(items)
    with sweep.shown() as phase:
        phase(items[0], "train", 1, 9)
        assert out.getvalue() == ""
        for number, seconds in enumerate((100.0, 200.0)):
            clock.now += seconds
            sweep.done(items[number], records(items[number], seconds))
        clock.now += 150
        sweep.done(items[2], records(items[2], 150.0))
    assert out.getvalue().splitlines() == [
        "1/3 t m seed 0 (en): 2 languages in 2 min; 2 min elapsed, about 3 min left",
        "2/3 t m seed 1 (en): 2 languages in 3 min; 5 min elapsed, about 2 min left",
        "3/3 t m seed 2 (en): 2 languages in 2 min; 8 min elapsed",
    ]


def test_what_was_measured_before_gives_a_time_from_the_start() -> None:
    from unibench.costs import Timed

    known = [Timed(item=item(), seconds=600.0, train_tokens=100, dev_tokens=100, eval_tokens=100)]
    sweep, _, out = shown([item(seed=1), item(seed=2)], workers=2, terminal=True, known=known)
    with sweep.shown():
        pass
    assert "about 10 min left" in out.getvalue()
    sweep, _, out = shown([item(seed=1), item(seed=2)], workers=2, terminal=True)
    with sweep.shown():
        pass
    assert "left" not in out.getvalue()


def test_a_terminal_has_a_line_for_each_job_in_work() -> None:
    items = [item(model=f"m{number}") for number in range(3)]
    sweep, clock, out = shown(items, workers=1, terminal=True)
    with sweep.shown() as phase:
        phase(items[0], "train 0.001 fp32", 3, 40)
        phase(items[1], "predict ru", 5, 6)
        assert descriptions(sweep) == ["jobs", "  t m0 seed 0", "  t m1 seed 0"]
        sweep.bar.refresh()
        for words in ("train 0.001 fp32", "3/40", "predict ru", "5/6", "0/3"):
            assert words in out.getvalue()
        phase(items[1], "", 0, 0)  # its process died; it waits once more
        assert descriptions(sweep) == ["jobs", "  t m0 seed 0"]
        phase(items[1], "", 0, 0)
        clock.now += 600
        sweep.done(items[0], records(items[0], 600.0))
        assert descriptions(sweep) == ["jobs"]
        assert sweep.bar.tasks[0].fields["note"] == "about 20 min left"
        clock.now += 150
        phase(items[2], "train", 1, 2)
        clock.now += 150
        phase(items[2], "train", 2, 2)
        assert sweep.bar.tasks[0].fields["note"] == "about 18 min left", "m2 began when first told of"


def descriptions(sweep: Sweep) -> list[str]:
    return [task.description for task in sweep.bar.tasks]


def test_the_end_counts_records_and_warnings_and_says_where_they_are() -> None:
    items = [item(seed=0), item(seed=1), item(seed=2, languages=(), missing={"zh": "no eval for zh"})]
    sweep, clock, out = shown(items)
    with sweep.shown():
        clock.now += 5
        sweep.done(items[0], records(items[0], 5.0, warning="accuracy 33.3 is not above chance"))
        failed = [
            RunRecord(job=items[1].job, language=c, status="failed", reason="Boom: [b]x[/b]") for c in ("en", "ru")
        ]
        sweep.done(items[1], failed)
        sweep.done(
            items[2], [RunRecord(job=items[2].job, language="zh", status="unavailable", reason="no eval for zh")]
        )
        sweep.close(Path("results"))
    lines = out.getvalue().splitlines()
    assert lines[0] == "warning: t m seed 0 en: accuracy 33.3 is not above chance (likewise ru)"
    assert lines[2] == "failed: t m seed 1: Boom: [b]x[/b]", "once, and as it is"
    assert lines[
        -1
    ] == "2 records failed, 2 records ok, 1 records unavailable; 2 warnings, kept in the records; in " + (
        f"{Path('results/runs')} after 5 s"
    )
    assert sweep.records["failed"] == 2
    assert lines[-2].startswith("2/2 t m seed 1 (en): 2 languages; 5 s elapsed"), "what failed took no known time"


def test_a_monolingual_job_is_told_by_its_language() -> None:
    job = replace(item().job, protocol="monolingual", train_languages=("sw",), recipe=RECIPE)
    assert label(job) == "t m sw seed 0"
    assert label(item().job) == "t m seed 0"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (59.9, "60 s"), (60, "1 min"), (3569, "59 min"), (3571, "1 h 00 min"),
     (11100, "3 h 05 min")],
)  # fmt: skip
def test_lengths_of_time(seconds: float, words: str) -> None:
    assert span(seconds) == words
