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
from pathlib import Path
from typing import Any, Literal

from unibench.errors import CardError, UnknownName, UserError, one_line
from unibench.families import Family, known, lookup
from unibench.labels import resolve
from unibench.places import Source, read_source, read_sources
from unibench.strict import StrictTable

__all__ = ["PROTOCOLS", "Source", "TaskCard", "all_cards", "card_folders", "load_card", "pick", "pick_languages"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCard:
    """One benchmark dataset in all its languages.

    `train` empty: nothing is trained (sts17). `dev` empty: carved from train by group. `columns` maps the family's
    field names to column names. `group` says which rows belong together: "" (each row alone), "column:NAME" (rows with
    equal values; the id is the order of first appearance) or "rows:3" (every 3 consecutive rows). `parallel` says that
    example ids and groups mean the same in every language. `train_language` is what the zero-shot protocol trains on.
    `label_map` renames labels of the data before they are compared with `labels` (for names, types: DATE = "O").
    `on_error` "skip" passes over malformed rows and counts them in the record; "stop" refuses the file. `folder` is
    where the card stands, and where its `files` are looked up. `verified`: columns and labels were compared with the
    data, or with the public description that `about` cites.
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
    label_map: Mapping[str, str] = field(default_factory=dict)
    on_error: Literal["stop", "skip"] = "stop"
    train_language: str = ""
    group: str = ""
    parallel: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)  # family-specific, e.g. head = "bi-encoder", scale = 5
    about: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()
    verified: bool = False
    sha256: str = ""  # of what can move a number: the parsed card without title, languages and about


PROTOCOLS = ("zero-shot", "monolingual", "multilingual", "none")
_ABOUT = ("summary", "paper", "url", "licence", "note", "evidence", "translations", "reference")
_GROUP = re.compile(r"|rows:[1-9][0-9]*|column:.+")


def load_card(path: Path) -> TaskCard:
    """Returns the card in the TOML file at `path`; its name is the file's stem.

    Raises CardError, one line naming file and key, for anything unknown, missing, of a wrong type or contradictory.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CardError(f"{path} is not a readable TOML file ({one_line(error)})") from error
    top = StrictTable(path, "", raw)
    family_name = top.choice("family", known())
    family = lookup(family_name)
    columns = StrictTable(path, "columns", top.take("columns", dict))
    options = StrictTable(path, "options", top.take("options", dict, {}))
    about = StrictTable(path, "about", top.take("about", dict))
    card = TaskCard(
        name=path.stem,
        title=top.take("title", str),
        family=family_name,
        metric=top.choice("metric", family.metrics),
        languages=top.strings("languages"),
        protocol=top.choice("protocol", PROTOCOLS),
        train_language=top.take("train_language", str, ""),
        label_map=top.mapping("label_map") if family.labels else {},
        on_error=top.choice("on_error", ("stop", "skip"), "stop"),  # type: ignore[arg-type]
        folder=path.parent,
        verified=about.take("verified", bool, False),
        labels=top.strings("labels") if family.labels else (),
        group=top.take("group", str, ""),
        parallel=top.take("parallel", bool, False),
        columns={name: columns.take(name, str) for name in family.columns},
        train=read_sources(top, "train", family.columns),
        dev=read_sources(top, "dev", family.columns),
        eval=read_source(path, "eval", top.take("eval", dict), family.columns),
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


def _options(table: StrictTable, family: Family) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, option in family.options.items():
        if option.choices:
            options[name] = table.choice(name, option.choices, option.default)
            continue
        kind: tuple[type, ...] = {"number": (int, float), "bool": (bool,)}[option.kind]
        options[name] = table.take(name, kind) if option.default is None else table.take(name, kind, option.default)
        if option.kind == "number" and options[name] <= 0:
            raise table.error(name, f"is {options[name]}; expected a number above 0")
    return options


def _about(table: StrictTable, family: Family) -> dict[str, Any]:
    # data of one's own may have none of these
    optional = dict.fromkeys(("paper", "url", "note", "evidence", "translations"), (str, None))
    kinds: dict[str, tuple[type, Any]] = {**optional, "reference": (list, [])}
    about = {key: table.take(key, *kinds.get(key, (str,))) for key in _ABOUT}
    for index, raw in enumerate(about["reference"]):
        entry = StrictTable(table.path, f"about.reference[{index}]", raw if isinstance(raw, dict) else {})
        entry.take("model", str)
        entry.take("source", str)
        entry.choice("metric", family.metrics)
        entry.take("average_percent", (int, float), None)
        percent = entry.take("percent", dict, {})
        entry.take("note", str, None)
        if "languages" in entry.raw:
            entry.strings("languages")  # those of the average
        entry.finish()
        if not all(isinstance(score, int | float) and 0 <= score <= 100 for score in percent.values()):
            raise entry.error("percent", "holds something that is not a score from 0 to 100")
    if about["translations"] not in (None, "unmatched"):
        raise table.error(
            "translations",
            f'is {about["translations"]!r}; expected "unmatched", for languages that hold the same items but whose '
            "rows can't be matched (those that can are parallel = true)",
        )
    return {key: value for key, value in about.items() if value is not None}


def _check(top: StrictTable, card: TaskCard) -> None:
    """Refuses what each key allows by itself but not together."""
    if not _GROUP.fullmatch(card.group):
        raise top.error("group", f'is {card.group!r}; expected "rows:N" or "column:NAME", or leave it out')
    if (card.protocol == "none") != (not card.train):
        raise top.error("protocol", f'is {card.protocol!r}; "none" is for a card without [[train]], and only for that')
    if (card.protocol == "zero-shot") != bool(card.train_language):
        raise top.error("train_language", 'is what the protocol "zero-shot" trains on, and belongs to no other')
    if card.dev and not card.train:
        raise top.error("dev", "is there without [[train]]; a card that trains nothing selects nothing")
    if not card.train and card.options.get("head", "cosine") != "cosine":
        raise top.error("options.head", "must be 'cosine' without [[train]]: the other heads are trained")
    if card.parallel and card.about.get("translations"):
        raise top.error("about.translations", 'is "unmatched" beside parallel = true; keep the one that holds')
    if card.verified and not card.about.get("evidence"):
        raise top.error("about.verified", "is true without evidence; say what the card was compared with")
    if card.name == "all" or "," in card.name:
        raise CardError(f"{top.path}: no task can be asked for by that name; rename the file")
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
    _check_names(top, card)


def _check_names(top: StrictTable, card: TaskCard) -> None:
    """Refuses names of labels that the card gives, in `label_map` or a source's `labels`, and that lead nowhere."""
    kinds = [label[2:] or label for label in card.labels] if card.family == "ner" else card.labels
    known = ", ".join(dict.fromkeys(kinds))
    for name, target in card.label_map.items():
        if target not in kinds:
            raise top.error(f"label_map.{name}", f"is {target!r}; expected one of {known}")
    for where, sources in (("train", card.train), ("dev", card.dev), ("eval", (card.eval,))):
        for name in dict.fromkeys(name for source in sources for name in source.labels):
            if resolve(name, card.family, card.labels, card.label_map) is None:
                raise top.error(f"{where}.labels", f"holds {name!r}; expected one of {known}, or a key of label_map")


def _sha256(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()
