"""Real tokenizers and real encoders, small enough for a test: trained and initialised here, from lines written here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, RobertaConfig, RobertaModel

from unibench.cards import Source, TaskCard
from unibench.data import Example

LINES = (
    "The river Danube flows through Vienna and Budapest before it reaches the Black Sea.",
    "Anna bought three apples at the market in Lisbon; they weren't cheap!",
    "Der Zug nach München fährt um 7:45 Uhr ab, sagt Jürgen Müller.",
    "แม่น้ำเจ้าพระยาไหลผ่านกรุงเทพมหานครแล้วลงสู่อ่าวไทย",
    "ภาษาไทยเขียนโดยไม่เว้นวรรคระหว่างคำ",
    "长江是中国最长的河流,流经武汉和南京,最后在上海入海。",
    "北京大学在北京市海淀区。",
    "يجري نهر النيل عبر الخرطوم والقاهرة ثم يصب في البحر المتوسط.",
    "تقع مدينة مراكش جنوب المغرب.",
    "Река Волга протекает через Казань и впадает в Каспийское море.",
    "Mto Rufiji ni mto mkubwa kuliko yote nchini Tanzania.",
    "दिल्ली भारत की राजधानी है और यमुना के किनारे बसी है।",
    "İstanbul Boğazı Karadeniz'i Marmara Denizi'ne bağlar.",
)
KINDS = ("wordpiece", "unigram", "byte-level", "byte-level-no-prefix-space")


@cache
def _trained(kind: str, extra: tuple[str, ...]) -> PreTrainedTokenizerFast:
    lines = [*LINES, *extra] * 4
    if kind == "wordpiece":
        special = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
        backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        backend.normalizer = normalizers.BertNormalizer(lowercase=True)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer: Any = trainers.WordPieceTrainer(
            vocab_size=420, special_tokens=["[PAD]", "[CLS]", "[SEP]", "[UNK]"], show_progress=False
        )
    else:
        special = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
        names = ["<s>", "<pad>", "</s>", "<unk>"]
        if kind == "unigram":
            backend = Tokenizer(models.Unigram())
            backend.normalizer = normalizers.NFKC()
            backend.pre_tokenizer = pre_tokenizers.Metaspace()
            trainer = trainers.UnigramTrainer(
                vocab_size=420, special_tokens=names, unk_token="<unk>", show_progress=False
            )
        else:
            backend = Tokenizer(models.BPE())
            backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=kind == "byte-level")
            trainer = trainers.BpeTrainer(
                vocab_size=480,
                special_tokens=names,
                initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                show_progress=False,
            )
    backend.train_from_iterator(lines, trainer)
    cls, sep = special["cls_token"], special["sep_token"]
    pair = f"{cls} $A {sep} $B:1 {sep}:1" if kind == "wordpiece" else f"{cls} $A {sep} {sep} $B {sep}"
    backend.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=pair,
        special_tokens=[(cls, backend.token_to_id(cls)), (sep, backend.token_to_id(sep))],
    )
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if kind == "wordpiece" else [])]
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_input_names=names, **special)


def tokenizer_of(kind: str, extra: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """Returns a fast tokenizer of about 450 subwords; `extra` lines join its training text."""
    return _trained(kind, tuple(extra))


def bert(tokenizer: Any, *, width: int = 32, layers: int = 2, positions: int = 64, types: int = 2) -> BertModel:
    """Returns a BERT initialised from a fixed seed."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return BertModel(
            BertConfig(
                vocab_size=len(tokenizer),
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=2,
                intermediate_size=4 * width,
                max_position_embeddings=positions,
                type_vocab_size=types,
                pad_token_id=tokenizer.pad_token_id,
            )
        )


def roberta(tokenizer: Any, *, positions: int = 66) -> RobertaModel:
    """Returns a RoBERTa, whose positions start after padding's id and whose only token type is 0."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return RobertaModel(
            RobertaConfig(
                vocab_size=len(tokenizer),
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=64,
                max_position_embeddings=positions,
                type_vocab_size=1,
                pad_token_id=tokenizer.pad_token_id,
            )
        )


def card_of(family: str, metric: str, labels: tuple[str, ...] = (), **options: Any) -> TaskCard:
    """Returns a card with what an adapter reads of it."""
    return TaskCard(
        name=f"toy_{family}",
        title="A toy",
        family=family,
        metric=metric,
        languages=("en",),
        protocol="zero-shot",
        train=(),
        dev=(),
        eval=Source(hub="nobody/nothing", config="{lang}", split="test"),
        columns={},
        labels=labels,
        options=options,
    )


def examples_of(rows: Sequence[tuple[Mapping[str, Any], Any]]) -> list[Example]:
    """Returns (inputs, target) rows as examples, each its own group."""
    return [Example(id=f"{i:04d}", group=f"{i:04d}", inputs=a, target=b) for i, (a, b) in enumerate(rows)]
