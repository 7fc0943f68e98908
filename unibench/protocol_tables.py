"""Comparisons of protocols -> tables: an overview with the mean of each group of encoders, and one table a task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from unibench import footnotes
from unibench.comparisons import Comparison, Comparisons
from unibench.facts import BASELINES, VARIANTS
from unibench.tables import PARTIAL, Column, Entry, Table, Value, entry, legend, score_entry

Found = Mapping[tuple[str, str], Comparisons]  # (the other side, as tables call it, encoder) -> its comparisons


def overview(found: Found, reference: str, surrounding: str, tasks: Sequence[str], groups: Mapping[str, str]) -> Table:
    """Returns one row a protocol and encoder, the best first, then the mean of each of `groups` (encoder -> group)."""
    overall = {key: row for key, comparisons in found.items() if (row := _overall(comparisons)) is not None}
    by_task = {key: {row.task: row for row in _means(c) if row.model != row.baseline} for key, c in found.items()}
    shown = sorted({task for rows in by_task.values() for task in rows if task and (not tasks or task in tasks)})
    columns = (
        Column(name="protocol"),
        Column(name="model"),
        Column(name="RI %", kind="relative"),
        Column(name="Δ", kind="difference"),
        Column(name="ratio of means", kind="ratio"),
        Column(name="p adjusted", kind="p"),
        Column(name="cells"),
        Column(name="cells of RI"),
        *(Column(name=f"{task} Δ", kind="difference") for task in shown),
    )
    rows: list[tuple[Value, ...]] = []
    for protocol in sorted({protocol for protocol, _ in found}):
        mine = {model: row for (of, model), row in overall.items() if of == protocol}
        for model in sorted(mine, key=lambda m: (*_order(mine[m]), m)):
            row, means = mine[model], by_task[protocol, model]
            marks = (PARTIAL,) if row.cells < row.cells_wanted else ()
            rows.append((
                protocol, model, entry(row.relative_improvement, row.ri_low, row.ri_high, marks),
                entry(row.delta, row.ci_low, row.ci_high, marks), row.ratio, row.p_adjusted,
                f"{row.cells}/{row.cells_wanted}", str(row.ri_cells), *(_delta(means.get(task)) for task in shown),
            ))  # fmt: skip
        for group in (VARIANTS, BASELINES):
            members = {model: row for model, row in mine.items() if groups.get(model) == group}
            if members:
                at = [by_task[protocol, model] for model in members]
                rows.append(_group(protocol, group, list(members.values()), at, shown))
    title = f"Protocols against {reference}" + (f": {surrounding}" if surrounding else "")
    return Table(title=title, columns=columns, rows=tuple(rows), footnotes=legend(rows))


def by_task(found: Found, reference: str, surrounding: str, tasks: Sequence[str]) -> list[Table]:
    """Returns a table a task: one row a protocol, language and encoder, with the mean over languages on top."""
    rows: dict[str, list[tuple[Value, ...]]] = {}
    metrics: dict[str, str] = {}
    for (protocol, encoder), comparisons in sorted(found.items()):
        for row in comparisons.rows:
            if row.task is None or row.model == row.baseline or (tasks and row.task not in tasks):
                continue
            metrics[row.task] = row.metric
            rows.setdefault(row.task, []).append((
                protocol, row.language or f"mean of {row.cells}", encoder,
                score_entry(row, row.language is not None and not row.above_floor), row.baseline_score,
                entry(row.delta, row.ci_low, row.ci_high), entry(row.relative_improvement, row.ri_low, row.ri_high),
                row.p, row.p_adjusted, row.n, " ".join(map(str, row.seeds)),
            ))  # fmt: skip
    out = []
    for task, of in sorted(rows.items()):
        columns = (
            Column(name="protocol"),
            Column(name="language"),
            Column(name="model"),
            Column(name=metrics[task], kind="score"),
            Column(name=f"under {reference}", kind="score"),
            Column(name="Δ", kind="difference"),
            Column(name="RI %", kind="relative"),
            Column(name="p", kind="p"),
            Column(name="p adjusted", kind="p"),
            Column(name="n", kind="count"),
            Column(name="seeds"),
        )
        ordered = tuple(sorted(of, key=lambda r: (r[0], not str(r[1]).startswith("mean of"), r[1], r[2])))
        title = f"{task} against {reference}" + (f": {surrounding}" if surrounding else "")
        out.append(Table(title=title, columns=columns, rows=ordered, footnotes=legend(ordered)))
    return out


def for_terminal(table: Table) -> Table:
    """Returns the table with a protocol that all its rows share in the title, and without the column that repeats it.

    Only for a terminal, where width is dear: what programs read keeps its columns whatever the rows are.
    """
    protocol, *others = {row[0] for row in table.rows} or {None}
    if protocol is None or others or table.columns[0].name != "protocol":
        return table
    subject, against, rest = table.title.partition(" against ")
    return Table(
        title=f"{protocol if subject == 'Protocols' else f'{subject}: {protocol}'}{against}{rest}",
        columns=table.columns[1:],
        rows=tuple(row[1:] for row in table.rows),
        footnotes=table.footnotes,
    )


def notes(found: Found, reference: str, groups: Mapping[str, str], *, significance: bool) -> list[str]:
    """Returns the footnotes of the overview that the comparisons themselves call for."""
    some = next(iter(found.values()))
    out = [
        f"RI, relative improvement: (score - the same model's score under {reference}) / |that score| in each cell "
        "(task and language), then averaged over languages, then tasks; over the cells where the latter's lower 95 % "
        "bound exceeds its chance floor by 5 points (floor: the majority class for label tasks, else what the "
        "untrained encoder scratch scores under the same protocol, 0 where it is absent). Each model has its own such "
        "cells: see cells of RI. Ratio of means: over the same cells. This is the definition used here, not a "
        "published one."
    ]
    for title, field in (("Out of RI and ratio, the score compared with being too near its floor", "ineligible"),
                         ("Out of every mean, the score compared with being undefined", "undefined")):  # fmt: skip
        cells = {
            model: footnotes.by_task(getattr(comparisons, field))
            for (_, model), comparisons in sorted(found.items())
            if getattr(comparisons, field)
        }
        if cells:
            out.append(f"{title}: {'; '.join(f'{model}: {words}' for model, words in cells.items())}.")
    if some.family and significance:
        out += footnotes.how_tested(
            some,
            f"every model x every protocol beside {reference} x (overall, each task, each language) stored with these "
            "limits and data, whatever a view shows. Fine-tuning seeds are held fixed, like everything trained",
        )
    out.append(
        f"Intervals: 95 % percentile bootstrap over example groups, {some.resamples:,} samples (Efron & Tibshirani "
        "1993); parallel test sets are resampled jointly."
    )
    models = {model for _, model in found}
    members = {group: sorted(m for m in models if groups.get(m) == group) for group in (VARIANTS, BASELINES)}
    out.append(
        f"Groups are means over models, a description without a test ({PARTIAL}: a member's is partial or not known). "
        f"{VARIANTS}, trained here with an adversary or distillation: {', '.join(members[VARIANTS]) or 'none'}. "
        f"{BASELINES.capitalize()}, all others that were trained: {', '.join(members[BASELINES]) or 'none'}."
    )
    return out


def _overall(comparisons: Comparisons) -> Comparison | None:
    """Returns the overall mean; None where the reference's score is undefined in every cell."""
    return next((row for row in comparisons.rows if row.task is None and row.model != row.baseline), None)


def _means(comparisons: Comparisons) -> list[Comparison]:
    return [row for row in comparisons.rows if row.task is not None and row.language is None]


def _group(
    protocol: str, group: str, members: Sequence[Comparison], means: Sequence[Mapping[str | None, Comparison]],
    tasks: Sequence[str],
) -> tuple[Value, ...]:  # fmt: skip
    """Returns the row of a group: means over its members, each of which is known, and no interval, no p."""
    partial = any(row.cells < row.cells_wanted for row in members)
    shown = [_mean([at[task].delta for at in means if task in at], len(members)) for task in tasks]
    return (
        protocol, f"mean of {group} ({len(members)})",
        _mean([row.relative_improvement for row in members], len(members), partial=partial),
        _mean([row.delta for row in members], len(members), partial=partial), None, None, "", "", *shown,
    )  # fmt: skip


def _mean(values: Sequence[float], members: int, *, partial: bool = False) -> Entry:
    """Returns the mean of what is known, marked as partial where a member's is not."""
    known = [value for value in values if not math.isnan(value)]
    value = math.fsum(known) / len(known) if known else math.nan
    return Entry(value=value, marks=(PARTIAL,) if known and (partial or len(known) < members) else ())


def _delta(row: Comparison | None) -> Entry | None:
    if row is None:
        return None
    return entry(row.delta, row.ci_low, row.ci_high, (PARTIAL,) if row.cells < row.cells_wanted else ())


def _order(row: Comparison) -> tuple[bool, float, float]:
    def last(value: float) -> float:
        return math.inf if math.isnan(value) else -value

    return row.cells < row.cells_wanted, last(row.relative_improvement), last(row.delta)
