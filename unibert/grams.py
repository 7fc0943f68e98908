"""Sequences of consecutive words as 64-bit hashes, all of a text's in a few array operations.

The hash of a sequence is a polynomial of its UTF-8 bytes modulo 2^64 (Karp and Rabin 1987, with the odd base below),
mixed by the finaliser of SplitMix64 (Steele et al. 2014). It depends on the words alone: not on where they stand, on
the machine or on the process. It withstands chance, not an adversary who looks for collisions.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from unibert.scripts import unspaced_pattern, word_pattern

_BASE = 0x9E3779B97F4A7C15 | 1
_INVISIBLE = re.compile("[\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")


def normalised(text: str) -> str:
    """Returns the text's words, each followed by a space: NFKC, case-folded, without punctuation.

    Of a script written without spaces each letter is a word (`unibert.scripts`).
    """
    if not text.isascii():
        text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    text = text.casefold()
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    words = word_pattern().findall(text)
    return " ".join([*words, ""])


def is_unspaced(text: str) -> bool:
    """Returns whether most words of a normalised text are single letters of scripts written without spaces."""
    return 2 * len(unspaced_pattern().findall(text)) > text.count(" ")


@dataclass(frozen=True, slots=True)
class Grams:
    """A text's words, ready to be hashed in sequences of any length.

    Word i lies in bytes starts_W[i] to starts_W[i + 1]; prefix_W holds the polynomial of all before it.
    """

    starts_W: NDArray[np.int64]
    prefix_W: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.starts_W) - 1

    def hashes(self, size: int, at: NDArray[np.int64] | None = None) -> NDArray[np.uint64]:
        """Returns the hash of every sequence of `size` words, or of those that begin at the words `at`."""
        if at is None:
            at = np.arange(max(0, len(self) - size + 1))
        inverse = _powers(_capacity(int(self.starts_W[-1])))[1]
        difference = self.prefix_W[at + size] - self.prefix_W[at]
        return _mixed(difference * inverse[self.starts_W[at]])


def grams(text: str) -> Grams:
    """Returns the words of a normalised text."""
    data = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
    starts_W = np.concatenate([[0], np.flatnonzero(data == ord(" ")) + 1])
    powers = _powers(_capacity(len(data)))[0]
    sums = np.zeros(len(data) + 1, np.uint64)
    np.cumsum(data * powers[: len(data)], out=sums[1:])
    return Grams(starts_W=starts_W, prefix_W=sums[starts_W])


def _capacity(length: int) -> int:
    return 1 << max(12, length.bit_length())


@cache
def _powers(length: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Returns the powers of the base and of its inverse modulo 2^64, from the zeroth on."""
    bases = [_BASE, pow(_BASE, -1, 1 << 64)]
    powers = np.empty((2, length), np.uint64)
    powers[:, 0] = 1
    powers[:, 1:] = np.array(bases, np.uint64)[:, None]
    np.cumprod(powers, axis=1, out=powers)
    return powers[0], powers[1]


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    return values ^ (values >> np.uint64(31))
