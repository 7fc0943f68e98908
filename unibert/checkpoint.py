"""Exact training state, which appears whole or not at all."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unibert.errors import UserError

STATE = "state.pt"


def save_state(work: Path, state: Mapping[str, Any]) -> None:
    """Stores the training state; the previous one stands until the new one is complete on disk."""
    temporary = work / f".{STATE}.part"
    with temporary.open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, work / STATE)


def load_state(work: Path) -> dict[str, Any] | None:
    """Returns the stored state, None when there is none yet; a damaged file is a UserError."""
    path = work / STATE
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as error:
        raise UserError(f"{path} is not a readable training state ({error}); delete {work} to start again") from None
    return state
