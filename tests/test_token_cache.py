"""What was tokenised before is what tokenising gives, for as long as nothing that tokenising reads has changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_encoders import tokenizer_of
from toy_tasks import TOKENIZER, TOYS, load, make

from unibench import token_cache
from unibench.adapters import get_adapter
from unibench.adapters.rows import Rows
from unibench.finetune import finetune
from unibench.store import Recipe
from unibench.token_cache import TokenCache


@pytest.fixture(autouse=True)
def _forgetful() -> Iterator[None]:
    token_cache._REMEMBERED.clear()
    yield
    token_cache._REMEMBERED.clear()


def _cache(folder: Path | None, family: str = "nli", **changes: Any) -> TokenCache:
    settings: dict[str, Any] = {
        "folder": folder, "adapter": get_adapter(family), "tokenizer": TOKENIZER, "card": TOYS[family][0],
        "max_tokens": 24, **changes,
    }  # fmt: skip
    return TokenCache(**settings)


def _same(a: Rows, b: Rows) -> None:
    def equal(x: Any, y: Any) -> None:
        assert x.dtype == y.dtype
        assert np.array_equal(x, y)

    equal(a.starts, b.starts)
    equal(a.example, b.example)
    assert (a.columns.keys(), a.aside.keys(), a.per_row.keys()) == (b.columns.keys(), b.aside.keys(), b.per_row.keys())
    for name, (flat_S, pad) in a.columns.items():
        equal(flat_S, b.columns[name][0])
        assert pad == b.columns[name][1]
    for name in a.aside:
        equal(a.aside[name], b.aside[name])
    for name in a.per_row:
        equal(a.per_row[name], b.per_row[name])
    assert a.rows_per_item == b.rows_per_item
    assert dict(a.counts) == dict(b.counts)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("family", TOYS)
def test_cached_rows_equal_fresh_ones(family: str, training: bool, tmp_path: Path) -> None:
    card, row = TOYS[family]
    examples = make(row, 40, 1)
    fresh = get_adapter(family).encode(TOKENIZER, card, examples, max_tokens=24, training=training)
    first, again, elsewhere = _cache(tmp_path, family), _cache(tmp_path, family), _cache(tmp_path, family)
    _same(first.encode("train", examples, training=training), fresh)
    assert first.hits == []
    _same(again.encode("train", examples, training=training), fresh)  # within this process
    token_cache._REMEMBERED.clear()
    _same(elsewhere.encode("train", examples, training=training), fresh)  # from the file
    assert again.hits == elsewhere.hits == ["train"]
    assert len(list(tmp_path.iterdir())) == 1


def test_whatever_encoding_reads_makes_another_entry(tmp_path: Path) -> None:
    card = TOYS["nli"][0]
    examples = make(TOYS["nli"][1], 10, 1)
    _cache(tmp_path).encode("train", examples, training=True)
    changes: list[dict[str, Any]] = [
        {"max_tokens": 23},
        {"tokenizer": tokenizer_of("unigram")},
        {"card": replace(card, labels=tuple(reversed(card.labels)))},
        {"card": replace(card, options={"normalisation": "mlqa"})},
        {"card": replace(card, sha256="another")},
    ]
    for change in changes:
        changed = _cache(tmp_path, **change)
        changed.encode("train", examples, training=True)
        assert changed.hits == [], change
    same = _cache(tmp_path)
    same.encode("dev", examples, training=False)
    for other in (
        examples[:-1],
        examples[::-1],
        [replace(examples[0], target=(examples[0].target + 1) % 3), *examples[1:]],
        [replace(examples[0], inputs={**examples[0].inputs, "premise": "Lima"}), *examples[1:]],
    ):
        same.encode("train", other, training=True)
    assert same.hits == []
    assert len(list(tmp_path.iterdir())) == 11
    same.encode("train", examples, training=True)
    assert same.hits == ["train"]


def test_padding_tokens_and_names_of_inputs_are_part_of_the_key(tmp_path: Path) -> None:
    examples = make(TOYS["nli"][1], 10, 1)
    tokenizer = tokenizer_of("wordpiece")
    _cache(tmp_path, tokenizer=tokenizer).encode("train", examples, training=True)
    names, pad = tokenizer.model_input_names, tokenizer.pad_token
    try:
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
        plain = _cache(tmp_path, tokenizer=tokenizer)
        assert "token_type_ids" not in plain.encode("train", examples, training=True).columns
        tokenizer.pad_token = "[UNK]"
        padded = _cache(tmp_path, tokenizer=tokenizer)
        assert padded.encode("train", examples, training=True).columns["input_ids"][1] == tokenizer.unk_token_id
    finally:
        tokenizer.model_input_names, tokenizer.pad_token = names, pad
    assert plain.hits == padded.hits == []


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: data[:-900] + bytes(900)]
)
def test_a_damaged_file_is_made_again(damage: Any, tmp_path: Path) -> None:
    examples = make(TOYS["qa"][1], 30, 1)
    expected = _cache(tmp_path, "qa").encode("train", examples, training=True)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    token_cache._REMEMBERED.clear()
    mending = _cache(tmp_path, "qa")
    _same(mending.encode("train", examples, training=True), expected)
    assert mending.hits == []
    token_cache._REMEMBERED.clear()
    mended = _cache(tmp_path, "qa")
    _same(mended.encode("train", examples, training=True), expected)
    assert mended.hits == ["train"]


def test_a_flipped_byte_of_the_tokens_is_noticed(tmp_path: Path) -> None:
    rows = _cache(tmp_path).encode("train", make(TOYS["nli"][1], 60, 1), training=True)
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    at = data.index(rows.columns["input_ids"][0].tobytes()[:64])
    data[at + 8] ^= 1
    path.write_bytes(data)
    assert token_cache.read(path) is None


def test_the_folder_is_limited_and_what_was_used_least_recently_goes_first(tmp_path: Path) -> None:
    splits = [make(TOYS["nli"][1], 20, seed) for seed in range(4)]
    _cache(tmp_path).encode("0", splits[0], training=False)
    (first,) = tmp_path.iterdir()
    size = first.stat().st_size
    narrow = _cache(tmp_path, limit_bytes=int(3.5 * size))
    narrow.encode("1", splits[1], training=False)
    (second,) = set(tmp_path.iterdir()) - {first}
    narrow.encode("2", splits[2], training=False)
    (third,) = set(tmp_path.iterdir()) - {first, second}
    for age, path in ((30, first), (20, second), (10, third)):
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    narrow.encode("0", splits[0], training=False)  # used again
    narrow.encode("3", splits[3], training=False)
    assert set(tmp_path.glob("*.npz")) >= {first, third}
    assert not second.exists()
    assert len(list(tmp_path.iterdir())) == 3
    tight = _cache(tmp_path, limit_bytes=1)
    tight.encode("4", make(TOYS["nli"][1], 20, 9), training=False)
    assert len(list(tmp_path.iterdir())) == 1  # the newest stays, whatever the limit


def test_an_unfinished_file_goes_once_its_writer_must_be_dead(tmp_path: Path) -> None:
    old, young = tmp_path / ".a.part", tmp_path / ".b.part"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (old.stat().st_mtime - 2 * token_cache.ABANDONED_S,) * 2)
    _cache(tmp_path).encode("train", make(TOYS["nli"][1], 5, 1), training=True)
    assert not old.exists()
    assert young.exists()


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = _cache(tmp_path / "file" / "rows")
    assert len(cache.encode("train", make(TOYS["nli"][1], 5, 1), training=True).example) == 5


def test_memory_is_limited_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_cache, "MEMORY_BYTES", 1)
    _cache(tmp_path).encode("train", make(TOYS["nli"][1], 5, 1), training=True)
    assert not token_cache._REMEMBERED


def test_a_second_fine_tuning_tokenises_nothing_and_scores_the_same(tmp_path: Path) -> None:
    card, row = TOYS["nli"]
    train, dev, test = make(row, 48, 1), make(row, 20, 2), make(row, 30, 3)
    recipe = Recipe(learning_rates=(1e-3,), epochs=1, batch_size=16, max_tokens=48)

    def run(cache: Path | None) -> Any:
        return finetune(load, card, train, dev, {"en": test, "sw": test[:10]}, recipe, 0, cache=cache)

    plain, first, second = run(None), run(tmp_path), run(tmp_path)
    assert plain.cached == first.cached == ()
    assert second.cached == ("train", "dev", "en", "sw")
    assert second.notes()["cached"] == ["train", "dev", "en", "sw"]
    for language in ("en", "sw"):
        assert plain.units[language].tobytes() == first.units[language].tobytes() == second.units[language].tobytes()
    assert plain.counts == second.counts
