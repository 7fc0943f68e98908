"""The cache of a teacher's answers: what comes back, after which accidents, and to whom it is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from unibert.errors import UserError
from unibert.logit_cache import SMALLEST, Kept, LogitCache, TopK
from unibert.teacher import best

IDENTITY = "a" * 64
TARGETS = torch.arange(300, 307)


def opened(folder: Path, **changes: Any) -> LogitCache:
    return LogitCache(folder, **{"identity": IDENTITY, "top_k": 4, "temperature": 2.0, **changes})


def answers(number: int, vocabulary: int = 50, top_k: int = 4) -> tuple[TopK, Tensor]:
    generator = torch.Generator().manual_seed(number)
    logits_MV = torch.randn(len(TARGETS), vocabulary, generator=generator) * 4
    return best(logits_MV, top_k, 2.0), torch.randn(3, 8, generator=generator)


def got(cache: LogitCache, number: int) -> Kept:
    kept = cache.get(number, TARGETS)
    assert kept is not None
    return kept


def same(a: Kept, b: Kept) -> bool:
    assert a.topk is not None
    assert b.topk is not None
    assert a.pooled_BD is not None
    assert b.pooled_BD is not None
    pairs = [*zip(a.topk, b.topk, strict=True), (a.pooled_BD, b.pooled_BD)]
    return all(torch.equal(x, y) for x, y in pairs)


def test_an_entry_comes_back_within_half_precision_and_is_the_same_when_stored_again(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    topk, pooled_BD = answers(7)
    first = cache.put(7, TARGETS, topk, pooled_BD)
    for kept in (first, got(cache, 7), got(opened(tmp_path), 7)):
        assert kept.topk is not None
        assert kept.pooled_BD is not None
        assert same(kept, first)
        values_MK, index_MK, rest_M = kept.topk
        assert torch.equal(index_MK, topk[1])
        assert index_MK.dtype == torch.int64
        half = {"rtol": 2**-11, "atol": 1e-7}  # 11 bits, and what is lost below the smallest number
        torch.testing.assert_close(values_MK, topk[0], **half)
        torch.testing.assert_close(rest_M, topk[2], **half)
        torch.testing.assert_close(kept.pooled_BD, pooled_BD, rtol=2**-11, atol=1e-6)
    assert same(cache.put(9, TARGETS, *first), first)
    assert cache.get(8, TARGETS) is None


def test_pieces_beyond_16_bits_and_a_whole_vocabulary_are_kept(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    values, _, rest = answers(0)[0]
    index = torch.tensor([[3, 65_535, 65_536, 2**31 - 1]]).repeat(len(TARGETS), 1)
    kept = cache.put(0, TARGETS, (values, index, rest), None)
    assert kept.topk is not None
    assert kept.pooled_BD is None
    assert torch.equal(kept.topk[1], index)
    whole = answers(1, vocabulary=4)[0]
    assert torch.equal(whole[2], torch.full((len(TARGETS),), SMALLEST))
    kept = cache.put(1, TARGETS, whole, None)
    assert kept.topk is not None
    torch.testing.assert_close(kept.topk[2], whole[2])


def test_an_entry_takes_the_bytes_that_are_stated(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    cache.put(0, TARGETS, answers(0)[0], None)
    (data,) = cache.folder.glob("*.bin")
    assert data.stat().st_size == len(TARGETS) * (4 * 4 + 2)


def test_pooled_vectors_alone_are_an_entry_and_a_fuller_one_replaces_it(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    topk, pooled_BD = answers(0)
    assert cache.put(0, TARGETS, None, pooled_BD).topk is None
    full = cache.put(0, TARGETS, topk, pooled_BD)
    assert same(got(cache, 0), full)
    opened(tmp_path).put(0, TARGETS, None, pooled_BD)  # another process, whose file may sort first or last
    assert same(got(opened(tmp_path), 0), full)


@pytest.mark.parametrize("cut", [1, 30, 63, 64, 65])
def test_a_torn_index_loses_the_last_entry_and_no_other(tmp_path: Path, cut: int) -> None:
    cache = opened(tmp_path)
    kept = [cache.put(number, TARGETS, *answers(number)) for number in range(3)]
    (index,) = cache.folder.glob("*.idx")
    row = index.stat().st_size // 3
    with index.open("r+b") as file:
        file.truncate(3 * row - min(cut, row))
    again = opened(tmp_path)
    assert len(again) == 2
    assert again.get(2, TARGETS) is None
    assert same(again.put(2, TARGETS, *answers(2)), kept[2])
    assert all(same(got(opened(tmp_path), number), kept[number]) for number in range(3))


@pytest.mark.parametrize("cut", [1, 100])
def test_torn_data_loses_the_last_entry_and_no_other(tmp_path: Path, cut: int) -> None:
    cache = opened(tmp_path)
    kept = [cache.put(number, TARGETS, *answers(number)) for number in range(3)]
    (data,) = cache.folder.glob("*.bin")
    with data.open("r+b") as file:
        file.truncate(data.stat().st_size - cut)
    assert cache.get(2, TARGETS) is None  # of a file cut under an open cache, too
    again = opened(tmp_path)
    assert again.get(2, TARGETS) is None
    again.put(2, TARGETS, *answers(2))
    assert all(same(got(opened(tmp_path), number), kept[number]) for number in range(3))


def test_a_changed_byte_is_found_out(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    kept = [cache.put(number, TARGETS, *answers(number)) for number in range(2)]
    (data,) = cache.folder.glob("*.bin")
    content = bytearray(data.read_bytes())
    content[5] ^= 1
    data.write_bytes(content)
    again = opened(tmp_path)
    assert again.get(0, TARGETS) is None
    assert same(got(again, 1), kept[1])
    assert same(again.put(0, TARGETS, *answers(0)), kept[0])
    assert same(got(again, 0), kept[0])


KILLED = """
import os, signal, sys, threading
sys.path.insert(0, {tests!r})
from pathlib import Path
import test_logit_cache as t
cache = t.opened(Path({folder!r}))
for number in range(10**6):
    cache.put(number, t.TARGETS, *t.answers(number))
    print(number, flush=True)
"""


def test_a_killed_writer_leaves_every_entry_it_had_finished(tmp_path: Path) -> None:
    code = KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) == 20:
                child.kill()
                break
    reference = opened(tmp_path / "other")
    cache = opened(tmp_path)
    assert len(cache) >= 21
    for number in range(21):
        assert same(got(cache, number), reference.put(number, TARGETS, *answers(number)))


def test_two_writers_share_a_folder_and_what_both_write_is_harmless(tmp_path: Path) -> None:
    one, two = opened(tmp_path), opened(tmp_path)
    for number in range(6):
        if number % 2 == 0 or number == 3:
            one.put(number, TARGETS, *answers(number))
        if number % 2:
            two.put(number, TARGETS, *answers(number))
    both = opened(tmp_path)
    assert len(list(both.folder.glob("*.bin"))) == 2
    assert len(both) == 6
    reference = opened(tmp_path / "other")
    for number in range(6):
        assert same(got(both, number), reference.put(number, TARGETS, *answers(number)))


def test_other_batches_are_refused(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    cache.put(3, TARGETS, *answers(3))
    other = TARGETS.clone()
    other[2] += 1
    with pytest.raises(UserError, match=r"keeps other masked pieces for micro-batch 3 .* belongs to other batches"):
        cache.get(3, other)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"top_k": 8}, "top_k 4, not 8"),
        ({"temperature": 1.0}, "temperature 2.0, not 1.0"),
        ({"identity": "a" * 63 + "b"}, "identity"),
    ],
)
def test_other_settings_are_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    opened(tmp_path)
    with pytest.raises(UserError, match=said) as refused:
        opened(tmp_path, **changes)
    assert "\n" not in str(refused.value)


def test_another_identity_has_a_folder_of_its_own(tmp_path: Path) -> None:
    opened(tmp_path).put(0, TARGETS, *answers(0))
    other = opened(tmp_path, identity="b" * 64, top_k=None)
    assert other.get(0, TARGETS) is None
    assert json.loads((other.folder / "manifest.json").read_text())["top_k"] is None
    (other.folder / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="not readable"):
        opened(tmp_path, identity="b" * 64, top_k=None)
