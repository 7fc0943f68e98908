"""Warnings of scores at chance: where they are due, and how often they are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from unibench import chance
from unibench.errors import UnknownName


def labelled(gold: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return np.column_stack([gold, predicted]).astype(float)


def drawn(rng: np.random.Generator, count: int, right: float, classes: int = 3) -> np.ndarray:
    """Balanced gold labels, and predictions that are right with this probability."""
    gold = np.arange(count) % classes
    other = (gold + rng.integers(1, classes, size=count)) % classes
    return labelled(gold, np.where(rng.random(count) < right, gold, other))


def test_placeholder_labels_score_the_majority_class_and_are_named() -> None:
    # one public trap: every gold label of a test set was the same placeholder, and every model "scored" 33 %
    predicted = np.arange(300) % 3
    assert chance.warning("accuracy", labelled(np.zeros(300), predicted)) == (
        "all 300 gold labels are class 0: look for placeholder labels"
    )
    gold = np.arange(900) % 3
    a_third_right = labelled(gold, (gold + np.arange(900) // 3) % 3)
    assert chance.warning("macro_f1", a_third_right) == (
        "accuracy 33.3 is not above chance (33.3, the majority class): look for placeholder labels, label order, "
        "or a rate that diverged"
    )


def test_one_answer_to_everything_is_named_however_good_its_score() -> None:
    gold = np.r_[np.zeros(90), np.ones(10)]
    assert chance.warning("accuracy", labelled(gold, np.zeros(100))) == (
        "all 100 predictions are class 0: look for a rate that diverged, or was too low"
    )


def test_labels_in_another_order_score_below_chance() -> None:
    gold = np.arange(300) % 3
    right = np.random.default_rng(0).random(300) < 0.8
    predicted = np.where(right, (gold + 1) % 3, gold)
    assert "is below chance (33.3, the majority class): look for labels in another order" in chance.warning(
        "accuracy", labelled(gold, predicted)
    )


@pytest.mark.parametrize("count", [20, 61, 500])
def test_it_warns_just_where_the_exact_interval_reaches_the_majority_class(count: int) -> None:
    gold = (np.arange(count) < count * 0.4).astype(float)  # two classes, 60 % the larger
    share = max(gold.mean(), 1 - gold.mean())
    for hits in range(1, count):
        wrong = np.arange(count) >= hits
        rows = labelled(gold, np.where(wrong, 1 - gold, gold))
        if len(set(rows[:, 1])) == 1:
            continue
        found = chance.warning("accuracy", rows)
        low, high = binomtest(hits, count).proportion_ci(0.95, method="exact")
        assert bool(found) == (low <= share), hits
        assert ("below chance" in found) == (high < share), hits


def test_guessing_is_told_from_little_knowledge() -> None:
    rng = np.random.default_rng(1)
    guessed = [chance.warning("accuracy", drawn(rng, 1500, 1 / 3)) != "" for _ in range(300)]
    assert np.mean(guessed) > 0.95
    known = [chance.warning("accuracy", drawn(rng, 1500, 0.40)) != "" for _ in range(300)]
    assert np.mean(known) < 0.02


def test_examples_that_belong_together_are_less_evidence() -> None:
    rng = np.random.default_rng(2)
    alone, together = [], []
    for _ in range(300):  # ten copies of each of 60 guesses: 600 rows, 60 facts
        rows = np.repeat(drawn(rng, 60, 1 / 3), 10, axis=0)
        alone.append("not above chance" in chance.warning("accuracy", rows))
        together.append("not above chance" in chance.warning("accuracy", rows, groups=[i // 10 for i in range(600)]))
    assert np.mean(alone) < 0.6
    assert np.mean(together) > 0.9


def test_all_right_is_above_chance_though_its_groups_are_all_alike() -> None:
    gold = np.arange(60) % 3
    assert chance.warning("accuracy", labelled(gold, gold), groups=[i // 3 for i in range(60)]) == ""
    constant_but_for_groups = np.where(np.arange(60) // 3 % 2, 1, 2)  # one hit in every group of three, always
    assert "not above" in chance.warning(
        "accuracy", labelled(gold, constant_but_for_groups), groups=[i // 3 for i in range(60)]
    )


def test_groups_of_one_change_nothing() -> None:
    rows = drawn(np.random.default_rng(3), 200, 0.38)
    assert chance.warning("accuracy", rows, groups=[f"g{i}" for i in range(200)]) == chance.warning("accuracy", rows)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(0, 0, 0)] * 30, "there is no gold entity in 30 sentences"),
        ([(0, 0, 2)] * 30, "none of 60 entities is found, and none is predicted"),
        ([(0, 1, 2)] * 30, "span_f1 0.0 is next to nothing (0 of 60 entities are found, 30 wrong ones)"),
        ([(1, 1, 1)] * 30, ""),
        ([(1, 3, 9)] + [(0, 3, 9)] * 4, ""),  # too few sentences to say anything
    ],
)
def test_entities(rows: list[tuple[int, int, int]], expected: str) -> None:
    found = chance.warning("span_f1", np.array(rows, dtype=float))
    assert found.startswith(expected)
    assert bool(found) == bool(expected)


def test_answers() -> None:
    nothing = np.zeros((50, 2))
    assert chance.warning("token_f1", nothing).startswith("token_f1 0.0 is next to nothing (over 50 questions that")
    nothing[:5] = 1.0
    assert chance.warning("exact_match", nothing) == ""


def test_to_answer_nothing_is_no_score_though_half_the_questions_have_no_answer() -> None:
    names = ("exact", "f1", "answerable")
    silent = np.array([[1, 1, 0], [0, 0, 1]] * 25, dtype=float)  # token F1 50
    assert "(over 25 questions that have an answer)" in chance.warning("token_f1", silent, unit_names=names)
    silent[1, :2] = 1.0
    assert chance.warning("token_f1", silent, unit_names=names) == ""
    assert "none of 50 questions has an answer" in chance.warning("exact_match", silent * [1, 1, 0], unit_names=names)


def test_columns_of_types_do_not_disturb() -> None:
    names = ("tp", "fp", "fn", "tp:LOC", "fp:LOC", "fn:LOC")
    rows = np.array([[0, 1, 2, 0, 1, 2]] * 30, dtype=float)
    for metric in ("span_f1", "span_f1:LOC"):
        assert chance.warning(metric, rows) == chance.warning(metric, rows, unit_names=names)
        assert chance.warning(metric, rows, unit_names=names) == chance.warning("span_f1", rows[:, :3])


def test_similarity() -> None:
    rng = np.random.default_rng(4)
    gold = rng.random(200)
    noise = rng.standard_normal(200)
    for metric in ("spearman", "pearson"):
        assert chance.warning(metric, np.column_stack([gold, gold + 0.5 * noise])) == ""
        assert "is below 0: look for a scale" in chance.warning(metric, np.column_stack([gold, -gold + 0.1 * noise]))
        assert "are 0.5: look for placeholder" in chance.warning(metric, np.column_stack([np.full(200, 0.5), gold]))
        assert "are alike" in chance.warning(metric, np.column_stack([gold, np.full(200, 0.5)]))
        unrelated = [
            "is not above 0" in chance.warning(metric, rng.standard_normal((200, 2)) * [1.0, 5.0]) for _ in range(300)
        ]
        assert np.mean(unrelated) > 0.9  # 2.5 % on either side are something else by chance


def test_what_is_not_a_number_or_not_a_metric() -> None:
    rows = np.array([[0.1, np.nan]] * 30)
    assert chance.warning("spearman", rows) == "spearman has units that are not numbers: a training diverged"
    assert chance.warning("accuracy", np.zeros((0, 2))) == ""
    with pytest.raises(UnknownName, match="did you mean 'accuracy'"):
        chance.warning("acuracy", np.zeros((30, 2)))


def test_units_are_left_as_they_were() -> None:
    rows = drawn(np.random.default_rng(5), 60, 0.5)
    before = rows.copy()
    chance.warning("accuracy", rows)
    assert np.array_equal(rows, before)
