"""What this machine offers, asked once, before anything is trained."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Literal

import torch

from unibert.errors import UserError


def device(wanted: str) -> str:
    """Returns "cuda" or "cpu" for "auto"; a device that is named must be there."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind = wanted.split(":")[0]
    if kind not in ("cpu", "cuda"):
        raise UserError(f"--device {wanted!r} is unknown; use auto, cpu or cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UserError(f"--device {wanted} is not available here; use --device cpu")
    return wanted


def precision(wanted: str, on: str) -> Literal["fp32", "bf16"]:
    """Returns "bf16" for "auto" where the processor multiplies it natively, else "fp32": emulated bf16 is slower."""
    if wanted == "fp32":
        return "fp32"
    if wanted == "bf16":
        return "bf16"
    if wanted != "auto":
        raise UserError(f"--precision {wanted!r} is unknown; use auto, fp32 or bf16")
    if on.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text() if cpuinfo.exists() else ""
    return "bf16" if "avx512_bf16" in flags or "amx_bf16" in flags else "fp32"


def set_threads(wanted: int | None) -> int:
    """Sets and returns the number of compute threads; None takes every core this process may use."""
    count = wanted if wanted is not None else len(os.sched_getaffinity(0))
    if count < 1:
        raise UserError(f"--threads {count}: use 1 or more")
    torch.set_num_threads(count)
    return count


def release_memory() -> None:
    """Hands freed heap back to the system, where the C library can (glibc).

    Every batch has sizes of its own, so the heap fragments: after 600 steps of the smallest model the process stood at
    3.7 GB, where a shorter run of it used 0.7.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
