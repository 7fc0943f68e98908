"""What a study's cells are drawn from: seeds, joint universes, and the draws that are kept."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from toy_records import N, record

from unibench import metrics, pairing, resampling
from unibench.cells import cells
from unibench.compare import compared
from unibench.draws import KEPT, Draws, Source, scores_of
from unibench.pairing import Cell


def cell(task: str, language: str, groups: tuple[str, ...], *, parallel: bool) -> Cell:
    units = {m: {0: record(m, "xnli", language).units[: len(groups)]} for m in ("mbert", "small")}
    return Cell(task=task, language=language, metric="accuracy", groups=groups, parallel=parallel, units=units)


def source(*given: Cell) -> Source:
    return Source(pairing.plan(given, "mbert"), "setting")


def digest_of(*groups: str) -> str:
    """What stands for a set of groups in a seed: the first 16 hex digits of the sha256 of its sorted lines."""
    return hashlib.sha256("\n".join(sorted(set(groups))).encode()).hexdigest()[:16]


def test_translations_share_a_universe_and_their_draws() -> None:
    made = source(cell("t", "de", ("c", "a", "a"), parallel=True), cell("t", "en", ("b", "c", "d"), parallel=True))
    places = {language: made.place(("t", language)) for language in ("de", "en")}
    assert [place.tolist() for place, _ in places.values()] == [[2, 0, 0], [1, 2, 3]]
    assert [groups for _, groups in places.values()] == [4, 4]
    for draw in (made.weights, made.swaps):
        one, other = draw(("t", "de"), 4, 50), draw(("t", "en"), 4, 50)
        assert isinstance(one, np.ndarray)
        assert one is other


def test_test_sets_of_their_own_are_drawn_apart() -> None:
    made = source(cell("t", "de", ("c", "a", "a"), parallel=False), cell("t", "en", ("b", "c", "d"), parallel=False))
    assert [made.place(("t", language))[1] for language in ("de", "en")] == [2, 3]
    assert made.place(("t", "de"))[0].tolist() == [1, 0, 0]
    alike = source(cell("t", "de", ("c", "a", "d"), parallel=False), cell("t", "en", ("a", "c", "d"), parallel=False))
    assert len({alike.seed(("t", language)) for language in ("de", "en")}) == 2, "not said to be translations"
    for other in (made, alike):
        for draw in (other.weights, other.swaps):
            assert not np.array_equal(draw(("t", "de"), 3, 50), draw(("t", "en"), 3, 50))


@pytest.mark.parametrize("parallel", [True, False])
def test_the_seed_is_the_hash_of_what_it_is_for(parallel: bool) -> None:
    made = source(cell("t", "en", ("a", "b", "c"), parallel=parallel))
    for kind, ask, draw in (
        ("bootstrap", made.weights, resampling.draw_weights), ("swap", made.swaps, resampling.draw_swaps)
    ):  # fmt: skip
        parts = ("setting", digest_of("a", "b", "c"), "" if parallel else "en")
        assert made.seed(("t", "en")) == parts
        digest = hashlib.sha256("\n".join((kind, *parts)).encode()).digest()
        expected = draw(np.random.default_rng(int.from_bytes(digest, "big")), 20, 3)
        assert np.array_equal(ask(("t", "en"), 3, 20), expected)


def test_another_number_of_resamples_is_drawn_anew_and_begins_alike() -> None:
    made = source(cell("t", "en", ("a", "b", "c"), parallel=True))
    few, many = made.swaps(("t", "en"), 3, 5), made.swaps(("t", "en"), 3, 9)
    assert (len(few), len(many)) == (5, 9)
    assert np.array_equal(few, many[:5])


@pytest.mark.parametrize("parallel", [True, False])
def test_tasks_on_the_same_items_share_their_draws_in_any_order_of_rows(parallel: bool) -> None:
    made = source(
        cell("s", "en", ("a", "b", "c"), parallel=parallel),
        cell("t", "en", ("c", "c", "a", "b"), parallel=parallel),
        cell("u", "en", ("a", "b", "d"), parallel=parallel),
    )
    assert made.groups(("s", "en")) == made.groups(("t", "en")) == ("a", "b", "c")
    assert made.place(("t", "en"))[0].tolist() == [2, 2, 0, 1]
    for draw in (made.weights, made.swaps):
        drawn = {task: draw((task, "en"), 3, 64) for task in ("s", "t", "u", "s")}
        assert np.array_equal(drawn["s"], drawn["t"])
        assert not np.array_equal(drawn["s"], drawn["u"]), "items of its own"


def test_a_task_in_fewer_languages_has_another_universe_so_is_drawn_apart() -> None:
    both = [cell("s", "de", ("a", "b"), parallel=True), cell("s", "en", ("a", "c"), parallel=True)]
    made = source(*both, cell("t", "en", ("a", "c"), parallel=True))
    assert made.seed(("s", "de")) == made.seed(("s", "en")) == ("setting", digest_of("a", "b", "c"), "")
    assert made.seed(("t", "en")) == ("setting", digest_of("a", "c"), "")


def test_means_run_over_languages_then_tasks() -> None:
    draws = Draws()
    for task, values in (("a", 1.0), ("a", 2.0), ("a", 6.0), ("b", 10.0)):
        draws.add("score", "m", task, np.array([values, -values]))
    assert draws.mean("score", "m", ["a"]).tolist() == [3.0, -3.0]
    assert draws.mean("score", "m", ["a", "b"]).tolist() == [6.5, -6.5]
    assert draws.mean("score", "m", ["b", "gone"]).tolist() == [10.0, -10.0]
    assert draws.mean("score", "other", ["a"]).shape == (0,)
    assert draws.mean("delta", "m", ["a"]).shape == (0,)


def test_what_is_kept_are_the_first_draws_of_every_run() -> None:
    records = [record(m, "xnli", x, s) for m in ("mbert", "small") for x in ("de", "en") for s in (0, 1)]
    made = compared(cells(records), baseline="mbert", signature="s", resamples=KEPT + 200)
    key = ("xnli", "en")
    assert made.draws.runs[key] == (("mbert", 0), ("mbert", 1), ("small", 0), ("small", 1))
    assert made.draws.kept[key].shape == (4, KEPT)
    drawn = made.draws.of_runs(key, [("small", 1), ("mbert", 0)])
    for (model, seed), mine in zip([("small", 1), ("mbert", 0)], drawn, strict=True):
        (one,) = [r for r in records if (r.job.model, r.language, r.job.seed) == (model, "en", seed)]
        names = sorted(set(one.groups))
        weights = resampling.draw_weights(resampling.generator("bootstrap", "s", digest_of(*names), ""), 20, len(names))
        for r in range(20):
            rows = [i for i in range(N) for _ in range(weights[r][names.index(one.groups[i])])]
            assert mine[r] == pytest.approx(metrics.score("accuracy", one.units[rows]), abs=1e-6)


def test_scores_of_every_run() -> None:
    records = [record(m, "sts17", "en-tr", s) for m in ("mbert", "small") for s in (0, 1)]
    (one,) = cells(records)
    assert scores_of(one) == {(r.job.model, r.job.seed): metrics.score(r.metric, r.units) for r in records}
