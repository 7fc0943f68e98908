"""What errors say of languages and of other libraries."""

from __future__ import annotations

import pytest

from unibench.errors import one_line, without_language


@pytest.mark.parametrize(
    ("reason", "code", "expected"),
    [
        ("o/x has no test split for no in hub", "no", "o/x has no test split for … in hub"),
        ("o/x has no config 'no' in hub", "no", "o/x has no config '…' in hub"),
        ("o/x/sw has no train split for sw", "sw", "o/x/… has no train split for …"),
        ("there is no answer for en-ru, only for en", "en", "there is no answer for en-ru, only for …"),
    ],
)
def test_reasons_of_several_languages_read_alike(reason: str, code: str, expected: str) -> None:
    assert without_language(reason, code) == expected


def test_a_librarys_error_is_one_line_and_never_empty() -> None:
    assert one_line(OSError("a\n  b")) == "a b"
    assert one_line(OSError()) == "OSError"
    assert len(one_line(ValueError("x" * 900))) == 200
