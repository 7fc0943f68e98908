"""The encoders that can be benchmarked: trained here, named baselines on the Hub, any local path, and the floor.

Listing and planning import no torch; `load` does, in whatever process fine-tunes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from unibench.errors import Unavailable, UnknownName, UserError
from unibench.sources import hub_reachable
from unibert.config import PRESETS
from unibert.errors import UserError as TrainingError
from unibert.manifest import exported, model_sha256, read_manifest

# Hub ids as their authors publish them; layers, width and parameters in millions as their model cards state.
CATALOGUE: dict[str, tuple[str, str]] = {
    "mbert": ("google-bert/bert-base-multilingual-cased", "12 layers, 104 languages, Apache-2.0"),
    "distilmbert": ("distilbert/distilbert-base-multilingual-cased", "6 layers, 104 languages, Apache-2.0"),
    "xlm-r-base": ("FacebookAI/xlm-roberta-base", "12 layers, 100 languages, MIT"),
    "mminilm-l12": ("microsoft/Multilingual-MiniLM-L12-H384", "12 layers of width 384, 100 languages, MIT"),
}
# Weights as safetensors only, and whatever a fast tokenizer is made from.
HUB_FILES = [
    "config.json",
    "*.safetensors",
    "tokenizer*",
    "vocab.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
]
FLOOR = "scratch"
FLOOR_SIZE = "xxsmall"
Kind = Literal["trained", "teacher", "catalogue", "path", "scratch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """One encoder: where it is and what is known of it. `reason` says why it cannot be loaded here, "" if it can.

    `folder` holds weights and tokenizer ("trained", "path"), the tokenizer alone ("scratch"), or is None until a Hub
    model has been fetched. `about` travels into every record's provenance.
    """

    name: str
    kind: Kind
    folder: Path | None = None
    hub: str = ""
    reason: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)


def available(results: Path) -> list[Encoder]:
    """Returns what `--model all` means: encoders trained here (no teachers), the floor, the catalogue."""
    trained = [_trained(results, name, manifest) for name, manifest in exported(results)]
    catalogue = [_catalogued(name) for name in CATALOGUE]
    return [encoder for encoder in trained if encoder.kind == "trained"] + [_scratch(FLOOR, results)] + catalogue


def teachers(results: Path) -> list[Encoder]:
    """Returns the encoders trained here to teach others; they are benchmarked only when named."""
    trained = [_trained(results, name, manifest) for name, manifest in exported(results)]
    return [encoder for encoder in trained if encoder.kind == "teacher"]


def pick(names: Literal["all"] | Sequence[str], results: Path) -> list[Encoder]:
    """Returns the encoders named: trained here, `scratch[:SIZE]`, of the catalogue, a folder, or a Hub id OWNER/NAME.

    Raises UnknownName for a name that is none of these, UserError for a named one that cannot be loaded here; under
    "all" such an encoder is returned with its reason.
    """
    if names == "all":
        return available(results)
    found: dict[str, Encoder] = {}
    for asked in dict.fromkeys(names):
        encoder = _named(asked, results)
        if encoder.reason:
            raise UserError(f"model {encoder.name!r} cannot be used here: {encoder.reason}")
        if encoder.name in found:
            before = found[encoder.name].folder
            raise UserError(f"two models are called {encoder.name!r}: {before} and {encoder.folder}; rename a folder")
        found[encoder.name] = encoder
    return list(found.values())


def sha256(encoder: Encoder) -> str:
    """Returns the identity a record keeps: of weights, config and vocabulary; of a floor, its recipe and vocabulary."""
    if encoder.kind == "scratch":
        assert encoder.folder is not None
        vocabulary = hashlib.sha256((encoder.folder / "tokenizer.json").read_bytes()).hexdigest()
        return hashlib.sha256(f"{encoder.about['size']} untrained seed 0 {vocabulary}".encode()).hexdigest()
    folder = fetch(encoder).folder
    assert folder is not None
    return _hash(folder)


def fetch(encoder: Encoder) -> Encoder:
    """Returns the encoder with its folder on this machine, downloading a Hub model once. Raises Unavailable."""
    if encoder.folder is not None:
        return encoder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(encoder.hub, allow_patterns=HUB_FILES, local_files_only=not hub_reachable())
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise Unavailable(f"{encoder.hub} could not be fetched ({str(error).splitlines()[0]})") from None
    if not list(Path(folder).glob("*.safetensors")):
        raise Unavailable(f"{encoder.hub} has no safetensors weights, and other formats are not opened")
    return replace(encoder, folder=Path(folder))


def load(encoder: Encoder) -> tuple[Any, Any]:
    """Returns (fast tokenizer, encoder module), freshly loaded. Raises Unavailable where the files are not usable."""
    from safetensors import SafetensorError
    from transformers import AutoModel, AutoTokenizer

    here = fetch(encoder)
    assert here.folder is not None
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(here.folder), trust_remote_code=False, use_fast=True)
        if encoder.kind == "scratch":
            return tokenizer, _untrained(str(encoder.about["size"]), len(tokenizer))
        model = AutoModel.from_pretrained(
            str(here.folder), trust_remote_code=False, use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, ImportError, KeyError, SafetensorError) as error:
        raise Unavailable(f"{here.folder} cannot be opened ({str(error).splitlines()[0]})") from None
    return tokenizer, model


def _untrained(size: str, vocab_size: int) -> Any:
    import torch

    from unibert.model import FINETUNING_DROPOUT, new

    generator = torch.Generator().manual_seed(0)
    return new(PRESETS[size], vocab_size=vocab_size, dropout=FINETUNING_DROPOUT, generator=generator).mlm.bert


def _named(name: str, results: Path) -> Encoder:
    if name == FLOOR or name.startswith(f"{FLOOR}:"):
        return _scratch(name, results)
    if name in CATALOGUE:
        return _catalogued(name)
    trained = dict(exported(results))
    if name in trained:
        return _trained(results, name, trained[name])
    folder = Path(name).expanduser().resolve()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder} holds no config.json; --model takes a folder that save_pretrained wrote")
        try:
            model_sha256(folder)
        except TrainingError as error:
            raise UserError(str(error)) from None
        manifest = read_manifest(folder)
        if manifest is not None:
            return replace(_trained(results, name, manifest), name=folder.name, kind="path", folder=folder)
        return Encoder(name=folder.name, kind="path", folder=folder)
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return Encoder(name=name, kind="catalogue", hub=name, reason=_not_here(name))
    known = [*trained, FLOOR, *(f"{FLOOR}:{size}" for size in PRESETS), *CATALOGUE]
    raise UnknownName("model", name, known, f"{results / 'models'} or the catalogue")


def _trained(results: Path, name: str, manifest: Mapping[str, Any]) -> Encoder:
    keys = ("size", "objectives", "parameters", "parameters_without_embeddings", "tokens", "seconds", "languages")
    about = {key: manifest[key] for key in keys}
    about["corpus"] = manifest["corpus"]
    kind: Kind = "teacher" if manifest["is_teacher"] else "trained"
    return Encoder(name=name, kind=kind, folder=results / "models" / name, about=about)


def _catalogued(name: str) -> Encoder:
    hub, words = CATALOGUE[name]
    return Encoder(name=name, kind="catalogue", hub=hub, about={"note": words}, reason=_not_here(hub))


def _scratch(name: str, results: Path) -> Encoder:
    """The floor reads with the vocabulary of the model trained first, so that later ones do not move it."""
    size = name.partition(":")[2] or FLOOR_SIZE
    if size not in PRESETS:
        raise UnknownName("size", size, PRESETS, "the presets")
    trained = sorted(exported(results), key=lambda item: (item[1]["created"], item[0]))
    about = {"size": size, "objectives": "none"}
    if not trained:
        return Encoder(name=name, kind="scratch", about=about, reason="no vocabulary yet; run `unibench train` first")
    return Encoder(name=name, kind="scratch", folder=results / "models" / trained[0][0], about=about)


def _not_here(hub: str) -> str:
    """Returns "" when a Hub model is cached or the Hub answers, else why it cannot be had."""
    from huggingface_hub import try_to_load_from_cache

    if isinstance(try_to_load_from_cache(hub, "config.json"), str) or hub_reachable():
        return ""
    return f"{hub} is not in the Hugging Face cache and the Hub cannot be reached"


@lru_cache(maxsize=64)
def _hash(folder: Path) -> str:
    return model_sha256(folder)
