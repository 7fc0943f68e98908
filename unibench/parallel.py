"""Sentences that say the same in many languages: FLORES+ from the Hub or a mirror, else the generated sample's own.

FLORES+ is for looking at encoders, never for training them: nothing here is reachable from pretraining.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from unibench.cards import Source
from unibench.errors import DataError, Unavailable, UnknownName, UserError
from unibench.opening import open_split
from unibench.sample import tasks, templates
from unibench.sources import Origin, Split, locate

# Our codes -> FLORES+ configs, as the table in https://github.com/openlanguagedata/flores names them. A mirror may use
# either. Where FLORES+ has several varieties of a language it is the one that our text mostly holds.
FLORES_CONFIGS: Mapping[str, str] = {
    "af": "afr_Latn", "ar": "arb_Arab", "ast": "ast_Latn", "az": "azj_Latn", "azb": "azb_Arab", "ba": "bak_Cyrl",
    "be": "bel_Cyrl", "bg": "bul_Cyrl", "bn": "ben_Beng", "bs": "bos_Latn", "ca": "cat_Latn", "ceb": "ceb_Latn",
    "cs": "ces_Latn", "cy": "cym_Latn", "da": "dan_Latn", "de": "deu_Latn", "el": "ell_Grek", "en": "eng_Latn",
    "eo": "epo_Latn", "es": "spa_Latn", "et": "ekk_Latn", "eu": "eus_Latn", "fa": "pes_Arab", "fi": "fin_Latn",
    "fr": "fra_Latn", "ga": "gle_Latn", "gl": "glg_Latn", "gu": "guj_Gujr", "he": "heb_Hebr", "hi": "hin_Deva",
    "hr": "hrv_Latn", "ht": "hat_Latn", "hu": "hun_Latn", "hy": "hye_Armn", "id": "ind_Latn", "is": "isl_Latn",
    "it": "ita_Latn", "ja": "jpn_Jpan", "jv": "jav_Latn", "ka": "kat_Geor", "kab": "kab_Latn", "kk": "kaz_Cyrl",
    "km": "khm_Khmr", "kn": "kan_Knda", "ko": "kor_Hang", "ky": "kir_Cyrl", "lmo": "lmo_Latn", "lt": "lit_Latn",
    "lv": "lvs_Latn", "mg": "plt_Latn", "min": "min_Latn", "mk": "mkd_Cyrl", "ml": "mal_Mlym", "mn": "khk_Cyrl",
    "mr": "mar_Deva", "ms": "zsm_Latn", "my": "mya_Mymr", "nb": "nob_Latn", "ne": "npi_Deva", "nl": "nld_Latn",
    "nn": "nno_Latn", "oc": "oci_Latn", "pa": "pan_Guru", "pl": "pol_Latn", "pt": "por_Latn", "ro": "ron_Latn",
    "ru": "rus_Cyrl", "rw": "kin_Latn", "scn": "scn_Latn", "sk": "slk_Latn", "sl": "slv_Latn", "sq": "als_Latn",
    "sr": "srp_Cyrl", "su": "sun_Latn", "sv": "swe_Latn", "sw": "swh_Latn", "ta": "tam_Taml", "te": "tel_Telu",
    "tg": "tgk_Cyrl", "th": "tha_Thai", "tl": "fil_Latn", "tr": "tur_Latn", "tt": "tat_Cyrl", "uk": "ukr_Cyrl",
    "ur": "urd_Arab", "uz": "uzn_Latn", "vi": "vie_Latn", "war": "war_Latn", "yo": "yor_Latn", "zh": "cmn_Hans",
    "zu": "zul_Latn",
}  # fmt: skip
FLORES = Source(
    hub="openlanguagedata/flores_plus", config="{lang}", split="devtest", aliases=FLORES_CONFIGS
)  # no public source pins a commit of it; sha256 below says which sentences were read
# The order in which languages are taken where there are too many: scripts and families first, English before all.
SPREAD = (
    "en", "ar", "zh", "ru", "hi", "sw", "tr", "de", "ja", "th", "fi", "ko", "el", "he", "vi", "bn", "fr", "id", "ka",
    "ta", "es", "yo", "fa", "pl", "hy", "ur", "eu", "te", "tl", "hu", "my", "pt", "kk", "it", "uk", "km", "cy",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Aligned:
    """`texts[l][i]` is sentence `ids[i]` in `languages[l]`; no text stands twice in a language.

    `sha256` covers languages, ids and texts; `commits` names the commit of each Hub data set read.
    """

    name: str
    languages: tuple[str, ...]
    ids: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    sha256: str
    commits: Mapping[str, str]


def languages_in(origin: Origin) -> tuple[str, ...]:
    """Returns the languages that aligned sentences can be had in from `origin`; opens no data file.

    Raises Unavailable, with the reason and a remedy, where there are none.
    """
    if origin.kind == "sample":
        return templates.codes()
    found = {language: locate(FLORES, language, origin) for language in FLORES_CONFIGS}
    having = tuple(language for language, split in found.items() if isinstance(split, Split))
    if not having:
        remedy = "put it there" if origin.kind == "mirror" else "accept its terms on the Hub and log in"
        raise Unavailable(f"{found['en']}; {remedy}, or use --data FOLDER or --data sample")
    return having


def choose(
    wanted: Literal["all", "auto"] | Sequence[str], having: Sequence[str], spoken: Sequence[Sequence[str]], most: int
) -> tuple[str, ...]:
    """Returns the languages to look at, English first where it is among them, the others by code.

    "all" is every one of `having`; "auto" is those of `having` that every model speaks (`spoken`: a model's languages,
    one entry for each model that says), at most `most` of them, as different as can be. Raises UnknownName for one that
    is not to be had, UserError for fewer than two.
    """
    if wanted == "auto":
        common = [code for code in having if all(code in codes for codes in spoken)]
        rank = {code: place for place, code in enumerate((*SPREAD, *sorted(set(common) - set(SPREAD))))}
        chosen = sorted(common, key=lambda code: rank[code])[:most]
    else:
        chosen = list(having if wanted == "all" else wanted)
    for code in chosen:
        if code not in having:
            raise UnknownName("language", code, having, "the aligned sentences")
    if len(set(chosen)) < 2:
        raise UserError(
            f"{', '.join(chosen) or 'no language'} is left of the aligned sentences' languages; "
            "name two or more with --languages"
        )
    return tuple(sorted(set(chosen), key=lambda code: (code != "en", code)))


def load(languages: Sequence[str], origin: Origin, *, sentences: int) -> Aligned:
    """Returns at most `sentences` sentences that all of `languages` have, those whose ids come first by hash.

    So a smaller number takes a subset of what a larger one takes. A sentence whose text stands under another id too, in
    any of the languages, is left out: it could not be found by its vector. Raises Unavailable, DataError.
    """
    columns: list[dict[str, str]] = []
    commits: dict[str, str] = {}
    for language in languages:
        if origin.kind == "sample":
            rows = tasks.rows("sts", "aligned", "eval", language, ())
            columns.append({f"{i:04d}": row.inputs["sentence1"] for i, row in enumerate(rows)})
            continue
        split = locate(FLORES, language, origin)
        if isinstance(split, str):
            raise Unavailable(split)
        columns.append(_read(split))
        commits |= {split.hub: split.commit} if split.commit else {}
    common = set.intersection(*(set(column) for column in columns))
    for column in columns:
        counted: dict[str, int] = {}
        for text in column.values():
            counted[text] = counted.get(text, 0) + 1
        common -= {id for id, text in column.items() if counted[text] > 1 or not text}
    ids = sorted(sorted(common, key=_hash)[:sentences])
    if len(ids) < 4:
        raise DataError(f"{len(ids)} sentences stand in all of {', '.join(languages)} in {origin}; expected 4 or more")
    texts = tuple(tuple(column[id] for id in ids) for column in columns)
    content = json.dumps([list(languages), ids, texts], ensure_ascii=True)
    return Aligned(
        name="the generated sample" if origin.kind == "sample" else f"{FLORES.hub} {FLORES.split}",
        languages=tuple(languages),
        ids=tuple(ids),
        texts=texts,
        sha256=hashlib.sha256(content.encode()).hexdigest(),
        commits=commits,
    )


def halves(sentences: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Returns the places, ascending, of the sentences that train and of those that test, drawn by `seed`.

    Sentences are split, not texts: all translations of a sentence are on one side.
    """
    order = np.random.default_rng(seed).permutation(sentences)
    return np.sort(order[: sentences // 2]), np.sort(order[sentences // 2 :])


def _read(split: Split) -> dict[str, str]:
    dataset = open_split(split)
    for column in ("id", "text"):
        if column not in dataset.column_names:
            raise DataError(f"{split.name} has no column {column!r}; it has {', '.join(dataset.column_names)}")
    return {str(id): str(text or "").strip() for id, text in zip(dataset["id"][:], dataset["text"][:], strict=True)}


def _hash(id: str) -> bytes:
    return hashlib.sha256(id.encode()).digest()
