"""A column of signatures -> what its rows have in common, said once below the table, and what each has of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from unibench.page.sections import Section

COLUMN = "signature"
OWN = "…"  # in the common signature, where a row says something of its own


def said_once(one: Section) -> tuple[Section, str]:
    """Returns the section with its signatures shortened to what differs between rows, and the note that says the rest.

    The column goes where nothing differs; the note is "" where nothing is shared, and the section then as it was.
    """
    table = one.table
    place = len(table.columns) - 1
    if len(table.rows) < 2 or table.columns[place].name != COLUMN:
        return one, ""
    signatures = [str(row[place] or "").split("|") for row in table.rows]
    common = [part for part in signatures[0] if all(part in of for of in signatures)]
    if not common:
        return one, ""
    own = [[part for part in of if part not in common] for of in signatures]
    if not any(own):
        note = f"Signature of every row: {'|'.join(common)}."
        columns, rows = table.columns[:place], tuple(row[:place] for row in table.rows)
    else:
        whole = "|".join(_masked(signatures, set(common)))
        note = f"Signature of every row: {whole}, each {OWN} as its row says."
        columns = table.columns
        rows = tuple((*row[:place], "|".join(parts)) for row, parts in zip(table.rows, own, strict=True))
    return replace(one, table=replace(table, columns=columns, rows=rows)), note


def _masked(signatures: Sequence[Sequence[str]], common: set[str]) -> list[str]:
    """Returns the longest signature's parts, those that not all share without their value: seed:…."""
    longest = max(signatures, key=len)
    return [part if part in common else (f"{part.partition(':')[0]}:{OWN}" if ":" in part else OWN) for part in longest]
