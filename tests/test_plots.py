"""Figures: what is drawn is what was given, and what is not known is said."""

from __future__ import annotations

import itertools
import math
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.patches import Rectangle
from toy_figures import CODES, FIGURES, GAPS, NAN, READ, colours_of, found, many, row

from unibench import plots
from unibench.errors import UnknownName
from unibench.plots.grid import NOT_MEASURED, OUT_OF_RI, UNDEFINED
from unibench.plots.heat import STRONGEST
from unibench.plots.pareto import front
from unibench.plots.style import THEMES, TIP
from unibench.plots.words import fitted, width_in
from unibench.stats.friedman import friedman


def marks(figure: Any, label: str) -> list[Any]:
    return [line for axes in figure.axes for line in axes.lines if line.get_label() == label]


def texts(figure: Any) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def tips(figure: Any) -> dict[str, Any]:
    """The marks with a tooltip, by what it says before the colon."""
    artists = [a for axes in figure.axes for a in [*axes.patches, *axes.lines] if (a.get_gid() or "").startswith(TIP)]
    return {a.get_gid().removeprefix(TIP).rpartition(": ")[0]: a for a in artists}


def test_cells_of_a_heat_map_show_their_values_and_the_others_their_reason() -> None:
    rows = [row("m", "xnli", "en", 0.2, 0.05), row("m", "xnli", "sw", -0.1, 0.051), row("m", "xnli", None, 0.05, 0.01)]
    rows += [row("base", "xnli", code) for code in ("en", "sw", None)] + [row("base", "ner", "yo")]
    rows += [row("m", "ner", "yo", 0.3, relative_improvement=NAN), row("m", "ner", "hi", NAN), row("m", "ner", None)]
    figure = plots.heat_map(found(rows, (("ner", "yo"),)), model="m", limit=20, groups={"Ge'ez": ["hi"], "All": ["sw"]})
    cells = {name.rpartition(": ")[0] or name: cell for name, cell in tips(figure).items()}
    assert set(cells) == {f"{t}, {c}" for t in ("xnli", "ner") for c in ("mean over languages", "en", "sw", "hi", "yo")}
    assert cells["xnli, en"].get_facecolor()[3] == pytest.approx(STRONGEST)
    assert cells["xnli, sw"].get_facecolor()[3] == pytest.approx(STRONGEST / 2)
    gain, loss = (matplotlib.colors.to_rgb(getattr(THEMES["light"], name)) for name in ("gain", "loss"))
    assert cells["xnli, en"].get_facecolor()[:3] == pytest.approx(gain)
    assert cells["xnli, sw"].get_facecolor()[:3] == pytest.approx(loss)
    whys = {"ner, yo": OUT_OF_RI, "ner, hi": UNDEFINED, "ner, mean over languages": UNDEFINED, "ner, en": NOT_MEASURED}
    for name, cell in cells.items():
        assert bool(cell.get_hatch()) == (name.startswith("ner") or name in ("xnli, yo", "xnli, hi")), name
    for name, why in whys.items():
        assert cells[name].get_gid() == f"{TIP}{name}: {why}"
        assert why in texts(figure)
    assert len({cells[name].get_hatch() for name in ("ner, yo", "ner, hi", "ner, en")}) == 3
    across = [cells[f"xnli, {c}"].get_x() for c in ("mean over languages", "hi", "sw", "en", "yo")]
    assert across == sorted(across), "the mean, then groups in their order, then the rest"
    assert len(marks(figure, "dot")) == 2 + 1, "p at alpha counts, and the legend has one"
    assert {"+20.0", "−10.0", "+5.0", "−20 %", "±0 %", "+20 %", "Ge'ez", "All", "other"} <= set(texts(figure))


def test_a_wide_heat_map_stays_readable_and_an_outlier_does_not_wash_it_out() -> None:
    figure = FIGURES["heat"]("light")
    cells = tips(figure).values()
    assert min(cell.get_width() for cell in cells) > 0.17  # inches of 6.2: 10 pixels on a phone
    written = [text for text in texts(figure) if text in set(CODES)]
    assert sorted(written) == sorted(CODES)
    rows = [row("m", "xnli", code, 0.1) for code in CODES] + [row("m", "xnli", "zz", 5.0)]
    figure = plots.heat_map(found(rows), model="m")
    strength = {name: cell.get_facecolor()[3] for name, cell in tips(figure).items()}
    assert min(s for n, s in strength.items() if "mean" not in n) > STRONGEST / 2
    assert any("the colour stays the same" in text for text in texts(figure))


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_ink_can_be_read_on_the_strongest_cell(mode: Any) -> None:
    def brightness(colour: np.ndarray) -> float:  # WCAG 2.2, relative luminance
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    theme = {name: np.array(matplotlib.colors.to_rgb(value)) for name, value in colours_of(mode).items()}
    for name in ("gain", "loss"):
        cell = STRONGEST * theme[name] + (1 - STRONGEST) * theme["ground"]
        low, high = sorted([brightness(cell), brightness(theme["ink"])])
        assert (high + 0.05) / (low + 0.05) > 4.5
    low, high = sorted([brightness(theme["muted"]), brightness(theme["ground"])])
    assert (high + 0.05) / (low + 0.05) > 4.5


def test_a_forest_plot_stands_where_the_numbers_do() -> None:
    rows = [row("base", None, None), row("worse", None, None, -0.1, 0.04), row("unknown", None, None)]
    rows += [row("better", None, None, 0.2, 0.06), row("wild", None, None, 0.05, ri_low=-30.0, ri_high=40.0)]
    figure = plots.forest(found([*rows, row("better", "xnli", None, 0.9)]))
    at = tips(figure)
    assert [next(n for n in at if n.startswith(m)) for m in ("better", "wild", "worse")] == list(at), "best first"
    values = [mark.get_xdata()[0] for mark in marks(figure, "mark")]
    assert values == pytest.approx([20, 5, -10])
    assert [mark.get_ydata()[0] for mark in marks(figure, "mark")] == [0, 1, 2]
    bars = [list(bar.get_xdata()) for bar in marks(figure, "interval")]
    assert bars[0] == pytest.approx([18, 23])
    assert bars[2] == pytest.approx([-12, -7])
    assert len(marks(figure, "arrow")) == 2, "an interval that would squeeze the others is cut, and says so"
    assert figure.axes[1].get_xlim() == pytest.approx((-bars[1][1], bars[1][1]))
    assert any("the interval goes on" in text for text in texts(figure))
    hollow = [mark.get_markerfacecolor() == THEMES["light"].ground for mark in marks(figure, "mark")]
    assert hollow == [True, True, False]
    assert texts(figure).count("–") == 1
    assert {"unknown", "0.040", "1,234"} <= set(texts(figure))


def test_a_model_s_forest_has_its_cells_or_says_that_they_are_too_many() -> None:
    figure = plots.forest(many(["base", "m"], ["xnli", "ner"], ["en", "sw"]), model="m", measure="delta")
    labels = [text for text in texts(figure) if text in ("xnli", "ner", "en", "sw", "all tasks")]
    assert labels == ["xnli", "en", "sw", "ner", "en", "sw", "all tasks"]
    figure = plots.forest(many(["base", "m"], ["xnli", "ner"], CODES), model="m")
    assert len(marks(figure, "mark")) == 3
    assert any("rows of 214 cells" in text for text in texts(figure))


def test_a_critical_difference_diagram_keeps_ranks_bars_and_bracket_to_scale() -> None:
    rng = np.random.default_rng(3)
    names = ["a", "b", "c", "d", "e"]
    ranked = friedman(rng.normal(0, 1, (30, 5)) + np.array([2.0, 1.4, 0.9, 0.5, 0]), names)
    figure = plots.critical_difference(ranked)
    (axis,) = marks(figure, "axis")
    left, right = axis.get_xdata()

    def rank(x: float) -> float:
        return float(1 + (x - left) / (right - left) * 4)

    at = tips(figure)
    assert {n: round(rank(mark.get_xdata()[0]), 9) for n, mark in at.items()} == {
        name: round(value, 9) for name, value in zip(names, ranked.mean_ranks, strict=True)
    }
    (bracket,) = marks(figure, "critical difference")
    assert rank(bracket.get_xdata()[1]) - 1 == pytest.approx(ranked.critical_difference)
    assert len(ranked.cliques) > 1
    spans = [tuple(map(rank, bar.get_xdata())) for bar in marks(figure, "clique")]
    for clique, (low, high) in zip(ranked.cliques, sorted(spans), strict=True):
        inside = {n for n, value in zip(names, ranked.mean_ranks, strict=True) if low <= value <= high}
        assert inside == set(clique)
    ends = [(bar.get_ydata()[0], *bar.get_xdata()) for bar in marks(figure, "clique")]
    assert not any(a[0] == b[0] and a[1] < b[2] and b[1] < a[2] for a, b in itertools.combinations(ends, 2))
    assert any("Descriptive" in text for text in texts(figure))

    wide = plots.critical_difference(friedman(rng.normal(0, 1, (2, 3)), names[:3]))
    assert len(marks(wide, "arrow")) == 1
    assert any("more than all ranks span" in text for text in texts(wide))
    assert "3 or more models" in " ".join(texts(plots.critical_difference(friedman(np.ones((4, 2)), names[:2]))))


@pytest.mark.parametrize("less", [True, False])
def test_the_front_is_what_nobody_beats(less: bool) -> None:
    rng = np.random.default_rng(4)
    points = [(float(a), float(b)) for a, b in rng.integers(1, 7, (25, 2))]

    def beaten(p: tuple[float, float], q: tuple[float, float]) -> bool:
        cheaper = q[0] <= p[0] if less else q[0] >= p[0]
        return cheaper and q[1] >= p[1] and q != p

    expected = {i for i, p in enumerate(points) if not any(beaten(p, q) for q in points)}
    assert set(front(points, less_is_better=less)) == expected


def test_a_pareto_plot_fills_the_front_and_names_who_is_missing() -> None:
    points = [
        plots.Point(
            model="small", score=0.4, low=0.35, high=0.45, parameters=10**7, parameters_without_embeddings=10**6
        ),
        plots.Point(model="big", score=0.8, parameters=10**9, examples_per_s=10.0),
        plots.Point(model="waste", score=0.3, parameters=10**8, examples_per_s=5.0),
        plots.Point(model="unscored", score=NAN, parameters=10**8),
    ]
    figure = plots.pareto(points)
    assert [(m.get_xdata()[0], m.get_ydata()[0]) for m in marks(figure, "mark")] == [
        (1e7, 40), (1e9, 80), (1e8, 30), (10, 80), (5, 30),
    ]  # fmt: skip
    hollow = [mark.get_markerfacecolor() == THEMES["light"].ground for mark in marks(figure, "mark")]
    assert hollow == [False, False, True, False, True]
    sizes, speeds = marks(figure, "front")
    assert list(zip(sizes.get_xdata(), sizes.get_ydata(), strict=True))[:3] == [(1e7, 40), (1e9, 40), (1e9, 80)]
    assert list(speeds.get_ydata()) == [80, 80]
    assert speeds.get_xdata()[1] < 5, "what is fast enough may be slower"
    assert [list(line.get_xdata()) for line in marks(figure, "without embeddings")] == [[1e6, 1e7]]
    said = " ".join(texts(figure))
    assert "No score known: unscored." in said
    assert "No speed known: small." in said
    assert {"small", "big", "waste"} <= set(texts(figure))
    assert {label.get_text() for label in figure.axes[1].get_xticklabels()} >= {"10M", "100M", "1B"}


def test_dumbbells_and_readings_stand_where_the_numbers_do() -> None:
    gaps = [
        plots.Gap(model="m", task="xnli", source="en", rest=14, source_score=0.8, rest_score=0.55),
        plots.Gap(model="n", task="xnli", source="en", rest=14, source_score=0.5),
    ]
    figure = plots.transfer_gap(gaps)
    assert [m.get_xdata()[0] for m in marks(figure, "filled")] == [80, 50]
    assert [m.get_xdata()[0] for m in marks(figure, "hollow")] == pytest.approx([55])
    assert len(figure.axes) == 2, "no oracle, no second panel"
    assert {"+25.0", "–", "en and 14 others"} <= set(texts(figure))
    figure = plots.transfer_gap(GAPS)
    assert len(figure.axes) == 3
    assert texts(figure).count("−3.0") == 2

    readings = [*READ[:3], plots.Reading(model="no probe", probe=NAN, transfer=0.5)]
    figure = plots.readability(readings, chance=0.1)
    assert [(m.get_xdata()[0], m.get_ydata()[0]) for m in marks(figure, "mark")] == [
        (pytest.approx(100 * r.probe), pytest.approx(100 * r.transfer)) for r in READ[:3]
    ]
    assert [mark.get_marker() for mark in marks(figure, "mark")] == ["s", "o", "o"]
    assert marks(figure, "chance")[0].get_xdata()[0] == 10
    assert any("no probe" in text for text in texts(figure))


def test_where_there_is_nothing_to_draw_the_figure_says_why() -> None:
    alone = found([row("one", "xnli", "en", baseline=None), row("one", None, None, baseline=None)])
    for figure, why in (
        (plots.forest(alone), "there is no baseline"),
        (plots.forest(found([row("base", None, None)])), "no other model than the baseline base"),
        (plots.forest(found([])), "there is no baseline"),
        (plots.heat_map(alone, model="one"), "there is no baseline"),
        (plots.heat_map(found([row("base", "xnli", "en")]), model="base"), "base is the baseline itself"),
        (plots.pareto([]), "no model has a score and a size or a speed"),
        (plots.transfer_gap([]), "no model has scores"),
        (plots.readability([plots.Reading(model="m", probe=NAN, transfer=0.1)]), "no model has both"),
    ):
        said = " ".join(texts(figure))
        assert why in said
        assert not [patch for axes in figure.axes for patch in axes.patches if isinstance(patch, Rectangle)]
    for draw in (lambda: plots.heat_map(alone, model="onne"), lambda: plots.forest(alone, model="onne")):
        with pytest.raises(UnknownName, match="no model 'onne' in the comparisons; did you mean 'one'"):
            draw()
    blank = plots.heat_map(found([row("m", "xnli", "en"), row("m", "xnli", None)]), model="m")
    assert all(cell.get_hatch() for cell in tips(blank).values())
    assert not any("±0" in text for text in texts(blank)), "no scale without a value"


def test_a_name_is_shortened_in_its_middle() -> None:
    name = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
    short = fitted(name, 9, 1.5)
    start, _, end = short.partition("…")
    assert name.startswith(start)
    assert name.endswith(end)
    assert width_in(short, 9) <= 1.5 < width_in(short.replace("…", "…xx"), 9)
    assert fitted("mbert", 9, 1.5) == "mbert"
    assert math.isclose(width_in("mm", 9), 2 * width_in("m", 9), rel_tol=0.02)
