"""Which figures a board has, what their files are called, and that no name of a model leads out of the folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from toy_records import missing, record, store

from unibench.board import Board, boards
from unibench.declared import Family
from unibench.errors import UserError
from unibench.report import Shown
from unibench.report_figures import MOST, figures, save
from unibench.store import RunRecord, slug
from unibench.timings import Place, Timing

NASTY = ("../../x", "/etc/passwd", "owner/name", "..", "a\x00b", "मॉडल", "con|?*", "x" * 300, "-rf")


def one(records: Iterable[RunRecord], **more: Any) -> Board:
    (board,) = boards(records, **{"resamples": 100, **more})
    return board


def named(board: Board, shown: Shown | None = None) -> list[str]:
    return [drawn.name for drawn in figures(board, shown or Shown())]


def pair(**more: Any) -> list[RunRecord]:
    return [record(m, "xnli", x, quality=q, **more) for m, q in (("mbert", 0.5), ("small", 0.8)) for x in ("de", "en")]


def test_a_board_has_the_figures_that_it_has_something_for() -> None:
    assert named(one(pair())) == ["forest", "heat-small", "forest-small", "transfer"]
    three = store([("mbert", 0.5), ("small", 0.8), ("alt", 0.7)])
    assert named(one(three)) == [
        "forest", "heat-small", "forest-small", "heat-alt", "forest-alt", "critical-difference", "transfer",
    ]  # fmt: skip
    sized = pair(provenance={"extra": {"parameters": 10_000_000}})
    assert "pareto" in named(one(sized))
    place = Place(workload="w", device="cpu", processor="p", precision="fp32", threads=1)
    speeds = {"small": (Timing(pairs_per_s=9.0, place=place, number=0),)}
    assert "pareto" in named(one(pair()), Shown(speeds=speeds))


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([record("small"), record("small", language="de")], ["transfer"]),
        ([record("mbert")], []),
        ([record("mbert", seed=0), record("small", seed=1)], []),
        ([missing("mbert"), missing("small")], []),
    ],
    ids=["one model alone", "the baseline alone", "no common seed", "everything failed"],
)
def test_where_nothing_is_compared_nothing_compares(records: list[RunRecord], expected: list[str]) -> None:
    assert named(one(records)) == expected


def test_only_the_best_have_figures_of_their_own_and_a_view_names_others() -> None:
    many = [record("mbert", quality=0.4)] + [record(f"m{i}", quality=0.5 + i / 20) for i in range(MOST + 2)]
    board = one(many)
    score = {r.job.model: float((r.units[:, 0] == r.units[:, 1]).mean()) for r in many if r.units is not None}
    best = sorted(score.keys() - {"mbert"}, key=lambda m: (-score[m], m))[:MOST]
    assert [n for n in named(board) if n.startswith("heat")] == [f"heat-{m}" for m in best]
    assert [n for n in named(board, Shown(models=("m0",))) if n.startswith("heat")] == ["heat-m0"]


def test_a_family_of_a_few_cells_draws_these_cells() -> None:
    family = Family(name="f", written="2026-01-01", question="Which?", languages=("de",))
    board = one(pair(), family=family)
    assert {(r.task, r.language) for r in board.comparisons.rows if r.language} == {("xnli", "de")}
    assert "forest" in named(board)


def test_files_are_png_and_svg_and_the_same_bytes_twice(tmp_path: Path) -> None:
    board = one(pair())
    paths = save(board, Shown(), tmp_path / "new" / "folder", "01")
    names = ["forest", "heat-small", "forest-small", "transfer"]
    assert paths == [tmp_path / "new" / "folder" / f"01-{n}.{e}" for n in names for e in ("svg", "png")]
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == sorted(p.name for p in paths)
    for path in paths:
        data = path.read_bytes()
        if path.suffix == ".png":
            assert data.startswith(b"\x89PNG\r\n")
        else:
            assert ElementTree.fromstring(data).tag == "{http://www.w3.org/2000/svg}svg"
    again = save(one(pair()[::-1]), Shown(), tmp_path / "again", "01")
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in paths]


def test_no_name_leaves_the_folder_or_meets_another(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "down" / "figures"
    folder.mkdir(parents=True)
    for name in (*NASTY, "owner--name", "../../X"):
        records = [record("mbert", quality=0.4), replace(r := record("small"), job=replace(r.job, model=name))]
        paths = save(one(records), Shown(models=(name,)), folder, "report", formats=("svg",))
        assert len(paths) == 3
        for path in paths:
            assert path.parent == folder
            assert path.resolve().parent == folder.resolve()
            assert path.is_file()
            assert len(path.name.encode()) < 200
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep"]
    assert [p for p in tmp_path.rglob("*") if p.is_dir()] == [tmp_path / "deep", tmp_path / "deep" / "down", folder]
    # a name each, and one figure of all models that each time took the place of the last
    assert len(list(folder.iterdir())) == 2 * (len(NASTY) + 2) + 1
    assert (folder / "report-heat-owner--name.svg").is_file()
    assert (folder / f"{slug('report-heat-owner--name')}.svg").is_file()


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="written as one of"):
        save(one(pair()), Shown(), tmp_path, "report", formats=("gif",))
