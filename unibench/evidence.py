"""A study -> what it says beyond "this model against the baseline": ranks, recipes, groups of models, languages, luck.

Each part names what it claims and withholds what it can't, with the reason. Legend: `A` runs and seeds, `L` languages,
`M` models, `R` resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from unibench import facts as lineage
from unibench import recipe_evidence, resampling, stats
from unibench.comparisons import Comparison
from unibench.draws import Draws, scores_of
from unibench.facts import BASELINES, VARIANTS
from unibench.facts import Facts as Facts
from unibench.facts import facts as facts
from unibench.facts import trained_in as trained_in
from unibench.metrics import Array
from unibench.pairing import NAN, CellKey, Point, Study
from unibench.recipe_evidence import Recipe, RecipeTest, Scores, SiblingTests
from unibench.signatures import Signature, seed_of
from unibench.stats import friedman, groups, languages, mixed, ranks, signed
from unibench.stats.friedman import Friedman
from unibench.stats.groups import GroupClaim
from unibench.stats.languages import LanguageClaim
from unibench.stats.mixed import Mixed
from unibench.stats.ranks import Standing
from unibench.stats.signed import PairedT, Wilcoxon


@dataclass(frozen=True, slots=True, kw_only=True)
class Across:
    """One model's differences from the baseline taken together, over cells and over the means of tasks: descriptive.

    `note` says where these are too few to be significant, whatever they are.
    """

    model: str
    cells: Wilcoxon
    cells_t: PairedT
    tasks: Wilcoxon
    tasks_t: PairedT
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTest:
    """VARIANTS against BASELINES by one `measure`, a model's value being its mean over `cells` that all members have.

    `improved` says that the measure is the relative improvement over the baseline, else it is the difference from it.
    `members` maps each model to its group, `shared` to the model that stands for its cluster. `left_out` lack half of
    the cells.
    """

    improved: bool
    claim: GroupClaim
    members: Mapping[str, str]
    shared: Mapping[str, str]
    left_out: tuple[str, ...]
    cells: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """What may be expected of one model against the baseline in other languages like those of a task."""

    model: str
    task: str
    claim: LanguageClaim


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one setting says beyond pairs; a part that has nothing to say is empty or None.

    `standings` are of the overall mean (None) and of each task. `unknown` are models of no recipe: their records don't
    say how they were pretrained. `siblings` are the tests of the baseline against other runs of its own recipe.
    """

    baseline: str | None
    alpha: float
    correction: str
    signature: str
    resamples: int
    standings: Mapping[str | None, Sequence[Standing]] = field(default_factory=dict)
    friedman: Friedman | None = None
    across: tuple[Across, ...] = ()
    recipes: tuple[Recipe, ...] = ()
    recipe_tests: tuple[RecipeTest, ...] = ()
    siblings: SiblingTests | None = None
    unknown: tuple[str, ...] = ()
    groups: tuple[GroupTest, ...] = ()
    languages: tuple[Elsewhere, ...] = ()
    mixed: Mixed | None = None

    def signed(
        self, test: str, definition: str, resamples: int | None = None, drawn: str = "", correction: str = ""
    ) -> str:
        """Returns the signature of some numbers as a footnote; `drawn` is what the seed of their draws starts with."""
        seed = seed_of(drawn, self.signature) if drawn else ""
        text = Signature(test=test, definition=definition, resamples=resamples, seed=seed, correction=correction).text
        return f"Signature: {text}"


def evidence(
    study: Study,
    draws: Draws,
    rows: Sequence[Comparison],
    facts: Mapping[str, Facts],
    *,
    alpha: float,
    signature: str,
    correction: str = "holm",
    trained_in: Mapping[CellKey, str] | None = None,
) -> Evidence:
    """Returns everything that a study's scores and draws say beyond `rows`, the comparisons made of them.

    `correction`, of gates.CORRECTIONS, adjusts the claims about recipes. `trained_in` says in which languages a cell's
    models were fine-tuned; left out, all cells of a task share a fine-tuning. What is drawn here is seeded from
    `signature` and the names it is about, so another model moves no number.
    """
    models = models_of(study)
    known = {m: facts.get(m, Facts()) for m in sorted(models, key=lambda m: (m != study.baseline, m))}
    scores = {key: scores_of(cell) for key, cell in study.cells.items()}
    runs, tests = recipe_evidence.claims(
        study, draws, scores, known, alpha=alpha, signature=signature, correction=correction
    )
    return Evidence(
        baseline=study.baseline, alpha=alpha, correction=correction, signature=signature,
        resamples=max((len(drawn) for drawn in draws.sums.values()), default=0),
        standings=_standings(study, draws, alpha),
        friedman=_friedman(study, scores, alpha),
        across=_across(rows, alpha),
        recipes=runs, recipe_tests=tests,
        siblings=recipe_evidence.siblings(rows, runs, study.baseline, alpha),
        unknown=tuple(m for m in models if not known[m].recipe and known[m].objectives != "none"),
        groups=_groups(study, rows, known, alpha, signature),
        languages=_languages(study, draws),
        mixed=_mixed(study, scores, trained_in),
    )  # fmt: skip


def models_of(study: Study) -> tuple[str, ...]:
    return tuple(sorted({model for at in study.points.values() for model in at}))


def _standings(study: Study, draws: Draws, alpha: float) -> dict[str | None, tuple[Standing, ...]]:
    """Ranks the models that have all wanted cells, on the seeds that most of them have there; others get a reason."""
    out: dict[str | None, tuple[Standing, ...]] = {}
    for task in (None, *study.wanted):
        scope = study.scope(task)
        models = [m for m in models_of(study) if any(m in study.points[key] for key in scope)]
        if len(models) < 2:
            continue
        why = {
            m: f"it has {len(entering)} of {len(scope)} cells"
            for m in models
            if len(entering := study.entering(m, task)) < len(scope)
        }
        whole = [m for m in models if m not in why]
        seeds = {m: tuple(study.points[key][m].seeds for key in scope) for m in whole}
        if whole:
            common = list(seeds.values())
            usual = max(whole, key=lambda m: (common.count(seeds[m]), m == study.baseline))
            why |= {m: _other_seeds(seeds[m], seeds[usual]) for m in whole if seeds[m] != seeds[usual]}
        ranked = [m for m in whole if m not in why]
        placed: tuple[Standing, ...] = ()
        if len(ranked) > 1:
            points = [stats.macro_mean({key: study.points[key][m].score for key in scope}) for m in ranked]
            drawn_MR = np.stack([draws.mean("score", m, study.tasks(task)) for m in ranked])
            placed = ranks.standings(ranked, np.array(points), drawn_MR, alpha)
        else:
            why |= dict.fromkeys(ranked, "no other model has all its cells, on its seeds")
        withheld = [Standing(model=m, rank=NAN, low=NAN, high=NAN, letters="", reason=why[m]) for m in sorted(why)]
        out[task] = (*placed, *withheld)
    return out


def _other_seeds(mine: Sequence[tuple[int, ...]], usual: Sequence[tuple[int, ...]]) -> str:
    def words(seeds: Sequence[tuple[int, ...]]) -> str:
        return " ".join(map(str, sorted({seed for of in seeds for seed in of})))

    if words(mine) == words(usual):
        return "it lacks seeds in some cells that the models ranked have there, or has more"
    return f"its seeds are {words(mine)}, those of the models ranked {words(usual)}"


def _most_cells(has: Mapping[str, set[CellKey]]) -> tuple[list[str], list[CellKey], list[str]]:
    """Returns models, the cells they share, and models left out: of all cells these lack half, or the shared ones would
    be few for the sake of a model that hardly ran."""
    every = set().union(*has.values()) if has else set()
    kept = [m for m, cells in has.items() if len(cells) >= len(every) / 2]
    shared = set.intersection(*(has[m] for m in kept)) if kept else set()
    return kept, sorted(shared), [m for m in has if m not in kept]


def _friedman(study: Study, scores: Scores, alpha: float) -> Friedman | None:
    """Ranks all models in the cells they share, by means over the seeds they share; None for a model alone."""
    has = {m: {key for key in study.scope(None) if m in study.points[key]} for m in models_of(study)}
    models, shared, left_out = _most_cells(has)
    if len(has) < 2:
        return None

    def values(key: CellKey) -> list[float]:
        units = study.cells[key].units
        seeds = sorted(set.intersection(*(set(units[m]) for m in models)))
        return [float(np.mean([scores[key][m, s] for s in seeds])) if seeds else NAN for m in models]

    table = np.array([values(key) for key in shared]) if shared else np.empty((0, len(models)))
    found = friedman.friedman(table, models, alpha)
    if left_out:
        gone = f" Left out, lacking half of the cells: {', '.join(left_out)}."
        found = replace(found, note=found.note + gone, reason=found.reason and found.reason + gone)
    return found


def _across(rows: Sequence[Comparison], alpha: float) -> tuple[Across, ...]:
    out = []
    for model in sorted({row.model for row in rows}):
        mine = [row for row in rows if row.model == model and row.task is not None and not np.isnan(row.delta)]
        cells = [row.delta for row in mine if row.language is not None]
        tasks = [row.delta for row in mine if row.language is None]
        if not cells:
            continue
        over_cells, over_tasks = signed.wilcoxon(cells), signed.wilcoxon(tasks)
        few = (
            signed.floor_note(over_cells.n, noun="differing cell", alpha=alpha),
            signed.floor_note(over_tasks.n, noun="differing task", alpha=alpha),
        )
        out.append(
            Across(
                model=model, cells=over_cells, cells_t=signed.paired_t(cells), tasks=over_tasks,
                tasks_t=signed.paired_t(tasks), note="; ".join(filter(None, few)),
            )
        )  # fmt: skip
    return tuple(out)


def _groups(
    study: Study, rows: Sequence[Comparison], known: Mapping[str, Facts], alpha: float, signature: str
) -> tuple[GroupTest, ...]:
    """Tests kinds of models by both measures; nothing where one kind has no model beside the baseline."""
    scope = set(study.scope(None))
    kind = {m: of for m, of in lineage.kinds(known).items() if m != study.baseline}
    if set(kind.values()) != {VARIANTS, BASELINES}:
        return ()
    shared = lineage.clusters(known)
    measures: tuple[tuple[bool, Callable[[Comparison], float]], ...] = (
        (True, lambda row: row.relative_improvement), (False, lambda row: row.delta)
    )  # fmt: skip
    out = []
    for improved, of in measures:
        value: dict[str, dict[CellKey, float]] = {m: {} for m in sorted(kind)}
        for row in rows:
            if row.language is not None and row.model in kind and not np.isnan(of(row)):
                value[row.model][str(row.task), row.language] = of(row)
        members, cells, left_out = _most_cells({m: at.keys() & scope for m, at in value.items()})
        means = {m: stats.macro_mean({key: value[m][key] for key in cells}) for m in members}
        sides = [{m: means[m] for m in members if kind[m] == of_kind} for of_kind in (VARIANTS, BASELINES)]
        rng = resampling.generator("groups", signature)
        claim = groups.claim(sides[0], sides[1], shared, rng=rng, alpha=alpha)
        if not cells:
            claim = replace(claim, withheld=f"no cell {'enters RI' if improved else 'is compared'} for all of them")
        out.append(
            GroupTest(
                improved=improved, claim=claim, members={m: kind[m] for m in members},
                shared={m: shared[m] for m in members}, left_out=tuple(left_out), cells=len(cells),
            )
        )  # fmt: skip
    return tuple(out)


def _languages(study: Study, draws: Draws) -> tuple[Elsewhere, ...]:
    out = []
    for task, keys in study.wanted.items():
        for model in models_of(study):
            paired = [key for key in keys if model in study.points[key] and study.points[key][model].paired]
            if not paired:
                continue
            points = {key: study.points[key][model] for key in paired}

            def drawn(of: str, points: Mapping[CellKey, Point] = points) -> Array:
                means = [draws.of_runs(key, [(of, s) for s in at.seeds]).mean(axis=0) for key, at in points.items()]
                return np.stack(means)

            deltas = {key[1]: point.score - point.reference for key, point in points.items()}
            claim = languages.claim(deltas, drawn(model) - drawn(str(study.baseline)))
            if claim.low == claim.high:
                claim = replace(
                    claim, low=NAN, high=NAN, withheld="all languages differ alike, so none says how others do"
                )
            out.append(Elsewhere(model=model, task=task, claim=claim))
    return tuple(out)


def _mixed(study: Study, scores: Scores, trained_in: Mapping[CellKey, str] | None) -> Mixed | None:
    """Fits every model against the baseline; None for a model alone, or without a baseline that has scores."""
    by_model: dict[str, dict[CellKey, dict[int, float]]] = {}
    for key, found in scores.items():
        for (model, seed), score in found.items():
            by_model.setdefault(model, {}).setdefault(key, {})[seed] = score
    if study.baseline not in by_model or len(by_model) < 2:
        return None
    return mixed.mixed(by_model, study.baseline, trained_in=trained_in)
