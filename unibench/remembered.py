"""Comparisons that were made before, by the hash of everything they depend on: results/cache/comparisons/.

A key holds the records' own hashes, who is compared by which family, and the code that computes; so nothing is ever out
of date, and what is not found is computed again. The files are plain JSON with a checksum, read by the types that wrote
them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from unibench import metrics
from unibench.atomic import writing
from unibench.store import RunRecord

Made = TypeVar("Made")
HERE = Path(__file__).parent
# what decides a number: a change in any of these files makes every comparison anew
CODE = (
    "board", "cells", "compare", "comparisons", "declared", "draws", "evidence", "facts", "judging", "metrics", "nulls",
    "pairing", "recipe_evidence", "reduces", "remembered", "resampling", "stats/*",
)  # fmt: skip
SEAL = '", "made": '
LIBRARIES = ("numpy", "scipy", "statsmodels", "scikit-posthocs", "pandas")


def key_of(records: Iterable[RunRecord], **asked: Any) -> str | None:
    """Returns the hash of these "ok" records and of what is asked of them; None where they can't be told apart.

    That is the case for a metric of another package, whose code may change, and for records not read from a store.
    """
    rows = []
    for record in records:
        if not record.units_sha256 or record.metric.partition(":")[0] not in metrics.METRICS:
            return None
        made = record.provenance.extra if record.provenance is not None else {}
        about = [made.get(name) for name in ("recipe", "pretraining_seed", "teacher_sha256", "objectives", "size")]
        job = record.job
        rows.append(
            [job.model, job.task, record.language, job.seed, record.metric, record.parallel, record.units_sha256,
             list(record.unit_names), list(job.train_languages), about,
             record.provenance.model_sha256 if record.provenance is not None else ""]
        )  # fmt: skip
    plain = json.dumps([code_sha256(), sorted(rows, key=str), asked], sort_keys=True, default=str)
    return hashlib.sha256(plain.encode()).hexdigest()


@lru_cache
def code_sha256() -> str:
    """Returns the hash of the modules that decide a number, and of the libraries that they ask."""
    digest = hashlib.sha256(" ".join(map(metadata.version, LIBRARIES)).encode())
    for pattern in CODE:
        for path in sorted(HERE.glob(f"{pattern}.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def recall(folder: Path, key: str, kind: type[Made]) -> Made | None:
    """Returns what was kept under this key; None where nothing is, or not every byte of it."""
    with suppress(OSError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        text = (folder / f"{key[:32]}.json").read_text("utf-8")
        if text == _sealed(text.split(SEAL, 1)[1]):
            return typing.cast(Made, _decoded(kind, json.loads(text)["made"]))
    return None


def keep(folder: Path, key: str, made: Any) -> None:
    """Keeps a dataclass under this key; a folder that can't be written to is no reason to stop a report."""
    with suppress(OSError):
        text = json.dumps(_encoded(made))
        with writing(folder / f"{key[:32]}.json") as file:
            file.write(_sealed(text + "}").encode())


def _sealed(end: str) -> str:
    """Returns the JSON object that ends so, with the checksum of its end: one digit gone wrong is a wrong number."""
    return f'{{"sha256": "{hashlib.sha256(end.encode()).hexdigest()}{SEAL}{end}'


def _encoded(value: Any) -> Any:
    """Dataclasses by field, mappings as pairs, for their keys may be tuples."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _encoded(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return [[_encoded(key), _encoded(of)] for key, of in value.items()]
    if isinstance(value, tuple | list):
        return [_encoded(one) for one in value]
    return value.item() if hasattr(value, "item") else value


def _decoded(kind: Any, raw: Any) -> Any:
    """Returns a value of the annotated type."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if raw is None or kind is Any:
        return raw
    if origin in (typing.Union, types.UnionType):
        return _decoded(next(part for part in parts if part is not type(None)), raw)
    if dataclasses.is_dataclass(kind):
        hints = _hints(typing.cast(type, kind))
        return kind(**{name: _decoded(hints[name], value) for name, value in raw.items()})  # type: ignore[operator]
    if origin is not None and issubclass(origin if isinstance(origin, type) else object, Mapping):
        return {_decoded(parts[0], key): _decoded(parts[1], value) for key, value in raw}
    if origin is tuple or (isinstance(origin, type) and issubclass(origin, typing.Sequence)):
        if origin is tuple and not (len(parts) == 2 and parts[1] is ...):
            return tuple(_decoded(part, one) for part, one in zip(parts, raw, strict=True))
        return tuple(_decoded(parts[0], one) for one in raw)
    return kind(raw) if kind in (float, int, str, bool) else raw


@lru_cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)
