"""The ways through the encoder give transformers' numbers: fused on a CPU, packed rows, compiled or not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from unibert import micro, packed
from unibert.batches import collate
from unibert.config import XXSMALL
from unibert.micro import Micro
from unibert.model import UniBert, autocast, mean_pool, new
from unibert.tokenizer import PAD

VOCABULARY = 700


def model(seed: int = 0, layers: int = 2) -> UniBert:
    """Returns a small encoder whose every parameter, biases and LayerNorms too, is away from its first value."""
    generator = torch.Generator().manual_seed(seed)
    made = new(replace(XXSMALL, layers=layers), vocab_size=VOCABULARY, dropout=0.0, generator=generator)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return made.place("cpu")


def batch(lengths: tuple[int, ...] = (17, 9, 30, 1), number: int = 0) -> Micro:
    rng = np.random.default_rng(number)
    rows = [(i % 3, rng.integers(261, VOCABULARY, length)) for i, length in enumerate(lengths)]
    return micro.padded(collate(rows), rate=0.3, vocab_size=VOCABULARY, seed=1, number=number)


def reference(made: UniBert, given: Micro, bf16: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the loss, logits and last states of transformers' own modules, padding masked by its own mask."""
    with autocast("cpu", bf16):
        real = given.clean_RT != PAD
        hidden = made.mlm.bert(input_ids=given.tokens_RT, attention_mask=real).last_hidden_state.flatten(0, 1)
        logits = made.mlm.cls(hidden[given.picked_M])
    loss = torch.nn.functional.cross_entropy(logits.float(), given.targets_M, reduction="sum")
    return loss + 0.01 * hidden[real.flatten()].square().sum(), logits, hidden


def gradients(made: UniBert, loss: Tensor) -> dict[str, Tensor]:
    made.zero_grad()
    loss.backward()
    found = {name: p.grad for name, p in made.named_parameters()}
    return {name: g.clone() for name, g in found.items() if g is not None}


def own_loss(made: UniBert, given: Micro, bf16: bool, *, logits: bool = True) -> tuple[Tensor, Tensor | None, Tensor]:
    states = made.run(given, bf16=bf16, logits=logits)
    real_N = given.sequence_N < len(given.lengths_B)
    return states.mlm + 0.01 * states.layers[-1][real_N].square().sum(), states.logits_MV, states.layers[-1]


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize(("lengths", "logits"), [((17, 9, 30, 1), True), ((17, 9, 30, 1), False), ((12, 12), False)])
def test_the_fused_pass_has_the_loss_states_and_gradients_of_transformers(
    bf16: bool, lengths: tuple[int, ...], logits: bool
) -> None:
    made, given = model(), batch(lengths)
    expected, their_logits, hidden = reference(made, given, bf16)
    theirs = gradients(made, expected)
    loss, own_logits, own_hidden = own_loss(made, given, bf16, logits=logits)
    ours = gradients(made, loss)
    real_N = given.sequence_N < len(lengths)
    tolerance = 0.02 if bf16 else 1e-5
    torch.testing.assert_close(loss, expected, rtol=1e-3 if bf16 else 1e-6, atol=0)
    assert (own_logits is not None) == logits
    if own_logits is not None:
        torch.testing.assert_close(own_logits.float(), their_logits.float(), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(own_hidden[real_N], hidden[real_N].float(), rtol=tolerance, atol=tolerance)
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        # A key's bias moves every score of a query alike: its gradient is rounding and nothing else.
        if not name.endswith("key.bias"):
            assert float((ours[name] - gradient).norm()) <= (0.05 if bf16 else 1e-5) * float(gradient.norm()), name


def test_the_fused_pass_sees_weights_that_a_fused_optimiser_changed() -> None:
    made, given = model(), batch()
    optimizer = torch.optim.AdamW(made.parameters(), lr=0.01, fused=True)
    for _ in range(2):
        optimizer.zero_grad()
        own_loss(made, given, True)[0].backward()
        optimizer.step()
    torch.testing.assert_close(own_loss(made, given, True)[0], reference(made, given, True)[0], rtol=1e-3, atol=0)


def test_a_second_loss_is_differentiated_apart_from_the_first() -> None:
    """What the adversary needs: both gradients of one pass, each its own, the tied vectors' too."""
    made, given = model(), batch()
    states = made.run(given, bf16=False)
    parameters = list(made.mlm.bert.parameters())
    states.mlm.backward(retain_graph=True)
    found = torch.autograd.grad(states.layers[-1][0].sum(), parameters, allow_unused=True)
    hidden = made.mlm.bert(input_ids=given.tokens_RT, attention_mask=given.clean_RT != PAD).last_hidden_state
    expected = torch.autograd.grad(hidden[0, 0].sum(), parameters, allow_unused=True)
    for ours, theirs in zip(found, expected, strict=True):
        if theirs is not None:
            assert ours is not None
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_packed_rows_have_the_loss_and_gradients_of_padded_ones_and_never_cross_sequences() -> None:
    made, given = model(), batch()
    row = micro.pack(given, 80)
    assert row.tokens_RT.shape == (1, 80)
    assert torch.equal(row.clean_RT.flatten()[row.picked_M], given.targets_M)
    loss, logits, hidden = own_loss(made, given, False)
    ours = gradients(made, loss)
    made.pack()
    loss_packed, logits_packed, hidden_packed = own_loss(made, row, False)
    theirs = gradients(made, loss_packed)
    torch.testing.assert_close(loss_packed, loss, rtol=1e-6, atol=0)
    torch.testing.assert_close(logits_packed, logits, rtol=1e-4, atol=1e-5)
    kept = row.sequence_N < len(row.lengths_B)
    torch.testing.assert_close(
        hidden_packed[kept], hidden[given.sequence_N < len(given.lengths_B)], rtol=1e-4, atol=1e-5
    )
    for name, gradient in ours.items():
        if not name.endswith("key.bias"):
            assert float((theirs[name] - gradient).norm()) <= 1e-4 * float(gradient.norm()), name
    # Another first sequence changes nothing in the others.
    changed = row.tokens_RT.clone()
    changed[0, 1] = 300
    with torch.no_grad():
        before = made.run(row, bf16=False).layers[-1]
        after = made.run(replace(row, tokens_RT=changed), bf16=False).layers[-1]
    first = row.sequence_N == 0
    assert not torch.equal(before[first], after[first])
    assert torch.equal(before[~first], after[~first])


def test_pooling_is_the_mean_over_real_tokens_in_both_layouts() -> None:
    given = batch()
    row = micro.pack(given, 80)
    hidden_ND = torch.randn(len(given.sequence_N), 5, generator=torch.Generator().manual_seed(0))
    expected = mean_pool(hidden_ND.view(*given.clean_RT.shape, 5), given.clean_RT)
    torch.testing.assert_close(micro.pool(hidden_ND, given.sequence_N, given.lengths_B), expected)
    packed_ND = torch.zeros(80, 5)
    packed_ND[: int(given.lengths_B.sum())] = hidden_ND[given.sequence_N < len(given.lengths_B)]
    packed_ND[int(given.lengths_B.sum()) :] = 99.0  # the filling counts for nobody
    torch.testing.assert_close(micro.pool(packed_ND, row.sequence_N, row.lengths_B), expected)


def test_an_encoder_made_for_packed_rows_still_reads_padded_ones() -> None:
    """As evaluation does; a name whose mask transformers did not know would read the padding too."""
    made, given = model(), batch()
    before = made(given.tokens_RT, given.picked_M)
    after = made.pack()(given.tokens_RT, given.picked_M)
    torch.testing.assert_close(after.logits_MV, before.logits_MV, rtol=1e-4, atol=1e-4)
    made.mlm.set_attn_implementation("sdpa")
    longer = torch.nn.functional.pad(given.tokens_RT, (0, 7))
    real_N = given.clean_RT.flatten() != PAD
    hidden = made.pack()(longer, given.picked_M).hidden_BTD[:, : given.tokens_RT.shape[1]].flatten(0, 1)
    torch.testing.assert_close(hidden[real_N], before.hidden_BTD.flatten(0, 1)[real_N], rtol=1e-4, atol=1e-4)


def test_bounds_are_the_ends_of_sequences() -> None:
    assert packed.bounds(torch.tensor([3, 0, 5])).tolist() == [0, 3, 3, 8]


def test_a_head_that_is_told_the_language_folds_into_a_plain_one() -> None:
    made, given = model(), batch()
    plain = made.run(given, bf16=False, logits=True).logits_MV
    made.tell_languages(3)
    assert made.language is not None
    torch.testing.assert_close(made.run(given, bf16=False, logits=True).logits_MV, plain)  # zero at first
    with torch.no_grad():
        made.language.weight[:] = torch.randn(3, 128, generator=torch.Generator().manual_seed(3))
    told = made.run(given, bf16=False, logits=True).logits_MV
    language_M = given.language_B[given.sequence_N[given.picked_M]]
    hidden = made.run(given, bf16=False).layers[-1][given.picked_M]
    for language in range(3):
        only = (language_M == language).nonzero().squeeze(1)
        by_hand = made.mlm.cls(hidden[only] + made.language.weight[language])
        torch.testing.assert_close(told[only], by_hand, rtol=1e-4, atol=1e-4)
    shares = torch.tensor([0.0, 1.0, 0.0])
    expected = made.mlm.cls(hidden + made.language.weight[1])
    made.forget_languages(shares)
    torch.testing.assert_close(made.run(given, bf16=False, logits=True).logits_MV, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
def test_packed_rows_on_a_gpu_agree_with_the_cpu() -> None:
    made, given = model(), batch()
    expected = own_loss(made, given, False)[0]
    on_gpu = made.place("cuda").pack()
    found = own_loss(on_gpu, micro.pack(given, 80).to("cuda"), True)[0]
    assert float((found.cpu() - expected).abs()) < 0.01 * float(expected)
