"""Evidence about recipes -> two tables: every pretraining run with how far luck drives them apart, and the claims."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from unibench.evidence import Evidence
from unibench.numerals import figure_text
from unibench.recipe_evidence import FEWEST, Recipe, Spread
from unibench.stats import recipes
from unibench.tables import Column, Table, Value, entry

TASK, MODEL, WITHHELD = Column(name="task"), Column(name="model"), Column(name="withheld")
DIFFERENCE = Column(name="Δ", kind="difference")
P, P_FLOOR = Column(name="p", kind="p"), Column(name="smallest p", kind="p")
CORRECTED = {"gatekeeping": "gatekeeping", "holm": "Holm", "bh": "Benjamini & Hochberg"}
UNTOLD = "no model's records say how it was pretrained"


def runs(found: Evidence, title: str) -> Table | str:
    """Returns every recipe's runs, below what luck alone does to them; or why there is no table."""
    if not found.recipes:
        return UNTOLD
    tasks = [task for task in dict.fromkeys(t for of in found.recipes for t in of.spread) if task is not None]
    shown = (None, *tasks) if len(tasks) > 1 else (None,)
    columns = (
        Column(name="recipe"),
        Column(name="run"),
        MODEL,
        *(Column(name=task or "mean", kind="score") for task in shown),
        Column(name="cells"),
    )
    rows = [row for of in found.recipes for row in _rows(of, shown)]
    copies = [f"{copy} of {run.model}" for of in found.recipes for run in of.runs for copy in run.copies]
    notes = [
        *_luck(found),
        *([f"Copies, of one recipe and pretraining seed, are no runs: {', '.join(copies)}."] if copies else []),
        *([f"Of no recipe, for their records don't say how they were pretrained: {', '.join(found.unknown)}."]
          if found.unknown else []),
        found.signed("t:runs", "mean score over the cells of all runs"),
    ]  # fmt: skip
    return made(title, columns, rows, notes)


def _rows(of: Recipe, tasks: Sequence[str | None]) -> list[tuple[Value, ...]]:
    cells = f"{of.cells}/{of.cells_wanted}"
    rows: list[tuple[Value, ...]] = []
    if len(of.runs) > 1:
        spread = [of.spread.get(task, Spread(mean=math.nan)) for task in tasks]
        rows = [
            (of.name, "mean", None, *(at.mean for at in spread), cells),
            (of.name, "highest - lowest", None, *(at.high - at.low for at in spread), None),
            (of.name, "sd", None, *(at.sd for at in spread), None),
        ]
        if len(of.runs) >= FEWEST:
            rows.append((of.name, "luck", None, *(at.luck for at in spread), None))
    for run in of.runs:
        seed = "seed unknown" if run.seed is None else f"seed {run.seed}"
        alone = cells if len(of.runs) == 1 else None
        rows.append((of.name, seed, run.model, *(run.scores.get(task) for task in tasks), alone))
    return rows


def _luck(found: Evidence) -> list[str]:
    """Returns what luck alone does to the baseline's recipe, or to another that has several runs."""
    spread = [(of, of.spread[None]) for of in found.recipes if not math.isnan(of.spread[None].luck)]
    if not spread:
        return [f"No recipe has {FEWEST} runs: what luck alone does to a pretraining is unknown."]
    of, at = spread[0]
    low, high = (figure_text(value, "score") for value in (at.low, at.high))
    notes = [
        f"What luck alone does: the runs of one recipe, {of.name}, score {low} to {high} on average (sd "
        f"{100 * at.sd:.2f} points). Two single runs differ by more than {100 * at.luck:.2f} points once in 20 times "
        f"(luck: Student's t from {len(of.runs)} runs, these examples), so a smaller Δ between single runs is no sign "
        "of a better recipe, however small its p."
    ]
    if found.siblings is not None:
        told = found.siblings
        notes.append(
            "A test of trained models rightly tells such runs apart, though their recipe is one: uncorrected, at "
            f"{found.alpha:.0%}, {told.models_differ} of {told.models} overall means and {told.cells_differ} of "
            f"{told.cells} cells differ from {found.baseline}'s."
        )
    return notes


def claims(found: Evidence, title: str) -> Table | str:
    """Returns each other recipe against the baseline's, overall and task by task; or why there is no table."""
    if not found.recipes:
        return UNTOLD
    if not found.recipe_tests:
        own = any(of.of_baseline for of in found.recipes)
        return "the baseline's is the only one" if own else "it is not known how the baseline was pretrained"
    columns = (
        Column(name="recipe"), TASK, DIFFERENCE, P, Column(name="p adjusted", kind="p"), P_FLOOR, Column(name="runs"),
        Column(name="cells"), WITHHELD,
    )  # fmt: skip
    rows: list[tuple[Value, ...]] = [
        (
            test.recipe, test.task or "overall", entry(test.claim.delta, test.claim.low, test.claim.high), test.claim.p,
            test.p_adjusted, test.claim.smallest_p, " against ".join(map(str, test.claim.runs)),
            f"{test.cells}/{test.cells_wanted}", test.claim.withheld or None,
        )
        for test in found.recipe_tests
    ]  # fmt: skip
    tested = [test.claim for test in found.recipe_tests if not test.claim.withheld]
    notes = [
        f"Against {found.recipe_tests[0].against}, the baseline's recipe, over cells that all runs of both have; from "
        f"{recipes.FEWEST} pretraining runs a side on, and below that every run is shown instead."
    ]
    if tested:
        notes += [
            f"p: {tested[0].test}; adjusted by {CORRECTED[found.correction]} over the {len(tested)} made. Interval: "
            "Welch's t, with what runs share of the examples. Where p adjusted is at most "
            f"{found.alpha:g}, this way of training, as it was asked for here, would do better (or worse) in new runs "
            "on new examples too; of other sizes, data and budgets nothing is said.",
            found.signed("perm:runs,studentised", "delta of recipes' mean scores",
                         max(claim.arrangements for claim in tested), "recipe", found.correction),
        ]  # fmt: skip
    if any(test.one_teacher for test in found.recipe_tests):
        notes.append(
            "Runs of one side learned from one and the same teacher: what is claimed holds given this teacher, whose "
            "own luck is in no p and no interval."
        )
    return made(title, columns, rows, notes)


def made(title: str, columns: Sequence[Column], rows: Sequence[tuple[Value, ...]], notes: Iterable[str]) -> Table:
    """Returns the table without columns that apply to no row."""
    kept = [i for i in range(len(columns)) if any(row[i] is not None for row in rows)]
    return Table(
        title=title,
        columns=tuple(columns[i] for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in rows),
        footnotes=tuple(notes),
    )
