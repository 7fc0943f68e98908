"""Task families and file readers of other packages, found through their entry points.

A package offers a family in the group "unibench.families", under the family's name: the entry point leads to a
`Plugin`. It offers a reader of files in the group "unibench.readers": the entry point leads to what
`unibench.files.READERS` holds. Nothing is imported until a name that is not built in is asked for, so what is broken
in another package stops only those who use it, and says in one line whose it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from unibench.errors import UserError

if TYPE_CHECKING:
    from unibench.families import Family
    from unibench.metrics import Metric
    from unibench.store import Recipe

FAMILY_GROUP, READER_GROUP = "unibench.families", "unibench.readers"
RATES = 3  # the length of every family's grid of learning rates, so that all models are searched alike


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A task family of another package: all that the built-in ones have in registries of their own.

    `family` as in `unibench.families.FAMILIES`; `adapter` is "package.module:Class", imported only when a model is
    fine-tuned; `read` makes a reader of rows as `unibench.readers.READERS` holds them; `metrics` are those of
    `family.metrics` that are not built in. Raises ValueError for what cannot work together.
    """

    family: Family
    adapter: str
    recipe: Recipe
    read: Callable[..., Any]
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from unibench.metrics import METRICS

        module, _, name = self.adapter.partition(":")
        if not module or not name.isidentifier():
            raise ValueError(f"adapter is {self.adapter!r}; expected 'package.module:Class'")
        if not callable(self.read):
            raise ValueError(f"read is {self.read!r}; expected a function of a card and its label names")
        if len(self.recipe.learning_rates) != RATES:
            raise ValueError(f"recipe has {len(self.recipe.learning_rates)} learning rates; expected {RATES}")
        for name, metric in self.metrics.items():
            if name in METRICS:
                raise ValueError(f"metric {name!r} is built in; give yours another name")
            if metric.name != name or name not in self.family.metrics:
                raise ValueError(f"metrics[{name!r}] is named {metric.name!r}; expected one of family.metrics, by name")
        for name in self.family.metrics:
            if name not in METRICS and name not in self.metrics:
                raise ValueError(f"family.metrics holds {name!r}, which is neither built in nor in metrics")


def family(name: str) -> Plugin | None:
    """Returns the family of this name that an installed package offers, None where none does.

    Raises UserError, one line that names the distribution, for one that cannot be loaded, is no Plugin, or takes the
    name of a built-in family or of another distribution's.
    """
    from unibench.families import FAMILIES

    found = _offered(FAMILY_GROUP, FAMILIES)
    return _plugin(found[name]) if name in found else None


def families() -> Mapping[str, Plugin]:
    """Returns every family that installed packages offer, by name; raises UserError as `family` does."""
    from unibench.families import FAMILIES

    return {name: _plugin(point) for name, point in _offered(FAMILY_GROUP, FAMILIES).items()}


def family_names() -> tuple[str, ...]:
    """Returns the names of those families, importing none."""
    return tuple(sorted({point.name for point in _points(FAMILY_GROUP)}))


def metric(name: str) -> Metric | None:
    """Returns the metric of this name that one of those families brings, None where none does."""
    for plugin in families().values():
        if name in plugin.metrics:
            return plugin.metrics[name]
    return None


def reader(name: str, built_in: Collection[str] = ()) -> Callable[..., Any] | None:
    """Returns the reader of files of this name that an installed package offers, None where none does.

    Raises UserError as `family` does; `built_in` are the names it may not take.
    """
    found = _offered(READER_GROUP, built_in)
    if name not in found:
        return None
    made: Any = _load(found[name])
    if not callable(made):
        raise UserError(f"{_whose(found[name])} leads to {_kind(made)}; expected a function that reads a file")
    return made  # type: ignore[no-any-return]


def reader_names() -> tuple[str, ...]:
    """Returns the names of those readers, importing none."""
    return tuple(sorted({point.name for point in _points(READER_GROUP)}))


@lru_cache(maxsize=2)
def _points(group: str) -> tuple[EntryPoint, ...]:
    # One look at what is installed: it reads a file of every distribution.
    return tuple(entry_points(group=group))


def _offered(group: str, built_in: Collection[str]) -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in _points(group):
        if point.name in built_in:
            raise UserError(f"{_whose(point)} takes a built-in name; rename it, or uninstall {_distribution(point)}")
        # The same distribution is found twice where two folders of the search path hold it.
        if point.name in found and (found[point.name].value, _distribution(found[point.name])) != (
            point.value,
            _distribution(point),
        ):
            raise UserError(
                f"{_whose(point)} takes the name of one in {_distribution(found[point.name])}; uninstall one of them"
            )
        found[point.name] = point
    return found


def _plugin(point: EntryPoint) -> Plugin:
    made = _load(point)
    if not isinstance(made, Plugin):
        raise UserError(f"{_whose(point)} leads to {_kind(made)}; expected a unibench.plugins.Plugin")
    return made


def _load(point: EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:  # another package's code may raise anything
        raise UserError(
            f"{_whose(point)} cannot be loaded ({describe(error)}); mend or uninstall {_distribution(point)}"
        ) from error


def describe(error: BaseException) -> str:
    """Returns an error's kind and message in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


def _whose(point: EntryPoint) -> str:
    kind = "task family" if point.group == FAMILY_GROUP else "reader"
    return f"the {kind} {point.name!r} of {_distribution(point)} ({point.value})"


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unnamed distribution"


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"
