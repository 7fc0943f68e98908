"""What this machine offers, and the remedy for what is missing. Finds out; changes nothing."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unibench import provenance
from unibench.cards import TaskCard, all_cards, card_folders
from unibench.data import availability
from unibench.errors import UserError
from unibench.sample import templates
from unibench.sources import Origin, hub_reachable

ENOUGH_DISK_GB, ENOUGH_MEMORY_GB = 5.0, 4.0
Status = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at. "note": works with less; "problem": some command will fail. `remedy` says what to do."""

    what: str
    found: str
    status: Status = "ok"
    remedy: str = ""


def examine(results: Path, *, device: str, precision: str) -> list[Finding]:
    """Returns what was found, in the order a reader would ask. `device` and `precision` are what "auto" chooses."""
    return [
        *_software(),
        *_processor(device, precision),
        *_disk(results),
        *_data(all_cards(card_folders())),
    ]


def _software() -> Iterator[Finding]:
    yield Finding(what="python", found=f"{platform.python_version()} ({sys.executable})")
    for name, version in provenance.packages().items():
        missing = version == "not installed"
        yield Finding(
            what=name,
            found=version,
            status="problem" if missing else "ok",
            remedy=f"python -m pip install {name}" if missing else "",
        )


def _processor(device: str, precision: str) -> Iterator[Finding]:
    import psutil
    import torch

    cores = len(os.sched_getaffinity(0))
    yield Finding(what="cores", found=f"{cores} usable of {os.cpu_count()}")
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads and threads.isdigit() and int(threads) < cores:
        yield Finding(
            what="threads", found=f"OMP_NUM_THREADS={threads}", status="note",
            remedy=f"unset OMP_NUM_THREADS, or give --threads {cores}",
        )  # fmt: skip
    free_gb = psutil.virtual_memory().available / 1e9
    short = free_gb < ENOUGH_MEMORY_GB
    yield Finding(
        what="memory", found=f"{free_gb:.1f} GB free", status="note" if short else "ok",
        remedy="close other programs, or run with --workers 1" if short else "",
    )  # fmt: skip
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            yield Finding(what=f"gpu {index}", found=f"{card.name}, {card.total_memory / 1e9:.0f} GB")
    else:
        yield Finding(
            what="gpu", found=f"none that torch {torch.__version__} can use", status="note",
            remedy="everything runs on the processor, slower; for a GPU install a CUDA build of torch",
        )  # fmt: skip
    slower = precision == "fp32"
    yield Finding(
        what="precision", found=f"{precision} on {device}", status="note" if slower else "ok",
        remedy="no native bf16 here: fp32 gives the same results, about half as fast" if slower else "",
    )  # fmt: skip


def _disk(results: Path) -> Iterator[Finding]:
    from huggingface_hub import constants

    for what, folder in (
        ("results", results), ("temporary", Path(tempfile.gettempdir())), ("cache", Path(constants.HF_HOME))
    ):  # fmt: skip
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        free_gb = shutil.disk_usage(existing).free / 1e9
        reason = _unwritable(existing)
        if reason:
            remedy = {"results": "give another folder with --results", "temporary": "set TMPDIR to a writable folder"}
            yield Finding(what=what, found=f"{folder}: {reason}", status="problem",
                          remedy=remedy.get(what, "set HF_HOME to a writable folder"))  # fmt: skip
        else:
            short = free_gb < ENOUGH_DISK_GB
            yield Finding(what=what, found=f"{folder}: writable, {free_gb:.0f} GB free",
                          status="note" if short else "ok", remedy="free some space" if short else "")  # fmt: skip


def _unwritable(folder: Path) -> str:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return str(error.strerror)


def _data(cards: Sequence[TaskCard]) -> Iterator[Finding]:
    from huggingface_hub import constants

    if hub_reachable():
        yield Finding(what="hub", found=f"{constants.ENDPOINT} answers")
    else:
        yield Finding(
            what="hub", found=f"{constants.ENDPOINT} does not answer", status="note",
            remedy="use a mirror (--data FOLDER), what is cached (--data hub) or the sample (--data sample); behind a "
            "proxy set HTTPS_PROXY, for an internal mirror HF_ENDPOINT",
        )  # fmt: skip
    cache = Path(constants.HF_HUB_CACHE)
    counts = {kind: len(list(cache.glob(f"{kind}--*"))) for kind in ("models", "datasets")}
    yield Finding(what="hub cache", found=f"{cache}: {counts['models']} models, {counts['datasets']} data sets")
    yield _mirror(cards)
    text = os.environ.get("UNIBENCH_CORPUS")
    if text is None:
        yield Finding(what="text", found="$UNIBENCH_CORPUS is not set", status="note",
                      remedy="give --corpus FOLDER, or --corpus sample")  # fmt: skip
    else:
        there = Path(text).is_dir()
        yield Finding(
            what="text", found=f"$UNIBENCH_CORPUS={text}{'' if there else ' does not exist'}",
            status="ok" if there else "problem", remedy="" if there else "correct it, or unset it",
        )  # fmt: skip
    codes = templates.codes()
    yield Finding(what="sample", found=f"{len(codes)} languages, always here: {' '.join(codes)}")


def _mirror(cards: Sequence[TaskCard]) -> Finding:
    folder = os.environ.get("UNIBENCH_DATA")
    if not folder:
        return Finding(what="mirror", found="$UNIBENCH_DATA is not set", status="note",
                       remedy="set it to a folder laid out OWNER/NAME to use that by default")  # fmt: skip
    if not Path(folder).is_dir():
        return Finding(what="mirror", found=f"$UNIBENCH_DATA={folder} does not exist", status="problem",
                       remedy="correct it, or unset it")  # fmt: skip
    origin = Origin(kind="mirror", root=Path(folder))
    try:
        ready = [
            card.name
            for card in cards
            if any(availability(card, "eval", language, origin) is None for language in card.languages)
        ]
    except UserError as error:
        return Finding(what="mirror", found=f"{folder}: {error}", status="problem", remedy="mend the file it names")
    some = bool(ready)
    return Finding(what="mirror", found=f"{folder}: {len(ready)} of {len(cards)} tasks ({' '.join(ready) or 'none'})",
                   status="ok" if some else "problem",
                   remedy="" if some else "expected OWNER/NAME folders, as `hf download` leaves them")  # fmt: skip
