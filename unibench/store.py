"""Records <-> results/runs/: write-once, atomic, path = identity.

A record is two files: `STEM.CHECKSUM.npz` (units, example ids, groups) is written first, `STEM.json` (everything a
person reads, and the whole checksum) last, so a record exists when its JSON does. Only "ok" records are write-once.
Attempts that failed stand beside them as `….attempt-N.json` and never block a later success. Predictions, where they
were asked for, are a third file, `STEM.CHECKSUM.predictions.jsonl.gz`, which the record names.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unibench.atomic import writing
from unibench.errors import DataError

SCHEMA = 1
SLUG_CHARACTERS = 100  # a file name may have 255 bytes, and seed and attempt follow
EVERYTHING = "all"  # the language of a record that says a model or task is not available at all
Status = Literal["ok", "failed", "unavailable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How an encoder is fine-tuned. One shared default per family; every model sees the same one.

    `learning_rates` is a grid: the rate with the best source-dev score is used, and recorded. Training stops once
    `patience` epochs in a row did not improve on the best source-dev score; the best epoch's weights are used. 0 stands
    in records from before: every epoch was trained, and the last one used.
    """

    learning_rates: tuple[float, ...]
    epochs: int
    batch_size: int
    max_tokens: int
    patience: int = 2
    warmup_frac: float = 0.1
    weight_decay: float = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One fine-tuning (or none, where the card trains nothing); measured in one or many languages.

    `adversarial` holds the languages that a discriminator was to confuse while the task was learned, those trained on
    and those of which only unlabelled text was read (empty is off), and `adversary_strength` the weight of its reversed
    gradient. `max_tokens` is how much is read of a row where nothing is trained and no recipe says it. `origin` is
    "data" for real data sets and "sample" for the generated one: they never meet in a table.
    """

    model: str
    task: str
    protocol: str
    train_languages: tuple[str, ...]
    seed: int
    recipe: Recipe | None
    train_limit: int | None = None
    eval_limit: int | None = None
    origin: str = "data"
    adversarial: tuple[str, ...] = ()
    adversary_strength: float = 0.0
    max_tokens: int | None = None

    @property
    def setting(self) -> str:
        """The path component that holds everything but model, task, language and seed."""
        parts = [self.protocol, _joined(self.train_languages) or "none"]
        if self.adversarial:
            parts.append(f"adversarial-{_joined(self.adversarial)}")
        if self.train_limit is not None:
            parts.append(f"train{self.train_limit}")
        if self.eval_limit is not None:
            parts.append(f"eval{self.eval_limit}")
        if self.origin != "data":
            parts.append(self.origin)
        return ".".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a record comes from. Hashes are hex sha256; `started` is UTC ISO 8601."""

    commit: str
    dirty: bool
    packages: Mapping[str, str]
    device: str
    started: str
    seconds: float
    card_sha256: str
    data_sha256: str
    model_sha256: str
    data_stamp: str = ""  # cheap fingerprint of the files data_sha256 was computed from; "" when unknown
    extra: Mapping[str, Any] = field(default_factory=dict)  # chosen learning rate, dev scores, counts worth keeping


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One model, one task, one language, one seed. Row i of `units` belongs to `example_ids[i]` and `groups[i]`.

    `units` is (N, K), columns named by `unit_names`; rows stand in ascending order of example id, so two records with
    the same `example_ids_sha256` pair row by row. `oracle` is what choosing by this language's own dev set would have
    scored, beside what choosing by the training languages' did: {"learning_rate", "dev_score", "scores", "source"};
    {} where there was nothing to choose or no such dev set. `predictions` is {"file", "sha256"} of what was predicted
    for each example, where that was kept. `parallel` says that group ids mean the same in every language.
    `units_sha256` is that of the stored units, by which records read without them are told apart.
    """

    job: Job
    language: str
    status: Status
    reason: str = ""
    family: str = ""
    metric: str = ""
    split: str = ""
    parallel: bool = False
    scores: Mapping[str, float] = field(default_factory=dict)
    unit_names: tuple[str, ...] = ()
    units: NDArray[np.float64] | None = None
    example_ids: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    example_ids_sha256: str = ""
    oracle: Mapping[str, Any] = field(default_factory=dict)
    predictions: Mapping[str, str] = field(default_factory=dict)
    units_sha256: str = ""
    provenance: Provenance | None = None


def _joined(languages: tuple[str, ...]) -> str:
    words = "+".join(languages)
    if len(words) <= 24:
        return words
    return f"{len(languages)}languages-{hashlib.sha256(words.encode()).hexdigest()[:8]}"


def slug(name: str) -> str:
    """Returns `name` as one safe path component: a Hub id's slash becomes `--`, nothing climbs out of the folder.

    A name that cannot be read back from that gets a hash at its end, so that two names never share a path.
    """
    safe = re.sub(r"[^A-Za-z0-9._:+@-]", "-", name.replace("/", "--")).lstrip(".")[:SLUG_CHARACTERS]
    if safe and safe.replace("--", "/") == name:
        return safe
    return f"{safe or 'unnamed'}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def record_path(results: Path, job: Job, language: str) -> Path:
    """Returns where the "ok" record of this job in this language stands, whether it exists or not."""
    folder = results / "runs" / slug(job.task) / slug(job.model) / slug(job.setting)
    return folder / f"{slug(language)}.seed{job.seed}.json"


def ids_sha256(example_ids: tuple[str, ...]) -> str:
    """Returns the hash that two records must share to be compared: of their example ids, in order."""
    return hashlib.sha256("\n".join(example_ids).encode()).hexdigest()


def write(results: Path, record: RunRecord, predictions: bytes | None = None) -> Path:
    """Stores a record, with its predictions if there are any, and returns its path.

    An "ok" record is written once: FileExistsError when another stands at its path. Anything else becomes the next
    attempt file beside that path.
    """
    path = record_path(results, record.job, record.language)
    path.parent.mkdir(parents=True, exist_ok=True)
    if record.status != "ok":
        return _write_attempt(path, record)
    if path.exists():
        raise FileExistsError(f"{path} is already stored; records are write-once")
    assert record.units is not None
    assert len(record.units) == len(record.example_ids) == len(record.groups)
    assert list(record.example_ids) == sorted(record.example_ids), "rows stand in ascending order of example id"
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        units=np.asarray(record.units, dtype=np.float64),
        example_ids=np.array(record.example_ids, dtype=np.str_),
        groups=np.array(record.groups, dtype=np.str_),
    )
    units_sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
    with writing(_beside(path, units_sha256, "npz")) as file:
        file.write(buffer.getvalue())
    if predictions is not None:
        sha256 = hashlib.sha256(predictions).hexdigest()
        beside = _beside(path, sha256, "predictions.jsonl.gz")
        with writing(beside) as file:
            file.write(predictions)
        record = replace(record, predictions={"file": beside.name, "sha256": sha256})
    with writing(path, once=True) as file:
        file.write(_encode(record, units_sha256=units_sha256))
    return path


def _write_attempt(path: Path, record: RunRecord) -> Path:
    while True:
        number = max((_order(found)[0] for found in path.parent.glob(f"{path.stem}.attempt-*.json")), default=0) + 1
        attempt = path.with_name(f"{path.stem}.attempt-{number}.json")
        try:
            with writing(attempt, once=True) as file:
                file.write(_encode(record, units_sha256=""))
            return attempt
        except FileExistsError:  # another process took this number meanwhile
            continue


def read(path: Path, *, units: bool = True) -> RunRecord:
    """Returns the record stored at `path`; with `units=False` the arrays are left on disk.

    Raises DataError, naming the file, when it is truncated, altered or of another schema.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw.pop("schema") != SCHEMA:
            raise DataError(f"{path} was written by another version of unibench; run again into a fresh --results")
        units_sha256 = raw["units_sha256"]
        job = dict(raw.pop("job"))
        recipe = job.pop("recipe")
        if recipe is not None:
            recipe = Recipe(**{"patience": 0, **recipe, "learning_rates": tuple(recipe["learning_rates"])})
        made = raw.pop("provenance")
        record = {
            **raw,
            "unit_names": tuple(raw["unit_names"]),
            "job": Job(
                **{
                    **job,
                    "recipe": recipe,
                    "train_languages": tuple(job["train_languages"]),
                    "adversarial": tuple(job.get("adversarial", ())),
                }
            ),
            "provenance": Provenance(**made) if made is not None else None,
        }
        if units and units_sha256:
            arrays = _arrays(path, units_sha256)
            record["units"] = arrays["units"]
            record["example_ids"] = tuple(arrays["example_ids"].tolist())
            record["groups"] = tuple(arrays["groups"].tolist())
        return RunRecord(**record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a readable record ({error}); delete it and run again") from error


def with_units(results: Path, record: RunRecord) -> RunRecord:
    """Returns a record that was read without its units with them and its groups, which is what statistics need.

    Raises DataError as `read` does.
    """
    if record.units is not None or not record.units_sha256:
        return record
    path = record_path(results, record.job, record.language)
    try:
        arrays = _arrays(path, record.units_sha256)
        return replace(record, units=arrays["units"], groups=tuple(arrays["groups"].tolist()))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is not a readable record ({error}); delete it and run again") from error


def _arrays(path: Path, units_sha256: str) -> Any:
    """Returns the arrays beside a record, opened when they are asked for; DataError where they are not the record's."""
    stored = _beside(path, units_sha256, "npz")
    data = stored.read_bytes()
    if hashlib.sha256(data).hexdigest() != units_sha256:
        raise DataError(f"{stored} does not match its record {path.name}; delete both and run again")
    return np.load(io.BytesIO(data), allow_pickle=False)


def load(results: Path, *, units: bool = True) -> Iterator[RunRecord]:
    """Yields every current record, ordered by path: the "ok" one where it exists, else the latest attempt.

    That a model or task was not available at all is no longer current where any language has been measured since.
    """
    best: dict[str, Path] = {}
    for path in sorted((results / "runs").glob("*/*/*/*.json"), key=lambda p: (str(p.parent), _order(p))):
        key = f"{path.parent}/{re.sub(r'[.]attempt-[0-9]+$', '', path.stem)}"
        best[key] = path
    measured = {path.parent for path in best.values() if ".attempt-" not in path.stem}
    for key in sorted(best):
        if best[key].stem.startswith(f"{EVERYTHING}.seed") and best[key].parent in measured:
            continue
        yield read(best[key], units=units)


def last_attempt(path: Path) -> Path | None:
    """Returns the latest attempt file beside the "ok" record's path, None when there is none."""
    return max(path.parent.glob(f"{path.stem}.attempt-*.json"), key=_order, default=None)


def _beside(path: Path, sha256: str, ending: str) -> Path:
    """Named by content too: of two processes that write one record, the later leaves the earlier's files alone."""
    return path.with_name(f"{path.stem}.{sha256[:8]}.{ending}")


def _order(path: Path) -> tuple[int, str]:
    """Attempts in numerical order, the "ok" record after all of them."""
    found = re.search(r"[.]attempt-([0-9]+)$", path.stem)
    return (int(found.group(1)) if found else 1 << 30, path.name)


def _encode(record: RunRecord, *, units_sha256: str) -> bytes:
    plain = {f.name: getattr(record, f.name) for f in fields(record)}
    for name in ("units", "example_ids", "groups"):
        del plain[name]
    plain["job"] = asdict(record.job)
    plain["provenance"] = asdict(record.provenance) if record.provenance is not None else None
    plain |= {"schema": SCHEMA, "units_sha256": units_sha256}
    return (json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
