"""What is installed from a wheel, far from this checkout, works and finds its cards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
PARTS = ("unibench", "unibert", "tasks", "pyproject.toml", "README.md", "LICENSE")


def succeed(*command: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, cwd=cwd,
        env={**os.environ, "COLUMNS": "200", **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"  # a copy: building leaves nothing behind in the checkout
    source.mkdir()
    for part in PARTS:
        path = REPO / part
        if path.is_dir():
            shutil.copytree(path, source / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(path, source / part)
    succeed("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), cwd=source)
    [built] = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_packages_and_the_cards_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    cards = {path.name for path in (REPO / "tasks").glob("*.toml")}
    assert {name.removeprefix("unibench/tasks/") for name in names if name.startswith("unibench/tasks/")} == cards
    assert {"unibench/sample/geography.toml", "unibench/page/page.css", "unibench/page/page.js"} <= names
    languages = {path.name for path in (REPO / "unibench" / "sample" / "languages").glob("*.toml")}
    assert {f"unibench/sample/languages/{name}" for name in languages} <= names
    assert {"unibench/py.typed", "unibert/py.typed", "unibench/cli.py", "unibert/train.py"} <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"unibench", "unibert"}
    assert any(name.endswith("LICENSE") for name in names)


def test_installed_elsewhere_it_lists_its_own_cards(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    succeed("-m", "pip", "install", "--no-deps", "--no-index", "--target", str(target), str(wheel), cwd=tmp_path)
    where = "import unibench.cards as c; print(c.__file__); print(*c.card_folders())"
    printed = succeed("-c", where, cwd=tmp_path, PYTHONPATH=str(target)).split()
    assert printed == [str(target / "unibench" / "cards.py"), str(target / "unibench" / "tasks")]
    run = "from unibench.cli import main; import sys; sys.argv = ['unibench', 'tasks']; main()"
    listed = succeed("-c", run, cwd=tmp_path, PYTHONPATH=str(target))
    for path in (REPO / "tasks").glob("*.toml"):
        assert path.stem in listed
    scripts = (target / f"unibench-{wheel.name.split('-')[1]}.dist-info" / "entry_points.txt").read_text()
    assert "unibench = unibench.cli:main" in scripts
