"""TaskCard <- tasks/*.toml. The dataclasses here are the contract; loading and picking come below."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One place examples come from: a Hub dataset (or its mirror), one split of it.

    `config` may hold "{lang}". `language` fixes the language of a source that has one; None means that the language
    is chosen by `config`, or by `language_rule`, which keeps the rows whose column starts with a prefix.
    `revision` is a 40-hex commit or a ref such as refs/convert/parquet; None means it is resolved when first used.
    """

    hub: str
    config: str
    split: str
    revision: str | None = None
    language: str | None = None
    prefix_column: str | None = None  # e.g. "id" for TyDiQA
    prefixes: Mapping[str, str] = field(default_factory=dict)  # language -> prefix, e.g. {"ar": "arabic-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCard:
    """One benchmark dataset in all its languages.

    `train` empty: nothing is trained (sts17). `dev` empty: carved from train by group. `columns` maps the family's
    field names to column names. `group` says which rows belong together: "" (each row alone), "column:NAME" (rows with
    equal values; the id is the order of first appearance) or "rows:3" (every 3 consecutive rows). `parallel` says that
    example ids and groups mean the same in every language.
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
    group: str = ""
    parallel: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)  # family-specific, e.g. head = "bi-encoder", scale = 5
    about: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""  # of the TOML file's parsed content
