"""Neighbours and retrieval, by hand: vectors on a circle, whose nearest are seen at a glance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from unibert.retrieval import centred, neighbours, retrieved, retrieved_pairs, shared_surfaces


def at(*degrees: float) -> Tensor:
    """Unit vectors at these angles (N, 2)."""
    angle_N = torch.tensor(degrees).deg2rad()
    return torch.stack([torch.cos(angle_N), torch.sin(angle_N)], dim=1)


def test_neighbours_by_hand() -> None:
    vectors_LND = torch.stack([at(0, 90, 180), at(3, 99, 110)])
    # language 0: 0 -> its translation at 3; 90 -> its translation at 99; 180 -> the other language's 110, sentence 2
    # language 1: 3 -> 0; 99 -> 90; 110 -> 99, its own language
    same_LN, translation_LN = neighbours(vectors_LND)
    assert same_LN.tolist() == [[False, False, False], [False, False, True]]
    assert translation_LN.tolist() == [[True, True, True], [True, True, False]]
    scaled_same_LN, scaled_translation_LN = neighbours(vectors_LND * torch.tensor([[[0.1], [7.0], [2.0]]]))
    assert scaled_same_LN.equal(same_LN)
    assert scaled_translation_LN.equal(translation_LN)


def test_a_neighbour_in_another_language_need_not_be_a_translation() -> None:
    same_LN, translation_LN = neighbours(torch.stack([at(0, 90), at(92, 3)]))
    assert not same_LN.any()
    assert not translation_LN.any()


def test_neighbours_equal_a_plain_double_loop() -> None:
    vectors_LND = torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(0))
    same_LN, translation_LN = neighbours(vectors_LND)
    places = [(language, i) for language in range(3) for i in range(7)]
    for language, i in places:
        others = [place for place in places if place != (language, i)]
        cosines = [torch.cosine_similarity(vectors_LND[language, i], vectors_LND[p], dim=0).item() for p in others]
        nearest = others[int(np.argmax(cosines))]
        assert same_LN[language, i] == (nearest[0] == language)
        assert translation_LN[language, i] == (nearest[0] != language and nearest[1] == i)


def test_retrieval_by_hand_is_not_symmetric() -> None:
    queries, candidates = at(0, 50, 100), at(10, 20, 90)
    assert retrieved(queries, candidates).tolist() == [True, True, True]
    assert retrieved(candidates, queries).tolist() == [True, False, True]
    assert retrieved(queries, candidates[[2, 1, 0]]).tolist() == [False, True, False]


def test_all_pairs_are_the_single_ones() -> None:
    vectors_LND = torch.randn(4, 9, 6, generator=torch.Generator().manual_seed(1))
    hits_LLN = retrieved_pairs(vectors_LND)
    for i in range(4):
        for j in range(4):
            expected = retrieved(vectors_LND[i], vectors_LND[j]) if i != j else torch.zeros(9, dtype=torch.bool)
            assert hits_LLN[i, j].equal(expected)


def test_vectors_that_say_nothing_score_chance() -> None:
    vectors_LND = torch.randn(5, 200, 16, generator=torch.Generator().manual_seed(2))
    same_LN, translation_LN = neighbours(vectors_LND)
    assert same_LN.float().mean().item() == pytest.approx(199 / 999, abs=0.04)
    assert translation_LN.float().mean().item() == pytest.approx(4 / 999, abs=0.01)
    assert (retrieved_pairs(vectors_LND).float().sum() / (20 * 200)).item() == pytest.approx(1 / 200, abs=0.005)


def test_vectors_that_are_all_alike_score_chance_and_no_more() -> None:
    assert retrieved(torch.ones(10, 3), torch.ones(10, 3)).sum() == 1


def test_centring_takes_a_languages_offset_away_and_uses_only_the_reference() -> None:
    generator = torch.Generator().manual_seed(3)
    meaning_ND = torch.randn(40, 8, generator=generator)
    offset_L1D = 30 * torch.randn(3, 1, 8, generator=generator)
    vectors_LND = meaning_ND + offset_L1D
    tested, reference = vectors_LND[:, :20], vectors_LND[:, 20:]
    assert neighbours(tested)[0].all()  # laid out by language
    assert neighbours(centred(tested, reference))[1].all()  # laid out by meaning
    assert centred(tested, reference)[1].equal(tested[1] - reference[1].mean(0))
    assert not torch.allclose(centred(tested, reference).mean(1), torch.zeros(3, 8), atol=0.01)


def test_shared_surfaces_by_hand() -> None:
    english = [np.array([4, 9, 9]), np.array([], np.int64), np.array([7, 1])]
    german = [np.array([1, 2]), np.array([9, 3])]
    assert shared_surfaces(english, german).tolist() == [1, 9]
    assert shared_surfaces(german, english).tolist() == [1, 9]
    assert shared_surfaces([], german).tolist() == []
