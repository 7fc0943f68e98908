"""A source -> a corpus on disk, language by language, in as many processes as there are cores; resumable.

What a build makes depends on the source and the recipe alone: not on the number of workers, nor on how often it was
interrupted. A finished language is kept by its record (`unibert.built`); everything else is begun again.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from unibert import built, workers
from unibert.contamination import Contamination, Index
from unibert.documents import Source
from unibert.errors import UserError
from unibert.manifest import file_sha256, write_text
from unibert.passes import TEMPORARY, Recipe, build_language, full_disk

Notify = Callable[[dict[str, Any]], None]
NO_TORCH = {"USE_TORCH": "0"}  # `datasets` imports it where it is installed: 200 MB in each worker, to read text


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """Texts that must not be trained on. `used` and `unavailable` say where they come from, for the manifest."""

    texts: Sequence[str]
    settings: Contamination = field(default_factory=Contamination)
    used: tuple[str, ...] = ()
    unavailable: tuple[str, ...] = ()


def build(
    source: Source,
    recipe: Recipe,
    out: Path,
    *,
    withheld: Callable[[], Withheld] | None,
    count: int,
    notify: Notify,
) -> dict[str, Any]:
    """Returns the manifest of the corpus in `out`, which holds every language of `source`, and those built before.

    `withheld` is asked only when there is something to build. `count` processes work; `notify` hears of the start, of
    progress, and of each language. Raises UserError for another request than the folder was begun with, input that is
    refused, a full disk, or a build under way in `out`.
    """
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out), full_disk(out):
        asked: dict[str, Any] = {"schema": built.SCHEMA, "source": source.identity(), "recipe": recipe.to_plain()}
        asked["decontaminated"] = withheld is not None
        begun = _begun(out)
        _refuse_another(out, begun, asked)
        _sweep(out)  # what a killed build left
        left = unfinished(source, out)
        asked["tests"], index = begun.get("tests"), None
        if withheld is not None and left:
            texts = withheld()
            index = Index.build(list(texts.texts), texts.settings)
            known = {"tests": {"sha256": begun["tests"]["sha256"]}} if begun.get("tests") else {}
            _refuse_another(out, known, {"tests": {"sha256": index.sha256}})
            asked["tests"] = {
                "sha256": index.sha256, "texts": len(texts.texts), "used": list(texts.used),
                "unavailable": list(texts.unavailable),
            }  # fmt: skip
        write_text(out / built.ASKED, _text(asked))
        try:
            saved = None
            if index is not None:
                saved = Path(tempfile.mkdtemp(dir=out, prefix=TEMPORARY)) / "tests"
                index.save(saved)
            work = partial(build_language, source=source, recipe=recipe, index=saved, out=out)
            _run(source, recipe, left, work, count, notify)
        finally:
            _sweep(out)
        manifest = _assemble(out, asked, source)
        write_text(out / built.MANIFEST, _text(manifest))
    return manifest


def begun_at(out: Path, name: str) -> str | None:
    """Returns the commit of the Hub dataset that `out` was begun with, so that a moving branch does not end a build."""
    path = out / built.ASKED
    source = built.load(path)["source"] if path.is_file() else {}
    return source.get("revision") if source.get("name") == name else None


def unfinished(source: Source, out: Path) -> list[str]:
    """Returns the languages still to be built, the largest first, so that it does not run alone at the end.

    Raises UserError for a finished language whose source files have changed since.
    """
    left = []
    for language in source.files:
        record = out / built.LANGUAGES / f"{language}.json"
        if record.is_file():
            _refuse_changed(source, language, built.load(record), record)
        else:
            left.append(language)
    return sorted(left, key=lambda language: (-source.size(language), language))


def _run(source: Source, recipe: Recipe, left: Sequence[str], work: workers.Work, count: int, notify: Notify) -> None:
    # Under a limit every language is about as much work, whatever its files weigh.
    weights = {language: source.size(language) if recipe.limit is None else 1 for language in left}
    notify({"event": "start", "languages": len(left), "weight": sum(weights.values())})

    def report(event: dict[str, Any]) -> None:
        notify({"event": "progress", **event, "done": event["done"] * weights[event["language"]]})

    failures: list[UserError] = []
    for language, result in workers.run(left, work, workers=count, report=report, environment=NO_TORCH):
        if isinstance(result, UserError):
            failures.append(result)
            notify({"event": "failed", "language": language, "reason": str(result)})
        else:
            notify({"event": "language", "language": language, "done": weights[language], **built.summary(result)})
    if failures:
        more = f" ({len(failures) - 1} more failed)" if len(failures) > 1 else ""
        raise UserError(f"{failures[0]}{more}")


def _begun(out: Path) -> dict[str, Any]:
    """Returns what the folder was begun with, {} where nothing was."""
    path = out / built.ASKED
    if path.is_file():
        return built.load(path)
    strange = sorted(found.name for found in out.iterdir() if not found.name.startswith("."))
    if strange:
        raise UserError(f"{out} holds {strange[0]} and no corpus begun here; give another --out")
    return {}


def _refuse_another(out: Path, begun: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    before, now = _flat({key: begun[key] for key in asked if key in begun}), _flat(asked)
    for key in sorted(before.keys() | now.keys()) if begun else ():
        if before.get(key) != now.get(key):
            raise UserError(
                f"the corpus in {out} was begun with {key} {_show(before.get(key))}, and now it is "
                f"{_show(now.get(key))}; ask for the same, or give another --out"
            )


def _refuse_changed(source: Source, language: str, record: Mapping[str, Any], path: Path) -> None:
    before = {entry["file"]: entry for entry in record["files"]}
    changed = sorted(before.keys() ^ {file.name for file in source.files[language]})
    for file in source.files[language]:
        known = before.get(file.name)
        if known is None or source.kind == "hub":
            continue
        same = file.size == known["bytes"]
        if same and Path(file.path).stat().st_mtime_ns != known.get("modified_ns"):
            same = file_sha256(Path(file.path)) == known["sha256"]
        if not same:
            changed.append(file.name)
    if changed:
        raise UserError(
            f"{changed[0]} has changed since {language!r} was built from it; delete {path} to build the language again"
        )


def _assemble(out: Path, asked: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """Returns the manifest: what was asked for, and the record of every finished language."""
    records = {path.stem: built.load(path) for path in sorted((out / built.LANGUAGES).glob("*.json"))}
    packages: dict[str, set[str]] = {}
    for record in records.values():
        for name, found in record.pop("packages").items():
            packages.setdefault(name, set()).add(found)
        for entry in record["files"]:
            entry.pop("modified_ns", None)
    return {
        **asked,
        "absent": [language for language in source.absent if language not in records],
        "ignored": list(source.ignored),
        "packages": {name: ", ".join(sorted(found)) for name, found in sorted(packages.items())},
        "languages": records,
    }


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Holds the folder for this build; the lock goes with the process, however it ends."""
    with (out / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another build is at work in {out}; wait for it, or give another --out") from None
        yield


def _sweep(out: Path) -> None:
    for rest in out.glob(f"{TEMPORARY}*"):
        shutil.rmtree(rest, ignore_errors=True)


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _show(value: Any) -> str:
    return "not there" if value is None else json.dumps(value, ensure_ascii=False)


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
