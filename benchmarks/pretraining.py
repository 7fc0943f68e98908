"""Pretraining speed against the Hugging Face Trainer, as a ratio of real tokens per CPU second in one run.

Both sides train the same encoder from the same text in the same precision on one thread: ours in length buckets with
the head on masked positions only, theirs with `DataCollatorForLanguageModeling` on texts grouped to full length (their
fast way) or one line a row padded to the longest (their examples' way). Repeats are interleaved, so that a machine
whose speed drifts favours nobody; the median is printed.

    python benchmarks/pretraining.py [--size small] [--vocab-size 32000] [--repeats 5] [--precision bf16]
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch starts its threads

import itertools
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from unibert import machine, shards, tokenizer
from unibert.config import PRESETS, TrainConfig
from unibert.corpus import Corpus, from_folder, from_iterable
from unibert.trainer import Trainer

LINES = 4000


def synthetic() -> Corpus:
    """Returns 4,000 lines of made-up words whose lengths vary as sentences do; speed does not depend on meaning."""
    draw = random.Random(0)
    syllables = ["".join(pair) for pair in itertools.product("bdfgklmnprstvz", "aeiou")]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(30_000)]
    return from_iterable(
        {"xx": [" ".join(draw.choices(words, k=draw.randint(4, 40))) for _ in range(LINES)]}, "made up"
    )


def ours(folder: Path, vocab_size: int, arguments: argparse.Namespace) -> Callable[[], float]:
    """Returns a function that trains a few steps and gives real tokens per CPU second."""
    languages = tuple(path.name.split(".")[0] for path in sorted(folder.glob("*.train.bin")))
    config = TrainConfig(
        model=PRESETS[arguments.size], languages=languages, steps=10**6,
        batch_tokens=arguments.batch_tokens, precision=arguments.precision,
    )  # fmt: skip
    trainer = Trainer(config, folder, vocab_size, device="cpu")
    trainer.step()

    def measure() -> float:
        before, began = trainer.tokens, time.process_time()
        for _ in range(arguments.steps):
            trainer.step()
        return (trainer.tokens - before) / (time.process_time() - began)

    return measure


def peer(rows: list[list[int]], vocab: Any, arguments: argparse.Namespace) -> Callable[[], float]:
    """Returns the same measurement of the Hugging Face Trainer on these rows of token ids."""
    from transformers import BertForMaskedLM, DataCollatorForLanguageModeling, TrainingArguments
    from transformers import Trainer as Peer

    from unibert.model import new

    model: BertForMaskedLM = new(
        PRESETS[arguments.size], vocab_size=len(vocab), dropout=0.0, generator=torch.Generator().manual_seed(0)
    ).mlm
    width = statistics.mean(len(row) for row in rows)
    batch = max(1, round(arguments.batch_tokens / width))
    examples = [{"input_ids": row} for row in rows]
    collator = DataCollatorForLanguageModeling(vocab, mlm_probability=0.15)

    def measure() -> float:
        with tempfile.TemporaryDirectory() as out:
            settings = TrainingArguments(
                out, per_device_train_batch_size=batch, max_steps=arguments.steps, report_to=[], save_strategy="no",
                logging_strategy="no", disable_tqdm=True, use_cpu=True, bf16=arguments.precision == "bf16",
                learning_rate=1e-4, dataloader_pin_memory=False,
            )  # fmt: skip
            trainer = Peer(model=model, args=settings, train_dataset=examples, data_collator=collator)
            seen = 0

            def counted(features: list[dict[str, Any]]) -> Any:
                nonlocal seen
                seen += sum(len(feature["input_ids"]) for feature in features)
                return collator(features)

            trainer.data_collator = counted
            began = time.process_time()
            trainer.train()
            return seen / (time.process_time() - began)

    return measure


def grouped(rows: list[list[int]], width: int) -> list[list[int]]:
    """Returns the rows joined and cut to exactly `width` tokens, as the examples' group_texts does."""
    flat = [token for row in rows for token in row]
    return [flat[i : i + width] for i in range(0, len(flat) - width + 1, width)]


def main() -> None:
    """Measures and prints one line a variant, ratios to ours last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="small", choices=list(PRESETS))
    parser.add_argument("--corpus", type=Path, help="folder of LANG.txt[.zst|.gz]; made-up words if left out")
    parser.add_argument("--languages", default="en,de,ru,zh,sw")
    parser.add_argument("--vocab-size", type=int, default=32_000)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=4, help="optimiser steps a repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--precision", default=machine.precision("auto", "cpu"), choices=["fp32", "bf16"])
    arguments = parser.parse_args()
    machine.set_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        corpus = synthetic()
        if arguments.corpus:
            corpus = from_folder(arguments.corpus, tuple(arguments.languages.split(",")))
        trained = tokenizer.train(corpus, arguments.vocab_size, characters=2_000_000)
        folder, vocabulary = Path(scratch) / "shards", Path(scratch) / "vocabulary"
        tokenizer.save(trained, vocabulary)
        shards.build(corpus, trained, folder)
        from transformers import AutoTokenizer

        vocab = AutoTokenizer.from_pretrained(str(vocabulary))
        rows: list[list[int]] = []
        for language in corpus.languages:
            lines = shards.Lines(folder, language, "train")
            rows += [[tokenizer.CLS, *lines[i][:126].tolist(), tokenizer.SEP] for i in range(min(LINES, len(lines)))]
        random.Random(0).shuffle(rows)
        variants = {
            "unibert, length buckets": ours(folder, trained.get_vocab_size(), arguments),
            "HF Trainer, grouped to 128": peer(grouped(rows, 128), vocab, arguments),
            "HF Trainer, line by line": peer(rows, vocab, arguments),
        }
        rates: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(arguments.repeats):
            for name, measure in variants.items():
                rates[name].append(measure())
    first = next(iter(rates))
    print(f"{arguments.size}, vocabulary {trained.get_vocab_size():,}, {arguments.precision}, one thread, CPU time")
    for name, found in rates.items():
        ratio = statistics.median(a / b for a, b in zip(rates[first], found, strict=True))
        low, high = min(found), max(found)
        print(f"{name:28} {statistics.median(found):9,.0f} tokens/s ({low:,.0f} to {high:,.0f})  unibert x{ratio:.2f}")


if __name__ == "__main__":
    main()
