"""Known multilingual encoders on the Hugging Face Hub: what each is, and how large. Facts only; nothing is opened.

`layers`, `width` and `vocabulary` are those of the published config.json. `parameters` counts what is used here, the
encoder without heads and pooler, `parameters_without_embeddings` all but its embeddings (token, position and type
vectors and their norm): computed from that config by building the encoder without memory, and close to what the model
cards state. What its source does not state is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One encoder. `languages` is how many its authors name; `revision` a commit where `main` lacks safetensors.

    `note` is what a user should know before comparing with it.
    """

    hub: str
    layers: int
    width: int
    parameters: int
    parameters_without_embeddings: int
    vocabulary: int
    languages: int | None
    licence: str | None
    source: str
    revision: str | None = None
    note: str = ""


CONVERTED = "the revision is the Hub's own conversion of the weights to safetensors, which main lacks"
NOT_CONVERTED = "main was published without safetensors; where it still is, --model takes a folder converted once"
PREFIXES = "made for inputs that begin with 'query: ' or 'passage: '; none is added here, so it may score lower"

CATALOGUE: Mapping[str, Entry] = {
    "mbert": Entry(
        hub="google-bert/bert-base-multilingual-cased",
        layers=12,
        width=768,
        parameters=177_262_848,
        parameters_without_embeddings=85_054_464,
        vocabulary=119_547,
        languages=104,
        licence="Apache-2.0",
        source="https://huggingface.co/google-bert/bert-base-multilingual-cased",
    ),
    "distilmbert": Entry(
        hub="distilbert/distilbert-base-multilingual-cased",
        layers=6,
        width=768,
        parameters=134_734_080,
        parameters_without_embeddings=42_527_232,
        vocabulary=119_547,
        languages=104,
        licence="Apache-2.0",
        source="https://huggingface.co/distilbert/distilbert-base-multilingual-cased",
    ),
    "xlm-r-base": Entry(
        hub="FacebookAI/xlm-roberta-base",
        layers=12,
        width=768,
        parameters=277_453_056,
        parameters_without_embeddings=85_054_464,
        vocabulary=250_002,
        languages=100,
        licence="MIT",
        source="https://huggingface.co/FacebookAI/xlm-roberta-base; arXiv 1911.02116",
    ),
    "xlm-r-large": Entry(
        hub="FacebookAI/xlm-roberta-large",
        layers=24,
        width=1024,
        parameters=558_840_832,
        parameters_without_embeddings=302_309_376,
        vocabulary=250_002,
        languages=100,
        licence="MIT",
        source="https://huggingface.co/FacebookAI/xlm-roberta-large; arXiv 1911.02116",
    ),
    "mminilm-l6": Entry(
        hub="nreimers/mMiniLMv2-L6-H384-distilled-from-XLMR-Large",
        revision="688db8127b98247367eb27173451a07727bddc28",
        layers=6,
        width=384,
        parameters=106_846_080,
        parameters_without_embeddings=10_646_784,
        vocabulary=250_002,
        languages=None,
        licence=None,
        source="https://github.com/microsoft/unilm/tree/master/minilm (L6xH384 mMiniLMv2); arXiv 2012.15828",
        note=CONVERTED,
    ),
    "mminilm-l12": Entry(
        hub="microsoft/Multilingual-MiniLM-L12-H384",
        revision="d71b3dab802f265324697876f4be37dd61ec3160",
        layers=12,
        width=384,
        parameters=117_505_920,
        parameters_without_embeddings=21_293_568,
        vocabulary=250_037,
        languages=None,
        licence="MIT",
        source="https://huggingface.co/microsoft/Multilingual-MiniLM-L12-H384; arXiv 2002.10957",
        note=CONVERTED,
    ),
    "mdeberta-v3-base": Entry(
        hub="microsoft/mdeberta-v3-base",
        revision="faf660b811036d7b6dfc53aacfe5281447d4e2c6",
        layers=12,
        width=768,
        parameters=278_218_752,
        parameters_without_embeddings=85_449_216,
        vocabulary=251_000,
        languages=None,  # "the CC100 data as XLM-R"; the card gives no number
        licence="MIT",
        source="https://huggingface.co/microsoft/mdeberta-v3-base; arXiv 2111.09543",
        note=CONVERTED,
    ),
    "e5-small": Entry(
        hub="intfloat/multilingual-e5-small",
        layers=12,
        width=384,
        parameters=117_505_920,
        parameters_without_embeddings=21_293_568,
        vocabulary=250_037,
        languages=None,
        licence="MIT",
        source="https://huggingface.co/intfloat/multilingual-e5-small; arXiv 2402.05672",
        note=PREFIXES,
    ),
    "e5-base": Entry(
        hub="intfloat/multilingual-e5-base",
        layers=12,
        width=768,
        parameters=277_453_056,
        parameters_without_embeddings=85_054_464,
        vocabulary=250_002,
        languages=None,
        licence="MIT",
        source="https://huggingface.co/intfloat/multilingual-e5-base; arXiv 2402.05672",
        note=PREFIXES,
    ),
    "labse": Entry(
        hub="sentence-transformers/LaBSE",
        layers=12,
        width=768,
        parameters=470_336_256,
        parameters_without_embeddings=85_054_464,
        vocabulary=501_153,
        languages=109,
        licence="Apache-2.0",
        source="https://huggingface.co/sentence-transformers/LaBSE; arXiv 2007.01852",
        note="its own sentence vector is the first token's through a dense layer; here it is the mean of all tokens",
    ),
    "mmbert-small": Entry(
        hub="jhu-clsp/mmBERT-small",
        layers=22,
        width=384,
        parameters=140_493_696,
        parameters_without_embeddings=42_189_312,
        vocabulary=256_000,
        languages=1833,
        licence="MIT",
        source="https://huggingface.co/jhu-clsp/mmBERT-small; https://github.com/JHU-CLSP/mmBERT; arXiv 2509.06888",
        note=NOT_CONVERTED,
    ),
    "mmbert-base": Entry(
        hub="jhu-clsp/mmBERT-base",
        layers=22,
        width=768,
        parameters=306_939_648,
        parameters_without_embeddings=110_330_880,
        vocabulary=256_000,
        languages=1833,
        licence="MIT",
        source="https://huggingface.co/jhu-clsp/mmBERT-base; https://github.com/JHU-CLSP/mmBERT; arXiv 2509.06888",
        note=NOT_CONVERTED,
    ),
    "eurobert-210m": Entry(
        hub="EuroBERT/EuroBERT-210m",
        layers=12,
        width=768,
        parameters=211_766_016,
        parameters_without_embeddings=113_265_408,
        vocabulary=128_256,
        languages=15,
        licence="Apache-2.0",
        source="https://huggingface.co/EuroBERT/EuroBERT-210m; arXiv 2503.05500",
        note="opened by transformers' own code, not by the code that its folder brings",
    ),
}
