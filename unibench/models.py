"""The encoders that can be benchmarked: trained here, named baselines on the Hub, any local path, and the floor.

Listing and planning import no torch; `load` does, in whatever process fine-tunes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from unibench import facts, scratch
from unibench.catalogue import CATALOGUE
from unibench.errors import Unavailable, UnknownName, UserError, one_line
from unibench.sources import hub_reachable
from unibench.weights import shape
from unibert.config import PRESETS
from unibert.manifest import exported, model_sha256, read_manifest

# Weights as safetensors only, and whatever a fast tokenizer is made from.
HUB_FILES = [
    "config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
    "special_tokens_map.json",
    "added_tokens.json",
]
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
# Weights that make up an encoder, unlike heads and poolers; old checkpoints also keep the numbers 0, 1, 2, … there.
IN_THE_ENCODER = re.compile(r"(?:^|\.)(?:layers?|embeddings)\.(?!.*position_ids$)")
FLOOR = "scratch"
FLOOR_SIZE = "xxsmall"
Kind = Literal["trained", "teacher", "catalogue", "path", "scratch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """One encoder: where it is and what is known of it. `reason` says why it cannot be loaded here, "" if it can.

    `folder` holds weights and tokenizer ("trained", "path"), the tokenizer alone ("scratch"), or is None until a Hub
    model has been fetched, at `revision` or else as it is now. `about` travels into every record's provenance; it holds
    layers, width, vocabulary, parameters and parameters_without_embeddings where they are known.
    """

    name: str
    kind: Kind
    folder: Path | None = None
    hub: str = ""
    revision: str | None = None
    reason: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)


def available(results: Path) -> list[Encoder]:
    """Returns what `--model all` means: encoders trained here (no teachers), the floor, the catalogue."""
    trained = [_trained(results / "models" / name, manifest) for name, manifest in exported(results)]
    catalogue = [_catalogued(name) for name in CATALOGUE]
    return [encoder for encoder in trained if encoder.kind == "trained"] + [_scratch(FLOOR, results)] + catalogue


def teachers(results: Path) -> list[Encoder]:
    """Returns the encoders trained here to teach others; they are benchmarked only when named."""
    trained = [_trained(results / "models" / name, manifest) for name, manifest in exported(results)]
    return [encoder for encoder in trained if encoder.kind == "teacher"]


def pick(names: Literal["all"] | Sequence[str], results: Path) -> list[Encoder]:
    """Returns the encoders named: trained here, `scratch[:SIZE]`, of the catalogue, a folder, or OWNER/NAME[@REVISION].

    Raises UnknownName for a name that is none of these, UserError for a named one that cannot be loaded here; under
    "all" such an encoder is returned with its reason.
    """
    if names == "all":
        return available(results)
    found: dict[str, Encoder] = {}
    for asked in dict.fromkeys(names):
        encoder = find(asked, results)
        if encoder.reason:
            raise UserError(f"model {encoder.name!r} cannot be used here: {encoder.reason}")
        if encoder.name in found:
            before = found[encoder.name].folder
            raise UserError(f"two models are called {encoder.name!r}: {before} and {encoder.folder}; rename a folder")
        found[encoder.name] = encoder
    return list(found.values())


def find(name: str, results: Path) -> Encoder:
    """Returns the encoder of one name, as in `pick`, whether or not it can be loaded here. Raises UnknownName."""
    if name == FLOOR or name.startswith(f"{FLOOR}:"):
        return _scratch(name, results)
    if name in CATALOGUE:
        return _catalogued(name)
    trained = dict(exported(results))
    if name in trained:
        return _trained(results / "models" / name, trained[name])
    folder = Path(name).expanduser().resolve()
    if folder.is_dir():
        return _local(folder)
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+(@\S+)?", name):
        hub, _, revision = name.partition("@")
        return _on_hub(name, hub, revision or None, {})
    known = [*trained, FLOOR, *(f"{FLOOR}:{size}" for size in PRESETS), *CATALOGUE]
    raise UnknownName("model", name, known, f"{results / 'models'} or the catalogue")


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

    try:
        found = snapshot_download(
            encoder.hub,
            revision=encoder.revision,
            allow_patterns=HUB_FILES,
            local_files_only=not hub_reachable(),
        )
    except Exception as error:  # any of three libraries' network, name and disk errors
        raise Unavailable(f"{encoder.hub} could not be fetched ({one_line(error)})") from None
    folder = Path(found)
    if not _has_weights(folder):
        raise Unavailable(
            f"{encoder.hub} has no safetensors weights, and other formats are not opened; name a revision that has "
            f"them, such as {encoder.hub}@refs/pr/1 where the Hub's converter made one, or "
            f"{_conversion(encoder.hub, encoder.hub.partition('/')[2])}"
        )
    return replace(encoder, folder=folder, about={**encoder.about, **_of_snapshot(folder)})


def downloaded(encoder: Encoder) -> Encoder:
    """Returns the encoder with its folder if all of it is on this machine, else as it is; never asks the Hub."""
    if encoder.folder is not None:
        return encoder
    folder = _in_cache(encoder.hub, encoder.revision)
    return encoder if folder is None else replace(encoder, folder=folder)


def load(encoder: Encoder) -> tuple[Any, Any]:
    """Returns (fast tokenizer, encoder module), freshly loaded. Raises Unavailable where the files are not usable.

    On a CPU the encoder takes the fused pass. The global generators are left alone, and no weight but a pooler's, which
    is not used, may be missing: transformers would draw it at random.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    from unibert.fused_encoder import speed_up

    here = fetch(encoder)
    assert here.folder is not None
    if not any(path for pattern in VOCABULARIES for path in here.folder.glob(pattern)):
        # transformers would make up an empty vocabulary, in which every text reads the same
        raise Unavailable(
            f"{here.folder} holds no vocabulary ({', '.join(VOCABULARIES)}); save its tokenizer there too"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(here.folder), trust_remote_code=False, use_fast=True)
        if encoder.kind == "scratch":
            return tokenizer, speed_up(scratch.untrained(str(encoder.about["size"]), len(tokenizer)))
        with torch.random.fork_rng(devices=[]):
            model, found = AutoModel.from_pretrained(
                str(here.folder),
                trust_remote_code=False,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # a damaged folder raises a dozen kinds, in four libraries
        raise Unavailable(f"{here.folder} cannot be opened ({one_line(error)})") from None
    if model.config.is_encoder_decoder:
        raise Unavailable(f"{here.folder} is a {type(model).__name__}, which has a decoder; only encoders are measured")
    missing = sorted(name for name in found["missing_keys"] if "pooler." not in name)
    if missing:
        raise Unavailable(f"{here.folder} lacks {len(missing)} weights of its encoder, {missing[0]!r} for one")
    ignored = sorted(name for name in found["unexpected_keys"] if IN_THE_ENCODER.search(name))
    if ignored:
        raise Unavailable(
            f"{here.folder} holds {len(ignored)} weights that this version of transformers leaves out of its encoder, "
            f"{ignored[0]!r} for one"
        )
    return tokenizer, speed_up(model)


def _trained(folder: Path, manifest: Mapping[str, Any]) -> Encoder:
    keys = ("size", "objectives", "parameters", "parameters_without_embeddings", "tokens", "seconds", "languages")
    asked, teacher = manifest["asked"], manifest["teacher"] or {}
    about = {
        **shape(folder),
        **{key: manifest[key] for key in keys},
        "corpus": manifest["corpus"],
        "recipe": facts.recipe_of(asked),
        "pretraining_seed": asked["seed"],
        "teacher_sha256": teacher.get("model_sha256", ""),
    }
    kind: Kind = "teacher" if manifest["is_teacher"] else "trained"
    return Encoder(name=folder.name, kind=kind, folder=folder, about=about)


def _local(folder: Path) -> Encoder:
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} holds no config.json; --model takes a folder that save_pretrained wrote")
    if not _has_weights(folder):
        raise UserError(
            f"{folder} holds no .safetensors weights, and other formats are not opened; "
            f"{_conversion(str(folder), f'{folder.name}-safetensors')}"
        )
    manifest = read_manifest(folder)
    if manifest is not None:
        return replace(_trained(folder, manifest), kind="path")
    return Encoder(name=folder.name, kind="path", folder=folder, about=shape(folder))


def _catalogued(name: str) -> Encoder:
    entry = CATALOGUE[name]
    keys = ("layers", "width", "vocabulary", "parameters", "parameters_without_embeddings", "licence", "note")
    return _on_hub(name, entry.hub, entry.revision, {key: getattr(entry, key) for key in keys if getattr(entry, key)})


def _on_hub(name: str, hub: str, revision: str | None, about: Mapping[str, Any]) -> Encoder:
    cached = _in_cache(hub, revision)
    reason = ""
    if cached is None and not hub_reachable():
        reason = f"{hub} is not in the Hugging Face cache and the Hub cannot be reached"
    known = {**about, **(_of_snapshot(cached) if cached else {})}
    return Encoder(name=name, kind="catalogue", hub=hub, revision=revision, reason=reason, about=known)


def _in_cache(hub: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(hub, "config.json", revision=revision)
    except HFValidationError:
        return None
    folder = Path(found).parent if isinstance(found, str) else None
    return folder if folder is not None and _has_weights(folder) else None


def _of_snapshot(folder: Path) -> dict[str, Any]:
    return {**shape(folder), "revision": folder.name}  # the cache names a snapshot's folder after its commit


def _has_weights(folder: Path) -> bool:
    return any(folder.glob("*.safetensors"))


def _conversion(source: str, target: str) -> str:
    """Says how to make a folder that can be opened; from_pretrained reads other formats without running what is in
    them."""
    return (
        'convert it once: python -c "from transformers import AutoModel, AutoTokenizer; '
        f"AutoModel.from_pretrained({source!r}).save_pretrained({target!r}); "
        f'AutoTokenizer.from_pretrained({source!r}).save_pretrained({target!r})" and give --model {target}'
    )


def _scratch(name: str, results: Path) -> Encoder:
    """The floor reads with the vocabulary of the model trained first, so that later ones do not move it."""
    size = name.partition(":")[2] or FLOOR_SIZE
    if size not in PRESETS:
        raise UnknownName("size", size, PRESETS, "the presets")
    trained = sorted(exported(results), key=lambda item: (item[1]["created"], item[0]))
    about = {"size": size, "objectives": "none"}
    if not trained:
        return Encoder(name=name, kind="scratch", about=about, reason="no vocabulary yet; run `unibench train` first")
    folder = results / "models" / trained[0][0]
    vocabulary = shape(folder).get("vocabulary", 0)
    return Encoder(name=name, kind="scratch", folder=folder, about={**about, **scratch.shape_of(size, vocabulary)})


@lru_cache(maxsize=64)
def _hash(folder: Path) -> str:
    return model_sha256(folder)
