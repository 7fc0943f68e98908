"""Column files of named entities and the like: a token a line with its tags, a blank line between sentences.

The shape of the CoNLL shared tasks (Tjong Kim Sang and De Meulder 2003) and of what came after them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unibench.lines import RowError, lines
from unibench.strict import StrictTable

SEPARATORS = {"space": r"[ \t]+", "tab": r"\t"}  # a token may hold a no-break space, so "space" is ASCII's
DOCUMENT = "-DOCSTART-"


def options(table: StrictTable) -> dict[str, Any]:
    """Returns the card's [format]: `columns` in the order of the file ("_" for one that is ignored), `separator`
    ("space" for any run of spaces and tabs, "tab", or the text itself) and `comment`, the beginning of comment lines.
    """
    return {
        "columns": column_names(table, required=True),
        "separator": table.take("separator", str, "space"),
        "comment": table.take("comment", str, ""),
    }


def rows(path: Path, options: Mapping[str, Any]) -> Iterator[tuple[range, dict[str, Any] | RowError]]:
    """Yields, a sentence at a time, the numbers of its lines and its columns, each a list of texts.

    Comments stand before a sentence: a line that begins like one inside a sentence is a token, "#" being a word too.
    A line without the right number of fields makes its whole sentence malformed.
    """
    names, comment = options["columns"], options["comment"]
    separator = re.compile(SEPARATORS.get(options["separator"], re.escape(options["separator"])))
    tokens: list[list[str]] = []
    wrong: tuple[range, RowError] | None = None
    number = 0

    def sentence(end: int) -> Iterator[tuple[range, dict[str, Any] | RowError]]:
        nonlocal tokens, wrong
        if wrong:
            yield wrong
        elif tokens:
            columns = zip(names, zip(*tokens, strict=True), strict=True)
            yield range(end - len(tokens), end), {name: list(column) for name, column in columns if name != "_"}
        tokens, wrong = [], None

    for number, line in lines(path):
        bare = line.strip(" \t")
        fields = separator.split(bare if options["separator"] == "space" else line)
        whole = len(fields) == len(names)
        if not bare or DOCUMENT in (fields if whole else (fields[0], bare.split()[0])):
            yield from sentence(number)
        elif comment and not tokens and not wrong and line.startswith(comment) and not whole:
            continue
        else:
            if len(fields) != len(names) and not wrong:
                found = f"{len(fields)} fields, expected {len(names)} ({' '.join(names)})"
                wrong = range(number, number + 1), RowError(found)
            tokens.append(fields)
    yield from sentence(number + 1)


def column_names(table: StrictTable, *, required: bool) -> list[str]:
    """Returns the `columns` of a [format]: names of which only "_" may come twice; [] where there are none."""
    names: list[str] = table.take("columns", list) if required else table.take("columns", list, [])
    kept = [name for name in names if name != "_"]
    if (required or "columns" in table.raw) and not kept:
        raise table.error("columns", "names no column")
    if not all(isinstance(name, str) and name for name in names) or len(set(kept)) != len(kept):
        raise table.error("columns", f"is {names!r}; expected distinct names, and '_' for what is ignored")
    return names
