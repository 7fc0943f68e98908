from __future__ import annotations

import math

import pytest
import torch

from unibert import objectives
from unibert.adversary import AdversaryState
from unibert.config import Adversary


def test_reversal_turns_the_encoders_gradient_and_not_the_discriminators():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(32, 64, generator=generator, requires_grad=True)
    language = torch.randint(0, 3, (32,), generator=generator)
    weight = torch.ones(3)
    net = objectives.Discriminator(64, 3, 16)

    plain = objectives.language_loss(net(vectors), language, weight)
    plain_vectors, *plain_net = torch.autograd.grad(plain, [vectors, *net.parameters()])
    turned = objectives.language_loss(net(objectives.gradient_reversal(vectors, 0.5)), language, weight)
    turned_vectors, *turned_net = torch.autograd.grad(turned, [vectors, *net.parameters()])

    assert torch.equal(plain, turned)
    assert float(plain_vectors.abs().max()) > 0
    torch.testing.assert_close(turned_vectors, -0.5 * plain_vectors)
    for ours, theirs in zip(turned_net, plain_net, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_step_along_the_reversed_gradient_hurts_the_discriminator():
    state = AdversaryState(
        Adversary(), width=64, languages=2, total_steps=10, device="cpu", generator=torch.Generator().manual_seed(0)
    )
    generator = torch.Generator().manual_seed(1)
    language = torch.arange(64) % 2
    centre = torch.randn(2, 64, generator=generator)
    vectors = (centre[language] + 0.5 * torch.randn(64, 64, generator=generator)).requires_grad_(True)
    for _ in range(20):
        first = state.learn(vectors, language)
    assert float(first["disc_accuracy"]) > 0.95
    loss = state.encoder_loss(vectors, language)
    (gradient,) = torch.autograd.grad(loss, [vectors])
    moved = vectors.detach() - 0.5 * gradient / gradient.norm() * vectors.detach().norm()
    assert float(state.encoder_loss(moved, language).detach()) > float(loss.detach())


def test_ramp_is_ganins():
    assert objectives.ganin_ramp(-1) == objectives.ganin_ramp(0) == 0.0
    assert objectives.ganin_ramp(0.5) == pytest.approx(2 / (1 + math.exp(-5)) - 1)
    assert objectives.ganin_ramp(1) == objectives.ganin_ramp(9) == pytest.approx(0.9999092)


def test_the_balance_holds_in_parameter_space():
    parameters = [torch.nn.Parameter(torch.zeros(5)), torch.nn.Parameter(torch.zeros(3, 2))]
    own = [torch.full((5,), 3.0), torch.full((3, 2), -2.0)]
    adversarial = [torch.full((5,), 700.0), None]
    for parameter, gradient in zip(parameters, own, strict=True):
        parameter.grad = gradient.clone()
    factor = objectives.add_balanced(parameters, adversarial, share=0.5)
    own_norm = math.sqrt(5 * 9 + 6 * 4)
    added = parameters[0].grad - own[0]
    assert float(added.norm()) == pytest.approx(0.5 * own_norm, rel=1e-5)
    assert float(factor) == pytest.approx(0.5 * own_norm / (700 * math.sqrt(5)), rel=1e-5)
    assert torch.equal(parameters[1].grad, own[1])


def test_soft_targets_are_zero_for_a_twin_and_match_the_definition():
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(7, 11, generator=generator), torch.randn(7, 11, generator=generator)
    assert float(objectives.soft_target_loss(teacher, teacher, 2.0)) == pytest.approx(0, abs=1e-6)
    p, q = torch.softmax(teacher / 2, -1), torch.softmax(student / 2, -1)
    by_hand = 4 * (p * (p / q).log()).sum(-1).mean()
    assert float(objectives.soft_target_loss(student, teacher, 2.0)) == pytest.approx(float(by_hand), rel=1e-5)


def test_hidden_cosine_ignores_padding_and_scale():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 4, 8, generator=generator)
    teacher = 3 * hidden.clone()
    teacher[:, 3] = -teacher[:, 3]
    real = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 0]], dtype=torch.bool)
    assert float(objectives.hidden_cosine_loss(hidden, teacher, real)) == pytest.approx(0, abs=1e-6)
    assert float(objectives.hidden_cosine_loss(hidden, teacher, ~real)) == pytest.approx(2, abs=1e-6)


def test_effective_rank_counts_directions():
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(50, 50, generator=generator))[0]
    spread = torch.randn(2000, 50, generator=generator)
    assert objectives.effective_rank(spread) > 45
    assert objectives.effective_rank(spread[:, :1] @ basis[:1]) == pytest.approx(1, abs=1e-2)
    assert objectives.effective_rank(spread[:, :3] @ basis[:3]) == pytest.approx(3, abs=0.1)


def test_class_weights_make_languages_count_alike():
    state = AdversaryState(
        Adversary(), width=8, languages=2, total_steps=10, device="cpu", generator=torch.Generator().manual_seed(0)
    )
    state.learn(torch.randn(98, 8), torch.tensor([0] * 89 + [1] * 9))
    assert state.weight_L.tolist() == pytest.approx([100 / (2 * 90), 100 / (2 * 10)])


def test_back_off_halves_on_a_dearer_or_collapsed_encoder_and_says_why():
    def watched(mlm: float, rank: float) -> tuple[str | None, float]:
        state = AdversaryState(
            Adversary(start_frac=0.5),
            width=8, languages=2, total_steps=10, device="cpu", generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        assert state.watch(9.0, 1.0, step=4) is None  # before it starts, nothing is held against it
        assert state.watch(5.0, 20.0, step=5) is None
        return state.watch(mlm, rank, step=6), state.backoff

    assert watched(5.29, 10.1) == (None, 1.0)
    reason, backoff = watched(5.4, 20)
    assert backoff == 0.5
    assert reason is not None
    assert "+0.40 nats" in reason
    assert watched(5.0, 9.0)[1] == 0.5
