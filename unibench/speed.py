"""How many pairs of sentences an encoder reads a second on this machine: measured once, kept in RESULTS/speeds.json.

The workload is real text rather than a fixed number of tokens, so a vocabulary that cuts it into more pieces is paid
for. What is timed is the encoder with the head that NLI gives it, tokens to logits, in evaluation; not the tokenizer.

Shapes: B rows of a batch, N pairs.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np

from unibench import atomic, models
from unibench.errors import one_line
from unibench.models import Encoder
from unibench.sample import pairs
from unibench.timings import FILE, identity, read

VERSION = 1  # of the way of measuring
LANGUAGES = ("ar", "de", "en", "hi", "ru", "sw", "th", "zh")
PAIRS = 64
BATCH_ROWS = 32
MAX_TOKENS = 128
PASSES = 3
PASS_S = 1.0  # a pass that would take longer is made over fewer pairs, evenly over their lengths
WARM_UP_ROWS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where it is measured. `device` is "cpu" or "cuda", `processor` its maker's name for it."""

    device: str
    processor: str
    precision: Literal["fp32", "bf16"]
    threads: int

    def __str__(self) -> str:
        threads = f", {self.threads} thread{'s' if self.threads > 1 else ''}" if self.device == "cpu" else ""
        return f"{self.processor} ({self.device}{threads}, {self.precision})"


def this_machine(device: str = "auto", threads: int | None = None) -> Machine:
    """Returns what this process measures on, and sets its number of compute threads. Raises UserError, see machine."""
    import torch

    from unibert import machine

    on = machine.device(device)
    processor = torch.cuda.get_device_name(on) if on.startswith("cuda") else _processor()
    return Machine(
        device=on, processor=processor, precision=machine.precision("auto", on), threads=machine.set_threads(threads)
    )


def describe() -> str:
    """Returns the workload in words."""
    texts = workload()
    letters = sum(len(text) for pair in texts for text in pair)
    return (
        f"{len(texts)} pairs of sentences of the generated sample, {PAIRS // len(LANGUAGES)} in each of "
        f"{' '.join(LANGUAGES)}, {letters / len(texts):.0f} characters a pair, at most {MAX_TOKENS} tokens (fewer "
        f"where an encoder has fewer positions), in batches of {BATCH_ROWS} by length; "
        f"the median of {PASSES} passes after one to warm up"
    )


@cache
def workload() -> tuple[tuple[str, str], ...]:
    """Returns the pairs, the same everywhere."""
    count = PAIRS // len(LANGUAGES)
    rows = [row for code in LANGUAGES for row in pairs.nli("xnli", "eval", code, pairs.NLI_LABELS)[:count]]
    return tuple((str(row.inputs["premise"]), str(row.inputs["hypothesis"])) for row in rows)


def speeds(
    encoders: Iterable[Encoder], results: Path, on: Machine, notify: Callable[[str], None]
) -> tuple[dict[str, float], dict[str, str]]:
    """Returns pairs a second by name for the encoders that are here (`folder`), and why the others of them have none.

    What was measured on such a machine before is read; `notify` is told of each that has to be measured.
    """
    path = results / FILE
    found: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for encoder in encoders:
        if encoder.folder is None:
            continue
        key = _key(encoder, on)
        alike = [row for row in read(path) if all(row.get(name) == value for name, value in key.items())]
        known = alike[0] if alike else None
        if known is None:
            notify(f"measuring {encoder.name}")
            try:
                known = {**key, "pairs_per_s": measure(encoder, on)}
            except Exception as error:  # one that cannot be read or does not fit must not stop the others
                reasons[encoder.name] = one_line(error)
                continue
        if encoder.name not in [row.get("name") for row in alike]:  # a report has the name alone to find it by
            _add(path, {**known, "name": encoder.name})
        found[encoder.name] = float(known["pairs_per_s"])
    return found, reasons


def measure(encoder: Encoder, on: Machine) -> float:
    """Returns the pairs a second that one encoder reads. Raises Unavailable where it cannot be opened."""
    import torch

    from unibench.adapters.pairs import PairHead, encode_pairs
    from unibench.adapters.rows import collate
    from unibench.loop import Model, max_row_tokens

    tokenizer, module = models.load(encoder)
    head = PairHead(module.config.hidden_size, len(pairs.NLI_LABELS), torch.Generator().manual_seed(0))
    model = Model(module, head).float().to(on.device).eval()
    rows = encode_pairs(tokenizer, workload(), None, max_tokens=max_row_tokens(module, MAX_TOKENS))
    by_length_N = np.argsort(-rows.lengths, kind="stable")

    @torch.inference_mode()
    def seconds(chosen_N: np.ndarray[Any, np.dtype[np.int64]]) -> float:
        batches = [collate(rows, chosen_N[i : i + BATCH_ROWS], on.device) for i in range(0, len(chosen_N), BATCH_ROWS)]
        began = time.perf_counter()
        with torch.autocast(torch.device(on.device).type, dtype=torch.bfloat16, enabled=on.precision == "bf16"):
            for batch in batches:
                model(batch)
        if on.device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter() - began

    few = by_length_N[:: len(by_length_N) // WARM_UP_ROWS]
    seconds(few)
    expected = seconds(few) * len(by_length_N) / len(few)
    chosen_N = by_length_N[:: min(max(1, round(expected / PASS_S)), len(by_length_N) // WARM_UP_ROWS)]
    if len(chosen_N) > len(few):
        seconds(chosen_N)
    return len(chosen_N) / median(seconds(chosen_N) for _ in range(PASSES))


def _add(path: Path, row: Mapping[str, Any]) -> None:
    rows = [*read(path), {**row, "pairs_per_s": float(f"{row['pairs_per_s']:.4g}")}]
    atomic.write(path, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


def _key(encoder: Encoder, on: Machine) -> dict[str, Any]:
    texts = "\n".join(text for pair in workload() for text in pair)
    asked = hashlib.sha256(f"{VERSION} {PAIRS} {BATCH_ROWS} {MAX_TOKENS} {texts}".encode()).hexdigest()
    return {"model": _identity(encoder), "workload": asked[:16], **asdict(on)}


def _identity(encoder: Encoder) -> str:
    """Returns a hash of what speed depends on, configuration and vocabulary; of gigabytes of weights none is needed."""
    assert encoder.folder is not None
    if encoder.kind == "scratch":
        return models.sha256(encoder)
    return identity(encoder.folder)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
