"""Source: where a card's examples come from, read strictly from one of its tables. Nothing here opens any data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unibench import files
from unibench.strict import StrictTable

_COMMIT = re.compile(r"[0-9a-f]{40}|refs/[\w./-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One place examples come from: one split of a Hub dataset (or of its mirror), or files of one's own.

    Without `hub`, `files` is a pattern below the card's folder. With it, the split is `config` and `split`, found as
    the dataset's README says, or what the pattern `files` matches inside the dataset. `files` may hold "{lang}", and
    `split` then only names what is scored; unless given it is the pattern. `reader` is one of `unibench.files.READERS`,
    with its options in `format`; files of one's own need one, and so do those of a dataset that `datasets` has no
    builder for. `columns` and `labels` replace the card's where this source has its own: `columns` maps some of the
    family's fields, `labels` says what the numbers in the data stand for, in order.

    `config` and `split` may hold "{lang}"; `languages` then says which ones there are (none given: the card's).
    `language` fixes the language of a source that has one; None means that the language
    is chosen by `config` or `files`, or by `prefixes`, which keep the rows whose `prefix_column` starts with the
    language's own. `aliases` maps a language to the name the dataset gives it; a mirror may use either.
    `revision` is a 40-hex commit or a ref such as refs/convert/parquet; None means it is resolved when first used.
    """

    hub: str = ""
    config: str = ""
    split: str = ""
    files: str = ""
    reader: str = ""
    format: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)  # field of the family -> column
    labels: tuple[str, ...] = ()
    revision: str | None = None
    language: str | None = None
    languages: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)  # language -> name in the dataset, e.g. {"ha": "hau"}
    prefix_column: str | None = None  # e.g. "id" for TyDiQA
    prefixes: Mapping[str, str] = field(default_factory=dict)  # language -> prefix, e.g. {"ar": "arabic-"}

    def names_of(self, language: str) -> tuple[str, ...]:
        """Returns what the language may be called here, the likeliest first."""
        return (self.aliases[language], language) if language in self.aliases else (language,)

    def speaks(self, language: str) -> bool:
        """Returns whether there can be examples in the language here, as far as the card says."""
        known = (self.language,) if self.language is not None else self.languages or tuple(self.prefixes)
        return not known or language in known


def read_sources(top: StrictTable, key: str, fields: Sequence[str]) -> tuple[Source, ...]:
    """Returns the sources of a card's list of tables `key`; `fields` are those of its family."""
    tables = top.take(key, list, [])
    if not all(isinstance(table, dict) for table in tables):
        raise top.error(key, f"is not a list of tables; write [[{key}]]")
    return tuple(read_source(top.path, f"{key}[{index}]", table, fields) for index, table in enumerate(tables))


def read_source(path: Path, name: str, raw: Mapping[str, Any], fields: Sequence[str]) -> Source:
    """Returns the source in the table `name` of the card at `path`; raises CardError for what it may not say."""
    table = StrictTable(path, name, raw)
    pattern = table.take("files", str, "")
    columns = StrictTable(path, f"{name}.columns", table.take("columns", dict, {}))
    source = Source(
        hub=table.take("hub", str, ""),
        config=table.take("config", str, ""),
        split=table.take("split", str, pattern),
        files=pattern,
        reader=table.take("reader", str, ""),
        format=table.take("format", dict, {}),
        columns={key: columns.take(key, str) for key in fields if key in columns.raw},
        labels=table.strings("labels") if "labels" in raw else (),
        revision=table.take("revision", str, None),
        language=table.take("language", str, None),
        languages=table.strings("languages") if "languages" in raw else (),
        aliases=table.mapping("aliases"),
        prefix_column=table.take("prefix_column", str, None),
        prefixes=table.mapping("prefixes"),
    )
    for key in ("on_error", "label_map", "group", "parallel", "options"):
        if key in raw:
            raise table.error(key, "belongs at the top of the card, above every table, not to a source")
    table.finish()
    columns.taken += fields  # all of them are known, whether this source renames them or not
    columns.finish()
    _check_place(table, source)
    if source.reader:
        files.check(source.reader, StrictTable(path, f"{name}.format", source.format), table)
    elif source.format:
        raise table.error("format", "is of a reader; name it with reader")
    if bool(source.prefixes) != (source.prefix_column is not None):
        raise table.error("prefixes", "and prefix_column come together or not at all")
    by_name = "{lang}" in source.config + source.split + source.files
    ways = by_name + (source.language is not None) + bool(source.prefixes)
    if ways != 1:
        key = "files" if source.files else "config"
        raise table.error(key, 'must choose the language in one way: "{lang}" in it, or language, or prefixes')
    if source.languages and (source.language is not None or source.prefixes):
        raise table.error("languages", 'belongs to a source that has "{lang}" in config, split or files')
    return source


def _check_place(table: StrictTable, source: Source) -> None:
    if source.files:
        for key in ("config",) if source.hub else ("config", "revision"):
            if key in table.raw:
                raise table.error(key, "chooses files of a Hub dataset, and so does files; give one of them")
        if not source.reader:
            raise table.error("reader", f"is missing; expected what reads these files: {', '.join(files.READERS)}")
        files.check_pattern(table, source.files)
    else:
        for key in ("hub", "config", "split"):
            table.take(key, str)
    if source.hub and not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source.hub):
        raise table.error("hub", f"is {source.hub!r}; expected a Hub id, OWNER/NAME")
    if source.revision is not None and not _COMMIT.fullmatch(source.revision):
        raise table.error("revision", f"is {source.revision!r}; expected a 40-digit commit or a ref such as refs/pr/1")
