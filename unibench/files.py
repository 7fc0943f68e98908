"""Files of one's own, and raw files of a Hub dataset: a named reader makes rows of them, and says where each stands.

A reader of another package stands under the entry point group "unibench.readers": a function of a path and the card's
[format] that yields (place, row) as the ones here do, and raises FileError for what makes the whole file useless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from unibench import conll, delimited, objects, plugins
from unibench.errors import CardError, DataError, UserError
from unibench.lines import FileError, RowError
from unibench.strict import StrictTable

# Where a row stands in its file: its line, its lines (one an item, as a sentence has them), or words.
Place = int | range | str
Read = Callable[[Path, Mapping[str, Any]], Iterator[tuple[Place, Mapping[str, Any] | RowError]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReader:
    """How one kind of file is read: `options` checks a card's [format] and fills it in, `rows` opens one file."""

    options: Callable[[StrictTable], Mapping[str, Any]]
    rows: Read


READERS: Mapping[str, FileReader] = {
    "conll": FileReader(options=conll.options, rows=conll.rows),
    "csv": FileReader(options=delimited.options_of("comma", '"'), rows=delimited.rows),
    "jsonl": FileReader(options=objects.no_options, rows=objects.json_lines),
    "squad": FileReader(options=objects.no_options, rows=objects.squad),
    "tsv": FileReader(options=delimited.options_of("tab", delimited.NO_QUOTE), rows=delimited.rows),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """The rows of one split by column, each column as long as the others, and where each row stands.

    `columns` has those that were wanted and that there are, `names` all there are. `labels` gives, for a column of
    numbers whose names the files know, those names in order. `faults` are rows that could not be read, by index; their
    values are None. `remedy` says what to do about a row that is wrong.
    """

    name: str
    names: Sequence[str]
    columns: Mapping[str, Sequence[Any]]
    remedy: str
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    places: Sequence[tuple[str, Place]] = ()
    faults: Mapping[int, RowError] = field(default_factory=dict)

    def place(self, index: int, item: int = 0) -> str:
        """Returns where row `index` stands, or where its `item` does if that has a line of its own."""
        if not self.places:
            return f"{self.name} row {index + 1}"
        name, place = self.places[index]
        if isinstance(place, range):
            place = place[min(item, len(place) - 1)]
        return f"{name}:{place}" if isinstance(place, int) else f"{name}, {place}"


def check(reader: str, table: StrictTable, owner: StrictTable) -> Mapping[str, Any]:
    """Returns the [format] in `table` with its defaults; raises CardError for an unknown reader or option."""
    options = named(reader, owner).options(table)
    if reader in READERS:
        table.finish()
    return options


def named(reader: str, owner: StrictTable) -> FileReader:
    """Returns the reader of that name, here or of another package, whose options are its own business."""
    if reader in READERS:
        return READERS[reader]
    foreign = plugins.reader(reader, READERS)
    if foreign is not None:
        return FileReader(options=lambda table: table.raw, rows=foreign)
    owner.choice("reader", (*READERS, *plugins.reader_names()))
    raise AssertionError("choice raises for a name it does not know")


def read(
    reader: str, format: Mapping[str, Any], files: Sequence[tuple[Path, str]], wanted: Sequence[str], name: str
) -> Sheet:
    """Returns the rows of `files`, (path, name in messages) each, one after the other; dots lead into nested objects.

    A row that lacks a wanted column is a fault, unless no row has it: then it is no column. Raises DataError for a file
    that is wrong as a whole.
    """
    table = StrictTable(Path(name), "", {"reader": reader})
    opened = named(reader, table)
    options = opened.options(StrictTable(Path(name), "format", format))
    columns: dict[str, list[Any]] = {column: [] for column in wanted}
    found: set[str] = set()
    names: dict[str, None] = {}
    places: list[tuple[str, Place]] = []
    faults: dict[int, RowError] = {}
    for path, shown in files:
        try:
            for place, row in opened.rows(path, options):
                if isinstance(row, RowError):
                    faults[len(places)] = row
                    row = {}
                else:
                    names = names or dict.fromkeys(row)
                    missing = [column for column in wanted if not _has(row, column)]
                    found.update(column for column in wanted if column not in missing)
                    if missing:
                        faults[len(places)] = RowError(f"no field {missing[0]!r}, only {', '.join(row)}")
                for column, values in columns.items():
                    values.append(_value(row, column))
                places.append((shown, place))
        except FileError as error:
            where = shown if error.line is None else f"{shown}:{error.line}"
            raise DataError(f"{where}: {error} (read as {reader})") from None
        except Exception as error:  # another package's code may raise anything
            if reader in READERS:
                raise
            raise UserError(f"{shown}: the reader {reader!r} fails ({plugins.describe(error)}); mend it") from error
    return Sheet(
        name=name,
        names=tuple(names),
        # Where no row could be read at all, the rows are what is wrong, not their columns.
        columns={column: values for column, values in columns.items() if column in found or not names},
        places=places,
        faults=faults,
        remedy="correct the line",
    )


def _has(row: Mapping[str, Any], column: str) -> bool:
    return _value(row, column, row) is not row


def _value(row: Mapping[str, Any], column: str, otherwise: Any = None) -> Any:
    if column in row:
        return row[column]
    inner: Any = row
    for key in column.split("."):
        if not isinstance(inner, Mapping) or key not in inner:
            return otherwise
        inner = inner[key]
    return inner


def check_pattern(table: StrictTable, pattern: str) -> None:
    """Raises CardError for a pattern of files that leads out of the card's folder by what it says."""
    path = PurePosixPath(pattern)
    if path.is_absolute() or PureWindowsPath(pattern).anchor or pattern.startswith("~") or ".." in path.parts:
        raise table.error("files", f"is {pattern!r}; expected a path below the card's folder, without '..'")
    if any("**" in part and part != "**" for part in path.parts):
        raise table.error("files", f"is {pattern!r}; ** stands for whole folders, between slashes")
    if "\\" in pattern:
        raise table.error("files", f"is {pattern!r}; write / between folders")


def below(folder: Path, pattern: str, names: Sequence[str]) -> tuple[str, ...]:
    """Returns the files below `folder` that `pattern` matches, in order; () where there are none.

    `names` are what "{lang}" may stand for, tried one after the other. Raises CardError for a link that leads out of
    the folder: a card from elsewhere must not read what its folder does not hold.
    """
    for name in names:
        path = pattern.replace("{lang}", name)
        literal = folder / path  # first, since [ and ] may stand in a name
        matched = [literal] if literal.is_file() else sorted(p for p in folder.glob(path) if p.is_file())
        for file in matched:
            if not file.resolve().is_relative_to(folder.resolve()):
                raise CardError(f"{file} is a link out of the card's folder {folder}; copy the file into it")
        if matched:
            return tuple(file.relative_to(folder).as_posix() for file in matched)
    return ()
