"""Protocol against protocol: what another way of training for a task gives one and the same encoder.

Each encoder is its own baseline: its units under one protocol beside its units under another, same task, language, seed
and test rows. What the pairing leaves open, and why, is said under the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from unibench import metrics, protocol_tables, tables
from unibench.cards import PROTOCOLS
from unibench.cells import cells, columns
from unibench.compare import compare_all
from unibench.errors import UnknownName, UserError
from unibench.facts import facts, kinds
from unibench.footnotes import by_task, machines, shared_seeds
from unibench.gaps import gaps_table
from unibench.pairing import SCRATCH, Cell, CellKey
from unibench.settings import Setting, parted, refuse_mixtures
from unibench.store import RunRecord
from unibench.tables import Table

ADVERSARIAL = "+adversarial"
KNOWN = tuple(name + more for name in PROTOCOLS if name != "none" for more in ("", ADVERSARIAL))


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """The records of one protocol in one surrounding: `words` tell it from the others, `name` is what a user types."""

    name: str
    words: str
    records: tuple[RunRecord, ...]

    def ok(self) -> tuple[RunRecord, ...]:
        return tuple(record for record in self.records if record.status == "ok")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """Two sides' cells that may be compared, encoder by encoder; the (task, language) left out, by reason.

    `unpaired` are encoders that only one side has, or both on different seeds.
    """

    cells: Mapping[str, Sequence[Cell]]
    left_out: Mapping[str, Mapping[CellKey, None]]
    unpaired: tuple[str, ...]


def axis(
    records: Iterable[RunRecord],
    *,
    against: str,
    protocol: str | None = None,
    tasks: Sequence[str] = (),
    significance: bool = True,
    resamples: int = 10_000,
) -> list[Table]:
    """Returns what every stored protocol gives each encoder over `against`: an overview, then a table a task.

    `against` and `protocol` are of KNOWN. `protocol` and `tasks` only narrow the view: the family of tests is every
    comparison with `against` in the surrounding (origin and limits), whatever is shown. Raises UnknownName for a name
    that doesn't exist, UserError, saying what is missing, when nothing can be compared.
    """
    everything = [record for record in records if record.job.protocol != "none"]
    for name in (against, *([protocol] if protocol else [])):
        if name not in KNOWN:
            raise UnknownName("protocol", name, KNOWN, "unibench")
    for task in tasks:
        if task not in (known := {record.job.task for record in everything}):
            raise UnknownName("task", task, known, "the results")
    out: list[Table] = []
    left_out: dict[str, None] = {}
    for surrounding, sides in _sides(everything).items():
        for reference in (side for side in sides if side.name == against):
            made, why = _tables(surrounding, reference, sides, protocol, tasks, significance, resamples)
            out += made
            left_out |= why
    if not out:
        raise UserError(_nothing(everything, against, protocol, list(left_out)))
    return out if significance else [tables.without_p(table) for table in out]


def name_of(record: RunRecord) -> str:
    """Returns what a user calls the protocol of a record."""
    return record.job.protocol + (ADVERSARIAL if record.job.adversarial else "")


def _sides(records: Iterable[RunRecord]) -> dict[str, list[Side]]:
    """Returns the sides that may meet: same origin, same limits."""
    out: dict[str, list[Side]] = {}
    for setting, group in parted(records).items():
        surrounding = Setting(protocol="", data=setting.data, limits=setting.limits).title
        words = Setting(protocol=setting.protocol, adversary=setting.adversary, way=setting.way).title
        out.setdefault(surrounding, []).append(Side(name=name_of(group[0]), words=words, records=tuple(group)))
    return out


def _tables(
    surrounding: str,
    reference: Side,
    sides: Iterable[Side],
    protocol: str | None,
    tasks: Sequence[str],
    significance: bool,
    resamples: int,
) -> tuple[list[Table], dict[str, None]]:
    """Returns the tables of everything beside `reference`, and why cells were left out."""
    others = [side for side in sides if side is not reference]
    for side in (reference, *others):
        refuse_mixtures(side.ok())
    everyone = [record for side in (reference, *others) for record in side.ok()]
    refuse_mixtures(everyone, data=False)
    pairings = {side.words: pair(side, reference) for side in others}
    asked = {
        (words, model): (found, reference.words)
        for words, pairing in pairings.items()
        for model, found in pairing.cells.items()
    }
    found = compare_all(asked, signature=f"{surrounding}; against {reference.words}", resamples=resamples)
    shown = {side.words: pairings[side.words] for side in others if protocol in (None, side.name)}
    part = {key: value for key, value in found.items() if key[0] in shown}
    reasons = dict.fromkeys(reason for pairing in shown.values() for reason in pairing.left_out)
    if not part:
        return [], reasons
    labels = _labels((reference, *others))
    meant = [f"{labels[words]}: {words}." for words in (reference.words, *shown) if labels[words] != words]
    named = {(labels[words], model): comparisons for (words, model), comparisons in part.items()}
    kind = kinds(facts(everyone))
    out = [
        tables.with_notes(
            protocol_tables.overview(named, labels[reference.words], surrounding, tasks, kind),
            [
                *meant,
                *protocol_tables.notes(named, labels[reference.words], kind, significance=significance),
                *_notes(
                    {labels[words]: pairing for words, pairing in shown.items()},
                    [shared_seeds(part.values()), *machines(everyone)],
                    surrounding,
                    narrowed=bool(tasks) or len(shown) < len(others),
                ),
            ],
        ),
        *protocol_tables.by_task(named, labels[reference.words], surrounding, tasks),
    ]
    gone = [r for side in (reference, *others) if side is reference or side.words in shown for r in side.records]
    gone = [r for r in gone if r.status != "ok" and (not tasks or r.job.task in tasks)]
    tried = {r.job.task for side in (reference, *others) for r in side.records}
    missing = gaps_table(gone, f"Missing: {surrounding or 'real data'}", tried)
    return [*out, *([missing] if missing else [])], reasons


def _labels(sides: Sequence[Side]) -> dict[str, str]:
    """Returns what tables call each side, by its words: these, or where they tell of an adversary a shorter name.

    A name that two sides have tells nothing, so both keep their words. It may break at its space.
    """
    names = [side.name for side in sides]
    return {
        side.words: side.name.replace(ADVERSARIAL, f" {ADVERSARIAL}")
        if side.name.endswith(ADVERSARIAL) and names.count(side.name) == 1
        else side.words
        for side in sides
    }


def _notes(shown: Mapping[str, Pairing], alike: Iterable[str], surrounding: str, *, narrowed: bool) -> list[str]:
    """Returns what the pairing left out, and how far the two sides are alike."""
    notes = [
        "Both sides of a comparison: the same encoder, task, test rows, recipe, limits and origin of data. A "
        "limit counts training examples in all: monolingual takes them from one language, multilingual shares them "
        "among its languages. Without one, protocols differ in how much they train on, which is compared with the rest."
    ]
    for words, pairing in shown.items():
        notes += [f"Left out of {words}: {by_task(cells)}: {why}." for why, cells in pairing.left_out.items()]
        if pairing.unpaired:
            notes.append(f"Not compared under {words}, without a pair on one seed: {', '.join(pairing.unpaired)}.")
    notes += alike
    if "sample data" in surrounding:
        notes.append("Sample data: generated sentences, good to see that everything works, not to rank protocols.")
    if narrowed:
        notes.append("This view is narrowed: overall columns, means and adjusted p are those of all stored results.")
    return notes


def pair(side: Side, reference: Side) -> Pairing:
    """Returns the cells that hold both sides' units, encoder by encoder, and what was left out.

    A cell that both sides fine-tuned for alike (zero-shot from English beside monolingual, in English) is one
    experiment done twice, and where recipes differ they would be compared instead of the protocols: both are left out.
    Cells that only the reference has stay, so that means which lack them are marked as partial.
    """
    ours, theirs = _cells(side.ok()), _cells(reference.ok())
    floors = {side.words: _untrained(ours), reference.words: _untrained(theirs)}
    found: dict[str, list[Cell]] = {}
    left_out: dict[str, dict[CellKey, None]] = {}
    for (model, key), runs in sorted(theirs.items()):
        mine = ours.get((model, key), [])
        why = _unfair(mine, runs)
        if why:
            left_out.setdefault(why, {})[key] = None
            continue
        under = {id(record): words for words, of in ((side.words, mine), (reference.words, runs)) for record in of}
        (cell,) = cells([*mine, *runs], lambda record, under=under: under[id(record)])  # type: ignore[misc]
        known = {} if model == SCRATCH else {words: floors[words].get(key, 0.0) for words in floors}
        found.setdefault(model, []).append(replace(cell, floors=known))
    paired = {model: of for model, of in found.items() if any(_meet(cell) for cell in of)}
    stored = {model for model, _ in (*ours, *theirs)}
    return Pairing(cells=paired, left_out=left_out, unpaired=tuple(sorted(stored - paired.keys())))


def _cells(records: Iterable[RunRecord]) -> dict[tuple[str, CellKey], list[RunRecord]]:
    out: dict[tuple[str, CellKey], list[RunRecord]] = {}
    for record in records:
        out.setdefault((record.job.model, (record.job.task, record.language)), []).append(record)
    return out


def _untrained(found: Mapping[tuple[str, CellKey], Sequence[RunRecord]]) -> dict[CellKey, float]:
    """Returns what the untrained encoder scores in each cell of one side, a mean over its seeds."""
    return {
        key: float(np.mean([metrics.score(run.metric, columns(run)) for run in runs]))
        for (model, key), runs in found.items()
        if model == SCRATCH
    }


def _unfair(ours: Sequence[RunRecord], theirs: Sequence[RunRecord]) -> str:
    """Returns why two sides of a cell must not be compared, "" when they may be, or one is empty."""
    if not ours:
        return ""
    recipes = {record.job.recipe for record in (*ours, *theirs)}
    if len(recipes) > 1:
        return "fine-tuned by different recipes"
    if {(r.job.train_languages, r.job.adversarial) for r in ours} & {
        (r.job.train_languages, r.job.adversarial) for r in theirs
    }:
        return "both train on the same languages in the same way, one experiment done twice"
    return ""


def _meet(cell: Cell) -> bool:
    """Whether the two sides of a cell have a seed in common."""
    return len(cell.units) == 2 and bool(set.intersection(*(set(runs) for runs in cell.units.values())))


def _nothing(records: Sequence[RunRecord], against: str, protocol: str | None, reasons: Sequence[str]) -> str:
    """Returns, in one line, what is missing for a comparison."""
    stored = {name_of(record) for record in records if record.status == "ok"}
    others = sorted(stored - {against})
    for name in (against, *([protocol] if protocol else [])):
        if name not in stored:
            has = f"stored: {', '.join(sorted(stored))}" if stored else "nothing is stored"
            return f"nothing to compare: no scores under {name!r} ({has}); `{_run(name)}` makes them"
    if not others:
        other = next(name for name in KNOWN if name != against)
        return f"nothing to compare: all scores are under {against!r}; `{_run(other)}` makes others"
    why = f", or is left out: {'; '.join(reasons)}" if reasons else ""
    return (
        f"nothing to compare: no model has scores in one task, language, seed and setting under both {against!r} and "
        f"{' or '.join(map(repr, [protocol] if protocol else others))}{why}"
    )


def _run(name: str) -> str:
    protocol = name.removesuffix(ADVERSARIAL)
    return f"unibench run --protocol {protocol}{' --adversarial' if protocol != name else ''}"
