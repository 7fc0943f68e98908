"""How text lies in a folder: its files, the commit a download noted beside them, and the configs its README lists."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from unibert.errors import UserError
from unibert.reading import TextFile


def local(folder: Path, name: str) -> TextFile:
    """Returns the file of that name in a folder."""
    return TextFile(path=str(folder / name), name=name, size=(folder / name).stat().st_size)


def walk(folder: Path) -> Iterator[str]:
    """Yields the files below a folder, by name; those whose name or folder begins with a dot are caches, not text."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield (Path(place) / name).relative_to(folder).as_posix()


def commit(folder: Path, name: str) -> str:
    """Returns the commit that `hf download` noted beside a file, "" where it noted none."""
    note = folder / ".cache" / "huggingface" / "download" / f"{name}.metadata"
    first = note.read_text(encoding="utf-8").split("\n")[0] if note.is_file() else ""
    return first if re.fullmatch(r"[0-9a-f]{40}", first) else ""


def configs(readme: str | None) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Returns config -> split -> patterns of paths, from the header of a dataset's README."""
    from huggingface_hub import metadata_load

    configs: dict[str, dict[str, tuple[str, ...]]] = {}
    try:
        for config in (metadata_load(readme) or {}).get("configs", ()) if readme else ():
            entries = config.get("data_files", ())
            entries = {"train": entries} if isinstance(entries, str) else entries
            if isinstance(entries, Mapping):
                entries = [{"split": split, "path": path} for split, path in entries.items()]
            root = str(config.get("data_dir", "")).strip("./")
            for entry in entries:
                paths = [entry["path"]] if isinstance(entry["path"], str) else entry["path"]
                full = tuple(f"{root}/{path}".removeprefix("/").removeprefix("./") for path in paths)
                configs.setdefault(str(config["config_name"]), {})[str(entry["split"])] = full
    except Exception as error:  # YAML errors and any other shape than the documented one
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{readme} has no readable configs: header ({reason}); fetch it again") from None
    return configs
