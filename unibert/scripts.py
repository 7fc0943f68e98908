"""Which scripts a language is written in, and what counts as a word in any of them; character classes for `re`.

Python's `\\w` leaves out combining marks, so `\\w+` cuts Hindi, Thai or vocalised Arabic in the middle of words.
Classes are built from the interpreter's own Unicode data at first use, as flat sets: `re` looks those up in a bitmap.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

# Blocks in which every letter belongs to the script (ISO 15924 code); what in them is no letter plays no part.
SCRIPTS: Mapping[str, tuple[tuple[int, int], ...]] = {
    "Latn": (
        (0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x2AF), (0x1D00, 0x1D25), (0x1D62, 0x1D65), (0x1D6B, 0x1D77),
        (0x1D79, 0x1D9A), (0x1E00, 0x1EFF), (0x2090, 0x209C), (0x2184, 0x2184), (0x2C60, 0x2C7F),
        (0xA722, 0xA787), (0xA78B, 0xA7FF), (0xAB30, 0xAB64), (0xAB66, 0xAB68), (0xFB00, 0xFB06), (0xFF21, 0xFF5A),
    ),
    "Cyrl": ((0x400, 0x52F), (0x1C80, 0x1C8F), (0x1D2B, 0x1D2B), (0xA640, 0xA69F)),
    "Grek": ((0x370, 0x3E1), (0x3F0, 0x3FF), (0x1D26, 0x1D2A), (0x1D66, 0x1D6A), (0x1F00, 0x1FFF), (0xAB65, 0xAB65)),
    "Armn": ((0x531, 0x588), (0xFB13, 0xFB17)),
    "Hebr": ((0x5D0, 0x5F2), (0xFB1D, 0xFB4F)),
    "Arab": ((0x620, 0x6FF), (0x750, 0x77F), (0x870, 0x8FF), (0xFB50, 0xFDFB), (0xFE70, 0xFEFC)),
    "Deva": ((0x900, 0x97F), (0xA8E0, 0xA8FF)),
    "Beng": ((0x980, 0x9FF),),
    "Guru": ((0xA00, 0xA7F),),
    "Gujr": ((0xA80, 0xAFF),),
    "Taml": ((0xB80, 0xBFF),),
    "Telu": ((0xC00, 0xC7F),),
    "Knda": ((0xC80, 0xCFF),),
    "Mlym": ((0xD00, 0xD7F),),
    "Thai": ((0xE00, 0xE7F),),
    "Laoo": ((0xE80, 0xEFF),),
    "Mymr": ((0x1000, 0x109F), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F)),
    "Khmr": ((0x1780, 0x17FF),),
    "Geor": ((0x10A0, 0x10FF), (0x1C90, 0x1CBF), (0x2D00, 0x2D2D)),
    "Tfng": ((0x2D30, 0x2D7F),),
    "Hang": ((0x1100, 0x11FF), (0x3131, 0x318E), (0xA960, 0xA97C), (0xAC00, 0xD7FF), (0xFFA0, 0xFFDC)),
    "Hira": ((0x3041, 0x309F),),
    "Kana": ((0x30A1, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F)),
    "Hani": ((0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF)),
}  # fmt: skip
# Letters that any script may borrow: ª º µ, spacing modifiers, phonetic superscripts, the Japanese length mark.
_COMMON = ((0xAA, 0xAA), (0xB5, 0xB5), (0xBA, 0xBA), (0x2B0, 0x2FF), (0x1D2C, 0x1D61), (0x1D78, 0x1D78))
_UNSPACED = ("Hani", "Hira", "Kana", "Thai", "Laoo", "Khmr", "Mymr")
_BY_SCRIPT: Mapping[tuple[str, ...], str] = {
    ("Latn",): "af an ast bar br ca ceb cs cy da de en eo es et eu fi fr fy ga gl hr ht hu ia id io is it jv la lmo lt"
    " lv mg min ms nb nds nl nn oc pl pms pt ro rw scn sco sk sl sq su sv sw tl tr vi vo war yo zu",
    ("Cyrl",): "ba be bg ce cv ky mk mn ru uk",
    ("Cyrl", "Latn"): "bs sh sr tg tt uz az",
    ("Cyrl", "Latn", "Arab"): "kk",
    ("Latn", "Tfng"): "kab",
    ("Arab",): "ar azb fa pnb ur",
    ("Deva",): "hi mr ne",
    ("Beng",): "bn bpy",
    ("Hani", "Hira", "Kana"): "ja",
    ("Hang", "Hani"): "ko",
    ("Hani",): "zh",
    ("Grek",): "el",
    ("Armn",): "hy",
    ("Hebr",): "he",
    ("Guru",): "pa",
    ("Gujr",): "gu",
    ("Taml",): "ta",
    ("Telu",): "te",
    ("Knda",): "kn",
    ("Mlym",): "ml",
    ("Thai",): "th",
    ("Khmr",): "km",
    ("Mymr",): "my",
    ("Geor",): "ka",
}
WRITTEN_IN: Mapping[str, tuple[str, ...]] = {
    language: scripts for scripts, languages in _BY_SCRIPT.items() for language in languages.split()
}
_END = 0x40000  # no letter is assigned beyond


@cache
def _categories() -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns which code points are letters, which numbers, which belong to a word without being either."""
    initials = np.array([unicodedata.category(chr(point))[0] for point in range(0x10000)] + ["-"] * (_END - 0x10000))
    # Beyond 16 bits `re` tries range after range, so there whole planes of letters stand in for each script's ranges.
    for first, last in ((0x10000, 0x1CFFF), (0x1D400, 0x1EFFF), (0x20000, 0x3FFFF)):
        initials[first : last + 1] = "L"
    marks = initials == "M"
    marks[[0xAD, 0x200C, 0x200D, 0x2060]] = True  # soft hyphen, joiners: inside words of Persian, Hindi, Malayalam
    return initials == "L", initials == "N", marks


def _within(blocks: tuple[tuple[int, int], ...]) -> NDArray[np.bool_]:
    mask = np.zeros(_END, bool)
    for first, last in blocks:
        mask[first : last + 1] = True
    return mask


def _set(mask: NDArray[np.bool_]) -> str:
    """Returns a mask of code points as what stands between `[` and `]`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    pairs = edges.reshape(-1, 2).tolist()
    return "".join(f"\\U{first:08x}" + (f"-\\U{end - 1:08x}" if end - first > 1 else "") for first, end in pairs)


@cache
def _unspaced() -> NDArray[np.bool_]:
    letters: NDArray[np.bool_] = _categories()[0] & _within(tuple(b for s in _UNSPACED for b in SCRIPTS[s]))
    return letters


@cache
def word_pattern() -> re.Pattern[str]:
    """Returns the pattern of one word: a run of letters, digits and their marks; where no spaces are, one letter."""
    letters, numbers, marks = _categories()
    unspaced = _unspaced()
    return re.compile(f"[{_set((letters | numbers | marks) & ~unspaced)}]+|[{_set(unspaced)}][{_set(marks)}]*")


@cache
def unspaced_pattern() -> re.Pattern[str]:
    """Returns the pattern of a letter of a script written without spaces between words."""
    return re.compile(f"[{_set(_unspaced())}]")


@cache
def other_pattern() -> re.Pattern[str]:
    """Returns the pattern of a run of what is neither letter nor mark nor space: digits, punctuation, symbols."""
    letters, _, marks = _categories()
    return re.compile(f"[^\\s{_set(letters | marks)}]+")


@cache
def foreign_pattern(scripts: tuple[str, ...]) -> re.Pattern[str]:
    """Returns the pattern of a run of letters that belong to none of the scripts and are not common to all."""
    ours = _within(tuple(block for script in scripts for block in SCRIPTS[script]) + _COMMON)
    return re.compile(f"[{_set(_categories()[0] & ~ours)}]+")


def count_words(text: str) -> int:
    """Returns the number of runs of letters and digits; each letter of a script without spaces counts as one."""
    return len(word_pattern().findall(text))


def count_letters(line: str) -> tuple[int, int]:
    """Returns how many letters (with their marks) a line of single spaces has, and how many characters but spaces."""
    visible = len(line) - line.count(" ")
    return visible - sum(map(len, other_pattern().findall(line))), visible
