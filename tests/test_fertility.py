"""Fertility on tokenizers so simple that every number is known beforehand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import world
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from unibert import tokenizer as vocabularies
from unibert.corpus import from_iterable, is_heldout
from unibert.errors import UserError
from unibert.fertility import Fertility, load, measure


def kept(lines: list[str]) -> list[str]:
    return [line for line in lines if is_heldout(line)]


def numbered(text: str) -> list[str]:
    """Lines enough that about twenty of them are held out."""
    return [f"{text} {'a' * (i % 7 + 1)} {chr(98 + i % 20)}{chr(98 + i // 20 % 20)}" for i in range(1000)]


def save(tokenizer: Tokenizer, folder: Path) -> str:
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder)


def words_of(known: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(
        models.WordLevel({"[UNK]": 0} | {word: i for i, word in enumerate(known, 1)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def single_bytes() -> Tokenizer:
    """Byte-level BPE without a merge: a token a byte."""
    tokenizer = Tokenizer(
        models.BPE({letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, [])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def test_a_tokenizer_of_words_has_fertility_one_and_its_unknowns_are_counted(tmp_path: Path) -> None:
    lines = numbered("the house")
    tokenizer = load(save(words_of(["the", "house"]), tmp_path / "words"), tmp_path)
    [row] = measure(from_iterable({"en": lines}), [tokenizer], lines=10_000)
    sample = kept(lines)
    assert len(sample) > 5
    assert (row.tokenizer, row.language, row.per, row.lines) == ("words", "en", "word", len(sample))
    assert row.fertility == 1.0
    assert row.fallback_share == 0.5  # two known words of four
    assert row.bytes_per_token == sum(map(len, sample)) / (4 * len(sample))


def test_a_tokenizer_of_bytes_falls_back_on_what_is_not_a_character(tmp_path: Path) -> None:
    lines = numbered("дом été")  # of its bytes, ten belong to characters of two: 3 Cyrillic, 2 accented letters
    tokenizer = load(save(single_bytes(), tmp_path / "bytes"), tmp_path)
    [row] = measure(from_iterable({"ru": lines}), [tokenizer], lines=10_000)
    sample = kept(lines)
    assert row.bytes_per_token == 1.0
    assert row.tokens == sum(len(line.encode()) for line in sample)
    assert row.fallback == 10 * len(sample)
    assert row.fertility == row.tokens / (4 * len(sample))


def test_where_no_spaces_part_words_characters_are_counted(tmp_path: Path) -> None:
    lines = [f"高高的大山{'山' * (i % 9)}靠近{chr(0x4E00 + i)}学校。" for i in range(1000)]
    tokenizer = load(save(single_bytes(), tmp_path / "bytes"), tmp_path)
    [row] = measure(from_iterable({"zh": lines}), [tokenizer], lines=10_000)
    assert row.per == "character"
    assert row.units == sum(len(line) - 1 for line in kept(lines))  # the full stop is no letter
    assert row.fallback_share == 1.0


def test_byte_pieces_of_a_vocabulary_trained_here_are_the_last_resort(tmp_path: Path) -> None:
    corpus = from_iterable({"en": world.lines("en")})
    vocabularies.save(vocabularies.train(corpus, 600), tmp_path / "models" / "first")
    tokenizer = load("first", tmp_path)  # by its name under models/
    assert tokenizer.split(["the house stands near the sea.", "the дом"])[0][1] == 0
    assert tokenizer.split(["the дом"])[0][1] == 6  # three letters never seen, two bytes each


def test_the_worst_is_first_and_words_and_characters_do_not_mix(tmp_path: Path) -> None:
    corpus = from_iterable(
        {"zh": [f"山靠近{chr(0x4E00 + i)}" * 3 for i in range(500)], "en": numbered("a b"), "ru": numbered("дом сад"),
         "xx": ["a"]}
    )  # fmt: skip
    both = [load(save(single_bytes(), tmp_path / name), tmp_path) for name in ("one", "two")]
    rows = measure(corpus, both, lines=5)
    assert [(row.language, row.tokenizer) for row in rows] == [
        (language, name) for language in ("ru", "en", "zh", "xx") for name in ("one", "two")
    ]
    assert {row.lines for row in rows} == {5, 0}
    assert math.isnan(rows[-1].fertility)
    assert math.isnan(rows[-1].bytes_per_token)


def test_held_out_lines_alone_are_looked_at() -> None:
    seen: list[str] = []

    def split(lines: object) -> list[tuple[int, int]]:
        assert isinstance(lines, list)
        seen.extend(lines)
        return [(1, 0)] * len(lines)

    from unibert.fertility import Tokenizer as Shown

    measure(from_iterable({"en": numbered("a b")}), [Shown(name="x", vocabulary=1, split=split)])
    assert seen
    assert all(map(is_heldout, seen))


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no tokenizer '.*absent'; --tokenizer takes a folder, or a model under"),
     ("{}", "holds no tokenizer that can be opened")],
)  # fmt: skip
def test_what_is_no_tokenizer_is_refused_in_one_line(tmp_path: Path, content: str | None, message: str) -> None:
    folder = tmp_path / "absent"
    if content is not None:
        folder.mkdir()
        (folder / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        load(str(folder), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_with_code_beside_it_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "Odd", "auto_map": {"AutoTokenizer": ["odd.Odd", null]}}'
    )
    (tmp_path / "odd.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Odd: pass\n")
    with pytest.raises(UserError, match="holds no tokenizer that can be opened"):
        load(str(tmp_path), tmp_path)
    assert not (tmp_path / "ran").exists()


def test_no_text_gives_no_number() -> None:
    row = Fertility(tokenizer="x", language="en", per="word", lines=0, tokens=0, units=0, bytes=0, fallback=0)
    assert math.isnan(row.fallback_share)
