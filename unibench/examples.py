"""One split of a card -> its examples, each with an id, a group and a target in the card's own labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unibench.cards import Source, TaskCard
from unibench.delimited import other_separator
from unibench.errors import DataError, Unavailable
from unibench.files import Sheet
from unibench.labels import resolve
from unibench.lines import RowError
from unibench.opening import read_split
from unibench.readers import INPUTS, Reader, reader
from unibench.sources import Split

Noted = tuple[str, Sequence[Any]]  # where a row stands, and its values in the order of the family's columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One item to be scored.

    `inputs` and `target` by family:
      ner  inputs {"tokens": tuple[str, ...]}              target tuple[str, ...]  IOB2 tags
      nli  inputs {"premise": str, "hypothesis": str}      target int  index into card.labels
      qa   inputs {"context": str, "question": str}        target {"text": tuple[str, ...], "start": tuple[int, ...]}
      sts  inputs {"sentence1": str, "sentence2": str}     target float  0..1 (gold similarity / card.options["scale"])

    A qa start counts characters of the context; -1 says that the text stands nowhere near where the data set puts it.
    A question without an answer has neither text nor start. Of `unlabelled` examples the target is None.
    """

    id: str
    group: str
    inputs: Mapping[str, Any]
    target: Any


def read_examples(
    card: TaskCard, source: Source, split: Split, prefix: str, language: str, *, labelled: bool
) -> tuple[list[Example], list[str], Counter[str], dict[str, Noted]]:
    """Returns the split's labelled examples, the group of every row (labelled or not), counts of what was done, and
    where each was done first.

    Ids are `prefix` and the row's number; with `labelled` False every row that can be read is an example without a
    target. Raises DataError for a malformed row, unless the card passes over those, and for a missing column;
    Unavailable where no row is in `language` or none has a label.
    """
    columns = {**card.columns, **source.columns}
    if not labelled and card.family in INPUTS:
        columns.popitem()  # the label is a family's last column
    by_column = card.group.removeprefix("column:") if card.group.startswith("column:") else ""
    # A group's column that holds one of the family's fields goes by the name it has in this source.
    by_column = next((source.columns[f] for f in source.columns if card.columns.get(f) == by_column), by_column)
    per_group = int(card.group.removeprefix("rows:")) if card.group.startswith("rows:") else 0
    needed = [c for c in dict.fromkeys((*columns.values(), by_column, source.prefix_column or "")) if c]
    sheet = read_split(split, needed)
    for column in needed:
        if column not in sheet.columns:
            raise DataError(
                f"{split.name} has no column {column!r}, which the card {card.name} names; "
                f"it has {', '.join(sheet.names)}{other_separator(sheet.names, split.reader)}"
            )
    fields = [sheet.columns[column] for column in columns.values()]
    spoken = sheet.columns.get(source.prefix_column or "", ())
    wanted = source.prefixes.get(language, "")
    read = _reader(card, source, sheet, columns, labelled)
    examples: list[Example] = []
    groups: list[str] = []
    notes: Counter[str] = Counter()
    noted: dict[str, Noted] = {}
    first_seen: dict[Any, int] = {}
    refused = ""  # the first malformed row
    for index, row in enumerate(zip(*fields, strict=True)):
        fault = sheet.faults.get(index)
        if wanted and not fault and not str(spoken[index]).startswith(wanted):
            continue
        assert index + 1 < 10**7, "ids of seven digits sort as their rows do"
        id = group = f"{prefix}{index + 1:07d}"
        if by_column and not fault:
            shared = sheet.columns[by_column][index]
            key = repr(shared) if isinstance(shared, list | dict) else shared
            group = f"{prefix}g{first_seen.setdefault(key, len(first_seen) + 1):06d}"
        elif per_group:
            group = f"{prefix}g{index // per_group + 1:06d}"
        groups.append(group)
        found = None
        try:
            if fault:
                raise fault
            before = notes.total()
            found = read(row, notes)
            if notes.total() > before:
                here = sheet.place(index), row
                noted = {name: here for name, count in notes.items() if count} | noted
        except RowError as error:
            message = f"{sheet.place(index, error.item)}: {error}; {sheet.remedy} or the card {card.name}"
            # Groups are numbered by first appearance, so a row of an unknown one would shift those of its translations.
            if card.on_error == "stop" or (fault and by_column and card.parallel):
                raise DataError(message) from None
            notes["malformed"] += 1
            refused = refused or message
            continue
        if found is None:
            notes["unlabelled"] += 1
        else:
            examples.append(Example(id=id, group=group, inputs=found[0], target=found[1]))
    if refused and notes["malformed"] == len(groups):
        raise DataError(f"{split.name}: every row is malformed; the first: {refused}")
    if not examples or notes["unanswerable"] == len(examples):
        raise Unavailable(
            f"{split.name} has no row for {language}"
            if not groups
            else f"{split.name}: no row for {language} is labelled: they hold placeholders; "
            "use a copy that has the gold labels"
        )
    return examples, groups, notes, noted


def _reader(card: TaskCard, source: Source, sheet: Sheet, columns: Mapping[str, str], labelled: bool) -> Reader:
    """Returns what reads the rows; without labels it leaves the target None."""
    if labelled:
        return reader(card, _names(card, source, sheet, columns))
    if card.family in INPUTS:
        inputs = INPUTS[card.family]
        return lambda row, notes: (inputs(row), None)
    read = reader(card, _names(card, source, sheet, columns))

    def without_label(row: Sequence[Any], notes: Counter[str]) -> tuple[dict[str, Any], Any] | None:
        found = read(row, notes)
        return None if found is None else (found[0], None)

    return without_label


def _names(card: TaskCard, source: Source, sheet: Sheet, columns: Mapping[str, str]) -> tuple[str, ...]:
    """Returns what each number in the data stands for: the source's `labels`, else the data's own names, else the
    card's labels. They are the data's words still; the card's `label_map` comes after.
    """
    if source.labels:
        return source.labels
    known = sheet.labels.get(columns.get("label") or columns.get("tags") or "")
    if not known:
        return card.labels
    canonical = {name.lower(): name for name in (*card.labels, *card.label_map)}
    names = tuple(canonical.get(name.lower(), name) for name in known)
    meant = [resolve(name, card.family, card.labels, card.label_map) for name in names]
    if None in meant or not (card.label_map or set(card.labels) <= set(names)):
        raise DataError(
            f"{sheet.name} names its labels {', '.join(known)}; the card {card.name} says {', '.join(card.labels)}"
        )
    return names
