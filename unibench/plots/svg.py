"""Figure -> files and inline SVG, the same bytes every time.

Inline SVG shares a page with others: ids get a prefix, the style sheet that matplotlib writes for `*` becomes an
attribute, and what the page decides (ink, ground) is left to it. Text stays text, to be searched and read aloud.
"""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from unibench.atomic import write, writing
from unibench.errors import UserError
from unibench.plots.style import CHOICES, CSS, TIP, drawing
from unibench.plots.words import clean

SUFFIXES = (".png", ".svg")
DPI = 160
SVG, XLINK = "http://www.w3.org/2000/svg", "{http://www.w3.org/1999/xlink}"
FACES = "system-ui, 'DejaVu Sans', sans-serif"
LINES = "stroke-linejoin: round; stroke-linecap: butt"  # what matplotlib's own style sheet says


def to_svg(figure: Any, title: str, description: str) -> str:
    """Returns the figure as an `<svg>` element for an HTML page: no XML header, no style sheet, no reference outside.

    It is as wide as its place allows, up to its natural size times 4/3. Title and description are for those who can't
    see it. Several may stand on one page: every id starts with a hash of what the figure shows. A figure of theme
    "auto" takes its ink from `color`, and the rest from --plot-muted, --plot-faint, --plot-ground, --plot-gain and
    --plot-loss where the page sets them (`style.CHOICES`).
    """
    root = _drawn(figure)
    title, description = clean(title), clean(description)
    body = "".join(ElementTree.tostring(child, encoding="unicode") for child in root)
    prefix = "p" + hashlib.sha256(f"{title}\0{description}\0{body}".encode()).hexdigest()[:10] + "-"
    _own_ids(root, prefix)
    _flattened(root)
    _, _, width, height = root.attrib["viewBox"].split()
    choices = [
        f"--p-{name}: var(--plot-{name}, {default}); " for name, default in CHOICES.items() if f"--p-{name})" in body
    ]
    root.attrib.clear()
    root.attrib |= {
        "xmlns": SVG, "viewBox": f"0 0 {width} {height}", "role": "img",
        "aria-labelledby": f"{prefix}title {prefix}desc",
        "style": f"{''.join(choices)}width: 100%; max-width: {float(width) * 16 / 9:g}px; height: auto; "
        f"font-family: {FACES}; {LINES}",
    }  # fmt: skip
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(tag, {"id": prefix + tag})
        element.text = text
        root.insert(place, element)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def save(figure: Any, path: Path, *, title: str = "", description: str = "") -> None:
    """Writes the figure as PNG or SVG, as the path ends, whole or not at all; UserError for another ending."""
    ending = path.suffix.lower()
    if ending not in SUFFIXES:
        raise UserError(f"{path} ends in {path.suffix!r}; a figure is written as one of {', '.join(SUFFIXES)}")
    if ending == ".svg":
        write(path, to_svg(figure, title or path.stem, description))
        return
    with drawing(), writing(path) as file:
        figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})


def _drawn(figure: Any) -> ElementTree.Element:
    """Returns what matplotlib draws, without namespaces, metadata and its style sheet, colours handed to the page."""
    out = io.BytesIO()
    with drawing():
        figure.savefig(out, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(out.getvalue())
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.text = element.text if element.tag == "text" else None
        element.tail = None
        element.attrib = {name.replace(XLINK, ""): _value(name, value) for name, value in element.attrib.items()}
    return root


def _value(name: str, value: str) -> str:
    if name in ("style", "fill", "stroke"):
        value = re.sub("font-family: [^;]*;? ?|; stroke-linejoin: miter$", "", value)  # said once, on the root
        value = re.sub(r"(?<=opacity: )0\.\d+", lambda found: f"{float(found[0]):.2g}", value)
        return re.sub("#[0-9a-f]{6}", lambda found: CSS.get(found[0], found[0]), value)
    if name in ("d", "transform", "x", "y"):
        value = re.sub(r"-?\d+\.\d+", lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value)
        return " ".join(value.split())
    return value


def _own_ids(root: ElementTree.Element, prefix: str) -> None:
    """Turns the ids of tooltips into titles, gives those that something refers to a prefix, and drops the rest."""
    referring = re.compile(r"url\(#([^)]+)\)|^#(.+)")
    values = [value for element in root.iter() for name, value in element.attrib.items() if name not in ("d", "id")]
    used = {name for value in values for found in referring.findall(value) for name in found if name}
    for element in root.iter():
        name = element.attrib.pop("id", "")
        if name.startswith(TIP):
            words = ElementTree.Element("title")
            words.text = name.removeprefix(TIP)
            element.insert(0, words)
        elif name in used:
            element.attrib["id"] = prefix + name
        for key, value in element.attrib.items():
            if key == "href":
                element.attrib[key] = value.replace("#", f"#{prefix}", 1)
            elif key != "d":
                element.attrib[key] = value.replace("url(#", f"url(#{prefix}")


def _flattened(element: ElementTree.Element) -> None:
    """Leaves out groups that group nothing any more, and what says nothing in a page: half of the bytes."""
    children: list[ElementTree.Element] = []
    for child in element:
        _flattened(child)
        if child.tag == "g" and not child.attrib and not any(part.tag == "title" for part in child):
            children += child
        elif child.tag not in ("metadata", "style") and not (child.tag == "defs" and not len(child)):
            children.append(child)
    element[:] = children
