"""From cells to adjusted p and claims: how often they are wrong where nothing is there, and right where something is.

Single functions are calibrated in their own files; `INVENTORY` names those tests, and fails where a statistic has none.
Here the whole way is walked: four tasks, one of each shape of metric, in two languages; hypotheses of one premise and
questions on one passage in groups, translations sharing their items (not those of the NER task), and similarities
predicted on scales that differ from model to model. Models err by one law, each on its own items: the null holds.

Counts are held against binomial quantiles, one in a thousand beyond them. Legend: `G` groups, `N` examples.
"""

from __future__ import annotations

import importlib
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats

import unibench.stats
from unibench import nulls, recipe_evidence, resampling
from unibench.compare import compare, compared
from unibench.comparisons import Comparison
from unibench.declared import DEFAULT, Family
from unibench.draws import scores_of
from unibench.facts import Facts
from unibench.pairing import Cell
from unibench.stats import exact

TASKS = {  # metric, examples a group, whether languages are translations
    "nli": ("accuracy", 3, True),
    "ner": ("span_f1", 1, False),
    "qa": ("token_f1", 4, True),
    "sts": ("spearman", 1, True),
}
GROUPS, LANGUAGES, ALPHA = 30, ("l0", "l1"), 0.05
SHAPES = frozenset(metric for metric, _, _ in TASKS.values())
Gap = Callable[[str, str, str], float]  # model, task, language -> how much more it errs
HERE, OF_SCORES = "test_calibration", frozenset[str]()

# what is claimed | the rooms it lives in | shapes of metric | under the null | a planted gap
INVENTORY = (
    ("permutation of groups, one cell", "resampling nulls", SHAPES,
     "test_resampling.test_under_the_null_one_test_in_twenty_rejects",
     "test_resampling.test_a_planted_gap_is_found_whatever_the_scales"),
    ("the same over languages, tasks, all", "compare nulls draws pairing", SHAPES,
     f"{HERE}.test_one_test_in_twenty_rejects_at_every_level", f"{HERE}.test_planted_gaps_are_found"),
    ("the same over tasks on the same items", "nulls draws", OF_SCORES,
     "test_nulls.test_the_overall_test_of_tasks_on_the_same_items_keeps_its_level_and_drawn_apart_would_not", ""),
    ("any false rejection: gatekeeping", "stats.gates judging", SHAPES,
     f"{HERE}.test_any_false_rejection_has_a_chance_of_alpha", f"{HERE}.test_planted_gaps_are_found"),
    ("any false rejection: all trees", "stats.gates", OF_SCORES,
     "test_gates.test_any_false_rejection_has_a_chance_of_alpha_at_most",
     "test_gates.test_a_planted_gap_is_found_more_often_than_by_flat_holm"),
    ("Holm, Benjamini & Hochberg", "stats.corrections", OF_SCORES,
     "test_corrections.test_holm_bounds_any_false_rejection_and_bh_only_their_share", ""),
    ("k̂", "stats.corrections", OF_SCORES, "test_corrections.test_k_hat_seldom_counts_more_than_there_are", ""),
    ("p drawn again near the edge", "judging nulls stats.samples", OF_SCORES,
     f"{HERE}.test_drawing_again_where_luck_would_decide_keeps_the_size", ""),
    ("McNemar", "stats.exact", frozenset({"accuracy"}), f"{HERE}.test_mcnemar_never_exceeds_its_level", ""),
    ("percentile interval of Δ and RI", "stats.samples stats.means compare", SHAPES,
     f"{HERE}.test_intervals_of_differences_and_improvements_cover_0", ""),
    ("BCa interval", "stats.samples", SHAPES, "test_samples.test_bca_of_a_paired_difference_covers_the_truth", ""),
    ("equivalence", "stats.equivalence", SHAPES,
     "test_equivalence.test_at_the_edge_one_in_twenty_and_in_the_middle_most",
     "test_equivalence.test_at_the_edge_one_in_twenty_and_in_the_middle_most"),
    ("least detectable difference", "stats.power", SHAPES, "",
     "test_power.test_a_planted_difference_of_that_size_is_found_four_times_in_five"),
    ("ranks: pairs", "stats.ranks", SHAPES, "test_ranks.test_one_in_twenty_pairs_of_equal_models_is_told_apart",
     "test_ranks.test_a_planted_gap_is_found"),
    ("ranks: intervals and letters", "stats.ranks stats.letters", OF_SCORES,
     "test_ranks.test_of_ten_equal_models_the_tests_rarely_tell_any_apart_and_every_rank_stays_possible",
     "test_ranks.test_rank_intervals_hold_all_true_ranks_at_once_and_shrink_as_models_part"),
    ("recipes", "stats.recipes", SHAPES,
     "test_recipes.test_retrained_models_of_one_recipe_differ_one_time_in_twenty",
     "test_recipes.test_a_planted_gap_is_found"),
    ("recipes over tasks, adjusted", "stats.recipes recipe_evidence", SHAPES,
     f"{HERE}.test_retrained_models_differ_by_the_checkpoint_test_and_not_by_the_recipe_claim",
     f"{HERE}.test_a_better_recipe_is_found"),
    ("luck between runs", "recipe_evidence", OF_SCORES,
     "test_evidence.test_luck_is_exceeded_by_two_further_runs_once_in_twenty", ""),
    ("groups of models", "stats.groups", OF_SCORES,
     "test_groups.test_calibrated_with_clusters_of_any_size_and_not_without", ""),
    ("random languages", "stats.languages", OF_SCORES,
     "test_languages.test_coverage_over_languages_and_examples", ""),
    ("Wilcoxon, paired t", "stats.signed", OF_SCORES,
     "test_signed.test_one_in_twenty_rejects_under_the_null", "test_signed.test_a_planted_gap_is_found"),
    ("Friedman, Nemenyi", "stats.friedman", OF_SCORES,
     "test_friedman.test_one_in_twenty_rejects_under_the_null_and_seldom_any_pair",
     "test_friedman.test_a_planted_gap_is_found"),
    ("mixed-effects model", "stats.mixed", OF_SCORES, "test_mixed.test_a_true_null_is_seldom_rejected",
     "test_mixed.test_an_effect_beyond_what_tasks_and_runs_vary_by_is_found"),
)  # fmt: skip


@pytest.mark.parametrize("row", INVENTORY, ids=lambda row: row[0])
def test_the_inventory_names_tests_that_are_there_for_every_shape(
    row: tuple[str, str, frozenset[str], str, str],
) -> None:
    _, _, shapes, *places = row
    assert any(places)
    for module, name in (place.split(".") for place in places if place):
        test = getattr(importlib.import_module(module), name)
        marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
        values = [set(mark.args[1]) for mark in marks if mark.args[0] == "metric"]
        # the tests of this file run over TASKS, all four at once
        assert module == HERE or any(shapes <= of for of in values) or not shapes, f"{module}.{name} lacks a shape"


def test_no_statistic_is_missing_from_the_inventory() -> None:
    rooms = {room for _, of, *_ in INVENTORY for room in of.split()}
    files = {f"stats.{path.stem}" for path in Path(unibench.stats.__path__[0]).glob("*.py")} - {"stats.__init__"}
    assert files == {room for room in rooms if room.startswith("stats.")}


# --- a study under the null, or with gaps


def units(metric: str, noise_N: np.ndarray, worse: float, gold_rng: np.random.Generator, scale: float) -> np.ndarray:
    """One model's units (N, K) on gold that all models share; noise says where it errs, `worse` how often."""
    n, wrong_N = len(noise_N), noise_N + worse
    if metric == "accuracy":
        gold = gold_rng.integers(0, 3, n)
        return np.column_stack([gold, np.where(wrong_N > 0.5, (gold + 1) % 3, gold)]).astype(float)
    if metric == "span_f1":
        spans = gold_rng.integers(1, 4, n)
        missed = np.clip(np.round(wrong_N), 0, spans)
        return np.column_stack([spans - missed, np.clip(np.round(wrong_N + 0.2), 0, 3), missed])
    if metric == "token_f1":
        f1 = np.clip(0.6 - 0.3 * wrong_N, 0, 1)
        return np.column_stack([f1 == 1, f1])
    gold = gold_rng.random(n)
    return np.column_stack([gold, scale * (gold + 0.3 * noise_N * np.exp(worse)) + scale - 1])


def study(
    seed: int,
    models: tuple[str, ...],
    *,
    gap: Gap = lambda *_: 0.0,
    luck: float = 0.0,
    languages: tuple[str, ...] = LANGUAGES,
) -> list[Cell]:
    """The four tasks. `luck` is how far pretraining drives models apart, over all tasks and in each of them."""
    rng, out = np.random.default_rng(seed), []
    run = {model: luck * rng.normal() for model in models}
    for task, (metric, size, parallel) in TASKS.items():
        here = {model: run[model] + luck * rng.normal() for model in models}
        groups = tuple(f"{g:03d}" for g in np.repeat(np.arange(GROUPS), size))
        for i, language in enumerate(languages):
            if not parallel or i == 0:  # translations share what is hard for all, and what is for one model
                hard, own = rng.normal(size=GROUPS), {model: rng.normal(size=GROUPS) for model in models}
                gold = int(rng.integers(1 << 31))
            cell = {}
            for place, model in enumerate(models):
                noise = np.repeat(0.4 * hard + 0.7 * own[model], size) + 0.5 * rng.normal(size=GROUPS * size)
                worse = here[model] + gap(model, task, language)
                made = units(metric, noise, worse, np.random.default_rng(gold), (1.0, 3.0, 0.2)[place % 3])
                cell[model] = {0: made}
            out.append(Cell(task=task, language=language, metric=metric, groups=groups, parallel=parallel, units=cell))
    return out


def rows_of(
    cells: list[Cell], baseline: str, seed: int, family: Family = DEFAULT, resamples: int = 1040
) -> list[Comparison]:
    """The comparisons with the baseline; 1,040 resamples are what a family of 26 tests asks for."""
    found = compare(cells, baseline=baseline, signature=str(seed), resamples=resamples, family=family)
    assert found.swaps == resamples
    return [row for row in found.rows if row.model != baseline]


def limits(runs: int, chance: float) -> tuple[int, int]:
    return int(scipy_stats.binom.ppf(0.0005, runs, chance)), int(scipy_stats.binom.ppf(0.9995, runs, chance))


@dataclass
class Tally:
    """Of `runs` studies, how often a test (model, task, language) rejected, raw and adjusted, or an interval held 0."""

    runs: int
    raw: Counter[tuple[str, str | None, str | None]] = field(default_factory=Counter)
    adjusted: Counter[tuple[str, str | None, str | None]] = field(default_factory=Counter)
    delta: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)
    improved: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)
    compared: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)
    any_false: int = 0


def tally(runs: int, gap: Gap) -> Tally:
    """Two models against a baseline; the null of a test is false where `gap` is not 0 in a cell of its mean."""
    out = Tally(runs)
    for seed in range(runs):
        wrongly = False
        for row in rows_of(study(seed, ("old", "a", "b"), gap=gap), "old", seed):
            name = (row.model, row.task, row.language)
            out.raw[name] += row.p <= ALPHA
            out.adjusted[name] += row.p_adjusted <= ALPHA
            wrongly |= row.p_adjusted <= ALPHA and name not in false_nulls(gap)
            if row.model == "a":
                out.delta[name[1:]] += row.ci_low <= 0 <= row.ci_high
                out.improved[name[1:]] += row.ri_low <= 0 <= row.ri_high
                out.compared[name[1:]] += row.ri_cells > 0
        out.any_false += wrongly
    return out


def false_nulls(gap: Gap) -> set[tuple[str, str | None, str | None]]:
    cells = [(m, t, i) for m in ("a", "b") for t in TASKS for i in LANGUAGES if gap(m, t, i)]
    return {name for m, t, i in cells for name in ((m, t, i), (m, t, None), (m, None, None))}


def nothing(model: str, task: str, language: str) -> float:
    return 0.0


def planted(model: str, task: str, language: str) -> float:
    """One model is far better in two tasks, and in one language of a third: gates open beside true nulls."""
    return -1.5 if model == "a" and (task in ("qa", "ner") or (task, language) == ("nli", "l0")) else 0.0


@cache
def under_the_null() -> Tally:
    return tally(200, nothing)


@cache
def under_gaps() -> Tally:
    return tally(200, planted)


# --- checkpoint claims


@pytest.mark.parametrize("task", [*TASKS, None])
def test_one_test_in_twenty_rejects_at_every_level(task: str | None) -> None:
    found = under_the_null()
    low, high = limits(found.runs, ALPHA)
    for language in (None, *LANGUAGES) if task else (None,):
        rejected = found.raw["a", task, language]
        assert low <= rejected <= high, f"{task} {language}: {rejected} of {found.runs}"


@pytest.mark.parametrize("gap", [nothing, planted])
def test_any_false_rejection_has_a_chance_of_alpha(gap: Gap) -> None:
    """Of 26 tests of two models, p adjusted by the default family: whether none of the nulls is false, or some are."""
    found = under_the_null() if gap is nothing else under_gaps()
    assert found.any_false <= limits(found.runs, ALPHA)[1], f"{found.any_false} of {found.runs}"


def test_uncorrected_some_null_is_rejected_most_of_the_time() -> None:
    """The reason for a family, and the proof that the test above can fail."""
    found = under_the_null()
    assert sum(found.raw.values()) > limits(found.runs, ALPHA)[1] * 5


def test_planted_gaps_are_found() -> None:
    found = under_gaps()
    least = limits(found.runs, 0.8)[0]
    for task, language in ((None, None), ("qa", None), ("qa", "l0"), ("qa", "l1"), ("ner", None)):
        assert found.adjusted["a", task, language] >= least, f"{task} {language}: {found.adjusted}"
    assert found.raw["a", "nli", "l0"] >= least


@pytest.mark.parametrize("task", [*TASKS, None])
def test_intervals_of_differences_and_improvements_cover_0(task: str | None) -> None:
    """As often as percentiles of so few groups can: they take the normal's 1.96 for Student's t, and a variance that is
    too small by (G - 1) / G. Δ and RI (in cells well above their floor) are 0 under the null."""
    found = under_the_null()
    reach = 1.96 * math.sqrt((GROUPS - 1) / GROUPS)
    least = limits(found.runs, 1 - 2 * float(scipy_stats.t.sf(reach, GROUPS - 1)))[0]
    for language in (None, *LANGUAGES) if task else (None,):
        assert found.delta[task, language] >= least, f"{task} {language}: {found.delta[task, language]}"
        lacking = found.runs - found.compared[task, language]
        assert lacking < 0.1 * found.runs, "cells near their floor, which RI leaves out"
        assert found.improved[task, language] >= least - lacking


def test_gains_and_losses_that_cancel_are_no_overall_difference() -> None:
    """The mean's null is true though no cell's is: swapping knows only models that are alike, and errs upwards here."""
    runs, rejected = 200, 0
    for seed in range(runs):
        mirrored = [
            replace(cell, task=task, units=units)
            for task, better, worse, shift in (("one", "new", "old", 0), ("two", "old", "new", 10_000))
            for cell in study(
                seed + shift, (better, worse), gap=lambda m, *_, of=better: -0.5 * (m == of), languages=("l0",)
            )
            if cell.task == "qa"
            for units in [{model: cell.units[model] for model in ("old", "new")}]
        ]
        rejected += next(r for r in rows_of(mirrored, "old", seed, resamples=400) if r.task is None).p <= ALPHA
    assert rejected <= limits(runs, ALPHA)[1], f"{rejected} of {runs}"


@pytest.mark.parametrize(("resamples", "alpha"), [(199, 0.05), (1040, 0.05 / 8), (2000, 0.05 / 50)])
def test_drawing_again_where_luck_would_decide_keeps_the_size(resamples: int, alpha: float) -> None:
    """Exactly, over all that p could be with every permutation looked at: the first draws decide unless they are close,
    then these and 7 times as many more."""
    every = nulls.ESCALATION * resamples
    most = math.floor(alpha * (every + 1)) - 1  # draws as extreme that still reject
    counts = np.arange(math.ceil(8 * alpha * resamples) + 40)
    close = np.array([resampling.near_edge((c + 1) / (resamples + 1), alpha, resamples) for c in counts])
    small = (counts + 1) / (resamples + 1) <= alpha
    assert close.any()
    assert not close[-1], "far counts are settled"
    grid = (np.arange(1500) + 0.5) / 1500 * 6 * alpha
    size = 0.0
    for p in grid:
        chance = scipy_stats.binom.pmf(counts, resamples, p)
        settled = chance[small & ~close].sum()
        size += settled + chance[close] @ scipy_stats.binom.cdf(most - counts[close], every - resamples, p)
    size *= 6 * alpha / len(grid)
    assert 0.95 * alpha < size <= 1.001 * alpha


def test_mcnemar_never_exceeds_its_level() -> None:
    """Exactly: given how many answers differ, the split is a fair coin's. Examples in groups would break the coin."""
    for apart in range(1, 41):
        p = [exact.mcnemar(np.arange(apart) < ours, np.arange(apart) >= ours).p for ours in range(apart + 1)]
        chance = scipy_stats.binom.pmf(np.arange(apart + 1), apart, 0.5)
        for alpha in (0.01, 0.05, 0.2):
            assert chance @ (np.array(p) <= alpha) <= alpha + 1e-12
    runs, rejected = 400, 0
    for seed in range(runs):
        right = np.repeat(np.random.default_rng(seed).random((2, 30)) < 0.7, 3, axis=1)
        rejected += exact.mcnemar(*right).p <= ALPHA
    assert rejected > 2 * limits(runs, ALPHA)[1], "the reason why groups are refused"
    assert exact.applies("accuracy", [str(g) for g in np.repeat(np.arange(30), 3)], (0,))


# --- recipe claims

RUNS_A_SIDE = 5
OURS, THEIRS = (tuple(f"{side}{i}" for i in range(RUNS_A_SIDE)) for side in ("new", "old"))
KNOWN = {
    m: Facts(recipe=m[:3], pretraining_seed=i, objectives="mlm") for of in (THEIRS, OURS) for i, m in enumerate(of)
}


def retrained(seed: int, gap: float = 0.0) -> tuple[Mapping[str | None, float], Mapping[str | None, float], float]:
    """(p of the checkpoint test of a run against a run and of the recipe claim, by task; the least adjusted claim)."""
    cells = study(seed, (*THEIRS, *OURS), luck=0.25, gap=lambda m, *_: -gap * (m in OURS), languages=("l0",))
    made = compared(
        cells, baseline="old0", signature=str(seed), resamples=400, family=replace(DEFAULT, scope="overall")
    )
    scores = {key: scores_of(cell) for key, cell in made.study.cells.items()}
    _, tests = recipe_evidence.claims(
        made.study, made.draws, scores, KNOWN, alpha=ALPHA, signature=str(seed), correction="gatekeeping"
    )
    rows = [row for row in made.comparisons.rows if row.model == "new0" and row.language is None]
    claims = {test.task: test.claim.p for test in tests}
    assert claims.keys() == {None, *TASKS}
    return {row.task: row.p for row in rows}, claims, min(test.p_adjusted for test in tests)


def test_retrained_models_differ_by_the_checkpoint_test_and_not_by_the_recipe_claim() -> None:
    """A/A: five pretrainings of one recipe against five more. These two models do differ; their recipes don't."""
    runs, any_adjusted = 150, 0
    checkpoint, recipe = Counter[str | None](), Counter[str | None]()
    for seed in range(runs):
        one, all_runs, adjusted = retrained(seed)
        checkpoint.update(task for task, p in one.items() if p <= ALPHA)
        recipe.update(task for task, p in all_runs.items() if p <= ALPHA)
        any_adjusted += adjusted <= ALPHA
    low, high = limits(runs, 12 / 252)  # of 252 relabellings, twice the six most extreme
    for task in (None, *TASKS):
        assert low <= recipe[task] <= high, f"{task}: {recipe}"
        assert checkpoint[task] > high, f"{task}: {checkpoint}"
    assert checkpoint[None] > 0.4 * runs, f"{checkpoint}"
    assert any_adjusted <= high, f"{any_adjusted} of {runs}"


def test_a_better_recipe_is_found() -> None:
    runs = 30
    found = [retrained(seed, gap=1.0) for seed in range(1000, 1000 + runs)]
    least = limits(runs, 0.8)[0]
    assert sum(claims[None] <= ALPHA for _, claims, _ in found) >= least
    assert sum(adjusted <= ALPHA for _, _, adjusted in found) >= least
