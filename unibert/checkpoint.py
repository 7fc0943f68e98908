"""Exact training state, and the export that `AutoModel.from_pretrained` opens. Both appear whole or not at all."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unibert.errors import UserError
from unibert.manifest import MANIFEST, model_sha256
from unibert.model import FINETUNING_DROPOUT, UniBert

STATE = "state.pt"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


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


def export(
    model: UniBert,
    tokenizer_folder: Path,
    out: Path,
    manifest: Mapping[str, Any],
    card: str,
    *,
    extra: Mapping[str, str],
) -> Path:
    """Writes safetensors, config, tokenizer, manifest and model card to `out` and returns it.

    The manifest gains `model_sha256`: of weights, config and vocabulary, the identity a benchmark record keeps.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=".export-"))
    try:
        # Pretraining without dropout is faster and, over few epochs, better; fine-tuning on little data needs it.
        model.mlm.config.hidden_dropout_prob = FINETUNING_DROPOUT
        model.mlm.config.attention_probs_dropout_prob = FINETUNING_DROPOUT
        model.mlm.save_pretrained(temporary, safe_serialization=True)
        for source in tokenizer_folder.iterdir():
            if source.name in TOKENIZER_FILES:
                shutil.copyfile(source, temporary / source.name)
        whole = {**manifest, "model_sha256": model_sha256(temporary)}
        (temporary / MANIFEST).write_text(json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        (temporary / "README.md").write_text(card, encoding="utf-8")
        for name, text in extra.items():
            (temporary / name).write_text(text, encoding="utf-8")
        temporary.chmod(0o755)
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out
