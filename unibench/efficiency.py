"""Score against cost: each model's mean over the cells all have, beside its size and its speed on one machine."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from unibench.comparisons import Comparisons
from unibench.pairing import NAN
from unibench.plots import Point
from unibench.plots.pareto import front
from unibench.shared_cells import Shared, shared
from unibench.store import RunRecord
from unibench.tables import LEGEND, UNDEFINED, Column, Table, Value
from unibench.timings import Place, Speeds, Timing

COLUMNS = (
    Column(name="model"),
    Column(name="score", kind="score"),
    Column(name="parameters", kind="count"),
    Column(name="without embeddings", kind="count"),
    Column(name="examples/s", kind="count"),
    Column(name="front by size"),
    Column(name="front by speed"),
)
FRONT = (
    "front: yes where no other model scores at least as high with fewer parameters (or more examples a second), or "
    "higher with as many; among those whose size (speed) is known. It goes by the scores as they are: neighbours whose "
    "intervals overlap may change places."
)
SIZES = "parameters: of the encoder without heads and pooler, all of them and those outside its embeddings."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """What a board's models score and cost. `place` is where the speeds of `points` were measured, None without any;
    `elsewhere` are models measured only on other machines."""

    points: tuple[Point, ...]
    shared: Shared
    place: Place | None
    elsewhere: Mapping[str, Timing]


def table(records: Sequence[RunRecord], found: Comparisons, speeds: Speeds, title: str) -> Table | None:
    """Returns one row a model, the best score first; None without records.

    `records` are one setting's "ok" ones and `found` their comparisons; `speeds` come from `timings.read_speeds`. A
    size or speed that isn't known is nan, with the reason below the table.
    """
    if not records:
        return None
    measured = _measure(records, found, speeds)
    by_size, by_speed = on_front(measured.points)
    rows: list[tuple[Value, ...]] = []
    for point in measured.points:
        rows.append((
            point.model, measured.shared.scores[point.model],
            *(NAN if cost is None else cost for cost in (
                point.parameters, point.parameters_without_embeddings, point.examples_per_s,
            )),
            _placed(by_size, point, point.parameters), _placed(by_speed, point, point.examples_per_s),
        ))  # fmt: skip
    return Table(title=title, columns=COLUMNS, rows=tuple(rows), footnotes=_notes(measured))


def points(records: Sequence[RunRecord], found: Comparisons, speeds: Speeds) -> list[Point]:
    """Returns what the figure draws, in the table's order; nothing where no model has a score and a size or a speed."""
    made = _measure(records, found, speeds).points if records else ()
    drawable = any(not math.isnan(p.score) and (p.parameters or p.examples_per_s) for p in made)
    return list(made) if drawable else []


def on_front(points: Sequence[Point]) -> tuple[set[str], set[str]]:
    """Returns the models on the front of score against parameters, and on that of score against speed.

    Only points that have both numbers take part. Models equal in both are on it together.
    """
    scored = [point for point in points if not math.isnan(point.score)]
    sized = [(float(p.parameters), p) for p in scored if p.parameters]
    timed = [(float(p.examples_per_s), p) for p in scored if p.examples_per_s]
    by_size, by_speed = (
        {these[i][1].model for i in front([(cost, p.score) for cost, p in these], less_is_better=less)}
        for these, less in ((sized, True), (timed, False))
    )
    return by_size, by_speed


def _measure(records: Sequence[RunRecord], found: Comparisons, speeds: Speeds) -> _Measured:
    sizes: dict[str, dict[str, int]] = {}
    hashes: dict[str, str] = {}
    for record in records:
        mine = sizes.setdefault(record.job.model, {})
        made = record.provenance
        if made is not None:
            hashes.setdefault(record.job.model, made.model_sha256)
            for name in ("parameters", "parameters_without_embeddings"):
                if made.extra.get(name):
                    mine.setdefault(name, int(made.extra[name]))
    timings = {model: speeds.get(model) or speeds.get(hashes.get(model, ""), ()) for model in sizes}
    place = _place(timings.values())
    fair = shared(found, sizes)
    here = {model: _last(timings[model], place) for model in sizes}
    made_points = [
        Point(
            model=model, score=fair.scores[model].value, low=fair.scores[model].low, high=fair.scores[model].high,
            parameters=mine.get("parameters"), parameters_without_embeddings=mine.get("parameters_without_embeddings"),
            examples_per_s=timing.pairs_per_s if (timing := here[model]) else None,
        )
        for model, mine in sizes.items()
    ]  # fmt: skip
    made_points.sort(key=lambda p: (math.isnan(p.score), 0.0 if math.isnan(p.score) else -p.score, p.model))
    elsewhere = {model: timings[model][-1] for model in sorted(sizes) if timings[model] and here[model] is None}
    return _Measured(points=tuple(made_points), shared=fair, place=place, elsewhere=elsewhere)


def _place(timings: Iterable[Sequence[Timing]]) -> Place | None:
    """Returns where most models were measured, of equals where one was measured last; None without any timing."""
    models: dict[Place, int] = {}
    latest: dict[Place, int] = {}
    for mine in timings:
        for place in {timing.place for timing in mine}:
            models[place] = models.get(place, 0) + 1
        for timing in mine:
            latest[timing.place] = max(latest.get(timing.place, 0), timing.number)
    return max(models, key=lambda place: (models[place], latest[place]), default=None)


def _last(timings: Sequence[Timing], place: Place | None) -> Timing | None:
    return max((t for t in timings if t.place == place), key=lambda t: t.number, default=None)


def _placed(best: Collection[str], point: Point, cost: float | None) -> Value:
    if cost is None or math.isnan(point.score):
        return NAN
    return "yes" if point.model in best else "no"


def _notes(measured: _Measured) -> tuple[str, ...]:
    points, scores = measured.points, measured.shared.scores
    notes = [LEGEND[UNDEFINED]] if any(entry.marks for entry in scores.values()) else []
    notes.append(f"score: {measured.shared.note()}")
    without = [point.model for point in points if math.isnan(point.low) and not math.isnan(point.score)]
    if len(without) < sum(not math.isnan(point.score) for point in points):
        notes.append("[ ]: the leaderboard's 95 % interval of its overall mean, which is over the same cells.")
    if without:
        which = "" if len(without) == len(points) else f"{', '.join(without)}: "
        notes.append(f"{which}no interval: the leaderboard has none, or that of a mean over other cells.")
    notes.append(SIZES)
    if unsized := [point.model for point in points if point.parameters is None]:
        notes.append(f"– size not known, the records do not say it: {', '.join(unsized)}.")
    if measured.place is not None:
        notes.append(
            f"examples/s: pairs of sentences, tokens to logits, as `unibench models` measured on {measured.place}. "
            "Speeds of another machine or number of threads are not compared with these."
        )
    for model, timing in measured.elsewhere.items():
        other = "" if timing.place.workload == (measured.place or timing.place).workload else ", over other pairs"
        notes.append(
            f"– {model} was measured elsewhere, {timing.pairs_per_s:g} pairs a second on {timing.place}{other}: not "
            "compared."
        )
    untimed = [p.model for p in points if p.examples_per_s is None and p.model not in measured.elsewhere]
    if untimed:
        notes.append(f"– speed not known, `unibench models` has not measured it: {', '.join(untimed)}.")
    return (*notes, FRONT)
