"""The 107 languages that "107 languages" stands for here.

The paper names its number, not its list. This one is multilingual BERT's list of Wikipedias (104: the 100 largest of
its time, Thai and Mongolian, Chinese twice), with Chinese once, since its two scripts share a Wikipedia; without Newar
and Luxembourgish, whose text at hand was too little to learn from; and with six more: Esperanto and Interlingua, whose
words are cognates of many languages; Kabyle, Kinyarwanda and Zulu, since Africa had only Afrikaans, Arabic, Malagasy,
Swahili and Yoruba; and Khmer, whose script no other language covers.
"""

from __future__ import annotations

from collections.abc import Mapping

LANGUAGES: Mapping[str, str] = {
    "af": "Afrikaans", "an": "Aragonese", "ar": "Arabic", "ast": "Asturian", "az": "Azerbaijani",
    "azb": "South Azerbaijani", "ba": "Bashkir", "bar": "Bavarian", "be": "Belarusian", "bg": "Bulgarian",
    "bn": "Bengali", "bpy": "Bishnupriya", "br": "Breton", "bs": "Bosnian", "ca": "Catalan", "ce": "Chechen",
    "ceb": "Cebuano", "cs": "Czech", "cv": "Chuvash", "cy": "Welsh", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "eo": "Esperanto", "es": "Spanish", "et": "Estonian", "eu": "Basque", "fa": "Persian",
    "fi": "Finnish", "fr": "French", "fy": "West Frisian", "ga": "Irish", "gl": "Galician", "gu": "Gujarati",
    "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "ht": "Haitian Creole", "hu": "Hungarian", "hy": "Armenian",
    "ia": "Interlingua", "id": "Indonesian", "io": "Ido", "is": "Icelandic", "it": "Italian", "ja": "Japanese",
    "jv": "Javanese", "ka": "Georgian", "kab": "Kabyle", "kk": "Kazakh", "km": "Khmer", "kn": "Kannada",
    "ko": "Korean", "ky": "Kyrgyz", "la": "Latin", "lmo": "Lombard", "lt": "Lithuanian", "lv": "Latvian",
    "mg": "Malagasy", "min": "Minangkabau", "mk": "Macedonian", "ml": "Malayalam", "mn": "Mongolian", "mr": "Marathi",
    "ms": "Malay", "my": "Burmese", "nb": "Norwegian Bokmål", "nds": "Low German", "ne": "Nepali", "nl": "Dutch",
    "nn": "Norwegian Nynorsk", "oc": "Occitan", "pa": "Punjabi", "pl": "Polish", "pms": "Piedmontese",
    "pnb": "Western Punjabi", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "rw": "Kinyarwanda",
    "scn": "Sicilian", "sco": "Scots", "sh": "Serbo-Croatian", "sk": "Slovak", "sl": "Slovenian", "sq": "Albanian",
    "sr": "Serbian", "su": "Sundanese", "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "tg": "Tajik",
    "th": "Thai", "tl": "Tagalog", "tr": "Turkish", "tt": "Tatar", "uk": "Ukrainian", "ur": "Urdu", "uz": "Uzbek",
    "vi": "Vietnamese", "vo": "Volapük", "war": "Waray", "yo": "Yoruba", "zh": "Chinese", "zu": "Zulu",
}  # fmt: skip
