"""One model, one pass: training at one learning rate, predicting once. Names no task, dataset or model.

Shapes: B rows of a batch, T tokens, D width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unibench.adapters.base import Adapter
from unibench.adapters.rows import Rows, collate, prediction_batches, training_batches
from unibench.adversarial import Adversary
from unibench.memory import Parts
from unibench.store import Recipe

Precision = Literal["fp32", "bf16"]
Progress = Callable[[str, int, int], None]

MAX_GRAD_NORM = 1.0
CHECK_STEPS = 25  # how often training looks at its loss: every look makes a GPU wait
PREDICT_TOKENS = {"cpu": 2048, "cuda": 65536}  # of a prediction batch with padding; a CPU's cache wants small ones


class NotFiniteError(Exception):
    """A loss, a weight or an output is inf or nan. Caught by trials.py, which tries again in fp32."""


class Model(nn.Module):
    """Encoder and head as one module: one state, one optimizer, one forward."""

    def __init__(self, encoder: Any, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        # Fast tokenizers of no particular class name token_type_ids whether or not the encoder has them
        self.inputs = ["input_ids", "attention_mask"]
        if getattr(encoder.config, "type_vocab_size", 0) > 1:
            self.inputs.append("token_type_ids")

    def encode(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Returns the last hidden states (B, T, D)."""
        hidden_BTD: Tensor = self.encoder(
            **{name: batch[name] for name in self.inputs if name in batch}
        ).last_hidden_state
        return hidden_BTD

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        output: Tensor = self.head(self.encode(batch), batch)
        return output


@dataclass(frozen=True, slots=True)
class Loop:
    """One model on one device; trains it in place and predicts with it. What does not fit in memory goes in parts."""

    model: Model
    adapter: Adapter
    device: str
    progress: Progress
    prediction_parts: Parts = field(default_factory=Parts)

    def epochs(
        self,
        rows: Rows,
        recipe: Recipe,
        rate: float,
        precision: Precision,
        generator: torch.Generator,
        *,
        parts: Parts,
        adversary: Adversary | None = None,
    ) -> Iterator[float]:
        """Yields the mean loss of each epoch once it is over: AdamW, clipped gradients, linear warmup and decay over
        all epochs of the recipe, however many of them are asked for.

        A batch taken in parts has the gradient it would have as one: sums are divided by the whole batch's weight.
        Raises NotFiniteError; the weights are then of no use.
        """

        def gradients(cut: Sequence[NDArray[np.int64]]) -> tuple[Tensor, Tensor | None]:
            optimizer.zero_grad()
            if adversary is not None:
                adversary.optimizer.zero_grad()
            return self._gradients(rows, cut, precision, adversary)

        optimizer = torch.optim.AdamW(self._groups(recipe.weight_decay), lr=rate, fused=True)
        epochs = [training_batches(rows, recipe.batch_size, generator) for _ in range(recipe.epochs)]
        steps = sum(len(batches) for batches in epochs)
        warmup_steps = max(1, round(recipe.warmup_frac * steps))
        parameters = list(self.model.parameters())
        step = 0
        for batches in epochs:
            total = torch.zeros((), device=self.device)
            self.model.train()
            for chosen_B in batches:
                for group in optimizer.param_groups:
                    group["lr"] = rate * min((step + 1) / warmup_steps, (steps - step) / max(1, steps - warmup_steps))
                if adversary is not None:
                    adversary.draw(chosen_B, step / steps)
                loss, counts = parts.run(chosen_B, rows.rows_per_item, gradients)
                nn.utils.clip_grad_norm_(parameters, MAX_GRAD_NORM)
                optimizer.step()
                if adversary is not None and counts is not None:
                    adversary.step(counts)
                total += loss
                step += 1
                if step % CHECK_STEPS == 0 and not math.isfinite(total.item()):
                    raise NotFiniteError
                self.progress(f"train {rate:g} {precision}", step, steps)
            optimizer.zero_grad()
            mean = total.item() / len(batches)
            if not math.isfinite(mean) or not all(bool(p.isfinite().all()) for p in parameters):
                raise NotFiniteError
            yield mean

    def _gradients(
        self, rows: Rows, cut: Sequence[NDArray[np.int64]], precision: Precision, adversary: Adversary | None
    ) -> tuple[Tensor, Tensor | None]:
        """Adds the gradient of a batch that is cut in parts; returns its mean loss, and what the adversary counted."""

        def encode(batch: Mapping[str, Tensor]) -> Tensor:
            with self._autocast(precision):
                return self.model.encode(batch)

        batches = [collate(rows, part_B, self.device) for part_B in cut]
        weight = sum(self.adapter.weight(batch) for batch in batches)
        total, counts = torch.zeros((), device=self.device), None
        for part_B, batch in zip(cut, batches, strict=True):
            with self._autocast(precision):
                hidden_BTD = self.model.encode(batch)
                output = self.model.head(hidden_BTD, batch)
            loss = self.adapter.loss(output.float(), batch) / weight
            total += loss.detach()
            if adversary is not None:
                against, found = adversary.labelled(hidden_BTD, batch, part_B)
                loss, counts = loss + against, found if counts is None else counts + found
            torch.autograd.backward(loss)
        if adversary is not None and counts is not None:
            counts = counts + adversary.unlabelled(encode, len(cut))
        return total, counts

    def _groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Matrices decay; biases, norms and token vectors do not: decay would shrink the words of every language that
        is not trained on."""
        words = {id(p) for m in self.model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        decayed = [p for p in self.model.parameters() if p.ndim > 1 and id(p) not in words]
        spared = [p for p in self.model.parameters() if p.ndim <= 1 or id(p) in words]
        return [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]

    @torch.inference_mode()
    def predict(self, rows: Rows, precision: Precision, phase: str) -> list[NDArray[Any]]:
        """Returns the adapter's array for every row, in the order of `rows`. Raises NotFiniteError."""

        def answers_of(cut: Sequence[NDArray[np.int64]]) -> dict[int, NDArray[Any]]:
            found: dict[int, NDArray[Any]] = {}
            for part_B in cut:
                batch = collate(rows, part_B, self.device)
                with self._autocast(precision):
                    output = self.model(batch).float()
                if not bool(output.isfinite().all()):  # an argmax over nan would look like an answer
                    raise NotFiniteError
                found.update(zip(part_B.tolist(), self.adapter.predict(output, batch), strict=True))
            return found

        answers: dict[int, NDArray[Any]] = {}
        batches = prediction_batches(rows, PREDICT_TOKENS.get(torch.device(self.device).type, 4096))
        self.model.eval()
        for done, chosen_B in enumerate(batches, start=1):
            answers.update(self.prediction_parts.run(chosen_B, 1, answers_of))
            self.progress(phase, done, len(batches))
        return [answers[row] for row in range(len(answers))]

    def _autocast(self, precision: Precision) -> torch.autocast:
        kind = torch.device(self.device).type
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=precision == "bf16")


def max_row_tokens(encoder: Any, wanted: int) -> int:
    """Returns `wanted`, or the longest input this encoder has positions for if that is shorter.

    Encoders without a table of positions (rotary, relative) say in their configuration how far they were trained.
    """
    limit = getattr(encoder.config, "max_position_embeddings", None) or wanted
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            limit = module.num_embeddings - module.padding_idx - 1  # RoBERTa counts positions from after padding's id
    return min(wanted, limit) if limit > 0 else wanted
