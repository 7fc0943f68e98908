"""Our fine-tuning loop learns what the Hugging Face Trainer does, step for step and in its scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy_tasks
from tiny_encoders import bert
from torch import nn
from transformers import Trainer, TrainingArguments

from unibench.adapters import get_adapter
from unibench.adapters.rows import Rows, collate, training_batches
from unibench.loop import Loop, Model
from unibench.memory import Parts
from unibench.metrics import score
from unibench.store import Recipe
from unibench.vocabulary import seen_vocabulary
from unibert.fused_encoder import speed_up

RATE, EPOCHS = 2e-3, 3
RECIPE = Recipe(learning_rates=(RATE,), epochs=EPOCHS, batch_size=16, max_tokens=48)


class Told(nn.Module):
    """Model and loss in one, as the Trainer wants them; the batch arrives collated."""

    def __init__(self, model: Model, adapter: Any) -> None:
        super().__init__()
        self.model, self.adapter = model, adapter

    def forward(self, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
        output = self.model(batch)
        return {"loss": self.adapter.loss(output.float(), batch) / self.adapter.weight(batch)}


class Numbers(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Row numbers in a given order; the collator makes batches of them."""

    def __init__(self, order: list[int]) -> None:
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> int:
        return self.order[index]


class InOrder(Trainer):
    """A Trainer that keeps the order of its data."""

    def _get_train_sampler(self, *_: Any) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset)


def model_of(family: str, seed: int, dropout: float) -> Model:
    card, _ = toy_tasks.TOYS[family]
    encoder = bert(toy_tasks.TOKENIZER)
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    encoder.config.hidden_dropout_prob = encoder.config.attention_probs_dropout_prob = dropout
    for layer in encoder.encoder.layer:
        layer.attention.self.dropout.p = dropout
    head: Any = get_adapter(family).head(card, encoder.config.hidden_size, torch.Generator().manual_seed(seed))
    for module in head.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    return Model(encoder, head).float()


def rows_of(family: str, count: int, seed: int, *, training: bool) -> tuple[list[Any], Rows]:
    card, row = toy_tasks.TOYS[family]
    examples = toy_tasks.make(row, count, seed)
    encode = get_adapter(family).encode
    return examples, encode(toy_tasks.TOKENIZER, card, examples, max_tokens=48, training=training)


def peer(model: Model, family: str, rows: Rows, out: Path, order: list[int] | None, seed: int) -> list[float]:
    """Trains with the Trainer and returns the loss it logs at every step."""
    told = Told(model, get_adapter(family))
    decayed, spared = (group["params"] for group in Loop(
        model=model, adapter=get_adapter(family), device="cpu", progress=lambda *_: None
    )._groups(RECIPE.weight_decay))  # fmt: skip
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": RECIPE.weight_decay}, {"params": spared, "weight_decay": 0.0}], lr=RATE
    )
    steps = EPOCHS * -(-len(rows.lengths) // RECIPE.batch_size)
    warmup = max(1, round(RECIPE.warmup_frac * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (steps - step) / (steps - warmup))
    )
    arguments = TrainingArguments(
        str(out), per_device_train_batch_size=RECIPE.batch_size, num_train_epochs=1 if order else EPOCHS, seed=seed,
        report_to=[], save_strategy="no", logging_steps=1, disable_tqdm=True, use_cpu=True, max_grad_norm=1.0,
        dataloader_pin_memory=False, remove_unused_columns=False,
    )  # fmt: skip
    trainer = (InOrder if order else Trainer)(
        model=told, args=arguments, train_dataset=Numbers(order or list(range(len(rows.lengths)))),
        data_collator=lambda numbers: collate(rows, np.array(numbers)), optimizers=(optimizer, schedule),
    )  # fmt: skip
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def ours(model: Model, family: str, rows: Rows, seed: int) -> list[float]:
    """Trains with our loop, as `finetune` does, and returns the mean loss of each epoch."""
    speed_up(model.encoder)
    loop = Loop(model=model, adapter=get_adapter(family), device="cpu", progress=lambda *_: None)
    with seen_vocabulary(model.encoder, rows) as vocabulary:
        generator = torch.Generator().manual_seed(seed)
        same = vocabulary.renumbered(rows)
        return list(loop.epochs(same, RECIPE, RATE, "fp32", generator, parts=Parts()))


@pytest.mark.parametrize("family", ["ner", "nli", "qa"])
def test_the_same_batches_give_the_trainers_losses_and_weights(family: str, tmp_path: Path) -> None:
    """Without dropout nothing is left to chance; the fused pass and the cut vocabulary are ours alone."""
    _, rows = rows_of(family, 96, 0, training=True)
    assert len(rows.lengths) == 96
    mine, theirs = model_of(family, 0, 0.0), model_of(family, 0, 0.0)
    generator = torch.Generator().manual_seed(5)
    order = [int(row) for _ in range(EPOCHS) for batch in training_batches(rows, 16, generator) for row in batch]
    found = ours(mine, family, rows, 5)
    logged = np.array(peer(theirs, family, rows, tmp_path, order, 0)).reshape(EPOCHS, -1).mean(axis=1)
    np.testing.assert_allclose(found, logged, rtol=2e-3, atol=1e-4)
    assert found[-1] < found[0]
    wanted = theirs.state_dict()
    for name, weights in mine.state_dict().items():
        # A shift of all positions changes no answer: that bias has no gradient but rounding, which Adam scales up.
        if "pooler" not in name and (family, name) != ("qa", "head.out.bias"):
            torch.testing.assert_close(weights, wanted[name], rtol=1e-2, atol=2e-3, msg=name)


def test_the_trainers_own_order_and_dropout_score_the_same_within_seed_noise(tmp_path: Path) -> None:
    card, _ = toy_tasks.TOYS["nli"]
    adapter = get_adapter("nli")
    _, rows = rows_of("nli", 400, 0, training=True)
    tested, test_rows = rows_of("nli", 300, 1, training=False)
    scores: dict[str, list[float]] = {"ours": [], "theirs": []}
    for seed in range(3):
        for side, values in scores.items():
            model = model_of("nli", seed, 0.1)
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                if side == "ours":
                    ours(model, "nli", rows, seed)
                else:
                    peer(model, "nli", rows, tmp_path, None, seed)
            loop = Loop(model=model, adapter=adapter, device="cpu", progress=lambda *_: None)
            units = adapter.units(card, tested, test_rows, loop.predict(test_rows, "fp32", "test"))
            values.append(score("accuracy", units))
    mine, theirs = np.array(scores["ours"]), np.array(scores["theirs"])
    assert min(mine.mean(), theirs.mean()) > 0.6, scores
    noise = np.sqrt((mine.var(ddof=1) + theirs.var(ddof=1)) / len(mine) + 0.25 / len(tested) / len(mine))
    assert abs(mine.mean() - theirs.mean()) < 3.5 * noise, scores
