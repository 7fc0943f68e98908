"""What every number of a leaderboard stands on, in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from unibench import stats
from unibench.compare import Comparison, Comparisons
from unibench.pairing import SCRATCH
from unibench.store import RunRecord


def footer(
    found: Comparisons,
    records: Sequence[RunRecord],
    baseline: str | None,
    why: str,
    *,
    narrowed: bool,
    significance: bool = True,
) -> list[str]:
    """Returns the footnotes of one setting's leaderboard, in the order a reader would ask.

    `records` are its "ok" ones; `narrowed` says that the view shows less than was computed; `significance` False
    leaves out what explains a p.
    """
    notes = [f"Baseline: {baseline or 'none'} ({why})."]
    models = {record.job.model for record in records}
    if baseline is not None and baseline not in models:
        notes.append(f"{baseline} has no score in this setting, so nothing is compared.")
    elif models == {baseline}:
        notes.append("No other model has scores in this setting, so nothing is compared.")
    if any(record.job.origin == "sample" for record in records):
        notes.append("Sample data: generated sentences, good to see that everything works, not to rank encoders.")
    if found.family:
        notes += _how_compared(found, baseline)
    if found.family and significance:
        notes += how_tested(
            found,
            "every model but the baseline x (overall, each task, each language) stored in this setting, whatever a "
            "view shows. Resamples are seeded from a hash of setting, task and language, so another model or task "
            "changes no draw",
        )
    notes.append(
        "Means run over languages, then over tasks. Intervals: 95 % percentile bootstrap over example groups, "
        f"{found.resamples:,} samples (Efron & Tibshirani 1993); parallel test sets are resampled jointly."
    )
    notes.append(seeds(records))
    notes += machines(records)
    if found.undefined:
        notes.append(f"Out of every mean, the baseline's score being undefined: {by_task(found.undefined)}.")
    if narrowed:
        notes.append("This view is narrowed: overall columns, means and adjusted p are those of all stored results.")
    return notes + (_descriptions(found) if significance else [])


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
    if found.ineligible:
        notes.append(f"Out of RI and ratio, the baseline being too near its floor: {by_task(found.ineligible)}.")
    return notes


def how_tested(found: Comparisons, family: str) -> list[str]:
    """Returns what every p stands on; `family` says in words what was corrected for."""
    return [
        f"p: that of the difference Δ; {found.rows[0].test}, {found.swaps:,} permutations, (c + 1) / (n + 1) "
        "(Phipson & Smyth 2010); a group changes sides as a whole, in all seeds and parallel languages at once.",
        f"p adjusted: Holm (1979) over a family of {found.family} test{'s' if found.family > 1 else ''}: {family}.",
        "Every p is a checkpoint claim: these trained models, on new examples. None says that one way of training is "
        "better than another; that needs several pretraining runs a side, and is withheld.",
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
