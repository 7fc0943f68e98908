"""Fine-tuning and inference speed against the Hugging Face Trainer, as ratios of real tokens per CPU second in one run.

Both sides fine-tune the same encoder (same shape, vocabulary, dropout, batch of 32, AdamW) on the same pairs of three
classes, on one thread, from token numbers: tokenising is not timed. The peer is `Trainer` with
`AutoModelForSequenceClassification`: at its best (`train_sampling_strategy="group_by_length"`, padded to the longest of
a batch, in our precision), and as its examples call it (every row padded to 128), in our precision and in float32, its
default. It predicts in the order of the data. Each side is a process of its own with the
environment its users have; repeats are interleaved and medians printed, with the range of the ratios.

    python benchmarks/finetuning.py                       # vocabulary 32,000, bf16
    python benchmarks/finetuning.py --vocab-size 120000
    python benchmarks/finetuning.py --precision fp32 --peer-environment ours

Each repeat trains 50 batches of 6,400 pairs and predicts 1,600 of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import interleaved
import numpy as np
from workload import WIDTH, synthetic

from unibert.environment import RUNTIME

OURS, GROUPED = "unibench", "HF Trainer, group_by_length"
PADDED, DEFAULT = "HF Trainer, padded to 128", "HF Trainer, padded, fp32"
SIDES = (OURS, GROUPED, PADDED, DEFAULT)
BATCH, STRETCH, CLASSES = 32, 50, 3
POOL = 4  # times as many pairs as are trained on: the peer's sampler sorts 50 batches at once, but a quarter at most
CLS, SEP, PAD = 2, 3, 0


class EnoughError(Exception):
    """Ends a stretch of training."""


def pairs(vocab_size: int, count: int) -> tuple[list[list[list[int]]], list[int]]:
    """Returns premises and hypotheses as token numbers, at most 125 together, and a class for each."""
    rng = np.random.default_rng(1)
    rows = [row[: WIDTH - 3] for row in synthetic(vocab_size, lines=count)]
    cuts = [max(1, round(len(row) * share)) for row, share in zip(rows, rng.uniform(0.5, 0.8, count), strict=True)]
    return [[row[:cut], row[cut:]] for row, cut in zip(rows, cuts, strict=True)], rng.integers(
        0, CLASSES, count
    ).tolist()


def encoded(pair: list[list[int]]) -> tuple[list[int], list[int]]:
    """Returns the token numbers and token types of [CLS] premise [SEP] hypothesis [SEP]."""
    first, second = pair
    return [CLS, *first, SEP, *second, SEP], [0] * (len(first) + 2) + [1] * (len(second) + 1)


def shape(size: str, vocab_size: int) -> Any:
    """Returns the configuration of an encoder as it is exported: with dropout, for fine-tuning."""
    import torch

    from unibert.config import PRESETS
    from unibert.model import FINETUNING_DROPOUT, new

    config = new(
        PRESETS[size], vocab_size=16, dropout=FINETUNING_DROPOUT, generator=torch.Generator().manual_seed(0)
    ).mlm.config
    config.vocab_size, config.num_labels, config.type_vocab_size = vocab_size, CLASSES, 2
    return config


def ours(arguments: argparse.Namespace) -> Callable[[], dict[str, Any]]:
    """Returns what takes one stretch of training and one of prediction with our loop."""
    import torch
    from transformers import AutoModel

    from unibench.adapters import get_adapter
    from unibench.adapters.rows import stack, training_batches
    from unibench.loop import Loop, Model
    from unibench.memory import Parts
    from unibench.store import Recipe
    from unibench.vocabulary import seen_vocabulary
    from unibert.fused_encoder import speed_up

    adapter: Any = get_adapter("nli")
    card: Any = SimpleNamespace(labels=tuple("abc"), options={})
    tokenizer = SimpleNamespace(pad_token_id=PAD, model_input_names=["input_ids", "token_type_ids", "attention_mask"])
    texts, golds = pairs(arguments.vocab_size, POOL * BATCH * arguments.batches)
    encodings = [SimpleNamespace(ids=ids, type_ids=types) for ids, types in map(encoded, texts)]
    rows = stack(tokenizer, encodings, range(len(encodings)), per_row={"gold": np.array(golds)})
    some = encodings[: BATCH * arguments.batches]
    asked = stack(tokenizer, some, range(len(some)))
    encoder = speed_up(AutoModel.from_config(shape(arguments.size, arguments.vocab_size)))  # as models.load does
    model = Model(encoder, adapter.head(card, encoder.config.hidden_size, torch.Generator().manual_seed(0)))
    ends: list[float] = []

    def told(phase: str, done: int, total: int) -> None:
        ends.append(time.process_time())
        if phase.startswith("train") and done == arguments.batches:
            raise EnoughError

    loop = Loop(model=model.float(), adapter=adapter, device="cpu", progress=told)
    recipe = Recipe(learning_rates=(1e-4,), epochs=1, batch_size=BATCH, max_tokens=WIDTH)

    def measure() -> dict[str, Any]:
        ends.clear()
        order = training_batches(rows, BATCH, torch.Generator().manual_seed(7))
        with seen_vocabulary(encoder, rows) as vocabulary:
            same = vocabulary.renumbered(rows)
            generator = torch.Generator().manual_seed(7)
            with suppress(EnoughError):
                list(loop.epochs(same, recipe, 1e-4, arguments.precision, generator, parts=Parts()))
        seen = sum(int(rows.lengths[batch].sum()) for batch in order[1 : arguments.batches])
        trained = seen / (ends[-1] - ends[0])
        began = time.process_time()
        loop.predict(asked, arguments.precision, "predict")
        return {"train": trained, "predict": int(asked.lengths.sum()) / (time.process_time() - began)}

    return measure


def peer(arguments: argparse.Namespace, *, padded: bool, precision: str) -> Callable[[], dict[str, Any]]:
    """Returns what takes one stretch of training and one of prediction with the Hugging Face Trainer."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import (
        AutoModelForSequenceClassification,
        DataCollatorWithPadding,
        PreTrainedTokenizerFast,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]")),
        pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]",
    )  # fmt: skip
    texts, golds = pairs(arguments.vocab_size, POOL * BATCH * arguments.batches)
    examples = []
    for text, gold in zip(texts, golds, strict=True):
        ids, types = encoded(text)
        fill = WIDTH - len(ids) if padded else 0
        examples.append({
            "input_ids": ids + [PAD] * fill, "token_type_ids": types + [0] * fill,
            "attention_mask": [1] * len(ids) + [0] * fill, "labels": gold, "length": len(ids),
        })  # fmt: skip
    model = AutoModelForSequenceClassification.from_config(shape(arguments.size, arguments.vocab_size))
    pad = DataCollatorWithPadding(vocabulary)

    class Examples(torch.utils.data.Dataset):  # type: ignore[type-arg]
        """Not a list: the sampler asks a data set for the lengths, and a list would be measured row by row."""

        def __init__(self, rows: list[dict[str, Any]]) -> None:
            self.rows = rows

        def __len__(self) -> int:
            return len(self.rows)

        def __getitem__(self, index: int) -> dict[str, Any]:
            return self.rows[index]

    class Clock(TrainerCallback):
        """CPU seconds at the end of every step; the first one pays for starting, and is left out."""

        def __init__(self) -> None:
            self.ends: list[float] = []

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.ends.append(time.process_time())

    def measure() -> dict[str, Any]:
        tokens: list[int] = []  # of each batch; the loader reads one ahead, which is not trained on

        def counted(features: list[dict[str, Any]]) -> Any:
            tokens.append(sum(sum(feature["attention_mask"]) for feature in features))
            return pad([{k: v for k, v in feature.items() if k != "length"} for feature in features])

        with tempfile.TemporaryDirectory() as out:
            settings = TrainingArguments(
                out, per_device_train_batch_size=BATCH, per_device_eval_batch_size=BATCH, report_to=[],
                max_steps=arguments.batches, save_strategy="no", logging_strategy="no", disable_tqdm=True, use_cpu=True,
                bf16=precision == "bf16", learning_rate=1e-4, dataloader_pin_memory=False,
                train_sampling_strategy="random" if padded else "group_by_length", remove_unused_columns=False,
                length_column_name="length",
            )  # fmt: skip
            clock = Clock()
            trainer = Trainer(
                model=model, args=settings, train_dataset=Examples(examples), data_collator=counted, callbacks=[clock]
            )
            trainer.train()
            trained = sum(tokens[1 : arguments.batches]) / (clock.ends[-1] - clock.ends[0])
            asked = examples[: BATCH * arguments.batches]
            began = time.process_time()
            trainer.predict(Examples(asked))  # type: ignore[arg-type]
            seconds = time.process_time() - began
            return {"train": trained, "predict": sum(example["length"] for example in asked) / seconds}

    return measure


def worker(arguments: argparse.Namespace) -> Callable[[], dict[str, Any]]:
    """Returns what measures one side, in its own process, warmed up."""
    import torch

    torch.set_num_threads(1)
    if arguments.worker == OURS:
        measure = ours(arguments)
    else:
        precision = "fp32" if arguments.worker == DEFAULT else arguments.precision
        measure = peer(arguments, padded=arguments.worker != GROUPED, precision=precision)
    whole, arguments.batches = arguments.batches, 2
    measure()
    arguments.batches = whole
    return measure


def compare(arguments: argparse.Namespace) -> None:
    """Measures all sides in turn, several times, and prints medians and ratios."""
    words = []
    for option in ("size", "vocab_size", "batches", "precision"):
        words += [f"--{option.replace('_', '-')}", str(getattr(arguments, option))]
    environments = {side: RUNTIME for side in SIDES if side == OURS or arguments.peer_environment == "ours"}
    found = interleaved.measure(
        __file__, SIDES, words, repeats=arguments.repeats, environments=environments, verbose=arguments.verbose
    )
    print(
        f"{arguments.size}, vocabulary {arguments.vocab_size:,}, {arguments.precision}, {arguments.batches} batches of "
        f"{BATCH}, one thread, CPU time, {arguments.repeats} interleaved repeats, peer's environment "
        f"{arguments.peer_environment}"
    )
    for phase in ("train", "predict"):
        own = [row[phase] for row in found[OURS]]
        for side, rows in found.items():
            rates = [row[phase] for row in rows]
            line = f"{phase:8} {side:28} {statistics.median(rates):8,.0f} tokens/s"
            if side != OURS:
                ratios = [a / b for a, b in zip(own, rates, strict=True)]
                line += f"  unibench x{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            print(line)
    print("peak memory", ", ".join(f"{s} {max(r['memory_mb'] for r in rows):,.0f} MB" for s, rows in found.items()))
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="small")
    parser.add_argument("--vocab-size", type=int, default=32_000)
    parser.add_argument("--batches", type=int, default=STRETCH, help="of each stretch")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", default="bf16", choices=["fp32", "bf16"])
    parser.add_argument("--peer-environment", default="its own", choices=["its own", "ours"])
    parser.add_argument("--out", type=Path, help="also write every measurement here, as JSON")
    parser.add_argument("--verbose", action="store_true", help="show what the sides write to stderr")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        interleaved.answer(lambda: worker(arguments))
    else:
        compare(arguments)


if __name__ == "__main__":
    main()
