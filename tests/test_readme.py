"""Every command in the README is real: fences marked `run` are executed as written, the others are parsed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
import typer

from unibench.cards import load_card
from unibench.cli import app

REPO = Path(__file__).resolve().parents[1]
README = (REPO / "README.md").read_text(encoding="utf-8")
FENCES = re.findall(r"^```(\w+)?( run)?\n(.*?)^```$", README, flags=re.M | re.S)
COMMANDS = [line for kind, run, text in FENCES if kind == "bash" and not run for line in text.splitlines() if line]


def test_there_is_something_to_check():
    assert any(run for _, run, _ in FENCES)
    assert len(COMMANDS) > 5


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("unibench")])
def test_every_unibench_command_parses(line):
    words = shlex.split(line, comments=True)[1:]
    command = typer.main.get_command(app).commands[words[0]]
    try:
        command.make_context(words[0], words[1:])
    except click.exceptions.Exit:
        pytest.fail(f"{line} does nothing but print help")


def test_every_make_target_exists_and_nothing_else_is_asked_for():
    targets = set(re.findall(r"^([a-z]+):", (REPO / "Makefile").read_text(), flags=re.M))
    for line in COMMANDS:
        words = shlex.split(line, comments=True)
        assert words[0] in ("unibench", "make"), line
        if words[0] == "make":
            assert words[1] in targets, line


def test_the_example_cards_are_cards(tmp_path):
    cards = [text for kind, _, text in FENCES if kind == "toml" and "family =" in text]
    for number, card in enumerate(cards):
        path = tmp_path / f"mine{number}.toml"
        path.write_text(card, encoding="utf-8")
        load_card(path)
    assert len(cards) == 3


def test_the_example_settings_are_settings(tmp_path):
    from unibert.config import XSMALL, Adversary, Distill, TrainConfig, override

    text = next(text for kind, _, text in FENCES if kind == "toml" and "batch_tokens" in text)
    config = TrainConfig(
        model=XSMALL, languages=("en", "de"), steps=1, adversary=Adversary(balance=None), distill=Distill(teacher="x")
    )
    changed = override(config, tomllib.loads(text), "README")
    assert changed.batch_tokens == 4096
    assert changed.adversary == Adversary(), "the values shown are the defaults"
    assert changed.distill == Distill(teacher="x")


def test_the_tree_names_every_module():
    for package in ("unibench", "unibench/sample", "unibert"):
        for path in (REPO / package).glob("*.py"):
            if path.name != "__init__.py":
                assert re.search(rf"^  {path.name} ", README, flags=re.M), f"{package}/{path.name} is not in the tree"


def test_the_quickstart_runs_as_written(tmp_path):
    text = "".join(text for _, run, text in FENCES if run)
    script = "set -euo pipefail\nunibench() { " + shlex.quote(sys.executable) + ' -m unibench.cli "$@"; }\n' + text
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    board = (tmp_path / "results" / "LEADERBOARD.md").read_text(encoding="utf-8")
    assert "adversary-xxsmall" in board
    assert "stsb_multi spearman" in board
    assert "mbert" in board, "what could not be had is named"
    assert "sample data" in board
    assert "[" in done.stdout
    assert "]LOC" in done.stdout
