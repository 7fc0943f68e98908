"""One set of results against another, say last month's: what each model gained or lost, and what changed in between.

Each model is its own baseline: its units in one store beside its units in the other, for the same task, language, seed
and setting, on the same test rows. Whatever else differs (code, packages, card, data, weights, recipe) is no reason to
refuse a pair: it is what a reader wants to know about, and stands in a table of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from unibench import two_store_tables as made
from unibench.catalogue import CATALOGUE
from unibench.cells import cells
from unibench.compare import compare_all
from unibench.errors import UserError
from unibench.footnotes import machines
from unibench.pairing import Cell
from unibench.settings import parted, refuse_mixtures
from unibench.store import EVERYTHING, RunRecord
from unibench.tables import Table, with_notes, without_p
from unibench.two_store_tables import Pair, Unpaired

Key = tuple[str, str, str, int]  # task, language, model, seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """What two stores have in one setting: the pairs that may be compared, and what may not, with the reason."""

    pairs: tuple[Pair, ...]
    unpaired: tuple[Unpaired, ...]


def against(
    ours: Iterable[RunRecord],
    theirs: Iterable[RunRecord],
    *,
    names: tuple[str, str] = ("this", "other"),
    significance: bool = True,
    resamples: int = 10_000,
) -> list[Table]:
    """Returns, for each setting, what every model gained over `theirs` and a table a task; then what differs between
    the two, and what has no pair.

    Records hold their units; `names` is what the two are called. A pair are two "ok" records of one task, language,
    model (a catalogue's name and its Hub id are one), seed, protocol and limits, on the same test examples. All
    comparisons, of all settings, are one family. `significance` False leaves out every p. Raises UserError when one of
    the two is empty or both have one name, StaleRecord for a set whose own records may not share a table.
    """
    if names[0] == names[1]:
        raise UserError(f"both sets of results are called {names[0]!r}; give them two names")
    both = (list(ours), list(theirs))
    for name, records in zip(names, both, strict=True):
        if not records:
            raise UserError(
                f"no records in {name!r}, so nothing to compare; expected a results folder with runs/ in it"
            )
    meetings = {title: _meet(*sides, names) for title, sides in _settings(*both).items()}
    asked = {
        (title, model): (found, names[1])
        for title, meeting in meetings.items()
        for model, found in _cells(meeting.pairs, names).items()
    }
    compared = compare_all(asked, signature="one set of results against another", resamples=resamples)
    tables: list[Table] = []
    for title, meeting in meetings.items():
        found = {model: comparisons for (of, model), comparisons in compared.items() if of == title}
        if found:
            below = made.notes(found, names, meeting.pairs, significance=significance)
            below += machines(record for pair in meeting.pairs for record in (pair.ours, pair.theirs))
            tables += [with_notes(made.overview(found, names, title), below), *made.by_task(found, names, title)]
    pairs = [pair for meeting in meetings.values() for pair in meeting.pairs]
    alone = {title: meeting.unpaired for title, meeting in meetings.items() if meeting.unpaired}
    tables += [made.differences(pairs, names)] if pairs else []
    tables += [made.unpaired(alone, names, nothing=not pairs)] if alone or not pairs else []
    return tables if significance else [without_p(table) for table in tables]


def _settings(
    ours: Sequence[RunRecord], theirs: Sequence[RunRecord]
) -> dict[str, tuple[list[RunRecord], list[RunRecord]]]:
    """Returns the records of both by setting, in words.

    Recipes part nothing here: a model is compared with itself, and that its recipe changed is worth knowing.
    """
    origin: dict[int, tuple[int, RunRecord]] = {}
    plain = []
    for side, records in enumerate((ours, theirs)):
        for record in records:
            plain.append(replace(record, job=replace(record.job, recipe=None)))
            origin[id(plain[-1])] = (side, record)
    out: dict[str, tuple[list[RunRecord], list[RunRecord]]] = {}
    for setting, group in parted(plain).items():
        sides = out.setdefault(setting.title, ([], []))
        for record in group:
            side, original = origin[id(record)]
            sides[side].append(original)
    return out


def _meet(ours: Sequence[RunRecord], theirs: Sequence[RunRecord], names: tuple[str, str]) -> Meeting:
    for side in (ours, theirs):
        refuse_mixtures(record for record in side if record.status == "ok")
    mine, other = _by_key(ours), _by_key(theirs)
    pairs: list[Pair] = []
    alone: list[Unpaired] = []
    for key in sorted(mine.keys() | other.keys()):
        task, language, model, seed = key
        two = mine.get(key), other.get(key)
        why = _apart(two, names, [side.get((task, EVERYTHING, model, seed)) for side in (mine, other)])
        if why:
            alone.append(Unpaired(task=task, model=model, language=language, seed=seed, why=why))
        elif two[0] is not None and two[1] is not None and two[0].status == two[1].status == "ok":
            pairs.append(Pair(model=model, ours=two[0], theirs=two[1]))
    return Meeting(pairs=tuple(pairs), unpaired=tuple(alone))


def _by_key(records: Iterable[RunRecord]) -> dict[Key, RunRecord]:
    """Returns records by what makes a pair; of two names of one model, the "ok" one, then the catalogue's."""
    hubs = {entry.hub.lower(): name for name, entry in CATALOGUE.items()}
    out: dict[Key, RunRecord] = {}
    for record in sorted(records, key=lambda r: (r.status != "ok", r.job.model.lower() in hubs)):
        model = hubs.get(record.job.model.lower(), record.job.model)
        out.setdefault((record.job.task, record.language, model, record.job.seed), record)
    return out


def _apart(
    two: tuple[RunRecord | None, RunRecord | None], names: tuple[str, str], whole: Sequence[RunRecord | None]
) -> str:
    """Returns why two records are no pair, "" when they are one or neither has a score.

    `whole` are the records that say of a side's model or task that it could not be had at all.
    """
    ok = [record if record is not None and record.status == "ok" else None for record in two]
    if ok[0] is not None and ok[1] is not None:
        for what, a, b in (
            ("other test examples", ok[0].example_ids_sha256, ok[1].example_ids_sha256),
            ("another metric", ok[0].metric, ok[1].metric),
            ("other groups of examples", ok[0].groups, ok[1].groups),
        ):
            if a != b:
                return f"{what} in {names[1]}"
        return ""
    for side, missing in ((0, 1), (1, 0)):
        if ok[side] is not None:
            lost = two[missing] or whole[missing]
            if lost is not None:
                return f"{lost.status} in {names[missing]}: {lost.reason}"
            return f"only in {names[side]}"
    return ""


def _cells(pairs: Iterable[Pair], names: tuple[str, str]) -> dict[str, list[Cell]]:
    """Returns each model's cells, in which the two sets of results are the systems."""
    by_model: dict[str, list[RunRecord]] = {}
    side: dict[int, str] = {}
    for pair in pairs:
        two = pair.ours, replace(pair.theirs)  # a copy, for one record may stand on both sides
        by_model.setdefault(pair.model, []).extend(two)
        side |= dict(zip(map(id, two), names, strict=True))
    return {model: cells(records, lambda record: side[id(record)]) for model, records in by_model.items()}
