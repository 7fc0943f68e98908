"""Records -> the `model-index` of a model card, which the Hugging Face Hub shows as the model's evaluation results.

Only the text of our own entries is touched: all other metadata, other entries and the page below stay byte for byte.
Ours are those whose metric says `measured_by: unibench …`, and a card holds no others of ours than the records given.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unibench.cards import TaskCard
from unibench.errors import UserError, one_line
from unibench.settings import parted, refuse_mixtures
from unibench.store import RunRecord

MEASURED_BY, OURS = "measured_by", "unibench"
TASK_TYPES = {
    "nli": ("text-classification", "Natural language inference"),
    "ner": ("token-classification", "Named entity recognition"),
    "qa": ("question-answering", "Extractive question answering"),
    "sts": ("sentence-similarity", "Semantic textual similarity"),
}  # what the Hub calls each family; one of another package keeps its name
METRIC_TYPES = {"macro_f1": "f1", "span_f1": "f1", "token_f1": "f1", "spearman": "spearmanr", "pearson": "pearsonr"}
SAMPLE = "sample"
_HEADER = re.compile(r"(\s*---(\r\n|\r|\n))([\s\S]*?)(?=(?:\r\n|\r|\n)---[ \t]*(?:\r\n|\r|\n|$))")  # the Hub's rule

Plain = dict[str, Any]


def with_scores(readme: str, records: Iterable[RunRecord], cards: Iterable[TaskCard] = ()) -> str:
    """Returns the card with one entry a task, language and setting: the mean over seeds, in 0..1, of "ok" records.

    `records` are one model's, and need no units; those of the generated sample name no real dataset. `cards` tell the
    dataset, configuration and split of each task. Doing it again changes nothing. Raises UserError when there is no
    score to write or the card's metadata can't be read, StaleRecord for records that may not share a table.
    """
    records = list(records)
    found = entries(records, cards)
    names = {record.job.model for record in records}
    if len(names) > 1:
        raise UserError(f"a card is of one model; these records are of {', '.join(sorted(names))}")
    if not found:
        raise UserError(f"no scores of {', '.join(names) or 'any model'} to write; `unibench run --model …` makes them")
    bom, text = ("\ufeff", readme[1:]) if readme.startswith("\ufeff") else ("", readme)
    header = _HEADER.match(text)
    newline = header[2] if header else "\r\n" if "\r\n" in text else "\n"
    front = (header[3] + newline) if header else ""
    written = _indexed(front, found, names.pop(), newline)
    if header is None:
        out = f"{bom}---{newline}{written}---{newline}{text}"
    else:
        out = f"{bom}{header[1]}{written}{text[header.end() + len(newline) :]}"
    _check(out.removeprefix("\ufeff"), len(found))
    return out


def entries(records: Sequence[RunRecord], cards: Iterable[TaskCard] = ()) -> list[Plain]:
    """Returns the entries of a `model-index` that these records make, in order of task, language and setting."""
    by_name = {card.name: card for card in cards}
    ok = [record for record in records if record.status == "ok"]
    out: list[tuple[tuple[str, ...], Plain]] = []
    for setting, group in parted(ok).items():
        refuse_mixtures(group)
        cells: dict[tuple[str, str], list[RunRecord]] = {}
        for record in group:
            cells.setdefault((record.job.task, record.language), []).append(record)
        for (task, language), runs in cells.items():
            value = math.fsum(run.scores.get(run.metric, math.nan) for run in runs) / len(runs)
            if math.isfinite(value):
                made = _entry(runs, value, setting.title, by_name.get(task))
                out.append(((task, language, setting.title), made))
    return [made for _, made in sorted(out, key=lambda item: item[0])]


def _entry(runs: Sequence[RunRecord], value: float, setting: str, card: TaskCard | None) -> Plain:
    run = runs[0]
    made = [record.provenance for record in runs if record.provenance is not None]
    kind, name = TASK_TYPES.get(run.family, (run.family, run.family))
    versions = sorted({provenance.packages.get("unibench", "") for provenance in made} - {""})
    commits = sorted({provenance.commit[:12] for provenance in made} - {""})
    seeds = sorted(record.job.seed for record in runs)
    count = f"mean of {len(seeds)} fine-tuning seeds" if len(seeds) > 1 else "one fine-tuning seed"
    how = setting if run.job.protocol == "none" else f"{setting}, {count}"
    return {
        "task": {"type": kind, "name": name},
        "dataset": _dataset(run, card),
        "metrics": [
            {
                "type": METRIC_TYPES.get(run.metric, run.metric),
                "value": round(value, 4),
                "name": f"{run.metric}, {how}",
                "args": {
                    MEASURED_BY: " ".join([OURS, *versions]),
                    **({"commit": ", ".join(commits)} if commits else {}),
                    "seeds": seeds,
                },
            }
        ],
    }


def _dataset(run: RunRecord, card: TaskCard | None) -> Plain:
    """Returns which dataset a record was measured on, as far as card and record tell."""
    title = card.title.partition(":")[0] if card is not None else run.job.task
    if run.job.origin == SAMPLE:
        return {"name": f"generated sample made like {title} ({run.language}), not that dataset", "type": SAMPLE}
    named: Plain = {"name": f"{title} ({run.language})", "type": run.job.task}
    if card is None or not card.eval.hub:
        return {**named, "split": run.split} if run.split else named
    source = card.eval
    of = source.names_of(run.language)[0]
    commits = run.provenance.extra.get("dataset_commits", {}) if run.provenance is not None else {}
    revision = commits.get(source.hub) or source.revision or ""
    known = {
        "config": source.config.replace("{lang}", of),
        "split": (run.split or source.split).replace("{lang}", of),
        "revision": revision if re.fullmatch("[0-9a-f]{40}", revision) else "",  # a ref moves on: it names no data
    }
    return {**named, "type": source.hub, **{key: word for key, word in known.items() if word}}


def _indexed(front: str, found: Sequence[Plain], model: str, newline: str) -> str:
    """Returns the metadata, each line ended, with these entries in place of ours that stand there."""
    import yaml  # type: ignore[import-untyped]

    try:
        plain, root = yaml.safe_load(front), yaml.compose(front)
    except yaml.YAMLError as error:
        raise UserError(f"the card's metadata is no YAML ({one_line(error)}); mend it first") from error
    if plain is not None and not isinstance(plain, dict):
        raise UserError("the card's metadata is no list of keys and values; mend it first")
    nodes = {key.value: value for key, value in root.value} if root is not None else {}
    if "model-index" not in nodes:
        head = f"model-index:{newline}{_dumped([{'name': model}], '', newline)}  results:{newline}"
        return front + head + _dumped(found, "  ", newline)
    index = nodes["model-index"]
    try:
        (of,) = (plain or {})["model-index"]
        results = next(value for key, value in index.value[0].value if key.value == "results")
        ours = [_is_ours(entry) for entry in of["results"]]
    except (TypeError, KeyError, AttributeError, ValueError, StopIteration, IndexError) as error:
        raise UserError("the card's model-index is not of one model with a list of results; mend it first") from error
    if index.flow_style or index.value[0].flow_style or results.flow_style:
        raise UserError("the card's model-index is written in brackets; write it as indented lines first")
    starts = [_line_start(node.start_mark) for node in results.value]
    ends = [*starts[1:], _line_start(results.end_mark)]
    spans = [_filled(front[start:end]) for start, end in zip(starts, ends, strict=True)]
    kept = front[: starts[0]]
    for (entry, rest), own in zip(spans[:-1], ours[:-1], strict=True):
        kept += rest if own else entry + rest
    kept += "" if ours[-1] else spans[-1][0]
    indent = " " * results.start_mark.column
    return kept + _dumped(found, indent, newline) + spans[-1][1] + front[ends[-1] :]


def _is_ours(entry: Mapping[str, Any]) -> bool:
    by = [str((metric.get("args") or {}).get(MEASURED_BY, "")) for metric in entry["metrics"]]
    return bool(by) and all(words.split(" ")[0] == OURS for words in by)


def _line_start(mark: Any) -> int:
    return int(mark.index - mark.column)


def _filled(text: str) -> tuple[str, str]:
    """Returns the lines of an entry, and the comments and empty lines below it, which are not its own."""
    lines = text.splitlines(keepends=True)
    filled = max((i + 1 for i, line in enumerate(lines) if line.strip() and line.lstrip()[0] != "#"), default=0)
    return "".join(lines[:filled]), "".join(lines[filled:])


def _dumped(items: Sequence[Plain], indent: str, newline: str) -> str:
    import yaml

    text = yaml.dump(list(items), sort_keys=False, allow_unicode=True, width=10_000)
    return "".join(f"{indent}{line}{newline}" for line in text.splitlines())


def _check(text: str, wanted: int) -> None:
    """Raises UserError when the Hub's own library does not read the card back."""
    from huggingface_hub import ModelCard

    try:
        card: Any = ModelCard(text)
        results = card.data.eval_results or []
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"the Hub could not read the card's metadata ({one_line(error)}); mend it first") from error
    ours = [r for r in results if str((r.metric_args or {}).get(MEASURED_BY, "")).split(" ")[0] == OURS]
    assert len(ours) == wanted, "every score is read back"
