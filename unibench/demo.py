"""The whole path in minutes, on the generated sample: the commands of `unibench demo`, as a person would type them.

Steps are counted, not timed, so every machine trains as much. How the sizes were found is in results/LOG.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TASKS = ("xnli", "wikiann", "xquad", "stsb_multi", "sts17")
LANGUAGES = ("en", "de", "es", "fr", "ru")
PAIRS = ("ar-ar", "en-ar", "en-en", "en-tr", "es-en", "es-es")  # what sts17 compares
SIZE = "xxsmall"
TEACHER, MLM, UNIBERT = f"teacher-{SIZE}", f"mlm-{SIZE}", f"unibert-{SIZE}"
VOCABULARY, TEACHER_STEPS, STEPS, TRAIN_LIMIT = 4000, 1600, 800, 2000
SETTINGS = """\
# What `unibench demo` trains with, beyond the options of its commands.
long_share = 0.0         # the sample has no long texts, and tasks of short ones
eval_every_steps = 400
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command: what it is for, and its words after `unibench`."""

    why: str
    words: tuple[str, ...]


def steps(results: Path) -> list[Step]:
    """Returns the demo's commands in order."""
    where = ("--results", str(results))
    text = (
        *("--corpus", "sample", "--languages", ",".join(LANGUAGES), "--vocab-size", str(VOCABULARY)),
        *("--config", str(results / "settings.toml"), *where),
    )
    teacher = ("train", "--size", SIZE, *text, "--steps", str(TEACHER_STEPS))
    student = ("train", "--size", SIZE, *text, "--steps", str(STEPS))
    pairs = [pair for pair in PAIRS if set(pair.split("-")) <= set(LANGUAGES)]
    report = ("report", "--significance", "--baseline", MLM, *where)
    return [
        Step(
            why="a teacher: twice the steps of masked language modelling",
            words=(*teacher, "--objectives", "mlm", "--name", TEACHER),
        ),
        Step(
            why="the baseline: the compact size, by masked language modelling alone",
            words=(*student, "--objectives", "mlm", "--name", MLM),
        ),
        Step(
            why="UniBERT: the same size and steps, with adversary and teacher",
            words=(*student, "--objectives", "mlm,adversary,distill", "--teacher", TEACHER, "--name", UNIBERT),
        ),
        Step(
            why="both and the untrained floor, fine-tuned in English",
            words=(
                *("run", "--model", f"{MLM},{UNIBERT},scratch", "--tasks", ",".join(TASKS), "--data", "sample"),
                *("--languages", ",".join([*LANGUAGES, *pairs]), "--train-limit", str(TRAIN_LIMIT), "--seeds", "1"),
                *where,
            ),
        ),
        Step(
            why="the leaderboard, written down",
            words=(*report, "--format", "markdown", "--out", str(results / "LEADERBOARD.md")),
        ),
        Step(why="and shown", words=report),
    ]


NEXT = """\
The models, records and LEADERBOARD.md are in {results}/. For results that mean something, real data and hours:

  unibench doctor
  unibench train --size small --corpus FOLDER --objectives mlm --budget 8h --name mlm-small
  unibench train --size small --corpus FOLDER --budget 8h --name unibert-small
  unibench run --model all --tasks xnli,wikiann,xquad,stsb_multi,sts17 --data hub --seeds 5
  unibench report --significance --baseline mlm-small

FOLDER holds LANG.txt, LANG.txt.zst or LANG.txt.gz files; a mirror of the data sets in a folder goes to --data."""
