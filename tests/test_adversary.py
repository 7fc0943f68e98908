"""The adversary reaches the encoder with the opposite sign, and nothing of it reaches the discriminator."""

from __future__ import annotations

import io
import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from unibert import micro, objectives
from unibert.adversary import TOKENS, AdversaryState
from unibert.batches import collate
from unibert.config import Adversary
from unibert.micro import Micro
from unibert.objectives import effective_rank
from unibert.tokenizer import FIRST_PIECE, MASK

DISCRIMINATING = ["reversal", "uniform"]
METHODS: list[Any] = [*DISCRIMINATING, "matching"]


def state_of(width: int = 8, languages: int = 2, seed: int = 0, **settings: Any) -> AdversaryState:
    settings = {"hidden": 16, "start_frac": 0.0, **settings}
    return AdversaryState(
        Adversary(**settings),
        width=width, languages=languages, total_steps=10, device="cpu", generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def clouds(count: int, seed: int, width: int = 8) -> tuple[Tensor, Tensor]:
    """Returns two languages' vectors, three standard deviations from their middle along the first two axes."""
    language = torch.arange(count) % 2
    vectors = normal(count, width, seed=seed)
    vectors[:, :2] += 3.0 * (2 * language - 1).unsqueeze(1)
    return vectors, language


def batch(lengths: tuple[int, ...], rate: float = 0.3) -> Micro:
    rng = np.random.default_rng(0)
    rows = [(i % 3, rng.integers(261, 700, length)) for i, length in enumerate(lengths)]
    return micro.padded(collate(rows), rate=rate, vocab_size=700, seed=1, number=0)


def probe(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> float:
    """Returns the accuracy of a fresh linear classifier (least squares) on vectors that it was not fitted to."""
    rows = [torch.cat([vectors, torch.ones(len(vectors), 1)], 1) for vectors, _ in (train, test)]
    weights = torch.linalg.lstsq(rows[0], 2.0 * train[1].unsqueeze(1) - 1).solution
    return float(((rows[1] @ weights).squeeze(1) > 0).eq(test[1].bool()).float().mean())


def test_the_encoders_gradient_is_minus_lambda_times_the_discriminators_loss() -> None:
    state = state_of(balance=None, strength=0.3, clip_norm=1e6, ramp_frac=0.1)
    inputs, language = clouds(40, 1)
    state.learn(inputs[:9], language[:9])  # languages seen 6 and 5 times: the class weights differ
    encoder = torch.nn.Parameter(normal(8, 8))
    before = [p.grad.clone() for p in state.net.parameters()]

    loss = state.encoder_loss(inputs @ encoder, language)
    against = torch.autograd.grad(loss, [encoder], retain_graph=True)
    logged = state.press([encoder], against, step=10)
    ramped = 0.3 * objectives.ganin_ramp(10)
    assert float(logged["strength"]) == pytest.approx(ramped)

    def discriminator_loss(weights: Tensor) -> Tensor:
        counts = torch.tensor([6.0, 5.0], dtype=torch.float64)
        weight = (11 / (2 * counts))[language]
        logits = net(inputs.double() @ weights)
        return -(weight * logits.log_softmax(-1)[range(40), language]).sum()

    net = objectives.Discriminator(8, 2, 16).double()
    net.load_state_dict(state.net.state_dict())
    centre = encoder.detach().double()
    for row, column in ((0, 0), (3, 5), (7, 1)):
        moved = torch.zeros(8, 8, dtype=torch.float64)
        moved[row, column] = 1e-6
        with torch.no_grad():
            slope = float(discriminator_loss(centre + moved) - discriminator_loss(centre - moved)) / 2e-6
        assert float(encoder.grad[row, column]) == pytest.approx(-ramped * slope, rel=1e-3, abs=1e-4)

    # Whatever kind of backward pass: the discriminator's own gradient stays what its last update left.
    loss.backward()
    for parameter, gradient in zip(state.net.parameters(), before, strict=True):
        assert torch.equal(parameter.grad, gradient)


@pytest.mark.parametrize("strength", [0.0, 5.0])
def test_the_discriminator_descends_its_own_plain_loss(strength: float) -> None:
    state = state_of(strength=strength, updates=1)
    vectors, language = clouds(12, 1)
    twin = objectives.Discriminator(8, 2, 16)
    twin.load_state_dict(state.net.state_dict())
    vectors.requires_grad_()
    state.learn(vectors, language)
    loss = torch.nn.functional.cross_entropy(twin(vectors.detach()), language)  # both languages seen alike: no weights
    for parameter, expected in zip(
        state.net.parameters(), torch.autograd.grad(loss, list(twin.parameters())), strict=True
    ):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-4, atol=1e-6)
    assert vectors.grad is None


@pytest.mark.parametrize("method", DISCRIMINATING)
def test_a_step_along_the_encoders_gradient_hurts_a_discriminator_that_could_tell(method: Any) -> None:
    state = state_of(method=method)
    vectors, language = clouds(64, 1)
    for _ in range(30):
        first = state.learn(vectors, language)
    assert float(first["disc_accuracy"]) > 0.95
    assert float(first["disc_loss"]) < 0.3
    vectors.requires_grad_()
    (gradient,) = torch.autograd.grad(state.encoder_loss(vectors, language), [vectors])
    moved = vectors.detach() - 0.5 * gradient / gradient.norm() * vectors.detach().norm()
    with torch.no_grad():
        losses = [objectives.language_loss(state.net(x), language, torch.ones(2)) for x in (vectors.detach(), moved)]
    assert float(losses[1]) > float(losses[0])


@pytest.mark.parametrize("method", METHODS)
def test_a_linear_encoder_under_pressure_hides_the_language_from_a_fresh_probe(method: Any) -> None:
    """The encoder also has to keep the six axes that hold no language, as masked language modelling would make it.

    A little noise on its vectors is the precision of a probe: without it any invertible map hides nothing.
    """
    train, test = clouds(512, 11), clouds(512, 12)
    reached = {}
    for pressed in (True, False):
        state = state_of(method=method, balance=None, hidden=32)
        encoder = torch.nn.Parameter(torch.eye(8))
        optimizer = torch.optim.Adam([encoder], lr=0.003)
        for step in range(300):
            inputs, language = clouds(128, 1000 + step)
            vectors = inputs @ encoder + 0.3 * normal(128, 8, seed=step)
            optimizer.zero_grad()
            kept = (vectors - inputs)[:, 2:].square().mean()
            kept.backward(retain_graph=True)
            state.learn(vectors, language)
            if pressed and state.presses(step):
                against = torch.autograd.grad(state.encoder_loss(vectors, language), [encoder])
                state.press([encoder], against, step)
            optimizer.step()
        with torch.no_grad():
            seen = [(x @ encoder + 0.3 * normal(512, 8, seed=9 + i), y) for i, (x, y) in enumerate((train, test))]
        gap = objectives.matching_loss(*seen[1], 2) / 512
        reached[pressed] = probe(seen[0], seen[1]), float(gap), objectives.effective_rank(seen[1][0])
    assert reached[False][0] > 0.99
    assert reached[True][0] < 0.75, reached
    assert reached[True][1] < 0.1 * reached[False][1], reached
    assert reached[True][2] > 4, "hidden, not collapsed"


@pytest.mark.parametrize("method", METHODS)
def test_encoder_losses_are_float32_sums(method: Any) -> None:
    state = state_of(languages=3, method=method)
    vectors, language = normal(12, 8), torch.arange(12) % 3
    state.learn(vectors, language)
    whole = state.encoder_loss(vectors, language)
    assert whole.dtype == torch.float32
    if method != "matching":
        halves = [state.encoder_loss(vectors[i::2], language[i::2]) for i in range(2)]
        torch.testing.assert_close(whole, torch.stack(halves).sum())
    torch.testing.assert_close(
        state.encoder_loss(vectors.repeat(2, 1), language.repeat(2)), 2 * whole, rtol=1e-4, atol=1e-5
    )


def test_sentence_level_reads_means_of_sequences() -> None:
    given = batch((4, 9, 1))
    hidden = normal(len(given.sequence_N), 8).bfloat16()
    vectors, language = state_of(languages=3).read(hidden, given)
    assert vectors.dtype == torch.float32
    assert language.tolist() == [0, 1, 2]
    for i in range(3):
        torch.testing.assert_close(vectors[i], hidden[given.sequence_N == i].float().mean(0))


@pytest.mark.parametrize("lengths", [(30, 400, 3, 77, 1), (9,) * 60, tuple([3] * 520 + [1] * 180), (2000,)])
@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_token_level_reads_pieces_evenly_and_nothing_else(lengths: tuple[int, ...], layout: str) -> None:
    given = batch(lengths)
    if layout == "packed":
        given = micro.pack(given, 5000)
    state, B = state_of(languages=3, level="token"), len(lengths)
    # Each state is its own address, so that what is read can be looked up.
    hidden = torch.arange(len(given.sequence_N)).unsqueeze(1).repeat(1, 8).float()
    vectors, language = state.read(hidden, given)
    places = vectors[:, 0].long()
    assert len(vectors) == state.count(B) <= TOKENS
    assert len(vectors) > TOKENS // 2
    assert torch.equal(places, places.sort().values), "in the order of the stream"
    sequences = given.sequence_N[places]
    assert int(sequences.max()) < B, "never padding"
    assert torch.equal(language, given.language_B[sequences])
    special = given.tokens_RT.flatten()[places] < FIRST_PIECE
    pieces = torch.bincount(given.sequence_N[given.tokens_RT.flatten() >= FIRST_PIECE], minlength=B)
    assert (pieces[sequences[special]] == 0).all(), "special tokens of sequences that have nothing else, only"
    counts = torch.bincount(sequences, minlength=B)
    assert counts.max() - counts.min() <= (0 if B <= TOKENS else 1), "every sequence counts alike"
    for i in range(min(B, 5)):
        mine = places[sequences == i]
        choice = int(pieces[i]) or int(given.lengths_B[i])
        assert len(mine.unique()) == min(len(mine), choice), "as many different ones as there are"


def test_token_level_reads_the_same_tokens_in_both_layouts_and_passes_their_gradient() -> None:
    given = batch((30, 200, 3))
    packed, state = micro.pack(given, 300), state_of(languages=3, level="token")
    real = given.sequence_N < 3
    hidden = normal(len(real), 8).requires_grad_()
    vectors, language = state.read(hidden, given)
    filled = torch.cat([hidden[real], torch.full((300 - int(real.sum()), 8), torch.nan)])
    again, same = state.read(filled, packed)
    assert torch.equal(vectors, again)
    assert torch.equal(language, same)
    (gradient,) = torch.autograd.grad(vectors.sum(), hidden)
    masked = given.tokens_RT.flatten() == MASK
    assert masked.any()
    assert float(gradient[~real | masked].abs().max()) == 0
    assert float(gradient.sum()) == len(vectors) * 8


def test_it_starts_ramps_and_presses_every_few_steps() -> None:
    state = AdversaryState(
        Adversary(start_frac=0.5, ramp_frac=0.2, every=3, balance=0.4, strength=2.0),
        width=8, languages=2, total_steps=100, device="cpu", generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert [step for step in range(49, 63) if state.presses(step)] == [53, 56, 59, 62]
    assert [step for step in range(47, 53) if state.active(step)] == [50, 51, 52]
    assert state.share(54) == state.strength(49) == 0
    assert state.share(56) == pytest.approx(0.4 * 2.0 * objectives.ganin_ramp(6 / 20))
    state.backoff = 0.25
    assert state.strength(56) == pytest.approx(0.25 * 2.0 * objectives.ganin_ramp(6 / 20))
    assert state_of(balance=None).share(5) is None
    assert state_of(balance=None).presses(5)
    assert not state_of(balance=None, strength=0.0).presses(5)
    assert not state_of(balance=0.0).presses(5)


def same(one: AdversaryState, other: AdversaryState) -> bool:
    pairs = zip(one.net.state_dict().values(), other.net.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs) and torch.equal(one.seen_L, other.seen_L)


def test_a_saved_state_goes_on_bit_for_bit() -> None:
    def go_on(state: AdversaryState, steps: range) -> list[float]:
        return [float(state.learn(*clouds(10 + step, step))["disc_loss"]) for step in steps]

    whole, half = state_of(replay=3), state_of(replay=3)
    expected = go_on(whole, range(8))
    first = go_on(half, range(5))
    half.watch(3.0, 10.0, step=1)
    half.watch(9.0, 10.0, step=1)
    stored = io.BytesIO()
    torch.save(half.state_dict(), stored)
    stored.seek(0)
    resumed = state_of(replay=3, seed=99)
    resumed.load_state_dict(torch.load(stored, weights_only=True))
    assert first + go_on(resumed, range(5, 8)) == expected
    assert same(whole, resumed)
    assert resumed.backoff == 0.5
    assert resumed.references == {"held-out": (3.0, 10.0)}
    assert resumed.quiet_until == half.quiet_until > 1


def test_it_backs_off_when_text_or_vectors_say_so_and_gives_that_time_to_show() -> None:
    state = state_of()
    assert state.watch(3.0, math.nan, 0, where="training") is None, "nothing was read yet"
    assert state.watch(3.0, 40.0, 20, where="training") is None, "what it is held to"
    assert state.watch(3.29, 21.0, 40, where="training") is None
    reason = state.watch(3.31, 21.0, 60, where="training")
    assert reason is not None
    assert "training loss +0.31 nats, effective rank x0.53" in reason
    assert state.backoff == 0.5
    assert state.watch(4.0, 21.0, 80, where="training") is None, "halved a moment ago"
    assert state.watch(4.0, 21.0, 120, where="training") is not None
    assert state.watch(2.0, 30.0, 300) is None, "held-out text is held to its own beginning"
    assert state.watch(2.0, 14.0, 320) is not None, "the rank has more than halved"
    assert state.backoff == 0.125


@pytest.mark.parametrize("method", ["reversal", "matching"])
def test_the_rank_it_watches_is_of_the_vectors_it_read_last(method: Any) -> None:
    state = state_of(method=method, replay=2)
    assert math.isnan(state.rank())
    read = [clouds(30, seed) for seed in range(3)]
    for vectors, language in read:
        state.learn(vectors, language)
    last = torch.cat([vectors for vectors, _ in read[1:]])
    assert state.rank() == pytest.approx(effective_rank(last))


def test_processes_that_gather_in_one_order_stay_the_same() -> None:
    one, other = state_of(seed=4), state_of(seed=4)
    for step in range(4):
        parts = [clouds(6 + i, 10 * step + i) for i in range(3)]
        for state in (one, other):
            state.learn(torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts]))
    assert same(one, other)
    assert torch.equal(one.generator.get_state(), other.generator.get_state())


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e30])
def test_vectors_that_are_not_finite_count_for_nothing(bad: float) -> None:
    poisoned, clean = state_of(), state_of()
    for step in range(3):
        vectors, language = clouds(10, step)
        clean.learn(vectors[:8], language[:8])
        vectors[8:, 3] = bad
        first = poisoned.learn(vectors, language)
        assert first["disc_loss"].isfinite()
        assert 0 <= float(first["disc_accuracy"]) <= 1
    assert torch.equal(poisoned.seen_L, clean.seen_L)
    for a, b in zip(poisoned.net.parameters(), clean.net.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert all(vectors.isfinite().all() for vectors, _, _ in poisoned.replay)
    nothing = poisoned.learn(torch.full((4, 8), torch.nan), torch.zeros(4, dtype=torch.long))
    assert float(nothing["disc_loss"]) == 0
    assert all(p.isfinite().all() for p in poisoned.net.parameters())


def test_class_weights_make_languages_count_alike() -> None:
    state = state_of(updates=1)
    language = torch.tensor([0] * 89 + [1] * 9)
    vectors = normal(98, 8)
    with torch.no_grad():
        losses = -state.net(vectors).log_softmax(-1)[range(98), language]
    first = state.learn(vectors, language)
    assert state.weight_L.tolist() == pytest.approx([100 / (2 * 90), 100 / (2 * 10)])
    assert float((state.weight_L * state.seen_L).sum() / state.seen_L.sum()) == pytest.approx(1)
    weights = torch.tensor([1 / 90] * 89 + [1 / 10] * 9)
    assert float(first["disc_loss"]) == pytest.approx(float((weights * losses).sum() / weights.sum()), rel=1e-5)


def test_matching_has_no_discriminator_to_train() -> None:
    state = state_of(method="matching")
    before = state_of(method="matching")
    assert state.learn(*clouds(10, 0)) == {}
    assert same(state, before)
    assert len(state.replay) == 1, "for the rank that is watched"


@pytest.mark.parametrize("method", METHODS)
def test_back_off_halves_on_a_dearer_or_collapsed_encoder_and_says_why(method: Any) -> None:
    def watched(mlm: float, rank: float) -> tuple[str | None, float]:
        state = state_of(method=method, start_frac=0.5)
        assert state.watch(9.0, 1.0, step=4) is None  # before it starts, nothing is held against it
        assert state.watch(5.0, 20.0, step=5) is None
        return state.watch(mlm, rank, step=6), state.backoff

    assert watched(5.29, 10.1) == (None, 1.0)
    reason, backoff = watched(5.4, 20)
    assert backoff == 0.5
    assert reason is not None
    assert "+0.40 nats" in reason
    assert watched(5.0, 9.0)[1] == 0.5
    assert watched(float("nan"), 20)[1] == 0.5


@pytest.mark.parametrize("level", ["sentence", "token"])
@pytest.mark.parametrize("method", METHODS)
def test_nothing_waits_to_look_at_a_value(method: Any, level: Any) -> None:
    """Fake tensors have shapes and no values: whatever asks for one, or for a shape that hangs on one, raises."""
    given, hidden = batch((30, 200, 3)), normal(3 * 202, 8)
    state = state_of(languages=3, method=method, level=level, updates=1)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        state.net, state.seen_L = objectives.Discriminator(8, 3, 16), torch.ones(3)
        # Adam counts its steps on the host, where looking is free.
        state.optimizer = torch.optim.SGD(state.net.parameters(), lr=0.1)  # type: ignore[assignment]
        fake = Micro(
            **{
                field.name: None if (value := getattr(given, field.name)) is None else mode.from_tensor(value)
                for field in fields(given)
            }
        )
        encoder = torch.nn.Parameter(mode.from_tensor(torch.eye(8)))
        vectors, language = state.read(mode.from_tensor(hidden) @ encoder, fake)
        loss = state.encoder_loss(vectors, language)
        state.press([encoder], torch.autograd.grad(loss, [encoder], retain_graph=True), step=5)
        state.learn(vectors, language)
        with pytest.raises(DataDependentOutputException):
            float(loss.detach())
