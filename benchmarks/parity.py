"""Are our losses the Hugging Face Trainer's? Same weights, tokens, masks and rates in float32, 20 steps.

    python benchmarks/parity.py [--size small] [--vocab-size 32000]

Exits with 1 where two losses are more than 1e-4 nats apart.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from workload import ours, synthetic


def parity(size: str, vocab_size: int) -> float:
    """Prints and returns the largest difference of 20 losses, both sides from the same weights on the same masks."""
    import torch
    from transformers import Trainer as Peer
    from transformers import TrainerCallback, TrainingArguments

    from unibert.model import new
    from unibert.tokenizer import PAD

    torch.set_num_threads(1)
    steps = 20
    with tempfile.TemporaryDirectory() as name:
        rows, folder = synthetic(vocab_size), Path(name) / "shards"
        trainer, again = (ours(rows, folder, size, vocab_size, "fp32", steps=steps, rate=1e-3)[0] for _ in range(2))
        twin = new(
            trainer.config.model,
            vocab_size=vocab_size,
            dropout=0.0,
            generator=torch.Generator().manual_seed(1),
        ).mlm
        twin.load_state_dict(trainer.model.mlm.state_dict())
        batches = [next(again.feed).micros[0][1] for _ in range(steps)]
        losses = [float(trainer.step()["mlm"]) for _ in range(steps)]

        class Rows(torch.utils.data.Dataset):  # type: ignore[type-arg]
            def __len__(self) -> int:
                return steps

            def __getitem__(self, index: int) -> int:
                return index

        def collate(indices: list[int]) -> dict[str, Any]:
            micro = batches[indices[0]]
            labels = torch.full_like(micro.tokens_RT, -100).flatten()
            labels[micro.picked_M] = micro.targets_M
            return {
                "input_ids": micro.tokens_RT, "attention_mask": (micro.clean_RT != PAD).long(),
                "labels": labels.view_as(micro.tokens_RT),
            }  # fmt: skip

        groups = [
            {"params": [p for p in twin.parameters() if p.ndim >= 2], "weight_decay": 0.01},
            {"params": [p for p in twin.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.98), eps=1e-6)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, trainer.learning_rate)
        theirs: list[float] = []

        class Keep(TrainerCallback):
            def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
                if "loss" in logs:
                    theirs.append(float(logs["loss"]))

        class InOrder(Peer):
            def _get_train_sampler(self, *_: Any, **__: Any) -> Any:
                return torch.utils.data.SequentialSampler(Rows())

        settings = TrainingArguments(
            name, per_device_train_batch_size=1, max_steps=steps, report_to=[], save_strategy="no", logging_steps=1,
            disable_tqdm=True, use_cpu=True, dataloader_pin_memory=False, remove_unused_columns=False,
        )  # fmt: skip
        InOrder(
            model=twin, args=settings, train_dataset=Rows(), data_collator=collate, optimizers=(optimizer, schedule),
            callbacks=[Keep()],
        ).train()  # fmt: skip
    worst = max(abs(a - b) for a, b in zip(losses, theirs, strict=True))
    first, last = statistics.mean(losses[:5]), statistics.mean(losses[-5:])
    print(
        f"{size}, vocabulary {vocab_size:,}, fp32, losses from {first:.3f} to {last:.3f}: "
        f"largest difference of {steps} losses {worst:.1e} nats"
    )
    return worst


def main() -> None:
    """Parses the command line and compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="small")
    parser.add_argument("--vocab-size", type=int, default=32_000)
    arguments = parser.parse_args()
    sys.exit(parity(arguments.size, arguments.vocab_size) > 1e-4)


if __name__ == "__main__":
    main()
