"""Zero-shot transfer: how far other languages fall behind the one trained on, and behind their own dev set's choice."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unibench import details, shared_cells
from unibench.comparisons import Comparison, Comparisons
from unibench.pairing import NAN
from unibench.plots import Gap
from unibench.store import RunRecord
from unibench.tables import AT_CHANCE, LEGEND, PARTIAL, UNDEFINED, Column, Entry, Table, Value

PROTOCOL = "zero-shot"
COLUMNS = (
    Column(name="task"),
    Column(name="model"),
    Column(name="trained on"),
    Column(name="score in it", kind="score"),
    Column(name="mean of the rest", kind="score"),
    Column(name="rest", kind="count"),
    Column(name="gap", kind="difference"),
    Column(name="oracle", kind="score"),
    Column(name="zero-shot - oracle", kind="difference"),
    Column(name="with oracle", kind="count"),
)
GAP = (
    "gap: the score in the language trained on minus the mean of the rest, the other languages scored (`rest` counts "
    "them). It is small, too, where nothing was learned: see ≈. No interval: no resamples of this difference are kept; "
    "single scores have theirs in the task tables."
)
TEST_SETS = (
    "Test sets of these tasks are not translations of each other, so the gap is also one between easier and harder "
    "test sets: {tasks}."
)
ORACLE = (
    "zero-shot - oracle: over the `with oracle` languages of the rest, the score minus what choosing the learning rate "
    "by the language's own dev set would have given. It needs labels in that language, so it is a bound and no result."
)
FEWER = f"{PARTIAL} a mean over fewer languages than another model has in this task."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A model in a task: its figures, which of them stand on fewer languages than another's or on scores at chance."""

    gap: Gap
    oracles: int
    source_marks: tuple[str, ...] = ()
    rest_marks: tuple[str, ...] = ()
    oracle_marks: tuple[str, ...] = ()
    seeds_differ: bool = False


def table(records: Sequence[RunRecord], found: Comparisons, title: str) -> Table | None:
    """Returns one row a zero-shot task and model; None where no record is of a zero-shot fine-tuning.

    `records` are one setting's "ok" ones and `found` their comparisons. What can't be known is nan, with its reason
    below the table: no score in the language trained on, none in others, no oracle.
    """
    by_task = zero_shot(records)
    if not by_task:
        return None
    rows = [row for task, mine in by_task.items() for row in _rows(task, mine, found)]
    values: list[tuple[Value, ...]] = []
    for row in rows:
        gap = row.gap
        values.append((
            gap.task, gap.model, gap.source, Entry(value=gap.source_score, marks=row.source_marks),
            Entry(value=gap.rest_score, marks=row.rest_marks), gap.rest, gap.source_score - gap.rest_score,
            Entry(value=gap.oracle, marks=row.oracle_marks), gap.zero_shot - gap.oracle, row.oracles,
        ))  # fmt: skip
    return Table(title=title, columns=COLUMNS, rows=tuple(values), footnotes=tuple(_notes(rows, by_task, found)))


def gaps(records: Sequence[RunRecord], found: Comparisons) -> list[Gap]:
    """Returns what the figure draws, in the table's order: of each task and model with a gap, or with an oracle."""
    made = [row.gap for task, mine in zero_shot(records).items() for row in _rows(task, mine, found)]
    return [g for g in made if not (math.isnan(g.source_score - g.rest_score) and math.isnan(g.zero_shot - g.oracle))]


def zero_shot(records: Iterable[RunRecord]) -> dict[str, list[RunRecord]]:
    """Returns the records of zero-shot fine-tunings by task, in sorted order."""
    out: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.job.protocol == PROTOCOL and record.job.train_languages:
            out.setdefault(record.job.task, []).append(record)
    return dict(sorted(out.items()))


def sources(records: Iterable[RunRecord]) -> tuple[str, ...]:
    """Returns the languages trained on."""
    return tuple(sorted({language for record in records for language in record.job.train_languages}))


def _rows(task: str, records: Sequence[RunRecord], found: Comparisons) -> list[_Found]:
    """Returns a task's models in sorted order."""
    trained_on = sources(records)
    oracle = details.oracle(records)
    scores: dict[str, dict[str, Comparison]] = {record.job.model: {} for record in records}
    for (of, language), at in shared_cells.by_cell(found).items():
        for model, row in at.items():
            if of == task and model in scores:
                scores[model][language] = row
    rest = {m: {c: row for c, row in at.items() if c not in trained_on} for m, at in scores.items()}
    chosen = {m: {c: value for c, row in at.items() if (value := _oracle(oracle, row)) is not None}
              for m, at in rest.items()}  # fmt: skip
    most = max(len(at) for at in rest.values())
    most_oracles = max(len(at) for at in chosen.values())
    out = []
    for model in sorted(scores):
        there = [scores[model][c] for c in trained_on if c in scores[model]]
        there = there if len(there) == len(trained_on) else []
        others = rest[model]
        gap = Gap(
            model=model, task=task, source=" ".join(trained_on), rest=len(others),
            source_score=_mean(row.score for row in there), rest_score=_mean(row.score for row in others.values()),
            zero_shot=_mean(others[c].score for c in chosen[model]), oracle=_mean(chosen[model].values()),
        )  # fmt: skip
        out.append(
            _Found(
                gap=gap,
                oracles=len(chosen[model]),
                source_marks=_marks(there),
                rest_marks=(*_marks(others.values()), *((PARTIAL,) if 0 < len(others) < most else ())),
                oracle_marks=(PARTIAL,) if 0 < len(chosen[model]) < most_oracles else (),
                seeds_differ=len({row.seeds for row in scores[model].values()}) > 1,
            )
        )
    return out


def _oracle(oracle: Mapping[tuple[str, str], Mapping[int, float]], row: Comparison) -> float | None:
    """Returns the mean over the seeds of a score; None unless all of them have an oracle."""
    mine = oracle.get((row.language or "", row.model), {})
    return float(np.mean([mine[seed] for seed in row.seeds])) if row.seeds and set(row.seeds) <= mine.keys() else None


def _mean(values: Iterable[float]) -> float:
    held = list(values)
    return float(np.mean(held)) if held else NAN


def _marks(rows: Iterable[Comparison]) -> tuple[str, ...]:
    held = list(rows)
    if any(math.isnan(row.score) for row in held):
        return (UNDEFINED,)
    return (AT_CHANCE,) if any(not row.above_floor for row in held) else ()


def _notes(rows: Sequence[_Found], by_task: Mapping[str, Sequence[RunRecord]], found: Comparisons) -> list[str]:
    marks = {mark for row in rows for mark in (*row.source_marks, *row.rest_marks, *row.oracle_marks)}
    notes = [LEGEND[mark] for mark in (AT_CHANCE, UNDEFINED) if mark in marks]
    notes += [FEWER] if PARTIAL in marks else []
    notes.append(GAP)
    unlike = [task for task, records in by_task.items() if not all(record.parallel for record in records)]
    notes += [TEST_SETS.format(tasks=", ".join(unlike))] if unlike else []
    notes += [ORACLE] if any(row.oracles for row in rows) else []
    notes += _unknown(rows, by_task)
    if differ := [f"{row.gap.task} {row.gap.model}" for row in rows if row.seeds_differ]:
        notes.append(f"Not every language was scored with the same seeds: {', '.join(differ)}.")
    left = [f"{task} {language}" for task, language in found.undefined if task in by_task]
    notes += [f"Left out, the baseline's score being undefined: {', '.join(left)}."] if left else []
    return notes


def _unknown(rows: Sequence[_Found], by_task: Mapping[str, Sequence[RunRecord]]) -> list[str]:
    """Returns why numbers are not known, each reason once with its tasks (and models, where some of a task's have it).

    An undefined score has its own mark.
    """
    reasons: dict[str, list[str]] = {}
    for task, records in by_task.items():
        mine = [row for row in rows if row.gap.task == task]
        source = mine[0].gap.source
        for why, gone in (
            (f"no score in {source}, which was trained on, so no gap", _gone(mine, "source_score", "source_marks")),
            (f"no score outside {source}, so no gap", _gone(mine, "rest_score", "rest_marks")),
            (_no_oracle(records), _gone(mine, "oracle", "oracle_marks")),
        ):
            if gone:
                reasons.setdefault(why, []).append(
                    task if len(gone) == len(mine) else f"{task} ({', '.join(gone)})"
                )  # fmt: skip
    return [f"– {why}: {', '.join(where)}." for why, where in reasons.items()]


def _gone(rows: Iterable[_Found], number: str, marks: str) -> list[str]:
    return [r.gap.model for r in rows if math.isnan(getattr(r.gap, number)) and UNDEFINED not in getattr(r, marks)]


def _no_oracle(records: Iterable[RunRecord]) -> str:
    if all(record.job.recipe is None or len(record.job.recipe.learning_rates) < 2 for record in records):
        return "no oracle, for one learning rate alone was tried"
    return "no oracle in the records, for want of a dev set in these languages or because none was asked for"
