"""What every number of a leaderboard stands on, in words."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from unibench import stats
from unibench.comparisons import Comparison, Comparisons
from unibench.declared import Family, absent, late_note
from unibench.pairing import SCRATCH
from unibench.signatures import Signature, seed_of
from unibench.store import RunRecord

if TYPE_CHECKING:
    from unibench.board import Board

CORRECTED = {
    "gatekeeping": "gatekeeping overall -> task -> language (Goeman & Finos 2012; without tasks it is Holm 1979), "
    "which controls the chance of any false finding",
    "holm": "Holm (1979), which controls the chance of any false finding",
    "bh": "Benjamini & Hochberg (1995), which controls the expected share of false findings",
}


def footer(board: Board, *, narrowed: bool, significance: bool = True) -> list[str]:
    """Returns the footnotes of one setting's leaderboard, in the order a reader would ask.

    `narrowed` says that the view shows less than was computed; `significance` False leaves out what explains a p.
    """
    found, records, baseline = board.comparisons, board.ok, board.baseline
    notes = [f"Baseline: {baseline or 'none'} ({board.why})."]
    models = {record.job.model for record in records}
    if baseline is not None and baseline not in models:
        notes.append(f"{baseline} has no score in this setting, so nothing is compared.")
    elif models == {baseline}:
        notes.append("No other model has scores in this setting, so nothing is compared.")
    elif baseline is not None:
        notes += _left_out(models - {row.model for row in found.rows if row.task is None}, baseline)
    if any(record.job.origin == "sample" for record in records):
        notes.append("Sample data: generated sentences, good to see that everything works, not to rank encoders.")
    if board.outside:
        notes.append(f"Out of everything here, for the family does not cover them: {by_task(board.outside)}.")
    compared = any(not math.isnan(row.delta) for row in found.rows)
    if compared:
        notes += _how_compared(found, baseline)
    if compared and significance:
        notes += tested(board)
    notes.append(
        "Means run over languages, then over tasks. Intervals: 95 % percentile bootstrap over example groups, "
        f"{found.resamples:,} samples (Efron & Tibshirani 1993), not corrected for their number; parallel test sets, "
        "and tasks that score the same examples, are resampled jointly."
    )
    notes += _unmatched(records)
    notes.append(seeds(records))
    notes += machines(records)
    if found.undefined:
        notes.append(f"Out of every mean, the baseline's score being undefined: {by_task(found.undefined)}.")
    if narrowed:
        notes.append("This view is narrowed: overall columns, means and adjusted p are those of all stored results.")
    if significance:
        notes += _descriptions(found)
        notes += [f"Signature of {what}: {text}" for what, text in signatures(board)]
    return notes


def _left_out(models: Iterable[str], baseline: str) -> list[str]:
    """Returns which models have scores and no mean: the leaderboard has no row of them."""
    names = ", ".join(sorted(models))
    return (
        [f"No mean, for in no cell is there a seed with a defined score of {baseline} too: {names}."] if names else []
    )


def conclusions(board: Board) -> tuple[str, ...]:
    """Returns two sentences: what these numbers allow to conclude, and what not; () where nothing is compared."""
    tested = [row for row in board.comparisons.rows if not math.isnan(row.p_adjusted)]
    if not tested:
        return ()
    sample = " of generated sentences" if any(record.job.origin == "sample" for record in board.ok) else ""
    alpha = board.family.alpha
    share = ", but for the share of false findings that alpha allows" if board.family.correction == "bh" else ""
    return (
        f"Where an adjusted p is at most {alpha:g}, this trained model and {board.baseline}, as "
        f"fine-tuned here, differ on new examples like those{sample} of these test sets, in the direction of Δ{share}.",
        "That its way of training is better (that takes several pretraining runs: see Recipes), "
        "that the same holds in other languages or tasks, or, where p is larger, that there is no difference (see "
        "detectable).",
    )


def signatures(board: Board) -> list[tuple[str, str]]:
    """Returns a signature for every kind of number on a leaderboard, by what it is of."""
    found, family = board.comparisons, board.family
    boot, perm = seed_of("bootstrap", board.setting), seed_of("swap", board.setting)
    means = Signature(
        test="boot:groups,percentile", definition="mean over languages, tasks", resamples=found.resamples, seed=boot
    )
    signed = {"scores and Δ": means}
    if any(not math.isnan(row.delta) for row in found.rows):
        signed["RI"] = replace(means, definition="RI=mean of cells' (score-ref)/ref")
        signed["p"] = Signature(
            test="perm:groups,two-sided", definition=f"delta of means to {board.baseline}", resamples=found.swaps,
            seed=perm, family=family.label, correction=found.correction,
        )  # fmt: skip
    return [(what, signature.text) for what, signature in signed.items()]


def _unmatched(records: Iterable[RunRecord]) -> list[str]:
    """Returns which tasks hold translations that can't be matched, for then their means look surer than they are."""
    found = sorted(
        {
            record.job.task
            for record in records
            if record.provenance is not None and record.provenance.extra.get("translations") == "unmatched"
        }
    )
    return (
        [
            f"Translations whose rows can't be matched, so languages are resampled apart: {', '.join(found)}. Their "
            "means, and the overall one, have too narrow intervals and too small p; single languages are sound."
        ]
        if found
        else []
    )


def _family(family: Family) -> str:
    """Returns in words which tests a family holds."""
    depth = {"overall": "overall", "tasks": "overall and each task", "languages": "overall, each task, each language"}
    models = "every model but the baseline" if family.models == "all" else f"the models {', '.join(family.models)}"
    return (
        f"{models} x ({depth[family.scope]}) stored in this setting, whatever a view shows (family {family.label}: "
        f"{family.question.strip()}). Resamples are seeded from a hash of setting, example groups and language, so "
        "another model or task changes no draw"
    )


def _declared(board: Board) -> list[str]:
    """Returns what a reader must know of a declared family: what it names and is not there, and that it came late."""
    family = board.family
    tests = [(row.model, row.task, row.language) for row in board.comparisons.rows]
    gone = absent(family, tests)
    notes = [f"The family names what has no scores here: {', '.join(gone)}."] if gone else []
    if family.claim == "recipe":
        notes.append(
            f"Family {family.name!r} asks about recipes, and every p here is of checkpoints: its answer is under "
            "Recipes, in --view evidence."
        )
    if family.name != "default":
        late = late_note(family, [r.provenance.started for r in board.ok if r.provenance is not None])
        notes += [late] if late else []
    return notes


def _how_compared(found: Comparisons, baseline: str | None) -> list[str]:
    paired = {(row.task, row.language) for row in found.rows if row.language is not None and not math.isnan(row.delta)}
    fair = len(paired - set(found.ineligible))
    floor = "the majority class for label tasks, else "
    floor += "0" if baseline == SCRATCH else f"the score of {SCRATCH!r}, 0 where it is absent"
    notes = [
        "RI, relative improvement: (score - baseline) / |baseline| in each cell (task and language), then averaged; "
        f"over the {fair} of {len(paired)} cells where the baseline's lower 95 % bound exceeds its chance floor by 5 "
        f"points, the same cells for every model (floor: {floor}). Ratio of means: over the same cells. This is the "
        "definition used here, not a published one.",
    ]
    notes.append(
        "Δ over chance: (score - baseline) / (1 - the baseline's chance floor), a mean over all cells: none is chosen, "
        "and nothing is divided by a small score."
    )
    if found.ineligible:
        notes.append(
            f"Out of RI and ratio, the baseline being too near its floor: {by_task(found.ineligible)}. A lucky "
            "baseline lets more cells in, so where few enter, RI leans against the others: rows are sorted "
            "by Δ."
        )
    return notes


def tested(board: Board) -> list[str]:
    """Returns what every p of a setting stands on, its family with what a reader must know of it."""
    return [*how_tested(board.comparisons, _family(board.family)), *_declared(board)]


def how_tested(found: Comparisons, family: str) -> list[str]:
    """Returns what every p stands on; `family` says in words what was corrected for."""
    return [
        f"p: that of the difference Δ; {found.rows[0].test}, at least {found.swaps:,} permutations, (c + 1) / "
        "(n + 1) (Phipson & Smyth 2010); a group changes sides as a whole, in all seeds and parallel languages at "
        "once.",
        f"p adjusted: {CORRECTED[found.correction]}, over a family of {found.family} "
        f"test{'s' if found.family > 1 else ''}: {family}.",
        "Every p is a checkpoint claim: these trained models, on new examples. None says that one way of training is "
        "better than another; that needs several pretraining runs a side.",
    ]


def seeds(records: Iterable[RunRecord]) -> str:
    """Returns over how many seeds scores are means."""
    found: dict[tuple[str, str, str], set[int]] = {}
    for record in records:
        found.setdefault((record.job.task, record.language, record.job.model), set()).add(record.job.seed)
    fewest, most = min(map(len, found.values())), max(map(len, found.values()))
    if most == 1:
        return "One seed only: what another fine-tuning of the same model would score is unknown."
    counts = str(most) if fewest == most else f"{fewest} to {most}"
    return f"Scores are means over {counts} fine-tuning seeds; two models are compared on the seeds that both have."


def shared_seeds(found: Iterable[Comparisons]) -> str:
    """Returns over which seeds the scores of two sides are means: in each cell, those that both have."""
    sets = {row.seeds for one in found for row in one.rows if row.language is not None and row.model != row.baseline}
    known = sorted(sets - {()}, key=lambda seeds: (-len(seeds), seeds))
    words = " or ".join(" ".join(map(str, of)) for of in known) or "none"
    plural = "" if known and max(map(len, known)) == 1 else "s"
    alone = " What another fine-tuning of the same model would score is unknown." if not plural else ""
    return (
        f"Scores are those of the fine-tuning seed{plural} common to both sides ({words}), so they may differ from the "
        f"leaderboard's, which are means over all seeds of a model.{alone}"
    )


def machines(records: Iterable[RunRecord]) -> list[str]:
    """Returns a note where records were made on different devices or in different precisions."""
    made: dict[tuple[str, str], set[str]] = {}
    for record in records:
        if record.provenance is not None:
            ran = (record.provenance.device, str(record.provenance.extra.get("precision", "")))
            made.setdefault(ran, set()).add(record.job.model)
    if len(made) < 2:
        return []
    words = "; ".join(f"{' '.join(filter(None, ran))}: {', '.join(sorted(of))}" for ran, of in sorted(made.items()))
    return [f"Not all was computed alike, which may move scores a little (device, precision: models): {words}."]


def _descriptions(found: Comparisons) -> list[str]:
    """Returns one sentence a model on its cells taken together; descriptive, for they share a fine-tuning."""
    cells: dict[str, list[Comparison]] = {}
    for row in found.rows:
        if row.language is not None and not math.isnan(row.p):
            cells.setdefault(row.model, []).append(row)
    out = []
    for model, rows in sorted(cells.items()):
        surely = stats.k_hat([stats.one_sided(row.p, row.delta) for row in rows])
        ranks = stats.wilcoxon([row.delta for row in rows])
        p = "undefined" if math.isnan(ranks.p) else f"{ranks.p:.2g}"
        out.append(
            f"Descriptive: {model} is better in {sum(row.delta > 0 for row in rows)} of {len(rows)} cells, at 95 % "
            f"confidence in at least {surely} (Bonferroni partial conjunction, one-sided, this model alone; Dror "
            f"et al. 2017); Wilcoxon over {ranks.n} cells p = {p}, smallest attainable {ranks.smallest_p:.2g}."
        )
    return out


def by_task(cells: Iterable[tuple[str, str]]) -> str:
    """Returns (task, language) pairs in words, gathered by task."""
    found: dict[str, list[str]] = {}
    for task, language in cells:
        found.setdefault(task, []).append(language)
    return "; ".join(f"{task} {' '.join(languages)}" for task, languages in found.items())
