"""The headline experiment: is UniBERT better than masked language modelling alone, as a recipe and not by luck?

Pretrains a teacher, then every arm from every seed, several at once on one device; fine-tunes and scores them all; each
step is a command of the project, and what is finished is kept: the same command again goes on.

    python benchmarks/gpu/headline.py --corpus TEXT --data MIRROR --results headline --steps 1600 --seeds 5
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ARMS = {"mlm": "mlm", "adv": "mlm,adversary", "unibert": "mlm,adversary,distill"}
TEACHER, TEACHER_SEED = "teacher", 100
POLL_S = 0.2


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "unibench.cli", *map(str, arguments)]


def training(arguments: argparse.Namespace, name: str, arm: str, seed: int) -> list[str]:
    """Returns the command that trains one model."""
    size, steps = arguments.size, arguments.steps
    extra: list[object] = []
    if name == TEACHER:
        size, steps = arguments.teacher_size, arguments.teacher_steps
    if arm == "unibert":
        extra = ["--teacher", TEACHER]
    settings = arguments.results / "settings.toml"
    return command(
        "train", "--size", size, "--corpus", arguments.corpus, "--objectives", ARMS[arm], "--steps", steps,
        "--seed", seed, "--name", name, "--results", arguments.results, "--config", settings,
        "--tokenizer", arguments.tokenizer, "--threads", arguments.threads,
        *extra,
    )  # fmt: skip


def ready(arguments: argparse.Namespace, name: str, arm: str) -> bool:
    """Whether what a training needs is there: shards are written by the teacher's, its logits by the teacher."""
    if name == TEACHER:
        return True
    if arm == "unibert":
        return (arguments.results / "models" / TEACHER).exists()
    return any((arguments.results / "shards").glob("*/manifest.json"))


def train_all(arguments: argparse.Namespace, plan: Sequence[tuple[str, str, int]]) -> None:
    """Trains what is missing, `parallel` at a time; stops where one fails."""
    waiting = [item for item in plan if not (arguments.results / "models" / item[0]).exists()]
    running: dict[str, tuple[subprocess.Popen[bytes], float]] = {}
    began_all = time.monotonic()
    while waiting or running:
        if arguments.stop_after_s and time.monotonic() - began_all > arguments.stop_after_s:
            for name, (process, _) in running.items():
                process.terminate()
                print(f"{name}: stopped, for time is up; the same command again goes on with it", flush=True)
            return
        for name, (process, began) in list(running.items()):
            if process.poll() is not None:
                del running[name]
                print(f"{name}: exit {process.returncode} after {time.monotonic() - began:.0f} s", flush=True)
                if process.returncode:
                    print((arguments.results / f"{name}.log").read_text()[-3000:])
                    for other, _ in running.values():
                        other.terminate()
                    sys.exit(1)
        for item in waiting:
            if len(running) < arguments.parallel and ready(arguments, item[0], item[1]):
                with (arguments.results / f"{item[0]}.log").open("wb") as log:
                    words = training(arguments, *item)
                    running[item[0]] = subprocess.Popen(words, stdout=log, stderr=log), time.monotonic()
                waiting.remove(item)
                break
        time.sleep(POLL_S)


def main() -> None:
    """Trains, scores, reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--data", required=True, help="a mirror, hub or sample")
    parser.add_argument("--tokenizer", default="auto", help="a folder, or auto")
    parser.add_argument("--results", type=Path, default=Path("headline"))
    parser.add_argument("--arms", default="mlm,unibert")
    parser.add_argument("--size", default="small")
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--batch-tokens", type=int, default=32_768)
    parser.add_argument("--teacher-size", default="base")
    parser.add_argument("--teacher-steps", type=int, default=1600)
    parser.add_argument("--seeds", type=int, default=5, help="pretraining seeds of each arm")
    parser.add_argument("--fine-tunings", type=int, default=1, help="fine-tuning seeds of each model")
    parser.add_argument("--tasks", default="wikiann,xnli_snli,xquad_tydiqa,stsb_multi,sts17")
    parser.add_argument("--train-limit", type=int, default=5000)
    parser.add_argument("--eval-limit", type=int, default=500)
    parser.add_argument("--parallel", type=int, default=4, help="trainings at once")
    parser.add_argument("--workers", type=int, default=6, help="fine-tunings at once")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--oracle", action="store_true")
    parser.add_argument("--stop-after-s", type=float, help="stop pretraining then, and score what is there")
    arguments = parser.parse_args()
    arguments.results.mkdir(parents=True, exist_ok=True)
    settings = {"batch_tokens": arguments.batch_tokens, "eval_every_steps": max(50, arguments.steps // 4)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    (arguments.results / "settings.toml").write_text("\n".join(lines) + "\n")
    arms = arguments.arms.split(",")
    plan = [(TEACHER, "mlm", TEACHER_SEED)]
    plan += [(f"{arm}-s{seed}", arm, seed) for seed in range(arguments.seeds) for arm in arms]
    began = time.monotonic()
    train_all(arguments, plan)
    print(f"pretrained in {time.monotonic() - began:.0f} s", flush=True)
    there = [name for name, *_ in plan if name != TEACHER and (arguments.results / "models" / name).exists()]
    models = ",".join([*there, "scratch"])
    swept = subprocess.run(
        command(
            "run", "--model", models, "--tasks", arguments.tasks, "--data", arguments.data, "--seeds",
            arguments.fine_tunings, "--train-limit", arguments.train_limit, "--eval-limit", arguments.eval_limit,
            "--results", arguments.results, "--workers", arguments.workers, "--threads", arguments.threads,
            *([] if arguments.oracle else ["--no-oracle"]),
        )
    )  # fmt: skip
    print(f"scored after {time.monotonic() - began:.0f} s", flush=True)
    sys.exit(swept.returncode)


if __name__ == "__main__":
    main()
