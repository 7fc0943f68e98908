"""Transfer gaps by hand, and a reason wherever one of their two ends is missing."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from toy_records import RECIPE
from toy_views import column, compared, hit

from unibench import plots, transfer
from unibench.store import RunRecord
from unibench.tables import AT_CHANCE, PARTIAL, Entry, Table

GRID = {"job": {"recipe": replace(RECIPE, learning_rates=(1e-5, 1e-4))}}


def bound(score: float | None) -> dict[str, Any]:
    """Returns what says of a record what its oracle would have scored."""
    return {"oracle": {"scores": {"accuracy": score}}} if score is not None else {}


def model(name: str, task: str, scores: dict[str, tuple[float, float | None]], seed: int = 0) -> list[RunRecord]:
    return [hit(name, task, language, s, seed, **GRID, **bound(o)) for language, (s, o) in scores.items()]


def view(records: list[RunRecord], baseline: str | None = None) -> Table:
    table = transfer.table(records, compared(records, baseline), "Transfer gaps")
    assert table is not None
    return table


def text(table: Table) -> str:
    return "\n".join(table.footnotes)


def test_a_gap_by_hand() -> None:
    records = [
        *model("m", "xnli", {"en": (0.9, None), "de": (0.7, 0.75), "sw": (0.5, 0.65)}),
        *model("n", "xnli", {"en": (0.8, None), "de": (0.8, 0.75), "sw": (0.4, None)}),
    ]
    table = view(records, "m")
    assert column(table, "score in it") == pytest.approx({"m": 0.9, "n": 0.8})
    assert column(table, "mean of the rest") == pytest.approx({"m": 0.6, "n": 0.6})
    assert column(table, "gap") == pytest.approx({"m": 0.3, "n": 0.2})
    assert column(table, "rest") == {"m": 2, "n": 2}
    assert column(table, "oracle") == pytest.approx({"m": 0.7, "n": 0.75})
    assert column(table, "zero-shot - oracle") == pytest.approx({"m": -0.1, "n": 0.05})
    assert column(table, "with oracle") == {"m": 2, "n": 1}
    [oracle] = [row[7] for row in table.rows if row[1] == "n"]
    assert isinstance(oracle, Entry)
    assert oracle.marks == (PARTIAL,)
    assert "†" in text(table)
    assert "–" not in text(table)
    (gap, _) = transfer.gaps(records, compared(records, "m"))
    assert (gap.task, gap.model, gap.source, gap.rest) == ("xnli", "m", "en", 2)
    assert (gap.source_score, gap.rest_score, gap.zero_shot, gap.oracle) == pytest.approx((0.9, 0.6, 0.6, 0.7))
    plots.transfer_gap([gap])


def test_seeds_are_averaged_and_an_oracle_needs_all_of_them() -> None:
    first, second = {"en": (0.9, None), "de": (0.6, 0.7)}, {"en": (0.8, None), "de": (0.5, 0.8)}
    full = [*model("m", "xnli", first), *model("m", "xnli", second, 1)]
    table = view(full)
    assert column(table, "gap")["m"] == pytest.approx(0.85 - 0.55)
    assert column(table, "oracle")["m"] == pytest.approx(0.75)
    half = [*full[:3], *model("m", "xnli", {"de": (0.5, None)}, 1)]
    assert math.isnan(column(view(half), "oracle")["m"])
    assert "Not every language was scored with the same seeds: xnli m." in text(view(full[:3]))


def test_what_was_never_scored_in_english_has_no_gap() -> None:
    one, other = {"sw": (0.5, None), "yo": (0.3, None)}, {"sw": (0.4, None), "yo": (0.4, None)}
    records = [*model("m", "wikiann", one), *model("n", "wikiann", other)]
    table = view(records)
    assert all(math.isnan(value) for value in column(table, "gap").values())
    assert column(table, "mean of the rest") == pytest.approx({"m": 0.4, "n": 0.4})
    assert "– no score in en, which was trained on, so no gap: wikiann." in text(table)
    assert "wikiann" in text(table).partition("not translations of each other")[2]
    assert transfer.gaps(records, compared(records, None)) == []


def test_a_model_that_failed_in_english_is_named() -> None:
    records = [*model("m", "xnli", {"en": (0.9, None), "de": (0.6, None)}), *model("n", "xnli", {"de": (0.6, None)}),
               *model("o", "xnli", {"en": (0.6, None)})]  # fmt: skip
    table = view(records, "m")
    assert "– no score in en, which was trained on, so no gap: xnli (n)." in text(table)
    assert "– no score outside en, so no gap: xnli (o)." in text(table)
    assert math.isnan(column(table, "gap")["n"])
    assert math.isnan(column(table, "mean of the rest")["o"])
    assert [gap.model for gap in transfer.gaps(records, compared(records, "m"))] == ["m"]


def test_a_mean_over_fewer_languages_is_marked() -> None:
    records = [*model("m", "xnli", {"en": (0.9, None), "de": (0.9, None), "sw": (0.8, None)}),
               *model("n", "xnli", {"en": (0.9, None), "de": (0.9, None)})]  # fmt: skip
    rest = {row[1]: row[4] for row in view(records, "m").rows}
    assert rest["m"].marks == ()
    assert rest["n"].marks == (PARTIAL,)
    assert "a mean over fewer languages than another model has in this task" in text(view(records, "m"))


def test_no_oracle_has_its_reason() -> None:
    one = [hit("m", "xnli", code, 0.9) for code in ("en", "de")]
    assert "– no oracle, for one learning rate alone was tried: xnli." in text(view(one))
    several = model("m", "xnli", {"en": (0.9, None), "de": (0.6, None)})
    assert "no oracle in the records, for want of a dev set" in text(view(several))
    assert math.isnan(column(view(several), "zero-shot - oracle")["m"])


def test_a_small_gap_at_chance_is_no_success() -> None:
    records = model("m", "xnli", {"en": (20 / 60, None), "de": (20 / 60, None)})
    (row,) = view(records).rows
    assert row[6] == 0
    assert row[3].marks == row[4].marks == (AT_CHANCE,)
    assert "small, too, where nothing was learned" in text(view(records))


def test_several_languages_trained_on_are_all_needed() -> None:
    both = {"job": {"train_languages": ("en", "fr")}}
    records = [hit("m", "xnli", code, score, **both) for code, score in (("en", 0.9), ("fr", 0.7), ("de", 0.5))]
    table = view(records)
    assert column(table, "trained on")["m"] == "en fr"
    assert column(table, "gap")["m"] == pytest.approx(0.3)
    assert "no score in en fr" in text(view([records[0], records[2]]))


def test_other_protocols_have_no_gap() -> None:
    for protocol in ("monolingual", "multilingual", "none"):
        records = [hit("m", "xnli", code, 0.9, job={"protocol": protocol}) for code in ("en", "de")]
        assert transfer.table(records, compared(records, "m"), "") is None
        assert transfer.gaps(records, compared(records, "m")) == []
    assert transfer.table([], compared([], None), "") is None


def test_a_cell_where_the_baseline_is_undefined_is_left_out_and_named() -> None:
    records = [r for name in ("m", "n") for r in model(name, "xnli", {"en": (0.9, None), "de": (0.6, None)})]
    found = compared(records, "m")
    table = transfer.table(records, replace(found, undefined=(("xnli", "de"),)), "")
    assert table is not None
    assert "Left out, the baseline's score being undefined: xnli de." in text(table)
    assert all(math.isnan(value) for value in column(table, "gap").values())
