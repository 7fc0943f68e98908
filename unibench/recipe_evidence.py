"""A study -> claims about recipes, which take several pretraining runs, and how far luck alone drives those apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from unibench import facts as lineage
from unibench import resampling, stats
from unibench.comparisons import Comparison
from unibench.draws import Draws, Run
from unibench.facts import Facts
from unibench.metrics import Array
from unibench.pairing import NAN, CellKey, Study
from unibench.stats import gates, recipes
from unibench.stats.recipes import RecipeClaim

FEWEST = 3  # runs that say anything of how far the next two may lie apart
Scores = Mapping[CellKey, Mapping[Run, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One pretraining run, with its mean score overall (None) and in each task.

    `copies` are models of the same recipe and seed, which are no runs of their own.
    """

    model: str
    seed: int | None
    scores: Mapping[str | None, float]
    copies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How far luck alone drives runs of one recipe apart; nan but for the mean where there is one run.

    `luck` is the difference that two single runs exceed once in 20 times, by Student's t from this sd, from 3 runs on
    (two put it beyond any score): the luck of pretraining and fine-tuning, on these examples.
    """

    mean: float
    low: float = NAN
    high: float = NAN
    sd: float = NAN
    luck: float = NAN


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Every run of one recipe and their spread, overall (None) and in each task.

    Scores are means over the `cells` (of `cells_wanted`) that all runs have, and the seeds that each has in all of
    them.
    """

    name: str
    recipe: str
    of_baseline: bool
    runs: tuple[Trained, ...]
    spread: Mapping[str | None, Spread]
    cells: int
    cells_wanted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeTest:
    """A recipe against the baseline's, overall (`task` None) or in a task, over the cells that all runs of both have.

    `p_adjusted` is over all such tests that are not withheld. `one_teacher`: runs of a side learned from one teacher,
    whose own luck they share.
    """

    recipe: str
    against: str
    task: str | None
    claim: RecipeClaim
    p_adjusted: float
    cells: int
    cells_wanted: int
    one_teacher: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SiblingTests:
    """How often a test of trained models told the baseline from other runs of its own recipe, uncorrected, at alpha.

    Of `models` overall means and of `cells` cells, `models_differ` and `cells_differ` were.
    """

    recipe: str
    models: int
    models_differ: int
    cells: int
    cells_differ: int


def claims(
    study: Study,
    draws: Draws,
    scores: Scores,
    known: Mapping[str, Facts],
    *,
    alpha: float,
    signature: str,
    correction: str,
) -> tuple[tuple[Recipe, ...], tuple[RecipeTest, ...]]:
    """Returns every recipe among these models, the baseline's first, and that one's comparison with each other one.

    The first of copies in `known` stands for their run. With one task, its mean is the overall one, and tested once.
    """
    by_recipe = lineage.recipes(known)
    name = lineage.names(known, {recipe: len(runs) for recipe, runs in by_recipe.items()})
    own = known.get(study.baseline or "", Facts()).recipe
    order = sorted(by_recipe, key=lambda recipe: (recipe != own, name[recipe]))
    shown = tuple(_recipe(study, scores, known, by_recipe[r], name[r], of_baseline=r == own) for r in order)
    made: dict[gates.Hypothesis, RecipeTest] = {}
    for recipe in order if own else ():
        for task in (None, *(study.overall if len(study.overall) > 1 else ())):
            if recipe != own:
                sides = tuple(by_recipe[recipe]), tuple(by_recipe[own])
                claim, cells = _claim(study, draws, scores, sides, task, (signature, recipe, task or ""))
                made[name[recipe], task, None] = RecipeTest(
                    recipe=name[recipe], against=name[own], task=task, claim=claim, p_adjusted=NAN,
                    cells=cells, cells_wanted=len(study.scope(task)),
                    one_teacher=any(_one_teacher([known[model] for model in side]) for side in sides),
                )  # fmt: skip
    adjusted = gates.CORRECTIONS[correction]({key: test.claim.p for key, test in made.items()}, alpha)
    return shown, tuple(replace(test, p_adjusted=adjusted[key].p_adjusted) for key, test in made.items())


def siblings(
    rows: Iterable[Comparison], found: Sequence[Recipe], baseline: str | None, alpha: float
) -> SiblingTests | None:
    """Returns what the tests said of runs that differ by luck alone; None where the baseline's recipe has no others."""
    own = next((recipe for recipe in found if recipe.of_baseline), None)
    if own is None:
        return None
    others = {run.model for run in own.runs} - {baseline}
    tested = [row for row in rows if row.model in others and not np.isnan(row.p)]
    overall = [row.p <= alpha for row in tested if row.task is None]
    cells = [row.p <= alpha for row in tested if row.language is not None]
    if not tested:
        return None
    return SiblingTests(
        recipe=own.name, models=len(overall), models_differ=sum(overall), cells=len(cells), cells_differ=sum(cells)
    )


def _shared(
    study: Study, models: Sequence[str], task: str | None
) -> tuple[tuple[CellKey, ...], dict[str, tuple[int, ...]]]:
    """Returns the cells that all these models have, and the seeds that each of them has in all of those."""
    cells = tuple(key for key in study.scope(task) if all(m in study.cells[key].units for m in models))
    seeds = {
        m: tuple(sorted(set.intersection(*(set(study.cells[key].units[m]) for key in cells)))) if cells else ()
        for m in models
    }
    return cells, seeds


def _recipe(
    study: Study,
    scores: Scores,
    known: Mapping[str, Facts],
    runs: Mapping[str, tuple[str, ...]],
    name: str,
    *,
    of_baseline: bool,
) -> Recipe:
    cells, seeds = _shared(study, list(runs), None)
    tasks = (None, *dict.fromkeys(task for task, _ in cells))

    def mean(model: str, task: str | None) -> float:
        mine = [key for key in cells if task in (None, key[0])]
        if not seeds[model]:
            return NAN
        return stats.macro_mean({key: float(np.mean([scores[key][model, s] for s in seeds[model]])) for key in mine})

    trained = tuple(
        Trained(
            model=model, seed=known[model].pretraining_seed, scores={task: mean(model, task) for task in tasks},
            copies=copies[1:],
        )
        for model, copies in runs.items()
    )  # fmt: skip
    return Recipe(
        name=name, recipe=known[trained[0].model].recipe, of_baseline=of_baseline, runs=trained,
        spread={task: spread_of(np.array([run.scores[task] for run in trained])) for task in tasks},
        cells=len(cells), cells_wanted=len(study.scope(None)),
    )  # fmt: skip


def spread_of(values: Array) -> Spread:
    """Returns how far apart the scores of several runs are; only their mean where there is one, or one is nan."""
    n = len(values)
    if n < 2 or np.isnan(values).any():
        return Spread(mean=float(values.mean()))
    from scipy.stats import t  # slow to import

    sd = float(values.std(ddof=1))
    luck = float(t.ppf(0.975, n - 1)) * 2**0.5 * sd if n >= FEWEST else NAN
    return Spread(mean=float(values.mean()), low=float(values.min()), high=float(values.max()), sd=sd, luck=luck)


def _one_teacher(runs: Sequence[Facts]) -> bool:
    return len(runs) > 1 and len({of.teacher_sha256 for of in runs}) == 1 and bool(runs[0].teacher_sha256)


def _claim(
    study: Study,
    draws: Draws,
    scores: Scores,
    sides: tuple[tuple[str, ...], tuple[str, ...]],
    task: str | None,
    signature: tuple[str, ...],
) -> tuple[RecipeClaim, int]:
    """Returns the claim of one side of runs against the other, and over how many cells it goes."""
    models = [*sides[0], *sides[1]]
    cells, seeds = _shared(study, models, task)
    rng = resampling.generator("recipe", *signature)
    bare = [m for m in models if not seeds[m]]
    if bare:
        nothing = recipes.claim({}, ([1] * len(sides[0]), [1] * len(sides[1])), rng=rng)
        why = f"{', '.join(bare)}: no seed in all cells" if cells else "no cell in which all runs of both have a score"
        return replace(nothing, seeds=((), ()), withheld=why), 0
    wanted = [(m, s) for m in models for s in seeds[m]]
    found = recipes.claim(
        {key: np.array([scores[key][run] for run in wanted]) for key in cells},
        ([len(seeds[m]) for m in sides[0]], [len(seeds[m]) for m in sides[1]]),
        draws={key: draws.of_runs(key, wanted) for key in cells},
        rng=rng,
    )
    return found, len(cells)
