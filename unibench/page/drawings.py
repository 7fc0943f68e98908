"""Figures for the page: an SVG is let in only if it holds shapes and text, and nothing that runs or loads.

The page's policy forbids style attributes, so each becomes a class of the page's one style sheet. Ids get a prefix, for
figures share a page with others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from xml.etree import ElementTree

from unibench.errors import UserError

ELEMENTS = frozenset({
    "svg", "g", "defs", "symbol", "use", "path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "text",
    "tspan", "title", "desc", "clipPath", "mask", "pattern", "marker", "linearGradient", "radialGradient", "stop",
})  # fmt: skip
LEFT_OUT = frozenset({"metadata"})
ATTRIBUTES = frozenset({
    "clip-path", "clip-rule", "clipPathUnits", "cx", "cy", "d", "dominant-baseline", "dx", "dy", "fill",
    "fill-opacity", "fill-rule", "font-family", "font-size", "font-style", "font-weight", "fx", "fy",
    "gradientTransform", "gradientUnits", "height", "href", "id", "letter-spacing", "marker-end", "marker-mid",
    "marker-start", "markerHeight", "markerUnits", "markerWidth", "mask", "offset", "opacity", "orient", "overflow",
    "paint-order", "patternContentUnits", "patternTransform", "patternUnits", "points", "preserveAspectRatio", "r",
    "refX", "refY", "role", "rotate", "rx", "ry", "shape-rendering", "stop-color", "stop-opacity", "stroke",
    "stroke-dasharray", "stroke-dashoffset", "stroke-linecap", "stroke-linejoin", "stroke-miterlimit",
    "stroke-opacity", "stroke-width", "style", "text-anchor", "textLength", "transform", "transform-origin",
    "vector-effect", "version", "viewBox", "visibility", "width", "word-spacing", "x", "x1", "x2", "y", "y1", "y2",
})  # fmt: skip
_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}"
_XML = "{http://www.w3.org/XML/1998/namespace}"
_STYLE = re.compile(r"[^][{}<>@\\]*")
_LOADS = re.compile(r"url\(\s*(?!#)|image(-set)?\(|src\(|expression|javascript:|/\*", re.IGNORECASE)
_REFERENCE = re.compile(r"url\(\s*#([^)\s]+)\s*\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure: `svg` is one `<svg>` element that takes its ink from currentColor; the caption is plain text.

    `setting` is that of its numbers, as in Section. Figures of one `subject`, with which their titles may start, are
    folded away under it: what is seen at once is what speaks of all models.
    """

    title: str
    svg: str
    caption: str = ""
    setting: str = ""
    subject: str = ""


class Styles:
    """The style attributes met so far, each a class: `css` holds their rules."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def name(self, style: str) -> str:
        return self._names.setdefault(style, f"s{len(self._names)}")

    @property
    def css(self) -> str:
        return "".join(f".{name}{{{style}}}\n" for style, name in self._names.items())


def drawing(figure: Figure, prefix: str, styles: Styles) -> str:
    """Returns the figure's SVG for an HTML page, ids prefixed, style attributes moved to `styles`.

    Raises UserError, naming figure and part, for anything but shapes and text: scripts, handlers, animation, images,
    foreign elements, entities, references to anything outside the element.
    """
    what = f"figure {figure.title!r}"
    if "<!ENTITY" in figure.svg:
        raise UserError(f"{what}: its SVG declares entities; expected plain shapes and text")
    try:
        root = ElementTree.fromstring(figure.svg)
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{what}: its SVG is no XML ({error}); expected one <svg> element") from error
    if root.tag.removeprefix(_SVG) != "svg":
        raise UserError(f"{what}: its SVG starts with <{root.tag}>; expected one <svg> element")
    return _element(root, what, prefix, styles)


def _element(element: ElementTree.Element, what: str, prefix: str, styles: Styles) -> str:
    tag = element.tag.removeprefix(_SVG) if isinstance(element.tag, str) else "?"
    if tag in LEFT_OUT:
        return ""
    if tag not in ELEMENTS:
        raise UserError(f"{what}: its SVG holds <{tag}>, which a page doesn't take; expected plain shapes and text")
    attributes: dict[str, str] = {}
    for key, value in element.attrib.items():
        name = key.removeprefix(_XLINK)
        if key.startswith(_XML) or name == "class":  # the page has classes of its own
            continue
        said = re.fullmatch(r"aria-[a-z]+", name)
        if name not in ATTRIBUTES and not said:
            raise UserError(f"{what}: <{tag}> has the attribute {name!r}, which a page doesn't take; leave it out")
        if name == "href":
            if not value.startswith("#"):
                raise UserError(f"{what}: <{tag}> refers to {value[:60]!r}; expected #ID, a part of itself")
            value = f"#{prefix}{value[1:]}"
        elif name == "id":
            value = prefix + value
        elif name in ("aria-labelledby", "aria-describedby"):
            value = " ".join(prefix + word for word in value.split())
        elif name != "d" and not said:
            if _LOADS.search(value) or not _whole(value):
                raise UserError(f"{what}: <{tag} {name}> holds {value[:60]!r}, more than a page takes; leave it out")
            value = _REFERENCE.sub(rf"url(#{prefix}\1)", value)
        attributes[name] = value
    if style := attributes.pop("style", "").strip():
        attributes["class"] = f"{attributes.get('class', '')} {styles.name(style)}".strip()
    head = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
    inside = escape(element.text or "", quote=False)
    for child in element:
        inside += _element(child, what, prefix, styles) + escape(child.tail or "", quote=False)
    return f"<{tag}{head}>{inside}</{tag}>"


def _whole(style: str) -> bool:
    """Returns whether a text stays within the rule it is put into: no braces, escapes, open brackets or quotes."""
    closed = style.count("(") == style.count(")") and style.count('"') % 2 == 0 and style.count("'") % 2 == 0
    return closed and _STYLE.fullmatch(style) is not None and "\n" not in style
