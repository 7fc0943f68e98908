"""What is printed of a pretraining and of a corpus build where nobody watches: what a log needs, and nothing torn."""

from __future__ import annotations

import io

from rich.console import Console

from unibench.display import Building, Training


def console(*, terminal: bool = False) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=terminal, width=200, color_system=None), out


STEP = {"event": "step", "step": 50, "mlm": 3.25, "tokens_per_s": 12345.6}


def test_a_training_without_a_terminal_tells_its_evaluations() -> None:
    on, out = console()
    with Training(on) as shown:
        shown({"event": "note", "text": "a note with [brackets]"})
        shown({"event": "start", "steps": 1000, "step": 40, "languages": 4})
        shown(STEP)
        shown({"event": "evaluation", "step": 50, "heldout_mlm": 2.5, "effective_rank": 17.04})
    assert out.getvalue().splitlines() == [
        "a note with [brackets]",
        "training 1,000 steps, resuming at step 40",
        "step 50: held-out mlm 2.500, effective rank 17.0",
    ]


def test_a_discriminator_stands_beside_its_chance() -> None:
    on, out = console(terminal=True)
    with Training(on) as shown:
        shown({"event": "start", "steps": 100, "step": 0, "languages": 4})
        shown({**STEP, "disc_accuracy": 0.4})
        shown.bar.refresh()
    assert "mlm 3.250 D 40% (chance 25%) | 12,346 tokens/s" in out.getvalue()


def test_a_build_tells_each_language_and_what_failed() -> None:
    on, out = console()
    with Building(on) as shown:
        shown({"event": "start", "languages": 2, "weight": 2.0})
        shown({"event": "progress", "language": "en", "done": 0.5, "documents": 10, "text_bytes": 1000, "kept": 8})
        shown({"event": "language", "language": "en", "done": 1.0, "documents": 1200, "text_bytes": 9000, "kept": 800})
        shown({"event": "failed", "language": "de", "reason": "no such file"})
    assert out.getvalue().splitlines() == [
        "en: 1,200 documents read, 800 kept",
        "de failed: no such file",
        "what is in work is finished; no other language is begun",
    ]
