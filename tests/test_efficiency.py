"""Score against cost: a table by hand, the front against brute force, and what is not known stays so."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from toy_views import NAN, column, compared, hit, sized

from unibench import efficiency, plots
from unibench.store import RunRecord
from unibench.timings import Place, Timing

TWO = Place(workload="w", device="cpu", processor="P", precision="fp32", threads=2)
ONE = replace(TWO, threads=1)
GPU = replace(TWO, device="cuda", processor="G", precision="bf16")


def at(pairs_per_s: float, place: Place = TWO, number: int = 0) -> tuple[Timing, ...]:
    return (Timing(pairs_per_s=pairs_per_s, place=place, number=number),)


def board() -> list[RunRecord]:
    """Means 0.6 (large), 0.7 (small), 0.7 (twin, slower), 0.5 (tiny)."""
    of = {"large": (0.6, 300_000_000, 90_000_000), "small": (0.7, 40_000_000, 8_000_000),
          "twin": (0.7, 40_000_000, 8_000_000), "tiny": (0.5, 4_558_464, 396_544)}  # fmt: skip
    return [
        hit(model, "xnli", language, score + more, **sized(parameters, body))
        for model, (score, parameters, body) in of.items()
        for language, more in (("en", 0.1), ("de", -0.1))
    ]


def test_a_table_by_hand() -> None:
    speeds = {"large": at(10.0), "small": at(100.0), "twin": at(90.0), "tiny": at(1000.0)}
    table = efficiency.table(board(), compared(board(), "large"), speeds, "Efficiency")
    assert table is not None
    assert list(column(table, "score")) == ["small", "twin", "large", "tiny"]
    assert column(table, "score") == pytest.approx({"small": 0.7, "twin": 0.7, "large": 0.6, "tiny": 0.5})
    assert column(table, "parameters")["tiny"] == 4_558_464
    assert column(table, "without embeddings")["tiny"] == 396_544
    assert column(table, "examples/s") == {"small": 100, "twin": 90, "large": 10, "tiny": 1000}
    assert column(table, "front by size") == {"small": "yes", "twin": "yes", "large": "no", "tiny": "yes"}
    assert column(table, "front by speed") == {"small": "yes", "twin": "no", "large": "no", "tiny": "yes"}
    notes = "\n".join(table.footnotes)
    assert "mean over all 2 cells" in notes
    assert "measured on P (cpu, 2 threads, fp32)" in notes
    assert "not known" not in notes.replace("is known", "")
    drawn = efficiency.points(board(), compared(board(), "large"), speeds)
    assert (drawn[0].model, drawn[0].parameters, drawn[0].examples_per_s) == ("small", 40_000_000, 100.0)
    assert drawn[0].low < 0.7 < drawn[0].high
    plots.pareto(drawn)


def beaten(costs: list[float], scores: list[float], i: int) -> bool:
    """By the definition: another is no worse in both, and better in one."""
    return any(
        costs[j] <= costs[i] and scores[j] >= scores[i] and (costs[j] < costs[i] or scores[j] > scores[i])
        for j in range(len(costs))
    )


@pytest.mark.parametrize("seed", range(40))
def test_the_front_is_what_brute_force_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = [
        plots.Point(
            model=str(i), score=NAN if rng.random() < 0.1 else float(rng.integers(1, 6)) / 10,
            parameters=None if rng.random() < 0.1 else int(rng.integers(1, 6)),
            examples_per_s=None if rng.random() < 0.1 else float(rng.integers(1, 6)),
        )
        for i in range(int(rng.integers(0, 12)))
    ]  # fmt: skip
    by_size, by_speed = efficiency.on_front(made)
    for found, cost in (
        (by_size, lambda p: p.parameters),
        (by_speed, lambda p: p.examples_per_s and -p.examples_per_s),
    ):
        known = [p for p in made if not math.isnan(p.score) and cost(p) is not None]
        costs, scores = [float(cost(p)) for p in known], [p.score for p in known]
        assert found == {p.model for i, p in enumerate(known) if not beaten(costs, scores, i)}


def test_speeds_of_two_machines_are_never_compared() -> None:
    speeds = {
        "large": (*at(10.0), *at(999.0, GPU, 3)), "small": at(100.0),
        "twin": at(5000.0, GPU, 9), "tiny": at(50.0, ONE, 4),
    }  # fmt: skip
    table = efficiency.table(board(), compared(board(), "large"), speeds, "")
    assert table is not None
    shown = column(table, "examples/s")
    # two models were measured on each of two machines: the one used last counts
    assert (shown["large"], shown["twin"]) == (999.0, 5000.0)
    assert math.isnan(shown["small"])
    assert math.isnan(shown["tiny"])
    assert column(table, "front by speed")["twin"] == "yes"
    assert math.isnan(column(table, "front by speed")["small"])
    notes = "\n".join(table.footnotes)
    assert "small was measured elsewhere, 100 pairs a second on P (cpu, 2 threads, fp32): not compared." in notes
    assert "tiny was measured elsewhere, 50 pairs a second on P (cpu, 1 thread, fp32): not compared." in notes
    assert "speed not known" not in notes


def test_a_machine_that_read_other_pairs_is_another_one() -> None:
    speeds = {"large": at(10.0, number=1), "small": at(100.0, replace(TWO, workload="old"))}
    notes = "\n".join(efficiency.table(board(), compared(board(), "large"), speeds, "").footnotes)
    assert "small was measured elsewhere, 100 pairs a second on P (cpu, 2 threads, fp32), over other pairs" in notes


def test_a_floor_is_timed_by_its_hash() -> None:
    table = efficiency.table(board(), compared(board(), "large"), {"model tiny": at(7.0)}, "")
    assert column(table, "examples/s")["tiny"] == 7.0


def test_what_is_not_known_is_nan_with_a_reason() -> None:
    records = [hit("known", "xnli", "en", 0.5, **sized(1000)), hit("new", "xnli", "en", 0.6)]
    table = efficiency.table(records, compared(records, "known"), {}, "")
    assert math.isnan(column(table, "parameters")["new"])
    assert math.isnan(column(table, "without embeddings")["known"])
    assert math.isnan(column(table, "front by size")["new"])
    assert column(table, "front by size")["known"] == "yes"
    notes = "\n".join(table.footnotes)
    assert "size not known, the records do not say it: new." in notes
    assert "speed not known, `unibench models` has not measured it: new, known." in notes
    assert "examples/s:" not in notes


def test_models_that_share_no_cell_have_no_score_and_are_on_no_front() -> None:
    records = [hit("a", "xnli", "en", 0.5, **sized(10)), hit("b", "xnli", "de", 0.6, **sized(20))]
    found = compared(records, "a")
    table = efficiency.table(records, found, {}, "")
    assert all(math.isnan(value) for value in column(table, "front by size").values())
    assert "no score: of 2 cells" in "\n".join(table.footnotes)
    assert "no interval" not in "\n".join(table.footnotes)
    assert efficiency.points(records, found, {}) == []


def test_one_model_alone_and_none_at_all() -> None:
    records = [hit("a", "xnli", "en", 0.5, **sized(10))]
    table = efficiency.table(records, compared(records, "a"), {}, "")
    assert column(table, "front by size") == {"a": "yes"}
    assert len(efficiency.points(records, compared(records, None), {})) == 1
    assert efficiency.table([], compared([], None), {}, "") is None
    assert efficiency.points([], compared([], None), {}) == []


def test_models_without_a_size_or_a_speed_make_no_figure() -> None:
    records = [hit("a", "xnli", "en", 0.5)]
    assert efficiency.points(records, compared(records, "a"), {}) == []
