"""Two sets of results -> tables: what every model gained, what differs between the two, and what has no pair."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from unibench import footnotes, tables
from unibench.comparisons import Comparison, Comparisons
from unibench.settings import recipe_words
from unibench.store import RunRecord
from unibench.tables import Column, Entry, Table, Value, entry, legend

Found = Mapping[str, Comparisons]  # model -> its comparisons: this set of results against the other
HASH = 12  # characters of a hash that are shown
MOST_VALUES = 2  # of a kind that are named; of more, only how many


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One model on one task in one language with one seed, measured twice; `model` is what both are called."""

    model: str
    ours: RunRecord
    theirs: RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpaired:
    """What only one of the two has, or both in a way that must not be compared: why."""

    task: str
    model: str
    language: str
    seed: int
    why: str


def overview(found: Found, names: tuple[str, str], setting: str) -> Table:
    """Returns one row a model: its mean here and there, the difference, and that of each task."""
    means = {
        model: {r.task: r for r in _gains(comparisons) if r.language is None} for model, comparisons in found.items()
    }
    tasks = sorted({task for rows in means.values() for task in rows if task is not None})
    columns = (
        Column(name="model"),
        *(Column(name=f"in {name}", kind="score") for name in reversed(names)),
        Column(name="Δ", kind="difference"),
        Column(name="p adjusted", kind="p"),
        Column(name="cells", kind="count"),
        *(Column(name=f"{task} Δ", kind="difference") for task in tasks),
    )
    rows = tuple(
        (model, *_scores(of[None]), of[None].p_adjusted, of[None].cells,
         *(_delta(of[task]) if task in of else None for task in tasks))
        for model, of in sorted(means.items()) if None in of
    )  # fmt: skip
    return Table(title=f"{names[0]} against {names[1]}: {setting}", columns=columns, rows=rows, footnotes=legend(rows))


def by_task(found: Found, names: tuple[str, str], setting: str) -> list[Table]:
    """Returns a table a task: one row a language and model, with the mean over languages on top."""
    rows: dict[str, list[tuple[Value, ...]]] = {}
    metrics: dict[str, str] = {}
    for model, comparisons in sorted(found.items()):
        for row in _gains(comparisons):
            if row.task is not None:
                metrics[row.task] = row.metric
                rows.setdefault(row.task, []).append((
                    row.language or f"mean of {row.cells}", model, *_scores(row), row.p, row.p_adjusted, row.n,
                    " ".join(map(str, row.seeds)),
                ))  # fmt: skip
    out = []
    for task, of in sorted(rows.items()):
        columns = (
            Column(name="language"),
            Column(name="model"),
            *(Column(name=f"{metrics[task]} in {name}", kind="score") for name in reversed(names)),
            Column(name="Δ", kind="difference"),
            Column(name="p", kind="p"),
            Column(name="p adjusted", kind="p"),
            Column(name="n", kind="count"),
            Column(name="seeds"),
        )
        ordered = tuple(sorted(of, key=lambda r: (not str(r[0]).startswith("mean of"), r[0], r[1])))
        title = f"{task}, {names[0]} against {names[1]}: {setting}"
        out.append(Table(title=title, columns=columns, rows=ordered, footnotes=legend(ordered)))
    return out


def notes(found: Found, names: tuple[str, str], pairs: Sequence[Pair], *, significance: bool) -> list[str]:
    """Returns what one setting's comparisons stand on, in the order a reader would ask."""
    some = next(iter(found.values()))
    out = [
        f"Δ: the score in {names[0]} less the one in {names[1]}, of the same model, task, language, seed and setting "
        "on the same test examples; means run over languages, then over tasks, of what both have.",
    ]
    moved = {what: sorted({p.ours.job.task for p in pairs if what in dict(_hashes(p))}) for what in ("data", "card")}
    for what, tasks in moved.items():
        if tasks:
            out.append(f"The {what} changed between the two ({', '.join(tasks)}), so Δ holds what that did to scores.")
    trained = sorted({pair.model for pair in pairs if "model" in dict(_hashes(pair))})
    if trained:
        out.append(f"Other weights under one name in the two: {', '.join(trained)}. Δ is then between two models.")
    undefined = {model: footnotes.by_task(of.undefined) for model, of in sorted(found.items()) if of.undefined}
    if undefined:
        cells = "; ".join(f"{model}: {words}" for model, words in undefined.items())
        out.append(f"Out of every mean, the score in {names[1]} being undefined: {cells}.")
    if some.family and significance:
        family = "every model x (overall, each task, each language) that both sets of results have, in every setting"
        out += footnotes.how_tested(some, family)
    out.append(
        f"Intervals: 95 % percentile bootstrap over example groups, {some.resamples:,} samples (Efron & Tibshirani "
        "1993); parallel test sets are resampled jointly."
    )
    out.append(footnotes.shared_seeds(found.values()))
    if any(pair.ours.job.origin == "sample" for pair in pairs):
        out.append("Sample data: generated sentences, good to see that everything works, not to rank encoders.")
    return out


def differences(pairs: Sequence[Pair], names: tuple[str, str]) -> Table:
    """Returns one row for each thing that isn't the same on both sides of some pair."""
    values: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    where: dict[str, list[Pair]] = {}
    for pair in pairs:
        for what, ours, theirs in _differing(pair):
            mine, other = values.setdefault(what, ({}, {}))
            mine[ours] = other[theirs] = None
            where.setdefault(what, []).append(pair)
    rows = tuple(
        (
            what, *(_words(side) for side in values[what]), f"{len(where[what])}/{len(pairs)}",
            ", ".join(sorted({pair.ours.job.task for pair in where[what]})),
            ", ".join(sorted({pair.model for pair in where[what]})),
        )
        for what in sorted(values)
    )  # fmt: skip
    columns = ("what", f"in {names[0]}", f"in {names[1]}", "pairs", "tasks", "models")
    none = ("Nothing differs in what the records say of how they were made.",)
    return Table(
        title=f"What differs between {names[0]} and {names[1]}",
        columns=tuple(Column(name=name) for name in columns),
        rows=rows,
        footnotes=() if rows else none,
    )


def unpaired(found: Mapping[str, Sequence[Unpaired]], names: tuple[str, str], *, nothing: bool) -> Table:
    """Returns what has no pair, by setting and reason; `nothing` says that there are no pairs at all."""
    where: dict[tuple[str, str, str, str], list[Unpaired]] = {}
    for setting, items in found.items():
        for item in items:
            where.setdefault((setting, item.task, item.why, item.model), []).append(item)
    alike: dict[tuple[str, str, str, tuple[str, ...], tuple[int, ...]], list[str]] = {}
    for (setting, task, why, model), items in sorted(where.items()):
        languages, seeds = {item.language for item in items}, {item.seed for item in items}
        alike.setdefault((setting, task, why, tuple(sorted(languages)), tuple(sorted(seeds))), []).append(model)
    rows = tuple(
        (setting, task, ", ".join(models), why, str(len(codes)), " ".join(codes), " ".join(map(str, numbers)))
        for (setting, task, why, codes, numbers), models in alike.items()
    )
    columns = ("setting", "task", "model", "why", "languages", "which", "seeds")
    none = (f"{names[0]} and {names[1]} have nothing that may be compared, so no difference is shown.",)
    return Table(
        title=f"Not compared between {names[0]} and {names[1]}",
        columns=tuple(Column(name=name) for name in columns),
        rows=rows,
        footnotes=none if nothing else (),
    )


def _gains(comparisons: Comparisons) -> Iterator[Comparison]:
    return (row for row in comparisons.rows if row.model != row.baseline)


def _scores(row: Comparison) -> tuple[float, Entry, Entry]:
    return row.baseline_score, tables.score_entry(row, at_chance=False), _delta(row)


def _delta(row: Comparison) -> Entry:
    return entry(row.delta, row.ci_low, row.ci_high)


def _hashes(pair: Pair) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yields of card, data and model those whose hashes differ, with both."""
    ours, theirs = pair.ours.provenance, pair.theirs.provenance
    if ours is not None and theirs is not None:
        for what in ("card", "data", "model"):
            two = getattr(ours, f"{what}_sha256"), getattr(theirs, f"{what}_sha256")
            if two[0] != two[1]:
                yield what, two


def _differing(pair: Pair) -> Iterator[tuple[str, str, str]]:
    """Yields (what, ours, theirs) for everything about a pair's making that is not the same."""
    for what, two in _hashes(pair):
        of = pair.model if what == "model" else pair.ours.job.task
        yield f"{what} of {of}", two[0][:HASH], two[1][:HASH]
    ours, theirs = (_made(record) for record in (pair.ours, pair.theirs))
    for what in sorted(ours.keys() | theirs.keys()):
        if ours.get(what) != theirs.get(what):
            yield what, ours.get(what, ""), theirs.get(what, "")


def _made(record: RunRecord) -> dict[str, str]:
    """Returns, in words, how a record was made, less its hashes."""
    made, out = record.provenance, {"recipe": recipe_words(record.job.recipe)}
    if made is None:
        return {**out, "provenance": "none"}
    out |= {"commit": made.commit[:HASH] + (" with changes" if made.dirty else ""), "device": made.device}
    out |= {name: str(made.extra[name]) for name in ("precision", "threads") if name in made.extra}
    out |= {f"package {name}": version for name, version in made.packages.items()}
    return out | {f"commit of {hub}": c[:HASH] for hub, c in made.extra.get("dataset_commits", {}).items()}


def _words(values: Iterable[str]) -> str:
    shown = [value or "unknown" for value in values]
    return ", ".join(shown) if len(shown) <= MOST_VALUES else f"{len(shown)} of them"
