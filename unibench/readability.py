"""Can the language be read from the vectors, and do such models carry over less? Probe records beside scores."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unibench import transfer
from unibench.comparisons import Comparisons
from unibench.pairing import NAN, CellKey
from unibench.plots import Reading
from unibench.shared_cells import Shared, shared
from unibench.store import RunRecord
from unibench.tables import LEGEND, UNDEFINED, Column, Entry, Kind, Table, Value

Probe = Mapping[str, Any]  # a record of results/probes
UNREADABLE = "unreadable"  # the key of what stands for a file that could not be read
ENOUGH = 5  # models; below that even a perfect order can have no p under .05
ALL_ORDERS = 7  # models; 5,040 orders are tried one by one

MEASURES: Mapping[str, tuple[str, Kind]] = {
    "probe": ("fresh probe", "score"),
    "same_language": ("nearest: same language", "score"),
    "translation": ("nearest: translation", "score"),
    "effective_rank": ("effective rank", "count"),
}
READ = (
    "fresh probe: how often a new linear classifier tells the language of a sentence from its frozen vector; nearest: "
    "whose vector is nearest; both with 95 % intervals over the tested sentences. An untrained encoder is readable too."
)
NO_CAUSE = "Models side by side show no cause: they differ in more than what is shown here."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Probe records of one way of probing: those of this setting's models, and of untrained encoders.

    `first` is one of them, for what all share; `transfer` is what the models share of non-training languages; `twins`
    what fine-tuned untrained encoders of the same shape score there. `changed`, `unprobed` and `unscored` name models
    that are left out.
    """

    first: Probe
    models: Mapping[str, Probe]
    untrained: tuple[Probe, ...]
    transfer: Shared
    twins: Mapping[str, tuple[str, float]]
    changed: tuple[str, ...]
    unprobed: tuple[str, ...]
    unscored: tuple[str, ...]


def read_probes(results: Path) -> list[Probe]:
    """Returns the records in RESULTS/probes, in the order of their names; {"unreadable": name} for what isn't one."""
    out: list[Probe] = []
    for path in sorted((results / "probes").glob("*.json")):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            _way(found), found["model"], found["model_sha256"], found["measures"].keys()
            out.append(found)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError):
            out.append({UNREADABLE: path.name})
    return out


def tables(records: Sequence[RunRecord], found: Comparisons, probes: Sequence[Probe], title: str) -> list[Table]:
    """Returns a table for each way of probing (sentences, languages, depth): a row a model, chance and untrained first.

    `records` are one setting's "ok" ones, `found` their comparisons, `probes` what `read_probes` returns. Empty without
    probe records of these models, or without a zero-shot task.
    """
    groups = _groups(records, found, probes)
    broken = [str(probe[UNREADABLE]) for probe in probes if UNREADABLE in probe]
    notes = [f"Not readable, delete it and probe again: {', '.join(broken)}."] if broken else []
    if notes and not groups and transfer.zero_shot(records):
        return [Table(title=title, columns=(Column(name="model"),), rows=(), footnotes=tuple(notes))]
    return [
        _table(group, title if len(groups) == 1 else f"{title}, {_words(group.first)}", notes) for group in groups
    ]  # fmt: skip


def readings(records: Sequence[RunRecord], found: Comparisons, probes: Sequence[Probe]) -> tuple[list[Reading], float]:
    """Returns what the figure draws and what chance scores, of the way of probing that most models share; ([], nan)
    where no model has both a probe and a transfer score."""
    best: list[Reading] = []
    chance = NAN
    for group in _groups(records, found, probes):
        made = []
        for probe in (*group.untrained, *group.models.values()):
            name, read = str(probe["model"]), _entry(probe, "probe")
            untrained = name not in group.models
            score = Entry(value=group.twins.get(name, ("", NAN))[1]) if untrained else group.transfer.scores[name]
            made.append(Reading(
                model=name, probe=read.value, probe_low=read.low, probe_high=read.high, transfer=score.value,
                transfer_low=score.low, transfer_high=score.high, untrained=untrained,
            ))  # fmt: skip
        known = [r for r in made if not r.untrained and not math.isnan(r.probe + r.transfer)]
        if len(known) > sum(not r.untrained and not math.isnan(r.probe + r.transfer) for r in best):
            best, chance = made, _chance(group.first, "probe")
    return best, chance


def _groups(records: Sequence[RunRecord], found: Comparisons, probes: Sequence[Probe]) -> list[_Group]:
    tasks = transfer.zero_shot(records)
    if not tasks:
        return []
    trained_on = {task: transfer.sources(mine) for task, mine in tasks.items()}
    made = {r.job.model: r.provenance for r in records if r.provenance is not None}
    hashes = {model: provenance.model_sha256 for model, provenance in made.items()}
    # an untrained encoder has no probe record of its own: it stands there by its shape
    floors = {model for model, provenance in made.items() if provenance.extra.get("objectives") == "none"}

    def carried_over(task: str, language: str) -> bool:
        return task in trained_on and language not in trained_on[task]

    ways: dict[tuple[Any, ...], list[Probe]] = {}
    for probe in probes:
        if UNREADABLE not in probe:
            ways.setdefault(_way(probe), []).append(probe)
    out = []
    for _, mine in sorted(ways.items(), key=lambda item: repr(item[0])):
        latest: dict[tuple[str, str], Probe] = {}
        for probe in sorted(mine, key=lambda p: str(p.get("provenance", {}).get("started", ""))):
            latest[str(probe["model"]), str(probe["model_sha256"])] = probe
        trained = {key: probe for key, probe in latest.items() if probe.get("kind") != "untrained"}
        models = {name: trained[name, sha] for name, sha in sorted(hashes.items()) if (name, sha) in trained}
        changed = {name for name, _ in trained if name in hashes} - models.keys()
        if not models and not changed:
            continue
        fair = shared(found, models, carried_over)
        untrained = tuple(probe for key, probe in sorted(latest.items()) if key not in trained)
        out.append(_Group(
            first=mine[0], models=models, untrained=untrained, transfer=fair,
            twins=_twins(records, found, fair.cells, untrained), changed=tuple(sorted(changed)),
            unprobed=tuple(sorted(hashes.keys() - models.keys() - changed - floors)),
            unscored=tuple(sorted({name for name, _ in trained} - hashes.keys())),
        ))  # fmt: skip
    return out


def _way(probe: Probe) -> tuple[Any, ...]:
    """Returns what probe records must share to share a table; models of different depth are read equally far up."""
    settings = {name: value for name, value in probe["settings"].items() if name != "layer"}
    return (
        probe["data"], probe["data_sha256"], tuple(probe["languages"]), probe["sentences"], probe["tested"],
        tuple(sorted(settings.items())), Fraction(int(probe["layer"]), int(probe["layers"])),
    )  # fmt: skip


def _words(probe: Probe) -> str:
    """Returns a way of probing in words for a title."""
    depth = "last layer" if probe["layer"] == probe["layers"] else f"layer {probe['layer']}/{probe['layers']}"
    return (
        f"{len(probe['languages'])} languages of {probe['data']}, {probe['tested']} sentences tested, "
        f"seed {probe['settings'].get('seed')}, {depth}"
    )


def _twins(
    records: Sequence[RunRecord], found: Comparisons, cells: Sequence[CellKey], untrained: Sequence[Probe]
) -> dict[str, tuple[str, float]]:
    """Returns which fine-tuned untrained encoder has a probed one's shape and vocabulary size, and its score."""
    wanted = {str(probe["model"]) for probe in untrained}
    shapes = {}
    for record in records:
        extra = record.provenance.extra if record.provenance is not None else {}
        if extra.get("objectives") == "none":
            name = f"untrained-{extra.get('layers')}x{extra.get('width')}-{extra.get('vocabulary')}"
            shapes[name] = record.job.model
    out = {}
    for name, model in shapes.items():
        if name in wanted and cells:
            mine = shared(found, (model,), lambda task, language: (task, language) in cells)
            if len(mine.cells) == len(cells):
                out[name] = (model, mine.scores[model].value)
    return out


def _table(group: _Group, title: str, more: Sequence[str]) -> Table:
    columns = (
        Column(name="model"),
        Column(name="layer"),
        *(Column(name=heading, kind=kind) for heading, kind in MEASURES.values()),
        Column(name="zero-shot transfer", kind="score"),
    )
    rows: list[tuple[Value, ...]] = [
        ("chance", None, *(None if math.isnan(c := _chance(group.first, name)) else c for name in MEASURES), None)
    ]
    for probe in (*group.untrained, *group.models.values()):
        name = str(probe["model"])
        score: Value = group.transfer.scores.get(name)
        if name not in group.models:
            score = group.twins[name][1] if name in group.twins else None
        rows.append((name, f"{probe['layer']}/{probe['layers']}", *(_entry(probe, m) for m in MEASURES), score))
    return Table(title=title, columns=columns, rows=tuple(rows), footnotes=(*_notes(group), *more))


def _notes(group: _Group) -> list[str]:
    first = group.first
    notes = [LEGEND[UNDEFINED]] if any(entry.marks for entry in group.transfer.scores.values()) else []
    notes.append(READ)
    notes.append(
        f"Probed: {first['tested']} of {first['sentences']} sentences of {first['data']} in each of "
        f"{len(first['languages'])} languages: {' '.join(first['languages'])}."
    )
    if group.models:
        notes.append(f"zero-shot transfer, in languages not trained on: {group.transfer.note()}")
        notes += _correlations(group)
    if not group.untrained:
        notes.append("No untrained encoder was probed in this way.")
    for name, (model, _) in group.twins.items():
        notes.append(f"The transfer beside {name} is that of {model}: untrained, of that shape and vocabulary size.")
    for names, why in (
        (group.changed, "left out, for the probe was of other weights than the scores are; probe again"),
        (group.unprobed, "not probed in this way; see `unibench probe`"),
        (group.unscored, "probed, but without scores in this setting"),
    ):
        notes += [f"{', '.join(names)}: {why}."] if names else []
    return notes


def _correlations(group: _Group) -> list[str]:
    """Returns each measure's rank correlation with transfer over the models, as description; or why there is none."""
    known = {n: p for n, p in group.models.items() if not math.isnan(group.transfer.scores[n].value)}
    if len(known) < ENOUGH:
        return [f"{NO_CAUSE} {len(known)} of them are too few for a rank correlation, which takes {ENOUGH}."]
    score_M = np.array([group.transfer.scores[name].value for name in known])
    said = []
    for measure, (heading, _) in MEASURES.items():
        read_M = np.array([_entry(probe, measure).value for probe in known.values()])
        rho, least = spearman(read_M, score_M)
        said.append(f"{heading} {'not defined' if math.isnan(rho) else f'{rho:+.2f} (least p {least:.2g})'}")
    return [
        f"Rank correlation (Spearman) with transfer over {len(known)} models: {'; '.join(said)}. A description, not a "
        f"test; least p: what even a perfect order of so many could reach. Not defined: all are equal, or one is not "
        f"known. {NO_CAUSE}"
    ]


def spearman(x_M: NDArray[np.float64], y_M: NDArray[np.float64]) -> tuple[float, float]:
    """Returns Spearman's rank correlation, and the smallest two-sided p that a permutation test of it could reach.

    (nan, nan) where one of them is constant or not known. Beyond ALL_ORDERS values the p is 2/M!, as without ties.
    """
    from scipy.stats import rankdata

    if np.isnan(x_M).any() or np.isnan(y_M).any() or np.ptp(x_M) == 0 or np.ptp(y_M) == 0:
        return NAN, NAN
    x_M, y_M = (rankdata(values_M) - (len(values_M) + 1) / 2 for values_M in (x_M, y_M))
    rho = float(x_M @ y_M / np.sqrt((x_M @ x_M) * (y_M @ y_M)))
    if len(x_M) > ALL_ORDERS:
        return rho, 2 / math.factorial(len(x_M))
    products = np.abs(x_M[np.array(list(itertools.permutations(range(len(x_M)))))] @ y_M)
    return rho, float(np.mean(products >= products.max() - 1e-9))


def _entry(probe: Probe, measure: str) -> Entry:
    """Returns a measure with its interval; nan for what the record doesn't have."""
    held = probe["measures"].get(measure) or {}
    value, low, high = (NAN if held.get(key) is None else float(held[key]) for key in ("value", "low", "high"))
    return Entry(value=value, low=low, high=high)


def _chance(probe: Probe, measure: str) -> float:
    held = probe["measures"].get(measure) or {}
    return NAN if held.get("chance") is None else float(held["chance"])
