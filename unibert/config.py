"""What is trained and how: frozen, complete, refused when it makes no sense.

A run's identity is its TrainConfig: the same config on the same corpus, vocabulary, machine and thread count gives the
same bytes. (Training a vocabulary does not: `tokenizers` sums in the order of a randomised hash table.)
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal

from unibert.errors import UserError

OBJECTIVES = ("mlm", "adversary", "distill")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The encoder's shape. Heads are 64 wide and feed-forward layers 4 times the width, as in BERT."""

    layers: int
    width: int
    positions: int = 512

    def __post_init__(self) -> None:
        if self.width < 64 or self.width % 64:
            raise UserError(f"width {self.width} is not a multiple of 64, the width of one head")
        if self.layers < 1:
            raise UserError(f"layers {self.layers} leaves no encoder; use 1 or more")

    @property
    def peak_lr(self) -> float:
        """Peak learning rate that suits this width: 2e-3 at 128 falling to 3.3e-4 at 768 (inverse to the width)."""
        return 0.256 / self.width


BASE = ModelConfig(layers=12, width=768)
SMALL = replace(BASE, layers=6, width=384)
XSMALL = replace(SMALL, layers=4, width=256)
XXSMALL = replace(XSMALL, layers=2, width=128)
PRESETS: dict[str, ModelConfig] = {"base": BASE, "small": SMALL, "xsmall": XSMALL, "xxsmall": XXSMALL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Adversary:
    """A discriminator reads the language off mean-pooled vectors; its reversed gradient makes the encoder hide it.

    The encoder first learns without it (`start_frac` of all steps), then the strength climbs by the schedule of Ganin
    et al. 2016 over `ramp_frac` of all steps. The reversed gradient is scaled to `balance` times the norm of the other
    objectives' gradient over all shared parameters, times `strength` (λ): a fixed λ either starves masked language
    modelling or does nothing, depending on the scale of the vectors. `strength = 0` trains the discriminator only.
    """

    strength: float = 1.0
    balance: float = 0.5
    start_frac: float = 0.5
    ramp_frac: float = 0.1
    hidden: int = 256
    learning_rate: float = 1e-3  # the discriminator's own, which does not follow the encoder's schedule
    updates: int = 5  # discriminator updates per encoder step
    replay: int = 8  # batches of vectors it is trained on again
    max_mlm_rise: float = 0.3  # nats over the held-out loss at its start; beyond it, strength is halved
    min_rank_share: float = 0.5  # of the effective rank at its start; below it, strength is halved

    def __post_init__(self) -> None:
        _within("adversary.strength", self.strength, 0, 100)
        _within("adversary.balance", self.balance, 0, 10)
        _within("adversary.start_frac", self.start_frac, 0, 1)
        _within("adversary.ramp_frac", self.ramp_frac, 0, 1)
        _within("adversary.updates", self.updates, 1, 100)
        _within("adversary.replay", self.replay, 1, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distill:
    """A teacher with the same vocabulary: soft targets at masked positions, and the direction of its last vectors."""

    teacher: str  # a folder that `AutoModelForMaskedLM.from_pretrained` opens
    temperature: float = 2.0
    soft_weight: float = 1.0
    hidden_weight: float = 1.0

    def __post_init__(self) -> None:
        _within("distill.temperature", self.temperature, 0.1, 100)
        _within("distill.soft_weight", self.soft_weight, 0, 100)
        _within("distill.hidden_weight", self.hidden_weight, 0, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One pretraining run.

    Exactly one of `steps` and `budget_s` is set: a budget is measured on throw-away steps, turned into a step count and
    stored, so that a resumed run is the same run. `sampling_alpha` smooths the language mix (1 as found, 0 uniform;
    Conneau et al. 2020 use 0.3). `long_share` of the tokens come as lines of one language joined up to full length, so
    that long inputs meet trained positions. `dropout` is for pretraining; the export keeps 0.1 for fine-tuning.
    """

    model: ModelConfig
    languages: tuple[str, ...]
    steps: int | None = None
    budget_s: float | None = None
    sampling_alpha: float = 0.3
    batch_tokens: int = 2048
    long_share: float = 0.1
    warmup_frac: float = 0.06
    peak_lr: float | None = None  # None: the model's
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    mask_rate: float = 0.15
    dropout: float = 0.0
    seed: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    eval_every_steps: int = 200
    checkpoint_every_s: float = 60.0
    adversary: Adversary | None = None
    distill: Distill | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.budget_s is None):
            raise UserError(f"steps={self.steps} and budget_s={self.budget_s}: give exactly one of them")
        if self.steps is not None and self.steps < 1:
            raise UserError(f"steps {self.steps} trains nothing; use 1 or more")
        if self.budget_s is not None and not self.budget_s > 0:
            raise UserError(f"budget_s {self.budget_s} trains nothing; use more than 0 seconds")
        if not self.languages:
            raise UserError("languages is empty; name at least one")
        _within("sampling_alpha", self.sampling_alpha, 0, 1)
        _within("long_share", self.long_share, 0, 1)
        _within("warmup_frac", self.warmup_frac, 0, 1)
        _within("mask_rate", self.mask_rate, 0.01, 0.9)
        _within("dropout", self.dropout, 0, 0.9)
        if self.batch_tokens < self.model.positions:
            raise UserError(f"batch_tokens {self.batch_tokens} is below one full sequence of {self.model.positions}")
        if self.adversary is not None and len(self.languages) < 2:
            raise UserError(f"an adversary needs two languages or more to tell apart; languages is {self.languages}")

    @property
    def objectives(self) -> tuple[str, ...]:
        """The objectives in use, in the order of OBJECTIVES."""
        used = {"mlm": True, "adversary": self.adversary is not None, "distill": self.distill is not None}
        return tuple(name for name in OBJECTIVES if used[name])


def override(config: TrainConfig, changes: Mapping[str, Any], where: str) -> TrainConfig:
    """Returns `config` with the (nested) settings of a TOML file; an unknown key or a wrong type is a UserError.

    A table `[adversary]` or `[distill]` changes an objective that is in use and is refused otherwise.
    """
    return typing.cast(TrainConfig, _override(config, changes, where, ""))


def to_plain(config: TrainConfig | Distill) -> dict[str, Any]:
    """Returns the config as JSON-ready values; of a TrainConfig, `from_plain` is the inverse."""
    return dataclasses.asdict(config)


def from_plain(raw: Mapping[str, Any]) -> TrainConfig:
    """Returns the config that `to_plain` wrote."""
    nested = {
        "model": ModelConfig(**raw["model"]),
        "languages": tuple(raw["languages"]),
        "adversary": Adversary(**raw["adversary"]) if raw["adversary"] else None,
        "distill": Distill(**raw["distill"]) if raw["distill"] else None,
    }
    return TrainConfig(**{**raw, **nested})


def _override(config: Any, changes: Mapping[str, Any], where: str, prefix: str) -> Any:
    hints = typing.get_type_hints(type(config))
    new: dict[str, Any] = {}
    for key, value in changes.items():
        if key not in hints:
            close = get_close_matches(key, hints, n=1)
            known = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(hints)}"
            raise UserError(f"{where}: no setting {prefix + key!r}; {known}")
        current = getattr(config, key)
        if isinstance(value, Mapping):
            if not dataclasses.is_dataclass(current):
                raise UserError(f"{where}: [{prefix}{key}] is not in use in this run; add it to --objectives")
            new[key] = _override(current, value, where, f"{prefix}{key}.")
        else:
            new[key] = _typed(value, hints[key], where, prefix + key)
    try:
        return replace(config, **new)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _typed(value: Any, hint: Any, where: str, key: str) -> Any:
    """Returns a TOML value as the annotated type."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(h for h in typing.get_args(hint) if h is not type(None))
    if typing.get_origin(hint) is tuple and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    if typing.get_origin(hint) is Literal:
        if value in typing.get_args(hint):
            return value
        raise UserError(f"{where}: {key} = {value!r}; expected one of {', '.join(map(repr, typing.get_args(hint)))}")
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint in (int, str) and type(value) is hint:
        return value
    raise UserError(f"{where}: {key} = {value!r}; expected {getattr(hint, '__name__', hint)}")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(f"{name} {value} is outside {low}..{high}")
