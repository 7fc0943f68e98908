"""Comparisons -> two further views of one task: languages beside models, and every test with what it stands on."""

from __future__ import annotations

import math
from collections.abc import Collection

from unibench.comparisons import Comparison, Comparisons
from unibench.declared import Family
from unibench.signatures import Signature
from unibench.tables import Column, Entry, Table, Value, entry, legend, p_entry, score_entry

BETTER, WORSE = "▲", "▼"
TOLD_APART = f"{BETTER} better, {WORSE} worse than the baseline: adjusted p at most alpha."
SCORE, DELTA = "score", "difference"


def language_table(
    found: Comparisons, title: str, task: str, models: Collection[str], languages: Collection[str] | None, alpha: float
) -> Table:
    """Returns one row a language, one column a model: its score, and whether it is told apart from the baseline."""
    rows = {
        (row.language, row.model): row
        for row in found.rows
        if row.task == task and row.model in models and (languages is None or row.language in (None, *languages))
    }
    baseline = next((row.baseline for row in rows.values()), None)
    names = sorted({model for _, model in rows}, key=lambda model: (model != baseline, model))
    codes = sorted({language for language, _ in rows if language is not None})
    shown: list[tuple[Value, ...]] = []
    # of all languages that the baseline has, whatever is shown; none where no cell has a defined score
    wanted = max((row.cells_wanted for (language, _), row in rows.items() if language is None), default=0)
    for language in (None, *codes) if wanted else codes:
        values = tuple(_marked(rows.get((language, model)), alpha) for model in names)
        shown.append((language or f"mean of {wanted}", *values))
    marked = any(isinstance(v, Entry) and {BETTER, WORSE} & set(v.marks) for row in shown for v in row)
    return Table(
        title=title,
        columns=(Column(name="language"), *(Column(name=model, kind="score") for model in names)),
        rows=tuple(shown),
        footnotes=(*([TOLD_APART] if marked else []), *legend(shown)),
    )


def _marked(row: Comparison | None, alpha: float) -> Value:
    if row is None:
        return None
    made = score_entry(row, row.language is not None and not row.above_floor)
    if row.p_adjusted <= alpha:
        made = Entry(
            value=made.value, low=made.low, high=made.high, marks=(*made.marks, BETTER if row.delta > 0 else WORSE)
        )
    return Entry(value=made.value, marks=made.marks)  # intervals stand in the task's own table


def tests_table(
    found: Comparisons,
    title: str,
    task: str | None,
    models: Collection[str],
    languages: Collection[str] | None,
    family: Family,
) -> Table | None:
    """Returns one row a test of a task (None: of the overall means): what was found, by which test, from which draws.

    None where nothing was tested.
    """
    tested = [
        row
        for row in found.rows
        if row.task == task and row.model in models and not math.isnan(row.delta) and row.model != row.baseline
        and (languages is None or row.language is None or row.language in languages)
    ]  # fmt: skip
    if not tested:
        return None
    exact = any(not math.isnan(row.exact_p) for row in tested)
    unknown = any(math.isnan(row.detectable) for row in tested)
    margin = family.margin
    columns = (
        Column(name="language"),
        Column(name="model"),
        Column(name="Δ", kind="difference"),
        Column(name="Δ BCa", kind="difference"),
        Column(name="p", kind="p"),
        *([Column(name="p McNemar", kind="p")] if exact else []),
        Column(name="p adjusted", kind="p"),
        Column(name="detectable", kind="score"),
        *([Column(name=f"within ±{margin:g}"), Column(name="p within", kind="p")] if margin is not None else []),
        Column(name="n", kind="count"),
        Column(name="groups", kind="count"),
        Column(name="signature"),
    )
    rows: list[tuple[Value, ...]] = []
    for row in sorted(tested, key=lambda r: (r.language is not None, r.language or "", r.model)):
        signed = Signature(
            test="perm:groups,two-sided", definition=f"delta of scores to {row.baseline}",
            resamples=row.swaps or None, seed=row.drawn, family=family.label, correction=found.correction,
        )  # fmt: skip
        bca = entry(row.delta, row.bca_low, row.bca_high) if not math.isnan(row.bca_low) else None
        rows.append((
            row.language or f"mean of {row.cells}", row.model, entry(row.delta, row.ci_low, row.ci_high), bca, row.p,
            *([None if math.isnan(row.exact_p) else row.exact_p] if exact else []), p_entry(row), row.detectable,
            *((row.verdict, row.equivalence_p) if margin is not None else ()), row.n, row.groups, signed.text,
        ))  # fmt: skip
    return Table(
        title=title, columns=columns, rows=tuple(rows), footnotes=(*_notes(margin, exact, unknown), *legend(rows))
    )


def _notes(margin: float | None, exact: bool, unknown: bool) -> list[str]:
    notes = [
        "detectable: the least true difference that this test finds in four cases of five, at the hardest step of the "
        "family (Bloom 1995); where nothing was found, a smaller one may be there.",
        "Δ BCa: the interval corrected for bias and skewness (Efron 1987), for cells; beside it the percentile one.",
        "groups: what is drawn, or changes sides, as a whole; n examples are in them. signature: the seed is that of "
        "the draws; of a mean over cells drawn apart, the hash of the setting, with which theirs begin.",
    ]
    if unknown:
        notes.append(
            "No detectable difference is known where no group differs (nothing says how far chance goes), where too "
            "many draws leave the score undefined, or where the groups are too few for any p to be small enough."
        )
    if exact:
        notes.append("p McNemar: exact, two-sided, of one seed's hits and misses; not adjusted, and in no family.")
    if margin is not None:
        notes.append(
            f"within ±{margin:g}: whether the difference lies within {margin:g} points, by two one-sided tests "
            "(Schuirmann 1987); its p is not adjusted."
        )
    return notes
