"""The picture of a run and its TensorBoard files, read back by other programs' readers."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unibert import curves
from unibert.errors import UserError

PURPLE, RED, ORANGE = "#7b3294", "#d7191c", curves.COLOURS[1]


def run(steps: int = 200, **columns: float) -> list[dict[str, Any]]:
    """Returns rows as a run writes them: averages every 20 steps, an evaluation every 100."""
    rows: list[dict[str, Any]] = []
    for step in range(20, steps + 1, 20):
        rows.append({"step": step, "tokens": 1000 * step, "mlm": 8 - step / 50, **columns})
        if step % 100 == 0:
            rows.append({"step": step, "heldout_mlm": 8 - step / 60, "effective_rank": 40.0})
    return rows


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def draw(folder: Path, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:  # type: ignore[type-arg]
    """Returns the picture's pixels (height, width, 3), 0..255."""
    from matplotlib.image import imread

    curves.plot(write(folder / "metrics.jsonl", rows), folder / "curves.png")
    return (imread(folder / "curves.png")[:, :, :3] * 255).round().astype(int)


def columns_of(pixels: np.ndarray, colour: str) -> np.ndarray:  # type: ignore[type-arg]
    """Returns the x positions at which a colour is seen, hardly diluted."""
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return np.unique((np.abs(pixels - wanted) <= 30).all(2).nonzero()[1])


def test_a_picture_as_wide_as_a_readme_the_same_bytes_every_time(tmp_path: Path) -> None:
    import matplotlib as mpl

    pixels = draw(tmp_path, run())
    assert pixels.shape[1] == 990
    first = (tmp_path / "curves.png").read_bytes()
    with mpl.rc_context({"axes.facecolor": "black", "font.size": 30, "savefig.dpi": 10}):
        draw(tmp_path, run())
    assert (tmp_path / "curves.png").read_bytes() == first, "a matplotlibrc of the user's changes nothing"
    kinds = set()
    at = 8
    while at < len(first):
        length, kind = struct.unpack(">I4s", first[at : at + 8])
        kinds.add(kind)
        at += length + 12
    assert b"tEXt" not in kinds, "the library's version would change the bytes"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "metrics.jsonl"]


def test_panels_only_for_what_there_is(tmp_path: Path) -> None:
    one_row = curves.ROW_INCHES * curves.DOTS_PER_INCH
    only_loss = [row for row in run() if "mlm" in row]
    for rows, height in (
        (only_loss, 1),
        (run(), 2),  # and the rank
        (run(lr=1e-3), 2),  # beside it
        (run(lr=1e-3, grad_norm=1.0), 3),
        (run(soft=1.0, hidden=0.5, disc_loss=1.0, disc_accuracy=0.5, strength=0.1, lr=1e-3, grad_norm=9.0), 5),
    ):
        assert draw(tmp_path, rows).shape[0] == pytest.approx(height * one_row, abs=1)
    assert len(columns_of(draw(tmp_path, only_loss), ORANGE)) == 0, "no held-out line where none was measured"
    assert len(columns_of(draw(tmp_path, run()), ORANGE)) > 100


def test_what_happened_is_marked_where_it_happened(tmp_path: Path) -> None:
    plain = draw(tmp_path, run())
    assert not len(columns_of(plain, PURPLE))
    assert not len(columns_of(plain, RED))

    rows = run(300)
    factors = {40: 0.5, 100: 0.25, 280: 0.125}
    for row in rows:
        if "mlm" in row and row["step"] in factors:
            row["backoff"] = factors[row["step"]]
    pixels = draw(tmp_path, rows)
    places = columns_of(pixels[pixels.shape[0] // 2 :], PURPLE)  # the lower panel, which has no legend
    left, middle, right = (group.mean() for group in np.split(places, (np.diff(places) > 5).nonzero()[0] + 1))
    assert (middle - left) / (right - left) == pytest.approx((100 - 40) / (280 - 40), abs=0.01)

    for key, value in (("rollback", 1), ("skipped", 0.25)):
        rows = run()
        rows[4][key] = value
        assert len(columns_of(draw(tmp_path, rows), RED)) > 0, key
        rows[4][key] = 0
        assert len(columns_of(draw(tmp_path, rows), RED)) == 0, key


def test_backoff_is_marked_where_its_factor_falls() -> None:
    rows = [
        {"step": step, "backoff": value} for step, value in ((1, 1.0), (2, 0.5), (3, 0.5), (4, 0.25), (5, math.nan))
    ]
    assert curves._happened(rows, "backoff") == [2, 4]
    assert curves._happened([{"step": 7, "skipped": 0.1}, {"step": 8, "skipped": 0.0}], "skipped") == [7]


def test_evaluations_stand_at_the_tokens_of_their_step() -> None:
    rows = [{"step": 10, "tokens": 2e6}, {"step": 20, "tokens": 5e6}, {"step": 15, "heldout_mlm": 1.0}, {"step": 5}]
    at, name = curves._axis(rows)
    assert (at, name) == ({5: 1.0, 10: 2.0, 15: 3.5, 20: 5.0}, "million tokens")
    assert curves._axis([{"step": 3, "heldout_mlm": 1.0}]) == ({3: 3.0}, "steps")


def test_a_step_taken_again_is_drawn_as_it_came_out_last() -> None:
    rows = [{"step": 20, "mlm": 9.0}, {"step": 40, "mlm": math.inf}, {"step": 20, "mlm": 3.0}, {"step": 30, "mlm": 2.0}]
    assert curves._points(rows, "mlm", {20: 0.2, 30: 0.3, 40: 0.4}) == ([0.2, 0.3], [3.0, 2.0])


def test_nothing_to_draw_is_said_in_one_line(tmp_path: Path) -> None:
    for rows in ([], [{"step": 20, "tokens": 10}], [{"step": 20, "mlm": math.nan}]):
        with pytest.raises(UserError, match=r"metrics\.jsonl holds no training or evaluation row") as caught:
            draw(tmp_path, rows)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "curves.png").exists()


def test_a_line_cut_off_by_a_kill_ends_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 20, "mlm": 1.0}\n{"step": 40, "ml')
    assert curves.read(path) == [{"step": 20, "mlm": 1.0}]


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"step": st.integers(0, 10**7), "mlm": st.floats(width=32)},
            optional={
                "tokens": st.integers(0, 10**13),
                "strength": st.floats(width=32),
                "grad_norm": st.floats(0, 1e30),
                "disc_accuracy": st.floats(0, 1),
                "backoff": st.floats(0, 1),
                "skipped": st.floats(0, 1),
                "rollback": st.integers(0, 3),
                "note": st.text(max_size=3),
            },
        ),
        min_size=1,
        max_size=6,
    )
)
def test_no_rows_break_the_drawing(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    rows.append({"step": 1, "mlm": 1.0})
    draw(tmp_path_factory.mktemp("drawn"), rows)


# TensorBoard


def shown(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Returns what TensorBoard would show: (step, value) of each tag."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_shows_the_rows(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    assert curves.available()
    scalars = curves.Scalars(tmp_path / "tb")
    scalars.add(
        {"step": 20, "tokens": 900, "mlm": 6.5, "disc_accuracy": 0.5, "soft": math.nan, "note": "x", "flag": True}
    )
    scalars.add({"step": 40, "heldout_mlm": 6.25, "backoff": 0.5})
    killed = shown(tmp_path / "tb")  # not closed: a killed run's file
    scalars.close()
    assert killed == shown(tmp_path / "tb")
    assert killed == {
        "loss/mlm": [(20, 6.5)],
        "adversary/disc_accuracy": [(20, 0.5)],
        "run/tokens": [(20, 900.0)],
        "loss/heldout_mlm": [(40, 6.25)],
        "run/backoff": [(40, 0.5)],
    }


@pytest.mark.parametrize("resumed", [0, 40])
def test_a_resumed_run_shows_no_step_twice(tmp_path: Path, resumed: int) -> None:
    pytest.importorskip("tensorboard")
    first = curves.Scalars(tmp_path)
    for step in (20, 40, 60, 80):
        first.add({"step": step, "mlm": 9.0})
    first.close()
    second = curves.Scalars(tmp_path, resumed_step=resumed)
    rest = range(resumed + 20, 121, 20)
    for step in rest:
        second.add({"step": step, "mlm": 5.0})
    second.close()
    kept = [(step, 9.0) for step in (20, 40) if step <= resumed]
    assert shown(tmp_path)["loss/mlm"] == [*kept, *((step, 5.0) for step in rest)]


def test_without_the_package_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not curves.available()
    with pytest.raises(UserError, match=r"pip install 'unibench\[tensorboard\]'"):
        curves.Scalars(tmp_path)
    assert list(tmp_path.iterdir()) == []
