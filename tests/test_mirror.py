"""What was carried loads as the Hub does, example for example, and one process at a time writes to it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import fake_hub
import pytest
from test_fetch import COMMIT, REPO, RUN, environment, fetch, home, refused
from tiny_runs import unibench

from unibench import data, mirror
from unibench.cards import load_card

__all__ = ["home"]  # a fixture


def test_two_at_once_do_not_write_to_one_mirror(home: Path) -> None:
    with mirror.locked(home / "carried"):
        refused(fetch(home), "another unibench data fetch writes to")


LOAD = """
import json, sys
from pathlib import Path
from unibench import data
from unibench.cards import load_card
found = {}
for path, part, language in json.loads(sys.argv[1]):
    card = load_card(Path(path))
    loaded = data.load(card, part, [language], data.origin("hub"))
    found[f"{card.name} {part} {language}"] = [data.examples_sha256(loaded.examples), len(loaded.examples)]
print(json.dumps(found))
"""


def from_the_hub(root: Path, home: Path, asked: list[tuple[str, str, str]]) -> dict[str, Any]:
    with fake_hub.serving(root, COMMIT) as endpoint:
        done = subprocess.run(
            [sys.executable, "-c", LOAD, json.dumps(asked)], capture_output=True, text=True, check=False,
            env=environment(endpoint, home),
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def from_a_mirror(root: Path, asked: list[tuple[str, str, str]]) -> dict[str, Any]:
    found = {}
    for path, part, language in asked:
        of = load_card(Path(path))
        loaded = data.load(of, part, [language], data.Origin(kind="mirror", root=root))  # type: ignore[arg-type]
        found[f"{of.name} {part} {language}"] = [data.examples_sha256(loaded.examples), len(loaded.examples)]
    return found


def test_what_was_carried_loads_as_the_hub_does(home: Path) -> None:
    assert fetch(home).returncode == 0
    nli, sts = (str(home / "tasks" / f"{name}.toml") for name in ("toy_nli", "toy_sts"))
    asked = [(nli, "train", "en"), (nli, "dev", "en"), (nli, "eval", "zh"), (sts, "eval", "en-ru")]
    found = from_the_hub(home / "hub", home, asked)
    assert found == from_a_mirror(home / "carried", asked)
    assert [count for _, count in found.values()] == [24, 12, 18, 24]


@pytest.mark.realdata
def test_real_cards_load_the_same_from_the_hub_and_from_what_was_carried(shared: Path, tmp_path: Path) -> None:
    """One card a family, through the Hub's protocol, `data fetch` and the mirror that the files came from."""
    languages = {"masakhaner2": "sw,zu", "xnli": "sw,th", "xquad_tydiqa": "th,en", "sts17": "en-tr,es-es"}
    with fake_hub.serving(shared / "hub", COMMIT) as endpoint:
        words = [
            "data", "fetch", "--tasks", ",".join(languages), "--languages", ",".join(languages.values()),
            "--to", tmp_path / "carried",
        ]  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", RUN, *map(str, words)], capture_output=True, text=True, check=False,
            env=environment(endpoint, tmp_path),
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    of = {name: str(REPO / "tasks" / f"{name}.toml") for name in languages}
    asked = [(of[name], "eval", code) for name, codes in languages.items() for code in codes.split(",")]
    asked += [(str(REPO / "tasks" / "masakhaner2.toml"), part, "sw") for part in ("train", "dev")]
    asked += [(of["xquad_tydiqa"], "train", "en")]
    found = from_the_hub(shared / "hub", tmp_path, asked)
    assert found == from_a_mirror(tmp_path / "carried", asked) == from_a_mirror(shared / "hub", asked)
    assert found["xnli eval sw"][1] == 5010
    assert unibench("data", "verify", tmp_path / "carried") == 0
