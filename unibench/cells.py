"""Records -> cells: the units of every system on one task in one language, in the columns that its metric reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from unibench import metrics
from unibench.errors import DataError, StaleRecord
from unibench.metrics import Array
from unibench.pairing import Cell
from unibench.settings import file_of
from unibench.store import RunRecord


def model_of(record: RunRecord) -> str:
    return record.job.model


def cells(records: Iterable[RunRecord], system: Callable[[RunRecord], str] = model_of) -> list[Cell]:
    """Returns one cell a task and language; `system` says what is compared there: the models, unless told otherwise.

    `records` are "ok" ones with their units. Raises StaleRecord for records of one cell that differ in rows or metric,
    DataError for units that the record's metric can't be computed from.
    """
    units: dict[tuple[str, str], dict[str, dict[int, Array]]] = {}
    sample: dict[tuple[str, str], RunRecord] = {}
    for record in records:
        key = (record.job.task, record.language)
        before = sample.setdefault(key, record)
        if record.groups != before.groups or record.metric != before.metric:
            raise StaleRecord(f"{file_of(record)} and {file_of(before)} differ in their groups or metric; run again")
        units.setdefault(key, {}).setdefault(system(record), {})[record.job.seed] = columns(record)
    return [
        Cell(task=task, language=language, metric=sample[task, language].metric, groups=sample[task, language].groups,
             parallel=sample[task, language].parallel, units=units[task, language])
        for task, language in units
    ]  # fmt: skip


def columns(record: RunRecord) -> Array:
    """Returns the record's units (N, K), K being what its metric names."""
    names = metrics.lookup(record.metric).unit_names
    if record.units is None:
        raise ValueError(f"{file_of(record)} came without its units; load it with units=True")
    if not set(names) <= set(record.unit_names):
        raise DataError(f"{file_of(record)} has units {record.unit_names}; {record.metric} needs {names}; run again")
    return metrics.columns(record.metric, record.unit_names, record.units)
