"""Text as figures need it: any name is safe to draw, and how wide it will be is known before anything is drawn.

Widths are those of DejaVu Sans, which is wider than the faces of browsers and phones, so what fits here fits there.
"""

from __future__ import annotations

import math
import warnings
from functools import cache
from typing import Any, Literal

Weight = Literal["normal", "bold"]

FAMILY = "DejaVu Sans"  # comes with matplotlib
DPI = 720.0  # fine enough for widths not to be rounded to whole dots
HINTING = "none"  # else widths would depend on how many dots an inch has
UNSEEN = "\N{REPLACEMENT CHARACTER}"
ELLIPSIS = "…"


def clean(text: str) -> str:
    """Returns the text on one line, without what no XML may hold (control characters, halves of a pair)."""
    line = " ".join(str(text).split())
    return "".join(c if c.isprintable() or c in "\u200c\u200d" else UNSEEN for c in line)


def width_in(text: str, size: float, weight: Weight = "normal") -> float:
    """Returns how wide the text is in inches, at a size in points."""
    return _width(clean(text), size, weight)


def widest_in(texts: list[str], size: float, weight: Weight = "normal") -> float:
    """Returns the width of the widest, in inches; 0 without any."""
    return max((width_in(text, size, weight) for text in texts), default=0.0)


def fitted(text: str, size: float, most_in: float, weight: Weight = "normal") -> str:
    """Returns the text, its middle left out where it is wider than `most_in`: names of models differ at their ends."""
    text = clean(text)
    if width_in(text, size, weight) <= most_in:
        return text
    low, high = 0, len(text)  # how many characters stay
    while low < high:
        middle = (low + high + 1) // 2
        if width_in(_shortened(text, middle), size, weight) <= most_in:
            low = middle
        else:
            high = middle - 1
    return _shortened(text, low)


def wrapped(text: str, size: float, most_in: float, weight: Weight = "normal") -> list[str]:
    """Returns the text in lines of at most `most_in` inches, broken at spaces; [] for none."""
    lines: list[str] = []
    for word in clean(text).split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width_in(longer, size, weight) <= most_in:
            lines[-1] = longer
        else:
            lines.append(fitted(word, size, most_in, weight))
    return lines


def signed(value: float, decimals: int) -> str:
    """Returns a number with its sign, none for zero: +3.1, −12, 0."""
    text = f"{value:+.{decimals}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def plain(value: float) -> str:
    """Returns a tick's number in as few characters as it needs, with a real minus sign."""
    return f"{value:g}".replace("-", "−")


def p_value(p: float) -> str:
    """Returns p as a table shows it: 0.031, <0.001, – where it can't be known."""
    if math.isnan(p):
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def count(value: float) -> str:
    """Returns a large number as people say it: 950, 12k, 278M, 1.2B."""
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= unit * 0.9995:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"


def _shortened(text: str, keep: int) -> str:
    tail = keep // 2
    return text[: keep - tail] + ELLIPSIS + (text[-tail:] if tail else "")


@cache
def _renderer() -> Any:
    from matplotlib.backends.backend_agg import RendererAgg

    return RendererAgg(8, 8, DPI)


@cache
def _width(text: str, size: float, weight: Weight) -> float:
    import matplotlib
    from matplotlib.font_manager import FontProperties

    face = FontProperties(family=FAMILY, size=size, weight=weight)
    with warnings.catch_warnings(), matplotlib.rc_context({"text.hinting": HINTING}):
        warnings.filterwarnings("ignore", message="(?s).*missing from font")  # a browser will have it
        found, _, _ = _renderer().get_text_width_height_descent(text, face, False)
    return float(found) / DPI
