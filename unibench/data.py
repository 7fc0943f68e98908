"""Card + language + part -> examples, in a fixed order and with ids that stay.

`part` is "train", "dev" (what selects a learning rate) or "eval" (what is scored). Nothing here draws at random:
whatever is left out is chosen by the sha256 of a group's or an example's id, so it depends on neither model, seed nor
machine, and a smaller limit takes a subset of what a larger one takes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from unibench.cards import Source, TaskCard
from unibench.errors import DataError, Unavailable
from unibench.readers import READERS, RowError
from unibench.sample import fingerprint as sample_fingerprint
from unibench.sample import tasks
from unibench.sources import Origin, Split, fingerprint, hub_reachable, locate, open_split, origin

__all__ = [
    "DEV_LIMIT",
    "Example",
    "Loaded",
    "Origin",
    "Part",
    "availability",
    "examples_sha256",
    "hub_reachable",
    "load",
    "origin",
    "stamp",
]

Part = Literal["train", "dev", "eval"]
DEV_LIMIT = 1000  # examples: enough to choose among three learning rates, and cheap beside the training itself
CARVED_FRAC = 0.1  # of train, where no dev split is published


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One item to be scored.

    `inputs` and `target` by family:
      ner  inputs {"tokens": tuple[str, ...]}              target tuple[str, ...]  IOB2 tags
      nli  inputs {"premise": str, "hypothesis": str}      target int  index into card.labels
      qa   inputs {"context": str, "question": str}        target {"text": tuple[str, ...], "start": tuple[int, ...]}
      sts  inputs {"sentence1": str, "sentence2": str}     target float  0..1 (gold similarity / card.options["scale"])

    A qa start counts characters of the context; -1 says that the text stands nowhere near where the data set puts it.
    """

    id: str
    group: str
    inputs: Mapping[str, Any]
    target: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Examples in ascending order of id, and what happened on the way.

    `notes` counts rows by what was done to them, before any limit: "unlabelled" (dropped), "iob_repaired",
    "answer_moved", "answer_absent". `commits` gives the commit of each Hub dataset read; it is empty for a mirror.
    `parallel` says that ids and groups mean the same in every language.
    """

    examples: tuple[Example, ...]
    notes: Mapping[str, int]
    commits: Mapping[str, str]
    parallel: bool


def availability(card: TaskCard, part: Part, language: str, origin: Origin) -> str | None:
    """Returns None when `load` will find the files, else the reason in one line. Opens no data file.

    What only the rows can tell (every label a placeholder, no row in that language) `load` raises as Unavailable.
    """
    try:
        _find(card, part, language, origin)
    except Unavailable as reason:
        return str(reason)
    return None


def load(card: TaskCard, part: Part, languages: Sequence[str], origin: Origin, *, limit: int | None = None) -> Loaded:
    """Returns the examples of `part` in `languages` (for "eval" exactly one).

    Ids are zero-padded row numbers (the first row is 1): in "eval" alone, so that parallel cards share them across
    languages; else after source and language, as in train0.en.0000017.

    dev is the card's own dev source, or carved from train: per source and language, whole groups, about a tenth of the
    rows. Train then holds the rest, so no group is in both. dev is cut to `DEV_LIMIT` examples.

    `limit` in eval takes whole groups in order of their hash up to and including the one that reaches it; groups are
    counted before unlabelled rows are dropped, so parallel languages draw the same ones. In train and dev it takes
    exactly that many examples, over all sources and languages together.

    Raises Unavailable where `availability` says why not or nothing labelled is found, DataError for a broken file or
    row.
    """
    assert part != "eval" or len(languages) == 1, "one language is scored at a time: ids do not name it"
    assert limit is None or limit > 0
    carve = part != "eval" and not card.dev and origin.kind != "sample"
    examples: list[Example] = []
    notes: Counter[str] = Counter()
    commits: dict[str, str] = {}
    for language in dict.fromkeys(languages):
        found = _find(card, part, language, origin)
        tables = [_read(card, source, split, language, prefix) for prefix, source, split in found]
        if origin.kind == "sample":
            tables = [_generate(card, part, language)]
        commits |= {split.hub: split.commit for _, _, split in found if split.commit}
        for rows, groups, counted in tables:
            if carve:
                held_out = _draw_groups(groups, max(1, min(DEV_LIMIT, math.ceil(len(groups) * CARVED_FRAC))))
                rows = [example for example in rows if (example.group in held_out) == (part == "dev")]
            elif part == "eval" and limit is not None:
                drawn = _draw_groups(groups, limit)
                rows = [example for example in rows if example.group in drawn]
            examples += rows
            notes.update(counted)
    if not examples:
        raise Unavailable(f"{card.name} has no {part} example in {', '.join(languages)} in {origin}")
    if part == "dev":
        limit = min(DEV_LIMIT, limit or DEV_LIMIT)
    if part != "eval" and limit is not None:
        examples = sorted(examples, key=lambda example: _hash(example.id))[:limit]
    examples.sort(key=lambda example: example.id)
    return Loaded(
        examples=tuple(examples),
        notes={name: count for name, count in sorted(notes.items()) if count},
        commits=commits,
        parallel=card.parallel or origin.kind == "sample",
    )


def stamp(card: TaskCard, parts: Sequence[Part], languages: Sequence[str], origin: Origin) -> str:
    """Returns a fingerprint of the files behind `parts` in `languages`, without opening them.

    In a mirror it covers their paths, sizes and times of change; on the Hub their commit. Raises Unavailable.
    """
    if origin.kind == "sample":
        found = [f"{card.name} {part} {language} {sample_fingerprint()}" for part in parts for language in languages]
        return hashlib.sha256("\n".join(found).encode()).hexdigest()
    found = [
        f"{part} {language} {prefix} {fingerprint(split)}"
        for part in parts
        for language in languages
        for prefix, _, split in _find(card, part, language, origin)
    ]
    return hashlib.sha256("\n".join(found).encode()).hexdigest()


def examples_sha256(examples: Iterable[Example]) -> str:
    """Returns the hash of what the examples say, in order: what `data_sha256` in a record stands for."""
    digest = hashlib.sha256()
    for example in examples:
        content = [example.id, example.group, example.inputs, example.target]
        digest.update(json.dumps(content, sort_keys=True, ensure_ascii=True).encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _find(card: TaskCard, part: Part, language: str, origin: Origin) -> list[tuple[str, Source, Split]]:
    """Returns (id prefix, source, split) of all that `part` is made of in `language`; Unavailable if one is missing.

    Of the generated sample there is nothing to find: an empty list says that it has the part.
    """
    name, sources = part, {"train": card.train, "dev": card.dev or card.train, "eval": (card.eval,)}[part]
    if not sources:
        raise Unavailable(f"{card.name} trains nothing, so it has no {part} data")
    if part == "dev" and not card.dev:
        name = "train"
    if part == "eval" and language not in card.languages:
        raise Unavailable(f"{card.name} has no {language}; its languages: {', '.join(card.languages)}")
    chosen = [(index, source) for index, source in enumerate(sources) if _speaks(source, language)]
    if not chosen:
        spoken = {
            tongue for source in sources for tongue in ([source.language] if source.language else source.prefixes)
        }
        raise Unavailable(f"{card.name} has no {part} data for {language}, only for {', '.join(sorted(spoken))}")
    if origin.kind == "sample":
        reason = tasks.unavailable(card.family, language, card.labels)
        if reason is not None:
            raise Unavailable(reason)
        return []
    found = []
    for index, source in chosen:
        split = locate(source, language, origin)
        if isinstance(split, str):
            raise Unavailable(split)
        found.append(("" if part == "eval" else f"{name}{index}.{language}.", source, split))
    return found


def _generate(card: TaskCard, part: Part, language: str) -> tuple[list[Example], list[str], Counter[str]]:
    """Returns the sample's examples of a part, the group of each, and nothing to count."""
    prefix = "" if part == "eval" else f"{part}0.{language}."
    examples = [
        Example(id=f"{prefix}{number:07d}", group=f"{prefix}g{row.group + 1:06d}", inputs=row.inputs, target=row.target)
        for number, row in enumerate(tasks.rows(card.family, card.name, part, language, card.labels), start=1)
    ]
    return examples, [example.group for example in examples], Counter()


def _speaks(source: Source, language: str) -> bool:
    if source.language is not None:
        return source.language == language
    return not source.prefixes or language in source.prefixes


def _read(
    card: TaskCard, source: Source, split: Split, language: str, prefix: str
) -> tuple[list[Example], list[str], Counter[str]]:
    """Returns the split's labelled examples, the group of every row (labelled or not), and counts of what was done."""
    dataset = open_split(split)
    needed = dict.fromkeys(card.columns.values())
    by_column = card.group.removeprefix("column:") if card.group.startswith("column:") else ""
    per_group = int(card.group.removeprefix("rows:")) if card.group.startswith("rows:") else 0
    for column in (*needed, by_column, source.prefix_column or ""):
        if column and column not in dataset.column_names:
            raise DataError(
                f"{split.name} has no column {column!r}, which the card {card.name} names; "
                f"it has {', '.join(dataset.column_names)}"
            )
    values = {column: dataset[column][:] for column in {*needed, by_column, source.prefix_column or ""} if column}
    fields = [values[column] for column in card.columns.values()]
    wanted = source.prefixes.get(language, "")
    reader = READERS[card.family](card, _labels(dataset, card, split))
    examples: list[Example] = []
    groups: list[str] = []
    notes: Counter[str] = Counter()
    first_seen: dict[Any, int] = {}
    for number, row in enumerate(zip(*fields, strict=True), start=1):
        if wanted and not str(values[source.prefix_column or ""][number - 1]).startswith(wanted):
            continue
        assert number < 10**7, "ids of seven digits sort as their rows do"
        id = f"{prefix}{number:07d}"
        if by_column:
            shared = values[by_column][number - 1]
            key = tuple(shared) if isinstance(shared, list) else shared
            group = f"{prefix}g{first_seen.setdefault(key, len(first_seen) + 1):06d}"
        else:
            group = f"{prefix}g{(number - 1) // per_group + 1:06d}" if per_group else id
        groups.append(group)
        try:
            found = reader(row, notes)
        except RowError as error:
            raise DataError(
                f"{split.name} row {number}: {error}; fetch the file again, or correct the row or the card {card.name}"
            ) from None
        if found is None:
            notes["unlabelled"] += 1
        else:
            examples.append(Example(id=id, group=group, inputs=found[0], target=found[1]))
    if not examples:
        raise Unavailable(
            f"{split.name} has no row for {language}"
            if not groups
            else f"{split.name}: no row for {language} is labelled: they hold placeholders; "
            "use a copy that has the gold labels"
        )
    return examples, groups, notes


def _labels(dataset: Any, card: TaskCard, split: Split) -> tuple[str, ...]:
    """Returns the label each number in the file stands for: the file's own names where it has them, else the card's."""
    column = card.columns.get("label") or card.columns.get("tags")
    feature = dataset.features[column] if column else None
    names = getattr(getattr(feature, "feature", feature), "names", None)
    if names is None:
        return card.labels
    canonical = {label.lower(): label for label in card.labels}
    if {name.lower() for name in names} != set(canonical):
        raise DataError(
            f"{split.name} names its labels {', '.join(names)}; the card {card.name} says {', '.join(card.labels)}"
        )
    return tuple(canonical[name.lower()] for name in names)


def _draw_groups(groups: Sequence[str], limit: int) -> set[str]:
    """Returns the first groups in order of their hash that hold at least `limit` rows together."""
    drawn: set[str] = set()
    rows = 0
    sizes = Counter(groups)
    for group in sorted(sizes, key=_hash):
        if rows >= limit:
            break
        drawn.add(group)
        rows += sizes[group]
    return drawn


def _hash(id: str) -> bytes:
    return hashlib.sha256(id.encode()).digest()
