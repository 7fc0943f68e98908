"""Are translations near each other? Neighbours and retrieval by cosine, over the vectors of aligned sentences.

Row i says the same in every language, so who a vector's nearest neighbour is tells what the encoder laid the space out
by: the language, or what is said. Every function returns outcomes by sentence and none averages them, so that a
bootstrap over sentences costs a product of matrices.

Legend: L languages, N aligned sentences, D width.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor


def centred(vectors_LND: Tensor, reference_LND: Tensor) -> Tensor:
    """Returns the vectors less their language's mean over `reference_LND`, which should hold other sentences.

    Means taken from the very sentences that are then compared would leak: they'd make each language's vectors sum to
    zero, which pushes neighbours of the same language apart.
    """
    return vectors_LND - reference_LND.mean(1, keepdim=True)


def neighbours(vectors_LND: Tensor) -> tuple[Tensor, Tensor]:
    """Returns two (L, N) truth values of each vector's nearest other vector by cosine, among all of all languages.

    The first: it is of the same language. The second: it is a translation. Of equals the first in order is nearest.
    Chance, for vectors that say nothing: (N - 1) / (LN - 1) and (L - 1) / (LN - 1).
    """
    L, N, _ = vectors_LND.shape
    unit_XD = F.normalize(vectors_LND.float(), dim=2).flatten(0, 1)
    same_LN, translation_LN = torch.zeros(L, N, dtype=torch.bool), torch.zeros(L, N, dtype=torch.bool)
    along_N = torch.arange(N, device=unit_XD.device)
    for language in range(L):  # one language against all at a time: LN x LN would not fit for many of both
        own_N = language * N + along_N
        similarity_NX = unit_XD[own_N] @ unit_XD.T
        similarity_NX[along_N, own_N] = -2.0
        nearest_N = similarity_NX.argmax(1)
        same_N = nearest_N // N == language
        same_LN[language] = same_N
        translation_LN[language] = ~same_N & (nearest_N % N == along_N)
    return same_LN, translation_LN


def retrieved(queries_ND: Tensor, candidates_ND: Tensor) -> Tensor:
    """Returns for each query (N,) whether its nearest candidate by cosine is the one of its own row (P@1).

    Of equals the first in order is nearest, so vectors that are all alike score 1 / N, which is chance.
    """
    similarity_NN = F.normalize(queries_ND.float(), dim=1) @ F.normalize(candidates_ND.float(), dim=1).T
    return similarity_NN.argmax(1) == torch.arange(len(queries_ND), device=similarity_NN.device)


def retrieved_pairs(vectors_LND: Tensor) -> Tensor:
    """Returns (L, L, N): whether sentence n of language i finds its translation among the sentences of language j.

    On the diagonal, where a sentence would find itself, False.
    """
    L, N, _ = vectors_LND.shape
    unit_LND = F.normalize(vectors_LND.float(), dim=2)
    hits_LLN = torch.zeros(L, L, N, dtype=torch.bool)
    along_N = torch.arange(N, device=unit_LND.device)
    for i in range(L):
        nearest_LN = (unit_LND[i] @ unit_LND.transpose(1, 2)).argmax(2)
        hits_LLN[i] = nearest_LN == along_N
        hits_LLN[i, i] = False
    return hits_LLN


def shared_surfaces(first: Iterable[NDArray[np.int64]], second: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Returns the surfaces, ascending, that occur in any sentence of both sides; a sentence is its tokens' surfaces.

    With these taken out of both sides no query has a token in common with any candidate, right or wrong. The rule does
    not look at which sentences belong together: dropping only what a sentence shares with its own translation would
    mark the translation by what it lacks. It is strict, more so the closer two languages are and the more sentences
    there are; how much it leaves has to be told beside what it yields.
    """
    ours, theirs = (np.unique(np.concatenate([np.zeros(0, np.int64), *side])) for side in (first, second))
    return np.intersect1d(ours, theirs, assume_unique=True).astype(np.int64)
