"""What `unibench train` asks for: words from a command line -> a checked Request. Imports no torch."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from unibert import built
from unibert.config import OBJECTIVES, PRESETS, Adversary, Distill, TrainConfig, override
from unibert.corpus import Corpus, from_folder
from unibert.documents import WIKIPEDIA
from unibert.errors import UserError
from unibert.manifest import exported

DEFAULT_BUDGET = "10m"  # enough for a first look on a laptop; announced, since no result should rest on it unseen
BATCH_TOKENS = {"cpu": 2048, "cuda": 65_536}  # a GPU idles on small batches; a short CPU run needs many steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What `unibench train` asks for. `config.distill` is filled in once the teacher is known.

    `teacher`: "auto", "none", a name under models/ or a folder. `tokenizer`: "auto", a name under models/ or a folder.
    """

    name: str
    size: str
    corpus: Corpus
    config: TrainConfig
    results: Path
    distill: bool = False
    teacher: str = "auto"
    tokenizer: str = "auto"
    vocab_size: int = 32_000
    distill_settings: Distill | None = None
    is_teacher: bool = False
    tensorboard: bool = False

    @property
    def out(self) -> Path:
        """The folder of the exported model."""
        return self.results / "models" / self.name

    @property
    def work(self) -> Path:
        """The folder of the run's state."""
        return self.results / "training" / self.name


def build(
    *,
    size: str,
    corpus: str | Corpus,
    languages: str,
    objectives: str,
    results: Path,
    device: str,
    precision: Literal["fp32", "bf16"],
    teacher: str = "auto",
    tokenizer: str = "auto",
    vocab_size: int = 32_000,
    steps: int | None = None,
    budget: str | None = None,
    seed: int = 0,
    name: str | None = None,
    config_file: Path | None = None,
    tensorboard: bool = False,
) -> Request:
    """Returns the request that a command line describes; UserError for whatever cannot be meant.

    `corpus` is a folder, read in `languages`, or a corpus that is already made. Without steps and budget it is the
    DEFAULT_BUDGET.
    """
    if size not in PRESETS:
        raise UserError(f"no size {size!r}; {_close(size, PRESETS)}")
    wanted = tuple(part.strip() for part in objectives.split(",") if part.strip())
    for objective in wanted:
        if objective not in OBJECTIVES:
            raise UserError(f"no objective {objective!r}; {_close(objective, OBJECTIVES)}")
    if "mlm" not in wanted:
        raise UserError(f"--objectives {objectives} leaves out mlm, which the others act on; add it")
    if steps is not None and budget is not None:
        raise UserError(f"--steps {steps} and --budget {budget} exclude each other; give one")
    if steps is None and budget is None:
        budget = DEFAULT_BUDGET
    text = corpus if isinstance(corpus, Corpus) else _corpus(corpus, languages, results)
    config = TrainConfig(
        model=PRESETS[size],
        languages=text.languages,
        steps=steps,
        budget_s=None if budget is None else seconds(budget),
        batch_tokens=BATCH_TOKENS[device.split(":")[0]],
        seed=seed,
        precision=precision,
        adversary=Adversary() if "adversary" in wanted else None,
    )
    settings = Distill(teacher="")
    if config_file is not None:
        changes = _read_toml(config_file)
        taught = changes.pop("distill", None)
        config = override(config, changes, str(config_file))
        if taught is not None:
            if "distill" not in wanted:
                raise UserError(f"{config_file}: [distill] is not in use in this run; add it to --objectives")
            probe = override(replace(config, distill=settings), {"distill": taught}, str(config_file))
            assert probe.distill is not None
            settings = probe.distill
    chosen = name if name is not None else default_name(size, wanted)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", chosen):
        raise UserError(
            f"--name {chosen!r}: use letters, digits, '.', '_', '+' and '-', starting with a letter or digit"
        )
    return Request(
        name=chosen,
        size=size,
        corpus=text,
        config=config,
        results=results,
        distill="distill" in wanted,
        teacher=teacher,
        tokenizer=tokenizer,
        vocab_size=vocab_size,
        distill_settings=settings if "distill" in wanted else None,
        tensorboard=tensorboard,
    )


def describe(request: Request) -> list[tuple[str, str]]:
    """Returns what would be trained, as (what, value) lines for `--dry-run`; writes and trains nothing."""
    config = request.config
    long = f"{config.steps:,} steps" if config.steps is not None else f"{config.budget_s:g} s, turned into steps"
    vocabulary = request.results / "tokenizers" / f"{request.corpus.identity[:12]}-{request.vocab_size}"
    state = "resumes" if (request.work / "plan.json").exists() else "starts"
    if request.out.exists():
        state = "is already trained"
    lines = [
        ("model", f"{request.name} ({request.size}: {config.model.layers} layers, width {config.model.width}) {state}"),
        ("objectives", ", ".join(config.objectives + (("distill",) if request.distill else ()))),
        ("corpus", f"{request.corpus.name}, {len(config.languages)} languages: {', '.join(config.languages)}"),
        ("vocabulary", str(vocabulary) if request.tokenizer == "auto" else request.tokenizer),
        ("length", f"{long}, {config.batch_tokens:,} tokens a step, {config.precision}, seed {config.seed}"),
        ("export", str(request.out)),
    ]
    if request.distill:
        known = [name for name, manifest in exported(request.results) if manifest["size"] != request.size]
        lines.append(("teacher", f"{request.teacher} (other sizes trained here: {', '.join(known) or 'none yet'})"))
    return lines


def default_name(size: str, objectives: Sequence[str]) -> str:
    """Returns "unibert-SIZE" for all objectives, else their names joined: "mlm-SIZE", "mlm+distill-SIZE"."""
    used = [objective for objective in OBJECTIVES if objective in objectives]
    return f"{'unibert' if len(used) == len(OBJECTIVES) else '+'.join(used)}-{size}"


def seconds(budget: str) -> float:
    """Returns the seconds in "90s", "10m", "2h" or "1.5h"; a bare number's unit would be a guess, so it is refused."""
    found = re.fullmatch(r"([0-9]+(?:[.][0-9]+)?)([smhd])", budget.strip())
    if not found or float(found[1]) <= 0:
        raise UserError(f"--budget {budget!r}: expected a number and a unit, such as 90s, 10m or 2h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def _corpus(corpus: str, languages: str, results: Path) -> Corpus:
    chosen = None if languages == "all" else tuple(part.strip() for part in languages.split(",") if part.strip())
    return from_folder(_wikipedia(results) if corpus == "wikipedia" else Path(corpus), chosen)


def _wikipedia(results: Path) -> Path:
    """Returns the folder of the Wikipedia that was built here, or of the one that $UNIBENCH_CORPUS names."""
    named = os.environ.get("UNIBENCH_CORPUS")
    for folder in (results / "corpora" / "wikipedia", *([Path(named)] if named else [])):
        manifest = built.read(folder)
        if manifest is not None and manifest["source"]["name"] == WIKIPEDIA:
            return folder
    raise UserError(
        f"no Wikipedia in {results / 'corpora' / 'wikipedia'}; build it first: unibench corpus build --source "
        f"wikipedia --results {results} (offline with --data MIRROR), then train"
    )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--config {path} cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"--config {path} is not TOML ({error})") from None


def _close(name: str, known: Sequence[str] | dict[str, Any]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
