"""A table's values as a person reads them: fractions become points (x 100), as render.py has them for programs."""

from __future__ import annotations

import math

from unibench.tables import Column, Entry, Kind, Value

UNKNOWN = "–"
PERCENT: frozenset[Kind] = frozenset({"score", "difference", "relative"})


def cell(value: Value, column: Column) -> str:
    """Returns a value in words: a number with its interval in brackets and its marks, "" where none applies."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if not isinstance(value, Entry):
        return figure_text(float(value), column.kind)
    parts = (figure_text(value.value, column.kind), interval_text(value, column.kind), *value.marks)
    return " ".join(filter(None, parts))


def interval_text(entry: Entry, kind: Kind) -> str:
    """Returns an entry's interval in brackets, "" if it has none."""
    if math.isnan(entry.low) or math.isnan(entry.high):
        return ""
    return f"[{figure_text(entry.low, kind)}, {figure_text(entry.high, kind)}]"


def figure_text(value: float, kind: Kind) -> str:
    """Returns one number with the decimals of its kind; UNKNOWN for nan."""
    if math.isnan(value):
        return UNKNOWN
    if kind == "p":
        return "<0.0001" if value < 0.0001 else f"{value:.4f}"
    if kind == "count":
        return f"{value:.0f}"
    if kind == "ratio":
        return f"{value:.3f}"
    if kind == "score":
        return f"{100 * value:.1f}"
    if kind in ("difference", "relative"):
        text = f"{100 * value:+.1f}"
        return "0.0" if text[1:] == "0.0" else text
    return f"{value:g}"
