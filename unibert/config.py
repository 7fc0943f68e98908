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
    """A pressure on the encoder to hide the language of its vectors, by one of three methods.

    `reversal`: a discriminator reads the language, its reversed gradient reaches the encoder (Ganin et al. 2016).
    `uniform`: the same discriminator; the encoder learns to make its answer uniform. `matching`: no discriminator; the
    means of the languages are drawn together. It reads vectors after `layer` (None: the last), mean-pooled ("sentence")
    or token by token.

    The encoder first learns without it (`start_frac` of all steps), then the strength climbs by the schedule of Ganin
    et al. over `ramp_frac` of all steps. The gradient is clipped apart from the others', then scaled to `balance` times
    their norm over all shared parameters, times `strength` (λ); with `balance = None` it is λ times what it is. A fixed
    λ either starves masked language modelling or does nothing, depending on the scale of the vectors.
    `strength = 0` trains the discriminator only.
    """

    method: Literal["reversal", "uniform", "matching"] = "reversal"
    level: Literal["sentence", "token"] = "sentence"
    layer: int | None = None
    strength: float = 1.0
    balance: float | None = 0.5
    clip_norm: float = 1.0
    start_frac: float = 0.5
    ramp_frac: float = 0.1
    every: int = 1  # encoder steps from one adversarial gradient to the next
    hidden: int = 256
    learning_rate: float = 1e-3  # the discriminator's own, which does not follow the encoder's schedule
    updates: int = 5  # discriminator updates per encoder step
    replay: int = 8  # batches of vectors it is trained on again
    max_mlm_rise: float = 0.3  # nats over the held-out loss at its start; beyond it, strength is halved
    min_rank_share: float = 0.5  # of the effective rank at its start; below it, strength is halved

    def __post_init__(self) -> None:
        _within("adversary.strength", self.strength, 0, 100)
        if self.balance is not None:
            _within("adversary.balance", self.balance, 0, 10)
        _within("adversary.clip_norm", self.clip_norm, 1e-6, 1e6)
        _within("adversary.start_frac", self.start_frac, 0, 1)
        _within("adversary.ramp_frac", self.ramp_frac, 0, 1)
        _within("adversary.every", self.every, 1, 1000)
        _within("adversary.updates", self.updates, 1, 100)
        _within("adversary.replay", self.replay, 1, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distill:
    """A teacher, and the signals a student takes from it; a weight of 0 leaves a signal out.

    `soft`: its distribution at masked positions. `hidden`: the direction of its last vectors. `relation`: how queries,
    keys and values of its last layer relate (MiniLMv2). These three need the student's vocabulary. `sentence`: how its
    mean-pooled vectors of the same text relate to each other, which any tokenizer serves. With `top_k`, only that many
    logits a position are used, and kept on disk for every student of the same batches. `first_layers` starts the
    student from evenly spaced layers of a teacher of its own width.
    """

    teacher: str  # a folder that `AutoModelForMaskedLM.from_pretrained` opens
    temperature: float = 2.0
    soft_weight: float = 1.0
    hidden_weight: float = 1.0
    relation_weight: float = 0.0
    sentence_weight: float = 0.0
    top_k: int | None = None
    first_layers: bool = False

    def __post_init__(self) -> None:
        _within("distill.temperature", self.temperature, 0.1, 100)
        weights = ("soft_weight", "hidden_weight", "relation_weight", "sentence_weight")
        for name in weights:
            _within(f"distill.{name}", getattr(self, name), 0, 100)
        if not any(getattr(self, name) for name in weights):
            raise UserError(f"distill has no signal: give one of {', '.join(weights)} more than 0")
        if self.top_k is not None:
            _within("distill.top_k", self.top_k, 1, 100_000)

    @property
    def needs_vocabulary(self) -> tuple[str, ...]:
        """The signals in use that only a teacher of the same vocabulary can give."""
        return tuple(name for name in ("soft", "hidden", "relation") if getattr(self, f"{name}_weight"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One pretraining run.

    Exactly one of `steps` and `budget_s` is set: a budget is measured on throw-away steps, turned into a step count and
    stored, so that a resumed run is the same run. `sampling_alpha` smooths the language mix (1 as found, 0 uniform;
    Conneau et al. 2020 use 0.3). `long_share` of the tokens come as lines of one language joined up to full length, so
    that long inputs meet trained positions. `dropout` is for pretraining; the export keeps 0.1 for fine-tuning.

    `batch_tokens` make one optimiser step, cut into `micro_batches` (None: one for each process that starts the run,
    then stored), which processes share out: the curve depends on their number, not on how many processes there are.
    `language_head` tells the masked-LM head, and nothing below it, which language it predicts. A step whose loss is not
    finite, or `max_loss_rise` nats over the running mean, is skipped; `max_skips` in a row roll the run back.
    """

    model: ModelConfig
    languages: tuple[str, ...]
    steps: int | None = None
    budget_s: float | None = None
    sampling_alpha: float = 0.3
    batch_tokens: int = 2048
    micro_batches: int | None = None
    long_share: float = 0.1
    warmup_frac: float = 0.06
    peak_lr: float | None = None  # None: the model's
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    mask_rate: float = 0.15
    dropout: float = 0.0
    language_head: bool = False
    max_loss_rise: float = 3.0
    max_skips: int = 10
    max_rollbacks: int = 3
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
        micro = self.micro_batches if self.micro_batches is not None else 1
        _within("micro_batches", micro, 1, 65_536)
        if self.batch_tokens < micro * self.model.positions:
            raise UserError(
                f"batch_tokens {self.batch_tokens} in {micro} micro_batches is below one full sequence of "
                f"{self.model.positions} in each"
            )
        layer = self.adversary.layer if self.adversary is not None else None
        if layer is not None and not 1 <= layer <= self.model.layers:
            raise UserError(f"adversary.layer {layer} is outside 1..{self.model.layers}, this model's layers")
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
        if value == "none":  # TOML has no null
            return None
        hint = next(h for h in typing.get_args(hint) if h is not type(None))
    if typing.get_origin(hint) is tuple and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    if typing.get_origin(hint) is Literal:
        if value in typing.get_args(hint):
            return value
        raise UserError(f"{where}: {key} = {value!r}; expected one of {', '.join(map(repr, typing.get_args(hint)))}")
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint in (int, str, bool) and type(value) is hint:
        return value
    raise UserError(f"{where}: {key} = {value!r}; expected {getattr(hint, '__name__', hint)}")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(f"{name} {value} is outside {low}..{high}")
