"""TaskCard <- tasks/*.toml. A card is data: one benchmark dataset in all its languages, read strictly.

Nothing here opens a dataset; `unibench.data` does, following the card.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from unibench.errors import CardError, UnknownName, UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One place examples come from: a Hub dataset (or its mirror), one split of it.

    `config` may hold "{lang}". `language` fixes the language of a source that has one; None means that the language
    is chosen by `config`, or by `prefixes`, which keep the rows whose `prefix_column` starts with the language's own.
    `aliases` maps a language to the name the dataset's configs give it; a mirror may use either.
    `revision` is a 40-hex commit or a ref such as refs/convert/parquet; None means it is resolved when first used.
    """

    hub: str
    config: str
    split: str
    revision: str | None = None
    language: str | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)  # language -> name in configs, e.g. {"ha": "hau"}
    prefix_column: str | None = None  # e.g. "id" for TyDiQA
    prefixes: Mapping[str, str] = field(default_factory=dict)  # language -> prefix, e.g. {"ar": "arabic-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCard:
    """One benchmark dataset in all its languages.

    `train` empty: nothing is trained (sts17). `dev` empty: carved from train by group. `columns` maps the family's
    field names to column names. `group` says which rows belong together: "" (each row alone), "column:NAME" (rows with
    equal values; the id is the order of first appearance) or "rows:3" (every 3 consecutive rows). `parallel` says that
    example ids and groups mean the same in every language. `train_language` is what the zero-shot protocol trains on.
    """

    name: str
    title: str
    family: str  # ner | nli | qa | sts
    metric: str
    languages: tuple[str, ...]
    protocol: str  # the default protocol: zero-shot | monolingual | multilingual | none
    train: tuple[Source, ...]
    dev: tuple[Source, ...]
    eval: Source
    columns: Mapping[str, str]
    labels: tuple[str, ...] = ()
    train_language: str = ""
    group: str = ""
    parallel: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)  # family-specific, e.g. head = "bi-encoder", scale = 5
    about: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""  # of what can move a number: the parsed card without title, languages and about


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What every card of one task family must name."""

    columns: tuple[str, ...]
    metrics: tuple[str, ...]
    labels: bool  # whether the card lists labels
    heads: tuple[str, ...] = ()  # choices of options.head, where the family has any


FAMILIES: Mapping[str, Family] = {
    "ner": Family(columns=("tokens", "tags"), metrics=("span_f1", "precision", "recall"), labels=True),
    "nli": Family(columns=("premise", "hypothesis", "label"), metrics=("accuracy", "macro_f1"), labels=True),
    "qa": Family(columns=("context", "question", "answers"), metrics=("exact_match", "token_f1"), labels=False),
    "sts": Family(
        columns=("sentence1", "sentence2", "score"),
        metrics=("spearman", "pearson"),
        labels=False,
        heads=("bi-encoder", "cosine"),
    ),
}
PROTOCOLS = ("zero-shot", "monolingual", "multilingual", "none")
_ABOUT = ("summary", "paper", "url", "licence", "note", "reference")
_GROUP = re.compile(r"|rows:[1-9][0-9]*|column:.+")
_COMMIT = re.compile(r"[0-9a-f]{40}|refs/[\w./-]+")
_REQUIRED = object()


def load_card(path: Path) -> TaskCard:
    """Returns the card in the TOML file at `path`; its name is the file's stem.

    Raises CardError, one line naming file and key, for anything unknown, missing, of a wrong type or contradictory.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CardError(f"{path} is not a readable TOML file ({_one_line(error)})") from error
    top = _Table(path, "", raw)
    family_name = top.choice("family", FAMILIES)
    family = FAMILIES[family_name]
    columns = _Table(path, "columns", top.take("columns", dict))
    options = _Table(path, "options", top.take("options", dict, {}))
    about = _Table(path, "about", top.take("about", dict))
    card = TaskCard(
        name=path.stem,
        title=top.take("title", str),
        family=family_name,
        metric=top.choice("metric", family.metrics),
        languages=top.strings("languages"),
        protocol=top.choice("protocol", PROTOCOLS),
        train_language=top.take("train_language", str, ""),
        labels=top.strings("labels") if family.labels else (),
        group=top.take("group", str, ""),
        parallel=top.take("parallel", bool, False),
        columns={name: columns.take(name, str) for name in family.columns},
        train=_sources(top, "train"),
        dev=_sources(top, "dev"),
        eval=_source(path, "eval", top.take("eval", dict)),
        options=_options(options, family),
        about=_about(about, family),
        sha256=_sha256({key: value for key, value in raw.items() if key not in ("title", "languages", "about")}),
    )
    for table in (top, columns, options, about):
        table.finish()
    _check(top, card)
    return card


def card_folders(extra: Path | None = None) -> list[Path]:
    """Returns the folders cards are looked up in: the user's own first, then the built-in one.

    A wheel carries the built-in cards beside this module; a checkout holds them in tasks/ beside the package.
    """
    folders = []
    if extra is not None:
        if not extra.is_dir():
            raise UserError(
                f"the tasks folder {extra} does not exist; --tasks-dir takes a folder of task cards (*.toml)"
            )
        folders.append(extra)
    here = Path(__file__).parent
    built_in = [folder for folder in (here / "tasks", here.parent / "tasks") if folder.is_dir()]
    if not built_in:
        raise UserError(f"this installation of unibench has no task cards beside {here}; install it again")
    return [*folders, *built_in[:1]]


def all_cards(folders: Sequence[Path]) -> list[TaskCard]:
    """Returns every card in `folders`, in order of name."""
    return [load_card(path) for _, path in sorted(_paths(folders).items())]


def pick(names: Literal["all"] | Sequence[str], folders: Sequence[Path]) -> list[TaskCard]:
    """Returns the named cards in the order given, each once; `"all"`, also as a member, returns every one.

    Only the named files are opened, so a broken card of yours does not stop the others.
    """
    if names == "all" or "all" in names:
        return all_cards(folders)
    paths = _paths(folders)
    where = " or ".join(f"{folder.name}/" for folder in folders)
    for name in names:
        if name not in paths:
            raise UnknownName("task", name, paths, where)
    return [load_card(paths[name]) for name in dict.fromkeys(names)]


def pick_languages(
    wanted: Literal["all"] | Sequence[str] | None, cards: Iterable[TaskCard]
) -> dict[str, tuple[str, ...]]:
    """Returns, by card name, the wanted languages that the card covers, in the card's order; None is all of them.

    A language that no card covers is an UnknownName; one that only some cover is absent from the others' tuples.
    """
    cards = list(cards)
    if wanted is None or wanted == "all" or "all" in wanted:
        return {card.name: card.languages for card in cards}
    known = {language for card in cards for language in card.languages}
    for language in wanted:
        if language not in known:
            raise UnknownName("language", language, known, "the picked tasks")
    return {card.name: tuple(language for language in card.languages if language in wanted) for card in cards}


def _paths(folders: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            if path.stem in found:
                raise CardError(f"{found[path.stem]} has the name of the built-in card {path.stem!r}; rename your file")
            found[path.stem] = path
    return found


class _Table:
    """One TOML table being read: every key is taken once, what is left over is unknown."""

    def __init__(self, path: Path, name: str, raw: Mapping[str, Any]) -> None:
        self.path, self.name, self.raw = path, name, raw
        self.taken: list[str] = []

    def error(self, key: str, message: str) -> CardError:
        return CardError(f"{self.path}: {f'{self.name}.{key}' if self.name else key} {message}")

    def take(self, key: str, kind: type | tuple[type, ...], default: Any = _REQUIRED) -> Any:
        self.taken.append(key)
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if key not in self.raw:
            if default is not _REQUIRED:
                return default
            raise self.error(key, f"is missing; expected {_kind_names(kinds)}")
        value = self.raw[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds) or value == "":
            raise self.error(key, f"is {json.dumps(value, default=str)}; expected {_kind_names(kinds)}")
        return value

    def choice(self, key: str, choices: Iterable[str]) -> str:
        value: str = self.take(key, str)
        options = list(choices)
        if value not in options:
            close = get_close_matches(value, options, n=1, cutoff=0.6)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise self.error(key, f"is {value!r}; expected one of {', '.join(options)}{hint}")
        return value

    def strings(self, key: str) -> tuple[str, ...]:
        value = self.take(key, list)
        if not value or not all(isinstance(item, str) and item for item in value) or len(set(value)) != len(value):
            raise self.error(key, f"is {json.dumps(value, default=str)}; expected a list of distinct texts")
        return tuple(value)

    def mapping(self, key: str) -> dict[str, str]:
        value = self.take(key, dict, {})
        if not all(isinstance(item, str) and item for item in value.values()):
            raise self.error(key, f"is {json.dumps(value, default=str)}; expected a table of texts")
        return dict(value)

    def finish(self) -> None:
        for key in self.raw:
            if key not in self.taken:
                close = get_close_matches(key, self.taken, n=1, cutoff=0.6)
                hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(self.taken)}"
                raise self.error(key, f"is not a known key; {hint}")


def _sources(top: _Table, key: str) -> tuple[Source, ...]:
    tables = top.take(key, list, [])
    if not all(isinstance(table, dict) for table in tables):
        raise top.error(key, f"is not a list of tables; write [[{key}]]")
    return tuple(_source(top.path, f"{key}[{index}]", table) for index, table in enumerate(tables))


def _source(path: Path, name: str, raw: Mapping[str, Any]) -> Source:
    table = _Table(path, name, raw)
    source = Source(
        hub=table.take("hub", str),
        config=table.take("config", str),
        split=table.take("split", str),
        revision=table.take("revision", str, None),
        language=table.take("language", str, None),
        aliases=table.mapping("aliases"),
        prefix_column=table.take("prefix_column", str, None),
        prefixes=table.mapping("prefixes"),
    )
    table.finish()
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", source.hub):
        raise table.error("hub", f"is {source.hub!r}; expected a Hub id, OWNER/NAME")
    if source.revision is not None and not _COMMIT.fullmatch(source.revision):
        raise table.error("revision", f"is {source.revision!r}; expected a 40-digit commit or a ref such as refs/pr/1")
    if bool(source.prefixes) != (source.prefix_column is not None):
        raise table.error("prefixes", "and prefix_column come together or not at all")
    ways = ("{lang}" in source.config) + (source.language is not None) + bool(source.prefixes)
    if ways != 1:
        raise table.error("config", 'must choose the language in one way: "{lang}" in it, or language, or prefixes')
    return source


def _options(table: _Table, family: Family) -> dict[str, Any]:
    if not family.heads:
        return {}
    options = {"head": table.choice("head", family.heads), "scale": table.take("scale", (int, float))}
    if options["scale"] <= 0:
        raise table.error("scale", f"is {options['scale']}; expected the highest gold score, above 0")
    return options


def _about(table: _Table, family: Family) -> dict[str, Any]:
    optional = {"paper": (str, None), "url": (str, None), "note": (str, None)}  # data of one's own may have none
    kinds: dict[str, tuple[type, Any]] = {**optional, "reference": (list, [])}
    about = {key: table.take(key, *kinds.get(key, (str,))) for key in _ABOUT}
    for index, raw in enumerate(about["reference"]):
        entry = _Table(table.path, f"about.reference[{index}]", raw if isinstance(raw, dict) else {})
        entry.take("model", str)
        entry.take("source", str)
        entry.choice("metric", family.metrics)
        entry.take("average_percent", (int, float), None)
        percent = entry.take("percent", dict, {})
        entry.take("note", str, None)
        entry.finish()
        if not all(isinstance(score, int | float) and 0 <= score <= 100 for score in percent.values()):
            raise entry.error("percent", "holds something that is not a score from 0 to 100")
    return {key: value for key, value in about.items() if value is not None}


def _check(top: _Table, card: TaskCard) -> None:
    """Refuses what each key allows by itself but not together."""
    if not _GROUP.fullmatch(card.group):
        raise top.error("group", f'is {card.group!r}; expected "rows:N" or "column:NAME", or leave it out')
    if (card.protocol == "none") != (not card.train):
        raise top.error("protocol", f'is {card.protocol!r}; "none" is for a card without [[train]], and only for that')
    if (card.protocol == "zero-shot") != bool(card.train_language):
        raise top.error("train_language", 'is what the protocol "zero-shot" trains on, and belongs to no other')
    if card.dev and not card.train:
        raise top.error("dev", "is there without [[train]]; a card that trains nothing selects nothing")
    if card.eval.language is not None and card.languages != (card.eval.language,):
        raise top.error("languages", f"must be [{card.eval.language!r}], the one language of [eval]")
    missing = [language for language in card.languages if card.eval.prefixes and language not in card.eval.prefixes]
    if missing:
        raise top.error("eval.prefixes", f"has no prefix for {', '.join(missing)}")
    if card.family == "ner":
        if "O" not in card.labels:
            raise top.error("labels", "has no 'O', the tag of what is no name")
        for label in card.labels:
            if not re.fullmatch(r"O|[BI]-.+", label):
                raise top.error("labels", f"holds {label!r}; expected O, B-TYPE or I-TYPE")
            if label.startswith("I-") and f"B-{label[2:]}" not in card.labels:
                raise top.error("labels", f"holds {label!r} without 'B-{label[2:]}'")


def _sha256(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _kind_names(kinds: tuple[type, ...]) -> str:
    names = {str: "a text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a table"}
    return " or ".join(dict.fromkeys(names[kind] for kind in kinds))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
