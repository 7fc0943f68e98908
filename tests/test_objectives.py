"""Losses against their definitions, gradients against finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from unibert import micro, objectives
from unibert.batches import collate
from unibert.errors import UserError
from unibert.fused_loss import cross_entropy_sum
from unibert.micro import Micro


def normal(*shape: int, seed: int = 0, double: bool = False) -> Tensor:
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return made if double else made.float()


def batch(lengths: tuple[int, ...] = (5, 2, 9)) -> Micro:
    rng = np.random.default_rng(0)
    rows = [(i % 2, rng.integers(261, 700, length)) for i, length in enumerate(lengths)]
    return micro.padded(collate(rows), rate=0.3, vocab_size=700, seed=1, number=0)


def kl(p: Tensor, q: Tensor) -> Tensor:
    return (p * (p / q).log()).sum(-1)


def test_reversal_turns_the_encoders_gradient_and_not_the_discriminators() -> None:
    vectors = normal(32, 64).requires_grad_()
    language = torch.arange(32) % 3
    weight = torch.tensor([0.5, 1.0, 1.5])
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


def test_ramp_is_ganins() -> None:
    assert objectives.ganin_ramp(-1) == objectives.ganin_ramp(0) == 0.0
    assert objectives.ganin_ramp(0.5) == pytest.approx(2 / (1 + math.exp(-5)) - 1)
    assert objectives.ganin_ramp(1) == objectives.ganin_ramp(9) == pytest.approx(0.9999092)


def test_every_loss_adds_up_over_micro_batches() -> None:
    logits, other, vectors, wider = normal(12, 7), normal(12, 7, seed=1), normal(12, 6), normal(12, 8, seed=2)
    label, weight = torch.arange(12) % 7, torch.linspace(0.5, 1.5, 7)
    real = torch.arange(12) % 5 > 0
    losses: dict[str, Callable[[slice], Tensor]] = {
        "mlm": lambda part: cross_entropy_sum(logits[part], label[part]),
        "language": lambda part: objectives.language_loss(logits[part], label[part], weight),
        "uniform": lambda part: objectives.uniform_loss(logits[part], weight[label[part]]),
        "soft": lambda part: objectives.soft_target_loss(logits[part], other[part], 2.0),
        "hidden": lambda part: objectives.hidden_cosine_loss(wider[part], wider[part].flip(1), real[part]),
    }
    for name, loss in losses.items():
        whole, parts = loss(slice(None)), [loss(slice(0, 5)), loss(slice(5, 12))]
        assert whole.dtype == torch.float32, name
        torch.testing.assert_close(whole, torch.stack(parts).sum(), msg=name)
    assert float(losses["mlm"](slice(None))) == pytest.approx(float(-logits.log_softmax(-1)[range(12), label].sum()))
    # Three languages with one vector each, and a vector of every language: a distance of means does not add up.
    assert objectives.matching_loss(vectors, label, 7).dtype == torch.float32


def test_losses_are_float32_whatever_comes() -> None:
    logits = normal(6, 5).bfloat16()
    loss = objectives.soft_target_loss(logits.requires_grad_(), normal(6, 5, seed=1).bfloat16(), 1.0)
    assert loss.dtype == cross_entropy_sum(logits, torch.zeros(6, dtype=torch.long)).dtype == torch.float32
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient.dtype == torch.bfloat16


def test_a_uniform_guess_costs_nothing_and_every_other_what_kl_says() -> None:
    assert float(objectives.uniform_loss(torch.full((3, 4), 2.0), torch.ones(3))) == pytest.approx(0, abs=1e-6)
    logits, weight = normal(5, 4), torch.tensor([0.0, 1.0, 2.0, 1.0, 0.5])
    by_hand = (weight * kl(torch.full((5, 4), 0.25), logits.softmax(-1))).sum()
    torch.testing.assert_close(objectives.uniform_loss(logits, weight), by_hand)


def test_matching_is_the_distance_of_language_means_by_hand() -> None:
    # Centred, variance 1: LayerNorm leaves them. Means (1,-1) and (-1,1), their mean (0,0): distance 1 a dimension.
    vectors = torch.tensor([[1.0, -1.0], [1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    loss = objectives.matching_loss(vectors, torch.tensor([4, 4, 4, 0]), 6)
    assert float(loss) == pytest.approx(4 * 1.0, rel=1e-4)
    assert float(objectives.matching_loss(1e-1 * vectors, torch.tensor([4, 4, 4, 0]), 6)) == pytest.approx(4, rel=2e-3)


def test_matching_one_language_gives_a_zero_gradient() -> None:
    vectors = normal(5, 8).requires_grad_()
    loss = objectives.matching_loss(vectors, torch.full((5,), 2), 3)
    (gradient,) = torch.autograd.grad(loss, vectors)
    assert float(loss.detach()) == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_gradients_are_those_of_finite_differences() -> None:
    teacher = normal(6, 9, seed=1, double=True)
    log_teacher = (teacher / 2).log_softmax(-1)
    values, index = log_teacher.topk(3)
    rest = log_teacher.scatter(1, index, -math.inf).logsumexp(1)
    language, given = torch.tensor([0, 1, 2, 0, 1, 1]), batch((2, 1))
    qkv = [normal(len(given.sequence_N), 8, seed=i, double=True).requires_grad_() for i in range(3)]
    taught = [normal(len(given.sequence_N), 4, seed=i + 9, double=True) for i in range(3)]
    logits = normal(6, 9, double=True).requires_grad_()
    checked: list[Callable[[Tensor], Tensor]] = [
        lambda x: objectives.soft_target_loss(x, teacher, 2.0),
        lambda x: objectives.soft_target_topk_loss(x, values, index, rest, 2.0),
        lambda x: objectives.matching_loss(x, language, 4),
        lambda x: objectives.uniform_loss(x, torch.linspace(0, 2, 6, dtype=torch.float64)),
        lambda x: objectives.sentence_relation_loss(x, teacher, 0.3),
        lambda x: objectives.hidden_cosine_loss(x, teacher, language > 0),
    ]
    for loss in checked:
        assert torch.autograd.gradcheck(loss, (logits,))
    assert torch.autograd.gradcheck(lambda *x: objectives.relation_loss(x, taught, given, heads=2), qkv)


def test_soft_targets_are_zero_for_a_twin_and_match_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = normal(7, 11), normal(7, 11, seed=1)
    assert float(objectives.soft_target_loss(teacher, teacher, 2.0)) == pytest.approx(0, abs=1e-5)
    by_hand = 4 * kl(torch.softmax(teacher / 2, -1), torch.softmax(student / 2, -1)).sum()
    torch.testing.assert_close(objectives.soft_target_loss(student, teacher, 2.0), by_hand)
    for elements in (1, 22, 35):  # pieces of one, two and three rows of seven
        monkeypatch.setattr(objectives, "PIECE_CPU", elements)
        torch.testing.assert_close(objectives.soft_target_loss(student, teacher, 2.0), by_hand)


def kept(teacher: Tensor, classes: int, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """Returns what a store keeps of a teacher, in float64 by subtraction, rounded to float32."""
    shares = (teacher.double() / temperature).softmax(-1)
    values, index = shares.topk(classes)
    return values.log().float(), index.int(), (1 - values.sum(-1)).clamp_min(0).log().clamp_min(-100).float()


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_top_k_soft_targets_bound_the_full_ones_from_below_and_meet_them_at_the_whole_vocabulary(scale: float) -> None:
    for seed in range(5):
        student, teacher = scale * normal(8, 20, seed=seed), scale * normal(8, 20, seed=seed + 100)
        full = float(objectives.soft_target_loss(student, teacher, 2.0))
        losses = [
            float(objectives.soft_target_topk_loss(student, *kept(teacher, classes, 2.0), 2.0))
            for classes in (1, 2, 5, 10, 19, 20)
        ]
        assert losses == sorted(losses), "a finer partition never lowers a KL"
        assert losses[-1] == pytest.approx(full, rel=1e-4)
        assert losses[-2] == pytest.approx(full, rel=1e-4)  # a bucket of one class is that class
        assert all(0 <= loss <= full * (1 + 1e-4) for loss in losses)
    teacher = normal(3, 20)
    assert float(objectives.soft_target_topk_loss(teacher, *kept(teacher, 4, 1.0), 1.0)) == pytest.approx(0, abs=1e-5)


def test_top_k_soft_targets_bear_a_teacher_that_leaves_nothing_over() -> None:
    student = normal(2, 6).requires_grad_()
    values, index = torch.tensor([[0.0], [0.0]]), torch.tensor([[1], [2]])
    for rest in (-math.inf, -100.0):
        loss = objectives.soft_target_topk_loss(student, values, index, torch.full((2,), rest), 1.0)
        torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(student, index[:, 0], reduction="sum"))
        assert torch.autograd.grad(loss, student)[0].isfinite().all()


def test_hidden_cosine_ignores_padding_and_scale() -> None:
    hidden = normal(8, 8)
    teacher = 3 * hidden.clone()
    real = torch.tensor([1, 1, 1, 0, 1, 1, 1, 0], dtype=torch.bool)
    teacher[~real] = -teacher[~real]
    assert float(objectives.hidden_cosine_loss(hidden, teacher, real)) == pytest.approx(0, abs=1e-5)
    assert float(objectives.hidden_cosine_loss(hidden, teacher, ~real)) == pytest.approx(2 * 2, abs=1e-5)


def relations_one_by_one(student: list[Tensor], teacher: list[Tensor], given: Micro, heads: int) -> float:
    """Returns the relation loss by plain loops over relations, sequences, heads and query tokens."""
    total = 0.0
    for mine, theirs in zip(student, teacher, strict=True):
        for sequence in range(len(given.lengths_B)):
            places = (given.sequence_N == sequence).nonzero().squeeze(1)
            assert len(places) == given.lengths_B[sequence]
            for head in range(heads):
                shares = []
                for matrix in (theirs, mine):
                    width = matrix.shape[1] // heads
                    rows = matrix[places, head * width : (head + 1) * width].double()
                    shares.append((rows @ rows.T / math.sqrt(width)).softmax(-1))
                total += float(kl(shares[0], shares[1]).sum())
    return total / (3 * heads)


@pytest.mark.parametrize("elements", [1, 1 << 20])
def test_relations_are_those_of_a_loop_in_both_layouts(monkeypatch: pytest.MonkeyPatch, elements: int) -> None:
    monkeypatch.setattr(objectives, "PIECE_CPU", elements)
    given = batch()
    N, heads = len(given.sequence_N), 2
    student, teacher = [normal(N, 8, seed=i) for i in range(3)], [normal(N, 12, seed=i + 5) for i in range(3)]
    expected = relations_one_by_one(student, teacher, given, heads)
    assert float(objectives.relation_loss(student, teacher, given, heads=heads)) == pytest.approx(expected, rel=1e-5)
    assert float(objectives.relation_loss(student, student, given, heads=heads)) == pytest.approx(0, abs=1e-5)

    packed = micro.pack(given, 32)
    real = given.sequence_N < len(given.lengths_B)
    packed_student, packed_teacher = (
        [torch.cat([x[real], 1e3 * normal(32 - int(real.sum()), x.shape[1])]) for x in qkv]
        for qkv in (student, teacher)
    )
    found = objectives.relation_loss(packed_student, packed_teacher, packed, heads=heads)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_relations_give_padding_no_gradient_and_refuse_heads_that_do_not_fit() -> None:
    given = batch()
    padding = given.sequence_N == len(given.lengths_B)
    assert padding.any()
    student = [normal(len(padding), 8, seed=i).requires_grad_() for i in range(3)]
    teacher = [normal(len(padding), 6, seed=i + 5) for i in range(3)]
    for gradient in torch.autograd.grad(objectives.relation_loss(student, teacher, given, heads=2), student):
        assert torch.equal(gradient[padding], torch.zeros_like(gradient[padding]))
        assert (gradient[~padding] != 0).any(1).all()
    with pytest.raises(UserError, match="4 relation heads do not divide the teacher's width 6"):
        objectives.relation_loss(student, teacher, given, heads=4)


def test_sentence_relations_are_their_definition_and_know_no_rotation() -> None:
    student, teacher = normal(5, 6), normal(5, 9, seed=1)
    loss = objectives.sentence_relation_loss(student, teacher, 0.5)
    by_hand = 0.0
    for i in range(5):
        others = [j for j in range(5) if j != i]
        near = [
            torch.stack([torch.cosine_similarity(x[i], x[j], dim=0) / 0.5 for j in others]).softmax(0)
            for x in (teacher, student)
        ]
        by_hand += float(kl(near[0], near[1]))
    assert float(loss) == pytest.approx(by_hand, rel=1e-4)
    turned = student @ torch.linalg.qr(normal(6, 6, seed=2))[0], 3 * teacher @ torch.linalg.qr(normal(9, 9, seed=3))[0]
    torch.testing.assert_close(objectives.sentence_relation_loss(*turned, 0.5), loss, rtol=1e-4, atol=1e-5)
    rotated_twin = student @ torch.linalg.qr(normal(6, 6, seed=4))[0]
    assert float(objectives.sentence_relation_loss(student, rotated_twin)) == pytest.approx(0, abs=1e-4)


def test_sentence_relations_of_two_are_zero() -> None:
    student = normal(2, 6).requires_grad_()
    loss = objectives.sentence_relation_loss(student, normal(2, 9))
    assert float(loss.detach()) == 0
    assert torch.equal(torch.autograd.grad(loss, student)[0], torch.zeros(2, 6))


def with_gradients(*gradients: Tensor | None) -> list[torch.nn.Parameter]:
    shapes = [(5,), (3, 2)]
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = None if gradient is None else gradient.clone()
    return parameters


def test_the_balance_holds_in_parameter_space() -> None:
    own = [torch.full((5,), 3.0), torch.full((3, 2), -2.0)]
    parameters = with_gradients(*own)
    factor, ratio, finite = objectives.add_balanced(
        parameters, [torch.full((5,), 700.0), None], share=0.5, clip_norm=1.0
    )
    own_norm, adversary_norm = math.sqrt(5 * 9 + 6 * 4), 700 * math.sqrt(5)
    assert parameters[0].grad is not None
    assert parameters[1].grad is not None
    assert float((parameters[0].grad - own[0]).norm()) == pytest.approx(0.5 * own_norm, rel=1e-5)
    assert float(factor) == pytest.approx(0.5 * own_norm / adversary_norm, rel=1e-5)
    assert float(ratio) == pytest.approx(adversary_norm / own_norm, rel=1e-5)
    assert bool(finite)
    assert torch.equal(parameters[1].grad, own[1])


def test_a_fixed_strength_is_clipped_apart_and_reaches_parameters_without_a_gradient() -> None:
    parameters = with_gradients(torch.full((5,), 3.0), None)
    adversarial = [torch.zeros(5), torch.full((3, 2), 10.0)]
    factor, _, _ = objectives.add_balanced(parameters, adversarial, share=None, clip_norm=2.0, strength=0.1)
    assert torch.equal(parameters[0].grad, torch.full((5,), 3.0))
    assert float(parameters[1].grad.norm()) == pytest.approx(0.1 * 2.0)
    parameters = with_gradients(None, None)
    factor, _, _ = objectives.add_balanced(parameters, adversarial, share=None, clip_norm=1e6, strength=0.1)
    assert float(factor) == pytest.approx(0.1)
    torch.testing.assert_close(parameters[1].grad, torch.full((3, 2), 1.0))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("share", [0.5, None])
def test_an_adversary_that_is_not_finite_adds_nothing(bad: float, share: float | None) -> None:
    parameters = with_gradients(torch.full((5,), 3.0), None)
    broken = torch.zeros(3, 2)
    broken[1, 1] = bad
    factor, _, finite = objectives.add_balanced(parameters, [torch.ones(5), broken], share=share, clip_norm=1.0)
    assert torch.equal(parameters[0].grad, torch.full((5,), 3.0))
    assert torch.equal(parameters[1].grad, torch.zeros(3, 2))
    assert float(factor) == 0
    assert not bool(finite)


def test_an_adversary_with_nothing_to_say_adds_nothing() -> None:
    parameters = with_gradients(torch.full((5,), 3.0), None)
    factor, ratio, finite = objectives.add_balanced(parameters, [torch.zeros(5), None], share=0.5, clip_norm=1.0)
    assert torch.equal(parameters[0].grad, torch.full((5,), 3.0))
    assert float(ratio) == 0
    assert bool(factor.isfinite())
    assert bool(finite)


def test_effective_rank_counts_directions() -> None:
    basis = torch.linalg.qr(normal(50, 50))[0]
    spread = normal(2000, 50, seed=1)
    assert objectives.effective_rank(spread) > 45
    assert objectives.effective_rank(spread[:, :1] @ basis[:1]) == pytest.approx(1, abs=1e-2)
    assert objectives.effective_rank(spread[:, :3] @ basis[:3]) == pytest.approx(3, abs=0.1)
