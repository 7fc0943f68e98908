"""What is kept of comparisons: a key for everything they depend on, and files that give back just what was put in."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from toy_records import record, store

from unibench import remembered
from unibench.board import Judged
from unibench.store import RunRecord

PACKAGE = Path(remembered.__file__).parent
# imported by what decides a number, and deciding none: files, words, checks of what a user typed
HARMLESS = {"atomic", "errors", "families", "keylines", "plugins", "settings", "signatures", "store", "strict"}
NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    name: str
    value: float = NAN
    place: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    """One field of every kind that comparisons and evidence have."""

    text: str
    number: float
    whole: int
    truth: bool
    verdict: Literal["equal", "not known"]
    maybe: str | None
    nothing: float | None
    pair: tuple[tuple[int, ...], tuple[int, ...]]
    matrix: tuple[tuple[float, ...], ...]
    inner: Inner
    inners: tuple[Inner, ...]
    by_cell: Mapping[tuple[str, str], tuple[float, float]]
    by_task: Mapping[str | None, Sequence[Inner]]
    by_number: Mapping[int, float] = field(default_factory=dict)
    some: Inner | None = None


def hashed(one: RunRecord, mark: str = "u") -> RunRecord:
    return replace(one, units_sha256=f"{mark} {one.job.model} {one.job.task} {one.language} {one.job.seed}")


def test_every_kind_of_field_comes_back_with_its_type_and_to_the_last_digit(tmp_path: Path) -> None:
    inner = Inner(name='ümlaut \x00 "quoted" \'\n', value=0.1 + 0.2, place=("a", 3))
    made = Everything(
        text="", number=math.inf, whole=2**70, truth=True, verdict="not known", maybe=None, nothing=5e-324,
        pair=((1, 2), ()), matrix=((1.0, -0.0), (NAN,)), inner=inner, inners=(inner, Inner(name='", "made": ')),
        by_cell={("t", "b"): (0.5, NAN), ("t", "a"): (-math.inf, 1.0)}, by_task={None: (inner,), "t": ()},
        by_number={3: 0.25}, some=inner,
    )  # fmt: skip
    remembered.keep(tmp_path, "key", made)
    back = remembered.recall(tmp_path, "key", Everything)
    assert repr(back) == repr(made)
    assert back is not None
    assert (type(back.pair), type(back.matrix[0]), type(back.by_task[None])) == (tuple, tuple, tuple)
    assert list(back.by_cell) == [("t", "b"), ("t", "a")]
    assert isinstance(back.inners[0], Inner)


def test_numbers_of_numpy_become_plain_ones(tmp_path: Path) -> None:
    remembered.keep(tmp_path, "key", Inner(name="n", value=np.float64(1 / 3), place=("a", np.int64(7))))  # type: ignore[arg-type]
    assert remembered.recall(tmp_path, "key", Inner) == Inner(name="n", value=1 / 3, place=("a", 7))


def test_the_types_kept_hold_nothing_that_would_come_back_as_something_else() -> None:
    """Every annotation below Judged is one that the test above has: no lists, sets, arrays or unions of two kinds."""
    import dataclasses
    import types
    import typing

    todo: list[Any] = [Judged]
    seen: set[Any] = set()
    while todo:
        kind = todo.pop()
        if kind in seen or kind is type(None):
            continue
        seen.add(kind)
        origin, parts = typing.get_origin(kind), typing.get_args(kind)
        if dataclasses.is_dataclass(kind):
            todo += typing.get_type_hints(kind).values()
        elif origin in (typing.Union, types.UnionType):
            assert len(set(parts) - {type(None)}) == 1, kind
            todo += parts
        elif origin is Literal:
            assert all(isinstance(part, str) for part in parts), kind
        elif origin is not None:
            assert origin is tuple or issubclass(origin, Mapping | Sequence), kind
            assert origin is not list, kind
            todo += [part for part in parts if part is not ...]
        else:
            assert kind in (str, float, int, bool), kind
    assert len(seen) > 20


def test_nothing_kept_is_none(tmp_path: Path) -> None:
    assert remembered.recall(tmp_path, "key", Inner) is None
    assert remembered.recall(tmp_path / "gone", "key", Inner) is None
    remembered.keep(tmp_path, "key", Inner(name="a"))
    assert remembered.recall(tmp_path, "other", Inner) is None
    assert remembered.recall(tmp_path, "key", Everything) is None, "of another type"


def test_every_byte_counts(tmp_path: Path) -> None:
    remembered.keep(tmp_path, "key", Inner(name="a", value=0.25))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert remembered.recall(tmp_path, "key", Inner) is None, whole[max(0, at - 10) : at + 10]
        path.write_bytes(whole[:at])
        assert remembered.recall(tmp_path, "key", Inner) is None
    path.write_bytes(whole)
    assert remembered.recall(tmp_path, "key", Inner) == Inner(name="a", value=0.25)


def test_a_folder_that_cannot_be_written_to_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    remembered.keep(tmp_path / "file", "key", Inner(name="a"))
    remembered.keep(tmp_path / "file" / "deeper", "key", Inner(name="a"))
    assert remembered.recall(tmp_path / "file", "key", Inner) is None
    (tmp_path / "key.json").mkdir()
    (tmp_path / "key.json" / "in the way").touch()
    remembered.keep(tmp_path, "key", Inner(name="a"))
    assert remembered.recall(tmp_path, "key", Inner) is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "key.json"]


ASKED: dict[str, Any] = {"setting": "s", "baseline": "mbert", "family": "f", "resamples": 9}


def key(records: Sequence[RunRecord], **asked: Any) -> str | None:
    return remembered.key_of(records, **{**ASKED, **asked})


def test_the_order_of_records_is_nothing_and_everything_asked_is_something() -> None:
    records = [hashed(r) for r in store()]
    usual = key(records)
    assert usual is not None
    assert key(records[::-1]) == usual
    others = [key(records, **{name: value}) for name, value in
              (("setting", "t"), ("baseline", None), ("family", "g"), ("resamples", 10), ("more", 1))]  # fmt: skip
    others += [key(records[1:]), key([])]
    assert len({usual, *others}) == len(others) + 1


@pytest.mark.parametrize(
    "change",
    [
        {"units_sha256": "other"},
        {"language": "de"},
        {"metric": "macro_f1"},
        {"parallel": False},
        {"unit_names": ("pred_id", "gold_id")},
        {"job": {"model": "other"}},
        {"job": {"task": "other"}},
        {"job": {"seed": 7}},
        {"job": {"train_languages": ("de",)}},
        {"provenance": {"model_sha256": "other"}},
        *({"provenance": {"extra": {name: "1"}}}
          for name in ("recipe", "pretraining_seed", "teacher_sha256", "objectives", "size")),
    ],
    ids=str,
)  # fmt: skip
def test_whatever_a_number_may_hang_on_is_in_the_key(change: dict[str, Any]) -> None:
    """All that cells, evidence.facts and evidence.trained_in read of a record."""
    plain = hashed(record("mbert", provenance={"extra": {}}))
    changed = record("mbert", provenance={"extra": {}, **change.get("provenance", {})}, job=change.get("job", {}))
    flat = {name: value for name, value in change.items() if name not in ("job", "provenance")}
    other = replace(changed, units_sha256=plain.units_sha256)
    assert key([replace(other, **flat)]) != key([plain])
    assert key([hashed(record("mbert", provenance={"extra": {"seconds": 3}}))]) == key([plain])


def test_what_cannot_be_told_apart_has_no_key() -> None:
    assert key([record("mbert")]) is None, "no hash"
    assert key([hashed(record("mbert")), record("small")]) is None
    assert key([replace(hashed(record("mbert")), metric="of another package")]) is None
    assert key([replace(hashed(record("mbert")), metric="span_f1:LOC")]) is not None


def imports(path: Path) -> set[str]:
    """The modules of this package that a file imports, wherever in it, as paths without an ending."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "unibench":
            base = (node.module or "").split(".")[1:]
            found |= {"/".join(base), *("/".join([*base, alias.name]) for alias in node.names)}
    return {name for name in found if name and file_of(name).exists()}


def file_of(name: str) -> Path:
    return PACKAGE / f"{name}.py" if (PACKAGE / f"{name}.py").exists() else PACKAGE / name / "__init__.py"


def test_the_code_that_decides_a_number_is_all_in_the_hash() -> None:
    seen: set[str] = set()
    todo = ["board"]
    while todo:
        name = todo.pop()
        if name not in seen and name not in HARMLESS:
            seen.add(name)
            todo += imports(file_of(name))
    hashed_files = {path for pattern in remembered.CODE for path in PACKAGE.glob(f"{pattern}.py")}
    assert {file_of(name) for name in seen} == hashed_files
    assert all(list(PACKAGE.glob(f"{pattern}.py")) for pattern in remembered.CODE)


def test_another_file_or_library_is_another_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = remembered.code_sha256()
    for pattern in remembered.CODE:
        for path in PACKAGE.glob(f"{pattern}.py"):
            copy = tmp_path / path.relative_to(PACKAGE)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())

    def anew() -> str:
        remembered.code_sha256.cache_clear()
        return remembered.code_sha256()

    try:
        monkeypatch.setattr(remembered, "HERE", tmp_path)
        assert anew() == usual
        (tmp_path / "stats" / "gates.py").write_bytes(b"# other")
        assert anew() != usual
        monkeypatch.undo()
        version = metadata.version
        monkeypatch.setattr(metadata, "version", lambda name: "0" if name == "statsmodels" else version(name))
        assert anew() != usual
        monkeypatch.undo()
        assert anew() == usual
    finally:
        remembered.code_sha256.cache_clear()
