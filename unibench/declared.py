"""Family <- results/families/NAME.toml: which tests are corrected together, written down before anybody looks.

A test outside the family may be shown, but gets no adjusted p. What a view shows or hides changes nothing here.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, Literal

from unibench.errors import CardError, UnknownName, UserError, one_line
from unibench.keylines import with_line
from unibench.stats.gates import CORRECTIONS, Hypothesis
from unibench.strict import StrictTable

Names = tuple[str, ...] | Literal["all"]
CLAIMS = ("checkpoint", "recipe")
SCOPES = ("overall", "tasks", "languages")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # stands in signatures, which have separators of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The tests that are corrected together, and what their p-values are to claim.

    `baseline` "" leaves it to the report. `scope` is the deepest level tested: "overall" tests a model's mean over
    tasks, "tasks" the mean of each task as well, "languages" each cell as well. `tasks` and `languages` say too which
    cells those means run over. `claim`: "checkpoint" (these trained models, new examples) or "recipe" (this way of
    training). `margin`, in points, is how far apart two models may be and still count as equal; None tests no
    equivalence. `written` is ISO 8601, a date or a time.
    """

    name: str
    written: str
    question: str
    baseline: str = ""
    models: Names = "all"
    tasks: Names = "all"
    languages: Names = "all"
    correction: str = "gatekeeping"
    alpha: float = 0.05
    claim: str = "checkpoint"
    margin: float | None = None
    scope: str = "languages"

    @property
    def sha256(self) -> str:
        """Of everything the file says, except comments and the order of names: an edited family is another one."""
        content = {key: sorted(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def label(self) -> str:
        """Its part of a signature: default@9f3a1c2b."""
        return f"{self.name}@{self.sha256[:8]}"

    def covers(self, task: str, language: str) -> bool:
        """Returns whether this cell enters the family's means."""
        return _among(task, self.tasks) and _among(language, self.languages)


# what applies where nothing is declared; results/families/default.toml says the same
DEFAULT = Family(
    name="default",
    written="2026-11-26",
    question="Which models differ from the baseline: over all tasks, in which tasks, and there in which languages?",
)


def load(folder: Path) -> dict[str, Family]:
    """Returns every family declared in `folder`, by name; none where there is no such folder.

    Raises UserError, one line naming file, line, key and what was expected.
    """
    return {path.stem: read(path) for path in sorted(folder.glob("*.toml"))}


def pick(name: str, folder: Path) -> Family:
    """Returns the family of that name; "default" is there without a file. Only that file is opened.

    Raises UnknownName with did-you-mean, and UserError as `load` does.
    """
    names = {path.stem for path in folder.glob("*.toml")}
    if name in names:
        return read(folder / f"{name}.toml")
    if name == DEFAULT.name:
        return DEFAULT
    raise UnknownName("family", name, names | {DEFAULT.name}, f"{folder}/")


def read(path: Path) -> Family:
    """Returns the family in a TOML file; its name is the file's stem. Raises UserError as `load` does."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path} is not a readable TOML file ({one_line(error)})") from error
    if not _NAME.fullmatch(path.stem):
        raise UserError(f"{path}: no family can be called {path.stem!r}; name the file in letters, digits, . _ and -")
    try:
        return _family(path, raw)
    except CardError as error:
        raise UserError(with_line(str(error), path)) from error


def members(family: Family, tests: Iterable[Hypothesis]) -> tuple[Hypothesis, ...]:
    """Returns the tests that are in the family, in the order given; the others get no adjusted p.

    Names alone decide: that their baseline is the family's, and their means run over its cells, is up to the caller.
    """
    return tuple(test for test in tests if _is_member(family, *test))


def absent(family: Family, tests: Iterable[Hypothesis]) -> tuple[str, ...]:
    """Returns what the family names and no test is about, as "model x", "task y"; to be said beside its results."""
    known = list(tests)
    out: list[str] = []
    for place, (kind, named) in enumerate(
        (("model", family.models), ("task", family.tasks), ("language", family.languages))
    ):
        if named != "all" and place <= SCOPES.index(family.scope):
            out += [f"{kind} {name}" for name in named if name not in {test[place] for test in known}]
    return tuple(out)


def written_after(family: Family, started: Iterable[str]) -> bool:
    """Returns whether any result that the family judges may have been known when the family was written.

    `started` are the records' times, ISO 8601, UTC where they don't say. A date without a time is the end of its day,
    and a time that can't be read is no proof: what can't be told apart counts as after.
    """
    written = _moment(family.written)
    return any(written is None or (moment := _moment(one)) is None or moment <= written for one in started)


def late_note(family: Family, started: Iterable[str]) -> str:
    """Returns the sentence for a table's foot where `written_after`, else ""."""
    times = list(started)
    late = sum(written_after(family, [one]) for one in times)
    if not late:
        return ""
    return (
        f"Family {family.name!r} was written ({family.written}) when {late} of the {len(times)} results it judges had "
        "been started or may have been: read its p-values as exploratory."
    )


def _family(path: Path, raw: dict[str, Any]) -> Family:
    written = raw.get("written")
    if isinstance(written, date):  # TOML has dates of its own; a datetime is one, too
        raw = {**raw, "written": written.isoformat()}
    top = StrictTable(path, "", raw)
    family = Family(
        name=path.stem,
        written=top.take("written", str),
        question=top.take("question", str),
        baseline=top.take("baseline", str, ""),
        models=_names(top, "models"),
        tasks=_names(top, "tasks"),
        languages=_names(top, "languages"),
        correction=top.choice("correction", CORRECTIONS, "gatekeeping"),
        alpha=float(top.take("alpha", (int, float), 0.05)),
        claim=top.choice("claim", CLAIMS, "checkpoint"),
        margin=None if (margin := top.take("margin", (int, float), None)) is None else float(margin),
        scope=top.choice("scope", SCOPES, "languages"),
    )
    top.finish()
    if _moment(family.written) is None:
        raise top.error("written", f"is {family.written!r}; expected a date such as 2026-11-26, or a date and time")
    if "\n" in family.question.strip():
        raise top.error("question", "has several lines; expected one sentence")
    if not 0 < family.alpha < 1:
        raise top.error("alpha", f"is {family.alpha:g}; expected a number between 0 and 1, such as 0.05")
    if family.margin is not None and not 0 < family.margin < 100:
        raise top.error("margin", f"is {family.margin:g}; expected points between 0 and 100, or leave it out")
    if family.baseline and family.models == (family.baseline,):
        raise top.error("models", "names the baseline alone; expected a model to compare with it")
    return family


def _names(top: StrictTable, key: str) -> Names:
    value = top.take(key, (str, list), "all")
    if value == "all":
        return "all"
    if isinstance(value, str):
        raise top.error(key, f'is {value!r}; expected "all" or a list of names')
    names = top.strings(key)
    if "all" in names:
        raise top.error(key, f'holds "all" among others; write {key} = "all"')
    return names


def _is_member(family: Family, model: str, task: str | None, language: str | None) -> bool:
    depth = 0 if task is None and language is None else 1 if language is None else 2
    return (
        depth <= SCOPES.index(family.scope)
        and model != family.baseline
        and _among(model, family.models)
        and (task is None or _among(task, family.tasks))
        and (language is None or _among(language, family.languages))
    )


def _among(name: str, names: Names) -> bool:
    return names == "all" or name in names


def _moment(text: str) -> datetime | None:
    """The last moment that a text may mean, in UTC; None for a text that is no time."""
    with suppress(ValueError):
        return datetime.combine(date.fromisoformat(text), time.max, UTC)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
