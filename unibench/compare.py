"""Cells -> comparisons: every model against one baseline, per language, per task and overall, with their uncertainty.

Legend: `N` examples, `K` units an example, `S` seeds, `R` resamples. Arrays only; records are report.py's business.

What p claims: these trained models, on new examples. Training is held fixed, so "this way of training is better" is a
claim none of these numbers makes; evidence.py has those.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypedDict, TypeVar

import numpy as np

from unibench import metrics, pairing, resampling, stats
from unibench.comparisons import TEST as TEST
from unibench.comparisons import Comparison as Comparison
from unibench.comparisons import Comparisons as Comparisons
from unibench.declared import Family
from unibench.draws import KEPT, Draws, Source
from unibench.judging import judge
from unibench.metrics import Array
from unibench.nulls import Test
from unibench.pairing import NAN, Cell, CellKey, Study
from unibench.signatures import seed_of
from unibench.stats import equivalence, exact

Key = TypeVar("Key", bound=Hashable)


class Equal(TypedDict):
    """The two fields of a Comparison that say whether it is within a margin."""

    equivalence_p: float
    verdict: str


FLAT = Family(
    name="flat",
    written="2026-11-26",
    question="Which of these comparisons show a difference, all of them corrected alike?",
    correction="holm",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Comparisons with the study they are of and its draws, for whoever asks more of them."""

    comparisons: Comparisons
    study: Study
    draws: Draws


def compare(
    cells: Iterable[Cell],
    *,
    baseline: str | None,
    signature: str = "",
    resamples: int = 10_000,
    family: Family = FLAT,
) -> Comparisons:
    """Returns every model's comparison with `baseline` per cell, per task and overall, p adjusted over `family`."""
    return compared(cells, baseline=baseline, signature=signature, resamples=resamples, family=family).comparisons


def compared(
    cells: Iterable[Cell],
    *,
    baseline: str | None,
    signature: str = "",
    resamples: int = 10_000,
    family: Family = FLAT,
) -> Compared:
    """Returns what `compare` does, with the study and its draws.

    Corrected flat, two tests that average the very same cells are one. Tests use `resamples`, raised with the family,
    and more where the luck of the draw would decide which side of alpha an adjusted p lies on. `signature` enters every
    Generator's seed, beside the groups of examples (and the language, where languages aren't parallel); no model does,
    so all models meet the same resamples and adding one moves no other's numbers. A cell where the baseline's score is
    undefined enters no mean; a model's own undefined score makes its means nan.
    """
    return _compared({"": (cells, baseline)}, signature, resamples, family)[""]


def compare_all(
    asked: Mapping[Key, tuple[Iterable[Cell], str | None]], *, signature: str = "", resamples: int = 10_000
) -> dict[Key, Comparisons]:
    """Returns what `compare` says of each of these (cells, baseline), with the p of all of them adjusted by Holm as one
    family, whose size each `Comparisons.family` gives."""
    return {key: found.comparisons for key, found in _compared(asked, signature, resamples, FLAT).items()}


def _compared(
    asked: Mapping[Key, tuple[Iterable[Cell], str | None]], signature: str, resamples: int, family: Family
) -> dict[Key, Compared]:
    rows: dict[Key, list[tuple[Comparison, Test]]] = {}
    sources: dict[Key, Source] = {}
    held: dict[Key, Draws] = {}
    ineligible: dict[Key, dict[CellKey, tuple[float, float]]] = {}
    for key, (cells, baseline) in asked.items():
        study = pairing.plan(cells, baseline)
        sources[key], held[key], ineligible[key], rows[key] = Source(study, signature), Draws(), {}, []
        for cell in study.cells:
            made = _cell_rows(sources[key], cell, held[key], ineligible[key], resamples, family)
            rows[key] += [(row, (row.model, (cell,))) for row in made]
        for model, task in _scopes(study):
            row = _mean_row(sources[key], model, task, held[key], ineligible[key], family)
            rows[key].append((row, (model, study.entering(model, task))))
    judged, size, swaps = judge(rows, sources, resamples, family)
    return {
        key: Compared(
            comparisons=Comparisons(
                rows=tuple(judged[key]),
                family=size,
                resamples=resamples,
                swaps=swaps,
                ineligible=ineligible[key],
                undefined=source.study.undefined,
                correction=family.correction,
            ),
            study=source.study,
            draws=held[key],
        )
        for key, source in sources.items()
    }


def _scopes(study: Study) -> list[tuple[str, str | None]]:
    """Returns every (model, task) that has a mean, task None for the overall one."""
    models = sorted({model for at in study.points.values() for model in at})
    return [(model, task) for task in [*study.wanted, None] for model in models if study.entering(model, task)]


def _cell_rows(
    source: Source,
    key: CellKey,
    draws: Draws,
    ineligible: dict[CellKey, tuple[float, float]],
    resamples: int,
    family: Family,
) -> list[Comparison]:
    """Returns the comparisons of all models in one cell, and adds their resamples to the means they enter."""
    study = source.study
    cell, points, baseline = study.cells[key], study.points[key], study.baseline
    metric = metrics.lookup(cell.metric)
    place_N, groups = source.place(key)
    own = len(set(cell.groups))
    runs = [(model, s) for model in points for s in sorted(cell.units[model])]
    units_ANK = np.stack([cell.units[model][s] for model, s in runs])
    weights = source.weights(key, groups, resamples)
    boot_AR = resampling.bootstrap(metric, units_ANK, place_N, groups, resamples, weights)
    jack_AG = resampling.jackknife(metric, units_ANK, place_N, groups) if len(points) > 1 else np.empty((len(runs), 0))
    draws.kept[key], draws.runs[key] = boot_AR[:, :KEPT].astype(np.float32), tuple(runs)

    def over(rows_AX: Array, model: str | None, seeds: tuple[int, ...]) -> Array:
        mine = [i for i, run in enumerate(runs) if run[0] == model and run[1] in seeds]
        return np.asarray(rows_AX[mine].mean(axis=0))

    def boot(model: str | None, seeds: tuple[int, ...]) -> Array:
        return over(boot_AR, model, seeds)

    enters_ri = False
    if baseline is not None and baseline in points and key not in study.undefined:
        low, floor = (
            resampling.interval(boot(baseline, points[baseline].seeds))[0],
            pairing.chance(cell, points, baseline),
        )
        enters_ri = stats.eligible(low, floor)
        if not enters_ri:
            ineligible[key] = (low, floor)

    rows = []
    for model, point in points.items():
        mine = boot(model, point.seeds)
        low, high = resampling.interval(mine)
        floor = pairing.chance(cell, points, model)
        row = Comparison(
            model=model, baseline=baseline, task=cell.task, language=cell.language, metric=cell.metric,
            score=point.score, score_low=low, score_high=high, n=len(cell.groups), groups=own, seeds=point.seeds,
            floor=floor, above_floor=low > floor, drawn=seed_of("swap", *source.seed(key)),
        )  # fmt: skip
        enters = key in study.entering(model, cell.task)
        if enters:
            draws.add("score", model, cell.task, mine)
        if point.paired:
            theirs = boot(baseline, point.seeds)
            delta = point.score - point.reference
            low, high = resampling.interval(mine - theirs)
            left_out = over(jack_AG, model, point.seeds) - over(jack_AG, baseline, point.seeds)
            bca_low, bca_high = resampling.bca(delta, mine - theirs, left_out)
            row = replace(
                row, baseline_score=point.reference, delta=delta, ci_low=low, ci_high=high,
                bca_low=bca_low, bca_high=bca_high, exact_p=_exact(cell, model, str(baseline), point.seeds),
                **_within(delta, mine - theirs, family, own),
                corrected=_corrected(delta, pairing.chance(cell, points, str(baseline))),
            )  # fmt: skip
            if enters:
                draws.add("delta", model, cell.task, mine - theirs)
            if enters_ri:
                improved = stats.relative_improvement(mine, theirs)
                draws.add("improvement", model, cell.task, improved)
                low, high = resampling.interval(improved)
                ri = stats.relative_improvement(point.score, point.reference)
                row = replace(
                    row, relative_improvement=ri, ri_low=low, ri_high=high,
                    ratio=point.score / point.reference, ri_cells=1,
                )  # fmt: skip
        rows.append(row)
    return rows


def _mean_row(
    source: Source,
    model: str,
    task: str | None,
    draws: Draws,
    ineligible: Mapping[CellKey, tuple[float, float]],
    family: Family,
) -> Comparison:
    """Returns one model's comparison averaged over a task's languages, or over languages, then tasks."""
    study = source.study
    keys = study.entering(model, task)
    points = {key: study.points[key][model] for key in keys}
    fair = {key: point for key, point in points.items() if point.paired and key not in ineligible}
    tasks = study.tasks(task)
    delta = study.delta(model, keys)
    score_low, score_high = resampling.interval(draws.mean("score", model, tasks))
    differences = draws.mean("delta", model, tasks)
    ci_low, ci_high = resampling.interval(differences)
    ri_low, ri_high = resampling.interval(draws.mean("improvement", model, tasks))
    below = stats.macro_mean({key: point.reference for key, point in fair.items()})
    seeds = [set(point.seeds) for point in points.values()]
    names = {study.cells[key].metric for key in keys}
    drawn = {source.seed(key) for key in keys}
    ours = str(study.baseline)
    # the mean reaches a margin only where a cell does, so it is no surer that none would than its smallest cell
    fewest = min(len(set(study.cells[key].groups)) for key in keys)
    return Comparison(
        model=model, baseline=study.baseline, task=task, language=None,
        metric=names.pop() if len(names) == 1 else "",
        score=stats.macro_mean({key: point.score for key, point in points.items()}),
        score_low=score_low, score_high=score_high,
        baseline_score=stats.macro_mean({key: point.reference for key, point in points.items()}),
        delta=delta, ci_low=ci_low, ci_high=ci_high,
        relative_improvement=stats.macro_mean(
            {k: stats.relative_improvement(point.score, point.reference) for k, point in fair.items()}
        ),
        ri_low=ri_low, ri_high=ri_high,
        ratio=stats.macro_mean({k: point.score for k, point in fair.items()}) / below if fair else NAN,
        corrected=stats.macro_mean(
            {
                key: _corrected(
                    point.score - point.reference, pairing.chance(study.cells[key], study.points[key], ours)
                )
                for key, point in points.items()
            }
        ),
        n=sum(len(study.cells[key].groups) for key in keys),
        groups=sum({source.seed(key): source.place(key)[1] for key in keys}.values()),
        drawn=seed_of("swap", *drawn.pop()) if len(drawn) == 1 else seed_of("swap", source.signature),
        seeds=tuple(sorted(set.union(*seeds))),
        cells=len(keys), cells_wanted=len(study.scope(task)), ri_cells=len(fair),
        **_within(delta, differences, family, fewest),
    )  # fmt: skip


def _corrected(delta: float, floor: float) -> float:
    """Returns a difference as a share of what chance leaves to be gained; nan where it leaves nothing."""
    return delta / (1 - floor) if floor < 1 else NAN


def _exact(cell: Cell, model: str, baseline: str, seeds: tuple[int, ...]) -> float:
    """Returns McNemar's p of one seed's answers; nan where the test does not apply."""
    if exact.applies(cell.metric, cell.groups, seeds):
        return NAN
    ours, theirs = (exact.hits(cell.metric, cell.units[of][seeds[0]]) for of in (model, baseline))
    return exact.mcnemar(ours, theirs).p


def _within(delta: float, draws: Array, family: Family, groups: int) -> Equal:
    """Returns whether a difference lies within the family's margin; nothing where it has none, or nothing is known."""
    if family.margin is None or not len(draws) or np.isnan(delta):
        return {"equivalence_p": NAN, "verdict": ""}
    found = equivalence.tost(delta, draws, family.margin / 100, family.alpha, n=groups)
    return {"equivalence_p": found.p, "verdict": found.withheld or found.verdict}
