"""Probe records -> one figure: what is readable, whether translations are near, and in which languages."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unibench.atomic import writing
from unibench.errors import UserError

Record = Mapping[str, Any]

SUFFIXES = (".png", ".svg", ".pdf")
UNTRAINED = "#8a8a8a"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe & Ito: told apart by all eyes
MARKERS = ("o", "s", "D", "^", "v", "P")
FAINT = "#999999"
PER_COLUMN = 32  # languages; more would not be read
READABLE = (
    ("probe", "fresh probe"),
    ("same_language", "nearest: same language"),
    ("same_language_centred", "the same, centred"),
)
NEAR = (
    ("translation", "nearest: translation"),
    ("translation_centred", "the same, centred"),
    ("all_pairs", "P@1, all pairs"),
    ("all_pairs_centred", "the same, centred"),
    ("retrieval", "P@1, {en}↔X"),
    ("retrieval_centred", "the same, centred"),
    ("overlap_free", "overlap-free"),
    ("overlap_free_centred", "the same, centred"),
)
PREDICTED = (("bits_per_byte", "aligned text"), ("bits_per_byte_heldout", "held-out text"))


def check(path: Path) -> None:
    """Raises UserError where `draw` could not write such a file here, before anything is measured."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"--plot {path} ends in {path.suffix!r}; expected one of {', '.join(SUFFIXES)}")
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError("--plot needs matplotlib, which is not installed; pip install matplotlib")


def draw(records: Sequence[Record], path: Path) -> None:
    """Writes the figure to `path`, whole or not at all; its ending says the format."""
    figure = _figure(records)
    metadata = {"Date": None} if path.suffix.lower() == ".svg" else {}
    with writing(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower(), dpi=160, metadata=metadata)


def _figure(records: Sequence[Record]) -> Any:
    from matplotlib.figure import Figure  # not pyplot: no global state, no display
    from matplotlib.lines import Line2D

    first = records[0]
    others = len(first["languages"]) - 1
    columns = max(1, math.ceil(others / PER_COLUMN))
    tallest = math.ceil(others / columns)
    height = max(8.6, 2.3 + tallest * max(0.2, 0.105 * len(records)))
    figure: Any = Figure(figsize=(7.4 + 2.6 * columns, height), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[6.2, 0.4 + 2.6 * columns])
    styles = _styles(records)
    names = len(READABLE), len(NEAR), len(PREDICTED)
    axes = left.subplots(3, 1, height_ratios=[n + 1.2 for n in names])
    pivot = first["languages"][0]
    n, L = first["tested"], len(first["languages"])
    titles = (
        f"Is the language readable? ({L} languages, {n} sentences tested)",
        "Are translations near?",
        "Bits a byte of masked tokens (effective rank in the legend)",
    )
    for axis, measures, title in zip(axes, (READABLE, NEAR, PREDICTED), titles, strict=True):
        labels = [(name, label.format(en=pivot)) for name, label in measures]
        _measures(axis, records, labels, styles, percent=measures is not PREDICTED)
        axis.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axes[0].set_xlim(0, 102)
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=6, label=_legend(record))
        for record, (colour, marker) in zip(records, styles, strict=True)
    ]
    handles.append(Line2D([], [], color="black", marker="|", linestyle="", markersize=11, label="chance"))
    left.legend(handles=handles, loc="outside lower left", ncols=1, fontsize=8.5, frameon=False)
    _languages(right, records, styles, columns)
    return figure


def _styles(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Returns (colour, marker) of each record: grey for the untrained, then the palette in order."""
    trained = 0
    styles = []
    for number, record in enumerate(records):
        if record["kind"] == "untrained":
            styles.append((UNTRAINED, MARKERS[number % len(MARKERS)]))
        else:
            styles.append((COLOURS[trained % len(COLOURS)], MARKERS[number % len(MARKERS)]))
            trained += 1
    return styles


def _legend(record: Record) -> str:
    rank = record["measures"]["effective_rank"]["value"]
    return f"{record['model']}, layer {record['layer']} of {record['layers']} (effective rank {rank:.0f})"


def _measures(
    axis: Any,
    records: Sequence[Record],
    labels: Sequence[tuple[str, str]],
    styles: Sequence[tuple[str, str]],
    *,
    percent: bool,
) -> None:
    """Draws a row a measure: every model's value with its interval, and where chance is."""
    scale = 100.0 if percent else 1.0
    for row, (name, _) in enumerate(labels):
        chance = records[0]["measures"][name]["chance"]
        if chance is not None:
            axis.plot([chance * scale] * 2, [row - 0.42, row + 0.42], color="black", linewidth=1.2, zorder=3)
        for number, (record, (colour, marker)) in enumerate(zip(records, styles, strict=True)):
            found = record["measures"][name]
            if found["value"] is None:
                continue
            y = row + _offset(number, len(records))
            if found["low"] is not None:
                axis.plot([found["low"] * scale, found["high"] * scale], [y, y], color=colour, linewidth=1.4, zorder=2)
            axis.plot(
                found["value"] * scale,
                y,
                marker=marker,
                color=colour,
                markersize=5,
                linestyle="",
                zorder=4,
                clip_on=False,
            )
    axis.set_yticks(range(len(labels)), [label for _, label in labels], fontsize=9)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.set_xlim(left=0)
    if percent:
        axis.xaxis.set_major_formatter("{x:g} %")
    _plain(axis)
    for row in range(1, len(labels)):
        axis.axhline(row - 0.5, color="#e6e6e6", linewidth=0.8, zorder=0)


def _languages(figure: Any, records: Sequence[Record], styles: Sequence[tuple[str, str]], columns: int) -> None:
    """Draws retrieval between the first language and each other, centred, sorted by the last model's."""
    last = records[-1]["by_language"]
    pivot, *others = records[0]["languages"]
    others.sort(key=lambda code: -last[code]["retrieval_centred"])
    enough = set(records[-1]["overlap_free_languages"])
    per_column = max(12, math.ceil(len(others) / columns))  # a few rows would otherwise stand far apart
    axes = figure.subplots(1, columns, sharex=True, squeeze=False)[0]
    for column, axis in enumerate(axes):
        shown = others[column * per_column : (column + 1) * per_column]
        for record, (colour, marker) in zip(records, styles, strict=True):
            values = [100 * record["by_language"][code]["retrieval_centred"] for code in shown]
            axis.plot(
                values, range(len(shown)), marker=marker, color=colour, markersize=4.2, linestyle="", clip_on=False
            )
        for row in range(len(shown)):
            axis.axhline(row, color="#efefef", linewidth=0.8, zorder=0)
        axis.axvline(100 * records[0]["measures"]["retrieval"]["chance"], color="black", linewidth=1.0, zorder=1)
        axis.set_yticks(range(len(shown)), shown, fontsize=8)
        for label, code in zip(axis.get_yticklabels(), shown, strict=True):
            label.set_color("black" if code in enough else FAINT)
        axis.set_ylim(per_column - 0.4, -0.6)
        axis.set_xlim(left=0)
        axis.xaxis.set_major_formatter("{x:g} %")
        _plain(axis)
    axes[0].set_title(f"P@1 {pivot}↔X by language, centred", loc="left", fontsize=10, fontweight="bold")
    note = f"grey: over half of the tokens are shared with {pivot},\nso what is found there may be shared words"
    figure.supxlabel(f"{note}\nsentences: {records[0]['data']}", x=0.02, ha="left", fontsize=8, color="#666666")


def _offset(number: int, count: int) -> float:
    """Where a model's dot lies beside its row, so that dots do not cover each other."""
    return 0.0 if count == 1 else 0.62 * (number / (count - 1) - 0.5)


def _plain(axis: Any) -> None:
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", labelsize=8)
