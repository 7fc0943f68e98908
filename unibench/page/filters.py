"""What a page can be filtered by: each value of each facet has a token, which rows and columns carry (t0 l3 m1 s0)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unibench.page import languages
from unibench.page.grid import apart, text
from unibench.page.sections import FACETS, Facet, Facets, Section

MANY = 12  # options, from which on a filter can be searched


class Filters:
    """The values of the facets of all sections, in the order in which they are offered."""

    def __init__(self, sections: Sequence[Section]) -> None:
        values: dict[Facet, set[str]] = {facet: set() for facet in FACETS}
        for one in sections:
            for facets in (*one.rows, *one.heads.values()):
                for facet, names in _with_scripts(facets).items():
                    values[facet] |= set(names)
        self.labels: dict[Facet, dict[str, str]] = {
            facet: dict(sorted(((name, _label(facet, name)) for name in found), key=lambda pair: (pair[1], pair[0])))
            for facet, found in values.items()
        }
        self._tokens = {
            (facet, name): f"{facet[0]}{place}"
            for facet, labels in self.labels.items()
            for place, name in enumerate(labels)
        }

    def tokens(self, facets: Facets) -> str:
        named = _with_scripts(facets).items()
        return " ".join(self._tokens[facet, name] for facet, names in named for name in names)

    @property
    def menus(self) -> str:
        """Returns a menu of boxes to tick for each facet in which there is a choice."""
        return "".join(self._menu(facet, labels) for facet, labels in self.labels.items() if len(labels) > 1)

    def _menu(self, facet: Facet, labels: Mapping[str, str]) -> str:
        find = (
            f'<input type="search" class="find" aria-label="Find a {facet}" placeholder="Find" autocomplete="off">'
            if len(labels) >= MANY
            else ""
        )
        options = "".join(
            f'<li><label><input type="checkbox" autocomplete="off" value="{self._tokens[facet, name]}" '
            f'data-facet="{facet}" data-name="{apart(name)}"> <bdi>{apart(label)}</bdi>'
            f"{_code(name, label)}</label></li>"
            for name, label in labels.items()
        )
        return (
            f'<details class="menu choice" data-facet="{facet}"><summary>{facet.capitalize()}'
            f'<span class="chosen"></span></summary><div class="pop">{find}<ul>{options}</ul></div></details>'
        )


def _with_scripts(facets: Facets) -> Facets:
    found = dict.fromkeys(script for code in facets.get("language", ()) for script in languages.scripts(code))
    return {**({"script": tuple(found)} if found else {}), **facets}


def _label(facet: Facet, name: str) -> str:
    if facet == "language":
        return languages.name(name)
    return languages.script_name(name) if facet == "script" else name


def _code(name: str, label: str) -> str:
    return f" <small>{text(name)}</small>" if name != label else ""
