"""What things are called: countries, cities, currencies, languages, dates and numbers in any language of CLDR."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

from babel import Locale, localedata
from babel.dates import format_date
from babel.languages import get_official_languages
from babel.numbers import format_decimal, get_currency_name, get_territory_currencies

# Codes that CLDR files under another name.
LOCALES = {"tl": "fil", "sh": "sr_Latn", "no": "nb"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Country:
    """One country, by its ISO 3166 code. `language` is None unless exactly one is official."""

    code: str
    continent: str  # UN M49
    zone: str  # the time zone whose exemplar city is the capital
    borders: tuple[str, ...]
    currency: str
    language: str | None


@cache
def countries() -> Mapping[str, Country]:
    """Returns the countries of geography.toml by code, with CLDR's currency and official language."""
    raw = tomllib.loads((Path(__file__).parent / "geography.toml").read_text(encoding="utf-8"))
    found = {}
    for region in raw.values():
        for code, entry in region.items():
            if code == "m49":
                continue
            tongues = {tongue.partition("_")[0] for tongue in get_official_languages(code)}
            tongues = {"no"} if code == "NO" else tongues  # CLDR lists Norwegian beside its two written standards
            found[code] = Country(
                code=code,
                continent=region["m49"],
                zone=entry["capital"],
                borders=tuple(entry["borders"]),
                currency=get_territory_currencies(code)[0],
                language=tongues.pop() if len(tongues) == 1 else None,
            )
    return found


@cache
def locale(language: str) -> Locale | None:
    """Returns CLDR's locale for a language of this project, None where it has none."""
    name = LOCALES.get(language, language)
    return Locale.parse(name) if localedata.exists(name) else None


def known(language: str) -> Locale:
    """Returns the locale of a language that CLDR is known to have."""
    found = locale(language)
    assert found is not None, f"CLDR has no {language}"
    return found


def country(code: str, language: str) -> str:
    """Returns the country's name."""
    return str(known(language).territories[code])


def continent(m49: str, language: str) -> str:
    """Returns the name of a UN M49 region."""
    return str(known(language).territories[m49])


def tongue(code: str, language: str) -> str:
    """Returns what the language `code` is called in `language`."""
    return str(known(language).languages[code])


def currency(code: str, language: str) -> str:
    """Returns the currency's name, without a number."""
    return get_currency_name(code, locale=known(language))


def city(zone: str, language: str) -> str:
    """Returns the name of a time zone's exemplar city; CLDR leaves out names that equal the zone's own."""
    entry = known(language).time_zones.get(zone, {})
    return str(entry["city"]) if "city" in entry else zone.rpartition("/")[2].replace("_", " ")


def day(iso: str, language: str) -> str:
    """Returns a date in CLDR's long format."""
    return format_date(date.fromisoformat(iso), "long", locale=known(language))


def number(value: int, language: str) -> str:
    """Returns a whole number with the language's separators."""
    return format_decimal(value, locale=known(language))
