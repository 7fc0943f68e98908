"""What a model's folder may not do: run its own code, be read from pickles, or be measured as something else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_encoders import tokenizer_of
from transformers import T5Config, T5Model

from unibench import models
from unibench.errors import Unavailable
from unibench.models import Encoder

CODE = "from pathlib import Path\nPath({marker!r}).write_text('ran')\nfrom transformers import {base} as {name}\n"


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of a trained encoder, as if from elsewhere."""
    made = Path(shutil.copytree(trained / "models" / "first", tmp_path / "foreign"))
    (made / "unibert.json").unlink()
    return made


def load(folder: Path) -> torch.nn.Module:
    return models.load(Encoder(name="foreign", kind="path", folder=folder))[1]


def test_code_in_a_folder_is_never_run(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    for file, base, name, key in (
        ("config.json", "BertModel", "Mine", "AutoModel"),
        ("tokenizer_config.json", "PreTrainedTokenizerFast", "MyTokenizer", "AutoTokenizer"),
    ):
        module = f"own_{name.lower()}"
        (folder / f"{module}.py").write_text(CODE.format(marker=str(marker), base=base, name=name))
        settings = json.loads((folder / file).read_text())
        reference = f"{module}.{name}"
        settings["auto_map"] = {key: [None, reference] if key == "AutoTokenizer" else reference}
        (folder / file).write_text(json.dumps(settings))
    assert sum(p.numel() for p in load(folder).parameters()) > 0
    assert not marker.exists()


def test_weights_are_read_from_safetensors_and_from_nothing_else(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    torch.save({name: torch.zeros_like(tensor) for name, tensor in state.items()}, folder / "pytorch_model.bin")
    assert load(folder).get_parameter("embeddings.word_embeddings.weight").abs().sum() > 0
    (folder / "model.safetensors").unlink()
    with pytest.raises(Unavailable, match="cannot be opened"):
        load(folder)


def test_weights_that_would_be_left_out_are_not_passed_over(folder: Path) -> None:
    path = folder / "model.safetensors"
    state = load_file(path)
    state["bert.encoder.layer.0.attention.self.distance_embedding.weight"] = torch.zeros(3, 3)
    state["bert.embeddings.position_ids"] = torch.arange(4)
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(Unavailable, match=r"holds 1 weights that this version of transformers leaves out .*distance"):
        load(folder)


def test_a_decoder_is_no_encoder(tmp_path: Path) -> None:
    tokenizer = tokenizer_of("unigram")
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    T5Model(T5Config(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    with pytest.raises(Unavailable, match="is a T5Model, which has a decoder; only encoders are measured"):
        load(tmp_path / "t5")
