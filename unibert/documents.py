"""Where documents come from: Wikipedia or another dataset on the Hub, a mirror of it, or a folder of text files.

A source is found first and read later: `resolve` lists files, language by language, at one commit; `unibert.reading`
opens them, local or on the Hub alike. No loading script is ever run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from unibert import layout
from unibert.errors import UserError
from unibert.hub import hub_reachable
from unibert.languages import LANGUAGES
from unibert.reading import COMPRESSIONS, FORMATS, HUB, TextFile, ending

WIKIPEDIA, WIKIPEDIA_CONFIG = "wikimedia/wikipedia", "20231101.{lang}"
# Language -> its edition's name, where that is another. Every other of the 107 names its edition by the same code.
EDITIONS: Mapping[str, str] = {"nb": "no"}
# What an edition holds, where its code could be taken for more or less.
NOTES: Mapping[str, str] = {
    "be": "the official spelling; be-x-old is a Wikipedia of its own",
    "nb": "the edition `no` is Bokmål; Nynorsk has `nn`",
    "nds": "as spelled in Germany; nds-nl is a Wikipedia of its own",
    "pa": "in Gurmukhi; Shahmukhi is `pnb`",
    "sh": "beside `bs`, `hr` and `sr`, which overlap with it",
    "zh": "both scripts as their authors wrote them; zh-classical, zh-min-nan and zh-yue are others",
}
_CODE = re.compile(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Files by language, in reading order. `revision` is the commit, "" where there is none or nothing tells it.

    `absent` are languages that were wanted with all others and have no file; `ignored` are files that hold no text.
    """

    kind: Literal["hub", "mirror", "folder"]
    name: str
    files: Mapping[str, tuple[TextFile, ...]]
    revision: str = ""
    config: str = ""
    split: str = ""
    column: str = "text"
    absent: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def identity(self) -> dict[str, str]:
        """Returns what decides which text this is: local files are known by their hashes, the Hub's by the commit."""
        parts = {"name": self.name, "config": self.config, "split": self.split, "column": self.column}
        return parts | {"revision": self.revision} if self.kind == "hub" else parts

    def size(self, language: str) -> int:
        """Returns the bytes of a language's files as they lie on the disk."""
        return sum(file.size for file in self.files[language])


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which part of a dataset is wanted. `languages` None is all; "sw=swh_Latn" says that sw's config is swh_Latn."""

    languages: tuple[str, ...] | None = None
    config: str | None = None
    split: str = "train"
    column: str = "text"
    revision: str | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)


def wanted(languages: str, **more: Any) -> Wanted:
    """Returns the Wanted of "all", or of codes joined by commas, each plain or as CODE=CONFIG-NAME."""
    if languages == "all":
        return Wanted(**more)
    words = [word.strip() for word in languages.split(",") if word.strip()]
    pairs = {code: name for code, _, name in (word.partition("=") for word in words)}
    if not pairs:
        raise UserError(f"--languages {languages!r} names no language; give all, or codes joined by commas")
    for code in pairs:
        if not _CODE.fullmatch(code):
            raise UserError(f"--languages: {code!r} is no language code; expected letters, such as en, ceb or zh-yue")
    return Wanted(languages=tuple(pairs), aliases={code: name for code, name in pairs.items() if name}, **more)


def resolve(spec: str, wanted: Wanted, *, mirror: Path | None = None) -> Source:
    """Returns the source that `spec` names: "wikipedia", a folder, or OWNER/NAME on the Hub.

    A Hub dataset is looked up in the folder `mirror` instead of the Hub, where one is given: MIRROR/OWNER/NAME, as `hf
    download --local-dir` leaves it, or that dataset's folder itself. Raises UserError for what is not there.
    """
    if spec != "wikipedia" and Path(spec).is_dir():
        return _folder(Path(spec), wanted)
    hub = WIKIPEDIA if spec == "wikipedia" else spec
    if not _HUB_ID.fullmatch(hub):
        raise UserError(f"no folder {spec}; --source takes wikipedia, a Hub dataset OWNER/NAME, or a folder of text")
    if mirror is not None:
        return _mirror(hub, wanted, mirror)
    return _hub(hub, wanted)


def edition(hub: str, language: str, wanted: Wanted) -> str:
    """Returns the name of the config that holds a language."""
    pattern = wanted.config or (WIKIPEDIA_CONFIG if hub == WIKIPEDIA else "{lang}")
    alias = EDITIONS.get(language, language) if hub == WIKIPEDIA else language
    return pattern.replace("{lang}", wanted.aliases.get(language, alias))


def _hub(hub: str, wanted: Wanted) -> Source:
    if not hub_reachable():
        raise UserError(
            f"the Hub does not answer, and {hub} is on it; offline, give --data MIRROR, where `hf download {hub} "
            f"--repo-type dataset --local-dir MIRROR/{hub}` left it, or --source FOLDER of LANG.txt, .jsonl or .parquet"
        )
    import huggingface_hub

    try:
        info = huggingface_hub.HfApi().dataset_info(hub, revision=wanted.revision, files_metadata=True, timeout=30.0)
        readme = None
        if any(sibling.rfilename == "README.md" for sibling in info.siblings or ()):
            readme = huggingface_hub.hf_hub_download(hub, "README.md", repo_type="dataset", revision=info.sha)
    except Exception as error:  # no such dataset or revision, gated, unreachable: any of three libraries' errors
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{hub} cannot be read on the Hub ({reason}); check name, --revision and login") from None
    files = [
        TextFile(
            path=f"{HUB}datasets/{hub}@{info.sha}/{sibling.rfilename}",
            name=sibling.rfilename,
            size=sibling.size or 0,
            sha256=sibling.lfs.sha256 if sibling.lfs else None,
        )
        for sibling in info.siblings or ()
    ]
    return _dataset(
        "hub", hub, wanted, files, layout.configs(readme), revision=str(info.sha), where=f"{hub} on the Hub"
    )


def _mirror(hub: str, wanted: Wanted, root: Path) -> Source:
    if not root.is_dir():
        raise UserError(f"the data folder {root} does not exist; expected a folder that holds {hub}")
    folder = root / hub if (root / hub).is_dir() else root
    files = [layout.local(folder, name) for name in layout.walk(folder)]
    readme = folder / "README.md"
    configs = layout.configs(str(readme)) if readme.is_file() else {}
    source = _dataset("mirror", hub, wanted, files, configs, revision="", where=str(folder))
    commits = {layout.commit(folder, file.name) for found in source.files.values() for file in found}
    commit = commits.pop() if len(commits) == 1 else ""
    if wanted.revision and wanted.revision != commit:
        raise UserError(f"{folder} is at {commit or 'no known commit'}, not at --revision {wanted.revision}; drop one")
    return replace(source, revision=commit)


def _dataset(
    kind: Literal["hub", "mirror"],
    hub: str,
    wanted: Wanted,
    files: Sequence[TextFile],
    configs: Mapping[str, Mapping[str, tuple[str, ...]]],
    *,
    revision: str,
    where: str,
) -> Source:
    """Returns the source of the files that README's configs, or else the folders' names, give each language."""
    pattern = edition(hub, "{lang}", wanted)
    if "{lang}" not in pattern and (wanted.languages is None or len(wanted.languages) != 1):
        raise UserError(f"--config-pattern {pattern!r} has no {{lang}}, so it is one language: name it by --languages")
    by_language: dict[str, tuple[TextFile, ...]] = {}
    for language in wanted.languages or LANGUAGES:
        config = edition(hub, language, wanted)
        patterns = configs.get(config, {}).get(wanted.split, ())
        if not configs:
            patterns = (f"{config}/{wanted.split}-*", f"{config}/{wanted.split}/*", f"{config}/{wanted.split}.*")
        found = sorted(
            (file for file in files if ending(file.name) and any(fnmatchcase(file.name, p) for p in patterns)),
            key=lambda file: file.name,
        )
        if found:
            by_language[language] = tuple(found)
        elif wanted.languages is not None:
            known = sorted(configs) or sorted({PurePosixPath(file.name).parts[0] for file in files})
            raise UserError(
                f"no {wanted.split} split of config {config!r} for {language!r} in {where}; {_close(config, known)}"
            )
        shards = re.search(r"-of-0*([1-9][0-9]*)[.]", found[0].name) if found else None
        if shards and int(shards[1]) != len(found):
            raise UserError(f"{where} has {len(found)} of the {shards[1]} files of {config}; fetch the others")
    if not by_language:
        raise UserError(f"no config like {pattern!r} with a {wanted.split} split in {where}; see --config-pattern")
    absent = () if wanted.languages is not None else tuple(code for code in LANGUAGES if code not in by_language)
    return Source(
        kind=kind, name=hub, files=by_language, revision=revision, config=pattern, split=wanted.split,
        column=wanted.column, absent=absent,
    )  # fmt: skip


def _folder(folder: Path, wanted: Wanted) -> Source:
    """Returns the source of LANG.EXT, LANG-NNNNN.EXT and LANG/….EXT."""
    if (folder / "build.json").is_file() and (folder / "languages").is_dir():
        raise UserError(f"{folder} is a corpus already built; give --source the folder it was built from")
    by_language: dict[str, dict[str, TextFile]] = {}
    ignored: list[str] = []
    for name in layout.walk(folder):
        known = ending(name)
        if known is None:
            ignored.append(name)
            continue
        stem = name[: -len(next(known + c for c in COMPRESSIONS if name.endswith(known + c)))]
        language = stem.partition("/")[0] if "/" in name else re.sub(r"-[0-9]{5}$", "", stem)
        if not _CODE.fullmatch(language):
            ignored.append(name)
            continue
        files = by_language.setdefault(language, {})
        if stem in files:
            raise UserError(f"{folder} has both {files[stem].name} and {name}; keep one of them")
        files[stem] = layout.local(folder, name)
    if not by_language:
        kinds = ", ".join(f"LANG{known}" for known in FORMATS)
        raise UserError(f"{folder} holds no {kinds} file, plain, .zst or .gz; name the files after their language")
    for language in wanted.languages or ():
        if language not in by_language:
            raise UserError(f"no language {language!r} in {folder}; {_close(language, sorted(by_language))}")
    chosen = wanted.languages or sorted(by_language)
    return Source(
        kind="folder",
        name=folder.resolve().name,
        files={language: tuple(by_language[language].values()) for language in chosen},
        column=wanted.column,
        ignored=tuple(ignored),
    )


def _close(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=1)
    shown = ", ".join(known[:12]) + (" …" if len(known) > 12 else "")
    return f"did you mean {close[0]!r}?" if close else f"there are {len(known)}: {shown}"
