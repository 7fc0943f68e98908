"""What records hold beside their score: parts of it, what an oracle would have scored, warnings and counts of rows."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from unibench.pairing import NAN
from unibench.store import RunRecord
from unibench.tables import PARTIAL, Column, Entry, Table, Value

Cell = tuple[str, str]  # language, model
MOST_WARNINGS = 12  # a task; where most cells warn, more lines say nothing new
ORACLE = (
    "oracle: what choosing the learning rate by the language's own dev set would have scored (mean over the same "
    "seeds; of the one language trained on, its score). It needs labels in that language, so it only stands beside the "
    "score: nothing is compared with it"
)
PARTS = {"ner": "by type", "qa": "by whether there is an answer"}  # of a family's metric; another's are just "by part"
# what happened to rows of a test set, in the words of a footnote
COUNTED = {
    "unlabelled": "unlabelled, left out",
    "malformed": "malformed, left out",
    "unanswerable": "questions without an answer",
    "answer_absent": "answers not where answer_start says",
    "answer_moved": "answers found elsewhere in the context than the data say",
    "iob_repaired": "sentences whose tags break their scheme, repaired",
}


def oracle(records: Sequence[RunRecord]) -> dict[Cell, dict[int, float]]:
    """Returns, seed by seed, what choosing by the target language's own dev set would have scored in one task.

    The one language trained on chose by its own dev set anyway: its score is its oracle's. Empty without any oracle.
    """
    out: dict[Cell, dict[int, float]] = {}
    if not any(record.oracle for record in records):
        return out
    for record in records:
        own = record.job.train_languages == (record.language,)
        scores = record.scores if own and not record.oracle else record.oracle.get("scores", {})
        value = scores.get(record.metric)
        if value is not None:
            out.setdefault((record.language, record.job.model), {})[record.job.seed] = float(value)
    return out


def notes(records: Sequence[RunRecord]) -> tuple[str, ...]:
    """Returns the footnotes of one task's "ok" records: warnings, rows that were changed or left out, the oracle."""
    return (*_warnings(records), *_rows(records), *_oracle_note(records))


def _oracle_note(records: Iterable[RunRecord]) -> list[str]:
    asked = [record for record in records if record.oracle]
    if not asked:
        return []
    sources = sorted({str(r.oracle.get("source", "")).replace(f" {r.language} ", " … ") for r in asked} - {""})
    return [f"{ORACLE} ({'; '.join(sources)})." if sources else f"{ORACLE}."]


def _warnings(records: Iterable[RunRecord]) -> list[str]:
    """Returns every warning once a model, with the languages and seeds it was given in."""
    where: dict[tuple[str, str], dict[str, list[int]]] = {}
    for record in sorted(records, key=lambda r: (r.job.model, r.language, r.job.seed)):
        warning = record.provenance.extra.get("warning") if record.provenance is not None else None
        if warning:
            where.setdefault((record.job.model, str(warning)), {}).setdefault(record.language, []).append(
                record.job.seed
            )
    out = []
    for (model, warning), languages in where.items():
        places = "; ".join(f"{language}, seed {' '.join(map(str, seeds))}" for language, seeds in languages.items())
        out.append(f"Warning, {model} ({places}): {warning}")
    more = (
        [f"And {len(out) - MOST_WARNINGS} further warnings, kept in the records."] if len(out) > MOST_WARNINGS else []
    )
    return out[:MOST_WARNINGS] + more


def _rows(records: Iterable[RunRecord]) -> list[str]:
    """Returns one line on the rows of the test sets. Every model and seed read the same ones, so each counts once."""
    found: dict[str, dict[str, int]] = {}
    for record in records:
        counts = record.provenance.extra.get("rows", {}) if record.provenance is not None else {}
        for what, count in counts.items():
            if count:
                found.setdefault(what, {})[record.language] = int(count)
    known = [*(what for what in COUNTED if what in found), *sorted(found.keys() - COUNTED.keys())]
    words = [
        f"{sum(found[what].values())} {COUNTED.get(what, what)} "
        f"({' '.join(f'{language} {count}' for language, count in sorted(found[what].items()))})"
        for what in known
    ]
    return [f"Rows of the test sets, before any limit: {'; '.join(words)}."] if words else []


def parts_table(records: Iterable[RunRecord], title: str, models: Collection[str]) -> Table | None:
    """Returns the parts of one task's score (a name's type, has an answer or none), one row a model; None without any.

    A part's score is stored as METRIC:PART, and averaged over seeds, then over the languages that have it at all. The
    "{by}" in `title` is replaced by what the parts are.
    """
    cells: dict[tuple[str, str], dict[str, list[float]]] = {}  # (model, part) -> language -> scores of its seeds
    family = ""
    for record in records:
        if record.job.model not in models:
            continue
        for name, score in record.scores.items():
            metric, colon, part = name.partition(":")
            if colon and metric == record.metric and score is not None and not math.isnan(score):
                family = record.family
                cells.setdefault((record.job.model, part), {}).setdefault(record.language, []).append(score)
    if not cells:
        return None
    parts = sorted({part for _, part in cells})
    most = {part: max(len(cells.get((model, part), {})) for model in models) for part in parts}

    def entry(found: Mapping[str, Sequence[float]], part: str) -> Value:
        if not found:
            return None
        value = float(np.mean([np.mean(scores) for scores in found.values()]))
        return Entry(value=value, low=NAN, high=NAN, marks=(PARTIAL,) if len(found) < most[part] else ())

    shown = sorted({model for model, _ in cells})
    rows = tuple((model, *(entry(cells.get((model, part), {}), part) for part in parts)) for model in shown)
    counts = "; ".join(f"{part} {most[part]}" for part in parts)
    few = [f"{PARTIAL} a mean over fewer languages than another model has."]
    marked = any(isinstance(value, Entry) and value.marks for row in rows for value in row)
    return Table(
        title=title.replace("{by}", PARTS.get(family, "by part")),
        columns=(Column(name="model"), *(Column(name=part, kind="score") for part in parts)),
        rows=rows,
        footnotes=(
            *(few if marked else []),
            f"Means over seeds, then over the languages that have the part: {counts}. Descriptive: nothing is tested.",
        ),
    )
