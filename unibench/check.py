"""A task card examined against its data: read strictly, every part in every language loaded, counted and compared.

What is wrong raises one of the user's errors. What is only suspicious is a warning: it can be right, and seldom is.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from unibench import cards, data, repairs
from unibench.cards import TaskCard
from unibench.data import Example, Loaded, Part
from unibench.errors import CardError, Unavailable, UserError, without_language
from unibench.keylines import with_line
from unibench.sources import Origin
from unibench.tables import Column, Table, Value

SHOWN = 8  # labels in the table, the commonest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What one part holds in one language.

    `labels` counts examples by label (for names: entities by type, for questions: whether they have an answer); scores
    have `scores` instead, (lowest, highest, mean). `repeated` are examples whose inputs an earlier one has, `met` those
    whose inputs stand in train.
    """

    part: Part
    language: str
    examples: int
    groups: int
    labels: Mapping[str, int]
    scores: tuple[float, float, float] | None
    notes: Mapping[str, int]
    repeated: int
    met: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a card's data hold; `first` are the examples of the first language that is scored."""

    counts: tuple[Count, ...]
    warnings: tuple[str, ...]
    first: Loaded


@dataclass(slots=True)
class _Met:
    """What was met so far: hashes of inputs and of their longest text, by part; ids and targets, by language."""

    inputs: dict[str, set[bytes]] = field(default_factory=lambda: {"train": set(), "dev": set()})
    texts: set[bytes] = field(default_factory=set)  # of train
    scored: dict[str, dict[str, object]] = field(default_factory=dict)


def read(path: Path) -> tuple[TaskCard, Path | None]:
    """Returns the card in the file and the folder to give as --tasks-dir, None for a built-in card.

    Raises CardError, with the line of the file where it can be told, and UserError for what is no card file.
    """
    if path.suffix != ".toml" or not path.is_file():
        raise UserError(f"{path} is not a task card; expected a file NAME.toml")
    [built_in] = cards.card_folders()
    own = path.parent.resolve() != built_in.resolve()
    try:
        if own:
            cards.pick([path.stem], cards.card_folders(path.parent))  # so that a name that is taken is refused
        return cards.load_card(path), path.parent if own else None
    except CardError as error:
        raise CardError(with_line(str(error), path)) from error


def examine(card: TaskCard, origin: Origin, languages: Literal["all"] | Sequence[str] = "all") -> Report:
    """Returns what the card's data hold, in the wanted languages and those trained on.

    Raises DataError for the first thing that is wrong in them, UserError where nothing can be scored.
    """
    wanted = cards.pick_languages(languages, [card])[card.name]
    if origin.kind == "sample":
        raise UserError(f"the generated sample says nothing about the data of {card.name}; give --data FOLDER or hub")
    trained = dict.fromkeys((card.train_language, *wanted) if card.train_language else wanted)
    counts: list[Count] = []
    missing: dict[tuple[Part, str], list[str]] = {}
    warnings: list[str] = []
    met = _Met()
    first: Loaded | None = None
    parts: dict[Part, Iterable[str]] = {"train": trained, "dev": trained, "eval": wanted}
    for part, spoken in parts.items():
        for language in spoken if part == "eval" or card.train else ():
            loaded = _loaded(card, part, language, origin)
            if isinstance(loaded, str):
                if part != "eval" and card.train_language not in ("", language):
                    continue  # zero-shot does without
                general = without_language(loaded, language)
                missing.setdefault((part, general), []).append(language)
                continue
            if part == "eval" and first is None:
                first = loaded
            count, more = _count(card, part, language, loaded, met)
            counts.append(count)
            warnings += more
    if first is None:
        reasons = [reason for (part, reason) in missing if part == "eval"]
        raise UserError(f"no language of {card.name} can be scored: {reasons[0]}")
    _refuse_untrainable(card, counts, missing)
    warnings += [f"{part}: nothing in {' '.join(of)}: {reason}" for (part, reason), of in missing.items()]
    warnings += _labels_warnings(card, counts)
    if card.parallel:
        warnings += _parallel_warnings(met.scored)
    return Report(counts=tuple(counts), warnings=tuple(warnings), first=first)


def table(card: TaskCard, found: Report) -> Table:
    """Returns one row a part and language."""
    names = ("part", "language", "examples", "groups", "labels", "notes", "repeats", "also in train")
    rows: list[tuple[Value, ...]] = []
    for count in found.counts:
        shown = [f"{label} {number:,}" for label, number in Counter(count.labels).most_common(SHOWN)]
        if count.scores is not None:
            shown = ["{:.2f} to {:.2f}, mean {:.2f}".format(*count.scores)]
        more = len(count.labels) - SHOWN
        notes = [f"{name} {number:,}" for name, number in count.notes.items()]
        rows.append((
            count.part, count.language, f"{count.examples:,}", f"{count.groups:,}",
            ", ".join(shown) + (f", {more} more" if more > 0 else ""), ", ".join(notes),
            f"{count.repeated:,}" if count.repeated else "", f"{count.met:,}" if count.met else "",
        ))  # fmt: skip
    return Table(
        title=f"{card.name}: {card.title}", columns=tuple(Column(name=name) for name in names), rows=tuple(rows)
    )


def _loaded(card: TaskCard, part: Part, language: str, origin: Origin) -> Loaded | str:
    try:
        return data.load(card, part, [language], origin)
    except Unavailable as reason:
        return str(reason)


def _count(card: TaskCard, part: Part, language: str, loaded: Loaded, met: _Met) -> tuple[Count, list[str]]:
    examples = loaded.examples
    inputs = [_hash(example.inputs) for example in examples]
    longest = _longest(examples)
    texts = [_hash(example.inputs[longest]) for example in examples] if longest else []
    here = f"{part} {language}"
    warnings = repairs.warnings(card, here, loaded)
    stands = sum(key in met.inputs["train"] for key in inputs)
    if part == "train":
        met.inputs["train"] |= set(inputs)
        met.texts |= set(texts)
    elif part == "dev":
        met.inputs["dev"] |= set(inputs)
    else:
        met.scored[language] = {example.id: _plain(example.target) for example in examples}
        for other in ("train", "dev"):
            both = sum(key in met.inputs[other] for key in inputs)
            if both:
                warnings.append(f"{here}: {both:,} of {len(examples):,} examples also stand in {other}, whole")
        shared = sum(key in met.texts for key in texts)
        if shared > stands:
            warnings.append(f"{here}: {shared:,} of {len(examples):,} examples have a {longest} that stands in train")
    scores = _scores(card, examples)
    if scores is not None and scores[0] == scores[1]:
        warnings.append(f"{here}: every score is {scores[0]:.2f}")
    repeated = len(inputs) - len(set(inputs))
    if part == "eval" and repeated:
        warnings.append(f"{here}: {repeated:,} of {len(examples):,} examples repeat another one of them, whole")
    empty = sum(_is_empty(example.inputs) for example in examples)
    if empty:
        warnings.append(f"{here}: {empty:,} of {len(examples):,} examples have an empty text")
    count = Count(
        part=part,
        language=language,
        examples=len(examples),
        groups=len({example.group for example in examples}),
        labels=_labels(card, examples) if scores is None else {},
        scores=scores,
        notes=loaded.notes,
        repeated=repeated,
        met=None if part == "train" else stands,
    )
    return count, warnings


def _refuse_untrainable(
    card: TaskCard, counts: Sequence[Count], missing: Mapping[tuple[Part, str], Sequence[str]]
) -> None:
    """Raises UserError where the card's own protocol could train nothing, or choose no learning rate."""
    had: dict[str, set[str]] = {"train": set(), "dev": set(), "eval": set()}
    for count in counts:
        had[count.part].add(count.language)
    for part in ("train", "dev") if card.train else ():
        if not had[part] or (card.protocol == "zero-shot" and card.train_language not in had[part]):
            reasons = [reason for (of, reason) in missing if of == part]
            raise UserError(f"{card.name} cannot be run as {card.protocol}: {[*reasons, f'no {part} examples'][0]}")
    if card.protocol == "monolingual" and not had["train"] & had["dev"] & had["eval"]:
        raise UserError(f"{card.name} cannot be run as monolingual: no language has train, dev and eval examples")


def _labels(card: TaskCard, examples: Iterable[Example]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for example in examples:
        target = example.target
        if card.family == "ner":
            found.update(tag[2:] for tag in target if tag.startswith("B-"))
            found.update(["(no name)"] if set(target) == {"O"} else [])
        elif card.family == "qa":
            found["answered" if target["text"] else "without answer"] += 1
        elif isinstance(target, int) and card.labels:
            found[card.labels[target]] += 1
        elif isinstance(target, int | str):
            found[str(target)] += 1
    return dict(found)


def _scores(card: TaskCard, examples: Sequence[Example]) -> tuple[float, float, float] | None:
    """Returns (lowest, highest, mean) on the data's own scale where every target is a fraction, else None."""
    if not all(isinstance(example.target, float) for example in examples):
        return None
    scale = float(card.options.get("scale", 1.0))
    values = [example.target * scale for example in examples]
    return min(values), max(values), sum(values) / len(values)


def _labels_warnings(card: TaskCard, counts: Sequence[Count]) -> list[str]:
    """Returns what is odd about labels: never seen, the only one, or scored and never trained on."""
    seen: dict[str, set[str]] = {}
    for count in counts:
        seen.setdefault(count.part, set()).update(count.labels)
    named = dict.fromkeys(label[2:] for label in card.labels if label != "O") if card.family == "ner" else card.labels
    never = [label for label in named if not any(label in of for of in seen.values())]
    warnings = [f"no example anywhere has the label {', '.join(never)}"] if never else []
    for count in counts:
        here = f"{count.part} {count.language}"
        if card.labels and card.family != "ner" and len(count.labels) == 1:
            warnings.append(f"{here}: every example has the label {next(iter(count.labels))}")
        if card.family == "ner" and set(count.labels) == {"(no name)"}:
            warnings.append(f"{here}: no sentence has a name in it")
        untrained = [label for label in count.labels if label not in seen["train"]] if "train" in seen else []
        if count.part == "eval" and untrained and untrained != ["(no name)"]:
            warnings.append(f"{here}: nothing in train has the label {', '.join(untrained)}")
    return warnings


def _parallel_warnings(scored: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Returns where languages that the card calls parallel differ from the first: in their rows, or in their labels."""
    warnings = []
    (first, expected), *others = scored.items()
    for language, found in others:
        if found.keys() != expected.keys():
            only = len(found.keys() ^ expected.keys())
            warnings.append(f"parallel = true, but {only:,} rows are in only one of {first} and {language}")
            continue
        differ = sum(found[id] != target for id, target in expected.items() if isinstance(target, int | float))
        if differ:
            warnings.append(f"parallel = true, but {differ:,} rows have another label in {language} than in {first}")
    return warnings


def _plain(target: object) -> object:
    return target if isinstance(target, int | float) else None  # answers and tags are in the language's own words


def _longest(examples: Sequence[Example]) -> str | None:
    """Returns the input with the most characters, where there are several; None for a family that has one."""
    lengths: Counter[str] = Counter()
    for example in examples:
        lengths.update({name: len(str(value)) for name, value in example.inputs.items()})
    return lengths.most_common(1)[0][0] if len(lengths) > 1 else None


def _is_empty(inputs: Mapping[str, object]) -> bool:
    texts = [value if isinstance(value, tuple | list) else [value] for value in inputs.values()]
    return any(not all(_shown(str(piece)) for piece in pieces) for pieces in texts)


def _shown(text: str) -> bool:
    """Whether there is anything to be seen in a text: no white space, control or formatting character."""
    return any(not char.isspace() and unicodedata.category(char)[0] != "C" for char in text)


def _hash(value: object) -> bytes:
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=12).digest()
