"""Train or load the shared subword vocabulary.

A Unigram model (Kudo 2018) on a language-balanced sample, as XLM-R's: pieces suit scripts without spaces, where
merging words does not. Characters that the sample never showed become UTF-8 bytes (256 byte pieces), so no text is
ever unknown. One vocabulary serves a corpus and every model size trained on it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unibert.corpus import Corpus, Counts, hashed_below, is_heldout, usable
from unibert.errors import UserError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, CLS, SEP, MASK = range(5)
BYTES = tuple(f"<0x{i:02X}>" for i in range(256))
FIRST_PIECE = len(SPECIAL)
SAMPLE_CHARACTERS = 8_000_000


def train(corpus: Corpus, vocab_size: int, *, alpha: float = 0.3, characters: int = SAMPLE_CHARACTERS) -> Any:
    """Returns a `tokenizers.Tokenizer` of at most `vocab_size` pieces (fewer where the text supports fewer).

    `alpha` smooths each language's share of the sample, as in pretraining. Held-out lines are never seen.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    fixed = len(SPECIAL) + len(BYTES)
    if vocab_size < fixed + 200:
        raise UserError(f"--vocab-size {vocab_size} leaves no room beside {fixed} special and byte pieces; use 1000+")
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        # Digits stand alone and punctuation apart, so that numbers and names look alike in every language.
        [pre_tokenizers.Metaspace(), pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Punctuation()]
    )
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size - fixed + 1, special_tokens=["[UNK]"], unk_token="[UNK]", show_progress=False
    )
    tokenizer.train_from_iterator(_sample(corpus, alpha, characters), trainer)
    learned = json.loads(tokenizer.to_str())["model"]["vocab"]
    pieces = [(piece, score) for piece, score in learned if piece != "[UNK]" and piece not in BYTES]
    # Byte pieces score below every learned one: they are a last resort, never a cheaper spelling.
    low = min(score for _, score in pieces) - 10.0
    vocab = [(piece, 0.0) for piece in SPECIAL] + [(piece, low) for piece in BYTES] + pieces
    tokenizer.model = models.Unigram(vocab, unk_id=UNK, byte_fallback=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    return tokenizer


def save(tokenizer: Any, folder: Path, *, positions: int = 512) -> None:
    """Writes the files `AutoTokenizer.from_pretrained(folder)` opens; all of them or none."""
    from transformers import PreTrainedTokenizerFast

    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=positions,
        # No token types: pretraining never shows a second segment, so its embedding would be noise.
        model_input_names=["input_ids", "attention_mask"],
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".tokenizer-"))
    try:
        wrapped.save_pretrained(temporary)
        temporary.chmod(0o755)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load(folder: Path) -> Any:
    """Returns the `tokenizers.Tokenizer` of a saved folder or an exported model."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"no tokenizer.json in {folder}; --tokenizer takes a folder that holds one")
    tokenizer = Tokenizer.from_file(str(path))
    found = [tokenizer.token_to_id(piece) for piece in SPECIAL]
    if found != list(range(len(SPECIAL))):
        raise UserError(f"{path} has {', '.join(SPECIAL)} at {found}; expected the first ids, as unibench train writes")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def fingerprint(folder: Path) -> str:
    """Returns the hex sha256 of the vocabulary file: two models share a vocabulary when these agree."""
    return hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()


def _sample(corpus: Corpus, alpha: float, characters: int) -> Iterator[str]:
    """Yields training lines from all over the text so that language l gives about n_l^alpha of the sample.

    Never more than there is. Lines are drawn by their hashes: a corpus often begins with one kind of text.
    """
    sizes = corpus.characters
    if sizes is None:
        sizes = {
            language: sum(len(line) for line, _ in usable(corpus, language, Counts()) if not is_heldout(line))
            for language in corpus.languages
        }
    weights = {language: size**alpha for language, size in sizes.items() if size}
    if not weights:
        raise UserError(f"corpus {corpus.name!r} holds no usable line to train a vocabulary on")
    total = sum(weights.values())
    for language, weight in weights.items():
        share = characters * weight / total / sizes[language]
        heldout = False
        for line, goes_on in usable(corpus, language, Counts()):
            heldout = heldout if goes_on else is_heldout(line)
            if not heldout and hashed_below(line, share, b"vocabulary"):
                yield line
