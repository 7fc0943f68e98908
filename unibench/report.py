"""Records -> tables. Pure: the same records give the same tables, and a filter of the view moves no number.

Records are first parted by setting (protocol, training languages, limits, origin, recipe), for scores of different
settings don't compare; inside a setting everything must come from the same card, data and model, or is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from unibench import cell_tables, details, efficiency, evidence_tables, readability, tables, transfer
from unibench.board import Board, boards
from unibench.errors import UnknownName
from unibench.footnotes import conclusions, footer, tested
from unibench.gaps import gaps_table
from unibench.settings import of_record
from unibench.store import RunRecord
from unibench.tables import Column, Table

STANDARD = ("leaderboard", "tasks", "missing")  # what a report shows unless it is asked for more


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a view shows of a board; empty: everything. No number depends on it.

    `speeds` and `probes` were measured beside the scores: examples a second, and what vectors tell of languages.
    """

    tasks: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    significance: bool = True
    speeds: Mapping[str, Any] = field(default_factory=dict)
    probes: Sequence[Mapping[str, Any]] = ()

    @property
    def narrowed(self) -> bool:
        return bool(self.tasks or self.languages or self.models)

    def tasks_of(self, board: Board) -> list[str]:
        return [task for task in board.tasks if not self.tasks or task in self.tasks]

    def models_of(self, board: Board) -> set[str]:
        return set(self.models or board.models) | ({board.baseline} if board.baseline else set())

    def languages_of(self) -> set[str] | None:
        return set(self.languages) or None


def leaderboard(
    records: Iterable[RunRecord],
    *,
    tasks: Sequence[str] = (),
    languages: Sequence[str] = (),
    models: Sequence[str] = (),
    significance: bool = True,
    views: Sequence[str] = STANDARD,
    speeds: Mapping[str, Any] | None = None,
    probes: Sequence[Mapping[str, Any]] = (),
    **asked: Any,
) -> list[Table]:
    """Returns, for each setting, the tables of these VIEWS, in their order.

    `tasks`, `languages` and `models` only narrow the view: every mean and every adjusted p is that of all records
    (empty: show all). `significance` False leaves out every p. What else is `asked` goes to `board.boards`, and raises
    as it does; UnknownName for a filter that no record has, or a view that does not exist.
    """
    everything = list(records)
    shown = Shown(
        tasks=tuple(tasks), languages=tuple(languages), models=tuple(models), significance=significance,
        speeds=speeds or {}, probes=probes,
    )  # fmt: skip
    check(everything, shown, views)
    return [table for board in boards(everything, **asked) for table in of_board(board, shown, views)]


def check(records: Sequence[RunRecord], shown: Shown, views: Sequence[str]) -> None:
    """Raises UnknownName for a filter that no record has, or a view that does not exist."""
    if records:
        for kind, wanted, known in (
            ("task", shown.tasks, {r.job.task for r in records}),
            ("language", shown.languages, {r.language for r in records}),
            ("model", shown.models, {r.job.model for r in records}),
        ):
            for asked in wanted:
                if asked not in known:
                    raise UnknownName(kind, asked, known, "the results")
    for view in views:
        if view not in VIEWS:
            raise UnknownName("view", view, VIEWS, "unibench report")


def of_board(board: Board, shown: Shown, views: Sequence[str] = STANDARD) -> list[Table]:
    """Returns the tables of these views of one setting."""
    out = [table for view in VIEWS if view in views for table in VIEWS[view](board, shown)]
    if shown.significance and "leaderboard" not in views:
        out = _explained(out, board)
    return out if shown.significance else [_without_p(table) for table in out]


def _explained(found: Sequence[Table], board: Board) -> list[Table]:
    """Returns the tables, the first that shows what a test said with what every p stands on; a leaderboard says it."""
    out = list(found)
    for index, table in enumerate(out):
        if any(column.name == "p adjusted" for column in table.columns) or cell_tables.TOLD_APART in table.footnotes:
            out[index] = tables.with_notes(table, tested(board))
            break
    return out


def _without_p(table: Table) -> Table:
    left = tables.without_p(table)
    return replace(left, footnotes=tuple(note for note in left.footnotes if note != tables.LEGEND[tables.CLOSED]))


def _leaderboard(board: Board, shown: Shown) -> list[Table]:
    tasks = shown.tasks_of(board)
    if not tasks:
        return []
    standings = board.evidence.standings
    table = tables.leaderboard_table(
        board.comparisons, f"Leaderboard: {board.setting}", tasks, shown.models_of(board),
        standings if shown.significance else {},
    )  # fmt: skip
    notes = footer(board, narrowed=shown.narrowed, significance=shown.significance)
    said = zip(("May be concluded", "May not be concluded"), conclusions(board), strict=False)
    concluded = [f"{what}: {sentence}" for what, sentence in said] if shown.significance else []
    return [tables.with_notes(table, [*notes, *concluded])]


def _tasks(board: Board, shown: Shown) -> list[Table]:
    out = []
    for task in shown.tasks_of(board):
        mine, rest = _of_task(board, task)
        models = shown.models_of(board)
        oracle = details.oracle(mine)
        table = tables.task_table(board.comparisons, task + rest, task, models, shown.languages_of(), oracle)
        out.append(tables.with_notes(table, details.notes([r for r in mine if r.job.model in models])))
        parts = details.parts_table(mine, f"{task} {{by}}{rest}", models)
        out += [parts] if parts else []
    return out


def _languages(board: Board, shown: Shown) -> list[Table]:
    return [
        cell_tables.language_table(
            board.comparisons, f"{task} by language{_of_task(board, task)[1]}", task, shown.models_of(board),
            shown.languages_of(), board.family.alpha if shown.significance else 0.0,
        )
        for task in shown.tasks_of(board)
    ]  # fmt: skip


def _tests(board: Board, shown: Shown) -> list[Table]:
    found = []
    for task in (None, *shown.tasks_of(board)):
        rest = _of_task(board, task)[1] if task else f": {board.setting}"
        found.append(
            cell_tables.tests_table(
                board.comparisons, f"Tests of {task or 'the overall means'}{rest}", task, shown.models_of(board),
                shown.languages_of(), board.family,
            )
        )  # fmt: skip
    return [table for table in found if table is not None]


def _evidence(board: Board, shown: Shown) -> list[Table]:
    return evidence_tables.tables(board.evidence, board.setting) if shown.significance else []


def _efficiency(board: Board, shown: Shown) -> list[Table]:
    table = efficiency.table(board.ok, board.comparisons, shown.speeds, f"Efficiency: {board.setting}")
    return [table] if table else []


def _transfer(board: Board, shown: Shown) -> list[Table]:
    table = transfer.table(board.ok, board.comparisons, f"Transfer gaps: {board.setting}")
    return [table] if table else []


def _probe(board: Board, shown: Shown) -> list[Table]:
    return readability.tables(board.ok, board.comparisons, shown.probes, f"Readability and transfer: {board.setting}")


def _missing(board: Board, shown: Shown) -> list[Table]:
    models = shown.models_of(board)
    outside = [_outside(board)] if board.outside and not board.ok else []
    gone = [r for r in board.records if r.status != "ok" and (not shown.tasks or r.job.task in shown.tasks)]
    gone = [r for r in gone if r.job.model in models and (not shown.languages or r.language in shown.languages)]
    missing = gaps_table(gone, f"Missing: {board.setting}", {r.job.task for r in board.records})
    if missing is None:
        return outside
    nothing = not board.ok and not board.outside
    note = ("Nothing in this setting succeeded, so there is nothing to compare.",) if nothing else ()
    return [*outside, tables.with_notes(missing, note)]


def _outside(board: Board) -> Table:
    """Returns what a setting holds of which the family covers nothing: else it would vanish without a word."""
    return Table(
        title=f"Not covered: {board.setting}",
        columns=(Column(name="task"), Column(name="language")),
        rows=board.outside,
        footnotes=(f"Family {board.family.name!r} covers none of these results, so nothing of this setting is shown.",),
    )


VIEWS: Mapping[str, Callable[[Board, Shown], list[Table]]] = {
    "leaderboard": _leaderboard,
    "languages": _languages,
    "tasks": _tasks,
    "tests": _tests,
    "evidence": _evidence,
    "efficiency": _efficiency,
    "transfer": _transfer,
    "probe": _probe,
    "missing": _missing,
}


def _of_task(board: Board, task: str) -> tuple[list[RunRecord], str]:
    """Returns a task's records, and its setting and split as the rest of a title."""
    mine = [r for r in board.ok if r.job.task == task]
    split = "/".join(sorted({r.split for r in mine if r.split}))
    trained = any(record.job.protocol != "none" for record in mine)
    rest = f": {board.setting if trained else _untrained(mine[0], board.setting)}"
    return mine, rest + (f", {split} split" if split else "")


def _untrained(record: RunRecord, setting: str) -> str:
    """Returns a task's own setting, since it trains nothing, and on whose leaderboard it stands."""
    own = of_record(record).title
    return own if own == setting else f"{own} (beside {setting})"
