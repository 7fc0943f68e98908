"""Tables as text: comma-separated (quoted as RFC 4180 has it) and tab-separated (not quoted)."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from unibench.conll import column_names
from unibench.lines import FileError, RowError, lines
from unibench.strict import StrictTable

SEPARATORS = {"comma": ",", "tab": "\t", "semicolon": ";"}
NO_QUOTE = "none"
MAX_FIELD_CHARACTERS = 1 << 24  # csv's own limit, 131,072, is shorter than some contexts


def options_of(separator: str, quote: str) -> Callable[[StrictTable], dict[str, Any]]:
    """Returns what reads a card's [format] where these are the defaults: `separator` (a word or one character), `quote`
    (one character, or "none"), `header`, and the names of the `columns` where there is none.
    """

    def options(table: StrictTable) -> dict[str, Any]:
        found: dict[str, Any] = {
            "header": table.take("header", bool, True),
            "columns": column_names(table, required=table.raw.get("header") is False),
            "separator": table.take("separator", str, separator),
            "quote": table.take("quote", str, quote),
        }
        if found["header"] and found["columns"]:
            raise table.error("columns", "is for a file without a header; say header = false, or leave it out")
        for key, words in (("separator", SEPARATORS), ("quote", {NO_QUOTE: ""})):
            if len(found[key]) != 1 and found[key] not in words:
                raise table.error(key, f"is {found[key]!r}; expected one character or {' or '.join(words)}")
        return found

    return options


def rows(path: Path, options: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    """Yields the number of each row's first line and its fields, all of them text. Blank lines are no rows.

    Raises FileError for a header that names a column twice, and for a malformed row of several lines: a stray quote
    swallows good rows up to the next one, which nobody would count.
    """
    names: list[str] = options["columns"]
    separator = SEPARATORS.get(options["separator"], options["separator"])
    quote = None if options["quote"] == NO_QUOTE else options["quote"]
    before = csv.field_size_limit(MAX_FIELD_CHARACTERS)
    try:
        source = _Lines(path)
        reader = csv.reader(
            source, delimiter=separator, quotechar=quote, quoting=0 if quote else 3, strict=True
        )  # MINIMAL, NONE
        while True:
            first = source.number + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield first, _malformed(f"it is not a row ({error})", source, first)
                continue
            if not fields:
                continue
            if not names:
                names = [name.strip() for name in fields]
                twice = [name for name in names if name and names.count(name) > 1]
                if twice:
                    raise FileError(f"the header has the column {twice[0]!r} twice; rename one", line=first)
            elif len(fields) != len(names):
                found = f"{len(fields)} fields, expected {len(names)} ({', '.join(names)})"
                yield first, _malformed(found, source, first)
            else:
                yield first, {name: field for name, field in zip(names, fields, strict=True) if name not in ("", "_")}
    finally:
        csv.field_size_limit(before)


def other_separator(names: Sequence[str], reader: str) -> str:
    """Returns what to say where a table has one column whose name holds what may be its separator; "" elsewhere."""
    found = next((mark for mark in (";", "\t", ",", "|") if len(names) == 1 and mark in names[0]), "")
    if not found or reader not in ("csv", "tsv"):
        return ""
    word = next((word for word, mark in SEPARATORS.items() if mark == found), found)
    return f'; say format = {{ separator = "{word}" }}?'


class _Lines:
    """The file's lines as csv takes them, and the number of the last."""

    def __init__(self, path: Path) -> None:
        self.inner, self.number = lines(path), 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        self.number, line = next(self.inner)
        return line + "\n"


def _malformed(found: str, source: _Lines, first: int) -> RowError:
    if source.number > first:
        rest = "a quote that is not closed? Double it inside a quoted field, or say quote"
        raise FileError(f"a row that ends in line {source.number}: {found}; {rest}", line=first)
    return RowError(found)
