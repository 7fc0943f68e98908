"""The faster pass is transformers' own: same states and gradients, and dropout that drops what it says."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel, XLMRobertaConfig, XLMRobertaModel

from unibert import fused
from unibert.fused_encoder import speed_up

SHAPE = {"vocab_size": 50, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 96, "pad_token_id": 1}


def encoder(kind: str, heads: int = 2, dropout: float = 0.0) -> Any:
    drops = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    classes = {"bert": (BertConfig, BertModel), "xlm-r": (XLMRobertaConfig, XLMRobertaModel)}
    config, model = classes[kind]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        made = model(config(**SHAPE, num_attention_heads=heads, type_vocab_size=2, **drops))
        for parameter in made.parameters():  # biases and norms as after training, not 0 and 1
            nn.init.normal_(parameter, std=0.2)
    return made


def batch(*, padded: bool) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(2, 50, (3, 11), generator=generator)
    mask = torch.ones_like(ids)
    if padded:
        for row, length in enumerate((11, 4, 7)):
            ids[row, length:], mask[row, length:] = 1, 0
    types = (torch.arange(11) > 5).long().expand(3, 11)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("kind", "heads"), [("bert", 1), ("bert", 4), ("xlm-r", 2)])
def test_states_and_gradients_are_transformers_own(kind: str, heads: int, padded: bool) -> None:
    plain, fast = encoder(kind, heads), speed_up(encoder(kind, heads))
    inputs = batch(padded=padded)
    real = inputs["attention_mask"].bool()
    found = [model(**inputs).last_hidden_state[real] for model in (plain, fast)]
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-4)
    for states in found:
        (states * torch.linspace(-1, 1, states.numel()).view_as(states)).sum().backward()
    theirs = dict(plain.named_parameters())
    for name, parameter in fast.named_parameters():
        if "pooler" not in name:
            assert theirs[name].grad is not None
            torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=2e-3, atol=2e-3, msg=name)


def test_bf16_rounds_as_autocast_does() -> None:
    plain, fast, exact = encoder("bert"), speed_up(encoder("bert")), encoder("bert")
    inputs = batch(padded=True)
    real = inputs["attention_mask"].bool()
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        theirs, ours = (model(**inputs).last_hidden_state[real].float() for model in (plain, fast))
    truth = exact(**inputs).last_hidden_state[real].detach()
    assert 0.5 < (ours - truth).abs().mean() / (theirs - truth).abs().mean() < 1.2


def test_weights_changed_in_place_moved_or_loaded_are_seen() -> None:
    fast, other = speed_up(encoder("bert")), encoder("bert")
    inputs = batch(padded=False)
    for precision in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision), torch.no_grad():
            before = fast(**inputs).last_hidden_state
            state = {name: tensor.clone() for name, tensor in fast.state_dict().items()}
            for parameter in fast.parameters():
                parameter.mul_(0.5)
            assert not torch.allclose(fast(**inputs).last_hidden_state, before)
            fast.double().float()  # puts other storage under the same parameters
            fast.load_state_dict(state)
            torch.testing.assert_close(fast(**inputs).last_hidden_state, before)
    assert fast.state_dict().keys() == other.state_dict().keys()


def test_an_encoder_that_predicted_first_can_be_trained() -> None:
    fast = speed_up(encoder("bert"))
    for precision in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision):
            with torch.inference_mode():
                fast(**batch(padded=True))
            fast(**batch(padded=True)).last_hidden_state.sum().backward()


def test_nothing_keeps_an_encoder_that_is_done_with() -> None:
    gc.collect()
    gc.disable()
    try:
        fast = speed_up(encoder("bert"))
        fast(**batch(padded=True)).last_hidden_state.sum().backward()
        there = weakref.ref(fast)
        del fast
        assert there() is None, "a cycle would keep it until the collector comes"
    finally:
        gc.enable()


def test_what_it_was_not_made_for_goes_to_the_original() -> None:
    fast = speed_up(encoder("bert"))
    assert len(fast(**batch(padded=True), output_hidden_states=True).hidden_states) == 3
    distil = DistilBertModel(DistilBertConfig(vocab_size=50, dim=32, n_layers=1, n_heads=2, hidden_dim=32))
    assert "forward" not in vars(speed_up(distil))


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(rate: float) -> None:
    torch.manual_seed(0)
    mask, scale = fused.dropped((400, 1001), rate)
    assert mask.shape == (400, 1001)
    assert set(mask.unique().tolist()) == {-1, 0}
    drop = mask == 0
    deviation = (rate * (1 - rate) / mask.numel()) ** 0.5
    assert abs(drop.float().mean().item() - rate) < 4 * deviation + 1 / 32768
    assert scale == pytest.approx(1 / (1 - rate), rel=1e-4)
    by_place = drop.view(-1)[: mask.numel() // 4 * 4].view(-1, 4).float()  # the four that share 64 bits
    assert (by_place.mean(0) - rate).abs().max() < 5 * deviation * 2
    assert torch.corrcoef(by_place.T).fill_diagonal_(0).abs().max() < 0.02


def test_gradients_through_dropout_are_those_of_what_was_kept() -> None:
    """Against autograd through the same masks, drawn again from the same seed."""
    made = encoder("bert", heads=4, dropout=0.3).train()
    layer = fused.layers_of(made, torch.float32)[0]
    for dense in layer.dense:
        dense.refresh()
    state = torch.randn(6, 64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    padding = torch.tensor([[False] * 3, [False, False, True]])

    torch.manual_seed(9)
    out = fused.through(layer, state, (2, 3), padding, attention_drop=0.3, hidden_drop=0.2)
    (ours,) = torch.autograd.grad(out.pow(2).sum(), state)

    torch.manual_seed(9)
    own, block = made.encoder.layer[0], made.encoder.layer[0].attention
    q, k, v = (
        part(state).view(2, 3, 4, 16).transpose(1, 2) for part in (block.self.query, block.self.key, block.self.value)
    )
    scores = (q @ k.transpose(2, 3) / 4).masked_fill(padding[:, None, None], float("-inf"))
    mask, scale = fused.dropped((8, 3, 3), 0.3)
    shares = scores.softmax(-1).masked_fill(mask.view(2, 4, 3, 3) == 0, 0) * scale
    mixed = block.output.dense((shares @ v).transpose(1, 2).reshape(6, 64))
    mask, scale = fused.dropped((6, 64), 0.2)
    middle = block.output.LayerNorm(mixed.masked_fill(mask == 0, 0) * scale + state)
    inner = own.output.dense(torch.nn.functional.gelu(own.intermediate.dense(middle)))
    mask, scale = fused.dropped((6, 64), 0.2)
    expected = own.output.LayerNorm(inner.masked_fill(mask == 0, 0) * scale + middle)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
    (theirs,) = torch.autograd.grad(expected.pow(2).sum(), state)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_mask_keeps_numbers_to_the_bit(dtype: torch.dtype) -> None:
    x = torch.randn(100, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    torch.manual_seed(1)
    mask, _ = fused.dropped(x.shape, 0.4)
    assert torch.equal(fused.kept(x.clone(), mask), torch.where(mask == 0, torch.zeros((), dtype=dtype), x))


def test_dropout_is_on_in_training_alone_and_repeats_with_its_seed() -> None:
    fast = speed_up(encoder("bert", dropout=0.1))
    inputs = batch(padded=True)
    fast.train()
    with torch.random.fork_rng():
        found = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            found.append(fast(**inputs).last_hidden_state)
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2])
    fast.eval()
    torch.testing.assert_close(
        fast(**inputs).last_hidden_state, encoder("bert").eval()(**inputs).last_hidden_state, rtol=1e-4, atol=1e-4
    )
