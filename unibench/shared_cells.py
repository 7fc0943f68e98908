"""The cells that several models all have, and each one's mean score over just these: what a fair mean may stand on."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from unibench import stats
from unibench.comparisons import Comparison, Comparisons
from unibench.pairing import CellKey
from unibench.tables import UNDEFINED, Entry

MOST_NAMED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """`cells` are those that all models have, of the `known` that any has; `lacking` counts what each of them lacks.

    `scores` holds each model's mean over `cells`, languages first, then tasks: nan without any, and where its score in
    one of them is undefined. Its interval is that of the leaderboard's overall mean if that stands on the same cells,
    else nan. `seeds_differ` says that the models' scores in some cell come from different seeds.
    """

    cells: tuple[CellKey, ...]
    known: int
    scores: Mapping[str, Entry]
    lacking: Mapping[str, int]
    seeds_differ: bool

    def note(self) -> str:
        """Returns what a mean over these cells stands on, in words, or why there is none."""
        lacking = [f"{model} ({count})" for model, count in sorted(self.lacking.items()) if count]
        more = "" if len(lacking) <= MOST_NAMED else f" and {len(lacking) - MOST_NAMED} others"
        who = f"; these lack some: {', '.join(lacking[:MOST_NAMED])}{more}" if lacking else ""
        if not self.cells:
            return f"no score: of {self.known} cells (task and language) none is one that all models have{who}."
        tasks = len({task for task, _ in self.cells})
        every = f"all {self.known}" if len(self.cells) == self.known else f"the {len(self.cells)} of {self.known}"
        differ = (
            " Their seeds differ in some cells: each has those it shares with the baseline."
            if self.seeds_differ
            else ""
        )
        return (
            f"mean over {every} cells (task and language) that every model here has, over languages, then over "
            f"{tasks} task{'s' if tasks > 1 else ''}{who}.{differ}"
        )


def shared(
    found: Comparisons, models: Collection[str], keep: Callable[[str, str], bool] = lambda task, language: True
) -> Shared:
    """Returns what these models share among the cells (task, language) that `keep` lets in.

    A cell where the baseline's score is undefined is in no mean, nor is one where a model shares no seed with it.
    """
    rows = by_cell(found)
    baseline = next((row.baseline for row in found.rows), None)
    usable: dict[str, set[CellKey]] = {
        model: {key for key, at in rows.items() if model in at and _counts(at[model], at, baseline)}
        for model in {*models, *({baseline} if baseline else ())}
    }
    kept = {model: {key for key in usable[model] if keep(*key)} for model in models}
    everywhere: set[CellKey] = set().union(*kept.values())
    common = everywhere.intersection(*kept.values())
    # what the leaderboard's overall mean runs over
    scope = usable.get(baseline or "", set()) or set(rows)
    overall = {row.model: row for row in found.rows if row.task is None}
    scores = {}
    for model in models:
        mean = stats.macro_mean({key: rows[key][model].score for key in sorted(common)})
        row = overall.get(model)
        same = row is not None and usable[model] & scope == common
        low, high = (row.score_low, row.score_high) if row is not None and same else (math.nan, math.nan)
        scores[model] = Entry(
            value=mean, low=low, high=high, marks=(UNDEFINED,) if common and math.isnan(mean) else ()
        )  # fmt: skip
    return Shared(
        cells=tuple(sorted(common)),
        known=len(everywhere),
        scores=scores,
        lacking={model: len(everywhere - kept[model]) for model in models},
        seeds_differ=any(len({rows[key][model].seeds for model in models}) > 1 for key in common),
    )


def by_cell(found: Comparisons) -> dict[CellKey, dict[str, Comparison]]:
    """Returns every model's comparison in each cell that may enter a mean: (task, language) -> model -> comparison."""
    out: dict[CellKey, dict[str, Comparison]] = {}
    for row in found.rows:
        if row.task is not None and row.language is not None and (row.task, row.language) not in found.undefined:
            out.setdefault((row.task, row.language), {})[row.model] = row
    return out


def _counts(row: Comparison, at: Collection[str], baseline: str | None) -> bool:
    """Whether its score is on seeds that the baseline has too, where that has any."""
    return row.model == baseline or baseline not in at or not math.isnan(row.baseline_score)
