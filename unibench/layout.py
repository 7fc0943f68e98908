"""How a dataset lies in its folder: its files, and the configs and splits that its README says they make up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from unibench.errors import DataError
from unibert import layout
from unibert.errors import UserError as TrainingError
from unibert.layout import commit as commit  # which commit a download noted beside a file

Configs = Mapping[str, Mapping[str, tuple[str, ...]]]  # config -> split -> patterns of paths


def read_folder(folder: Path) -> tuple[tuple[str, ...], Configs]:
    """Returns the paths of all files in a dataset's folder, in order, and the configs of its README."""
    files = tuple(sorted(layout.walk(folder)))
    readme = folder / "README.md"
    if not readme.is_file():
        return files, {}
    stat = readme.stat()
    return files, readme_configs(str(readme), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def readme_configs(readme: str, _size: int, _mtime_ns: int) -> Configs:
    """Returns the `configs:` of a README's header. Size and time are arguments so that an edited file is read again."""
    try:
        return layout.configs(readme)
    except TrainingError as error:
        raise DataError(str(error)) from error


def patterns_without_readme(name: str, split: str) -> tuple[str, ...]:
    """Patterns for a dataset without a README: CONFIG/SPLIT-00000-of-00001.parquet, or the Hub's CONFIG/SPLIT/0000."""
    return tuple(f"{name}/{split}{rest}" for rest in ("-*", "/*", ".*"))


@lru_cache(maxsize=1024)
def pattern_of(pattern: str) -> re.Pattern[str]:
    """Returns what matches the paths a README's pattern means: `*` and `?` stay in a folder, `**` crosses them."""
    words = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]+\])", pattern)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(w) or (w if w[:1] == "[" and w[-1:] == "]" else re.escape(w)) for w in words))
