"""Where data come from: the Hub, a mirror of it in a folder, files of one's own, or the generated sample.

One path serves the first two. Both are a list of files at one commit and a README that says which of them make up a
config and a split. The files of one split are opened from disk (see opening.py), after a download in the Hub's case. So
no loading script ever runs, a commit is exact, the Hub's own conversions (refs/convert/parquet, which have no README)
load too, and a machine that is offline reads what an earlier download left in the Hub cache.
`datasets.load_dataset(NAME)` gives none of that: on any failure it silently falls back to the latest cached copy,
whatever revision was asked for, and it keys a folder's cache by name, so an edited mirror would be served as it was
before.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from unibench import files, mirror
from unibench.cards import Source
from unibench.errors import DataError, UserError, one_line
from unibench.layout import Configs, commit, pattern_of, patterns_without_readme, read_folder, readme_configs
from unibert.hub import hub_reachable as hub_reachable  # the data room's own word for it

# File name endings and the `datasets` builder that reads them.
BUILDERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    ".parquet": ("parquet", {}),
    ".jsonl": ("json", {}),
    ".jsonl.gz": ("json", {}),
    # Text is text: "NA" is no gap, and in a TSV file a quote is a character.
    ".csv": ("csv", {"keep_default_na": False}),
    ".tsv": ("csv", {"sep": "\t", "quoting": 3, "keep_default_na": False}),
}


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

    hub: str  # "" for files of one's own
    name: str  # for messages
    files: tuple[str, ...]  # paths inside the dataset, in order
    folder: Path | None
    commit: str  # "" for a mirror
    noted: str = ""  # the commit that a download noted beside the first file, where there is one
    reader: str = ""  # "" is what `datasets` builds from files with such an ending
    format: Mapping[str, Any] = field(default_factory=dict)


def origin(spec: str | None, hubs: Iterable[str] = ()) -> Origin:
    """Returns the one place this process takes data from.

    "sample"; "hub"; a folder that mirrors it; "auto" or None, which is $UNIBENCH_DATA where set, else the Hub if it
    answers or its cache holds one of `hubs`, else the sample. Among `hubs`, "" stands for files of one's own, beside
    which the sample has no place. Raises UserError for a folder that is not there.
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
            return Origin(kind="hub" if hub_reachable() or any(not hub or _cached(hub) for hub in hubs) else "sample")
    root = Path(spec).expanduser()
    if not root.is_dir():
        raise UserError(
            f"the data folder {spec} ({named}) does not exist; expected a folder laid out OWNER/NAME, or hub, or sample"
        )
    return Origin(kind="mirror", root=root)


def _cached(hub: str) -> bool:
    from huggingface_hub import constants

    return any(Path(constants.HF_HUB_CACHE, f"datasets--{hub.replace('/', '--')}").glob("snapshots/*"))


def locate(source: Source, language: str, origin: Origin, folder: Path | None = None) -> Split | str:
    """Returns the split of `source` that holds `language`, or in one line why there is none. Loads no data.

    `folder` is the card's: files of one's own lie below it, wherever the data of the Hub come from.
    """
    if not source.hub:
        return _locate_own(source, language, folder or Path())
    found = _listing(source, origin)
    if isinstance(found, str):
        return found
    listed, configs, root, at = found
    spoken = source.names_of(language)
    if source.files:
        where = source.files
        choices: list[Sequence[str]] = [[source.files.replace("{lang}", name)] for name in spoken]
    else:
        names = [source.config.replace("{lang}", name) for name in spoken]
        config = next((name for name in names if name in configs), names[0])
        if configs and config not in configs:
            return f"{source.hub} has no config {config!r} in {origin}"
        splits = list(dict.fromkeys(source.split.replace("{lang}", name) for name in spoken))
        known = configs.get(config, {})
        choices = [
            known.get(split, ()) if configs else patterns_without_readme(name, split)
            for split in splits
            for name in ([config] if configs else names)
        ]
        where = f"{config}/{splits[0]}"
    matched = next((some for patterns in choices if (some := _matching(listed, patterns))), ())
    if matched and not source.reader:
        readable = tuple(file for file in matched if ending_of(file))
        if not readable:
            return f"{source.hub} {where} is {matched[0]}, which needs a reader: name one in the card"
        matched = readable
    if not matched:
        return f"{source.hub} has no {source.split} split for {language} in {origin}"
    shards = re.search(r"-of-0*([1-9][0-9]*)\.", matched[0])
    if shards and int(shards.group(1)) != len(matched):
        return f"{source.hub} {where} in {origin} has {len(matched)} of its {shards.group(1)} files"
    numbers = [int(n[1]) for file in matched if (n := re.search(r"(?:^|/)([0-9]{4,})[.]parquet$", file))]
    if len(numbers) == len(matched) and sorted(numbers) != list(range(len(numbers))):
        return f"{source.hub} {where} in {origin} lacks some of its numbered files: there are {_together(matched)}"
    planned = _planned(origin.root, source.hub) if origin.root is not None else ()
    absent = [file for patterns in choices for file in _matching(planned, patterns) if file not in listed]
    if absent:
        return f"{source.hub} {where} in {origin} lacks {absent[0]}; fetch it again"
    shown = _together(matched)
    name = f"{root / shown}" if root is not None and origin.root is not None else f"{source.hub}/{shown}"
    noted = commit(root, matched[0]) if root is not None and not at else at
    return Split(
        hub=source.hub, name=name, files=matched, folder=root, commit=at, noted=noted,
        reader=source.reader, format=source.format,
    )  # fmt: skip


def _locate_own(source: Source, language: str, folder: Path) -> Split | str:
    found = files.below(folder, source.files, source.names_of(language))
    if not found:
        wanted = folder / source.files.replace("{lang}", source.names_of(language)[0])
        near = [
            path.name
            for path in (sorted(wanted.parent.iterdir()) if wanted.parent.is_dir() else ())
            if path.name.casefold().startswith(wanted.name.casefold()) or path.stem.casefold() == wanted.name.casefold()
        ]
        return f"there is no file {wanted}" + (f"; there is {', '.join(near[:3])}" if near else "")
    name = f"{folder / _together(found)}"
    return Split(hub="", name=name, files=found, folder=folder, commit="", reader=source.reader, format=source.format)


def _matching(listed: Iterable[str], patterns: Sequence[str]) -> tuple[str, ...]:
    matchers = [pattern_of(pattern) for pattern in patterns]
    return tuple(file for file in listed if file in patterns or any(m.fullmatch(file) for m in matchers))


def _together(found: Sequence[str]) -> str:
    return found[0] if len(found) == 1 else f"{found[0]} to {Path(found[-1]).name}"


def fingerprint(split: Split) -> str:
    """Returns a hash that changes when the split's files do: their commit, or their sizes and times of change."""
    if split.commit or split.folder is None:
        parts = [split.hub, split.commit, *split.files]
    else:
        stats = [(file, (split.folder / file).stat()) for file in split.files]
        parts = [split.hub, *(f"{file} {stat.st_size} {stat.st_mtime_ns}" for file, stat in stats)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _planned(root: Path, hub: str) -> tuple[str, ...]:
    """Returns the files of a dataset that a mirror's manifest lists, if it has one, whether they are there or not."""
    manifest = root / mirror.MANIFEST
    if not manifest.is_file():
        return ()
    stat = manifest.stat()
    held = _held(root, stat.st_size, stat.st_mtime_ns).get(hub)
    return tuple(held.files) if held is not None else ()


@lru_cache(maxsize=8)
def _held(root: Path, _size: int, _mtime_ns: int) -> Mapping[str, mirror.Held]:
    return mirror.read(root)


_Listing = tuple[tuple[str, ...], Configs, Path | None, str]  # files, configs, folder, commit


def _listing(source: Source, origin: Origin) -> _Listing | str:
    if origin.root is not None:
        folder = origin.root / source.hub
        if not folder.is_dir():
            return f"{source.hub} is not in {origin}"
        return (*read_folder(folder), folder, "")
    return _hub_listing(source.hub, source.revision)


@lru_cache(maxsize=256)
def _hub_listing(hub: str, revision: str | None) -> _Listing | str:
    """Asked once per process and revision, refusals included, so that 15 languages do not wait 15 times."""
    import huggingface_hub
    from huggingface_hub import constants

    try:
        if constants.is_offline_mode():
            folder = Path(
                huggingface_hub.snapshot_download(hub, repo_type="dataset", revision=revision, local_files_only=True)
            )
            return (*read_folder(folder), folder, folder.name)
        info = huggingface_hub.HfApi().dataset_info(hub, revision=revision, timeout=10.0)
        files = tuple(sorted(sibling.rfilename for sibling in info.siblings or ()))
        assert info.sha is not None, "dataset_info resolves the revision to a commit"
        configs: Configs = {}
        if "README.md" in files:
            readme = huggingface_hub.hf_hub_download(hub, "README.md", repo_type="dataset", revision=info.sha)
            configs = readme_configs(readme, 0, 0)
        return files, configs, None, info.sha
    except DataError:
        raise
    except Exception as error:  # not found, gated, no such revision, unreachable: a reason for the table
        if constants.is_offline_mode():
            return f"{hub} is not in the Hub cache, and the Hub does not answer"
        return f"{hub} cannot be reached on the Hub ({one_line(error)})"


def ending_of(file: str) -> str:
    """Returns the ending of a file that `datasets` has a builder for, "" for any other."""
    return next((ending for ending in sorted(BUILDERS, key=len, reverse=True) if file.endswith(ending)), "")
