"""A tiny corpus in three scripts, written here, for tests that train real models in seconds."""

from __future__ import annotations

import itertools
from pathlib import Path

WORDS = {
    "en": (["the", "small", "old", "red", "quiet"], ["house", "river", "garden", "teacher", "market"],
           ["stands near", "looks at", "belongs to", "is far from"],
           ["a mountain", "the school", "the sea", "my friend"]),
    "ru": (["этот", "старый", "красный", "тихий", "новый"], ["дом", "город", "сад", "учитель", "рынок"],
           ["стоит у", "смотрит на", "помнит про", "идёт мимо"], ["горы", "школы", "моря", "леса"]),
    "zh": (["小小的", "古老的", "红色的", "安静的", "新的"], ["房子", "河流", "花园", "老师", "市场"],
           ["靠近", "看着", "属于", "远离"], ["高高的大山", "我们的学校", "蓝色的大海", "我的朋友们"]),
}  # fmt: skip


def lines(language: str) -> list[str]:
    """Every sentence of the grammar, 400 a language, in a fixed scrambled order."""
    gap = "" if language == "zh" else " "
    full = [gap.join(parts) + ("。" if language == "zh" else ".") for parts in itertools.product(*WORDS[language])]
    return [full[(i * 149) % len(full)] for i in range(len(full))]


def corpus() -> dict[str, list[str]]:
    """The whole corpus by language."""
    return {language: lines(language) for language in WORDS}


def write(folder: Path) -> Path:
    """Writes the corpus as a folder of LANG.txt files and returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for language, text in corpus().items():
        (folder / f"{language}.txt").write_text("\n".join(text) + "\n", encoding="utf-8")
    return folder
