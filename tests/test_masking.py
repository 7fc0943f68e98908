from __future__ import annotations

import torch

from unibert.masking import corrupt
from unibert.tokenizer import CLS, FIRST_PIECE, MASK, PAD, SEP

VOCAB = 5000


def _tokens(rows: int = 400, width: int = 128) -> torch.Tensor:
    tokens = torch.randint(FIRST_PIECE, VOCAB, (rows, width), generator=torch.Generator().manual_seed(1))
    tokens[:, 0], tokens[:, 60], tokens[:, 61:] = CLS, SEP, PAD
    return tokens


def test_shares_are_those_of_bert():
    tokens = _tokens()
    corrupted, picked, targets = corrupt(
        tokens, rate=0.15, vocab_size=VOCAB, generator=torch.Generator().manual_seed(0)
    )
    ordinary = int((tokens >= FIRST_PIECE).sum())
    assert abs(len(picked) / ordinary - 0.15) < 0.01
    now = corrupted.flatten()[picked]
    assert abs(float((now == MASK).float().mean()) - 0.8) < 0.02
    assert abs(float((now == targets).float().mean()) - 0.1) < 0.02
    changed = now[(now != MASK) & (now != targets)]
    assert int(changed.min()) >= FIRST_PIECE
    assert int(changed.max()) < VOCAB


def test_only_picked_positions_change_and_specials_never_do():
    tokens = _tokens()
    before = tokens.clone()
    corrupted, picked, targets = corrupt(tokens, rate=0.5, vocab_size=VOCAB, generator=torch.Generator().manual_seed(0))
    assert torch.equal(tokens, before)
    assert torch.equal(tokens.flatten()[picked], targets)
    assert int(targets.min()) >= FIRST_PIECE
    untouched = torch.ones(tokens.numel(), dtype=torch.bool)
    untouched[picked] = False
    assert torch.equal(corrupted.flatten()[untouched], tokens.flatten()[untouched])


def test_same_seed_same_masks_and_at_least_one():
    tokens = _tokens(1, 70)
    one = corrupt(tokens, rate=0.15, vocab_size=VOCAB, generator=torch.Generator().manual_seed(3))
    two = corrupt(tokens, rate=0.15, vocab_size=VOCAB, generator=torch.Generator().manual_seed(3))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    short = torch.tensor([[CLS, 77, SEP]])
    for seed in range(20):
        _, picked, targets = corrupt(short, rate=0.01, vocab_size=VOCAB, generator=torch.Generator().manual_seed(seed))
        assert (picked.tolist(), targets.tolist()) == ([1], [77])
