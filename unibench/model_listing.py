"""Encoders as tables: what each is, how large, whether it is here, and how fast it is on this machine."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from unibench import models
from unibench.catalogue import CATALOGUE
from unibench.models import Encoder
from unibench.pairing import NAN
from unibench.tables import Column, Table, Value

FETCH = "fetch"
COUNTED = (
    "shape: layers × width. total M: millions of parameters, of the encoder without heads and pooler; body M: without "
    "embeddings. Of encoders that are not here all follow from the published configuration."
)
PAIRS = "pairs/s: {workload}; on {machine}. Tokens to logits; cutting text into tokens is not counted."
UNKNOWN = "– not known, or not here."
FETCHED = "fetch: the Hub answers, and the encoder is fetched when it is first used."


def listing(
    encoders: Sequence[Encoder],
    speeds: Mapping[str, float] | None = None,
    reasons: Mapping[str, str] | None = None,
    *,
    workload: str = "",
    machine: str = "",
) -> Table:
    """Returns a row an encoder. `speeds` are pairs a second by name, `reasons` why some that are here have none.

    Without `speeds` there is no such column.
    """
    columns = [
        Column(name="name"),
        Column(name="kind"),
        Column(name="shape"),
        Column(name="total M"),
        Column(name="body M"),
        Column(name="pieces", kind="count"),
        Column(name="licence"),
        *([Column(name="pairs/s", kind="count")] if speeds is not None else []),
        Column(name="here"),
    ]
    rows: list[tuple[Value, ...]] = []
    notes: dict[str, list[str]] = defaultdict(list)
    for encoder in encoders:
        about = encoder.about
        row: list[Value] = [encoder.name, "Hub" if encoder.hub else encoder.kind]
        row.append(f"{about['layers']}×{about['width']}" if {"layers", "width"} <= about.keys() else NAN)
        row += [_millions(about.get(key)) for key in ("parameters", "parameters_without_embeddings")]
        row.append(about.get("vocabulary", NAN))
        row.append(about.get("licence", NAN) if encoder.kind == "catalogue" else None)
        if speeds is not None:
            row.append(speeds.get(encoder.name, NAN))
        rows.append((*row, "no" if encoder.reason else "yes" if encoder.folder else FETCH))
        for said in (encoder.reason, (reasons or {}).get(encoder.name), about.get("note")):
            if said:
                notes[said.replace(encoder.hub, "it") if encoder.hub else said].append(encoder.name)
    footnotes = [COUNTED]
    if speeds is not None:
        footnotes.append(PAIRS.format(workload=workload, machine=machine))
    if any(isinstance(value, float) and math.isnan(value) for row in rows for value in row):
        footnotes.append(UNKNOWN)
    if any(row[-1] == FETCH for row in rows):
        footnotes.append(FETCHED)
    footnotes += [f"{', '.join(names)}: {note}." for note, names in notes.items()]
    return Table(title="Models", columns=tuple(columns), rows=tuple(rows), footnotes=tuple(footnotes))


def details(encoder: Encoder, speed: float | None = None) -> Table:
    """Returns all that is known of one encoder, a row a fact; `speed` in pairs a second."""
    entry = CATALOGUE.get(encoder.name)
    facts: dict[str, Value] = {
        "kind": encoder.kind,
        "Hub id": encoder.hub or None,
        "revision": encoder.revision,
        "folder": str(encoder.folder) if encoder.folder else None,
        "here": encoder.reason or ("yes" if encoder.folder else FETCH),
        "languages named by its authors": entry.languages if entry else None,
        "source": entry.source if entry else None,
        **{key.replace("_", " "): _plain(value) for key, value in encoder.about.items()},
        "sha256": models.sha256(encoder) if encoder.folder else None,
        "pairs/s": speed,
    }
    rows = tuple((key, value) for key, value in facts.items() if value is not None)
    return Table(title=encoder.name, columns=(Column(name="what"), Column(name="value")), rows=rows)


def _millions(count: int | None) -> float:
    """Three digits: 0.396, 42.5, 277."""
    return NAN if count is None else float(f"{count / 1e6:.3g}")


def _plain(value: object) -> Value:
    if isinstance(value, int | float):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return None if value is None else str(value)
