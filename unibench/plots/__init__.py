"""The figures of the report, drawn with matplotlib: numbers in, a figure out, then PNG or SVG for a page."""

from unibench.plots.critical import Ranked, critical_difference
from unibench.plots.forest import forest
from unibench.plots.grid import Groups, Measure
from unibench.plots.heat import heat_map
from unibench.plots.pareto import Point, pareto
from unibench.plots.readable import Reading, readability
from unibench.plots.style import Mode
from unibench.plots.svg import save, to_svg
from unibench.plots.transfer import Gap, transfer_gap

__all__ = [
    "Gap",
    "Groups",
    "Measure",
    "Mode",
    "Point",
    "Ranked",
    "Reading",
    "critical_difference",
    "forest",
    "heat_map",
    "pareto",
    "readability",
    "save",
    "to_svg",
    "transfer_gap",
]
