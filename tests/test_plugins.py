"""Families and readers of other packages: a real distribution on the search path, used by a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[1]
FAMILY = """
from unibench.families import Family
from unibench.metrics import Metric
from unibench.plugins import Plugin
from unibench.readers import RowError
from unibench.store import Recipe


def read(card, names):
    def row(values, notes):
        first, second, same = values
        if same not in (0, 1):
            raise RowError(f"same is {same!r}, expected 0 or 1")
        return {"first": first, "second": second}, int(same)

    return row


agreement = Metric(
    name="agreement",
    unit_names=("same", "guess"),
    features=lambda units: (units[:, :1] == units[:, 1:]).astype(float) @ [[1.0, 0.0]] + [[0.0, 1.0]],
    finish=lambda totals: totals[..., 0] / totals[..., 1],
)
PLUGIN = Plugin(
    family=Family(columns=("first", "second", "same"), metrics=("agreement",), labels=False),
    adapter="toy_paraphrase.adapter:Paraphrase",
    recipe=Recipe(learning_rates=(1e-4, 3e-4, 1e-3), epochs=1, batch_size=4, max_tokens=32),
    read=read,
    metrics={"agreement": agreement},
)


def lines(path):
    return path.read_text().splitlines()
"""
ADAPTER = """
import numpy as np
import torch
from torch import nn

from unibench.adapters.base import Adapter, linear, mean_pool
from unibench.adapters.rows import stack, tokenise


class Head(nn.Module):
    def __init__(self, width, generator):
        super().__init__()
        self.out = linear(width, 2, generator)

    def forward(self, hidden_BTD, batch):
        return self.out(mean_pool(hidden_BTD, batch["attention_mask"]))


class Paraphrase(Adapter):
    def unit_names(self, card):
        return ("same", "guess")

    def encode(self, tokenizer, card, examples, *, max_tokens, training):
        pairs = [(e.inputs["first"], e.inputs["second"]) for e in examples]
        gold = {"gold": np.array([e.target for e in examples])} if training else {}
        found = [windows[0] for windows in tokenise(tokenizer, pairs, max_tokens=max_tokens)]
        return stack(tokenizer, found, range(len(pairs)), per_row=gold)

    def head(self, card, width, generator):
        return Head(width, generator)

    def loss(self, output, batch):
        return nn.functional.cross_entropy(output, batch["gold"], reduction="sum")

    def weight(self, batch):
        return torch.tensor(len(batch["gold"]))

    def predict(self, output, batch):
        return list(output.argmax(dim=-1).cpu().numpy())

    def units(self, card, examples, rows, answers, **_):
        return np.array([[e.target, answers[i]] for i, e in enumerate(examples)], dtype=float)

    def outputs(self, card, examples, rows, answers, **_):
        return [int(answer) for answer in answers]
"""
CARD = """
title = "Do they say the same?"
family = "paraphrase"
metric = "agreement"
protocol = "monolingual"
languages = ["en"]
columns = { first = "a", second = "b", same = "s" }
train = [{ hub = "toy/para", config = "{lang}", split = "train" }]
dev = [{ hub = "toy/para", config = "{lang}", split = "train" }]
eval = { hub = "toy/para", config = "{lang}", split = "test" }
about = { summary = "s", licence = "none" }
"""


def distribution(folder: Path, name: str, points: str, **modules: str) -> Path:
    """Writes an installed distribution as pip leaves it and returns its folder: a package and its dist-info."""
    package, info = folder / name.replace("-", "_"), folder / f"{name.replace('-', '_')}-0.3.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    for module, code in modules.items():
        (package / f"{module}.py").write_text(code)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text(points)
    return folder


def toy(folder: Path, points: str = "", init: str = FAMILY) -> Path:
    points = points or "[unibench.families]\nparaphrase = toy_paraphrase:PLUGIN\n"
    return distribution(folder, "toy-paraphrase", points, __init__=init, adapter=ADAPTER)


def said(code: str, *folders: Path) -> str:
    """Runs code where the folders' distributions are installed; returns its output, or a UserError's one line."""
    wrapped = "from unibench.errors import UserError\ntry:\n" + "\n".join(f"    {line}" for line in code.splitlines())
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{wrapped}\nexcept UserError as error:\n    print(error)"],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*folders, REPO, REPO / "tests"]))},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.removesuffix("\n")


def test_a_family_of_another_package_goes_all_the_way(tmp_path: Path, write_mirror: Callable[..., Path]) -> None:
    rows = [{"a": f"Anna {i}", "b": f"Anna {i % 3}", "s": int(i < 3)} for i in range(9)]
    root = write_mirror("toy/para", {"en/train": rows, "en/test": rows[:7]})
    (tmp_path / "paraphrase_toy.toml").write_text(CARD)
    code = f"""
import json, sys
from pathlib import Path
from unibench import data
from unibench.cards import load_card

card = load_card(Path({str(tmp_path)!r}) / "paraphrase_toy.toml")
origin = data.Origin(kind="mirror", root=Path({str(root)!r}))
examples = data.load(card, "eval", ["en"], origin).examples
assert "torch" not in sys.modules, "the adapter waits until a model is fine-tuned"

import tiny_encoders
from unibench.adapters import recipe
from unibench.finetune import finetune
from unibench.metrics import score

tokenizer = tiny_encoders.tokenizer_of("wordpiece")
train = data.load(card, "train", ["en"], origin).examples
found = finetune(lambda: (tokenizer, tiny_encoders.bert(tokenizer)), card, train, train, {{"en": examples}},
                 recipe(card.family), seed=0)
units = found.units["en"]
print(json.dumps([card.metric, [e.target for e in examples], units.tolist(), score(card.metric, units)]))
"""
    metric, gold, units, score = json.loads(said(code, toy(tmp_path / "site")))
    assert metric == "agreement"
    assert gold == [row["s"] for row in rows[:7]]
    assert [same for same, _ in units] == gold
    assert score == pytest.approx(sum(same == guess for same, guess in units) / 7)


def test_without_the_package_the_family_is_unknown_and_the_card_says_so(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(CARD)
    look = "from unibench.families import lookup; print(lookup({!r}))"
    assert said(look.format("paraphrase")).startswith("no task family 'paraphrase' in unibench; known: ner, nli, qa")
    near = said(look.format("paraphrases"), toy(tmp_path / "site"))
    assert near == "no task family 'paraphrases' in unibench; did you mean 'paraphrase'?"


def test_nothing_of_another_package_is_imported_until_its_name_is_asked_for(tmp_path: Path) -> None:
    site = toy(tmp_path / "site", init="raise ImportError('no such\\nthing')")
    code = """
from unibench import plugins
from unibench.adapters import get_adapter, recipe
from unibench.families import known, lookup
print(lookup("nli").metrics, recipe("qa").batch_size, type(get_adapter("sts")).__name__, known()[-1])
print(plugins.family("other"), plugins.reader("other"))
lookup("paraphrase")
"""
    assert said(code, site).splitlines() == [
        "('accuracy', 'macro_f1') 16 Sts paraphrase",
        "None None",
        "the task family 'paraphrase' of toy-paraphrase 0.3 (toy_paraphrase:PLUGIN) cannot be loaded "
        "(ImportError: no such thing); mend or uninstall toy-paraphrase 0.3",
    ]


@pytest.mark.parametrize(
    ("points", "change", "expected"),
    [
        ("nli = toy_paraphrase:PLUGIN", {}, "takes a built-in name; rename it, or uninstall toy-paraphrase 0.3"),
        ("paraphrase = toy_paraphrase:read", {}, "leads to a function; expected a unibench.plugins.Plugin"),
        ("paraphrase = toy_paraphrase:NOTHING", {}, "cannot be loaded (AttributeError: "),
        ("paraphrase = toy_paraphrase:PLUGIN", {"(1e-4, 3e-4, 1e-3)": "(1e-4,)"}, "1 learning rates; expected 3"),
        ("paraphrase = toy_paraphrase:PLUGIN", {"adapter:Paraphrase": "adapter"}, "expected 'package.module:Class'"),
        ("paraphrase = toy_paraphrase:PLUGIN", {'"agreement"': '"accuracy"'}, "metric 'accuracy' is built in"),
        ("paraphrase = toy_paraphrase:PLUGIN", {'("agreement",)': '("f7",)'}, "expected one of family.metrics"),
        ("paraphrase = toy_paraphrase:PLUGIN", {"metrics={": "metrics={} and {"}, "neither built in nor in metrics"),
    ],
)
def test_what_cannot_work_is_one_line_that_names_the_package(
    tmp_path: Path, points: str, change: dict[str, str], expected: str
) -> None:
    init = FAMILY
    for old, new in change.items():
        assert old in init
        init = init.replace(old, new)
    site = toy(tmp_path / "site", f"[unibench.families]\n{points}\n", init)
    line = said("from unibench.families import lookup; lookup('paraphrase')", site)
    assert expected in line
    assert "of toy-paraphrase 0.3" in line
    assert "\n" not in line


def test_two_packages_may_not_offer_one_name_but_one_may_be_seen_twice(tmp_path: Path) -> None:
    first, other = toy(tmp_path / "site"), tmp_path / "other"
    points = "[unibench.families]\nparaphrase = second:PLUGIN\n"
    distribution(other, "second", points, __init__=FAMILY)
    look = "from unibench.families import lookup; print(lookup('paraphrase').metrics)"
    assert said(look, first, first) == "('agreement',)"
    line = said(look, first, other)
    assert "takes the name of one in " in line
    assert "toy-paraphrase 0.3" in line
    assert "second 0.3" in line


def test_readers_come_the_same_way(tmp_path: Path) -> None:
    points = "[unibench.readers]\nlines = toy_paraphrase:lines\nnumber = toy_paraphrase:__name__\n"
    site = toy(tmp_path / "site", points)
    (tmp_path / "rows").write_text("a\nb\n")
    code = f"""
from pathlib import Path
from unibench import plugins
print(plugins.reader("lines", {{"csv": 1}})(Path({str(tmp_path / "rows")!r})), plugins.reader_names())
"""
    assert said(code, site) == "['a', 'b'] ('lines', 'number')"
    ask: dict[str, Any] = {"'lines', ['lines']": "takes a built-in name", "'number'": "leads to a str; expected a func"}
    for words, expected in ask.items():
        line = said(f"from unibench import plugins; plugins.reader({words})", site)
        assert expected in line
        assert "of toy-paraphrase 0.3" in line


def test_an_adapter_that_cannot_be_imported_is_one_line(tmp_path: Path) -> None:
    site = toy(tmp_path / "site", init=FAMILY.replace("adapter:Paraphrase", "nowhere:Paraphrase"))
    code = "from unibench.adapters import get_adapter, recipe\nrecipe('paraphrase')\nget_adapter('paraphrase')"
    line = said(code, site)
    assert line.startswith("the adapter toy_paraphrase.nowhere:Paraphrase of the task family 'paraphrase' cannot be")
    assert "ModuleNotFoundError" in line
    assert "\n" not in line
