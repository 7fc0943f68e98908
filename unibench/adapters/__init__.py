"""One adapter for each task family: how its examples become tokens, a loss, predictions and units.

A new family is one adapter file, one line in `ADAPTERS` and one in `RECIPES`, or a `unibench.plugins.Plugin` in a
package of its own. Nothing here imports torch: planning a run reads recipes, and planning must be fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from unibench import families, plugins
from unibench.errors import UnknownName, UserError
from unibench.store import Recipe

if TYPE_CHECKING:
    from unibench.adapters.base import Adapter

ADAPTERS: dict[str, str] = {
    "ner": "unibench.adapters.ner:Ner",
    "nli": "unibench.adapters.nli:Nli",
    "qa": "unibench.adapters.qa:Qa",
    "sts": "unibench.adapters.sts:Sts",
}

# The published rates for 12x768 encoders are 2e-5 to 5e-5; a 2x128 encoder trained for minutes hardly moves at those
# and wants about 1e-3 (with 3e-4 and 3e-3 instead, the sample's names and answers lost 5.7 points each). One rate for
# both would decide the winner, so every model searches the same three, evenly spaced on a log scale; the one best
# on source dev is used.
RATES = (3e-5, 2e-4, 1e-3)

ADVERSARY_STRENGTH = 0.1  # of the reversed gradient at the end of its ramp, beside the task's mean loss

RECIPES: dict[str, Recipe] = {
    "ner": Recipe(learning_rates=RATES, epochs=3, batch_size=32, max_tokens=128),
    "nli": Recipe(learning_rates=RATES, epochs=2, batch_size=32, max_tokens=128),
    "qa": Recipe(learning_rates=RATES, epochs=3, batch_size=16, max_tokens=384),
    "sts": Recipe(learning_rates=RATES, epochs=4, batch_size=16, max_tokens=128),
}


def get_adapter(family: str) -> Adapter:
    """Returns the adapter of a task family, importing it (and torch) only now.

    Raises UnknownName when there is none, UserError when another package's cannot be imported.
    """
    if family in ADAPTERS:
        return _made(ADAPTERS[family])
    place = _plugin(family).adapter
    try:
        return _made(place)
    except Exception as error:  # another package's code may raise anything
        raise UserError(
            f"the adapter {place} of the task family {family!r} cannot be loaded ({plugins.describe(error)}); "
            "mend or uninstall the package it is in"
        ) from error


def recipe(family: str) -> Recipe:
    """Returns how encoders are fine-tuned on a task family; UnknownName when there is none. Imports no adapter."""
    return RECIPES[family] if family in RECIPES else _plugin(family).recipe


def _plugin(family: str) -> plugins.Plugin:
    plugin = plugins.family(family)
    if plugin is None:
        raise UnknownName("task family", family, families.known(), "unibench.adapters.ADAPTERS")
    return plugin


def _made(place: str) -> Adapter:
    module, name = place.split(":")
    return cast("Adapter", getattr(import_module(module), name)())
