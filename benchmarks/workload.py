"""What the benchmarks train on and count: made-up rows, their shards, and the matrix products that they need."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROWS, WIDTH = 16, 128  # 2,048 tokens a step; a full row, [CLS] and [SEP] included


def synthetic(vocab_size: int, lines: int = 6000) -> list[list[int]]:
    """Returns sentences of token numbers: Zipf frequencies, log-normal lengths around 30."""
    rng = np.random.default_rng(0)
    weights = 1.0 / np.arange(1, vocab_size - 261 + 1)
    lengths = np.clip(rng.lognormal(3.2, 0.6, lines), 4, WIDTH - 2).astype(int)
    tokens = rng.choice(np.arange(261, vocab_size), size=int(lengths.sum()), p=weights / weights.sum())
    return [part.tolist() for part in np.split(tokens, np.cumsum(lengths)[:-1])]


def grouped(rows: list[list[int]], width: int = WIDTH) -> list[list[int]]:
    """Returns the rows joined and cut to full width, as the examples' group_texts does."""
    flat = [token for row in rows for token in row]
    return [flat[i : i + width - 2] for i in range(0, len(flat) - width + 3, width - 2)]


def write_shards(rows: list[list[int]], folder: Path, languages: int = 1) -> tuple[str, ...]:
    """Writes rows as the shards of made-up languages, every n-th row to one of them; returns the languages."""
    folder.mkdir(exist_ok=True)
    names = tuple(f"x{i}" for i in range(languages))
    for i, name in enumerate(names):
        for split, chosen in (("train", rows[i::languages]), ("heldout", rows[i : 8 * languages : languages])):
            np.concatenate([np.asarray(row, np.uint32) for row in chosen]).tofile(folder / f"{name}.{split}.bin")
            np.save(folder / f"{name}.{split}.offsets.npy", np.cumsum([0, *map(len, chosen)]))
    (folder / "manifest.json").write_text(json.dumps({"dtype": "uint32"}))
    return names


def ours(
    rows: list[list[int]],
    folder: Path,
    size: str,
    vocab_size: int,
    precision: Any,
    *,
    steps: int = 10**6,
    rate: float = 1e-4,
) -> tuple[Any, Callable[[], int]]:
    """Returns our trainer on these rows and a function that takes a step and gives its real tokens."""
    from unibert.config import PRESETS, TrainConfig
    from unibert.trainer import Trainer

    write_shards(rows, folder)
    config = TrainConfig(
        model=PRESETS[size], languages=("x0",), steps=steps, batch_tokens=ROWS * (WIDTH + 2), long_share=0.0,
        peak_lr=rate, precision=precision,
    )  # fmt: skip
    trainer = Trainer(config, folder, vocab_size, device="cpu")

    def step() -> int:
        before = trainer.tokens
        trainer.step()
        return trainer.tokens - before

    return trainer, step


def gflop_of(size: str, vocab_size: int, *, length: int) -> float:
    """Returns the GFLOP of matrix products of one token's training: encoder, attention, head at 15 % of the tokens."""
    from unibert.config import PRESETS

    shape = PRESETS[size]
    encoder = 12 * shape.layers * shape.width**2 + 2 * shape.layers * shape.width * length
    head = 0.15 * (vocab_size * shape.width + shape.width**2)
    return 6 * (encoder + head) / 1e9


def ceiling(precision: str, *, rows: int, device: str = "cpu") -> float:
    """Returns the GFLOP a second of this machine's matrix products, the best of eight; CPU time, or a GPU's."""
    import torch

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    inner, outer = (384, 1536) if device == "cpu" else (8192, 8192)
    x, w = torch.randn(rows, inner, device=device).to(dtype), torch.randn(outer, inner, device=device).to(dtype)
    found = []
    for _ in range(8):
        began = _now(device)
        for _ in range(8):
            torch.nn.functional.linear(x, w)
        found.append(8 * 2 * rows * inner * outer / (_now(device) - began) / 1e9)
    return max(found)


def _now(device: str) -> float:
    if device == "cpu":
        return time.process_time()
    import torch

    torch.cuda.synchronize()
    return time.monotonic()
