"""A TOML table being read strictly: every key is taken once, what is left over is an error that names file and key."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from unibench.errors import CardError

_REQUIRED = object()


class StrictTable:
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
            close = get_close_matches(key, [k for k in self.raw if k not in self.taken], n=1, cutoff=0.8)
            hint = f"; is {close[0]!r} meant to be it?" if close else ""
            raise self.error(key, f"is missing; expected {_kind_names(kinds)}{hint}")
        value = self.raw[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds) or value == "":
            raise self.error(key, f"is {json.dumps(value, default=str)}; expected {_kind_names(kinds)}")
        return value

    def choice(self, key: str, choices: Iterable[str], default: str | None = None) -> str:
        value: str = self.take(key, str) if default is None else self.take(key, str, default)
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


def _kind_names(kinds: tuple[type, ...]) -> str:
    names = {str: "a text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a table"}
    return " or ".join(dict.fromkeys(names[kind] for kind in kinds))
