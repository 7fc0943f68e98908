"""Tables -> sections of a page: beside each table, what its rows and columns are about, which the filters go by."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass, field
from typing import Literal

from unibench.page.languages import is_language
from unibench.tables import Table

Facet = Literal["task", "language", "model", "script"]
FACETS: tuple[Facet, ...] = ("task", "language", "model", "script")
Facets = Mapping[Facet, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A table on a page, under the heading `kind`, which gathers tables of one sort.

    `rows` says of each row, `heads` of a column (by its place) what it is about. What says nothing of a facet is shown
    under any choice of it: a mean over languages stays when languages are chosen. Scripts follow from languages.
    `setting` is what its numbers were measured under, in the words of its title: they are said once, above all that
    share them.
    """

    table: Table
    kind: str
    setting: str = ""
    rows: tuple[Facets, ...] = ()
    heads: Mapping[int, Facets] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rows and len(self.rows) != len(self.table.rows):
            raise ValueError(f"{self.table.title!r} has {len(self.table.rows)} rows, facets of {len(self.rows)}")
        if wrong := [place for place in self.heads if not 0 <= place < len(self.table.columns)]:
            raise ValueError(f"{self.table.title!r} has no column {wrong[0]}, but facets of it")


def section(
    table: Table,
    *,
    kind: str = "",
    setting: str = "",
    task: str | None = None,
    tasks: Collection[str] = (),
    models: Collection[str] = (),
    languages: Collection[str] = (),
) -> Section:
    """Returns a table of the report with facets read off it: columns named task, model, language (or which).

    `tasks`, `models` and `languages` are all there are, to be recognised in headings ("xnli accuracy", "de"), in lists
    ("xnli, xquad"), and a task in the title ("xnli: ...", then all rows are of that task; `task` says so outright).
    Without `languages` a cell of codes that CLDR knows is taken for some. `kind` "" is what the title says before its
    colon if that is no task, else "Tasks".
    """
    first = table.title.partition(":")[0]
    words = (first, first.partition(" ")[0], first.rpartition(" ")[2])  # xnli, xnli by language, Tests of xnli
    about = task or next((name for name in words if name in tasks), None)
    places = {column.name: place for place, column in reversed(list(enumerate(table.columns)))}
    rows = []
    for row in table.rows:
        said = {name: value for name, place in places.items() if isinstance(value := row[place], str)}
        of: dict[Facet, tuple[str, ...]] = {
            "task": (about,) if about else _listed(said.get("task", ""), set(tasks)),
            "language": _spaced(said.get("language", ""), languages) or _spaced(said.get("which", ""), languages),
            "model": _listed(said.get("model", ""), set(models)),
        }
        rows.append({facet: names for facet, names in of.items() if names})
    heads: dict[int, Facets] = {}
    for place, column in enumerate(table.columns):
        word = column.name.partition(" ")[0]
        if word in tasks:
            heads[place] = {"task": (word,)}
        elif column.name in languages:
            heads[place] = {"language": (column.name,)}
    kind = kind or ("Tasks" if about else first)
    return Section(table=table, kind=kind, setting=setting, rows=tuple(rows), heads=heads)


def _listed(text: str, known: Set[str]) -> tuple[str, ...]:
    """Returns the names in a cell: all of them, those of a list that has known ones, or itself; it may hold commas."""
    if text in known or not text:
        return (text,) if text else ()
    if known and text.startswith("all "):
        return tuple(sorted(known))
    listed = tuple(text.split(", "))
    return listed if not known.isdisjoint(listed) else (text,)


def _spaced(text: str, known: Collection[str]) -> tuple[str, ...]:
    words = text.split()
    return tuple(words) if all(word in known if known else is_language(word) for word in words) else ()
