"""Comparisons -> tables: what a reader sees, still as numbers. Renderers know nothing but the types at the top."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from unibench.comparisons import Comparison, Comparisons
from unibench.pairing import NAN
from unibench.stats.ranks import Standing

Kind = Literal["text", "count", "score", "difference", "relative", "ratio", "p", "rank"]

PARTIAL, AT_CHANCE, SEEDS_DIFFER, UNDEFINED, CLOSED = "†", "≈", "*", "‡", "⊘"
_SEEDS_DIFFER = re.compile(r"[\d ]+" + re.escape(SEEDS_DIFFER))
LEGEND = {
    PARTIAL: "† a mean over fewer cells than the baseline has, so not comparable with the others: see cells.",
    AT_CHANCE: "≈ not above its floor: the score's 95 % interval (for a mean: of at least one language) reaches it. "
    "Floor: the majority class for label tasks, else what the untrained encoder scratch scores, or 0 without it.",
    SEEDS_DIFFER: "* the models' seeds differ here; each is compared on the seeds it shares with the baseline.",
    UNDEFINED: "‡ undefined: no examples, or a correlation with constant predictions.",
    CLOSED: "⊘ gate closed: the test above it (overall, or its task's) was not rejected, so this one can't be.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A heading, and the unit of the numbers below it: fractions (score, difference, relative), p, ratio or count."""

    name: str
    kind: Kind = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One number with its 95 % interval (nan: none) and the marks that footnotes explain."""

    value: float
    low: float = NAN
    high: float = NAN
    marks: tuple[str, ...] = ()


RANKED = (
    "rank: of these trained models by mean score, with the ranks it may have, for all at once; models that share a "
    "letter under ties are not told apart. Every pair is tested by a paired bootstrap over example groups, corrected "
    "by Holm over all pairs (Mogstad et al. 2024; letters after Piepho 2004): another test and another family than p "
    "adjusted, so the two may disagree."
)
Value = str | int | float | Entry | None
Oracle = Mapping[tuple[str, str], Mapping[int, float]]  # (language, model) -> seed -> score


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table as data. None is "doesn't apply"; nan is "can't be known", which a footnote explains."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    footnotes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title!r} has {len(self.columns)} columns, a row has {len(row)}: {row!r}")


Standings = Mapping[str | None, Sequence[Standing]]  # of the overall mean (None) and of each task


def leaderboard_table(
    found: Comparisons,
    title: str,
    tasks: Sequence[str],
    models: Collection[str],
    standings: Standings | None = None,
) -> Table:
    """Returns one row a model: overall against the baseline, then its mean score in each of `tasks`.

    `standings` add its rank overall, with the ranks that it may have, and the letters of those it isn't told apart
    from. Whole rows first, by difference; models that lack cells of the baseline last.
    """
    overall = {row.model: row for row in found.rows if row.task is None and row.model in models}
    means = {(row.task, row.model): row for row in found.rows if row.task is not None and row.language is None}
    chance = {(row.task, row.model) for row in found.rows if row.language is not None and not row.above_floor}
    metric = {task: row.metric for (task, _), row in means.items() if task is not None}
    placed = {standing.model: standing for standing in (standings or {}).get(None, ())}
    ranked = placed if any(not standing.reason for standing in placed.values()) else {}
    columns = (
        Column(name="model"),
        Column(name="RI %", kind="relative"),
        Column(name="Δ", kind="difference"),
        Column(name="ratio of means", kind="ratio"),
        Column(name="Δ over chance", kind="difference"),
        Column(name="p adjusted", kind="p"),
        *([Column(name="rank", kind="rank"), Column(name="ties")] if ranked else []),
        Column(name="cells"),
        *(Column(name=f"{task} {metric.get(task, '')}".strip(), kind="score") for task in tasks),
    )

    def order(model: str) -> tuple[bool, bool, float, float, str]:
        row = overall.get(model)
        if row is None:
            return True, True, 0.0, 0.0, model
        return row.cells < row.cells_wanted, False, _last(row.delta), _last(row.relative_improvement), model

    rows: list[tuple[Value, ...]] = []
    everyone = overall.keys() | {m for _, m in means if m in models}
    for model in sorted(everyone, key=lambda m: (m != _baseline(found), *order(m))):
        row = overall.get(model)
        scores = tuple(score_entry(mean, (task, model) in chance) if (mean := means.get((task, model))) else None
                       for task in tasks)  # fmt: skip
        cells = f"{row.cells}/{row.cells_wanted}" if row else ""
        place = _place(ranked.get(model)) if ranked else ()
        if row is None or not row.baseline or model == row.baseline:
            rows.append(
                (model, "baseline" if row and row.baseline else None, None, None, None, None, *place, cells, *scores)
            )
            continue
        marks = (PARTIAL,) if row.cells < row.cells_wanted else ()
        rows.append((
            model, entry(row.relative_improvement, row.ri_low, row.ri_high, marks),
            entry(row.delta, row.ci_low, row.ci_high, marks), row.ratio, row.corrected, p_entry(row), *place, cells,
            *scores,
        ))  # fmt: skip
    withheld = [f"{s.model} is not ranked: {s.reason}." for s in placed.values() if s.reason and s.model in everyone]
    notes = [*([RANKED] if ranked else []), *withheld]
    return Table(title=title, columns=columns, rows=tuple(rows), footnotes=(*legend(rows), *notes))


def _place(standing: Standing | None) -> tuple[Value, ...]:
    if standing is None or standing.reason:
        return (None, None)
    return (Entry(value=standing.rank, low=standing.low, high=standing.high), standing.letters)


def task_table(
    found: Comparisons,
    title: str,
    task: str,
    models: Collection[str],
    languages: Collection[str] | None,
    oracle: Oracle | None = None,
) -> Table:
    """Returns one row a language and model, the baseline first, with the mean over all languages on top.

    `oracle` adds a column that stands beside the score, and is averaged over the same seeds and languages.
    """
    shown = [row for row in found.rows if row.task == task and row.model in models]
    shown = [row for row in shown if languages is None or row.language is None or row.language in languages]
    seeds: dict[str | None, set[tuple[int, ...]]] = {}
    for row in shown:
        seeds.setdefault(row.language, set()).add(row.seeds)
    columns = (
        Column(name="language"),
        Column(name="model"),
        Column(name="score", kind="score"),
        *([Column(name="oracle", kind="score")] if oracle else []),
        Column(name="floor", kind="score"),
        Column(name="above floor"),
        Column(name="Δ", kind="difference"),
        Column(name="RI %", kind="relative"),
        Column(name="p", kind="p"),
        Column(name="p adjusted", kind="p"),
        Column(name="n", kind="count"),
        Column(name="seeds", kind="text"),
    )
    rows: list[tuple[Value, ...]] = []
    for row in sorted(shown, key=lambda r: (r.language is not None, r.language or "", r.model != r.baseline, r.model)):
        cell = row.language is not None
        compared = row.baseline is not None and row.model != row.baseline
        rows.append((
            row.language or f"mean of {row.cells}", row.model, score_entry(row, cell and not row.above_floor),
            *([_oracle(oracle, row, found)] if oracle else []),
            row.floor if cell else None, ("yes" if row.above_floor else "no") if cell else None,
            entry(row.delta, row.ci_low, row.ci_high) if compared else None,
            entry(row.relative_improvement, row.ri_low, row.ri_high) if compared else None,
            row.p if compared else None, p_entry(row) if compared else None, row.n,
            " ".join(map(str, row.seeds)) + (SEEDS_DIFFER if len(seeds[row.language]) > 1 else ""),
        ))  # fmt: skip
    return Table(title=title, columns=columns, rows=tuple(rows), footnotes=legend(rows))


def legend(rows: Iterable[Sequence[Value]]) -> tuple[str, ...]:
    """Returns the explanation of every mark that occurs in these rows, and of nan."""
    values = [value for row in rows for value in row]
    marks = {mark for value in values if isinstance(value, Entry) for mark in value.marks}
    if any(isinstance(value, str) and _SEEDS_DIFFER.fullmatch(value) for value in values):  # a name may end so too
        marks.add(SEEDS_DIFFER)
    unknown = any(math.isnan(v.value if isinstance(v, Entry) else v) for v in values if isinstance(v, float | Entry))
    note = "– not known: nothing to compare with, or the cell is left out for a reason named under the leaderboard."
    return tuple(text for mark, text in LEGEND.items() if mark in marks) + ((note,) if unknown else ())


def without_p(table: Table) -> Table:
    """Returns the table without its columns of p."""
    kept = [index for index, column in enumerate(table.columns) if column.kind != "p"]
    return Table(
        title=table.title,
        columns=tuple(table.columns[index] for index in kept),
        rows=tuple(tuple(row[index] for index in kept) for row in table.rows),
        footnotes=table.footnotes,
    )


def with_notes(table: Table, notes: Iterable[str]) -> Table:
    """Returns the table with further footnotes below its own."""
    return Table(title=table.title, columns=table.columns, rows=table.rows, footnotes=(*table.footnotes, *notes))


def entry(value: float, low: float, high: float, marks: tuple[str, ...] = ()) -> Entry:
    """Returns an Entry, in the order in which its parts are said."""
    return Entry(value=value, low=low, high=high, marks=marks)


def score_entry(row: Comparison, at_chance: bool) -> Entry:
    """Returns a comparison's score with its interval, marked if undefined, at chance or a partial mean."""
    marks = (UNDEFINED,) if math.isnan(row.score) else (AT_CHANCE,) if at_chance else ()
    if row.language is None and row.cells < row.cells_wanted:
        marks = (*marks, PARTIAL)
    return Entry(value=row.score, low=row.score_low, high=row.score_high, marks=marks)


def p_entry(row: Comparison) -> Entry | None:
    """Returns an adjusted p, marked where a gate above it is closed; None for a test outside the family."""
    if math.isnan(row.p_adjusted):
        return None if not math.isnan(row.p) else Entry(value=NAN)
    return Entry(value=row.p_adjusted, marks=(CLOSED,) if row.closed else ())


def _oracle(oracle: Oracle, row: Comparison, found: Comparisons) -> float | None:
    """Returns the mean over the seeds of a cell, or over those of a task's cells; None unless all of them have it."""
    if row.language is not None:
        scores = oracle.get((row.language, row.model), {})
        return math.fsum(scores[s] for s in row.seeds) / len(row.seeds) if set(row.seeds) <= scores.keys() else None
    cells = [r for r in found.rows if (r.task, r.model) == (row.task, row.model) and r.language is not None]
    values = [value for cell in cells if (value := _oracle(oracle, cell, found)) is not None]
    return math.fsum(values) / len(values) if len(values) == len(cells) == row.cells else None


def _baseline(found: Comparisons) -> str | None:
    return next((row.baseline for row in found.rows), None)


def _last(value: float) -> float:
    """A descending sort key that puts nan at the end."""
    return math.inf if math.isnan(value) else -value
