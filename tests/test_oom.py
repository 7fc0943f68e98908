"""What does not fit in memory is taken in parts, which change no result, until a single item does not fit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_encoders import bert
from torch import nn
from toy_tasks import TOKENIZER, TOYS, make, nli

from unibench.adapters import get_adapter
from unibench.adapters.rows import training_batches
from unibench.data import Example
from unibench.finetune import finetune
from unibench.loop import Loop, Model
from unibench.memory import DoesNotFitError, Parts, out_of_memory
from unibench.store import Recipe

RECIPE = Recipe(learning_rates=(1e-3,), epochs=2, batch_size=16, max_tokens=48)


class Small(nn.Module):
    """A real encoder on a device whose memory holds so many rows. Refuses the calls numbered in `also` as well."""

    def __init__(self, rows: int, also: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.inner = bert(TOKENIZER)
        for module in self.inner.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        self.config = self.inner.config
        self.rows, self.also = rows, also
        self.held: list[int] = []
        self.refused: list[int] = []

    def forward(self, **inputs: Any) -> Any:
        B = len(inputs["input_ids"])
        if self.rows < B or len(self.held) + len(self.refused) in self.also:
            self.refused.append(B)
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {B} rows")
        self.held.append(B)
        return self.inner(**inputs)


@pytest.fixture
def undropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads without dropout, which would draw otherwise for parts than for the whole."""
    monkeypatch.setattr(nn.Dropout, "forward", lambda self, x: x)


def _run(encoder: Small, family: str = "nli", **options: Any) -> Any:
    card, row = TOYS[family]
    train, dev, test = make(row, 100, 1), make(row, 30, 2), make(row, 40, 3)
    return finetune(lambda: (TOKENIZER, encoder), card, train, dev, {"en": test}, RECIPE, 0, **options)


@pytest.mark.usefixtures("undropped")
@pytest.mark.parametrize("family", TOYS)
def test_parts_have_the_gradient_of_the_whole_batch(family: str) -> None:
    card, row = TOYS[family]
    adapter = get_adapter(family)
    encoder = Small(1000)
    model = Model(encoder, adapter.head(card, 32, torch.Generator().manual_seed(0))).train()
    loop = Loop(model, adapter, "cpu", lambda *_: None)
    rows = adapter.encode(TOKENIZER, card, make(row, 13, 5), max_tokens=24, training=True)
    (chosen_B,) = training_batches(rows, 100, torch.Generator().manual_seed(0))

    def gradients(parts: Parts) -> tuple[float, list[Any]]:
        model.zero_grad()
        loss, _ = parts.run(chosen_B, rows.rows_per_item, lambda cut: loop._gradients(rows, cut, "fp32", None))
        return loss.item(), [None if p.grad is None else p.grad.clone() for p in model.parameters()]

    whole_loss, whole = gradients(Parts())
    encoder.held.clear()
    parts_loss, parts = gradients(Parts(count=4))
    assert len(encoder.held) == 4
    assert all(held % rows.rows_per_item == 0 for held in encoder.held)
    assert parts_loss == pytest.approx(whole_loss, rel=1e-6)
    assert max(float(g.abs().max()) for g in whole if g is not None) > 1e-2
    for a, b in zip(whole, parts, strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("undropped")
@pytest.mark.parametrize("family", TOYS)
def test_a_refused_batch_is_halved_until_it_fits_stays_so_and_is_recorded(family: str) -> None:
    roomy, narrow = Small(1000), Small(10)
    expected, found = _run(roomy, family), _run(narrow, family)
    assert expected.trials[0].batch_parts == expected.prediction_parts == 1
    parts = found.trials[0].batch_parts
    assert parts == (4 if family == "sts" else 2)  # 16 rows, or 16 pairs of them
    assert found.prediction_parts > 1
    assert 2 ** len(narrow.refused) == parts * found.prediction_parts  # no batch that came after was refused again
    assert found.trials[0].losses == pytest.approx(expected.trials[0].losses, rel=1e-4)
    assert np.allclose(found.units["en"], expected.units["en"], atol=1e-4)
    assert found.notes()["trials"][0]["batch_parts"] == parts


@pytest.mark.usefixtures("undropped")
def test_a_step_that_failed_half_way_leaves_no_gradient_behind() -> None:
    expected = _run(Small(1000))
    # the second of a batch's two parts is refused, when the first has left its gradient
    late = Small(8, also=(4,))
    found = _run(late)
    assert late.refused[:2] == [16, 8]
    assert found.trials[0].batch_parts == 4
    assert found.trials[0].losses == pytest.approx(expected.trials[0].losses, rel=1e-5)


@pytest.mark.usefixtures("undropped")
def test_an_adversarys_step_is_taken_in_parts_too() -> None:
    texts: dict[str, list[Example]] = {"sw": make(nli, 20, 7), "ru": make(nli, 30, 8)}
    options: dict[str, Any] = {"unlabelled": texts, "language_of": lambda example: "en"}
    expected, narrow = _run(Small(1000), **options), Small(5, also=(9,))
    found = _run(narrow, **options)
    assert found.trials[0].batch_parts == 8
    assert found.trials[0].losses == pytest.approx(expected.trials[0].losses, rel=1e-4)
    assert found.trials[0].discriminator == pytest.approx(expected.trials[0].discriminator, abs=0.02)


def test_a_single_item_that_does_not_fit_is_a_clear_failure() -> None:
    with pytest.raises(DoesNotFitError, match=r"single item does not fit .*Tried to allocate 1 rows.*max_tokens"):
        _run(Small(0))
    with pytest.raises(DoesNotFitError, match="Tried to allocate 2 rows"):  # a pair is never parted
        _run(Small(1), "sts")
    card, row = TOYS["nli"]
    with pytest.raises(DoesNotFitError):
        finetune(lambda: (TOKENIZER, Small(0)), card, [], [], {"en": make(row, 3, 3)}, None, 0)


def test_any_other_error_is_let_through_at_once() -> None:
    tried = []

    def work(parts: Any) -> None:
        tried.append(len(parts))
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        Parts().run(np.arange(8), 1, work)
    assert tried == [1]


@pytest.mark.parametrize(
    "ask", [lambda: torch.empty(1 << 58, dtype=torch.uint8), lambda: np.ones(1 << 58, dtype=np.uint8)]
)
def test_what_the_machine_itself_says_is_recognised(ask: Callable[[], Any]) -> None:
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        ask()
    assert out_of_memory(caught.value)


LIMITED = """
import resource, sys
from pathlib import Path

import torch
from tiny_encoders import card_of, examples_of, tokenizer_of
from transformers import BertConfig, BertModel

from unibench.finetune import finetune
from unibench.store import Recipe

torch.set_num_threads(1)
tokenizer = tokenizer_of("wordpiece")
card = card_of("nli", "accuracy", ("yes", "no"))
long = "the river reaches the sea " * 8
rows = [({"premise": long, "hypothesis": "apples " * (1 + i % 3)}, i % 2) for i in range(32)]


def encoder():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=16384,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )
    return tokenizer, BertModel(config)


torch.nn.Dropout.forward = lambda self, x: x


def run():
    recipe = Recipe(learning_rates=(1e-4,), epochs=1, batch_size=32, max_tokens=64)
    found = finetune(encoder, card, examples_of(rows), [], {"en": examples_of(rows)}, recipe, 0)
    return found.trials[0].batch_parts, found.prediction_parts, found.trials[0].losses[0]


whole = run()
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 200 * 1024 * 1024
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
print(*whole, *run())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on a process's memory is Linux's")
def test_a_machine_that_runs_out_of_memory_trains_in_parts() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    parts, prediction_parts, loss, small_parts, _, small_loss = done.stdout.split()
    assert (parts, prediction_parts) == ("1", "1")
    assert int(small_parts) > 1
    assert float(small_loss) == pytest.approx(float(loss), rel=1e-5)
