"""Who may import whom, read from the source: imports inside functions count too, those for type checkers do not."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
FILES = {
    ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("unibench", "unibert")
    for path in sorted((REPO / package).rglob("*.py"))
}
WITHOUT_TORCH = (
    "board", "cards", "catalogue", "cell_tables", "cells", "chance", "check", "cli", "compare", "comparisons", "conll",
    "corpora", "costs", "data", "declared", "delimited", "demo", "details", "display", "doctor", "download", "draws",
    "efficiency", "engines", "errors", "evidence", "evidence_tables", "examples", "families", "fetch", "files",
    "footnotes", "gaps", "holdings", "jobs", "judging", "keylines", "labels", "latex", "layout", "lines", "listings",
    "look", "metrics", "mirror", "model_listing", "models", "nulls", "numerals", "objects", "options", "page",
    "page.document", "page.drawings", "page.grid", "page.languages", "page.sections", "pairing", "parallel", "picking",
    "places", "plots", "plugins", "predictions", "probe_plot", "probe_tables", "probes", "protocol_tables",
    "protocols", "provisions", "published", "readability", "readers", "reduces", "reference", "remembered", "render",
    "report", "report_figures", "report_page", "reports", "resampling", "runs", "sample.check", "sample.tasks",
    "sample.text", "score_cards", "scores_card", "settings", "signatures", "sources", "speed", "staleness", "stats",
    "stats.equivalence", "stats.exact", "stats.friedman", "stats.gates", "stats.groups", "stats.languages",
    "stats.letters", "stats.mixed", "stats.power", "stats.ranks", "stats.recipes", "stats.samples", "stats.signed",
    "store", "stored", "supplies", "sweep", "sweep_display", "task_listing", "testsets", "tex", "transfer",
    "two_store_tables", "two_stores", "weights",
)  # fmt: skip
HEAVY = {"torch", "transformers", "datasets", "evaluate", "accelerate"}


def imports_of(module: str, *, inside: bool) -> set[str]:
    """Returns the modules a module imports at its top level, and with `inside` those its functions import too."""
    found: set[str] = set()
    package = module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in _statements(ast.parse(FILES[module].read_text(encoding="utf-8")), inside):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            # `from unibench import store` imports a module, `from unibench.store import read` a name of one
            found |= {f"{base}.{a.name}" if f"{base}.{a.name}" in FILES else base for a in node.names}
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "import_module":
            found |= {a.value for a in node.args if isinstance(a, ast.Constant)}
    return found


def _statements(node: ast.AST, inside: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        if inside or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _statements(child, inside)


def ours(names: set[str]) -> set[str]:
    return {name for name in names if name in FILES}


def reached(module: str) -> set[str]:
    """Returns everything that importing a module imports, in this project and at its edge."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in FILES:
            parents = {name.rpartition(".")[0]} & FILES.keys()
            waiting += sorted(imports_of(name, inside=False) | parents)
    return seen


def test_the_reader_of_imports_sees_what_it_should() -> None:
    assert {"unibench.adapters.ner", "unibench.adapters.base"} < FILES.keys()
    assert "torch" in imports_of("unibert.train", inside=False)
    assert "torch" not in imports_of("unibench.jobs", inside=False)
    assert {"torch", "unibench.finetune"} <= imports_of("unibench.jobs", inside=True)
    assert "unibench.sweep" not in imports_of("unibench.cli", inside=False)
    assert "torch" in reached("unibench.finetune")


def test_the_trainer_has_never_heard_of_a_benchmark() -> None:
    for module in FILES:
        if module.startswith("unibert"):
            named = {name for name in imports_of(module, inside=True) if name.split(".")[0] == "unibench"}
            assert not named, f"{module} imports {named}"


def test_of_the_benchmark_only_a_few_rooms_know_the_trainer() -> None:
    knowing = {
        module
        for module in FILES
        if module.startswith("unibench") and any(n.split(".")[0] == "unibert" for n in imports_of(module, inside=True))
    }
    probing = {"unibench.probes", "unibench.probing", "unibench.probe_measures"}
    commands = {"unibench.cli", "unibench.corpora", "unibench.options", "unibench.runs", "unibench.speed"}
    # one gradient reversal for pretraining and fine-tuning; of the rest of the trainer it knows nothing
    rooms = {"unibench.models", "unibench.scratch", "unibench.sources", "unibench.layout", "unibench.adversarial"}
    assert knowing <= rooms | commands | probing
    assert {n for n in imports_of("unibench.adversarial", inside=True) if "unibert" in n} == {"unibert.objectives"}
    named = {n for n in imports_of("unibench.sources", inside=True) if n.split(".")[0] == "unibert"}
    assert named == {"unibert.hub"}, "the network is tried once, and whoever reads from the Hub asks there"


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_importing_this_loads_nothing_heavy(module: str) -> None:
    assert not {name.split(".")[0] for name in reached(f"unibench.{module}")} & HEAVY


@pytest.mark.parametrize(
    "module",
    [
        "stats", "metrics", "cards", "store", "report", "reference", "protocols", "render", "board", "page", "plots",
        "report_page", "report_figures", "two_stores", "scores_card",
    ],
)  # fmt: skip
def test_a_report_needs_no_torch_in_any_function_it_may_call(module: str) -> None:
    seen: set[str] = set()
    waiting = [f"unibench.{module}"]
    while waiting:
        name = waiting.pop()
        seen.add(name)
        found = imports_of(name, inside=True)
        assert not {n.split(".")[0] for n in found} & HEAVY, f"{name} imports {found & HEAVY}"
        waiting += sorted(ours(found) - seen)
    assert not any(name.startswith("unibert") for name in seen)


def test_nobody_imports_the_metrics_for_evaluate() -> None:
    for module in FILES:
        assert "unibench.evaluate_modules" not in imports_of(module, inside=True), module


def test_nobody_imports_the_command_line() -> None:
    for module in FILES:
        assert "unibench.cli" not in imports_of(module, inside=True), module


def test_there_are_no_cycles() -> None:
    graph = {module: ours(imports_of(module, inside=False)) - {module} for module in FILES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_trainer_trains_where_there_is_no_benchmark(tmp_path: Path) -> None:
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "unibench.py").write_text("raise ImportError('unibench is not installed here')\n")
    code = """
import sys
from pathlib import Path

import tiny_runs
import unibert.pretrain

try:
    import unibench
except ImportError as error:
    assert "not installed here" in str(error)
else:
    raise AssertionError("unibench can be imported")
tiny_runs.train(tiny_runs.asked(Path(sys.argv[1]), "alone", steps=2))
print(sorted(name for name in sys.modules if name.startswith("unibench")))
"""
    folders = [tmp_path / "blocked", REPO, REPO / "tests"]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "results")], capture_output=True, text=True, check=False,
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
    assert (tmp_path / "results" / "models" / "alone" / "model.safetensors").is_file()
