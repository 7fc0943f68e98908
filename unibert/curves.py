"""A run's curve for eyes: metrics.jsonl -> one PNG, and the same rows for TensorBoard where that is installed.

Rows hold averages of training steps ({"step", "tokens", "mlm", …}) or an evaluation ({"step", "heldout_mlm", …}), and
whatever else a run records; what is not there is not drawn.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unibert.errors import UserError

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One plot: its title, its columns, each with a name for the legend, and the group of its tags in TensorBoard."""

    title: str
    columns: Mapping[str, str]
    group: str
    within: tuple[float, float] | None = None
    log: bool = False  # where the values are positive and far apart
    wide: bool = False


PANELS = (
    Panel(
        title="masked-LM loss (nats)",
        columns={"mlm": "training", "heldout_mlm": "held-out, mean over languages"},
        group="loss",
        wide=True,
    ),
    Panel(
        title="distillation losses",
        columns={"soft": "soft targets", "hidden": "hidden states", "relation": "relations", "sentence": "sentences"},
        group="distill",
    ),
    Panel(title="discriminator accuracy", columns={"disc_accuracy": "accuracy"}, group="adversary", within=(0, 1)),
    Panel(title="discriminator loss (nats)", columns={"disc_loss": "loss"}, group="adversary"),
    Panel(title="factor on the adversary's gradient", columns={"strength": "strength"}, group="adversary", log=True),
    Panel(title="effective rank of held-out vectors", columns={"effective_rank": "rank"}, group="vectors"),
    Panel(title="learning rate", columns={"lr": "learning rate"}, group="step"),
    Panel(
        title="adversary's gradient over the others', before scaling",
        columns={"adversary_ratio": "ratio"},
        group="adversary",
        log=True,
    ),
    Panel(title="gradient norm before clipping", columns={"grad_norm": "norm"}, group="step", log=True),
)
GROUPS = {column: panel.group for panel in PANELS for column in panel.columns}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something that happened at a step: its name, how it is drawn, and the groups of panels it is drawn in."""

    name: str
    colour: str
    groups: tuple[str, ...]
    line: str | None  # None: a tick on the horizontal axis, since there may be hundreds


MARKS = {
    "backoff": Mark(name="adversary halved", colour="#7b3294", groups=("loss", "adversary", "vectors"), line="--"),
    "rollback": Mark(name="rolled back", colour="#d7191c", groups=("loss", "step"), line="-."),
    "skipped": Mark(name="steps skipped", colour="#d7191c", groups=("loss", "step"), line=None),
}
COLOURS = ("#1f5fa8", "#d95f02", "#1b9e77", "#8c6bb1")
UNITS = ((1e9, "billion tokens"), (1e6, "million tokens"), (1e3, "thousand tokens"), (1.0, "tokens"))
FEW = 60  # points of a line; beyond, their dots would touch
WIDTH_INCHES, ROW_INCHES, DOTS_PER_INCH = 9.0, 2.0, 110  # 990 pixels: as wide as a README is shown


def plot(metrics: Path, out: Path) -> None:
    """Draws the run of a metrics.jsonl as a PNG at `out`; the same rows give the same bytes.

    The horizontal axis is tokens seen, or steps where no row tells tokens. A step that was taken again after a rollback
    is drawn as it came out last. Raises UserError for a file without a number to draw.
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    rows = read(metrics)
    at, axis = _axis(rows)
    series = {column: _points(rows, column, at) for column in GROUPS}
    drawn = [panel for panel in PANELS if any(series[column][0] for column in panel.columns)]
    if not drawn:
        raise UserError(f"{metrics} holds no training or evaluation row; nothing to draw")
    marks = {key: [at[step] for step in _happened(rows, key)] for key in MARKS}
    places = _places(drawn)
    height = places[-1][0] + 1
    # A matplotlibrc of the user's changes nothing here.
    with style.context(["default", {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}]):
        figure = Figure(figsize=(WIDTH_INCHES, ROW_INCHES * height), dpi=DOTS_PER_INCH)
        figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
        grid = figure.add_gridspec(height, 2)
        first = None
        for panel, (row, column) in zip(drawn, places, strict=True):
            axes = figure.add_subplot(grid[row, :] if column is None else grid[row, column], sharex=first)
            first = first or axes
            _draw(axes, panel, series)
            _mark(axes, panel, marks, named=panel is drawn[0])
            if row == height - 1:
                axes.set_xlabel(axis)
            named = len(axes.get_legend_handles_labels()[1])
            if named > 1:
                axes.legend(fontsize=8, edgecolor="none", framealpha=0.9, ncols=2 if named > 3 else 1)
        assert first is not None
        first.set_xlim(left=0)
        part = out.with_name(f".{out.name}.part")
        figure.savefig(part, format="png", metadata={"Software": None})  # the library's version is no part of it
    os.replace(part, out)


def read(metrics: Path) -> list[Row]:
    """Returns the rows of a metrics.jsonl in their order; a line cut off by a kill ends them."""
    rows: list[Row] = []
    for line in metrics.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def number(value: Any) -> float | None:
    """Returns a finite number as a float, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _axis(rows: Sequence[Row]) -> tuple[dict[int, float], str]:
    """Returns where each step stands on the horizontal axis, and the axis's name.

    Evaluations tell no tokens; they stand where the line through the training rows is at their step.
    """
    import numpy as np

    steps = sorted({int(row["step"]) for row in rows})
    known = {int(row["step"]): float(row["tokens"]) for row in rows if row.get("tokens")}
    if not known:
        return {step: float(step) for step in steps}, "steps"
    unit, name = next((unit, name) for unit, name in UNITS if max(known.values()) >= unit)
    known = {0: 0.0, **dict(sorted(known.items()))}
    places = np.interp(steps, list(known), [tokens / unit for tokens in known.values()])
    return dict(zip(steps, places.tolist(), strict=True)), name


def _points(rows: Sequence[Row], column: str, at: Mapping[int, float]) -> tuple[list[float], list[float]]:
    """Returns a column's finite values and their places, one a step, by step."""
    values = {int(row["step"]): value for row in rows if (value := number(row.get(column))) is not None}
    steps = sorted(values)
    return [at[step] for step in steps], [values[step] for step in steps]


def _happened(rows: Sequence[Row], key: str) -> list[int]:
    """Returns the steps of a mark, where its column is above 0; `backoff`, a factor, where it has fallen."""
    steps, before = set(), 1.0
    for row in rows:
        value = number(row.get(key))
        if value is None:
            continue
        if value < before if key == "backoff" else value > 0:
            steps.add(int(row["step"]))
        before = value
    return sorted(steps)


def _places(drawn: Sequence[Panel]) -> list[tuple[int, int | None]]:
    """Returns (row, column) of each panel in two columns; column None spans both, as does a panel left alone."""
    places: list[tuple[int, int | None]] = []
    row, column = 0, 0
    for index, panel in enumerate(drawn):
        if panel.wide or (column == 0 and index + 1 == len(drawn)):
            places.append((row, None))
            row += 1
        else:
            places.append((row, column))
            row, column = row + column, 1 - column
    return places


def _draw(axes: Any, panel: Panel, series: Mapping[str, tuple[list[float], list[float]]]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    present = [(column, name) for column, name in panel.columns.items() if series[column][0]]
    for (column, name), colour in zip(present, COLOURS, strict=False):
        x, y = series[column]
        dotted = len(x) == 1 or (len(x) <= FEW and column in ("heldout_mlm", "effective_rank"))
        marker = "o" if dotted else ""
        axes.plot(x, y, color=colour, linewidth=1.3, marker=marker, markersize=3.5, label=name)
    axes.set_title(panel.title, loc="left", fontsize=9)
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.7)
    axes.set_axisbelow(True)
    values = [value for column, _ in present for value in series[column][1]]
    if panel.within:
        low, high = panel.within
        axes.set_ylim(low - 0.03 * (high - low), high + 0.03 * (high - low))
    elif panel.log and min(values) > 0 and max(values) > 30 * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())


def _mark(axes: Any, panel: Panel, marks: Mapping[str, list[float]], *, named: bool) -> None:
    for key, mark in MARKS.items():
        places = marks[key] if panel.group in mark.groups else []
        label = mark.name if named else None
        if mark.line is not None:
            for index, place in enumerate(places):
                name = label if index == 0 else None
                axes.axvline(place, color=mark.colour, linestyle=mark.line, linewidth=0.9, label=name)
        elif places:
            style = {"color": mark.colour, "markeredgewidth": 1.5, "clip_on": False, "label": label}
            axes.plot(places, [0.0] * len(places), "|", transform=axes.get_xaxis_transform(), **style)


def available() -> bool:
    """Returns whether the optional package `tensorboard` is installed."""
    return importlib.util.find_spec("tensorboard") is not None


class Scalars:
    """Rows as TensorBoard scalars in a folder. What a run wrote there after `resumed_step` is shown no more.

    So a run that was resumed, or rolled back, shows each step once: open it again at that step. Raises UserError where
    the optional package is missing.
    """

    def __init__(self, folder: Path, *, resumed_step: int = 0) -> None:
        if not available():
            raise UserError("TensorBoard's files need a package of its own: pip install 'unibench[tensorboard]'")
        from torch.utils.tensorboard import SummaryWriter

        # Readers drop what an earlier file holds from `purge_step` on.
        self._writer: Any = SummaryWriter(str(folder), purge_step=resumed_step + 1)

    def add(self, row: Row) -> None:
        """Writes a row's finite numbers at its step, through to the disk, so that a kill loses none."""
        for key, value in sorted(row.items()):
            scalar = number(value)
            if key != "step" and scalar is not None:
                self._writer.add_scalar(f"{GROUPS.get(key, 'run')}/{key}", scalar, int(row["step"]))
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()
