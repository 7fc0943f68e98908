"""Figures as files and in a page: every text can be read, bytes repeat, nothing reaches outside."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from toy_figures import FIGURES, NAN, NASTY, colours_of, found, row

from unibench import plots
from unibench.errors import UserError
from unibench.plots.style import TITLE, WIDTH, Mode
from unibench.plots.words import clean

SVG = "{http://www.w3.org/2000/svg}"
MODES: tuple[Mode, ...] = ("light", "auto")


def boxes(figure: Any) -> Iterator[tuple[str, Any]]:
    """Where matplotlib itself says that each text lies, in inches."""
    canvas = FigureCanvasAgg(figure)
    with plots.style.drawing():
        canvas.draw()
        for text in figure.findobj(Text):
            if text.get_text() and text.get_visible():
                yield (
                    text.get_text(),
                    text.get_window_extent(canvas.get_renderer()).transformed(
                        matplotlib.transforms.Affine2D().scale(1 / figure.dpi)
                    ),
                )


@pytest.mark.parametrize("name", FIGURES)
def test_every_text_lies_inside_the_figure_and_on_no_other(name: str) -> None:
    figure = FIGURES[name]("light")
    found_at = list(boxes(figure))
    width, height = figure.get_size_inches()
    assert width == WIDTH
    for text, box in found_at:
        assert box.x0 > -0.01, text
        assert box.y0 > -0.01, text
        assert box.x1 < width + 0.01, text
        assert box.y1 < height + 0.01, text
    for (text, box), (other, second) in itertools.combinations(found_at, 2):
        wide = min(box.x1, second.x1) - max(box.x0, second.x0)
        high = min(box.y1, second.y1) - max(box.y0, second.y0)
        assert wide < 0.02 or high < 0.035, (text, other)  # a box has room above and below its letters


@pytest.mark.parametrize("name", FIGURES)
def test_an_svg_is_alone_and_the_same_every_time(name: str) -> None:
    svg = plots.to_svg(FIGURES[name]("auto"), "Title <&>", "What is seen.\x00")
    assert svg == plots.to_svg(FIGURES[name]("auto"), "Title <&>", "What is seen.\x00")
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert [(child.tag, child.text) for child in root[:2]] == [
        (f"{SVG}title", "Title <&>"), (f"{SVG}desc", "What is seen.�"),
    ]  # fmt: skip
    assert root.attrib["aria-labelledby"].split() == [child.attrib["id"] for child in root[:2]]
    assert re.findall("https?:[^\"' ]*", svg) == ["http://www.w3.org/2000/svg"]
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "title", "desc", "g", "path", "text", "use", "defs", "pattern", "rect", "clipPath"}
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    referred = {found for pair in re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", svg) for found in pair if found}
    assert referred <= set(ids)
    assert not any(name.startswith("on") for element in root.iter() for name in element.attrib)
    assert "currentColor" in svg
    own = set(colours_of("auto").values())
    assert not own & set(re.findall("#[0-9a-f]{6}", svg))
    light = plots.to_svg(FIGURES[name]("light"), "t", "d")
    assert "var(" not in light
    assert "currentColor" not in light


def test_a_page_has_the_heading_and_hatched_cells_cost_few_bytes() -> None:
    for name, draw in FIGURES.items():
        titles = {mode: [t.get_text() for t in draw(mode).findobj(Text) if t.get_fontsize() == TITLE] for mode in MODES}
        assert (bool(titles["light"]), bool(titles["auto"])) == (True, False), name
    rows = [row(m, "xnli", code, **{} if m == "base" else {"relative_improvement": NAN}) for m in ("base", "m")
            for code in ("en", "sw")]  # fmt: skip
    figure = plots.heat_map(found(rows, (("xnli", "en"), ("xnli", "sw"))), model="m", theme="auto")
    assert len(plots.to_svg(figure, "t", "d")) < 10_000


def test_figures_of_one_page_share_no_id_and_names_come_through_whole() -> None:
    pages = [ElementTree.fromstring(plots.to_svg(FIGURES[name]("auto"), "t", "d")) for name in FIGURES]
    ids = [element.attrib["id"] for page in pages for element in page.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    said = {element.text for element in pages[2].iter(f"{SVG}text")}
    assert {NASTY[0], NASTY[1], "e� �vil]]>", "$\\frac{", "-- -->"} <= said
    assert len({clean(name) for name in NASTY}) == len(NASTY)


def test_files_are_whole_and_equal_and_know_their_kinds(tmp_path: Path) -> None:
    with matplotlib.rc_context({"font.size": 30, "text.usetex": True, "svg.hashsalt": "other", "axes.linewidth": 9}):
        plots.save(FIGURES["transfer"]("dark"), tmp_path / "deep" / "first.png")
        plots.save(FIGURES["transfer"]("dark"), tmp_path / "first.svg", title="t")
    for ending in (".png", ".svg"):
        plots.save(FIGURES["transfer"]("dark"), tmp_path / f"again{ending}", title="t")
    assert (tmp_path / "deep" / "first.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    assert (tmp_path / "first.svg").read_bytes() == (tmp_path / "again.svg").read_bytes()
    assert b"matplotlib" not in (tmp_path / "again.png").read_bytes()
    with pytest.raises(UserError, match=r"again\.gif ends in '\.gif'; a figure is written as one of \.png, \.svg"):
        plots.save(FIGURES["transfer"]("dark"), tmp_path / "again.gif")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.png", "again.svg", "deep", "first.svg"]


def test_drawing_touches_no_global_state_and_needs_no_torch() -> None:
    code = """
import sys
from unibench import plots
assert "matplotlib" not in sys.modules, "importing is to be quick"
plots.to_svg(plots.pareto([plots.Point(model="m", score=0.5, parameters=10)]), "t", "d")
print(sorted({"torch", "transformers", "matplotlib.pyplot", "unibert"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
