"""A trained encoder as a folder that transformers, sentence-transformers and mteb open; it appears whole or not at all.

weights, config, tokenizer               `AutoModel`, `AutoModelForMaskedLM`, `AutoTokenizer`, `pipeline("fill-mask")`
modules.json, …, 1_Pooling/config.json   `SentenceTransformer`: the mean over all real tokens, as `model.mean_pool`
unibert.json, README.md                  what it is: the manifest, and the model card drawn from it
metrics.jsonl, curves.png                how it got there
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from unibert import curves
from unibert.manifest import MANIFEST, model_sha256
from unibert.model import FINETUNING_DROPOUT, UniBert

METRICS, CURVES = "metrics.jsonl", "curves.png"
TOKENIZER_FILES = ("tokenizer.json", "special_tokens_map.json")
# The name that transformers 4 and 5 both know; 5 writes one of its own, which 4 refuses.
TOKENIZER_CLASS = "PreTrainedTokenizerFast"


def export(
    model: UniBert,
    tokenizer_folder: Path,
    out: Path,
    manifest: Mapping[str, Any],
    card: Callable[[dict[str, Any]], str],
    *,
    curve: Path,
) -> Path:
    """Writes the whole folder to `out`, which must not exist yet, and returns it.

    The manifest gains `model_sha256`: of weights, config and vocabulary, the identity a benchmark record keeps. `card`
    makes the model card of that manifest; `curve` is the run's metrics.jsonl.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=".export-"))
    try:
        # Pretraining without dropout is faster and, over few epochs, better; fine-tuning on little data needs it.
        model.mlm.config.hidden_dropout_prob = FINETUNING_DROPOUT
        model.mlm.config.attention_probs_dropout_prob = FINETUNING_DROPOUT
        model.mlm.save_pretrained(temporary, safe_serialization=True)
        _copy_tokenizer(tokenizer_folder, temporary)
        whole = {**manifest, "model_sha256": model_sha256(temporary)}
        config = model.mlm.config
        files = sentence_files(width=config.hidden_size, positions=config.max_position_embeddings)
        for name, content in {**files, MANIFEST: whole}.items():
            path = temporary / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
        (temporary / "README.md").write_text(card(whole), encoding="utf-8")
        shutil.copyfile(curve, temporary / METRICS)
        curves.plot(curve, temporary / CURVES)
        for path in (temporary, *temporary.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)  # safetensors and mkdtemp leave them to their owner alone
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out


def sentence_files(*, width: int, positions: int) -> dict[str, Any]:
    """Returns, by path, the JSON that makes `SentenceTransformer(folder)` pool as `unibert.model.mean_pool` does.

    In the layout of sentence-transformers 2 to 5.3, which later versions read too: theirs is closed to earlier ones.
    """
    modules = ((0, "", "Transformer"), (1, "1_Pooling", "Pooling"))
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    return {
        "modules.json": [
            {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for at, path, kind in modules
        ],
        # BERT's own pooler is never trained here; without this, a random one is made and warned of.
        "sentence_bert_config.json": {
            "max_seq_length": positions,
            "do_lower_case": False,
            "model_args": {"add_pooling_layer": False},
        },
        "1_Pooling/config.json": {
            "word_embedding_dimension": width,
            **{f"pooling_mode_{mode}": mode == "mean_tokens" for mode in modes},
            "include_prompt": True,
        },
        "config_sentence_transformers.json": {
            "model_type": "SentenceTransformer",
            "prompts": {},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    }


def _copy_tokenizer(source: Path, target: Path) -> None:
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    settings = source / "tokenizer_config.json"
    if settings.is_file():
        config = {**json.loads(settings.read_text(encoding="utf-8")), "tokenizer_class": TOKENIZER_CLASS}
        text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
        (target / settings.name).write_text(text, encoding="utf-8")
