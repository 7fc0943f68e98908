"""Does the adversary hide the language, does retrieval rise, and at what price? Objectives compared over seeds.

Trains each arm (mlm, mlm + adversary, all three) from each seed on the same text for the same steps, probes all of them
and the untrained encoder on aligned sentences, and prints means with 95 % t-intervals over seeds, differences to mlm
paired by seed. `--settings` trains other forms of the adversary from seed 0 and prints one row each. Everything that is
finished is kept: the same command again goes on.

    python benchmarks/arms.py --corpus TEXT --data MIRROR --results arms --steps 3000 --seeds 3 --settings
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ARMS = {"mlm": "mlm", "adv": "mlm,adversary", "all": "mlm,adversary,distill"}
SETTINGS = {
    "b1": {"balance": 1.0},
    "b2": {"balance": 2.0},
    "match": {"method": "matching"},
    "uniform": {"method": "uniform"},
    "token": {"level": "token"},
    "layer1": {"layer": 1},
    "lhead": {"balance": 0.5},  # with a head that is told the language
}
BASE = {"batch_tokens": 2048, "eval_every_steps": 500}
TEACHER, TEACHER_SEED = "teacher", 7
MEASURES = {
    "heldout_nats": "held-out loss, nats",
    "probe": "fresh language probe, %",
    "same_language": "nearest is of the same language, %",
    "same_language_centred": "the same, centred, %",
    "translation": "nearest is a translation, %",
    "retrieval": "en-X retrieval P@1, %",
    "retrieval_centred": "the same, centred, %",
    "overlap_free": "without shared tokens, %",
    "overlap_free_centred": "the same, centred, %",
    "effective_rank": "effective rank",
    "bits_per_byte": "bits per byte",
}
PERCENT = {name for name, label in MEASURES.items() if label.endswith("%")}


def unibench(*arguments: object) -> None:
    """Runs a command of the project, and stops where it fails."""
    done = subprocess.run([sys.executable, "-m", "unibench.cli", *map(str, arguments)])
    if done.returncode:
        sys.exit(done.returncode)


def train(arguments: argparse.Namespace, name: str, arm: str, seed: int, settings: Mapping[str, Any]) -> None:
    """Trains one model, unless it is there."""
    results: Path = arguments.results
    if (results / "models" / name).exists():
        return
    lines = [f"{key} = {json.dumps(value)}" for key, value in BASE.items()]
    lines += ["language_head = true"] if "lhead" in name else []
    lines += ["[adversary]", *(f"{key} = {json.dumps(value)}" for key, value in settings.items())] if settings else []
    file = results / f"{name}.toml"
    file.write_text("\n".join(lines) + "\n")
    size, steps = arguments.size, arguments.steps
    extra: list[object] = ["--teacher", TEACHER] if arm == "all" else []
    if name == TEACHER:
        size, steps = arguments.teacher_size, arguments.teacher_steps
    extra += ["--languages", arguments.languages, "--vocab-size", arguments.vocab_size]
    unibench(
        "train", "--size", size, "--corpus", arguments.corpus, "--objectives", ARMS[arm], "--steps", steps,
        "--seed", seed, "--name", name, "--results", results, "--config", file, "--threads", arguments.threads, *extra,
    )  # fmt: skip


def measured(results: Path, name: str) -> dict[str, float]:
    """Returns the newest probe record's measures of a model, and its held-out loss."""
    paths = sorted((results / "probes").glob(f"{name}.*.json"), key=lambda path: path.stat().st_mtime)
    record = json.loads(paths[-1].read_text())
    values = {key: record["measures"][key]["value"] for key in MEASURES if key in record["measures"]}
    found = {key: value for key, value in values.items() if value is not None}
    manifest = results / "models" / name / "unibert.json"
    if manifest.is_file():
        found["heldout_nats"] = json.loads(manifest.read_text())["heldout"]["mlm"]["mean"]
    return found


def interval(values: Sequence[float], scale: float) -> str:
    """Returns the mean with its 95 % t-interval over seeds, the value alone where there is one, – without any."""
    from scipy import stats

    if not values:
        return "–"
    mean = statistics.mean(values) * scale
    if len(values) < 2:
        return f"{mean:.2f}"
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) * scale / math.sqrt(len(values))
    return f"{mean:.2f} ± {half:.2f}"


def table(results: Path, seeds: int, untrained: str) -> list[str]:
    """Returns Markdown: a row a measure, a column an arm, then differences to mlm paired by seed."""
    found = {arm: [measured(results, f"{arm}-s{seed}") for seed in range(seeds)] for arm in ARMS}
    bare = measured(results, untrained)
    lines = [
        "| measure | untrained | mlm | mlm + adversary | all | adversary - mlm | all - mlm |",
        "|---|" + "---:|" * 6,
    ]
    for name, label in MEASURES.items():
        scale = 100.0 if name in PERCENT else 1.0
        cells = [f"{bare[name] * scale:.2f}" if name in bare else "–"]
        cells += [interval([run[name] for run in runs if name in run], scale) for runs in found.values()]
        for arm in ("adv", "all"):
            pairs = zip(found[arm], found["mlm"], strict=True)
            cells.append(interval([one[name] - other[name] for one, other in pairs if name in one], scale))
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return lines


def settings_table(results: Path) -> list[str]:
    """Returns Markdown: a row a form of the adversary, all from seed 0."""
    lines = ["| seed 0 | " + " | ".join(MEASURES.values()) + " |", "|---|" + "---:|" * len(MEASURES)]
    for name in ("mlm-s0", "adv-s0", *(f"adv-{setting}-s0" for setting in SETTINGS)):
        if (results / "models" / name).exists():
            found = measured(results, name)
            cells = [interval([found[key]] if key in found else [], 100 if key in PERCENT else 1) for key in MEASURES]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Trains what is missing, probes it, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--data", required=True, help="where the aligned sentences are: a mirror, hub or sample")
    parser.add_argument("--results", type=Path, default=Path("arms"))
    parser.add_argument("--languages", default="all", help="to pretrain in")
    parser.add_argument("--probe-languages", default="auto")
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--size", default="xxsmall")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--teacher-size", default="xsmall")
    parser.add_argument("--teacher-steps", type=int, default=2500)
    parser.add_argument("--vocab-size", type=int, default=32_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--settings", action="store_true", help="other forms of the adversary too, from seed 0")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    arguments.results.mkdir(parents=True, exist_ok=True)
    plan = [(TEACHER, "mlm", TEACHER_SEED, {})]
    plan += [(f"{arm}-s{seed}", arm, seed, {}) for seed in range(arguments.seeds) for arm in ARMS]
    plan += [(f"adv-{name}-s0", "adv", 0, settings) for name, settings in SETTINGS.items() if arguments.settings]
    for name, arm, seed, settings in plan:
        train(arguments, name, arm, seed, settings)
    names = [name for name, *_ in plan if name != TEACHER]
    unibench(
        "probe", *names, "--results", arguments.results, "--data", arguments.data, "--languages",
        arguments.probe_languages, "--sentences", arguments.sentences, "--threads", arguments.threads,
    )  # fmt: skip
    found = sorted((arguments.results / "probes").glob("untrained-*.json"), key=lambda path: path.stat().st_mtime)
    untrained = found[-1].name.split(".")[0]
    print("\n".join(table(arguments.results, arguments.seeds, untrained)))
    if arguments.settings:
        print("\n" + "\n".join(settings_table(arguments.results)))


if __name__ == "__main__":
    main()
