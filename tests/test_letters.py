"""The letter display against R's published example, a hand-made chain, and its own definition on random matrices."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unibench.stats.letters import groups, letters


def differing(size: int, pairs) -> np.ndarray:
    out = np.zeros((size, size), dtype=bool)
    for i, j in pairs:
        out[i, j] = out[j, i] = True
    return out


@st.composite
def matrices(draw) -> np.ndarray:
    size = draw(st.integers(0, 9))
    pairs = [pair for pair in combinations(range(size), 2) if draw(st.booleans())]
    return differing(size, pairs)


def test_examples_worked_elsewhere() -> None:
    # multcompView's own: only B and C differ -> A "ab", B "a", C "b"
    assert letters(differing(3, [(1, 2)])) == ("ab", "a", "b")
    # a chain that isn't transitive: only the first and the last differ
    assert letters(differing(3, [(0, 2)])) == ("a", "ab", "b")
    # neighbours are alike, all others differ
    assert letters(differing(5, [(i, j) for i, j in combinations(range(5), 2) if j - i > 1])) == (
        "a", "ab", "bc", "cd", "d",
    )  # fmt: skip
    assert letters(differing(4, [])) == ("a",) * 4
    assert letters(differing(3, combinations(range(3), 2))) == ("a", "b", "c")
    assert letters(differing(1, [])) == ("a",)
    assert letters(differing(0, [])) == ()


def test_a_largest_group_whose_pairs_are_all_in_others_gets_no_letter() -> None:
    """0 1 2 are alike, and so is each pair of them with one more: the three outer triangles say it all."""
    alike = {(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (1, 4), (2, 4), (0, 5), (2, 5)}
    assert groups(differing(6, set(combinations(range(6), 2)) - alike)) == ((0, 1, 3), (0, 2, 5), (1, 2, 4))


@given(matrices())
@settings(max_examples=300, deadline=None)
def test_two_share_a_letter_if_and_only_if_they_were_not_told_apart(differ: np.ndarray) -> None:
    shown = letters(differ)
    assert all(shown)
    for i, j in combinations(range(len(differ)), 2):
        assert bool(set(shown[i]) & set(shown[j])) != differ[i, j]


@given(matrices())
@settings(max_examples=300, deadline=None)
def test_no_letter_is_redundant_and_no_group_could_be_larger(differ: np.ndarray) -> None:
    found = groups(differ)
    size = len(differ)
    for group in found:
        others = [other for other in found if other != group]
        pairs = [(i, j) for i in group for j in group]
        assert any(not any(i in other and j in other for other in others) for i, j in pairs), "it says nothing new"
        assert all(differ[row, list(group)].any() for row in set(range(size)) - set(group)), "it could be larger"
    assert len(set(found)) == len(found)


@given(matrices())
@settings(max_examples=100, deadline=None)
def test_letters_are_used_in_order_the_best_has_a_and_a_rerun_says_the_same(differ: np.ndarray) -> None:
    shown = letters(differ)
    seen = list(dict.fromkeys("".join(shown)))
    assert seen == sorted(seen)
    assert not shown or shown[0][0] == "a"
    assert letters(differ.copy()) == shown


def test_beyond_z_letters_are_words() -> None:
    shown = letters(differing(30, combinations(range(30), 2)))
    assert shown[:2] == ("a", "b")
    assert shown[25:] == ("z", "aa", "ab", "ac", "ad")
    chain = letters(differing(30, [(i, j) for i, j in combinations(range(30), 2) if j - i > 1]))
    assert chain[26:28] == ("z aa", "aa ab")
    assert chain[0] == "a"


def test_a_display_of_many_groups_stays_small() -> None:
    """15 pairs that differ and nothing else does: 2 ** 15 largest groups, of which a few suffice."""
    differ = differing(30, [(2 * i, 2 * i + 1) for i in range(15)])
    found = groups(differ)
    assert len(found) < 30
    shared = {pair for group in found for pair in combinations(group, 2)}
    assert shared == {pair for pair in combinations(range(30), 2) if not differ[pair]}


def test_nonsense_is_refused() -> None:
    for wrong in (np.array([[False, True], [False, False]]), np.eye(2, dtype=bool), np.zeros((2, 3), dtype=bool)):
        with pytest.raises(ValueError, match="symmetric"):
            letters(wrong)
