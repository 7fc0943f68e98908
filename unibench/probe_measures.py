"""The measures of `unibench probe`: an encoder and aligned sentences -> numbers with intervals and what chance gives.

Legend: L languages, N sentences, n those tested (half of N), D width, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unibench import resampling
from unibench.parallel import Aligned, halves
from unibench.vectors import Reader, Sentences, surfaces
from unibert import retrieval
from unibert.objectives import effective_rank
from unibert.probe import fresh_guesses

MASK_RATE = 0.15
# Of the tokens, for a language to be measured without those it shares: with a vocabulary of 16k an
# English-Russian pair keeps 0.8 of them, English-German 0.2, and at 0.2 there is no sentence left to find.
ENOUGH_KEPT = 0.5
RESAMPLES = 2000
Array = NDArray[np.float64]


def measure(
    reader: Reader, aligned: Aligned, heldout: Mapping[str, Sequence[str]], *, layer: int, seed: int
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Returns the measures with intervals, what they are in each language, and counts worth keeping.

    One half of the sentences fits the probe and gives the languages' means, the other half is measured. Intervals are
    95 % percentile bootstrap over the measured sentences, drawn alike for all languages and models, with probe, means
    and candidates as they are. Effective rank has none: a resample repeats sentences, which lowers a rank by itself.
    """
    L, N = len(aligned.languages), len(aligned.ids)
    train, test = halves(N, seed)
    n = len(test)
    tokens = [reader.tokens(texts) for texts in aligned.texts]
    flat = [ids for sentences in tokens for ids in sentences.ids]
    raw_LND = reader.vectors(flat, layer).reshape(L, N, -1)
    free, kept_L = _overlap_free(reader, tokens, layer, train, test)
    outcomes = vector_outcomes(raw_LND, train, test) | free
    by_language = {
        code: {name: _plain(float(outcome_Ln[i].mean())) for name, outcome_Ln in outcomes.items()}
        for i, code in enumerate(aligned.languages)
    }
    rng = resampling.generator("probe", aligned.sha256, str(seed))
    weights_Rn = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)
    chances = {"probe": 1 / L, "same_language": (n - 1) / (L * n - 1), "translation": (L - 1) / (L * n - 1)}
    measures = {}
    for name, outcome_Ln in outcomes.items():
        measures[name] = _summary(outcome_Ln, weights_Rn, chances.get(name.removesuffix("_centred"), 1 / n))
    rank = effective_rank(raw_LND[:, test].flatten(0, 1))
    measures["effective_rank"] = {"value": _plain(rank), "low": None, "high": None, "chance": None}
    texts = {code: [lines[i] for i in test] for code, lines in zip(aligned.languages, aligned.texts, strict=True)}
    for name, by_code in (("bits_per_byte", texts), ("bits_per_byte_heldout", heldout)):
        measures[name], found = _bits_per_byte(reader, by_code, seed, rng)
        for code in aligned.languages:
            by_language[code][name] = found.get(code)
    for code, kept in zip(aligned.languages, kept_L.tolist(), strict=True):
        by_language[code]["kept"] = _plain(kept)
    counts = {
        "tested": n,
        "width": reader.width,
        "cut": sum(sentences.cut for sentences in tokens),
        "overlap_free_languages": [
            code for code, kept in zip(aligned.languages, kept_L.tolist(), strict=True) if kept >= ENOUGH_KEPT
        ],
    }
    return measures, by_language, counts


def vector_outcomes(raw_LND: Tensor, train: NDArray[np.intp], test: NDArray[np.intp]) -> dict[str, Array]:
    """Returns each measure's outcome for every language and tested sentence (L, n), 0 to 1; nan where there is none.

    `retrieval_from` is from the first language to the row's, `retrieval_to` back, `retrieval` the mean of the two;
    `all_pairs` from the row's language to every other. `…_centred` is the same less each language's mean, taken from
    the half that is not tested.
    """
    L, n = len(raw_LND), len(test)
    tested_LnD, reference_LND = raw_LND[:, test], raw_LND[:, train]
    language_L = torch.arange(L)
    guess_X = fresh_guesses(
        reference_LND.flatten(0, 1), language_L.repeat_interleave(len(train)), tested_LnD.flatten(0, 1), languages=L
    )
    outcomes = {"probe": _floats(guess_X.reshape(L, n) == language_L[:, None])}
    for suffix, vectors_LnD in (("", tested_LnD), ("_centred", retrieval.centred(tested_LnD, reference_LND))):
        same_Ln, translation_Ln = retrieval.neighbours(vectors_LnD)
        hits_LLn = _floats(retrieval.retrieved_pairs(vectors_LnD))
        outcomes[f"same_language{suffix}"] = _floats(same_Ln)
        outcomes[f"translation{suffix}"] = _floats(translation_Ln)
        outcomes[f"all_pairs{suffix}"] = hits_LLn.sum(1) / (L - 1)
        outcomes |= _both_ways(f"retrieval{{}}{suffix}", hits_LLn[0], hits_LLn[:, 0])
    return outcomes


def _overlap_free(
    reader: Reader, tokens: Sequence[Sentences], layer: int, train: NDArray[np.intp], test: NDArray[np.intp]
) -> tuple[dict[str, Array], Array]:
    """Returns retrieval between the first language and each other without the tokens they share, and the share kept.

    A token whose surface occurs among the tested sentences of both languages is taken out of all their sentences
    before the encoder reads them, so that nothing of it reaches a vector through attention either. A sentence of which
    nothing is left finds nothing and is not found. What is left is no longer a sentence, so these numbers are a lower
    bound; between languages of one script so little is left that nothing is measured (nan; `ENOUGH_KEPT`).
    """
    L, N, n = len(tokens), len(train) + len(test), len(test)
    lengths = [len(ids) for sentences in tokens for ids in sentences.ids]
    numbers = surfaces(reader.tokenizer, np.concatenate([ids for sentences in tokens for ids in sentences.ids]))
    flat = np.split(numbers, np.cumsum(lengths)[:-1])
    surface = [flat[i * N : (i + 1) * N] for i in range(L)]
    hits = {suffix: np.full((2, L, n), np.nan) for suffix in ("", "_centred")}
    kept_L = np.full(L, np.nan)
    for other in range(1, L):
        sides = [(surface[side][i], tokens[side].special[i]) for side in (0, other) for i in range(N)]
        tested = [[sides[at + i] for i in test] for at in (0, N)]
        shared = retrieval.shared_surfaces(*([s[~special] for s, special in side] for side in tested))
        kept = [special | ~np.isin(s, shared) for s, special in sides]
        ids = [*tokens[0].ids, *tokens[other].ids]
        left_X = [int(k.sum() - special.sum()) for k, (_, special) in zip(kept, sides, strict=True)]
        kept_L[other] = sum(left_X) / max(1, sum(int((~special).sum()) for _, special in sides))
        if kept_L[other] < ENOUGH_KEPT:
            continue
        vectors_2ND = reader.vectors([i[k] for i, k in zip(ids, kept, strict=True)], layer).reshape(2, N, -1)
        usable_n = (np.array(left_X).reshape(2, N)[:, test] > 0).all(0)
        raw_2nD = vectors_2ND[:, test]
        for suffix, both_2nD in (("", raw_2nD), ("_centred", retrieval.centred(raw_2nD, vectors_2ND[:, train]))):
            for way, (queries_nD, candidates_nD) in enumerate((both_2nD, both_2nD.flip(0))):
                hits[suffix][way, other] = _floats(retrieval.retrieved(queries_nD, candidates_nD)) * usable_n
    outcomes: dict[str, Array] = {}
    for suffix, hits_2Ln in hits.items():
        outcomes |= _both_ways(f"overlap_free{{}}{suffix}", *hits_2Ln)
    return outcomes, kept_L


def _both_ways(name: str, from_Ln: Array, to_Ln: Array) -> dict[str, Array]:
    """Returns outcomes of either direction and their mean; the first language has none with itself."""
    both_2Ln = np.stack([from_Ln, to_Ln])
    both_2Ln[:, 0] = np.nan
    return {name.format("_from"): both_2Ln[0], name.format("_to"): both_2Ln[1], name.format(""): both_2Ln.mean(0)}


def _bits_per_byte(
    reader: Reader, texts: Mapping[str, Sequence[str]], seed: int, rng: np.random.Generator
) -> tuple[dict[str, Any], dict[str, float | None]]:
    """Returns bits per byte of masked pieces, the plain mean over languages, and by language; unknown without a head.

    Intervals resample lines by their place, alike in all languages: of aligned text that is the sentence.
    """
    nothing = {"value": None, "low": None, "high": None, "chance": None}
    if not reader.has_head or not texts:
        return nothing, {}
    most = max(map(len, texts.values()))
    bits_LN, bytes_LN = np.zeros((len(texts), most)), np.zeros((len(texts), most))
    for i, lines in enumerate(texts.values()):
        tokens = reader.tokens(lines)
        bits_LN[i, : len(lines)], bytes_LN[i, : len(lines)] = reader.masked_bits(tokens, rate=MASK_RATE, seed=seed)
    weights_RN = rng.multinomial(most, np.full(most, 1 / most), size=RESAMPLES).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        per_language = bits_LN.sum(1) / bytes_LN.sum(1)
        samples_R = (weights_RN @ bits_LN.T / (weights_RN @ bytes_LN.T)).mean(1)
    low, high = resampling.interval(samples_R)
    value = {"value": _plain(float(per_language.mean())), "low": _plain(low), "high": _plain(high), "chance": None}
    return value, {code: _plain(float(x)) for code, x in zip(texts, per_language, strict=True)}


def _summary(outcome_Ln: Array, weights_Rn: Array, chance: float) -> dict[str, float | None]:
    """Returns the mean over languages (those that have the outcome) and sentences, and its interval."""
    has_L = ~np.isnan(outcome_Ln[:, 0])
    if not has_L.any():
        return {"value": None, "low": None, "high": None, "chance": chance}
    per_sentence_n = outcome_Ln[has_L].mean(0)
    low, high = resampling.interval(weights_Rn @ per_sentence_n / len(per_sentence_n))
    return {"value": float(per_sentence_n.mean()), "low": low, "high": high, "chance": chance}


def _floats(hits: Tensor) -> Array:
    return hits.numpy().astype(np.float64)


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
