"""One setting's records with everything computed of them: what tables, figures and the page are made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unibench import evidence, remembered
from unibench.cells import cells
from unibench.compare import compared
from unibench.comparisons import Comparisons
from unibench.declared import DEFAULT, Family
from unibench.errors import UnknownName, UserError
from unibench.evidence import Evidence
from unibench.pairing import SCRATCH
from unibench.settings import by_setting, refuse_mixtures
from unibench.store import RunRecord

# named baselines from the best known to the least, the untrained encoder last: any trained one says more
BASELINE_ORDER = ("mbert", "distilmbert", "xlm-r-base", "mminilm-l12", SCRATCH)

Load = Callable[[RunRecord], RunRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What is computed of a setting's units, and kept for the next time."""

    comparisons: Comparisons
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One setting: its records, those that succeeded and are covered by the family, and what came of them.

    `why` says why `baseline` is it; `outside` are (task, language) pairs with scores that the family leaves out.
    """

    setting: str
    records: tuple[RunRecord, ...]
    ok: tuple[RunRecord, ...]
    outside: tuple[tuple[str, str], ...]
    baseline: str | None
    why: str
    family: Family
    comparisons: Comparisons
    evidence: Evidence

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(sorted({record.job.task for record in self.ok}))

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(sorted({record.job.model for record in self.records}))


def boards(
    records: Iterable[RunRecord],
    *,
    baseline: str | None = None,
    family: Family = DEFAULT,
    resamples: int = 10_000,
    load: Load | None = None,
    cache: Path | None = None,
) -> Iterator[Board]:
    """Yields a board for each setting, in the order of their titles.

    `load` fetches the units of records that came without, when they are needed: what is found in `cache` needs none.
    Raises UserError when there are no records, for a family that covers none of them or compares with another baseline,
    UnknownName for a baseline that no record has, StaleRecord for records that may not share a table.
    """
    everything = list(records)
    if not everything:
        raise UserError("no records to report; run `unibench run` first, or point --results at a folder that has some")
    wanted = baseline or family.baseline or None
    if wanted is not None and wanted not in {record.job.model for record in everything}:
        raise UnknownName("model", wanted, {record.job.model for record in everything}, "the results")
    _refuse_misfits(family, baseline, everything)
    asked = "as asked" if baseline else f"as family {family.name!r} says"
    for setting, group in by_setting(everything).items():
        ok = [record for record in group if record.status == "ok"]
        refuse_mixtures(ok)
        # one asked for may be missing from this setting: the footer says so, another isn't put in its place
        name, why = (wanted, asked) if wanted else choose_baseline(group)
        covered = [record for record in ok if family.covers(record.job.task, record.language)]
        left = sorted({(r.job.task, r.language) for r in ok} - {(r.job.task, r.language) for r in covered})
        judged = _judged(covered, setting, name, family, resamples, load, cache)
        yield Board(
            setting=setting, records=tuple(group), ok=tuple(covered), outside=tuple(left), baseline=name, why=why,
            family=family, comparisons=judged.comparisons, evidence=judged.evidence,
        )  # fmt: skip


def _refuse_misfits(family: Family, baseline: str | None, records: Sequence[RunRecord]) -> None:
    """Raises UserError for a family that these records, or the baseline asked for, are none of."""
    if baseline and family.baseline and baseline != family.baseline:
        raise UserError(
            f"family {family.name!r} compares with {family.baseline!r}, not with {baseline!r}; leave out --baseline, "
            "or declare a family for it"
        )
    cells = {(record.job.task, record.language) for record in records if record.status == "ok"}
    if cells and not any(family.covers(*cell) for cell in cells):
        raise UserError(f"family {family.name!r} covers none of these results; its tasks and languages are others")


def _judged(
    records: Sequence[RunRecord],
    setting: str,
    baseline: str | None,
    family: Family,
    resamples: int,
    load: Load | None,
    cache: Path | None,
) -> Judged:
    key = remembered.key_of(records, setting=setting, baseline=baseline, family=family.sha256, resamples=resamples)
    if cache is not None and key is not None:
        known = remembered.recall(cache, key, Judged)
        if known is not None:
            return known
    made = compared(
        cells(_with_units(records, load)), baseline=baseline, signature=setting, resamples=resamples, family=family
    )
    rows = made.comparisons.rows
    judged = Judged(
        comparisons=made.comparisons,
        evidence=evidence.evidence(
            made.study, made.draws, rows, evidence.facts(records), alpha=family.alpha, signature=setting,
            correction=family.correction, trained_in=evidence.trained_in(records),
        ),
    )  # fmt: skip
    if cache is not None and key is not None:
        remembered.keep(cache, key, judged)
    return judged


def _with_units(records: Iterable[RunRecord], load: Load | None) -> Iterator[RunRecord]:
    """Yields records with their units; equal groups become one object, for there are thousands of records."""
    shared: dict[tuple[str, ...], tuple[str, ...]] = {}
    for record in records:
        full = load(record) if load is not None and record.units is None else record
        yield replace(full, groups=shared.setdefault(full.groups, full.groups), example_ids=())


def choose_baseline(records: Iterable[RunRecord], wanted: str | None = None) -> tuple[str | None, str]:
    """Returns the model that the others are compared with, and why it.

    `wanted` if given; else a model trained here with masked language modelling alone, beside one of the same size that
    was trained with more; else the first of BASELINE_ORDER that has scores; else (None, reason).
    Raises UnknownName when no record is of the model wanted.
    """
    records = list(records)
    names = {record.job.model for record in records}
    if wanted is not None:
        if wanted not in names:
            raise UnknownName("model", wanted, names, "the results")
        return wanted, "as asked"
    count: dict[str, int] = {}
    made: dict[str, tuple[str, str]] = {}
    for record in records:
        if record.status == "ok":
            count[record.job.model] = count.get(record.job.model, 0) + 1
            extra = record.provenance.extra if record.provenance is not None else {}
            if extra.get("size") and extra.get("objectives", "none") != "none":  # "none" is an untrained encoder
                made[record.job.model] = (str(extra["size"]), str(extra["objectives"]))
    siblings = {
        model: next(s for s, objectives in sorted(made.values()) if s == size and objectives != "mlm")
        for model, (size, what) in made.items()
        if what == "mlm" and any(s == size and objectives != "mlm" for s, objectives in made.values())
    }
    if siblings:
        model = min(siblings, key=lambda m: (-count[m], m))
        return model, f"same size ({siblings[model]}) as a model trained here, masked language modelling alone"
    for model in BASELINE_ORDER:
        if model in count:
            return model, "the first available of " + ", ".join(BASELINE_ORDER)
    return None, "none of " + ", ".join(BASELINE_ORDER) + " has scores; name one with --baseline"
