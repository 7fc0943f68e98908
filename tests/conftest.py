"""What every test may rely on: no network, a Hugging Face home of its own, and the real data where they are."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

# Hugging Face libraries read these when they are imported, so they are set before any test module is.
_HOME = Path(tempfile.mkdtemp(prefix="unibench-tests-"))
os.environ |= {
    "HF_HOME": str(_HOME / "huggingface"),
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
# COLUMNS and LINES are set where test files run side by side, and would fix the width of the console for good
for _name in ("HF_DATASETS_CACHE", "HF_HUB_CACHE", "HF_TOKEN", "UNIBENCH_DATA", "COLUMNS", "LINES"):
    os.environ.pop(_name, None)
# and there an interrupt is ignored, which a command that a test starts would inherit
signal.signal(signal.SIGINT, signal.default_int_handler)

REPO = Path(__file__).resolve().parents[1]
SHARED = REPO.parent / "shared"  # the real-data folder beside the checkout


class NetworkBlockedError(RuntimeError):
    """A test tried to leave this machine. Not an OSError: code that treats those as "offline" must not hide it."""


def _local(host: object) -> bool:
    return host in (None, "", "localhost", "::1", socket.gethostname()) or str(host).startswith("127.")


def _guarded(original: Callable[..., Any]) -> Callable[..., Any]:
    def connect(self: socket.socket, address: Any) -> Any:
        if self.family != socket.AF_UNIX and not _local(address[0]):
            raise NetworkBlockedError(f"tests use no network, and this one connects to {address[0]}")
        return original(self, address)

    return connect


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    lookup = socket.getaddrinfo

    def guarded_lookup(host: Any, *rest: Any, **options: Any) -> Any:
        if not _local(host):
            raise NetworkBlockedError(f"tests use no network, and this one looks up {host}")
        return lookup(host, *rest, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _guarded(socket.socket.connect))
        patch.setattr(socket.socket, "connect_ex", _guarded(socket.socket.connect_ex))
        patch.setattr(socket, "getaddrinfo", guarded_lookup)
        yield


@pytest.fixture(scope="session", autouse=True)
def _console() -> None:
    """Makes the commands' console before any test says how wide it is: rich asks once, when it is made."""
    import unibench.options  # noqa: F401


@pytest.fixture(scope="session")
def shared() -> Path:
    """The real-data folder beside the checkout; skips the test, saying why, where there is none."""
    if not SHARED.is_dir():
        pytest.skip(f"no real data: {SHARED} does not exist")
    return SHARED


def mirror_at(root: Path) -> Callable[..., Path]:
    """Returns write(hub, {"config/split": rows}, readme=True) -> root, which adds a dataset to the mirror at `root`."""

    def write(hub: str, splits: Mapping[str, Sequence[Mapping[str, Any]]], *, readme: bool = True) -> Path:
        import pyarrow as pa
        import pyarrow.parquet as pq

        configs: dict[str, list[str]] = {}
        for place, rows in splits.items():
            config, split = place.rsplit("/", 1)
            path = root / hub / config / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(list(rows)), path)
            configs.setdefault(config, []).append(split)
        if readme:
            lines = ["---", "configs:"]
            for config, names in configs.items():
                lines += [f"- config_name: {config}", "  data_files:"]
                for name in names:
                    lines += [f"  - split: {name}", f"    path: {config}/{name}-*"]
            (root / hub / "README.md").write_text("\n".join([*lines, "---", ""]), encoding="utf-8")
        return root

    return write


@pytest.fixture
def write_mirror(tmp_path: Path) -> Callable[..., Path]:
    """Returns write(hub, {"config/split": rows}, readme=True) -> the mirror's root, tmp_path / "hub"."""
    return mirror_at(tmp_path / "hub")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a tiny encoder "first" and a larger "tutor", trained here. To be read, not written to."""
    import tiny_runs

    results = tmp_path_factory.mktemp("trained")
    tiny_runs.train(tiny_runs.asked(results, "first", steps=100))
    tiny_runs.train(tiny_runs.asked(results, "tutor", size="xsmall", width=128, steps=200, is_teacher=True))
    return results


@pytest.fixture
def results(trained: Path, tmp_path: Path) -> Path:
    """A results folder of the test's own, with the models of `trained`."""
    return Path(shutil.copytree(trained, tmp_path / "results"))


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a mirror in hub/ and cards in tasks/: toy_nli (trained) and toy_sts (not). To be read only."""
    import tiny_runs

    folder = tmp_path_factory.mktemp("toys")
    tiny_runs.write_toys(folder, mirror_at(folder / "hub"))
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not SHARED.is_dir():
        for item in items:
            if item.get_closest_marker("realdata"):
                item.add_marker(pytest.mark.skip(reason=f"no real data: {SHARED} does not exist"))
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu:
        import torch

        if not torch.cuda.is_available():
            for item in on_gpu:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)
