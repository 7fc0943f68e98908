"""Is the language still readable from the vectors?

A discriminator at chance proves nothing: it may only have been outrun. A *fresh* linear probe on frozen vectors, and
who a vector's neighbours are, tell what is there; an untrained encoder stands beside them, since it is readable too.

Legend: N sequences, D width, L languages.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from unibert.evaluate import Heldout, pooled_vectors
from unibert.model import UniBert
from unibert.objectives import effective_rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Readability:
    """Shares in 0..1 and a rank. `chance` is the probe's accuracy when the language cannot be read at all."""

    probe_accuracy: float
    chance: float
    same_language_neighbours: float
    same_language_neighbours_centred: float
    effective_rank: float
    sequences: int


def readability(model: UniBert, heldout: Heldout, *, device: str) -> dict[str, float]:
    """Returns `Readability` as a dict, for mean-pooled vectors of held-out text in fp32."""
    vectors_ND, language_N = pooled_vectors(model, heldout, device=device)
    languages = int(language_N.max()) + 1
    means_LD = torch.stack([vectors_ND[language_N == i].mean(0) for i in range(languages)])
    return asdict(
        Readability(
            probe_accuracy=linear_probe(vectors_ND, language_N),
            chance=1.0 / languages,
            same_language_neighbours=same_language_neighbours(vectors_ND, language_N),
            same_language_neighbours_centred=same_language_neighbours(vectors_ND - means_LD[language_N], language_N),
            effective_rank=effective_rank(vectors_ND),
            sequences=len(vectors_ND),
        )
    )


def linear_probe(vectors_ND: Tensor, language_N: Tensor, *, seed: int = 0) -> float:
    """Returns the macro-averaged test accuracy of a fresh linear probe on half of the sequences, drawn by `seed`.

    The draw knows nothing of sentences: for text that is aligned across languages, split it by sentence and use
    `fresh_guesses`, or the probe has met the translations of what it is tested on.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(vectors_ND), generator=generator)
    train, test = order[: len(order) // 2], order[len(order) // 2 :]
    languages = int(language_N.max()) + 1
    guess_N = fresh_guesses(vectors_ND[train], language_N[train], vectors_ND[test], languages=languages)
    return macro_accuracy(guess_N, language_N[test])


def fresh_guesses(train_ND: Tensor, language_N: Tensor, test_MD: Tensor, *, languages: int) -> Tensor:
    """Returns the language (M,) that a multinomial logistic classifier, trained here from nothing, reads in `test_MD`.

    Inputs are standardised by the training half; L2 1e-3, full-batch L-BFGS to convergence.
    """
    mean, std = train_ND.mean(0), train_ND.std(0).clamp_min(1e-6)
    inputs_ND = (train_ND - mean) / std
    weight = torch.zeros(languages, inputs_ND.shape[1], requires_grad=True)
    bias = torch.zeros(languages, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(inputs_ND @ weight.T + bias, language_N) + 1e-3 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return (((test_MD - mean) / std) @ weight.T + bias).argmax(1)


def macro_accuracy(guess_N: Tensor, truth_N: Tensor) -> float:
    """Returns the accuracy averaged over the languages that occur, each counting the same."""
    hits = [(guess_N[truth_N == i] == i).float().mean() for i in sorted(set(truth_N.tolist()))]
    return float(torch.stack(hits).mean())


def same_language_neighbours(vectors_ND: Tensor, language_N: Tensor) -> float:
    """Returns the share of sequences whose nearest other sequence by cosine is of their own language."""
    unit_ND = F.normalize(vectors_ND.float(), dim=1)
    similarity_NN = unit_ND @ unit_ND.T
    similarity_NN.fill_diagonal_(-2.0)
    nearest_N = similarity_NN.argmax(1)
    return float((language_N[nearest_N] == language_N).float().mean())
