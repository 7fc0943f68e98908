"""Figures made up by hand: comparisons with names that would break a careless page, and one figure of each kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from unibench import plots
from unibench.compare import Comparison, Comparisons
from unibench.plots.style import THEMES
from unibench.stats.friedman import friedman

NAN = float("nan")
NASTY = ["a$x_^{2}$<b>&\"q'", "मॉडल/हिन्दी", "e\x00\n\x1bvil]]>", "$\\frac{", "x" * 200, "-- -->"]


def row(
    model: str, task: str | None, language: str | None, value: float = NAN, p: float = 0.5, **more: Any
) -> Comparison:
    effect = {"delta": value / 2, "ci_low": value / 2 - 0.01, "ci_high": value / 2 + 0.01, "p_adjusted": p,
              "relative_improvement": value, "ri_low": value - 0.02, "ri_high": value + 0.03}  # fmt: skip
    return Comparison(
        model=model, baseline=more.pop("baseline", "base"), task=task, language=language, metric="accuracy", score=0.5,
        score_low=0.4, score_high=0.6, n=1234, **({} if model == "base" else effect | more),
    )  # fmt: skip


def found(rows: list[Comparison], ineligible: tuple[tuple[str, str], ...] = ()) -> Comparisons:
    return Comparisons(
        rows=tuple(rows), family=1, resamples=9, swaps=9, ineligible=dict.fromkeys(ineligible, (0.3, 0.3)), undefined=()
    )


def many(models: list[str], tasks: list[str], languages: list[str], share: float = 1.0) -> Comparisons:
    rng = np.random.default_rng(0)
    cells = [(t, c) for t in tasks for c in [*languages, None] if c is None or rng.random() < share]
    return found(
        [row(m, t, c, float(rng.normal(0, 0.3)), rng.random() ** 3) for t, c in [*cells, (None, None)] for m in models]
    )


GAPS = [
    plots.Gap(model=m, task=t, source="en", rest=14, source_score=0.8, rest_score=0.6, zero_shot=0.62, oracle=o)
    for t in ("wikiann", "$\\frac{_task<" * 4)
    for m, o in ((NASTY[0], 0.65), (NASTY[4], NAN))
]
CROWD = [plots.Point(model="far away", score=0.9, parameters=300_000_000, examples_per_s=40.0)]
CROWD += [
    plots.Point(model=f"variant-{i}", score=0.5 + 0.012 * (i // 4), parameters=30_000_000 + 2_000_000 * (i % 4),
                examples_per_s=400.0 + 20 * (i % 4))
    for i in range(12)
]  # fmt: skip
READ = [plots.Reading(model=n, probe=0.3 + 0.1 * i, transfer=0.5 + 0.05 * i, probe_low=0.28 + 0.1 * i,
                      probe_high=0.33 + 0.1 * i, untrained=i == 0) for i, n in enumerate(NASTY)]  # fmt: skip
CODES = [a + b for a in "abcdefghijk" for b in "aeioutrnsl"][:107]
SCORES = np.random.default_rng(1).normal(0, 1, (14, 20)) + np.arange(20) / 3
FIGURES: dict[str, Callable[[Any], Any]] = {
    "heat": lambda theme: plots.heat_map(
        many(["base", "m"], [f"task_{i}" for i in range(10)], CODES, 0.6), model="m", theme=theme,
        groups={"Latin": CODES[:40], "Devanagari": CODES[41:42], "Ethiopic": CODES[42:43], "Han": CODES[50:70]},
    ),
    "heat_nasty": lambda theme: plots.heat_map(
        many(["base", NASTY[0]], NASTY, NASTY), model=NASTY[0], groups={NASTY[1]: NASTY[:2]}, theme=theme
    ),
    "forest": lambda theme: plots.forest(many(["base", *NASTY], ["xnli"], ["en"]), theme=theme),
    "forest_model": lambda theme: plots.forest(many(["base", "m"], NASTY, ["en", NASTY[4]]), model="m", theme=theme),
    "critical": lambda theme: plots.critical_difference(
        friedman(SCORES, [*NASTY, *(f"model-number-{i}" for i in range(14))]), theme=theme
    ),
    "pareto": lambda theme: plots.pareto(CROWD, theme=theme),
    "transfer": lambda theme: plots.transfer_gap(GAPS, theme=theme),
    "readable": lambda theme: plots.readability(READ, chance=0.025, theme=theme),
}  # fmt: skip


def colours_of(mode: Any) -> dict[str, Any]:
    return {name: getattr(THEMES[mode], name) for name in ("ink", "muted", "faint", "ground", "gain", "loss")}
