"""Sentences aligned across languages: from a mirror of FLORES+, from the sample; which languages, which half."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from unibench import parallel
from unibench.errors import DataError, Unavailable, UnknownName, UserError
from unibench.sources import Origin, origin
from unibert.languages import LANGUAGES

Write = Callable[..., Path]
SAMPLE = Origin(kind="sample")


def flores(write: Write, texts: dict[str, dict[int, str]]) -> Origin:
    rows = {
        f"{config}/devtest": [{"id": id, "text": text} for id, text in lines.items()] for config, lines in texts.items()
    }
    return origin(str(write(parallel.FLORES.hub, rows)))


def test_sentences_that_all_languages_have_are_lined_up_by_id(write_mirror: Write) -> None:
    english = {i: f"sentence {i}" for i in range(9)}
    german = {i: f"Satz {i}" for i in reversed(range(8))} | {4: "Satz 3"}  # 3 and 4 read alike, 8 is missing
    here = flores(write_mirror, {"en": english, "deu_Latn": german})
    assert parallel.languages_in(here) == ("de", "en")
    found = parallel.load(("en", "de"), here, sentences=100)
    assert set(found.ids) == {"0", "1", "2", "5", "6", "7"}
    for id, first, second in zip(found.ids, *found.texts, strict=True):
        assert (first, second) == (f"sentence {id}", f"Satz {id}")
    fewer = parallel.load(("en", "de"), here, sentences=4)
    assert len(fewer.ids) == 4
    assert set(fewer.ids) < set(found.ids)
    assert fewer.sha256 != found.sha256 == parallel.load(("en", "de"), here, sentences=6).sha256


def test_too_few_or_malformed_sentences_are_said_so(write_mirror: Write) -> None:
    here = flores(write_mirror, {"en": {i: f"a {i}" for i in range(9)}, "de": {1: "b", 2: "c", 3: "d"}})
    with pytest.raises(DataError, match=r"3 sentences stand in all of en, de in .*; expected 4 or more"):
        parallel.load(("en", "de"), here, sentences=9)
    write_mirror(parallel.FLORES.hub, {"fr/devtest": [{"id": 1, "sentence": "e"}]})
    with pytest.raises(DataError, match="has no column 'text'; it has id, sentence"):
        parallel.load(("fr",), here, sentences=9)


def test_an_empty_mirror_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        Unavailable, match=r"flores_plus is not in .*; put it there, or use --data FOLDER or --data sam"
    ):
        parallel.languages_in(Origin(kind="mirror", root=tmp_path))


def test_the_sample_has_aligned_sentences() -> None:
    having = parallel.languages_in(SAMPLE)
    assert len(having) == 28
    found = parallel.load(having, SAMPLE, sentences=1000)
    assert 250 < len(found.ids) <= 300
    year = [[part for part in text.split() if part.strip(".").isdigit() and len(part.strip(".")) == 4] for text in
            found.texts[having.index("en")]]  # fmt: skip
    dated = [i for i, parts in enumerate(year) if parts]
    assert len(dated) > 10
    for i in dated:
        assert all(part.strip(".") in found.texts[having.index("ru")][i] for part in year[i])


def test_languages_are_chosen_by_what_models_speak() -> None:
    having = ("ar", "de", "en", "fr", "ru", "sw", "zh")
    assert parallel.choose("auto", having, [["zh", "en", "de", "xx"], ["en", "zh"]], 24) == ("en", "zh")
    assert parallel.choose("auto", having, [], 4) == ("en", "ar", "ru", "zh")
    assert parallel.choose("all", having, [["en"]], 2) == ("en", "ar", "de", "fr", "ru", "sw", "zh")
    assert parallel.choose(["sw", "de", "sw"], having, [["en"]], 24) == ("de", "sw")
    with pytest.raises(UnknownName, match="no language 'dee' in the aligned sentences; did you mean 'de'"):
        parallel.choose(["en", "dee"], having, [], 24)
    with pytest.raises(UserError, match="en is left of the aligned sentences' languages; name two or more"):
        parallel.choose("auto", having, [["en", "xx"]], 24)


def test_halves_are_of_sentences() -> None:
    train, test = parallel.halves(11, 3)
    assert len(train) == 5
    assert sorted([*train, *test]) == list(range(11))
    assert parallel.halves(11, 3)[1].tolist() == test.tolist() != parallel.halves(11, 4)[1].tolist()


def test_codes_are_known_languages_and_no_config_stands_twice() -> None:
    assert set(parallel.FLORES_CONFIGS) <= set(LANGUAGES)
    assert set(parallel.SPREAD) <= set(parallel.FLORES_CONFIGS)
    assert len(set(parallel.FLORES_CONFIGS.values())) == len(parallel.FLORES_CONFIGS)


@pytest.mark.realdata
def test_flores_is_read_as_published(shared: Path) -> None:
    here = origin(str(shared / "hub"))
    assert len(parallel.languages_in(here)) == 91
    found = parallel.load(("en", "sw"), here, sentences=2000)
    assert len(found.ids) == 1012
    assert found.texts[0][found.ids.index("0")].startswith('"We now have 4-month-old mice')
    assert found.texts[1][found.ids.index("0")].startswith('"Sasa tuna panya')
