"""In which line of a TOML file a key stands, so that an error about the key can say it. The parser keeps no lines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path


def with_line(message: str, path: Path) -> str:
    """Returns a card's error with the line of the key that it names, where the file has that key or its table."""
    found = re.match(rf"{re.escape(str(path))}: ([\w.\[\]-]+) ", message)
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if found else []
    keys = found[1].split(".") if found else []
    for known in range(len(keys), 0, -1):
        number = line_of(lines, ".".join(keys[:known]))
        if number:
            return f"{path}:{number}{message.removeprefix(str(path))}"
    return message


def line_of(lines: Sequence[str], wanted: str) -> int | None:
    """Returns the line, from 1, of a key such as columns.label or train[0].hub; None where none is found.

    Keys within inline tables have no line of their own: ask for the table's.
    """
    tables: Counter[str] = Counter()
    table = ""
    for number, line in enumerate(lines, start=1):
        if found := re.match(r"\s*\[\[([^\]]+)\]\]", line):
            table = f"{found[1].strip()}[{tables[found[1]]}]"
            tables[found[1]] += 1
            key = table
        elif found := re.match(r"\s*\[([^\]]+)\]", line):
            key = table = found[1].strip()
        elif found := re.match(r"""\s*["']?([\w-]+)["']?\s*=""", line):
            key = f"{table}.{found[1]}" if table else found[1]
        else:
            continue
        if wanted in (key, f"{key}[0]") or (key and re.fullmatch(rf"{re.escape(key)}\[\d+\]", wanted) and key != table):
            return number
    return None
