"""The probe reads what is there and nothing that is not."""

from __future__ import annotations

import pytest
import torch

from unibert.probe import linear_probe, same_language_neighbours


def test_what_is_separable_is_read_and_what_is_random_is_not() -> None:
    generator = torch.Generator().manual_seed(0)
    language_N = torch.arange(900) % 3
    centres_LD = torch.randn(3, 16, generator=generator)
    noise_ND = torch.randn(900, 16, generator=generator)
    assert linear_probe(4 * centres_LD[language_N] + noise_ND, language_N) > 0.98
    assert linear_probe(noise_ND, language_N) == pytest.approx(1 / 3, abs=0.08)


def test_accuracy_counts_every_language_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    language_N = (torch.arange(1000) >= 950).long()  # saying "0" always is right in 95 % of cases
    assert linear_probe(torch.randn(1000, 8, generator=generator), language_N) == pytest.approx(0.5, abs=0.1)


def test_the_scale_and_place_of_the_vectors_do_not_matter() -> None:
    generator = torch.Generator().manual_seed(1)
    language_N = torch.arange(300) % 2
    vectors_ND = torch.randn(300, 8, generator=generator) + language_N[:, None]
    assert linear_probe(vectors_ND, language_N) == pytest.approx(
        linear_probe(1e-3 * vectors_ND + 5, language_N), abs=0.02
    )


def test_the_same_seed_gives_the_same_number_and_another_another_half() -> None:
    generator = torch.Generator().manual_seed(2)
    language_N = torch.arange(200) % 4
    vectors_ND = torch.randn(200, 8, generator=generator) + 0.5 * language_N[:, None]
    torch.manual_seed(5)
    assert linear_probe(vectors_ND, language_N, seed=1) == linear_probe(vectors_ND, language_N, seed=1)
    assert linear_probe(vectors_ND, language_N, seed=1) != linear_probe(vectors_ND, language_N, seed=2)


def test_neighbours_by_hand() -> None:
    degrees = torch.tensor([0.0, 10.0, 25.0, 90.0, 95.0, 180.0])
    language_N = torch.tensor([0, 0, 1, 1, 0, 1])
    vectors_ND = torch.stack([torch.cos(degrees.deg2rad()), torch.sin(degrees.deg2rad())], dim=1)
    # 0 -> 10 same; 10 -> 0 same; 25 -> 10 other; 90 -> 95 other; 95 -> 90 other; 180 -> 95 other
    assert same_language_neighbours(vectors_ND, language_N) == pytest.approx(2 / 6)
    lengths_N1 = torch.tensor([[1.0], [9.0], [0.1], [3.0], [7.0], [2.0]])
    assert same_language_neighbours(lengths_N1 * vectors_ND, language_N) == pytest.approx(2 / 6)
    assert same_language_neighbours(vectors_ND, torch.zeros(6, dtype=torch.long)) == 1.0
