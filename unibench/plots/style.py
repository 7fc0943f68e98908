"""How every figure looks: colours of three themes, and the sheet they are drawn on, measured in inches.

The palette is Okabe & Ito's, told apart by all eyes; and no meaning hangs on colour alone, so that grey print says the
same. A sheet is narrow, so that its text can still be read on a phone; what needs more room grows downwards.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from unibench.plots.words import FAMILY, HINTING, Weight, clean, plain, wrapped

Mode = Literal["light", "dark", "auto"]

WIDTH = 6.2  # inches
MARGIN = 0.12
TITLE, TEXT, SMALL = 10.5, 9.0, 8.0  # points
LINE = 0.165  # inches from one line of text to the next
TIP = "tip:"  # an artist whose gid starts so gets the rest as its tooltip in SVG
RC = {
    "axes.unicode_minus": True,
    "font.family": [FAMILY],
    "hatch.linewidth": 0.7,
    "svg.fonttype": "none",
    "svg.hashsalt": "unibench",
    "text.hinting": HINTING,
    "text.parse_math": False,  # a name may hold dollars
    "text.usetex": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """Colours by what they are for; `muted` is for text that explains, `faint` for grids, `ground` what lies below."""

    ink: str
    muted: str
    faint: str
    ground: str
    gain: str = "#0072b2"
    loss: str = "#d55e00"
    transparent: bool = False


THEMES: dict[Mode, Theme] = {
    "light": Theme(ink="#1a1a1a", muted="#5f5f5f", faint="#d9d9d9", ground="#ffffff"),
    "dark": Theme(ink="#e8e8e8", muted="#a8a8a8", faint="#454545", ground="#141414"),
    # one off the light theme's: a PNG looks the same, and an SVG knows what the page is to decide
    "auto": Theme(
        ink="#1a1a1b", muted="#5f5f60", faint="#d9d9da", ground="#fefeff", gain="#0072b3", loss="#d55e01",
        transparent=True,
    ),
}  # fmt: skip
# what the page may set -> what holds where it doesn't; each SVG names them once
CHOICES: Mapping[str, str] = {
    "muted": "color-mix(in srgb, currentColor 72%, transparent)",
    "faint": "color-mix(in srgb, currentColor 22%, transparent)",
    "ground": "Canvas",
    "gain": "#0072b2",
    "loss": "#d55e00",
}
CSS: Mapping[str, str] = {
    THEMES["auto"].ink: "currentColor",
    **{getattr(THEMES["auto"], name): f"var(--p-{name})" for name in CHOICES},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A figure with a title above and notes below; `canvas` covers it, in inches from the upper left corner.

    The body is for the caller: it starts at `top` and ends at `bottom`.
    """

    figure: Any
    canvas: Any
    theme: Theme
    height: float
    top: float
    bottom: float

    def panel(self, left: float, top: float, width: float, height: float) -> Any:
        """Returns axes for data at this place; text goes to the canvas, which lies above."""
        place = (left / WIDTH, 1 - (top + height) / self.height, width / WIDTH, height / self.height)
        axes = self.figure.add_axes(place, facecolor="none")
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(self.theme.muted)
        axes.tick_params(colors=self.theme.muted, labelcolor=self.theme.muted, labelsize=SMALL, length=3)
        axes.set_axisbelow(True)
        return axes

    def write(
        self, x: float, y: float, text: str, *, size: float = TEXT, colour: str | None = None,
        ha: str = "left", va: str = "center_baseline", rotation: float = 0, weight: Weight = "normal",
    ) -> Any:  # fmt: skip
        """Writes at (x, y) on the canvas; by default in ink, to the right of x and level with y."""
        return self.canvas.text(
            x, y, clean(text), fontsize=size, color=colour or self.theme.ink, ha=ha, va=va, rotation=rotation,
            rotation_mode="anchor", fontweight=weight, parse_math=False, zorder=6,
        )  # fmt: skip

    def line(self, xs: Sequence[float], ys: Sequence[float], **look: Any) -> Any:
        return self.canvas.plot(
            xs, ys, **{"color": self.theme.ink, "linewidth": 0.9, "solid_capstyle": "butt", "clip_on": False, **look}
        )[0]


def open_sheet(title: str, notes: Sequence[str], body: float, mode: Mode) -> Sheet:
    """Returns a sheet whose body is `body` inches high, notes written, and its title unless a page ("auto") has it."""
    from matplotlib.figure import Figure  # not pyplot: no global state, no display

    theme = THEMES[mode]
    room = WIDTH - 2 * MARGIN
    heading = [] if mode == "auto" else wrapped(title, TITLE, room, "bold")
    lines = [line for note in notes for line in wrapped(note, SMALL, room)]
    top = MARGIN + 0.2 * len(heading) + (0.08 if heading else 0)
    bottom = top + body
    height = bottom + (0.06 + LINE * len(lines) if lines else 0) + MARGIN
    figure = Figure(figsize=(WIDTH, height), facecolor="none" if theme.transparent else theme.ground)
    canvas = figure.add_axes((0, 0, 1, 1), facecolor="none", zorder=5)
    canvas.set_axis_off()
    canvas.set_xlim(0, WIDTH)
    canvas.set_ylim(height, 0)
    sheet = Sheet(figure=figure, canvas=canvas, theme=theme, height=height, top=top, bottom=bottom)
    for number, line in enumerate(heading):
        sheet.write(MARGIN, MARGIN + 0.1 + 0.2 * number, line, size=TITLE, weight="bold")
    for number, line in enumerate(lines):
        sheet.write(MARGIN, bottom + 0.06 + LINE * (number + 0.5), line, size=SMALL, colour=theme.muted)
    return sheet


def nothing(title: str, reason: str, mode: Mode) -> Any:
    """Returns a figure that says why there is nothing to see."""
    return open_sheet(title, [f"Nothing to draw: {reason}."], 0.05, mode).figure


@contextmanager
def drawing() -> Iterator[None]:
    """Settings under which figures are made and saved, whatever the user's matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        warnings.filterwarnings("ignore", message="(?s).*missing from font")  # a box in PNG; SVG has the text itself
        yield


def number_axis(axis: Any, most: int = 6) -> None:
    """Gives an x or y axis whose limits are set few round ticks, written with a real minus sign."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

    low, high = sorted(axis.get_view_interval())
    ticks = MaxNLocator(most, steps=(1, 2, 2.5, 5, 10)).tick_values(low, high)
    axis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(round(value, 9))))


def tip(artist: Any, text: str) -> None:
    """Gives a mark a tooltip, which an SVG shows."""
    artist.set_gid(TIP + clean(text))
