"""What a built corpus holds and what it cost, and how tokenizers treat it, as tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from unibench.tables import Column, Table, Value

if TYPE_CHECKING:
    from unibert.fertility import Fertility

UNITS = ("documents", "characters", "tokens")
EXACT, NEAR, TESTS = "exact duplicates", "near duplicates", "test sets"
_LATER = {EXACT: "exact_duplicates", NEAR: "near_duplicates", TESTS: "contaminated"}  # after curation, in this order
Amounts = tuple[int, int, int]


def overview(manifest: Mapping[str, Any], title: str) -> list[Table]:
    """Returns what each language lost, the worst first, and what each step took from all of them together."""
    records = manifest["languages"]
    taken: dict[str, Amounts] = {}
    rows: list[tuple[Value, ...]] = []
    for language, record in records.items():
        read, kept, lost = record["read"], record["kept"], losses(record)
        for name, amounts in lost.items():
            taken[name] = _plus(taken.get(name, (0, 0, 0)), amounts)
        worst = max(lost, key=lambda name: lost[name][1])
        shown = f"{worst} {lost[worst][1] / read['characters']:.1%}" if lost[worst][1] > 0 else ""
        rows.append(
            (language, read["documents"], kept["documents"], lost[EXACT][0], lost[NEAR][0],
             record["contaminated"]["touched"], sum(record["faults"]["counts"].values()), kept["tokens"],
             _change(read["characters"], kept["characters"]), shown)
        )  # fmt: skip
    rows.sort(key=lambda row: (_number(row[-2]), str(row[0])))
    names = ("read", "kept", "exact", "near", "tests", "faults", "tokens")
    before = tuple(sum(record["read"][unit] for record in records.values()) for unit in UNITS)
    after = tuple(sum(record["kept"][unit] for record in records.values()) for unit in UNITS)
    steps: list[tuple[Value, ...]] = [
        (name, *_negative(amounts), 0 - _share(amounts[1], before[1])) for name, amounts in taken.items()
    ]
    counts = tuple(Column(name=unit, kind="count") for unit in UNITS)
    return [
        Table(
            title=title,
            columns=(
                Column(name="language"),
                *(Column(name=name, kind="count") for name in names),
                Column(name="change", kind="relative"),
                Column(name="largest loss"),
            ),
            rows=tuple(rows),
            footnotes=tuple(_footnotes(manifest)),
        ),
        Table(
            title="All languages, step by step",
            columns=(Column(name="step"), *counts, Column(name="change", kind="relative")),
            rows=(("read", *before, None), *steps, ("kept", *after, _change(before[1], after[1]))),
            footnotes=("change: of the characters read, in percent.",),
        ),
    ]


def _footnotes(manifest: Mapping[str, Any]) -> Iterator[str]:
    source, records, tests = manifest["source"], manifest["languages"], manifest["tests"]
    revision = source.get("revision") or ", ".join(sorted({r["revision"] for r in records.values() if r["revision"]}))
    yield f"Source: {source['name']} {source['config']}" + (f" at {revision}" if revision else "")
    yield "read, kept, exact and near duplicates, tests (in which something of a test set was found): documents."
    yield "tokens: kept; runs of letters and digits, or letters where no spaces part words. change: % of characters."
    recipe = manifest["recipe"]
    if recipe["limit"] is not None:
        yield f"At most {recipe['limit']} documents of each language were read (--limit)."
    left_out = [*recipe["curation"]["skip"], *([] if recipe["duplicates"] else ["duplicates"])]
    if left_out:
        yield f"Steps left out (--skip): {', '.join(left_out)}"
    silent = [language for language, record in records.items() if not record["shards"]]
    if silent:
        yield f"Nothing is left of {len(silent)} languages: {' '.join(silent)}"
    if manifest["absent"]:
        yield f"The source lacks {len(manifest['absent'])} of the 107 languages: {' '.join(manifest['absent'])}"
    if manifest["ignored"]:
        yield f"Files that hold no text of a language: {', '.join(manifest['ignored'])}"
    for language, record in records.items():
        for message in record["faults"]["first"][:3]:
            yield f"Passed over in {language}: {message}"
    if tests is None:
        yield "Test sets were not looked for (--decontaminate none)."
    else:
        yield f"Test sets looked for: {'; '.join(tests['used']) or 'none'}"
        if tests["unavailable"]:
            yield f"Test sets that could not be had: {'; '.join(tests['unavailable'])}"


def fertility(rows: Sequence[Fertility]) -> Table:
    """Returns one line a language with three columns a tokenizer; rows of one language stand together."""
    grouped: dict[str, list[Fertility]] = {}
    for row in rows:
        grouped.setdefault(row.language, []).append(row)
    names = [row.tokenizer for row in next(iter(grouped.values()), [])]
    columns = [Column(name="language"), Column(name="per"), Column(name="lines", kind="count")]
    for name in names:
        columns += [
            Column(name=f"{name} tokens", kind="ratio"),
            Column(name=f"{name} bytes/token", kind="ratio"),
            Column(name=f"{name} fallback", kind="score"),
        ]
    lines: list[tuple[Value, ...]] = []
    for language, found in grouped.items():
        cells: list[Value] = [language, found[0].per, found[0].lines]
        for row in found:
            cells += [row.fertility, row.bytes_per_token, row.fallback_share]
        lines.append(tuple(cells))
    return Table(
        title="Tokenizers on held-out lines, the worst first",
        columns=tuple(columns),
        rows=tuple(lines),
        footnotes=(
            "tokens: per word, or per character where no spaces part words; the two do not compare.",
            "fallback: pieces that are single bytes, parts of a character or unknown, of all pieces, in percent.",
            "A language without a held-out line has nothing to measure (–).",
        ),
    )


def losses(record: Mapping[str, Any]) -> dict[str, Amounts]:
    """Returns what each step took from a language, in order of application: documents, characters and tokens.

    A step that replaces characters by more of them (an entity it spells out, say) has taken less than nothing.
    """
    steps = record["curation"]["steps"]
    entered = [_amounts(counts) for counts in (*steps.values(), record["curation"]["kept"])]
    taken = {name: _plus(entered[i], _negative(entered[i + 1])) for i, name in enumerate(steps)}
    return taken | {name: _amounts(record[key]) for name, key in _LATER.items()}


def _amounts(counts: Mapping[str, int]) -> Amounts:
    return counts["documents"], counts["characters"], counts["tokens"]


def _plus(one: Amounts, other: Amounts) -> Amounts:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def _negative(amounts: Amounts) -> Amounts:
    return -amounts[0], -amounts[1], -amounts[2]


def _change(before: float, after: float) -> float:
    return after / before - 1 if before else float("nan")


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _number(value: Value) -> float:
    """Returns a number to sort by; what is not known comes first, for it is a language without text."""
    return value if isinstance(value, float) and not math.isnan(value) else -math.inf
