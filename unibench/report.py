"""Records -> tables. Pure: the same records give the same tables, and a filter of the view moves no number.

Records are first parted by setting (protocol, training languages, limits, origin, recipe), for scores of different
settings don't compare; inside a setting everything must come from the same card, data and model, or is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from unibench import details, tables
from unibench.cells import cells
from unibench.compare import Comparison, compare
from unibench.errors import UnknownName, UserError
from unibench.footnotes import footer
from unibench.gaps import gaps_table
from unibench.pairing import SCRATCH
from unibench.settings import by_setting, of_record, refuse_mixtures
from unibench.store import RunRecord
from unibench.tables import Column, Entry, Table

__all__ = ["Column", "Comparison", "Entry", "Table", "choose_baseline", "leaderboard"]

# named baselines from the best known to the least, the untrained encoder last: any trained one says more
BASELINE_ORDER = ("mbert", "distilmbert", "xlm-r-base", "mminilm-l12", SCRATCH)


def leaderboard(
    records: Iterable[RunRecord],
    *,
    baseline: str | None = None,
    tasks: Sequence[str] = (),
    languages: Sequence[str] = (),
    models: Sequence[str] = (),
    significance: bool = True,
    resamples: int = 10_000,
) -> list[Table]:
    """Returns, for each setting, a leaderboard, a table per task and the list of what is missing with its reasons.

    `records` hold their units. `baseline` None chooses one in each setting. `tasks`, `languages` and `models` only
    narrow the view: every mean and every adjusted p is that of all records (empty: show all). `significance`
    False leaves out every p. `resamples` is at least the number of bootstrap samples and permutations. Raises UserError
    when there are no records, UnknownName for a filter or baseline that no record has, StaleRecord for records that may
    not share a table.
    """
    everything = list(records)
    if not everything:
        raise UserError("no records to report; run `unibench run` first, or point --results at a folder that has some")
    for kind, wanted, known in (
        ("task", tasks, {r.job.task for r in everything}),
        ("language", languages, {r.language for r in everything}),
        ("model", [*models, *([baseline] if baseline else [])], {r.job.model for r in everything}),
    ):
        for asked in wanted:
            if asked not in known:
                raise UnknownName(kind, asked, known, "the results")
    out: list[Table] = []
    for setting, group in by_setting(everything).items():
        ok = [record for record in group if record.status == "ok"]
        refuse_mixtures(ok)
        # one asked for may be missing from this setting: the footer says so, another isn't put in its place
        name, why = (baseline, "as asked") if baseline else choose_baseline(group)
        found = compare(cells(ok), baseline=name, signature=setting, resamples=resamples)
        shown = [t for t in sorted({r.job.task for r in ok}) if not tasks or t in tasks]
        seen = set(models or {r.job.model for r in group}) | ({name} if name else set())
        if shown:
            table = tables.leaderboard_table(found, f"Leaderboard: {setting}", shown, seen)
            narrowed = bool(tasks or languages or models)
            notes = footer(found, ok, name, why, narrowed=narrowed, significance=significance)
            out.append(tables.with_notes(table, notes))
        for task in shown:
            mine = [r for r in ok if r.job.task == task]
            split = "/".join(sorted({r.split for r in mine if r.split}))
            trained = any(record.job.protocol != "none" for record in mine)
            rest = f": {setting if trained else _untrained(mine[0], setting)}" + (f", {split} split" if split else "")
            oracle = details.oracle(mine)
            table = tables.task_table(found, task + rest, task, seen, set(languages) or None, oracle)
            out.append(tables.with_notes(table, details.notes([r for r in mine if r.job.model in seen])))
            parts = details.parts_table(mine, f"{task} {{by}}{rest}", seen)
            out += [parts] if parts else []
        gone = [r for r in group if r.status != "ok" and (not tasks or r.job.task in tasks)]
        gone = [r for r in gone if r.job.model in seen and (not languages or r.language in languages)]
        missing = gaps_table(gone, f"Missing: {setting}", {r.job.task for r in group})
        if missing:
            note = () if ok else ("Nothing in this setting succeeded, so there is nothing to compare.",)
            out.append(tables.with_notes(missing, note))
    return out if significance else [tables.without_p(table) for table in out]


def _untrained(record: RunRecord, setting: str) -> str:
    """Returns a task's own setting, since it trains nothing, and on whose leaderboard it stands."""
    own = of_record(record).title
    return own if own == setting else f"{own} (beside {setting})"


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
