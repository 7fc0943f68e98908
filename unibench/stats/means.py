"""Improvement over a reference, which cells may enter it, and the mean over languages, then tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from unibench.metrics import Array

Value = TypeVar("Value", float, Array)


def relative_improvement(score: Value, reference: Value) -> Value:
    """Returns (score - reference) / |reference|, elementwise; nan where the reference is 0.

    A fraction: 0.05 is 5 % better. It explodes near a reference of 0, so `eligible` decides which cells may enter.
    """
    score_, reference_ = np.asarray(score, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    gap = score_ - reference_
    out = np.divide(gap, np.abs(reference_), out=np.full(gap.shape, np.nan), where=reference_ != 0)
    return float(out) if out.ndim == 0 else out  # type: ignore[return-value]


def eligible(reference_low: float, floor: float, margin: float = 0.05) -> bool:
    """Returns whether a cell may enter a relative improvement: its reference's lower confidence bound must exceed the
    floor by `margin`. A fixed property of the cell, so every model and every resample average over the same cells."""
    return bool(reference_low > floor + margin)  # nan compares false: an unknown reference is not eligible


def macro_mean(cells: Mapping[tuple[str, str], Value]) -> Value:
    """Returns the mean over languages within each task, then over tasks, of values keyed (task, language).

    Values are floats or (R,) arrays. nan for no cells; a nan cell makes the mean nan, for dropping it would let a model
    profit from a cell it failed.
    """
    tasks: dict[str, list[Value]] = {}
    for (task, _), value in cells.items():
        tasks.setdefault(task, []).append(value)
    if not tasks:
        return float("nan")  # type: ignore[return-value]
    out = np.mean([np.mean(values, axis=0) for values in tasks.values()], axis=0)
    return float(out) if np.ndim(out) == 0 else out  # type: ignore[return-value]
