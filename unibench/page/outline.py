"""Sections and figures -> what stands under which heading: parts, in them settings, in them tables and figures.

What a heading has said, those below it don't repeat: "Tests of xnli: zero-shot from en, test split" becomes "xnli" and
"test split", under "Tests" and "Zero-shot from en".
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from unibench.page.drawings import Figure
from unibench.page.sections import Section

FIGURES = "Figures"
SHOWN = 30  # rows; a part that has more is folded, unless it is the first


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A table or a figure: its id, its name ("": the headings above say it all), what its title says besides."""

    key: str
    name: str
    rest: str
    shows: Section | Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What shares a setting; `name` is "" where the page has only one, or the items say none."""

    key: str
    name: str
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What stands under one of the page's headings."""

    key: str
    name: str
    groups: tuple[Group, ...]
    open: bool

    @property
    def tables(self) -> int:
        return sum(isinstance(item.shows, Section) for group in self.groups for item in group.items)

    @property
    def rows(self) -> int:
        return sum(
            len(item.shows.table.rows)
            for group in self.groups
            for item in group.items
            if isinstance(item.shows, Section)
        )


def outline(tables: Sequence[Section], figures: Sequence[Figure]) -> list[Part]:
    """Returns the parts in order: tables by kind, and the figures after the first kind."""
    kinds: dict[str, list[Section]] = {}
    for one in tables:
        kinds.setdefault(one.kind, []).append(one)
    names, _ = settings(tables, figures)
    numbers = itertools.count()
    out: list[Part] = []
    for place, (kind, of) in enumerate(kinds.items()):
        keyed = {f"t{next(numbers)}": one for one in of}
        shut = place > 0 and sum(len(one.table.rows) for one in of) > SHOWN
        out.append(_part(f"p{place}", kind, keyed, names, shut=shut))
    if figures:
        drawn = {f"f{place}": figure for place, figure in enumerate(figures)}
        out.insert(1, _part(f"p{len(kinds)}", FIGURES, drawn, names, shut=False))
    return out


def settings(tables: Iterable[Section], figures: Iterable[Figure]) -> tuple[Mapping[str, str], str]:
    """Returns what each setting is called, and what they all share; the only one is called "", and shares all of it."""
    said = [*(one.setting for one in tables), *(one.setting for one in figures)]
    found = list(dict.fromkeys(filter(None, said)))
    if len(found) < 2:
        return dict.fromkeys(found, ""), _capital("".join(found))
    parts = [setting.split(", ") for setting in found]
    shared = [part for part in parts[0] if all(part in of for of in parts)]
    short = {one: ", ".join(part for part in of if part not in shared) for one, of in zip(found, parts, strict=True)}
    if not all(short.values()) or len(set(short.values())) < len(found):
        short, shared = {one: one for one in found}, []
    return {one: _capital(name) for one, name in short.items()}, ", ".join(shared)


def _part(
    key: str, kind: str, of: Mapping[str, Section | Figure], names: Mapping[str, str], *, shut: bool
) -> Part:  # fmt: skip
    by_setting: dict[str, list[Item]] = {}
    for number, one in of.items():
        name, rest = _named(one.table.title, kind, one.setting) if isinstance(one, Section) else (_about(one), "")
        by_setting.setdefault(one.setting, []).append(Item(key=number, name=name, rest=rest, shows=one))
    groups = tuple(
        Group(key=f"{key}s{place}", name=names.get(setting, ""), items=tuple(items))
        for place, (setting, items) in enumerate(by_setting.items())
    )
    return Part(key=key, name=kind, groups=groups, open=not shut)


def _named(title: str, kind: str, setting: str) -> tuple[str, str]:
    """Returns a table's name and the rest of its title, without what its headings say."""
    head, _, rest = title.partition(": ")
    if setting:
        said = set(setting.split(", "))
        rest = ", ".join(part for part in rest.replace(f" (beside {setting})", "").split(", ") if part not in said)
    if head == kind:
        return _capital(rest), ""
    return head.removeprefix(f"{kind} of ").removesuffix(f" {kind[:1].lower()}{kind[1:]}"), rest


def _about(figure: Figure) -> str:
    """Returns a figure's title without the subject that it shares with others."""
    return _capital(figure.title.removeprefix(figure.subject).lstrip(", ")) if figure.subject else figure.title


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
