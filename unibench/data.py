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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from unibench.cards import Source, TaskCard
from unibench.errors import CardError, DataError, Unavailable
from unibench.examples import Example, Noted, read_examples
from unibench.sample import fingerprint as sample_fingerprint
from unibench.sample import tasks
from unibench.sources import Origin, Split, fingerprint, hub_reachable, locate, origin

__all__ = [
    "DEV_LIMIT",
    "Example",
    "Loaded",
    "Origin",
    "Part",
    "availability",
    "examples_sha256",
    "hub_reachable",
    "language_of",
    "load",
    "origin",
    "stamp",
    "unlabelled",
]

Part = Literal["train", "dev", "eval"]
DEV_LIMIT = 1000  # examples: enough to choose among three learning rates, and cheap beside the training itself
CARVED_FRAC = 0.1  # of train, where no dev split is published


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Examples in ascending order of id, and what happened on the way.

    `notes` counts rows by what was done to them, before any limit: "unlabelled" and "malformed" (dropped),
    "iob_repaired", "answer_moved", "answer_absent", "unanswerable" (kept). `commits` gives the commit of each Hub
    dataset read; it is empty for a mirror and for files of one's own.
    `rows` counts all rows read, labelled or not, before any limit. `parallel` says that ids and groups mean the same in
    every language. `noted` gives the first row of each thing that a reader counted; a limit may have left it out.
    """

    examples: tuple[Example, ...]
    notes: Mapping[str, int]
    commits: Mapping[str, str]
    parallel: bool
    rows: int
    noted: Mapping[str, Noted] = field(default_factory=dict, compare=False)


def availability(card: TaskCard, part: Part, language: str, origin: Origin) -> str | None:
    """Returns None when `load` will find the files, else the reason in one line. Opens no data file.

    What only the rows can tell (every label a placeholder, no row in that language) `load` raises as Unavailable.
    """
    try:
        _find(card, part, language, origin)
    except (Unavailable, DataError, CardError) as reason:  # a broken dataset is out of reach, and stops no other
        return str(reason)
    return None


def load(card: TaskCard, part: Part, languages: Sequence[str], origin: Origin, *, limit: int | None = None) -> Loaded:
    """Returns the examples of `part` in `languages` (for "eval" exactly one).

    Ids are zero-padded row numbers (the first row is 1): in "eval" alone, so that parallel cards share them across
    languages; else after source and language, as in train0.en.0000017.

    dev is the card's own dev source, or carved from train: per source and language, whole groups, about a tenth of the
    rows, the same ones in every language of a parallel card. Train then holds the rest, so no group is in both. dev is
    cut to `DEV_LIMIT` examples.

    `limit` in eval takes whole groups in order of their hash up to and including the one that reaches it; groups are
    counted before unlabelled rows are dropped, so parallel languages draw the same ones. In train and dev it takes
    exactly that many examples, over all sources and languages together.

    Raises Unavailable where `availability` says why not or nothing labelled is found, DataError for a broken file or
    row.
    """
    assert part != "eval" or len(languages) == 1, "one language is scored at a time: ids do not name it"
    return _load(card, part, languages, origin, limit, labelled=True)


def unlabelled(card: TaskCard, language: str, origin: Origin, limit: int | None = None) -> Loaded:
    """Returns examples in `language` with inputs and no target (None), for what may read a language but not its labels.

    They are of the train split, without what dev is carved from it, else of the dev split; placeholders in place of
    labels do no harm. What is scored is never among them: a split whose files the card scores, in any language, is
    refused. Ids, groups and `limit` are as in `load`. The generated sample has such text in all its languages. Raises
    Unavailable with every reason why there are none.
    """
    reasons: dict[str, None] = {}
    parts: tuple[Part, ...] = ("train", "dev") if card.dev else ("train",)
    for part in parts:
        try:
            if origin.kind != "sample":
                _refuse_scored(card, part, language, origin)
            elif card.train:
                card = replace(card, train=(Source(language=language),), dev=())
            return _load(card, part, [language], origin, limit, labelled=False)
        except Unavailable as reason:
            reasons[str(reason)] = None
    raise Unavailable("; ".join(reasons))


def language_of(example_id: str) -> str:
    """Returns the language that an id of train or dev names, such as en of train0.en.0000017; ValueError for eval's."""
    source, _, rest = example_id.partition(".")
    language = rest.rpartition(".")[0]
    if not source or not language:
        raise ValueError(f"the example id {example_id!r} names no language; only those of train and dev do")
    return language


def _load(
    card: TaskCard, part: Part, languages: Sequence[str], origin: Origin, limit: int | None, *, labelled: bool
) -> Loaded:
    assert limit is None or limit > 0
    carve = part != "eval" and not card.dev and origin.kind != "sample"
    examples: list[Example] = []
    notes: Counter[str] = Counter()
    commits: dict[str, str] = {}
    noted: dict[str, Noted] = {}
    total = 0
    for language in dict.fromkeys(languages):
        found = _find(card, part, language, origin)
        if origin.kind == "sample":
            tables = [_generate(card, part, language, labelled)]
        else:
            tables = [read_examples(card, *place, language, labelled=labelled) for place in found]
        commits |= {split.hub: split.noted for _, split, _ in found if split.noted}
        for rows, groups, counted, first in tables:
            if carve:
                # By what stands after source and language where rows say the same in every language: drawn apart, dev
                # in one would stand in train in another.
                named = [group.rpartition(".")[2] if card.parallel else group for group in groups]
                held_out = _draw_groups(named, max(1, min(DEV_LIMIT, math.ceil(len(named) * CARVED_FRAC))))
                is_dev = dict(zip(groups, (name in held_out for name in named), strict=True))
                rows = [example for example in rows if is_dev[example.group] == (part == "dev")]
            elif part == "eval" and limit is not None:
                drawn = _draw_groups(groups, limit)
                rows = [example for example in rows if example.group in drawn]
            examples += rows
            notes.update(counted)
            noted = first | noted
            total += len(groups)
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
        rows=total,
        noted=noted,
    )


def stamp(card: TaskCard, parts: Sequence[Part], languages: Sequence[str], origin: Origin) -> str:
    """Returns a fingerprint of the files behind `parts` in `languages`, without opening them.

    In a mirror, and of files of one's own, it covers their paths, sizes and times of change; on the Hub their commit.
    Raises Unavailable.
    """
    if origin.kind == "sample":
        found = [f"{card.name} {part} {language} {sample_fingerprint()}" for part in parts for language in languages]
        return hashlib.sha256("\n".join(found).encode()).hexdigest()
    found = [
        f"{part} {language} {prefix} {fingerprint(split)}"
        for part in parts
        for language in languages
        for _, split, prefix in _find(card, part, language, origin)
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


def _find(card: TaskCard, part: Part, language: str, origin: Origin) -> list[tuple[Source, Split, str]]:
    """Returns (source, split, id prefix) of all that `part` is made of in `language`; Unavailable if one is missing.

    Of the generated sample there is nothing to find: an empty list says that it has the part.
    """
    name, sources = part, {"train": card.train, "dev": card.dev or card.train, "eval": (card.eval,)}[part]
    if not sources:
        raise Unavailable(f"{card.name} trains nothing, so it has no {part} data")
    if part == "dev" and not card.dev:
        name = "train"
    if part == "eval" and language not in card.languages:
        raise Unavailable(f"{card.name} has no {language}; its languages: {', '.join(card.languages)}")
    chosen = [(index, source) for index, source in enumerate(sources) if source.speaks(language)]
    if not chosen:
        spoken = {
            tongue
            for source in sources
            for tongue in ([source.language] if source.language else source.languages or source.prefixes)
        }
        raise Unavailable(f"{card.name} has no {part} data for {language}, only for {', '.join(sorted(spoken))}")
    if origin.kind == "sample":
        reason = tasks.unavailable(card.family, language, card.labels)
        if reason is not None:
            raise Unavailable(reason)
        return []
    found = []
    for index, source in chosen:
        split = locate(source, language, origin, card.folder)
        if isinstance(split, str):
            raise Unavailable(split)
        found.append((source, split, "" if part == "eval" else f"{name}{index}.{language}."))
    return found


def _refuse_scored(card: TaskCard, part: Part, language: str, origin: Origin) -> None:
    """Raises Unavailable if a file of `part` in `language` is one of those the card scores, whatever its language."""
    scored = set[tuple[str, Path | None, str]]()
    for spoken in card.languages:
        split = locate(card.eval, spoken, origin, card.folder)
        if not isinstance(split, str):
            scored |= _identities(split)
    for _, split, _ in _find(card, part, language, origin):
        if _identities(split) & scored:
            raise Unavailable(f"{split.name} is what {card.name} scores, so nothing may read it beforehand")


def _identities(split: Split) -> set[tuple[str, Path | None, str]]:
    if split.folder is None:
        return {(split.hub, None, file) for file in split.files}
    return {("", (split.folder / file).resolve(), "") for file in split.files}


def _generate(
    card: TaskCard, part: Part, language: str, labelled: bool
) -> tuple[list[Example], list[str], Counter[str], dict[str, Noted]]:
    """Returns the sample's examples of a part, the group of each, and nothing to count."""
    prefix = "" if part == "eval" else f"{part}0.{language}."
    examples = [
        Example(
            id=f"{prefix}{number:07d}",
            group=f"{prefix}g{row.group + 1:06d}",
            inputs=row.inputs,
            target=row.target if labelled else None,
        )
        for number, row in enumerate(tasks.rows(card.family, card.name, part, language, card.labels), start=1)
    ]
    return examples, [example.group for example in examples], Counter(), {}


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
