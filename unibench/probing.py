"""What a pretrained encoder does with language, measured on frozen vectors: subjects -> records in results/probes/.

No number here means anything alone. A discriminator or a probe at chance proves nothing and an untrained encoder is
readable too, so every model stands beside an untrained one of its shape and vocabulary and beside one trained with the
masked-LM objective only; retrieval stands beside what centring each language gives and what is left without shared
tokens.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unibench import models, provenance
from unibench.errors import DataError, UserError
from unibench.models import Encoder
from unibench.parallel import Aligned
from unibench.probe_measures import MASK_RATE, measure
from unibench.store import slug
from unibench.vectors import open_reader
from unibert import shards, tokenizer
from unibert.manifest import exported, read_manifest, write_text

VERSION = 1  # of the measures; a record of another is not today's
SCHEMA = 1
HELDOUT_LINES = 50  # a language
VOCABULARY_FILES = ("tokenizer.json", "vocab.txt", "sentencepiece.bpe.model", "spiece.model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One row: an encoder, or with `untrained` fresh weights of its shape and vocabulary, read after `layer`."""

    name: str
    encoder: Encoder
    untrained: bool
    layer: int

    @property
    def folder(self) -> Path:
        """Where its config and tokenizer lie."""
        assert self.encoder.folder is not None
        return self.encoder.folder

    def sha256(self) -> str:
        """Returns what identifies it: of weights, config and vocabulary; untrained, of the last two."""
        if not self.untrained:
            return models.sha256(self.encoder)
        files = [self.folder / name for name in ("config.json", *VOCABULARY_FILES)]
        parts = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()]
        return hashlib.sha256("\n".join(["untrained, seed 0", *parts]).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Heldout:
    """Lines no model of a corpus was trained on, by language; the same for every model of its shards."""

    corpus: str
    lines: Mapping[str, tuple[str, ...]]

    @property
    def sha256(self) -> str:
        """The hash of what they say."""
        return hashlib.sha256(json.dumps(dict(self.lines), sort_keys=True).encode()).hexdigest()


def line_up(encoders: Sequence[Encoder], results: Path, layer: int | None) -> tuple[list[Subject], list[str]]:
    """Returns the subjects, each once: before every encoder its untrained twin and its masked-LM-only sibling; notes.

    Both are read after the encoder's own layer: `layer`, else the one its adversary acted on, else the last. What an
    adversary takes away after a middle layer the layers above it put back.
    """
    found: dict[tuple[str, int, str], Subject] = {}
    notes = []
    for encoder in map(models.fetch, encoders):
        assert encoder.folder is not None
        if encoder.kind == "scratch":
            raise UserError(f"{encoder.name} has no shape of its own: an untrained encoder stands beside every model")
        layers, width, vocabulary = _shape(encoder.folder)
        manifest = read_manifest(encoder.folder)
        acted = ((manifest or {}).get("config", {}).get("adversary") or {}).get("layer")
        at = layer if layer is not None else acted if acted is not None else layers
        if not 0 <= at <= layers:
            raise UserError(f"--layer {at} is not in {encoder.name}, which has 0 (token vectors) to {layers}")
        sibling, note = _sibling(encoder, manifest, results)
        notes += [note] if note else []
        if (manifest or {}).get("config", {}).get("language_head"):
            notes.append(f"{encoder.name}: its head was told the language in training, and is not told it here")
        twin = Subject(name=f"untrained-{layers}x{width}-{vocabulary}", encoder=encoder, untrained=True, layer=at)
        others = [Subject(name=s.name, encoder=s, untrained=False, layer=at) for s in (*sibling, encoder)]
        for subject in (twin, *others):
            vocabulary_too = subject.sha256() if subject.untrained else ""  # its name tells shapes apart, no more
            found.setdefault((subject.name, subject.layer, vocabulary_too), subject)
    return list(found.values()), notes


def heldout(subject: Subject, results: Path, languages: Sequence[str]) -> Heldout | None:
    """Returns held-out lines of the subject's own corpus, from its shards; None where it has none here."""
    manifest = read_manifest(subject.folder)
    folder = results / "shards" / str((manifest or {}).get("shards", ""))
    if manifest is None or not (folder / "manifest.json").is_file():
        return None
    vocabulary = tokenizer.load(subject.folder)
    lines: dict[str, tuple[str, ...]] = {}
    for language in languages:
        if language in manifest["languages"]:
            kept = shards.Lines(folder, language, "heldout")
            chosen = [kept[i] for i in range(min(HELDOUT_LINES, len(kept)))]
            lines[language] = tuple(vocabulary.decode(ids.tolist()) for ids in chosen if len(ids))
    lines = {language: texts for language, texts in lines.items() if texts}
    return Heldout(corpus=str(manifest["corpus"]), lines=lines) if lines else None


def record(
    subject: Subject,
    aligned: Aligned,
    results: Path,
    *,
    seed: int,
    device: str,
    notify: Callable[[str], None],
) -> dict[str, Any]:
    """Returns the subject's record: the stored one where model, data and settings are its own, else made and stored."""
    lines = heldout(subject, results, aligned.languages)
    identity = {
        "model_sha256": subject.sha256(),
        "data_sha256": aligned.sha256,
        "heldout_sha256": lines.sha256 if lines else None,
        "settings": {"layer": subject.layer, "seed": seed, "mask_rate": MASK_RATE, "version": VERSION},
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    path = results / "probes" / f"{slug(subject.name)}.{digest[:12]}.json"
    if path.is_file():
        notify(f"{subject.name}: stored in {path}")
        return _read(path, digest)
    notify(f"{subject.name}: reading {len(aligned.languages)} x {len(aligned.ids)} sentences, layer {subject.layer}")
    began = time.monotonic()
    reader = open_reader(subject.folder, untrained=subject.untrained, device=device)
    texts = lines.lines if lines else {}
    measures, by_language, counts = measure(reader, aligned, texts, layer=subject.layer, seed=seed)
    commit, dirty = provenance.commit()
    made = {
        "schema": SCHEMA,
        "identity": digest,
        **identity,
        "model": subject.name,
        "kind": "untrained" if subject.untrained else subject.encoder.kind,
        "objectives": "none" if subject.untrained else subject.encoder.about.get("objectives"),
        "layer": subject.layer,
        "layers": reader.layers,
        "data": aligned.name,
        "commits": dict(aligned.commits),
        "languages": list(aligned.languages),
        "sentences": len(aligned.ids),
        "heldout_corpus": lines.corpus if lines else None,
        "measures": measures,
        "by_language": by_language,
        **counts,
        "provenance": {
            "commit": commit,
            "dirty": dirty,
            "packages": dict(provenance.packages()),
            "device": device,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - began, 1),
        },
    }
    write_text(path, json.dumps(made, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return made


def _sibling(encoder: Encoder, manifest: Mapping[str, Any] | None, results: Path) -> tuple[list[Encoder], str]:
    """Returns the encoder trained alike but for the objectives, masked LM only, and what to say where there is none."""
    if manifest is None:
        return [], f"{encoder.name} was not trained here: no masked-LM-only model stands beside it"
    if manifest["objectives"] == "mlm":
        return [], ""
    alike = ("size", "tokenizer_sha256", "steps", "languages", "corpus_sha256")
    found = [
        (other["config"]["seed"] != manifest["config"]["seed"], name)
        for name, other in exported(results)
        if other["objectives"] == "mlm" and all(other.get(key) == manifest.get(key) for key in alike)
    ]
    if not found:
        return [], (
            f"no masked-LM-only model of {encoder.name}'s size, text, vocabulary and {manifest['steps']:,} steps "
            f"in {results / 'models'}: none stands beside it"
        )
    return models.pick([min(found)[1]], results), ""


def _shape(folder: Path) -> tuple[int, int, int]:
    """Returns layers, width and vocabulary size as the model's config states them."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    layers, width = (
        config.get("num_hidden_layers", config.get("n_layers")),
        config.get("hidden_size", config.get("dim")),
    )
    if layers is None or width is None:
        raise UserError(f"{folder / 'config.json'} states neither layers nor width; expected an encoder's config")
    return int(layers), int(width), int(config.get("vocab_size", 0))


def _read(path: Path, identity: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable record ({error}); delete it and probe again") from None
    if found.get("identity") != identity or found.get("schema") != SCHEMA:
        raise DataError(f"{path} was made by another version or edited; delete it and probe again")
    return found
