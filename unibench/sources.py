"""Where data come from: the Hub, a mirror of it in a folder, or the generated sample. One path serves the first two.

Both are a list of files at one commit and a README that says which of them make up a config and a split. The files
of one split are opened by `datasets` from disk, after a download in the Hub's case. So no loading script ever runs,
a commit is exact, the Hub's own conversions (refs/convert/parquet, which have no README) load too, and a machine that
is offline reads what an earlier download left in the Hub cache. `datasets.load_dataset(NAME)` gives none of that: on
any failure it silently falls back to the latest cached copy, whatever revision was asked for, and it keys a folder's
cache by name, so an edited mirror would be served as it was before.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from unibench.cards import Source
from unibench.errors import DataError, Unavailable, UserError
from unibert.hub import hub_reachable as hub_reachable  # the data room's own word for it

# File name endings and the `datasets` builder that reads them.
BUILDERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    ".parquet": ("parquet", {}),
    ".jsonl": ("json", {}),
    ".jsonl.gz": ("json", {}),
    ".csv": ("csv", {}),
    ".tsv": ("csv", {"sep": "\t"}),
}
_Configs = Mapping[str, Mapping[str, tuple[str, ...]]]  # config -> split -> patterns of paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The Hub, the mirror in the folder `root`, laid out OWNER/NAME/CONFIG/SPLIT-*.parquet, or the generated sample."""

    kind: Literal["hub", "mirror", "sample"]
    root: Path | None = None

    def __str__(self) -> str:
        if self.kind == "sample":
            return "the generated sample"
        return "the Hub" if self.root is None else str(self.root)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The files of one split of one dataset. `folder` None: still to be fetched from the Hub at `commit`."""

    hub: str
    name: str  # for messages
    files: tuple[str, ...]  # paths inside the dataset, in order
    folder: Path | None
    commit: str  # "" for a mirror


def origin(spec: str | None, hubs: Iterable[str] = ()) -> Origin:
    """Returns the one place this process takes data from.

    "sample"; "hub"; a folder that mirrors it; "auto" or None, which is $UNIBENCH_DATA where set, else the Hub if it
    answers or its cache holds one of `hubs`, else the sample. Raises UserError for a folder that is not there.
    """
    if spec == "sample":
        return Origin(kind="sample")
    if spec == "hub":
        hub_reachable()  # a Hub that does not answer is asked once: what is in the cache is used, nothing else waits
        return Origin(kind="hub")
    named = "--data"
    if spec is None or spec == "auto":
        spec, named = os.environ.get("UNIBENCH_DATA"), "$UNIBENCH_DATA"
        if not spec:
            return Origin(kind="hub" if hub_reachable() or any(map(_cached, hubs)) else "sample")
    root = Path(spec).expanduser()
    if not root.is_dir():
        raise UserError(
            f"the data folder {spec} ({named}) does not exist; expected a folder laid out OWNER/NAME, or hub, or sample"
        )
    return Origin(kind="mirror", root=root)


def _cached(hub: str) -> bool:
    from huggingface_hub import constants

    return any(Path(constants.HF_HUB_CACHE, f"datasets--{hub.replace('/', '--')}").glob("snapshots/*"))


def locate(source: Source, language: str, origin: Origin) -> Split | str:
    """Returns the split of `source` that holds `language`, or in one line why there is none. Loads no data."""
    found = _listing(source, origin)
    if isinstance(found, str):
        return found
    files, configs, folder, commit = found
    language_names = (source.aliases[language], language) if language in source.aliases else (language,)
    names = [source.config.replace("{lang}", name) for name in language_names]
    config = next((name for name in names if name in configs), names[0])
    if configs and config not in configs:
        return f"{source.hub} has no config {config!r} in {origin}"
    patterns = configs[config].get(source.split, ()) if configs else _layout(names, source.split)
    matched = tuple(f for f in files if any(fnmatchcase(f, pattern) for pattern in patterns) and _ending(f))
    if not matched:
        return f"{source.hub} has no {source.split} split for {language} in {origin}"
    shards = re.search(r"-of-0*([1-9][0-9]*)\.", matched[0])
    if shards and int(shards.group(1)) != len(matched):
        return f"{source.hub} {config}/{source.split} in {origin} has {len(matched)} of its {shards.group(1)} files"
    where = matched[0] if len(matched) == 1 else f"{matched[0]} to {Path(matched[-1]).name}"
    name = f"{folder / where}" if folder is not None and origin.root is not None else f"{source.hub}/{where}"
    return Split(hub=source.hub, name=name, files=matched, folder=folder, commit=commit)


def fingerprint(split: Split) -> str:
    """Returns a hash that changes when the split's files do: their commit, or their sizes and times of change."""
    if split.commit or split.folder is None:
        parts = [split.hub, split.commit, *split.files]
    else:
        stats = [(file, (split.folder / file).stat()) for file in split.files]
        parts = [split.hub, *(f"{file} {stat.st_size} {stat.st_mtime_ns}" for file, stat in stats)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def open_split(split: Split) -> Any:
    """Returns the split as a `datasets.Dataset`, downloading it first where needed.

    Raises DataError where a file cannot be read, Unavailable where it cannot be fetched.
    """
    import datasets

    try:
        paths = [_fetch(split, file) for file in split.files]
    except Exception as error:  # any of three libraries' network, permission and disk errors
        raise Unavailable(f"{split.name} cannot be fetched from the Hub ({_one_line(error)})") from error
    builder, options = BUILDERS[_ending(split.files[0])]
    try:
        with _quiet():
            # The builder's cache is keyed by the files' paths and times of change, so an edited file is read again.
            return datasets.load_dataset(builder, data_files={"rows": paths}, split="rows", **options)
    except Exception as error:  # datasets and pyarrow raise a dozen kinds for a damaged file
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise DataError(
            f"{split.name} cannot be read as {builder} ({_one_line(cause)}); fetch the file again"
        ) from error


_Listing = tuple[tuple[str, ...], _Configs, Path | None, str]  # files, configs, folder, commit


def _listing(source: Source, origin: Origin) -> _Listing | str:
    if origin.root is not None:
        folder = origin.root / source.hub
        if not folder.is_dir():
            return f"{source.hub} is not in {origin}"
        return (*_read_folder(folder), folder, "")
    return _hub_listing(source.hub, source.revision)


@lru_cache(maxsize=256)
def _hub_listing(hub: str, revision: str | None) -> _Listing | str:
    """Asked once per process and revision, refusals included, so that 15 languages do not wait 15 times."""
    import huggingface_hub

    try:
        if huggingface_hub.constants.is_offline_mode():
            folder = Path(
                huggingface_hub.snapshot_download(hub, repo_type="dataset", revision=revision, local_files_only=True)
            )
            return (*_read_folder(folder), folder, folder.name)
        info = huggingface_hub.HfApi().dataset_info(hub, revision=revision, timeout=10.0)
        files = tuple(sorted(sibling.rfilename for sibling in info.siblings or ()))
        assert info.sha is not None, "dataset_info resolves the revision to a commit"
        configs: _Configs = {}
        if "README.md" in files:
            readme = huggingface_hub.hf_hub_download(hub, "README.md", repo_type="dataset", revision=info.sha)
            configs = _readme_configs(readme, 0, 0)
        return files, configs, None, info.sha
    except DataError:
        raise
    except Exception as error:  # not found, gated, no such revision, unreachable: a reason for the table
        if huggingface_hub.constants.is_offline_mode():
            return f"{hub} is not in the Hub cache, and the Hub does not answer"
        return f"{hub} cannot be reached on the Hub ({_one_line(error)})"


def _read_folder(folder: Path) -> tuple[tuple[str, ...], _Configs]:
    files = tuple(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()))
    readme = folder / "README.md"
    if not readme.is_file():
        return files, {}
    stat = readme.stat()
    return files, _readme_configs(str(readme), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _readme_configs(readme: str, _size: int, _mtime_ns: int) -> _Configs:
    """Returns the `configs:` of a README's header. Size and time are arguments so that an edited file is read again."""
    from huggingface_hub import metadata_load

    try:
        header = metadata_load(readme) or {}
        configs: dict[str, Mapping[str, tuple[str, ...]]] = {}
        for config in header.get("configs", ()):
            data_files = config.get("data_files", ())
            if isinstance(data_files, str):
                data_files = {"train": data_files}  # what `datasets` calls a split that has no name
            if isinstance(data_files, Mapping):
                data_files = [{"split": split, "path": path} for split, path in data_files.items()]
            root = str(config.get("data_dir", "")).strip("./")
            configs[str(config["config_name"])] = {
                str(entry["split"]): tuple(_pattern(root, path) for path in _as_list(entry["path"]))
                for entry in data_files
            }
        return configs
    except Exception as error:  # YAML errors and any other shape than the documented one
        raise DataError(f"{readme} has no readable configs: header ({_one_line(error)}); fetch it again") from error


def _pattern(root: str, path: str) -> str:
    path = path.removeprefix("./").lstrip("/")
    return f"{root}/{path}" if root else path


def _layout(names: Sequence[str], split: str) -> tuple[str, ...]:
    """Patterns for a dataset without a README: CONFIG/SPLIT-00000-of-00001.parquet, or the Hub's CONFIG/SPLIT/0000."""
    return tuple(f"{name}/{split}{rest}" for name in names for rest in ("-*", "/*", ".*"))


def _ending(file: str) -> str:
    return next((ending for ending in sorted(BUILDERS, key=len, reverse=True) if file.endswith(ending)), "")


def _fetch(split: Split, file: str) -> str:
    if split.folder is not None:
        return str(split.folder / file)
    from huggingface_hub import hf_hub_download

    return str(hf_hub_download(split.hub, file, repo_type="dataset", revision=split.commit))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences `datasets`: its progress bars and its log of the error that we report ourselves."""
    import datasets

    verbosity, bars = datasets.logging.get_verbosity(), datasets.are_progress_bars_disabled()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(verbosity)
        if not bars:
            datasets.enable_progress_bars()


def _as_list(path: str | Sequence[str]) -> list[str]:
    return [path] if isinstance(path, str) else list(path)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"
