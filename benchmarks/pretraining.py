"""Pretraining speed against the Hugging Face Trainer, as ratios of real tokens per CPU second in one run.

Both sides train the same encoder (same shape, vocabulary, rows, tokens a step, precision) on one thread. The peer is
`Trainer` with `AutoModelForMaskedLM` and `DataCollatorForLanguageModeling`, on texts grouped to full rows (its fast
way) or one line a row, padded to 128 (its examples' way). Each side is a process of its own, with the environment its
users have: ours sets what `unibench` sets, the peer's is untouched (`--peer-environment ours` gives it ours, for the
strict reading). Repeats are interleaved, so that a machine whose speed drifts favours nobody; medians are printed, with
the range of the ratios, peak memory, and the share of the matrix-product ceiling measured between the repeats.

    python benchmarks/pretraining.py                                # vocabulary 32,000
    python benchmarks/pretraining.py --vocab-size 120000
    python benchmarks/pretraining.py --corpus TEXT --languages en,ru,zh    # lengths and frequencies of real text

Without --corpus the rows are token numbers drawn by Zipf's law in sentences of 4 to 126: speed does not see meaning.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import interleaved
import numpy as np
from workload import ROWS, WIDTH, ceiling, gflop_of, grouped, ours, synthetic

from unibert.environment import RUNTIME

SIDES = ("unibert, grouped", "HF Trainer, grouped", "unibert, lines", "HF Trainer, lines padded to 128")


def real(folder: Path, languages: str, vocab_size: int) -> tuple[list[list[int]], int]:
    """Returns up to 2,000 lines a language of a corpus under a vocabulary trained on it, and the vocabulary's size."""
    from unibert import tokenizer
    from unibert.corpus import from_folder

    corpus = from_folder(folder, tuple(languages.split(",")))
    vocabulary = tokenizer.train(corpus, vocab_size, characters=8_000_000)
    rows = []
    for language in corpus.languages:
        lines = [line for line, _ in zip(corpus.read(language), range(2000), strict=False) if line]
        rows += [e.ids[: WIDTH - 2] for e in vocabulary.encode_batch_fast(lines, add_special_tokens=False) if e.ids]
    order = np.random.default_rng(0).permutation(len(rows))
    return [rows[i] for i in order], vocabulary.get_vocab_size()


def peer(rows: list[list[int]], size: str, vocab_size: int, precision: str, *, padded: bool) -> Callable[[int], float]:
    """Returns a function that takes steps with the Hugging Face Trainer and gives real tokens per CPU second."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import (
        AutoModelForMaskedLM,
        DataCollatorForLanguageModeling,
        PreTrainedTokenizerFast,
        TrainerCallback,
        TrainingArguments,
    )
    from transformers import Trainer as Peer

    from unibert.config import PRESETS
    from unibert.model import new
    from unibert.tokenizer import CLS, PAD, SEP, SPECIAL

    pieces = {piece: i for i, piece in enumerate([*SPECIAL, *(f"p{i}" for i in range(len(SPECIAL), vocab_size))])}
    vocabulary = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(pieces, unk_token="[UNK]")), pad_token="[PAD]", mask_token="[MASK]",
        cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]",
    )  # fmt: skip
    config = new(PRESETS[size], vocab_size=16, dropout=0.0, generator=torch.Generator().manual_seed(0)).mlm.config
    config.vocab_size = vocab_size
    model = AutoModelForMaskedLM.from_config(config)
    collator = DataCollatorForLanguageModeling(vocabulary, mlm_probability=0.15)
    examples = []
    for row in rows:
        ids = [CLS, *row, SEP]
        fill = WIDTH - len(ids) if padded else 0
        examples.append({"input_ids": ids + [PAD] * fill, "attention_mask": [1] * len(ids) + [0] * fill})

    class Clock(TrainerCallback):
        """CPU seconds at the end of every step; the first one pays for starting, and is left out."""

        def __init__(self) -> None:
            self.ends: list[float] = []

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.ends.append(time.process_time())

    def measure(steps: int) -> float:
        tokens: list[int] = []  # of each batch; the loader reads one ahead, which is not trained on

        def counted(features: list[dict[str, Any]]) -> Any:
            tokens.append(sum(sum(feature["attention_mask"]) for feature in features))
            return collator(features)

        with tempfile.TemporaryDirectory() as out:
            settings = TrainingArguments(
                out, per_device_train_batch_size=ROWS, max_steps=1 + steps, report_to=[], save_strategy="no",
                logging_strategy="no", disable_tqdm=True, use_cpu=True, bf16=precision == "bf16", learning_rate=1e-4,
                dataloader_pin_memory=False,
            )  # fmt: skip
            clock = Clock()
            Peer(model=model, args=settings, train_dataset=examples, data_collator=counted, callbacks=[clock]).train()
            return sum(tokens[1 : 1 + steps]) / (clock.ends[-1] - clock.ends[0])

    return measure


def worker(arguments: argparse.Namespace) -> Callable[[], dict[str, Any]]:
    """Returns what measures one side, in its own process."""
    import torch

    torch.set_num_threads(1)
    rows = json.loads((arguments.scratch / "rows.json").read_text())
    name = arguments.worker
    rows = grouped(rows) if "grouped" in name else rows
    if name.startswith("unibert"):
        shards = arguments.scratch / f"shards-{'grouped' in name}"
        _, step = ours(rows, shards, arguments.size, arguments.vocab_size, arguments.precision)

        def measure() -> dict[str, float]:
            began, seen = time.process_time(), 0
            for _ in range(arguments.steps):
                seen += step()
            rate = seen / (time.process_time() - began)
            per_token = gflop_of(arguments.size, arguments.vocab_size, length=WIDTH)
            return {"rate": rate, "gflop": rate * per_token}

        for _ in range(3):
            step()
    else:
        train = peer(rows, arguments.size, arguments.vocab_size, arguments.precision, padded="padded" in name)

        def measure() -> dict[str, float]:
            return {"rate": train(arguments.steps)}

        train(1)
    return lambda: {**measure(), "ceiling": ceiling(arguments.precision, rows=ROWS * WIDTH)}


def compare(arguments: argparse.Namespace) -> None:
    """Measures all sides in turn, several times, and prints medians and ratios."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        if arguments.corpus:
            rows, arguments.vocab_size = real(arguments.corpus, arguments.languages, arguments.vocab_size)
        else:
            rows = synthetic(arguments.vocab_size)
        (scratch / "rows.json").write_text(json.dumps(rows))
        sides = [side for side in SIDES if arguments.sides in ("all", side.split(", ")[1].split()[0])]
        words = ["--scratch", str(scratch)]
        for option in ("size", "vocab_size", "steps", "precision"):
            words += [f"--{option.replace('_', '-')}", str(getattr(arguments, option))]
        ours_too = arguments.peer_environment == "ours"
        environments = {side: RUNTIME for side in sides if side.startswith("unibert") or ours_too}
        found = interleaved.measure(
            __file__, sides, words, repeats=arguments.repeats, environments=environments, verbose=arguments.verbose
        )
    size, vocabulary = arguments.size, arguments.vocab_size
    print(
        f"{size}, vocabulary {vocabulary:,}, {arguments.precision}, {ROWS * WIDTH:,} tokens a step, one "
        f"thread, CPU time, {arguments.repeats} interleaved repeats of {arguments.steps} steps, peer's environment "
        f"{arguments.peer_environment}"
    )
    for side, rows_of in found.items():
        rates = [row["rate"] for row in rows_of]
        line = (
            f"{side:32} {statistics.median(rates):8,.0f} tokens/s  peak {max(r['memory_mb'] for r in rows_of):6,.0f} MB"
        )
        if side.startswith("unibert"):
            share = statistics.median(row["gflop"] / row["ceiling"] for row in rows_of)
            line += f"  {share:.0%} of {statistics.median(row['ceiling'] for row in rows_of):.0f} GFLOP/s"
        else:
            own = found["unibert, grouped" if "grouped" in side else "unibert, lines"]
            ratios = [a["rate"] / b["rate"] for a, b in zip(own, rows_of, strict=True)]
            line += f"  unibert x{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(line)


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="small")
    parser.add_argument("--corpus", type=Path, help="folder of LANG.txt[.zst|.gz]")
    parser.add_argument("--languages", default="en,de,ru,zh,sw")
    parser.add_argument("--vocab-size", type=int, default=32_000)
    parser.add_argument("--steps", type=int, default=4, help="optimiser steps a repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--precision", default="bf16", choices=["fp32", "bf16"])
    parser.add_argument("--sides", default="all", choices=["all", "grouped", "lines"])
    parser.add_argument("--peer-environment", default="its own", choices=["its own", "ours"])
    parser.add_argument("--verbose", action="store_true", help="show what the sides write to stderr")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        interleaved.answer(lambda: worker(arguments))
    else:
        compare(arguments)


if __name__ == "__main__":
    main()
