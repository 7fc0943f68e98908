"""Pretraining throughput on a GPU: tokens a second, model FLOP utilisation, and agreement with the CPU.

One command, a few minutes on one GPU; `--tiny` runs every part of it on a CPU in seconds, so that it is tested.

    python benchmarks/gpu/pretraining.py --out record.json
    python benchmarks/gpu/pretraining.py --tiny

Utilisation is the matrix products that real tokens need (masked positions only in the head), over the products per
second measured on large squares in the same process. The peer is the Hugging Face Trainer on rows grouped to 128.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from workload import ceiling, gflop_of, grouped, synthetic, write_shards

from unibert.config import PRESETS, Adversary, TrainConfig
from unibert.model import new
from unibert.packed import supported
from unibert.trainer import Trainer

SEED = 0


def config_of(arguments: argparse.Namespace, languages: tuple[str, ...], **changes: Any) -> TrainConfig:
    """Returns a run of this benchmark; its rate is low, since nothing here looks at what is learned."""
    config = TrainConfig(
        model=PRESETS[arguments.size], languages=languages, steps=10**6, batch_tokens=arguments.batch_tokens,
        precision=arguments.precision, peak_lr=1e-4,
    )  # fmt: skip
    return replace(config, **changes)


def timed(step: Callable[[], int], arguments: argparse.Namespace) -> list[float]:
    """Returns real tokens a second in each of several stretches of steps, after a warm-up that compiles."""
    for _ in range(arguments.warmup):
        step()
    rates = []
    for _ in range(arguments.repeats):
        began, tokens = clock(arguments.device), 0
        for _ in range(arguments.steps):
            tokens += step()
        rates.append(tokens / (clock(arguments.device) - began))
    return rates


def clock(device: str) -> float:
    """Returns seconds, when everything asked of the device is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.monotonic()


def variant(arguments: argparse.Namespace, folder: Path, languages: tuple[str, ...], name: str) -> dict[str, Any]:
    """Measures one way of training ours."""
    adversary = Adversary(start_frac=0.0, ramp_frac=0.0) if "adversary" in name else None
    config = config_of(arguments, languages, adversary=adversary)
    if arguments.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    trainer = Trainer(config, folder, arguments.vocab_size, device=arguments.device, compiled="compiled" in name)

    def step() -> int:
        before = trainer.tokens
        trainer.step()
        return trainer.tokens - before

    rates = timed(step, arguments)
    row = {"variant": name, "tokens_per_s": statistics.median(rates), "low": min(rates), "high": max(rates)}
    if arguments.device.startswith("cuda"):
        row["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return row


def peer(arguments: argparse.Namespace, rows: list[list[int]]) -> dict[str, Any]:
    """Measures the Hugging Face Trainer on the same tokens a step, rows grouped to 128, in 16 bits where ours is."""
    from transformers import AutoModelForMaskedLM, TrainingArguments
    from transformers import Trainer as Peer

    config = new(
        PRESETS[arguments.size], vocab_size=16, dropout=0.0, generator=torch.Generator().manual_seed(SEED)
    ).mlm.config
    config.vocab_size = arguments.vocab_size
    model = AutoModelForMaskedLM.from_config(config)
    examples = [{"input_ids": torch.tensor([2, *row, 3])} for row in grouped(rows)]
    # float32 logits of 65,536 tokens and 120,000 pieces are 31 GB, and are held more than once
    batch = max(1, min(arguments.batch_tokens, arguments.peer_tokens) // 128)
    parts = max(1, arguments.batch_tokens // 128 // batch)

    def collate(features: list[dict[str, Any]]) -> dict[str, Any]:
        tokens = torch.stack([feature["input_ids"] for feature in features])
        labels = torch.where(torch.rand(tokens.shape) < 0.15, tokens, -100)
        return {"input_ids": torch.where(labels >= 0, 4, tokens), "labels": labels}

    def train(steps: int) -> float:
        with tempfile.TemporaryDirectory() as out:
            settings = TrainingArguments(
                out, per_device_train_batch_size=batch, gradient_accumulation_steps=parts, max_steps=steps,
                report_to=[], save_strategy="no",
                logging_strategy="no", disable_tqdm=True, use_cpu=not arguments.device.startswith("cuda"),
                bf16=arguments.precision == "bf16", learning_rate=1e-4, remove_unused_columns=False,
                dataloader_pin_memory=arguments.device.startswith("cuda"),
            )  # fmt: skip
            trainer = Peer(model=model, args=settings, train_dataset=examples, data_collator=collate)
            began = clock(arguments.device)
            trainer.train()
            return clock(arguments.device) - began

    train(arguments.warmup)
    rates = []
    for _ in range(arguments.repeats):
        short, long = train(1), train(1 + arguments.steps)  # what starting costs is no part of a step
        rates.append(arguments.steps * parts * batch * 128 / max(long - short, 1e-9))
    middle = statistics.median(rates)
    return {"variant": "HF Trainer, grouped", "tokens_per_s": middle, "low": min(rates), "high": max(rates)}


def parity(arguments: argparse.Namespace, folder: Path, languages: tuple[str, ...]) -> dict[str, float]:
    """Returns the largest difference in nats of 20 losses, here and on the CPU in float32, same weights and masks."""
    config = config_of(arguments, languages, steps=20, batch_tokens=2048, peak_lr=5e-4)
    here = Trainer(config, folder, arguments.vocab_size, device=arguments.device)
    there = Trainer(replace(config, precision="fp32"), folder, arguments.vocab_size, device="cpu")
    losses = [[float(trainer.step()["mlm"]) for _ in range(20)] for trainer in (here, there)]
    worst = max(abs(a - b) for a, b in zip(*losses, strict=True))
    return {"parity_nats": worst, "first": losses[1][0], "last": losses[1][-1]}


def main() -> None:
    """Measures, prints a table, and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="small")
    parser.add_argument("--vocab-size", type=int, default=120_000)
    parser.add_argument("--batch-tokens", type=int, default=65_536)
    parser.add_argument("--steps", type=int, default=20, help="steps a repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=8)
    parser.add_argument("--peer-tokens", type=int, default=16_384, help="tokens the peer takes at once")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="bf16", choices=["fp32", "bf16"])
    parser.add_argument("--tiny", action="store_true", help="everything on a CPU, in seconds; no number to quote")
    parser.add_argument("--out", type=Path, help="where the record is written")
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.size, arguments.vocab_size, arguments.batch_tokens = "xxsmall", 2000, 1024
        arguments.steps, arguments.repeats, arguments.warmup, arguments.device = 2, 2, 1, "cpu"
    elif not torch.cuda.is_available():
        sys.exit("no CUDA device here; --tiny runs every part on a CPU")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "shards"
        rows = synthetic(arguments.vocab_size, lines=2000 if arguments.tiny else 200_000)
        languages = write_shards(rows, folder, languages=8)
        names = ["mlm, eager", "mlm, compiled", "mlm + adversary, compiled"]
        found = []
        for each in names:
            found.append(variant(arguments, folder, languages, each))
            print(f"{found[-1]['variant']}: {found[-1]['tokens_per_s']:,.0f} tokens/s", flush=True)
        found.append(peer(arguments, rows))
        agreement = parity(arguments, folder, languages)
    top = ceiling(arguments.precision, rows=2048 if arguments.tiny else 8192, device=arguments.device.split(":")[0])
    mean_length = statistics.mean(len(row) + 2 for row in rows)
    per_token = gflop_of(arguments.size, arguments.vocab_size, length=round(mean_length))
    for row in found:
        row["utilisation"] = row["tokens_per_s"] * per_token / top
        row["against_peer"] = row["tokens_per_s"] / found[-1]["tokens_per_s"]
    record = {
        "device": torch.cuda.get_device_name() if arguments.device.startswith("cuda") else "cpu",
        "packed": supported(arguments.device, bf16=arguments.precision == "bf16"),
        "torch": torch.__version__,
        "settings": {key: str(value) for key, value in vars(arguments).items()},
        "ceiling_gflop_per_s": top,
        "variants": found,
        **agreement,
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n")
    print(
        f"{record['device']}: {arguments.size}, vocabulary {arguments.vocab_size:,}, {arguments.precision}, "
        f"{arguments.batch_tokens:,} tokens a step; ceiling {top / 1e3:,.1f} TFLOP/s"
    )
    for row in found:
        print(
            f"{row['variant']:28} {row['tokens_per_s']:11,.0f} tokens/s ({row['low']:,.0f} to {row['high']:,.0f})  "
            f"{row['utilisation']:4.0%} of the ceiling  x{row['against_peer']:.2f} of the peer"
        )
    print(f"20 losses against the CPU in fp32: largest difference {agreement['parity_nats']:.1e} nats")


if __name__ == "__main__":
    main()
