"""Sections and figures -> the page: one file, the same bytes for the same input, which loads nothing and sends nothing.

Its policy (a `<meta>`, so it holds for file:// too) lets in one style sheet and one script, by their hashes. What the
page knows stands in its tables: there is no second copy of the data for the script.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from unibench.page import languages
from unibench.page.drawings import Figure, Styles, drawing
from unibench.page.grid import grid, notes, text
from unibench.page.sections import FACETS, Facet, Facets, Section

MANY = 12  # options, from which on a filter can be searched
FILTERS_NOTE = (
    "Filters only hide rows and columns. They change no mean, interval, rank or p: each is that of all stored results. "
    "A click on a heading sorts; the address of the page remembers the view."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a page says beside tables and figures, as plain text.

    `may` and `may_not`: one sentence each on what may and may not be concluded. The rest are pairs of a name and what
    is said of it: `numbers` under the title, `signatures` and `provenance` at the end.
    """

    may: str
    may_not: str
    numbers: Sequence[tuple[str, str]] = ()
    signatures: Sequence[tuple[str, str]] = ()
    provenance: Sequence[tuple[str, str]] = ()


def page(tables: Sequence[Section], figures: Sequence[Figure], title: str, facts: Facts) -> str:
    """Returns the HTML document, ending in a newline. Sections are gathered by kind, figures follow the first kind.

    Raises UserError for a figure that holds more than shapes and text.
    """
    kinds: dict[str, list[Section]] = {}
    for one in tables:
        kinds.setdefault(one.kind, []).append(one)
    filters = _Filters(tables)
    styles = Styles()
    numbers = itertools.count()
    parts = [_tables(kind, [(f"t{next(numbers)}", one) for one in of], filters) for kind, of in kinds.items()]
    if figures:
        parts.insert(1, _figures([(f"f{number}", figure) for number, figure in enumerate(figures)], styles))
    body = "".join(part.body for part in parts) or "<p class=empty>There is nothing to show: no results are stored.</p>"
    css = _asset("page.css") + styles.css
    script = _asset("page.js")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(css)}'; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'"
    )
    return "\n".join([
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{text(title)}</title>",
        f"<style>{css}</style>",
        "</head>",
        "<body>",
        '<a class="skip" href="#main">Skip to the results</a>',
        f"<header><h1><bdi>{text(title)}</bdi></h1>{_pairs(facts.numbers, 'numbers')}",
        f'<aside aria-label="What may be concluded"><div><h2>What may be concluded</h2><p>{text(facts.may)}</p></div>'
        f"<div><h2>What may not</h2><p>{text(facts.may_not)}</p></div></aside></header>",
        _bar(parts, filters),
        '<main id="main" tabindex="-1">',
        body,
        '<p class="empty" id="nothing" hidden>No row matches these filters.</p>',
        "</main>",
        "<footer>",
        _folded("Signatures: how each number came about", facts.signatures),
        _folded("Provenance: what these results were made with", facts.provenance),
        "</footer>",
        f"<script>{script}</script>",
        "</body>",
        "</html>",
        "",
    ])  # fmt: skip


class _Filters:
    """What can be chosen: each value of each facet has a token, which rows and columns carry (t0 l3 m1 s0)."""

    def __init__(self, sections: Sequence[Section]) -> None:
        values: dict[Facet, set[str]] = {facet: set() for facet in FACETS}
        for one in sections:
            for facets in (*one.rows, *one.heads.values()):
                for facet, names in _with_scripts(facets).items():
                    values[facet] |= set(names)
        self.labels: dict[Facet, dict[str, str]] = {
            facet: dict(sorted(((name, _label(facet, name)) for name in found), key=lambda pair: (pair[1], pair[0])))
            for facet, found in values.items()
        }
        self._tokens = {
            (facet, name): f"{facet[0]}{place}"
            for facet, labels in self.labels.items()
            for place, name in enumerate(labels)
        }

    def token(self, facet: Facet, name: str) -> str:
        return self._tokens[facet, name]

    def tokens(self, facets: Facets) -> str:
        named = _with_scripts(facets).items()
        return " ".join(self._tokens[facet, name] for facet, names in named for name in names)


def _with_scripts(facets: Facets) -> Facets:
    found = dict.fromkeys(script for code in facets.get("language", ()) for script in languages.scripts(code))
    return {**({"script": tuple(found)} if found else {}), **facets}


def _label(facet: Facet, name: str) -> str:
    if facet == "language":
        return languages.name(name)
    return languages.script_name(name) if facet == "script" else name


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What stands under one heading, and its entries in the contents: id, name, and what else its title says."""

    name: str
    entries: Sequence[tuple[str, str, str]]
    body: str


def _tables(kind: str, sections: Sequence[tuple[str, Section]], filters: _Filters) -> _Part:
    entries, body = [], ""
    for key, one in sections:
        head, _, rest = one.table.title.partition(": ")
        head, rest = (rest[0].upper() + rest[1:], "") if head == kind and rest else (head, rest)
        entries.append((key, head, rest))
        rows = [filters.tokens(facets) for facets in one.rows] or [""] * len(one.table.rows)
        heads = {place: filters.tokens(facets) for place, facets in one.heads.items()}
        body += (
            f'<section id="{key}" class="table"><h3 id="{key}h">{_titled(head, rest)}</h3>'
            f"{_box(key, grid(one, key + 'h', rows, heads))}{notes(one.table.footnotes)}</section>\n"
        )
    return _Part(name=kind, entries=entries, body=f'<div class="kind"><h2>{text(kind)}</h2>\n{body}</div>\n')


def _figures(figures: Sequence[tuple[str, Figure]], styles: Styles) -> _Part:
    entries, body = [], ""
    for key, figure in figures:
        entries.append((key, figure.title, ""))
        caption = f"<p>{text(figure.caption)}</p>" if figure.caption else ""
        body += (
            f'<figure id="{key}">{_box(key, drawing(figure, key + "-", styles))}'
            f'<figcaption><h3 id="{key}h">{_titled(figure.title, "")}</h3>{caption}</figcaption></figure>\n'
        )
    return _Part(name="Figures", entries=entries, body=f'<div class="figures"><h2>Figures</h2>\n{body}</div>\n')


def _titled(head: str, rest: str) -> str:
    return f"<bdi>{text(head)}</bdi>" + (f" <small>{text(rest)}</small>" if rest else "")


def _box(key: str, inside: str) -> str:
    """Returns what may be wider than the page in a box that scrolls by itself, by keyboard too."""
    return f'<div class="box" role="region" aria-labelledby="{key}h" tabindex="0">{inside}</div>'


def _bar(parts: Sequence[_Part], filters: _Filters) -> str:
    listed = "".join(
        f"<h2>{text(part.name)}</h2><ul>"
        + "".join(f'<li><a href="#{key}">{_titled(head, rest)}</a></li>' for key, head, rest in part.entries)
        + "</ul>"
        for part in parts
    )
    choices = "".join(_choice(facet, labels, filters) for facet, labels in filters.labels.items() if len(labels) > 1)
    return (
        '<div class="bar"><details class="menu"><summary>Contents</summary>'
        f'<nav class="pop" aria-label="Contents">{listed}</nav></details>'
        f'<div id="filters" role="group" aria-label="Filters" hidden>{choices}'
        '<button type="button" id="clear" hidden>Clear filters</button></div>'
        '<button type="button" id="theme" hidden>Theme: system</button>'
        '<p id="sorted" class="aloud" role="status"></p><p id="said" role="status" hidden></p>'
        f'</div><p class="hint" id="hint" hidden>{FILTERS_NOTE}</p>'
    )


def _choice(facet: Facet, labels: Mapping[str, str], filters: _Filters) -> str:
    find = (
        f'<input type="search" class="find" aria-label="Find a {facet}" placeholder="Find" autocomplete="off">'
        if len(labels) >= MANY
        else ""
    )
    options = "".join(
        f'<li><label><input type="checkbox" autocomplete="off" value="{filters.token(facet, name)}" '
        f'data-facet="{facet}" data-name="{text(name)}"> <bdi>{text(label)}</bdi>{_code(name, label)}</label></li>'
        for name, label in labels.items()
    )
    return (
        f'<details class="menu choice" data-facet="{facet}"><summary>{facet.capitalize()}<span class="chosen"></span>'
        f'</summary><div class="pop">{find}<ul>{options}</ul></div></details>'
    )


def _code(name: str, label: str) -> str:
    return f" <small>{text(name)}</small>" if name != label else ""


def _folded(title: str, pairs: Sequence[tuple[str, str]]) -> str:
    return f"<details><summary>{title}</summary>{_pairs(pairs, 'facts')}</details>" if pairs else ""


def _pairs(pairs: Sequence[tuple[str, str]], name: str) -> str:
    listed = "".join(f"<div><dt>{text(what)}</dt><dd>{text(said)}</dd></div>" for what, said in pairs)
    return f"<dl class={name}>{listed}</dl>" if pairs else ""


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(source: str) -> str:
    """Returns a text as a policy names it (CSP 3, hash-source)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
