"""Opening an encoder that was not made in this run: where it is, what it reads, whether it has this vocabulary.

Safetensors weights and no code of its own, ever. What cannot be opened is a UserError.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from unibert import tokenizer
from unibert.errors import UserError
from unibert.manifest import exported

# Weights as safetensors only, and whatever a tokenizer is made from.
HUB_FILES = ("*.json", "model*.safetensors", "vocab.txt", "merges.txt", "*.model")
# Where normalisers and pre-tokenisers part: case, accents, width, digits, punctuation, spaces, scripts without them.
PROBES = (
    "The QUICK brown fox's 1,234.56 km - isn't it?",
    "Ünïcödé naïve Ångström ﬁne",
    "Ｆｕｌｌ　ｗｉｄｔｈ １２３",
    "two  spaces\tand tab ",
    "長江是中国最长的河流。",
    "東京はとても大きい。",
    "ภาษาไทยไม่เว้นวรรค",
    "يجري نهرُ النيل",
    "Ёлка и Йод",
    "दिल्ली भारत की राजधानी",
    "👩‍🚀 ok",
)
# Positions are counted from after padding's id.
_AFTER_PADDING = (
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
    "camembert",
    "mpnet",
    "longformer",
    "data2vec-text",
    "xmod",
)


def resolve(teacher: str, results: Path) -> Path:
    """Returns the folder of a model: a name trained here, a folder, or a Hub id OWNER/NAME[@REVISION], fetched once.

    A Hub id is resolved to a commit, which the folder's name is (`revision`). Raises UserError for a name that is none
    of these, or a model without safetensors weights.
    """
    for folder in (results / "models" / teacher, Path(teacher).expanduser()):
        if teacher and (folder / "config.json").is_file():
            return _with_safetensors(folder, str(folder))
    hub, _, asked = teacher.partition("@")
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", hub):
        return _fetch(hub, asked or None)
    known = [name for name, _ in exported(results)]
    close = get_close_matches(teacher, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"trained here: {', '.join(known) or 'none yet'}"
    raise UserError(f"no teacher {teacher!r}: not in {results / 'models'}, not a folder, not OWNER/NAME; {hint}")


def revision(folder: Path) -> str | None:
    """Returns the commit of a folder in the Hub's cache, None for any other folder."""
    commit = re.fullmatch(r"[0-9a-f]{40}", folder.name)
    return folder.name if commit and folder.parent.name == "snapshots" else None


def config_of(folder: Path) -> Any:
    """Returns a model folder's config."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"teacher {folder} cannot be opened ({_first(error)})") from None


def tokenizer_of(folder: Path) -> Any:
    """Returns a model folder's own tokenizer, fast where there is one."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, use_fast=True, local_files_only=True)
    except (OSError, ValueError, ImportError, KeyError, TypeError) as error:
        raise UserError(f"teacher {folder} has no tokenizer that can be opened ({_first(error)})") from None


def positions_of(config: Any) -> int:
    """Returns how many tokens an encoder reads at most; 512 where its config does not say."""
    limit = int(getattr(config, "max_position_embeddings", None) or 512)
    return limit - (int(config.pad_token_id) + 1 if config.model_type in _AFTER_PADDING else 0)


def difference(folder: Path, student_tokenizer: Path) -> str | None:
    """Returns how a model's vocabulary differs from the student's, None when all pieces and all PROBES agree.

    Sizes that agree say nothing: the content is compared. A model with more rows than pieces differs too.
    """
    from tokenizers import Tokenizer

    ours = tokenizer.load(student_tokenizer)
    same = (folder / "tokenizer.json").is_file() and (
        tokenizer.fingerprint(folder) == tokenizer.fingerprint(student_tokenizer)
    )
    theirs = ours
    if not same:
        wrapped = tokenizer_of(folder)
        if not wrapped.is_fast:
            return "its tokenizer has no fast form to compare"
        theirs = Tokenizer.from_str(wrapped.backend_tokenizer.to_str())
        theirs.no_padding()
        theirs.no_truncation()
    pieces, others = ours.get_vocab(), theirs.get_vocab()
    moved = next((piece for piece in sorted(pieces) if others.get(piece) != pieces[piece]), None)
    if moved is not None:
        return f"{moved!r} is piece {pieces[moved]} here and {others.get(moved, 'none')} there"
    rows = config_of(folder).vocab_size
    if len(others) != len(pieces) or rows != len(pieces):
        return f"{len(pieces)} pieces here, {len(others)} there in {rows} rows"
    for probe in PROBES:
        if ours.encode(probe).ids != theirs.encode(probe).ids:
            return f"{probe!r} is cut differently"
    return None


def open_encoder(folder: Path, *, head: bool) -> tuple[Any, Any]:
    """Returns (model, its encoder), with a trained masked-LM head where asked; its pooler, if any, may be untrained."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModel, AutoModelForMaskedLM

    _with_safetensors(folder, str(folder))
    opener: Any = AutoModelForMaskedLM if head else AutoModel
    try:
        # Weights that the folder lacks are drawn from the global generator, which is the student's.
        with torch.random.fork_rng(devices=[]), _quiet():
            model, found = opener.from_pretrained(
                str(folder),
                trust_remote_code=False,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, ImportError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(f"teacher {folder} cannot be opened ({_first(error)})") from None
    if model.config.is_encoder_decoder:
        raise UserError(f"teacher {folder} is a {type(model).__name__}, which has a decoder; take an encoder")
    missing = sorted(name for name in found["missing_keys"] if "pooler." not in name)
    if missing:
        headless = head and not any(name.startswith(f"{model.base_model_prefix}.") for name in missing)
        todo = "without a trained masked-LM head set soft_weight to 0" if headless else "take another teacher"
        raise UserError(f"teacher {folder} lacks {len(missing)} weights, {missing[0]!r} for one; {todo}")
    return model, model.base_model


def _fetch(hub: str, asked: str | None) -> Path:
    from huggingface_hub import snapshot_download

    from unibert.hub import hub_reachable

    try:
        folder = snapshot_download(
            hub, revision=asked, allow_patterns=list(HUB_FILES), local_files_only=not hub_reachable()
        )
    except Exception as error:  # no such model or revision, gated, unreachable: any of three libraries' errors
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"teacher {hub} cannot be had from the Hub ({reason}); check its name, or give a folder"
        ) from None
    return _with_safetensors(Path(folder), hub)


def _with_safetensors(folder: Path, name: str) -> Path:
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"teacher {name} has no .safetensors weights, and other formats are not opened; take another")
    return folder


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps transformers from printing a table of the weights that it leaves out."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def _first(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
