"""Sections and figures -> the page: one file, the same bytes for the same input, which loads nothing and sends nothing.

Its policy (a `<meta>`, so it holds for file:// too) lets in one style sheet and one script, by their hashes. What the
page knows stands in its tables: there is no second copy of the data for the script.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources

from unibench.page.drawings import Figure, Styles, drawing
from unibench.page.filters import Filters
from unibench.page.grid import grid, notes, text
from unibench.page.outline import FIGURES, Group, Item, Part, outline, settings
from unibench.page.sections import Section
from unibench.page.signed import said_once

FILTERS_NOTE = (
    "Filters only hide rows and columns. They change no mean, interval, rank or p: each is that of all stored results. "
    "A click on a heading sorts; the address of the page remembers the view."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a page says beside tables and figures, as plain text.

    `found`: a setting, as in Section, and what was found in it. `may` and `may_not`: one sentence each on what may and
    may not be concluded. The rest are pairs of a name and what is said of it: `numbers` under the title, `signatures`
    and `provenance` at the end.
    """

    may: str
    may_not: str
    found: Sequence[tuple[str, str]] = ()
    numbers: Sequence[tuple[str, str]] = ()
    signatures: Sequence[tuple[str, str]] = ()
    provenance: Sequence[tuple[str, str]] = ()


def page(tables: Sequence[Section], figures: Sequence[Figure], title: str, facts: Facts) -> str:
    """Returns the HTML document, ending in a newline. Sections are gathered by kind, figures follow the first kind.

    Raises UserError for a figure that holds more than shapes and text.
    """
    said = (facts.may, facts.may_not, *(signature for _, signature in facts.signatures))
    parts = outline([_without_notes(one, said) for one in tables], figures)
    names, shared = settings(tables, figures)
    filters = Filters(tables)
    styles = Styles()
    body = "".join(_part(part, filters, styles) for part in parts)
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
        f"<header><h1><bdi>{text(title)}</bdi></h1>{_setting(shared, len(names))}{_pairs(facts.numbers, 'numbers')}",
        f"{_concluded(facts, names)}</header>",
        _bar(parts, filters),
        '<main id="main" tabindex="-1">',
        body or "<p class=empty>There is nothing to show: no results are stored.</p>",
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


def _without_notes(one: Section, said: Iterable[str]) -> Section:
    """Returns a section without the notes ("May be concluded: ...") that repeat what the page says elsewhere."""
    ends = tuple(f": {sentence}" for sentence in said if sentence)
    kept = tuple(note for note in one.table.footnotes if not note.endswith(ends))
    return replace(one, table=replace(one.table, footnotes=kept))


def _setting(shared: str, many: int) -> str:
    if not shared:
        return ""
    return f'<p class="setting">{"In every setting: " if many > 1 else ""}{text(shared)}.</p>'


def _concluded(facts: Facts, names: Mapping[str, str]) -> str:
    found = ""
    for setting, sentence in facts.found:
        name = names.get(setting, setting)
        found += f"<p>{f'<b>{text(name)}.</b> ' if name else ''}{text(sentence)}</p>"
    first = f'<div class="found"><h2>What was found</h2>{found}</div>' if found else ""
    return (
        f'<aside aria-label="What may be concluded">{first}<div><h2>What may be concluded</h2><p>{text(facts.may)}</p>'
        f"</div><div><h2>What may not</h2><p>{text(facts.may_not)}</p></div></aside>"
    )


def _part(part: Part, filters: Filters, styles: Styles) -> str:
    body = "".join(_group(group, part, filters, styles) for group in part.groups)
    return (
        f'<details class="part" id="{part.key}"{" open" if part.open else ""}>'
        f'<summary><h2 id="{part.key}h">{text(part.name)}</h2> <span class="count">{_count(part)}</span></summary>\n'
        f"{body}</details>\n"
    )


def _count(part: Part) -> str:
    """Returns how much there is in a part, as the script says it again when filters are chosen."""
    if not part.tables:
        return _number(sum(len(group.items) for group in part.groups), "figure")
    return f"{_number(part.tables, 'table')}, {_number(part.rows, 'row')}"


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _group(group: Group, part: Part, filters: Filters, styles: Styles) -> str:
    level = 4 if group.name else 3
    heads = f"{part.key}h"
    inside = ""
    if group.name:
        inside = f'<h3 id="{group.key}h"><bdi>{text(group.name)}</bdi></h3>\n'
        heads += f" {group.key}h"
    if part.name == FIGURES and not part.tables:
        return f'<div class="group">{inside}{_figures(group.items, heads, level, styles)}</div>\n'
    return f'<div class="group">{inside}{"".join(_table(item, heads, level, filters) for item in group.items)}</div>\n'


def _table(item: Item, heads: str, level: int, filters: Filters) -> str:
    assert isinstance(item.shows, Section)
    one, signature = said_once(item.shows)
    rows = [filters.tokens(facets) for facets in one.rows] or [""] * len(one.table.rows)
    columns = {place: filters.tokens(facets) for place, facets in one.heads.items()}
    title, label = _heading(item, heads, level)
    footnotes = (*one.table.footnotes, *([signature] if signature else []))
    return (
        f'<section id="{item.key}" class="table">{title}{_box(label, grid(one, label, rows, columns))}'
        f"{notes(footnotes)}</section>\n"
    )


def _figures(items: Iterable[Item], heads: str, level: int, styles: Styles) -> str:
    """Returns the figures that speak of all models side by side, then those of each subject, folded."""
    by_subject: dict[str, list[Item]] = {}
    for item in items:
        assert isinstance(item.shows, Figure)
        by_subject.setdefault(item.shows.subject, []).append(item)
    out = ""
    for subject, of in sorted(by_subject.items(), key=lambda pair: pair[0] != ""):
        drawn = "".join(_figure(item, heads, level + (1 if subject else 0), styles) for item in of)
        inside = f'<div class="figures">{drawn}</div>'
        out += (
            f"<details class=more><summary><h{level}><bdi>{text(subject)}</bdi></h{level}>"
            f" <span class=count>{_number(len(of), 'figure')}</span></summary>{inside}</details>"
            if subject
            else inside
        )
    return out


def _figure(item: Item, heads: str, level: int, styles: Styles) -> str:
    assert isinstance(item.shows, Figure)
    title, label = _heading(item, heads, level)
    caption = f"<p>{text(item.shows.caption)}</p>" if item.shows.caption else ""
    return (
        f'<figure id="{item.key}"><figcaption>{title}{caption}</figcaption>'
        f"{_box(label, drawing(item.shows, item.key + '-', styles))}</figure>\n"
    )


def _heading(item: Item, heads: str, level: int) -> tuple[str, str]:
    """Returns the heading of a table or figure, and the ids of all headings that name it."""
    if not item.name and not item.rest:
        return "", heads
    return f'<h{level} id="{item.key}h">{_titled(item)}</h{level}>', f"{heads} {item.key}h"


def _titled(item: Item) -> str:
    return f"<bdi>{text(item.name)}</bdi>" + (f" <small>{text(item.rest)}</small>" if item.rest else "")


def _box(label: str, inside: str) -> str:
    """Returns what may be wider than the page in a box that scrolls by itself, by keyboard too."""
    return f'<div class="box" role="group" aria-labelledby="{label}" tabindex="0">{inside}</div>'


def _bar(parts: Sequence[Part], filters: Filters) -> str:
    return (
        '<div class="bar"><details class="menu"><summary>Contents</summary>'
        f'<nav class="pop" id="contents" aria-label="Contents">{"".join(map(_listed, parts))}</nav></details>'
        f'<div id="filters" role="group" aria-label="Filters" hidden>{filters.menus}'
        '<button type="button" id="clear" hidden>Clear filters</button></div>'
        '<button type="button" id="unfold" hidden>Unfold all</button>'
        '<button type="button" id="theme" hidden>Theme: system</button>'
        '<p id="sorted" class="aloud" role="status"></p><p id="said" role="status" hidden></p>'
        f'</div><p class="hint" id="hint" hidden>{FILTERS_NOTE}</p>'
    )


def _listed(part: Part) -> str:
    """Returns a part's entries in the contents; what has no name of its own is there under its setting's."""
    lists = ""
    for group in part.groups:
        if group.name:
            first = group.items[0].key
            lists += f'<p><a href="#{first}">{text(group.name)}</a></p>'
        named: dict[str, str] = {}
        for item in group.items:
            subject = item.shows.subject if isinstance(item.shows, Figure) else ""
            named.setdefault(
                subject or item.key, f'<li><a href="#{item.key}"><bdi>{text(subject or item.name)}</bdi></a></li>'
            )
        if any(item.name for item in group.items):
            lists += f"<ul>{''.join(named.values())}</ul>"
    return f'<div data-of="{part.key}"><h2><a href="#{part.key}">{text(part.name)}</a></h2>{lists}</div>'


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
