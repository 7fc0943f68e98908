"""What an exported model says of itself, readable without torch: `unibert.json`, and the hash that identifies it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from unibert.errors import UserError

MANIFEST = "unibert.json"
SCHEMA = 1
_IDENTITY = (
    "added_tokens.json", "config.json", "merges.txt", "sentencepiece.bpe.model", "special_tokens_map.json",
    "spiece.model", "spm.model", "tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt",
)  # fmt: skip


def write_text(path: Path, text: str) -> None:
    """Writes a file atomically: a reader sees the old text or the new, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def file_sha256(path: Path) -> str:
    """Returns the hex sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Returns the installed version of each package, "not installed" where there is none."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def model_sha256(folder: Path) -> str:
    """Returns one hash of a model folder's weights, config and vocabulary files."""
    digest = hashlib.sha256()
    names = [p for p in sorted(folder.iterdir()) if p.suffix == ".safetensors" or p.name in _IDENTITY]
    if not any(p.suffix == ".safetensors" for p in names):
        raise UserError(f"{folder} holds no .safetensors weights; other formats are not opened")
    for path in names:
        with path.open("rb") as file:
            digest.update(f"{path.name}\0".encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Returns an exported model's manifest, None for a folder that `unibench train` did not write."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not readable ({error}); export the model again") from None
    if manifest.get("schema") != SCHEMA:
        raise UserError(f"{path} was written by another version of unibert; train the model again or move it away")
    return manifest


def exported(results: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (name, manifest) of every model trained under a results folder, by name."""
    for folder in sorted((results / "models").glob("[!.]*")):  # an export that was cut off begins with a dot
        manifest = read_manifest(folder)
        if manifest is not None:
            yield folder.name, manifest
