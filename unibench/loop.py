"""One model, one pass: training at one learning rate, predicting once. Names no task, dataset or model.

Shapes: B rows of a batch, T tokens, D width, S tokens of all rows laid end to end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unibench.adapters.base import Adapter
from unibench.adapters.rows import Rows, collate, prediction_batches, training_batches
from unibench.store import Recipe

Precision = Literal["fp32", "bf16"]
Progress = Callable[[str, int, int], None]

MAX_GRAD_NORM = 1.0
CHECK_STEPS = 25  # how often training looks at its loss: every look makes a GPU wait
PREDICT_TOKENS = {"cpu": 2048, "cuda": 65536}  # of a prediction batch with padding; a CPU's cache wants small ones


class NotFiniteError(Exception):
    """A loss, a weight or an output is inf or nan. Caught by finetune.py, which tries again in fp32."""


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

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        hidden_BTD = self.encoder(**{name: batch[name] for name in self.inputs if name in batch}).last_hidden_state
        output: Tensor = self.head(hidden_BTD, batch)
        return output


@dataclass(frozen=True, slots=True)
class Loop:
    """One model on one device; trains it in place and predicts with it."""

    model: Model
    adapter: Adapter
    device: str
    progress: Progress

    def train(
        self, rows: Rows, recipe: Recipe, rate: float, precision: Precision, generator: torch.Generator
    ) -> tuple[float, ...]:
        """Returns the mean loss of each epoch: AdamW, linear warmup and decay, clipped gradients.

        Raises NotFiniteError; the weights are then of no use.
        """
        with seen_vocabulary(self.model.encoder, rows) as seen:
            means = self._epochs(seen, recipe, rate, precision, generator)
        finite = all(bool(p.isfinite().all()) for p in self.model.parameters())
        if not finite or not all(math.isfinite(mean) for mean in means):
            raise NotFiniteError
        return means

    def _epochs(
        self, rows: Rows, recipe: Recipe, rate: float, precision: Precision, generator: torch.Generator
    ) -> tuple[float, ...]:
        optimizer = torch.optim.AdamW(self._groups(recipe.weight_decay), lr=rate, fused=True)
        epochs = [training_batches(rows, recipe.batch_size, generator) for _ in range(recipe.epochs)]
        steps = sum(len(batches) for batches in epochs)
        warmup_steps = max(1, round(recipe.warmup_frac * steps))
        parameters = list(self.model.parameters())
        step = 0
        means = []
        self.model.train()
        for batches in epochs:
            total = torch.zeros((), device=self.device)
            for chosen_B in batches:
                for group in optimizer.param_groups:
                    group["lr"] = rate * min((step + 1) / warmup_steps, (steps - step) / max(1, steps - warmup_steps))
                batch = collate(rows, chosen_B, self.device)
                with self._autocast(precision):
                    output = self.model(batch)
                loss = self.adapter.loss(output.float(), batch) / self.adapter.weight(batch)
                torch.autograd.backward(loss)
                nn.utils.clip_grad_norm_(parameters, MAX_GRAD_NORM)
                optimizer.step()
                optimizer.zero_grad()
                total += loss.detach()
                step += 1
                if step % CHECK_STEPS == 0 and not math.isfinite(total.item()):
                    raise NotFiniteError
                self.progress(f"train {rate:g} {precision}", step, steps)
            means.append(total.item() / len(batches))
        return tuple(means)

    def _groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Matrices decay; biases, norms and token vectors do not: decay would shrink the words of every language that
        is not trained on."""
        words = {id(p) for m in self.model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        decayed = [p for p in self.model.parameters() if p.ndim > 1 and id(p) not in words]
        spared = [p for p in self.model.parameters() if p.ndim <= 1 or id(p) in words]
        return [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]

    @torch.inference_mode()
    def predict(self, rows: Rows, precision: Precision, phase: str) -> list[NDArray[Any]]:
        """Returns the adapter's array for every row, in the order of `rows`."""
        answers: dict[int, NDArray[Any]] = {}
        batches = prediction_batches(rows, PREDICT_TOKENS.get(torch.device(self.device).type, 4096))
        self.model.eval()
        for done, chosen_B in enumerate(batches, start=1):
            batch = collate(rows, chosen_B, self.device)
            with self._autocast(precision):
                output = self.model(batch).float()
            if not bool(output.isfinite().all()):  # an argmax over nan would look like an answer
                raise NotFiniteError
            answers.update(zip(chosen_B.tolist(), self.adapter.predict(output, batch), strict=True))
            self.progress(phase, done, len(batches))
        return [answers[row] for row in range(len(answers))]

    def _autocast(self, precision: Precision) -> torch.autocast:
        kind = torch.device(self.device).type
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=precision == "bf16")


def max_row_tokens(encoder: Any, wanted: int) -> int:
    """Returns `wanted`, or the longest input this encoder has positions for if that is shorter."""
    limit = getattr(encoder.config, "max_position_embeddings", None) or wanted
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            limit = module.num_embeddings - module.padding_idx - 1  # RoBERTa counts positions from after padding's id
    return min(wanted, limit) if limit > 0 else wanted


@contextmanager
def seen_vocabulary(encoder: Any, rows: Rows) -> Iterator[Rows]:
    """Yields the rows renumbered to the token vectors they use; meanwhile the encoder has no others.

    Exact, because a vector no row uses gets no gradient and token vectors are not decayed: what comes back is the whole
    matrix, its unseen part untouched. With a vocabulary of 120k most of a small encoder's training step would go into
    zeros (2x128, CPU: 9.0k tokens/s without this, 16.6k with it).
    """
    embedding = encoder.get_input_embeddings() if hasattr(encoder, "get_input_embeddings") else None
    if not isinstance(embedding, nn.Embedding):
        yield rows
        return
    whole, padding_id = embedding.weight, embedding.padding_idx
    ids_S, pad_id = rows.columns["input_ids"]
    # the ids up to padding's keep their numbers: RoBERTa-like encoders compare with it
    seen = np.unique(np.concatenate([ids_S, np.arange(max(pad_id, padding_id or 0) + 1)]))
    at = torch.from_numpy(seen).long().to(whole.device)
    embedding.weight = nn.Parameter(whole.detach()[at])
    try:
        yield replace(rows, columns={**rows.columns, "input_ids": (np.searchsorted(seen, ids_S), pad_id)})
    finally:
        with torch.no_grad():
            whole[at] = embedding.weight
        embedding.weight = whole
