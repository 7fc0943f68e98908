"""The task cards as tables: what there is, how large, under which licence, and what of it can be run from here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from unibench import data, opening, sources
from unibench.cards import Source, TaskCard
from unibench.errors import Unavailable, UserError, without_language
from unibench.sources import Origin, Split
from unibench.tables import Column, Table, Value

PARTS: tuple[data.Part, ...] = ("train", "dev", "eval")
UNKNOWN = "–"
MOST_BYTES = 1 << 24  # of files that are read only to be counted
LANGUAGES, LICENCE, LICENCE_ALONE = 10, 12, 20  # characters, so that a row fits into 100 columns
UNTRAINABLE = "*"
STATED = ("as stated by its authors: ", "as stated by their authors: ")
VERIFIED = "verified: columns and labels were compared with the data, or with a public description that the card cites."


def listing(cards: Sequence[TaskCard], origin: Origin | None, *, short: bool) -> Table:
    """Returns one row a card; with an origin also how many examples are scored, in how many languages, and trained on.

    `short` fits a row into 100 columns: languages and licences are cut, and examples are a range over languages.
    """
    names = ["task", "family", "metric", "protocol", "languages", "examples", "licence", "verified"]
    if origin is not None:
        names += ["here"] if short else ["scored here", "trained here"]
    width = LICENCE_ALONE if origin is None else LICENCE
    rows: list[tuple[Value, ...]] = []
    for card in cards:
        sizes, licence = _sizes(card, origin), _licence(card)
        row: list[Value] = [card.name, card.family, card.metric, card.protocol]
        row += [_shortened(card.languages) if short else " ".join(card.languages)]
        row += [_range(sizes) if short else _each(card, sizes), _cut(licence, width) if short else licence]
        row.append("yes" if card.verified else "no")
        if origin is not None:
            ready = sum(data.availability(card, "eval", code, origin) is None for code in card.languages)
            reason, count = _untrainable(card, origin), f"{ready}/{len(card.languages)}"
            row += (
                [count + (UNTRAINABLE if reason else "")] if short else [count, reason or "yes" if card.train else ""]
            )
        rows.append(tuple(row))
    if origin is None:
        notes = [VERIFIED, "Examples, and what can be run from here: give --data a folder, hub or sample."]
        return Table(title="tasks", columns=_columns(names), rows=tuple(rows), footnotes=tuple(notes))
    notes = [
        VERIFIED,
        "The generated sample is made where it is used, so its examples are not counted here."
        if origin.kind == "sample"
        else f"examples: of each language that is scored, where the files are here and say so; else {UNKNOWN}.",
    ]
    if short:
        starred = any(str(row[-1]).endswith(UNTRAINABLE) for row in rows)
        notes.append("here: the languages that can be scored.")
        notes += [f"{UNTRAINABLE} cannot be trained from here; unibench tasks show NAME --data says why."] * starred
    title = f"tasks, and what can be run from {origin}"
    return Table(title=title, columns=_columns(names), rows=tuple(rows), footnotes=tuple(notes))


def _columns(names: Sequence[str]) -> tuple[Column, ...]:
    return tuple(Column(name=name) for name in names)


def details(card: TaskCard, origin: Origin | None) -> Table:
    """Returns all that a card says, and with an origin what of it is here, language by language."""
    sizes = _sizes(card, origin)
    found = {
        "title": card.title,
        "family": card.family,
        "metric": card.metric,
        "protocol": card.protocol + (f", trained in {card.train_language}" if card.train_language else ""),
        "languages": f"{len(card.languages)}: {' '.join(card.languages)}",
        "labels": " ".join(card.labels),
        "label_map": _pairs(card.label_map),
        "options": _pairs(card.options),
        "on_error": card.on_error if card.on_error != "stop" else "",
        "examples": _each(card, sizes) if sizes else "",
        **{part: "; ".join(map(_place, places)) for part, places in _parts(card).items()},
        **{key: str(value) for key, value in card.about.items() if key != "reference"},
        "verified": "yes" if card.verified else "no",
    }
    for entry in card.about.get("reference", ()):
        found[f"published: {entry['model']}"] = _reference(entry)
    if origin is not None:
        found |= _here(card, origin)
    rows = tuple((key, value) for key, value in found.items() if value)
    title = card.name if origin is None else f"{card.name}, and what of it can be had from {origin}"
    return Table(title=title, columns=_columns(("", "")), rows=rows)


def _parts(card: TaskCard) -> dict[str, Sequence[Source]]:
    return {"train": card.train, "dev": card.dev, "scored": (card.eval,)}


def _place(source: Source) -> str:
    words = dict.fromkeys((source.hub, source.config, source.files, source.split))  # a split may be its pattern
    where = " ".join(filter(None, words)) + (f" at {source.revision}" if source.revision else "")
    how = f" read as {source.reader}" if source.reader else ""
    return where + how + (f" with {_pairs(source.format)}" if source.format else "")


def _pairs(table: Mapping[str, object]) -> str:
    return ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items())


def _reference(entry: dict[str, object]) -> str:
    percent = entry.get("percent")
    scores = [f"{code} {score}" for code, score in percent.items()] if isinstance(percent, dict) else []
    mean = [f"mean {entry['average_percent']}"] if "average_percent" in entry else []
    return f"{entry['metric']} {', '.join([*mean, *scores])} ({entry['source']})"


def _here(card: TaskCard, origin: Origin) -> dict[str, str]:
    """Returns, by a label for the row, which languages of each part are to be had from `origin`, and why others not."""
    found = {}
    for part in PARTS:
        ready: list[str] = []
        reasons: dict[str, list[str]] = {}
        codes = dict.fromkeys((card.train_language, *card.languages) if part != "eval" else card.languages)
        for code in filter(None, codes if part == "eval" or card.train else ()):
            reason = data.availability(card, part, code, origin)
            if reason is None:
                ready.append(code)
            else:
                general = without_language(reason, code)
                reasons.setdefault(general, []).append(code)
        text = [" ".join(ready) or "none", *(f"not {' '.join(of)}: {reason}" for reason, of in reasons.items())]
        if ready or reasons:
            found[f"{part} here"] = "; ".join(text)
    return found


def _untrainable(card: TaskCard, origin: Origin) -> str:
    if not card.train:
        return ""
    codes = (card.train_language,) if card.train_language else card.languages
    reasons = [data.availability(card, "train", code, origin) for code in codes]
    return "" if None in reasons else str(reasons[0])


def _licence(card: TaskCard) -> str:
    licence = str(card.about.get("licence", ""))
    for words in STATED:
        licence = licence.removeprefix(words)
    return licence


def _sizes(card: TaskCard, origin: Origin | None) -> dict[str, int]:
    """Returns, by language, the rows of the files that are scored, where those are here and say how many they hold.

    Rows without a label count too: only the rows could tell. Under "" are those of files that hold every language.
    """
    sizes: dict[str, int] = {}
    if origin is None or origin.kind == "sample":
        return sizes
    for language in card.languages:
        split = sources.locate(card.eval, language, origin, card.folder)
        rows = None if isinstance(split, str) else _rows(split)
        if rows is not None:
            sizes["" if card.eval.prefixes else language] = rows
            if card.eval.prefixes:
                break
    return sizes


def _rows(split: Split) -> int | None:
    """Returns how many rows a split has: of parquet files by their footers, of files of one's own by reading those that
    are small; None for others and those not here.
    """
    if not split.hub and split.folder is not None:
        if sum((split.folder / file).stat().st_size for file in split.files) > MOST_BYTES:
            return None
        try:
            return len(opening.read_split(split, ()).places)
        except (UserError, Unavailable):
            return None  # what is wrong with a file is said when it is read
    import pyarrow.lib
    import pyarrow.parquet as parquet
    from huggingface_hub import try_to_load_from_cache

    rows = 0
    for file in split.files:
        path: object = split.folder / file if split.folder is not None else None
        if path is None:
            path = try_to_load_from_cache(split.hub, file, revision=split.commit, repo_type="dataset")
        if not file.endswith(".parquet") or not isinstance(path, str | Path):
            return None
        try:
            rows += parquet.read_metadata(path).num_rows
        except (OSError, pyarrow.lib.ArrowException):
            return None  # a damaged file is said to be one when it is read
    return rows


def _range(sizes: dict[str, int]) -> str:
    if not sizes:
        return UNKNOWN
    low, high = min(sizes.values()), max(sizes.values())
    if "" in sizes:
        return f"{high:,} all"
    return f"{low:,}" if low == high else f"{_brief(low)}–{_brief(high)}"


def _brief(count: int) -> str:
    if count < 1000:
        return str(count)
    return f"{count / 1000:.1f}k" if count < 9950 else f"{count / 1000:.0f}k"


def _each(card: TaskCard, sizes: dict[str, int]) -> str:
    if "" in sizes:
        return f"{sizes['']} in all"
    return ", ".join(f"{code} {sizes[code]}" for code in card.languages if code in sizes) or UNKNOWN


def _shortened(languages: Sequence[str]) -> str:
    return languages[0] if len(languages) == 1 else _cut(f"{len(languages)}: {' '.join(languages)}", LANGUAGES)


def _cut(text: str, limit: int) -> str:
    """Returns the text, or its first words and an ellipsis where it is longer."""
    if len(text) <= limit:
        return text
    return f"{text[: limit - 1].rsplit(' ', 1)[0].rstrip(',;:')} …"[:limit]
