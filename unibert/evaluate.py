"""Held-out measurements during pretraining: masked-LM loss beside unigram baselines, and what vectors look like.

Legend: B sequences, T tokens, M masked positions, D width, V vocabulary, L languages, N sequences in all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from unibert import batches, shards
from unibert.config import TrainConfig
from unibert.masking import corrupt
from unibert.model import UniBert, autocast, mean_pool
from unibert.objectives import effective_rank

MASK_SEED = 20_260_000  # one set of masks for every model of a vocabulary, so that held-out losses compare


@dataclass(frozen=True, slots=True, kw_only=True)
class Heldout:
    """Masked held-out batches, the same for every model: clean and corrupted tokens (B, T), positions, targets."""

    tokens: list[Tensor]
    corrupted: list[Tensor]
    picked: list[Tensor]
    targets: list[Tensor]
    language: list[Tensor]
    languages: tuple[str, ...]


def load_heldout(folder: Path, config: TrainConfig, vocab_size: int, *, lines: int = 64) -> Heldout:
    """Returns up to `lines` held-out lines of each of the config's languages, masked by a fixed seed."""
    drawn = batches.heldout(folder, config.languages, lines=lines, max_tokens=config.model.positions, batch_tokens=8192)
    generator = torch.Generator().manual_seed(MASK_SEED)
    tokens = [torch.from_numpy(batch.tokens_BT) for batch in drawn]
    masked = [corrupt(t, rate=config.mask_rate, vocab_size=vocab_size, generator=generator) for t in tokens]
    return Heldout(
        tokens=tokens,
        corrupted=[m[0] for m in masked],
        picked=[m[1] for m in masked],
        targets=[m[2] for m in masked],
        language=[torch.from_numpy(batch.language_B) for batch in drawn],
        languages=config.languages,
    )


@torch.no_grad()
def heldout_loss(model: UniBert, heldout: Heldout, *, device: str, bf16: bool) -> dict[str, float]:
    """Returns masked-LM loss in nats by language, and "mean": the plain mean over languages that have any."""
    was_training = model.training
    model.eval()
    losses, language = [], []
    for tokens, corrupted, picked, targets, code in zip(
        heldout.tokens, heldout.corrupted, heldout.picked, heldout.targets, heldout.language, strict=True
    ):
        with autocast(device, bf16):
            logits_MV = model(corrupted.to(device), picked.to(device), code.to(device)).logits_MV
        losses.append(F.cross_entropy(logits_MV, targets.to(device), reduction="none").cpu())
        language.append(code[picked // tokens.shape[1]])
    model.train(was_training)
    return _by_language(torch.cat(losses), torch.cat(language), heldout.languages)


def unigram_baselines(heldout: Heldout, folder: Path, shares_L: np.ndarray, vocab_size: int) -> dict[str, float]:
    """Returns the loss, on the same masked tokens, of predicting by frequency alone; nats, mean over languages.

    "unigram": one distribution for all languages, mixed as in pretraining. "language_unigram": each language's own,
    what a model reaches that reads the language off its input and nothing else.
    """
    frequencies_LV = shards.unigram(folder, heldout.languages, vocab_size)
    mixed_V = shares_L @ frequencies_LV
    targets = torch.cat(heldout.targets).numpy()
    language = torch.cat(
        [c[p // t.shape[1]] for c, p, t in zip(heldout.language, heldout.picked, heldout.tokens, strict=True)]
    )
    own = torch.from_numpy(-np.log(frequencies_LV[language.numpy(), targets]))
    shared = torch.from_numpy(-np.log(mixed_V[targets]))
    return {
        "unigram": _by_language(shared, language, heldout.languages)["mean"],
        "language_unigram": _by_language(own, language, heldout.languages)["mean"],
    }


@torch.no_grad()
def pooled_vectors(model: UniBert, heldout: Heldout, *, device: str, bf16: bool = False) -> tuple[Tensor, Tensor]:
    """Returns mean-pooled vectors (N, D) of the clean held-out lines and their language indices (N,), on the CPU."""
    was_training = model.training
    model.eval()
    none = torch.zeros(0, dtype=torch.long, device=device)
    vectors = []
    for tokens in heldout.tokens:
        with autocast(device, bf16):
            hidden_BTD = model(tokens.to(device), none).hidden_BTD
        vectors.append(mean_pool(hidden_BTD, tokens.to(device)).cpu())
    model.train(was_training)
    return torch.cat(vectors), torch.cat(heldout.language)


def rank_of(model: UniBert, heldout: Heldout, *, device: str, bf16: bool) -> float:
    """Returns the effective rank of the pooled held-out vectors."""
    return effective_rank(pooled_vectors(model, heldout, device=device, bf16=bf16)[0])


def _by_language(values: Tensor, language: Tensor, names: Sequence[str]) -> dict[str, float]:
    found = {}
    for index, name in enumerate(names):
        chosen = values[language == index]
        if len(chosen):
            found[name] = float(chosen.double().mean())
    mean = math.fsum(found.values()) / len(found) if found else math.nan
    return {**found, "mean": mean}
