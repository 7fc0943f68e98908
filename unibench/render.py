"""Tables -> terminal, Markdown, CSV, JSON, LaTeX.

Text formats are the same bytes everywhere: no dates, no widths taken from the environment, "\\n" line ends.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from unibench.errors import UnknownName
from unibench.latex import latex
from unibench.numerals import PERCENT, UNKNOWN, cell, figure_text
from unibench.tables import Column, Entry, Kind, Table, Value

__all__ = ["FORMATS", "UNITS", "UNKNOWN", "cell", "figure_text", "render", "show"]

STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")  # control and bidirectional characters
UNITS: dict[Kind, str] = {
    "text": "",
    "count": "",
    "rank": "",
    "score": "points (x 100)",
    "difference": "points (x 100)",
    "relative": "percent",
    "ratio": "ratio",
    "p": "probability",
}


def render(tables: Iterable[Table], format: str) -> str:
    """Returns the tables as text in one of FORMATS, ending in a newline; raises UnknownName for another format."""
    if format not in FORMATS:
        raise UnknownName("format", format, FORMATS, "unibench.render")
    return FORMATS[format](list(tables))


def show(tables: Iterable[Table], console: Console) -> None:
    """Prints the tables to a rich console, at its width."""
    for table in tables:
        out = RichTable(
            title=Text(_shown(table.title)), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0)
        )
        for column in table.columns:
            text = column.kind == "text"
            name = column.name if text else column.name.replace(" ", "\n", 1)
            out.add_column(Text(_shown(name)), justify="left" if text else "right", overflow="fold")
        for row in table.rows:
            out.add_row(
                *(Text(_shown(_stacked(value, column))) for value, column in zip(row, table.columns, strict=True))
            )
        console.print(out)
        for note in table.footnotes:
            console.print(Text(_shown(note), style="dim"))
        console.print()


def _stacked(value: Value, column: Column) -> str:
    """Returns a cell with its interval on a line of its own, which no narrow terminal breaks."""
    text = cell(value, column)
    return text if column.kind == "text" else text.replace(" [", "\n[").replace(", ", ",").replace("] ", "]")


def _markdown(tables: Sequence[Table]) -> str:
    parts = []
    for table in tables:
        lines = [f"## {_escape(table.title)}", ""]
        lines.append(_line(_escape(column.name) for column in table.columns))
        lines.append(_line("---" if column.kind == "text" else "---:" for column in table.columns))
        for row in table.rows:
            lines.append(_line(_escape(cell(v, column)) for v, column in zip(row, table.columns, strict=True)))
        if table.footnotes:
            lines += ["", *(f"- {_escape(note)}" for note in table.footnotes)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _csv(tables: Sequence[Table]) -> str:
    """One block a table, parted by an empty line: `# title`, the heading, the rows, and `# note` lines.

    A number with an interval takes three columns, and marks a fourth; what isn't known or doesn't apply is empty.
    """
    blocks = []
    for table in tables:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        out.write(f"# {_one_line(table.title)}\n")
        spread = [[row[i] for row in table.rows if isinstance(row[i], Entry)] for i in range(len(table.columns))]
        marked = [any(isinstance(v, Entry) and v.marks for v in values) for values in spread]
        heading: list[str] = []
        for column, entries, marks in zip(table.columns, spread, marked, strict=True):
            name = _shown(column.name)
            heading.append(name)
            heading += [f"{name} {part}" for part in _parts(bool(entries), marks)]
        writer.writerow(heading)
        for row in table.rows:
            line: list[str | int | float | None] = []
            for value, column, entries, marks in zip(row, table.columns, spread, marked, strict=True):
                entry = value if isinstance(value, Entry) else None
                plain = _number(value.value if isinstance(value, Entry) else value, column)
                line.append(_shown(plain) if isinstance(plain, str) else plain)
                bounds = [_number(entry.low, column), _number(entry.high, column)] if entry else [None, None]
                line += (bounds if entries else []) + (["".join(entry.marks) if entry else None] if marks else [])
            writer.writerow(line)
        for note in table.footnotes:
            out.write(f"# {_one_line(note)}\n")
        blocks.append(out.getvalue())
    return "\n".join(blocks)


def _json(tables: Sequence[Table]) -> str:
    plain = [
        {
            "title": table.title,
            "columns": [{"name": c.name, "kind": c.kind, "unit": UNITS[c.kind]} for c in table.columns],
            "rows": [[_plain(v, c) for v, c in zip(row, table.columns, strict=True)] for row in table.rows],
            "footnotes": list(table.footnotes),
        }
        for table in tables
    ]
    return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {
    "markdown": _markdown,
    "csv": _csv,
    "json": _json,
    "latex": latex,
}


def _number(value: str | int | float | None, column: Column) -> str | int | float | None:
    """A value as a program reads it: scaled like everywhere, 6 decimals, None for what isn't known."""
    if not isinstance(value, float):
        return value if not isinstance(value, int) or column.kind not in PERCENT else value * 100
    if math.isnan(value):
        return None
    return round(100 * value if column.kind in PERCENT else value, 6)


def _plain(value: Value, column: Column) -> Any:
    if not isinstance(value, Entry):
        return _number(value, column)
    low, high = _number(value.low, column), _number(value.high, column)
    return {"value": _number(value.value, column), "low": low, "high": high, "marks": list(value.marks)}


def _parts(interval: bool, marks: bool) -> list[str]:
    return (["low", "high"] if interval else []) + (["marks"] if marks else [])


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _one_line(text: str) -> str:
    return _shown(" ".join(text.split()))


def _shown(text: str) -> str:
    """Returns a text without what steers a terminal or turns the rest of a line around: a name may hold either."""
    return STEERING.sub("\ufffd", text)


def _escape(text: str) -> str:
    """Markdown in one line: a bar would end the cell, a star start a style, "<" before a letter a tag."""
    return re.sub(r"[\\|*`]|<(?=[A-Za-z/!?])", r"\\\g<0>", _one_line(text))
