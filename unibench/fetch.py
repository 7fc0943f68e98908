"""A mirror of the Hub for machines that cannot reach it: what task cards need, each dataset at one commit.

It lies as `hf download --local-dir` leaves it, notes of the commit included, beside a manifest of what was fetched.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from rich.filesize import decimal

from unibench import download, mirror, sources
from unibench.cards import Source, TaskCard
from unibench.data import Part
from unibench.download import FULL, Remote, Report
from unibench.errors import Unavailable, UserError, one_line, without_language
from unibench.mirror import Held
from unibench.sources import Origin, Split

HUB = Origin(kind="hub")
LISTED = 200  # paths the Hub is asked about at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What cards need, dataset by dataset (`revisions` as asked for), and, a line each, what cannot be had."""

    files: tuple[Remote, ...]
    revisions: Mapping[str, str]
    missing: tuple[str, ...]

    def described(self) -> list[str]:
        """Returns a line a dataset: its commit, how many files, how large."""
        lines = []
        for hub in self.revisions:
            of = [remote for remote in self.files if remote.hub == hub]
            lines.append(f"{hub} at {of[0].commit[:12]}: {len(of)} files, {decimal(sum(r.size for r in of))}")
        return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """How many files were fetched, their bytes, and how many were there already."""

    files: int
    size: int
    kept: int


def plan(
    cards: Sequence[TaskCard],
    root: Path,
    *,
    parts: Sequence[Part] = ("train", "dev", "eval"),
    languages: Mapping[str, Sequence[str]] | None = None,
    protocol: str | None = None,
    train_languages: Sequence[str] = (),
    named: bool = False,
) -> Plan:
    """Returns the files on the Hub that `parts` of the cards are made of, and the reasons for what has none.

    `languages` are those to be scored, by card; None is all. What is trained on follows the protocol (None: each
    card's own) as in `unibench run`. A source without a revision takes the commit that another card pins, or that the
    mirror at `root` holds. Raises UserError where cards, or a card and the mirror, want two commits of one dataset, and
    with `named` for a card of which nothing can be had.
    """
    held = mirror.read(root)
    pins = _pins(cards, parts, held)
    wanted: dict[str, dict[str, None]] = {}
    commits: dict[str, str] = {}
    missing: list[str] = []
    for card in cards:
        spoken = card.languages if languages is None else languages[card.name]
        reasons: dict[tuple[Part, str], list[str]] = {}
        got = False
        for part in parts if spoken else ():
            for language in _needed(card, part, spoken, protocol, train_languages):
                for source in _sources(card, part, language):
                    split = _split(card, source, language, pins)
                    if isinstance(split, str):
                        reason = without_language(split, language)
                        reasons.setdefault((part, reason), []).append(language)
                        continue
                    got = True
                    commits[split.hub] = split.commit
                    wanted.setdefault(split.hub, {}).update(dict.fromkeys(split.files))
        if named and not got and reasons:
            raise UserError(f"nothing of task {card.name!r} can be fetched: {next(iter(reasons))[1]}")
        missing += [f"{card.name} {part} ({' '.join(of)}): {reason}" for (part, reason), of in reasons.items()]
        if any(not source.hub for source in (*card.train, *card.dev, card.eval)):
            missing.append(f"{card.name}: files of your own, which lie beside the card; copy the folder {card.folder}")
    files = [remote for hub, names in wanted.items() for remote in _remotes(hub, commits[hub], names)]
    return Plan(
        files=tuple(files),
        revisions={hub: pins.get(hub) or "" for hub in wanted},
        missing=tuple(dict.fromkeys(missing)),
    )


def fetch(found: Plan, root: Path, begin: Callable[[int], Report]) -> Fetched:
    """Returns what was done to bring every file of the plan to `root`; files that are there and whole are kept.

    `begin` is told how many bytes are to come, and gives what is told how many have. Raises UserError where the disk
    has no room, Unavailable where the Hub gives a file up or gives it damaged. What was fetched until then stays, half
    a file too, and the same call goes on from it.
    """
    try:
        with mirror.locked(root):
            return _fetch(found, root, begin)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{error.filename} is in the way of the mirror; move it or choose another --to") from error
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise UserError(f"no space left in {root}; free some: the same command goes on") from error


def _fetch(found: Plan, root: Path, begin: Callable[[int], Report]) -> Fetched:
    held = mirror.read(root)
    todo: list[Remote] = []
    for remote in found.files:
        if remote.hub in held and held[remote.hub].commit != remote.commit:  # another fetch was quicker than this plan
            raise UserError(f"{root} holds {remote.hub} at {held[remote.hub].commit} by now; fetch again")
        known = download.whole(remote, root)
        if known is None:
            todo.append(remote)
            # what is planned is listed from the start, so that a part is never taken for the whole
            _enter(held, remote, remote.oid if len(remote.oid) == 64 else "", found)
            continue
        download.note(remote, root)
        _enter(held, remote, known.sha256, found)
    mirror.write(root, held)
    size = sum(remote.size for remote in todo)
    parts = [(remote.size, download.part_of(remote, root)) for remote in todo]
    _make_room(root, size - sum(min(of, part.stat().st_size) for of, part in parts if part.exists()))
    report = begin(size)
    for remote in todo:
        _enter(held, remote, download.bring(remote, root, report).sha256, found)
        mirror.write(root, held)
    return Fetched(files=len(todo), size=size, kept=len(found.files) - len(todo))


def _needed(
    card: TaskCard, part: Part, spoken: Sequence[str], protocol: str | None, train_languages: Sequence[str]
) -> Sequence[str]:
    if part == "eval":
        return spoken
    if not card.train:
        return ()
    way = protocol or card.protocol
    trained = tuple(train_languages) or (card.train_language or "en",) if way == "zero-shot" else tuple(spoken)
    # The dev sets of languages that are only scored say what choosing by them would have scored.
    return tuple(dict.fromkeys((*trained, *spoken))) if part == "dev" and card.dev else trained


def _sources(card: TaskCard, part: Part, language: str | None = None) -> list[Source]:
    of = {"train": card.train, "dev": card.dev or card.train, "eval": (card.eval,)}[part]
    return [source for source in of if source.hub and (language is None or source.speaks(language))]


def _split(card: TaskCard, source: Source, language: str, pins: Mapping[str, str | None]) -> Split | str:
    return sources.locate(replace(source, revision=pins[source.hub]), language, HUB, card.folder)


def _pins(cards: Sequence[TaskCard], parts: Sequence[Part], held: Mapping[str, Held]) -> dict[str, str | None]:
    """Returns the one revision of every dataset: what cards say, else what is held, else None (the latest)."""
    asked: dict[str, dict[str, list[str]]] = {}
    for card in cards:
        for source in (source for part in parts for source in _sources(card, part)):
            asked.setdefault(source.hub, {}).setdefault(source.revision or "", []).append(card.name)
    pins: dict[str, str | None] = {}
    for hub, revisions in asked.items():
        have = held.get(hub)
        names = {revision: " and ".join(dict.fromkeys(of)) for revision, of in revisions.items() if revision}
        # A ref that has moved on since must not split a mirror that was begun with it.
        commits = {r: have.commit if have and have.revision == r else _resolved(hub, r) for r in names}
        if len(set(commits.values())) > 1:
            said = "; ".join(f"{of} at {commits[revision][:12]}" for revision, of in names.items())
            raise UserError(f"two commits of {hub} are asked for ({said}); fetch the tasks into folders of their own")
        for revision, commit in commits.items():
            if have and have.commit != commit:
                raise UserError(
                    f"{names[revision]} asks for {hub} at {commit[:12]}, and the mirror holds {have.commit[:12]}; "
                    "choose another --to"
                )
        pins[hub] = have.commit if have else next(iter(names), None)
    return pins


@lru_cache(maxsize=64)
def _resolved(hub: str, revision: str) -> str:
    """Returns the commit of a revision; the revision itself where the Hub has no such, which `locate` then says."""
    if len(revision) == 40 and "/" not in revision:
        return revision
    from huggingface_hub import HfApi

    try:
        return HfApi().dataset_info(hub, revision=revision, timeout=10.0).sha or revision
    except Exception:  # not found, gated, unreachable
        return revision


def _remotes(hub: str, commit: str, names: Iterable[str]) -> list[Remote]:
    """Returns what the Hub says of files of one dataset, its README among them where there is one."""
    from huggingface_hub import HfApi, RepoFile

    paths = list(dict.fromkeys(["README.md", *names]))
    found = []
    try:
        for start in range(0, len(paths), LISTED):
            page = HfApi().get_paths_info(hub, paths[start : start + LISTED], revision=commit, repo_type="dataset")
            found += [entry for entry in page if isinstance(entry, RepoFile)]
    except Exception as error:  # any of two libraries' network errors
        raise Unavailable(f"the files of {hub} cannot be listed ({one_line(error)}); try again") from error
    return [
        Remote(
            hub=hub,
            commit=commit,
            name=entry.path,
            size=entry.size,
            oid=entry.lfs.sha256 if entry.lfs is not None else entry.blob_id,
        )
        for entry in found
        if entry.path in paths
    ]


def _enter(held: dict[str, Held], remote: Remote, sha256: str, plan: Plan) -> None:
    before = held.get(remote.hub) or Held(commit=remote.commit, revision=plan.revisions[remote.hub])
    held[remote.hub] = replace(before, files={**before.files, remote.name: (remote.size, sha256)})


def _make_room(root: Path, size: int) -> None:
    free = shutil.disk_usage(root).free
    if size > free:
        raise UserError(f"{root} has {decimal(free)} of space, and {decimal(size)} are to come; free some")
