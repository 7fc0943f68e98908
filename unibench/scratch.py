"""The untrained encoder that is the floor: one of a preset's shape, drawn from a fixed seed."""

from __future__ import annotations

from typing import Any

from unibert.config import PRESETS


def untrained(size: str, vocab_size: int) -> Any:
    """Returns the encoder module, the same on every call."""
    import torch

    from unibert.model import FINETUNING_DROPOUT, new

    generator = torch.Generator().manual_seed(0)
    return new(PRESETS[size], vocab_size=vocab_size, dropout=FINETUNING_DROPOUT, generator=generator).mlm.bert


def shape_of(size: str, vocabulary: int) -> dict[str, int]:
    """Returns what `weights.shape` would say of `untrained`: a BERT of one token type, feed-forward of four widths."""
    preset = PRESETS[size]
    width = preset.width
    layers = preset.layers * (12 * width**2 + 13 * width)  # matrices; biases and the scales of two norms
    return {
        "layers": preset.layers,
        "width": width,
        "vocabulary": vocabulary,
        "parameters": (vocabulary + preset.positions + 3) * width + layers,  # 3: the token type, a norm's two vectors
        "parameters_without_embeddings": layers,
    }
