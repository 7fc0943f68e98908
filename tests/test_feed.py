"""A step is the same micro-batches, masks and totals, however many processes share it out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tiny_runs
import torch

from unibert.batches import Batches
from unibert.config import TrainConfig
from unibert.feed import Feed
from unibert.manifest import read_manifest


def config_of(micro_batches: int) -> TrainConfig:
    return replace(tiny_runs.asked(Path(), "x", steps=10).config, micro_batches=micro_batches, batch_tokens=1024)


def feed_of(trained: Path, config: TrainConfig, *, rank: int = 0, world: int = 1) -> Feed:
    [folder] = (trained / "shards").iterdir()
    manifest = read_manifest(trained / "models" / "first")
    assert manifest is not None
    assert config.micro_batches is not None
    batches = Batches(
        folder, config.languages, alpha=0.3, batch_tokens=config.batch_tokens // config.micro_batches, max_tokens=64,
        long_share=0.1, seed=3,
    )  # fmt: skip
    return Feed(batches, config, manifest["vocab_size"], rank=rank, world=world)


@pytest.mark.parametrize("world", [2, 4])
def test_processes_share_out_the_micro_batches_of_one(trained: Path, world: int) -> None:
    config = config_of(4)
    alone = feed_of(trained, config)
    shared = [feed_of(trained, config, rank=rank, world=world) for rank in range(world)]
    for _ in range(40):  # across chunks
        whole = next(alone)
        parts = [next(feed) for feed in shared]
        assert all(part.totals == whole.totals and part.sizes == whole.sizes for part in parts)
        assert all(part.position == whole.position and part.number == whole.number for part in parts)
        numbered = dict(pair for part in parts for pair in part.micros)
        assert sorted(numbered) == [number for number, _ in whole.micros]
        for number, micro in whole.micros:
            assert torch.equal(numbered[number].tokens_RT, micro.tokens_RT)
            assert torch.equal(numbered[number].picked_M, micro.picked_M)
    assert whole.totals.masked == sum(len(m.targets_M) for _, m in whole.micros)
    assert whole.totals.tokens == sum(int((m.clean_RT != 0).sum()) for _, m in whole.micros)
    assert whole.totals.sequences == sum(len(m.lengths_B) for _, m in whole.micros)


def test_seeking_gives_the_steps_that_followed(trained: Path) -> None:
    config = config_of(2)
    feed = feed_of(trained, config)
    for _ in range(7):
        next(feed)
    position, number = feed.position, feed.number
    after = [next(feed) for _ in range(50)]
    other = feed_of(trained, config)
    other.seek(position, number)
    for expected in after:
        found = next(other)
        assert found.number == expected.number
        for (_, a), (_, b) in zip(found.micros, expected.micros, strict=True):
            assert torch.equal(a.clean_RT, b.clean_RT)
            assert torch.equal(a.tokens_RT, b.tokens_RT)


def test_masks_differ_from_one_micro_batch_to_the_next(trained: Path) -> None:
    config = config_of(1)
    feed = feed_of(trained, config)
    first = next(feed).micros[0][1]
    start = feed_of(trained, config)
    start.seek(start.position, 1)  # the same text under another number
    second = next(start).micros[0][1]
    assert torch.equal(first.clean_RT, second.clean_RT)
    assert not torch.equal(first.tokens_RT, second.tokens_RT)
