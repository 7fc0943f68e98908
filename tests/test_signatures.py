"""A signature is short, stable, and comes back from its text."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unibench import declared, resampling, signatures
from unibench.errors import UserError
from unibench.signatures import Signature, seed_of

REPO = Path(__file__).resolve().parents[1]
TEXT = (
    "perm:groups,two-sided|n:10000|seed:1a2b3c4d|def:RI=mean-cell-ratio|fam:default@9f3a1c2b|corr:gatekeeping|v:0.1.0"
)


def test_the_example_of_the_legend() -> None:
    found = Signature(
        test="perm:groups,two-sided", resamples=10_000, seed="1a2b3c4d", definition="RI=mean-cell-ratio",
        family="default@9f3a1c2b", correction="gatekeeping", version="0.1.0",
    )  # fmt: skip
    assert found.text == TEXT
    assert Signature.parse(TEXT) == found
    assert TEXT in str(signatures.__doc__)


def test_what_does_not_apply_is_left_out() -> None:
    found = Signature(test="mcnemar:exact", definition="delta", version="0.1.0")
    assert found.text == "mcnemar:exact|def:delta|v:0.1.0"
    assert Signature.parse(found.text) == found


WORDS = st.from_regex(r"[^|\s]{1,9}( [^|\s]{1,5})?", fullmatch=True)


@given(
    test=st.from_regex(r"[a-z][a-z0-9-]{0,6}(:[a-z,0-9=.-]{1,8})?", fullmatch=True),
    definition=WORDS,
    resamples=st.none() | st.integers(1, 10**9),
    seed=st.just("") | st.from_regex(r"[0-9a-f]{8}", fullmatch=True),
    family=st.just("") | WORDS,
    correction=st.just("") | WORDS,
    version=WORDS,
)
def test_every_signature_comes_back(**parts) -> None:
    found = Signature(**parts)
    assert Signature.parse(found.text) == found
    assert Signature.parse(found.text).text == found.text
    assert "\n" not in found.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "test is ''; expected METHOD"),
        ("perm", "def or v is missing"),
        ("perm|def:delta", "def or v is missing"),
        ("Perm|def:delta|v:1", "test is 'Perm'; expected METHOD or METHOD:OPTION,OPTION"),
        (TEXT.replace("n:10000", "n:ten"), "n is 'ten'; expected a number of resamples"),
        (TEXT.replace("n:10000", "n:0"), "n is '0'; expected a number of resamples"),
        (TEXT.replace("1a2b3c4d", "1a2b"), "seed is '1a2b'; expected 8 hex digits"),
        (TEXT.replace("seed:", "sead:"), "'sead:1a2b3c4d' is no part of one; expected KEY:VALUE of n, seed, def"),
        (TEXT + "|", "'' is no part of one"),
        (TEXT + "|n:3", "expected each part once, in the order n, seed, def, fam, corr, v"),
        ("perm|v:1|def:delta", "expected each part once, in the order"),
        ("perm|def:two\nlines|v:1", "expected a text without '|' and line breaks"),
    ],
)
def test_what_is_no_signature_is_one_line(text: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        Signature.parse(text)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["definition", "family", "correction", "version"])
@pytest.mark.parametrize("value", ["a|b", "a\nb", " a", "a\t"])
def test_what_would_not_come_back_is_refused(part: str, value: str) -> None:
    with pytest.raises(UserError, match="expected a text without"):
        Signature(**{"test": "perm", "definition": "delta", "version": "1", part: value})


def test_the_seed_is_that_of_the_generator() -> None:
    """The 8 digits begin the number that seeds it: finish them, and the draws are the same."""
    for names in (("swap", "zero-shot from en", "xnli"), ("a",), ("bootstrap", "", "ü")):
        whole = hashlib.sha256("\n".join(names).encode()).hexdigest()
        assert whole.startswith(seed_of(*names))
        ours = np.random.default_rng(int(whole, 16)).integers(1 << 60, size=5)
        assert list(ours) == list(resampling.generator(*names).integers(1 << 60, size=5))
    assert len({seed_of("a", "b"), seed_of("ab"), seed_of("b", "a")}) == 3


def test_the_version_is_the_projects_and_the_family_is_one_of_a_file() -> None:
    version = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    found = Signature(test="perm", definition="delta", family=declared.DEFAULT.label)
    assert found.version == version
    assert Signature.parse(found.text).family == declared.DEFAULT.label


def test_without_an_installation_the_version_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise signatures.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(signatures.metadata, "version", missing)
    signatures.version.cache_clear()
    try:
        assert Signature(test="perm", definition="delta").text == "perm|def:delta|v:unknown"
    finally:
        monkeypatch.undo()
        signatures.version.cache_clear()
