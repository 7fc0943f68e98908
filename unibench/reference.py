"""Our scores beside published ones of the same model on the same task: does this harness measure what others measure?

What is published stands on the task cards, `[[about.reference]]`. Ours are the records that a reader could have made
with the card as it is: real data, the card's own protocol, no limits. Anything else is named, never compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unibench import staleness
from unibench.cards import TaskCard
from unibench.cells import cells
from unibench.compare import compare
from unibench.comparisons import Comparison
from unibench.errors import UserError
from unibench.pairing import NAN
from unibench.published import Published, published, sources
from unibench.settings import file_of, of_record, recipe_words, refuse_mixtures
from unibench.store import EVERYTHING, RunRecord
from unibench.tables import Column, Entry, Table, Value

TOLERANCE_POINTS = 2.0
AGREES, DIFFERS, NOT_RUN = "agrees", "differs", "not run"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ours:
    """What is stored of one model on one card: `ok` may stand beside published scores, `others` may not.

    `others` maps a language to the reason, the most telling one first.
    """

    ok: tuple[RunRecord, ...]
    others: Mapping[str, str]

    def reason(self, language: str) -> str:
        return self.others.get(language) or self.others.get(EVERYTHING) or "no record"


def beside(
    records: Iterable[RunRecord],
    cards: Sequence[TaskCard],
    *,
    hubs: Mapping[str, str],
    tolerance_points: float = TOLERANCE_POINTS,
    resamples: int = 10_000,
) -> Table:
    """Returns one row a published score: ours (mean over seeds, 95 % interval), theirs, the difference, the verdict.

    `records` hold their units; there may be none. `hubs` maps the catalogue's names to Hub ids, and a record under an
    id counts as one under its name. Raises StaleRecord for a record made from another card, and UserError when no card
    cites a score.
    """
    entries = [entry for card in cards for entry in published(card)]
    if not entries:
        names = ", ".join(card.name for card in cards)
        raise UserError(f"no published scores to compare with on {names}; a card cites them under [[about.reference]]")
    named = _by_model(records, hubs)
    by_name = {card.name: card for card in cards}
    rows: list[tuple[Value, ...]] = []
    used: dict[str, list[RunRecord]] = {}
    for entry in entries:
        ours = _ours(named.get((entry.task, entry.model), []), by_name[entry.task])
        used.setdefault(entry.task, []).extend(ours.ok)
        rows += _rows(entry, ours, tolerance_points, resamples)
    columns = (
        Column(name="task"),
        Column(name="model"),
        Column(name="language"),
        Column(name="metric"),
        Column(name="ours", kind="score"),
        Column(name="published", kind="score"),
        Column(name="difference", kind="difference"),
        Column(name="verdict"),
    )
    return Table(
        title="Beside published scores",
        columns=columns,
        rows=tuple(rows),
        footnotes=(*_explained(rows, tolerance_points), *_stored(used), *sources(entries, cards)),
    )


def _by_model(records: Iterable[RunRecord], hubs: Mapping[str, str]) -> dict[tuple[str, str], list[RunRecord]]:
    """Returns records by (task, catalogue name); of two under the name and the Hub id, the one that succeeded."""
    names = {hub.lower(): name for name, hub in hubs.items()}
    found: dict[object, RunRecord] = {}

    def name(record: RunRecord) -> str:
        return names.get(record.job.model.lower(), record.job.model)

    for record in sorted(records, key=lambda r: (r.status != "ok", r.job.model != name(r))):
        found.setdefault((replace(record.job, model=name(record)), record.language), record)
    out: dict[tuple[str, str], list[RunRecord]] = {}
    for record in found.values():
        out.setdefault((record.job.task, name(record)), []).append(record)
    return out


def _ours(records: Sequence[RunRecord], card: TaskCard) -> _Ours:
    apart = {id(record): departures(record, card) for record in records}
    ok = [record for record in records if record.status == "ok" and not apart[id(record)]]
    for record in ok:
        if record.provenance is None or record.provenance.card_sha256 != card.sha256:
            raise staleness.refuse_stale(Path(file_of(record)), ["card"])
    refuse_mixtures([replace(r, job=replace(r.job, model="")) for r in ok])  # under two names it is still one model
    # what was tried as published; what was measured otherwise, the nearest to it; whatever else was tried
    others: dict[str, str] = {}
    if len({record.job.recipe for record in ok}) > 1:
        others = {record.language: "not comparable: stored with several recipes" for record in ok}
        ok = []
    for record in sorted(
        records, key=lambda r: (bool(apart[id(r)]), r.status != "ok", len(apart[id(r)]), apart[id(r)])
    ):
        if record.status != "ok":
            others.setdefault(record.language, f"{record.status}: {record.reason}")
        elif apart[id(record)]:
            others.setdefault(record.language, f"not comparable: {', '.join(apart[id(record)])}")
    return _Ours(ok=tuple(ok), others=others)


def departures(record: RunRecord, card: TaskCard) -> list[str]:
    """Returns, in words, what a record's fine-tuning does otherwise than its card says by itself; [] for nothing."""
    job, setting = record.job, of_record(record)
    asked = job.protocol == card.protocol
    if card.protocol == "zero-shot":
        asked = asked and job.train_languages == (card.train_language,)
    words = [setting.data, "" if asked else setting.protocol, setting.adversary, *setting.limits]
    return [word for word in words if word]


def _rows(entry: Published, ours: _Ours, tolerance_points: float, resamples: int) -> list[tuple[Value, ...]]:
    have = {record.language for record in ours.ok}
    wanted = sorted(entry.scores.keys() & have)
    cell = {row.language: row for row in _scores(entry, ours, wanted, resamples) if row.language is not None}
    rows = []
    if entry.average is not None:
        lacking = [language for language in entry.averaged if language not in have]
        mean = None
        if entry.averaged and not lacking:
            mean = next(
                row
                for row in _scores(entry, ours, entry.averaged, resamples)
                if row.language is None and row.task is not None
            )
        label = f"average of {len(entry.averaged)}" if entry.averaged else "average"
        why = entry.unknown or _why(ours, lacking, len(entry.averaged))
        rows.append(_row(entry, label, mean, entry.average, why, tolerance_points))
    for language, score in sorted(entry.scores.items()):
        rows.append(_row(entry, language, cell.get(language), score, ours.reason(language), tolerance_points))
    return rows


def _scores(entry: Published, ours: _Ours, languages: Iterable[str], resamples: int) -> tuple[Comparison, ...]:
    chosen = [replace(record, metric=entry.metric) for record in ours.ok if record.language in set(languages)]
    if not chosen:
        return ()
    return compare(
        cells(chosen, lambda record: entry.model),
        baseline=None,
        signature=of_record(chosen[0]).title,
        resamples=resamples,
    ).rows


def _why(ours: _Ours, lacking: Sequence[str], of: int) -> str:
    reasons = {ours.reason(language) for language in lacking}
    if len(lacking) == of and len(reasons) == 1:
        return reasons.pop()
    return f"lacks {' '.join(lacking)}"


def _row(
    entry: Published, language: str, ours: Comparison | None, theirs: float, why: str, tolerance_points: float
) -> tuple[Value, ...]:
    words = (entry.task, entry.model, language, entry.metric)
    if ours is None:
        return (*words, None, theirs, None, f"{NOT_RUN}: {why}")
    score = Entry(value=ours.score, low=ours.score_low, high=ours.score_high)
    gap = ours.score - theirs
    if math.isnan(gap):
        return (*words, score, theirs, NAN, "undefined: no examples, or constant predictions")
    # a thousandth of a point is nobody's finding: published scores have one decimal
    agrees = abs(100 * gap) <= tolerance_points + 1e-3
    return (*words, score, theirs, gap, AGREES if agrees else DIFFERS)


def _explained(rows: Sequence[tuple[Value, ...]], tolerance_points: float) -> list[str]:
    verdicts = [str(row[-1]).partition(":")[0] for row in rows]
    counts = ", ".join(f"{verdicts.count(word)} {word}" for word in (AGREES, DIFFERS, NOT_RUN) if word in verdicts)
    notes = [
        f"Of {len(rows)} published scores: {counts or 'none'}. Agrees: within {tolerance_points:g} points of the "
        "published score, either way.",
    ]
    if DIFFERS in verdicts:
        notes.append(
            "A difference may come from training (learning rates, epochs, how the checkpoint was chosen: sources that "
            "chose it on the target languages' dev sets score higher), which moves all languages alike; from the data "
            "(another revision or split) or from scoring (offsets and normalisation in scripts without spaces), which "
            "move single languages; or from seeds: most sources report one."
        )
    absent: dict[str, set[str]] = {}
    for task, model, *_, verdict in rows:
        if verdict == f"{NOT_RUN}: no record":
            absent.setdefault(str(task), set()).add(str(model))
    commands = [
        f"`unibench run --model {','.join(sorted(models))} --tasks {task} --data hub`"
        for task, models in sorted(absent.items())
    ]
    return [*notes, *([f"What has no record is made by {'; '.join(commands)}."] if commands else [])]


def _stored(used: Mapping[str, Sequence[RunRecord]]) -> list[str]:
    notes = []
    for task, records in sorted(used.items()):
        if not records:
            continue
        recipes = sorted({recipe_words(record.job.recipe) for record in records})
        seeds = sorted({record.job.seed for record in records})
        settings = sorted({of_record(record).title for record in records})
        notes.append(
            f"Ours, {task}: {'; '.join(settings)}; {'; '.join(recipes)}; mean over seeds {' '.join(map(str, seeds))}, "
            "95 % percentile bootstrap over example groups (of another draw of the test set, not of another training)."
        )
    return notes
