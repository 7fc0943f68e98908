"""The probe reads what is there and nothing that is not."""

from __future__ import annotations

import pytest
import torch

from unibert.probe import fresh_guesses, linear_probe, macro_accuracy, same_language_neighbours


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


def test_a_macro_accuracy_by_hand() -> None:
    truth_N, guess_N = torch.tensor([0, 0, 0, 0, 2, 2]), torch.tensor([0, 0, 0, 1, 2, 0])
    assert macro_accuracy(guess_N, truth_N) == pytest.approx((3 / 4 + 1 / 2) / 2)


def test_a_split_by_sentence_does_not_let_the_probe_recognise_sentences() -> None:
    generator = torch.Generator().manual_seed(4)
    # What each vector says of its language is the sentence's own: known sentences are read, new ones cannot be.
    meaning_ND = 5 * torch.randn(60, 120, generator=generator)
    sentence_X, language_X = torch.arange(60).repeat(4), torch.arange(4).repeat_interleave(60)
    sign_ND = torch.randn(60, 4, 120, generator=generator)
    vectors_XD = meaning_ND[sentence_X] + sign_ND[sentence_X, language_X]
    new_X = sentence_X >= 30
    read = fresh_guesses(vectors_XD[~new_X], language_X[~new_X], vectors_XD[new_X], languages=4)
    assert macro_accuracy(read, language_X[new_X]) == pytest.approx(1 / 4, abs=0.12)
    again = fresh_guesses(vectors_XD[~new_X], language_X[~new_X], vectors_XD[~new_X], languages=4)
    assert macro_accuracy(again, language_X[~new_X]) > 0.9


def test_guesses_agree_with_another_implementation() -> None:
    from sklearn.linear_model import LogisticRegression

    generator = torch.Generator().manual_seed(5)
    language_N = torch.arange(240) % 3
    vectors_ND = torch.randn(240, 6, generator=generator) + torch.randn(3, 6, generator=generator)[language_N]
    train, test = vectors_ND[:120], vectors_ND[120:]
    ours = fresh_guesses(train, language_N[:120], test, languages=3)
    # Mean loss + 1e-3 |W|^2 is sklearn's sum of losses * C + |W|^2 / 2 with C = 1 / (2 * 1e-3 * 120)
    other = LogisticRegression(C=1 / 0.24, tol=1e-8, max_iter=1000)
    other.fit(((train - train.mean(0)) / train.std(0)).numpy(), language_N[:120].numpy())
    theirs = other.predict(((test - train.mean(0)) / train.std(0)).numpy())
    assert (ours.numpy() == theirs).mean() > 0.99
