"""Boards -> the HTML page: sections of every view, inline figures, and what may be concluded on top."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from unibench.board import Board
from unibench.errors import UserError
from unibench.footnotes import conclusions, signatures
from unibench.page import Facts, Figure, Section, page, section
from unibench.plots import to_svg
from unibench.report import VIEWS, Shown, of_board
from unibench.report_figures import figures
from unibench.store import RunRecord

HEADINGS = {
    "leaderboard": "Leaderboard",
    "languages": "By language",
    "tasks": "By task",
    "tests": "Tests",
    "evidence": "Evidence beyond pairs",
    "efficiency": "Efficiency",
    "transfer": "Transfer gaps",
    "probe": "Readability",
    "missing": "Missing",
}
NOTHING_COMPARED = (
    "Nothing is tested here: there is one model alone, the baseline has no scores, or the family tests nothing of this."
)
NOTHING_CLAIMED = "So no number of this page says that one model is better than another."


def html(boards: Iterable[Board], shown: Shown, views: Sequence[str], title: str = "UniBench report") -> str:
    """Returns the page, the same bytes for the same boards; raises UserError without any."""
    held = list(boards)
    if not held:
        raise UserError("no records to report; run `unibench run` first")
    tasks = {task for board in held for task in board.tasks}
    models = {model for board in held for model in board.models}
    codes = {record.language for board in held for record in board.records}
    sections: list[Section] = []
    for view in VIEWS:
        if view in views:
            for board in held:
                sections += [
                    section(table, kind=HEADINGS[view], tasks=tasks, models=models, languages=codes)
                    for table in of_board(board, shown, (view,))
                ]
    drawn = [
        Figure(
            title=figure.title if len(held) == 1 else f"{figure.title}: {board.setting}",
            svg=to_svg(figure.figure, figure.title, figure.caption),
            caption=figure.caption,
        )
        for board in held
        for figure in figures(board, shown, theme="auto")
    ]
    return page(sections, drawn, title, _facts(held))


def _facts(boards: Sequence[Board]) -> Facts:
    ok = [record for board in boards for record in board.ok]
    numbers = [
        ("settings", str(len(boards))),
        ("models", str(len({record.job.model for record in ok}))),
        ("tasks", str(len({record.job.task for record in ok}))),
        ("languages", str(len({record.language for record in ok}))),
        ("records", f"{len(ok):,}"),
    ]
    signed = [
        (f"{what}: {board.setting}" if len(boards) > 1 else what, text)
        for board in boards
        for what, text in signatures(board)
    ]
    may, may_not = _said(boards)
    return Facts(may=may, may_not=may_not, numbers=numbers, signatures=signed, provenance=_provenance(ok))


def _said(boards: Iterable[Board]) -> tuple[str, str]:
    """Returns what may and what may not be concluded; setting by setting where these say different things."""
    found = {board.setting: said for board in boards if (said := conclusions(board))}
    if not found:
        return NOTHING_COMPARED, NOTHING_CLAIMED
    may, may_not = ({setting: said[side] for setting, said in found.items()} for side in (0, 1))
    alike = len(set(may.values())) == 1
    words = may.values() if alike else (f"{setting}: {sentence}" for setting, sentence in may.items())
    return " ".join(dict.fromkeys(words)), " ".join(dict.fromkeys(may_not.values()))


def _provenance(records: Iterable[RunRecord]) -> list[tuple[str, str]]:
    """Returns from which code, packages, machines and days the records are."""
    made = [record.provenance for record in records if record.provenance is not None]
    commits = sorted({f"{p.commit[:12]}{' with changes' if p.dirty else ''}" for p in made if p.commit})
    packages = sorted({f"{name} {version}" for p in made for name, version in p.packages.items()})
    days = sorted({p.started[:10] for p in made if p.started})
    pairs = [
        ("commit", ", ".join(commits)),
        ("packages", ", ".join(packages)),
        ("devices", ", ".join(sorted({p.device for p in made}))),
        ("measured", " to ".join(dict.fromkeys([days[0], days[-1]])) if days else ""),
    ]
    return [(name, text) for name, text in pairs if text]
