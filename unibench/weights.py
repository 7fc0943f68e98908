"""How large the encoder in a folder is, read from its configuration and the headers of its weights; loads neither.

What is counted is what is used here: the encoder without heads and pooler. Its embeddings are all that stands before
the first layer: token, position and type vectors and their norm.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# where transformers' encoders keep their token vectors
TOKEN_VECTORS = re.compile(r"(.*?)(embeddings\.(?:word_embeddings|tok_embeddings)|embed_tokens)\.weight")
CONFIG_NAMES: Mapping[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "n_layers"),
    "width": ("hidden_size", "dim"),
    "vocabulary": ("vocab_size",),
}


def shape(folder: Path) -> dict[str, int]:
    """Returns layers, width, vocabulary, parameters and parameters_without_embeddings; without what cannot be told."""
    return {**_of_config(folder), **_counted(folder)}


def _of_config(folder: Path) -> dict[str, int]:
    try:
        config: Mapping[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            return {}
    except (OSError, ValueError):
        return {}
    found = {key: next((config[name] for name in names if name in config), None) for key, names in CONFIG_NAMES.items()}
    return {key: value for key, value in found.items() if isinstance(value, int)}


def _counted(folder: Path) -> dict[str, int]:
    from safetensors import SafetensorError

    try:
        sizes = dict(_tensors(folder))
    except (OSError, SafetensorError):
        return {}
    match = next((found for name in sizes if (found := TOKEN_VECTORS.fullmatch(name))), None)
    if match is None:
        return {}
    # heads stand beside the encoder: with token vectors in "bert.embeddings", "cls.predictions" is not the encoder's
    prefix, embeddings = match[1], match[1] + match[2].partition(".")[0] + "."
    own = {name: size for name, size in sizes.items() if name.startswith(prefix)}
    total = sum(size for name, size in own.items() if not name.startswith(f"{prefix}pooler."))
    before = sum(size for name, size in own.items() if name.startswith(embeddings))
    return {"parameters": total, "parameters_without_embeddings": total - before}


def _tensors(folder: Path) -> Iterator[tuple[str, int]]:
    """Yields name and size of every tensor of weights; integers (numbers of positions) are no parameters."""
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118  (no mapping)
                tensor = file.get_slice(name)
                if tensor.get_dtype() in ("F64", "F32", "F16", "BF16"):
                    count = 1
                    for length in tensor.get_shape():
                        count *= length
                    yield name, count
