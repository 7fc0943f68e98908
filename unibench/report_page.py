"""Boards -> the HTML page: sections of every view, inline figures, and what may be concluded on top."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from unibench.board import Board
from unibench.comparisons import Comparison
from unibench.errors import UserError
from unibench.footnotes import conclusions, signatures
from unibench.numerals import figure_text
from unibench.page import Facts, Figure, Section, page, section
from unibench.plots import to_svg
from unibench.report import VIEWS, Shown, of_board
from unibench.report_figures import figures
from unibench.store import EVERYTHING, RunRecord

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
MOST_NAMED = 6  # models not told apart from the baseline that are named one by one
NOTHING_CLAIMED = "So no number of this page says that one model is better than another."


def html(boards: Iterable[Board], shown: Shown, views: Sequence[str], title: str = "UniBench report") -> str:
    """Returns the page, the same bytes for the same boards; raises UserError without any."""
    held = list(boards)
    if not held:
        raise UserError("no records to report; run `unibench run` first")
    tasks = {task for board in held for task in board.tasks}
    models = {model for board in held for model in board.models}
    codes = {record.language for board in held for record in board.records} - {EVERYTHING}
    sections: list[Section] = []
    for view in VIEWS:
        if view in views:
            for board in held:
                sections += [
                    section(
                        table, kind=HEADINGS[view], setting=board.setting, tasks=tasks, models=models, languages=codes
                    )
                    for table in of_board(board, shown, (view,))
                ]
    drawn = [
        Figure(
            title=figure.title,
            svg=to_svg(figure.figure, figure.title, figure.caption),
            caption=figure.caption,
            setting=board.setting,
            subject=figure.subject,
        )
        for board in held
        for figure in figures(board, shown, theme="auto")
    ]
    return page(sections, drawn, title, _facts(held))


def findings(board: Board) -> str:
    """Returns in a sentence or two what a board's tests found, overall and how often below; "" where none was made."""
    alpha, baseline = board.family.alpha, board.baseline
    tested = [row for row in board.comparisons.rows if not math.isnan(row.p_adjusted) and row.model != baseline]
    overall = sorted((row for row in tested if row.task is None), key=lambda row: (-row.delta, row.model))
    if not overall:
        return ""
    apart = [
        f"{_whole(row)} is {'better' if row.delta > 0 else 'worse'} "
        f"(Δ {figure_text(row.delta, 'difference').replace('-', '−')}, adjusted p {figure_text(row.p_adjusted, 'p')})"
        for row in overall
        if row.p_adjusted <= alpha
    ]
    same = [_whole(row) for row in overall if row.p_adjusted > alpha]
    if len(same) > MOST_NAMED:
        same = [f"{len(same)} models"]
    below = [
        f"in single {what} {sum(row.p_adjusted <= alpha for row in of)} of {len(of)} tests"
        for what, of in (
            ("tasks", [row for row in tested if row.task is not None and row.language is None]),
            ("languages", [row for row in tested if row.language is not None]),
        )
        if of
    ]
    said = [*apart, *([f"not told apart from it: {', '.join(same)}"] if same else [])]
    counts = f" A difference is found {', '.join(below)}." if below else ""
    return f"Over all tasks, against {baseline}: {'; '.join(said)}.{counts}"


def _whole(row: Comparison) -> str:
    """Returns a model's name, and on how many cells it was compared where that is not all of them."""
    return row.model if row.cells == row.cells_wanted else f"{row.model} (in {row.cells} of {row.cells_wanted} cells)"


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
    found = [(board.setting, sentence) for board in boards if (sentence := findings(board))]
    return Facts(may=may, may_not=may_not, found=found, numbers=numbers, signatures=signed, provenance=_provenance(ok))


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
