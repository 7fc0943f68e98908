"""The model card: what a model is, what it was trained on and how, what was measured, and what it is not for.

Its metadata is what the Hugging Face Hub reads: languages, tags, and the evaluation as a `model-index`. No claim in it
goes beyond the manifest.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from unibert.config import TrainConfig, from_plain
from unibert.languages import LANGUAGES

HELDOUT = "held-out"
# The Hub takes ISO 639-1 and 639-3 codes that are in use and refuses a card with another; sh was withdrawn in 2000.
WITHDRAWN = {"sh": "hbs"}
UNFOLDED = 12  # languages; a longer table is folded away
TAGS = ["unibert", "sentence-transformers", "feature-extraction", "sentence-similarity"]


def card(manifest: Mapping[str, Any]) -> str:
    """Returns the card of an exported model, metadata first, from its manifest."""
    from huggingface_hub import ModelCardData

    language, tagged = hub_languages(manifest["languages"])
    if len(manifest["languages"]) > 1:
        language.append("multilingual")
    data: Any = ModelCardData(
        language=language or None,
        language_bcp47=tagged or None,
        library_name="transformers",
        pipeline_tag="fill-mask",
        tags=TAGS,
        model_name=_line(manifest["name"]),
        eval_results=_eval_results(measured(manifest)),
    )
    return f"---\n{data.to_yaml()}\n---\n{_body(manifest)}"


def hub_languages(codes: Iterable[str]) -> tuple[list[str], list[str]]:
    """Returns the codes for the metadata fields `language` (ISO 639) and `language_bcp47`, each sorted.

    A code with a script or region, as eng_Latn, stands in both; one that is neither kind stands in none.
    """
    language, tagged = set(), set()
    for code in codes:
        if re.fullmatch("[a-z]{2,3}", code):
            language.add(WITHDRAWN.get(code, code))
        elif re.fullmatch("[a-zA-Z]{2,3}([-_][a-zA-Z0-9]{1,8})+", code):
            tagged.add(code.replace("_", "-"))
            if narrowed := re.fullmatch("([a-z]{2,3})[-_]([A-Z][a-z]{3}|[A-Z]{2})", code):
                language.add(WITHDRAWN.get(narrowed[1], narrowed[1]))
    return sorted(language), sorted(tagged)


def measured(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns what was measured on held-out text, as `EvalResult` fields; what is not a number is left out."""
    heldout, probe = manifest["heldout"], manifest["probe"]
    modelling = ("fill-mask", "Masked language modelling")
    reading = ("feature-extraction", "Language readable from mean-pooled vectors")
    chance = f"accuracy of a fresh linear probe (chance {probe['chance']:.3f})"
    rows = (
        (*modelling, "loss", "masked-LM loss in nats, mean over languages", heldout["mlm"]["mean"]),
        (*reading, "accuracy", chance, probe["probe_accuracy"]),
        (*reading, "neighbours", "nearest neighbours of the same language", probe["same_language_neighbours"]),
        (*reading, "effective_rank", "effective rank", probe["effective_rank"]),
    )
    corpus = _line(manifest["corpus"])
    return [
        {
            "task_type": task,
            "task_name": task_name,
            "dataset_type": corpus,
            "dataset_name": f"held-out lines of {corpus}",
            "dataset_split": HELDOUT,
            "metric_type": metric,
            "metric_name": metric_name,
            "metric_value": round(value, 4),
        }
        for task, task_name, metric, metric_name, value in rows
        if math.isfinite(value)
    ]


def _eval_results(results: Sequence[Mapping[str, Any]]) -> list[Any]:
    from huggingface_hub import EvalResult

    made = []
    for result in results:
        try:
            value = float(result["metric_value"])
            made.append(EvalResult(**{**result, "metric_value": value}))
        except (KeyError, TypeError) as error:
            raise ValueError(f"{dict(result)} is no evaluation result ({error}); give EvalResult's fields") from None
        if not math.isfinite(value):
            raise ValueError(f"{dict(result)} has no finite metric_value; leave out what was not measured")
    return made


def _body(manifest: Mapping[str, Any]) -> str:
    config = from_plain(manifest["config"])
    heldout, probe, languages = manifest["heldout"], manifest["probe"], manifest["languages"]
    return f"""# {_words(manifest["name"])}

A compact multilingual encoder ({manifest["size"]}: {config.model.layers} layers, width {config.model.width},
{manifest["parameters"]:,} parameters, {manifest["parameters_without_embeddings"]:,} without embeddings).

- Objectives: {manifest["objectives"]}
- Text: {_words(manifest["corpus"])} (sha256 {manifest["corpus_sha256"][:16]}…), {_count(languages)}
- Training: {manifest["steps"]:,} steps, {manifest["tokens"]:,} tokens, {manifest["seconds"]:,} s on
  {manifest["device"]}, {manifest["threads"]} threads, {config.precision}, seed {config.seed}{_teacher(manifest)}
- Held-out masked-LM loss: {heldout["mlm"]["mean"]:.3f} nats (unigram {heldout["unigram"]:.3f}, unigram of the right
  language {heldout["language_unigram"]:.3f})
- A fresh linear probe reads the language from mean-pooled vectors with accuracy {probe["probe_accuracy"]:.3f} (chance
  {probe["chance"]:.3f}); nearest neighbours share the language in {probe["same_language_neighbours"]:.3f} of cases;
  effective rank {probe["effective_rank"]:.1f}

All settings and hashes are in `unibert.json`, the curve in `metrics.jsonl`.

## Use

{_usage(manifest["name"])}
## Intended use and limits

Made to be fine-tuned: classification, tagging, extractive question answering, similarity, in the languages it was
trained on. Without fine-tuning it fills in masked words, and gives vectors that were never trained for similarity.

- It saw {manifest["tokens"]:,} tokens in {_count(languages)}; the held-out loss of each, below, tells where it knows
  least. Neither that loss nor the probe says how it does on a task.
- It reads {config.model.positions} pieces at most; longer text is cut, or must be cut into windows.
- It repeats what its text says, prejudice and error included. It is no source of facts, and nothing about people
  should be decided by it alone.
- This card names no licence: that is for whoever publishes the model, in view of the text it was trained on.

## Text

{_text(manifest, config)}
## Training

{_recipe(manifest, config)}
![Training curves](curves.png)

## Identity

{_identity(manifest)}
"""


def _usage(name: str) -> str:
    return f"""```python
import torch
from transformers import AutoModel, AutoTokenizer, pipeline

folder = {json.dumps(_line(name), ensure_ascii=False)}  # where the model is: a path, or OWNER/NAME on the Hub
print(pipeline("fill-mask", model=folder)("This is the [MASK] of the river."))

tokenizer = AutoTokenizer.from_pretrained(folder)
encoder = AutoModel.from_pretrained(folder, add_pooling_layer=False)
batch = tokenizer(["A small house.", "The old garden."], padding=True, truncation=True, return_tensors="pt")
with torch.no_grad():
    hidden = encoder(**batch).last_hidden_state
mask = batch["attention_mask"].unsqueeze(-1)
vectors = (hidden * mask).sum(1) / mask.sum(1)
```

The same vectors through [sentence-transformers](https://sbert.net), and so through mteb:

```python
from sentence_transformers import SentenceTransformer

vectors = SentenceTransformer(folder).encode(["A small house.", "The old garden."])
```
"""


def _text(manifest: Mapping[str, Any], config: TrainConfig) -> str:
    languages, losses = sorted(manifest["languages"]), manifest["heldout"]["mlm"]
    longer = [code for code in languages if len(code) != 2 or code in WITHDRAWN]
    without = f" Without an ISO 639-1 code: {', '.join(longer)}." if longer else ""
    rows = [(code, LANGUAGES.get(code, ""), f"{losses[code]:.3f}" if code in losses else "–") for code in languages]
    table = _table(("code", "language", "held-out loss (nats)"), rows)
    if len(rows) > UNFOLDED:
        table = f"<details><summary>{_count(languages)}, with held-out loss</summary>\n\n{table}\n\n</details>"
    return f"""{_words(manifest["corpus"])}, {_count(languages)}: each is drawn in proportion to its tokens to the power
of {config.sampling_alpha:g}. A fixed share of lines, chosen by hash, was held out.{without}

{table}
"""


def _recipe(manifest: Mapping[str, Any], config: TrainConfig) -> str:
    peak_lr = config.peak_lr if config.peak_lr is not None else config.model.peak_lr
    lines = [
        f"Masked-LM: {100 * config.mask_rate:g}% of pieces, {config.batch_tokens:,} tokens a step, AdamW, peak rate "
        f"{peak_lr:.3g}, weight decay {config.weight_decay:g}, gradient norm clipped at {config.clip_norm:g}"
    ]
    raw = manifest["config"]
    if raw.get("adversary"):
        outcome = manifest.get("adversary") or {}
        ended = "".join(
            f"; {words} {outcome[key]:.3g}"
            for key, words in (
                ("backoff", "strength at its end times"),
                ("discriminator_accuracy", "the discriminator's accuracy"),
            )
            if isinstance(outcome.get(key), int | float)
        )
        lines.append(f"Language adversary: {_settings(raw['adversary'])}{ended}")
    if raw.get("distill"):
        lines.append(f"Distillation: {_settings(raw['distill'])}")
    return "".join(f"- {line}\n" for line in lines)


def _teacher(manifest: Mapping[str, Any]) -> str:
    """Returns a line of its own, "" without one. Folders lose their paths: a card travels, its machine does not."""
    teacher = manifest["teacher"]
    if not teacher:
        return ""
    if not teacher["folder"]:
        return f"\n- Teacher: {_words(teacher['why'])}"
    within = ", trained within half of the budget" if teacher["halved"] else ""
    cost = "cost unknown"
    if "tokens" in teacher:
        cost = f"{teacher['size']}, {teacher['steps']:,} steps, {teacher['tokens']:,} tokens, {teacher['seconds']:,} s"
    return f"\n- Teacher, on top of that: {_words(Path(teacher['folder']).name)}{within} ({cost})"


def _settings(raw: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {'none' if value is None else value}" for key, value in raw.items() if key != "teacher")


def _identity(manifest: Mapping[str, Any]) -> str:
    hashes = {kind: manifest.get(f"{kind}_sha256") for kind in ("model", "tokenizer", "corpus")}
    hashes["teacher"] = (manifest["teacher"] or {}).get("model_sha256")
    rows = [(kind, f"`{sha256}`") for kind, sha256 in hashes.items() if sha256]
    packages = ", ".join(f"{name} {version}" for name, version in sorted(manifest["packages"].items()))
    made = f"Trained {manifest['created'][:10]} with {packages}; vocabulary of {manifest['vocab_size']:,} pieces."
    return f"{_table(('of', 'sha256'), rows)}\n\n{made}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_words(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _count(languages: Sequence[str]) -> str:
    return f"{len(languages)} language{'' if len(languages) == 1 else 's'}"


def _line(text: str) -> str:
    return " ".join(str(text).split())


def _words(text: str) -> str:
    """Returns text of others on one line, in which no tag begins."""
    return _line(text).replace("<", "&lt;")
