"""One table as HTML: every number carries its exact value, to be sorted by, and every text is escaped."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from unibench.cell_tables import BETTER, WORSE
from unibench.numerals import UNKNOWN, cell, figure_text, interval_text
from unibench.page import languages
from unibench.page.sections import Section
from unibench.tables import LEGEND, Column, Entry, Kind, Value

_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_TURNS = re.compile("[\u202a-\u202e\u2066-\u2069]")  # these turn around what follows, numbers too
_COUNT = re.compile(r"\d[\d.,]*(/\d[\d.,]*)?")
LONG = 40  # characters, from which on a text is broken into lines
WHISKER_WIDTH, WHISKER_HEIGHT = 84, 12  # pixels, as page.css has them
FROM_BELOW: frozenset[Kind] = frozenset({"p", "rank"})  # here one looks for the smallest first, elsewhere the largest
# a mark in as many words as fit where it stands; the note below the table says it in full
MARKS = {
    BETTER: "better than the baseline",
    WORSE: "worse than the baseline",
    UNKNOWN: "not known",
    **{mark: said.removeprefix(mark).partition(":")[0].strip(" .") for mark, said in LEGEND.items()},
}


def text(said: str) -> str:
    """Returns a text for HTML, inside an element or a quoted attribute.

    What no document may hold becomes U+FFFD, and so does what would turn around the text behind it.
    """
    return apart(_TURNS.sub("\ufffd", said))


def apart(said: str) -> str:
    """Returns a text for an attribute, or a `<bdi>` that holds nothing else: nothing stands behind it there."""
    return escape(_UNFIT.sub("\ufffd", said))


def grid(section: Section, labelled: str, rows: Sequence[str], heads: Mapping[int, str]) -> str:
    """Returns a `<table>` named by the element `labelled`; `rows` and `heads` are the tokens that filters go by."""
    table = section.table
    model = next((place for place, column in enumerate(table.columns) if column.name == "model"), 0)
    columns = [
        _Look(column, [row[place] for row in table.rows], heads.get(place, ""), twin=0 < place == model)
        for place, column in enumerate(table.columns)
    ]
    many = any(column.column.name == "language" for column in columns)
    lines = [f'<table aria-labelledby="{labelled}"><thead><tr>']
    lines += [look.head() for look in columns]
    lines.append("</tr></thead><tbody>")
    for row, tokens, of in zip(table.rows, rows, section.rows or ({},) * len(table.rows), strict=True):
        mean = many and "language" not in of and str(row[0]).startswith("mean")
        # on a phone the first column is all that stays in view, so it says whose row it is, in place of the model's own
        also = f' data-also="{text(str(row[model]))}"' if model and row[model] else ""
        lines.append(f"<tr{' class=mean' if mean else ''}{_tokens(tokens)}>")
        lines += [
            look.cell(value, "th" if place == 0 else "td", also if place == 0 else "")
            for place, (look, value) in enumerate(zip(columns, row, strict=True))
        ]
        lines.append("</tr>")
    return "".join(lines) + "</tbody></table>"


class _Look:
    """How a column looks, which depends on all that stands in it."""

    def __init__(self, column: Column, values: Sequence[Value], tokens: str, *, twin: bool) -> None:
        self.column = column
        self.tokens = tokens
        self.twin = twin
        self.numeric = column.kind != "text"
        entries = [value for value in values if isinstance(value, Entry)]
        said = [value for value in values if isinstance(value, str)]
        self.marks = max((len(entry.marks) for entry in entries), default=0)
        self.long = any(len(words) > LONG for words in said)
        self.counts = not self.numeric and bool(said) and all(map(_COUNT.fullmatch, said))
        bounds = [abs(bound) for entry in entries for bound in (entry.low, entry.high) if math.isfinite(bound)]
        self.limit = max(bounds, default=0.0) if column.kind == "difference" else 0.0

    def head(self) -> str:
        first = "descending" if self.numeric and self.column.kind not in FROM_BELOW else "ascending"
        # a column of a task is named by it, and what was measured stands below
        name, _, unit = self.column.name.partition(" ") if self.tokens else (self.column.name, "", "")
        words = _breakable(name) + (f" <small>{text(unit)}</small>" if unit else "")
        return f'<th scope="col"{self._classes()} data-first="{first}"{_tokens(self.tokens)}>{words}</th>'

    def cell(self, value: Value, tag: str, more: str) -> str:
        scope = ' scope="row"' if tag == "th" else ""
        if not self.numeric or isinstance(value, str) or value is None:
            return f"<{tag}{scope}{self._classes()}{more}>{self._words(value)}</{tag}>"
        number = value.value if isinstance(value, Entry) else float(value)
        shown = f"{number:,.0f}" if self.column.kind == "count" else figure_text(number, self.column.kind)
        inside = _mark(UNKNOWN) if math.isnan(number) else _typeset(shown)
        if isinstance(value, Entry):
            inside = self._entry(value, inside)
        exact = "nan" if math.isnan(number) else repr(float(number))
        return f'<{tag}{scope}{self._classes()}{more} data-value="{exact}">{inside}</{tag}>'

    def _entry(self, entry: Entry, number: str) -> str:
        interval = interval_text(entry, self.column.kind)
        inside = whisker(entry, self.limit) if interval and self.limit else ""
        inside += f"<b>{number}</b>"
        if entry.marks:
            inside += f" <span class=k>{''.join(map(_mark, entry.marks))}</span>"
        beside = " class=beside" if self.column.kind == "rank" else ""  # too short for a line of its own
        return inside + (f" <i{beside}>{_typeset(interval)}</i>" if interval else "")

    def _words(self, value: Value) -> str:
        said = cell(value, self.column)
        if not said:
            return ""
        inside = f"<bdi>{apart(said)}</bdi>"
        if self.column.name == "language" and languages.is_language(said):
            inside += f" <span class=name>{text(languages.name(said))}</span>"
        return inside

    def _classes(self) -> str:
        looks = {
            "n": self.numeric, "m": self.marks == 1, "mm": self.marks > 1, "long": self.long, "r": self.counts,
            "twin": self.twin,
        }  # fmt: skip
        names = [name for name, holds in looks.items() if holds]
        return f' class="{" ".join(names)}"' if names else ""


def _tokens(tokens: str) -> str:
    return f' data-f="{tokens}"' if tokens else ""


def _mark(mark: str) -> str:
    """Returns a mark that is read aloud as what it means."""
    return f'<abbr role=img title="{text(MARKS.get(mark, mark))}">{text(mark)}</abbr>'


def whisker(entry: Entry, limit: float) -> str:
    """Returns an interval and its point on a line from -limit to limit, zero in the middle; hidden from readers aloud.

    Filled: the interval leaves out zero. The number beside it says the same.
    """
    half = WHISKER_WIDTH / 2 - 4
    low, at, high = (
        f"{WHISKER_WIDTH / 2 + half * bound / limit:.1f}" for bound in (entry.low, entry.value, entry.high)
    )
    side = " up" if entry.low > 0 else " down" if entry.high < 0 else ""
    middle = WHISKER_HEIGHT // 2
    return (
        f'<svg class="w{side}" aria-hidden=true><path d="M{low} {middle}H{high}"/>'
        f"<circle cx={at} cy={middle} r=2.6 /></svg>"
    )


def notes(footnotes: Iterable[str]) -> str:
    """Returns a table's footnotes: what its marks mean in view, the rest folded away with how many they are."""
    marks: list[str] = []
    warnings: list[str] = []
    rest: list[str] = []
    for note in footnotes:
        (marks if note[:1] in MARKS else warnings if note.startswith("Warning") else rest).append(note)
    parts = [_list(marks)] if marks else []
    for name, of in (("note", rest), ("warning", warnings)):
        if of:
            plural = "s" if len(of) > 1 else ""
            parts.append(f"<details class=notes><summary>{len(of)} {name}{plural}</summary>{_list(of)}</details>")
    return "".join(parts)


def _list(of: Sequence[str]) -> str:
    return f"<ul class=notes>{''.join(f'<li>{text(note)}</li>' for note in of)}</ul>"


def _typeset(number: str) -> str:
    return text(number.replace("-", "−"))


def _breakable(name: str) -> str:
    """Returns a heading that may go on in a new line after "_", and after every 20 characters of a word."""
    pieces = re.split(r"(_|[^\s_]{20}(?=[^\s_]))", name)
    return "".join(text(piece) + ("<wbr>" if place % 2 else "") for place, piece in enumerate(pieces))
