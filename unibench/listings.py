"""Examples, findings and the plan of a sweep, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from unibench.cards import TaskCard
from unibench.data import Loaded
from unibench.doctor import Finding
from unibench.errors import without_language
from unibench.jobs import Planned


def show_examples(card: TaskCard, loaded: Loaded, count: int, console: Console) -> None:
    """Prints the first examples of a task, a block each: the inputs, and what is expected."""
    console.print(f"{card.name}: {card.title}; {len(loaded.examples)} examples", highlight=False, markup=False)
    table = _table(["example", "", ""])
    for example in loaded.examples[:count]:
        shown = [(name, Text(str(value))) for name, value in example.inputs.items()]
        if card.family == "ner":
            shown = [("tokens", _tagged(example.inputs["tokens"], example.target))]
        elif card.family == "nli":
            shown.append(("label", Text(card.labels[example.target], style="bold")))
        elif card.family == "qa":
            shown.append(("answers", Text(" | ".join(example.target["text"]), style="bold")))
        elif card.family == "sts":
            shown.append(("score", Text(f"{example.target * card.options['scale']:.2f}", style="bold")))
        else:
            shown.append(("target", Text(str(example.target), style="bold")))
        for row, (name, value) in enumerate(shown):
            table.add_row("" if row else example.id, name, value, end_section=row == len(shown) - 1)
    console.print(table)


def _tagged(tokens: Sequence[str], tags: Sequence[str]) -> Text:
    """Returns the tokens, each entity in brackets with its type."""
    out = Text()
    for index, (token, tag) in enumerate(zip(tokens, tags, strict=True)):
        following = tags[index + 1] if index + 1 < len(tags) else "O"
        if index:
            out.append(" ")
        if tag.startswith("B-"):
            out.append("[")
        out.append(token, style="" if tag == "O" else "bold")
        if tag != "O" and not following.startswith("I-"):
            out.append(f"]{tag[2:]}", style="cyan")
    return out


def show_findings(findings: Sequence[Finding], console: Console) -> None:
    """Prints what the doctor found: a line each, with the remedy where something is missing."""
    table = _table(["", "what", "found", "remedy"])
    styles = {"ok": "green", "note": "yellow", "problem": "red"}
    for finding in findings:
        table.add_row(
            Text(finding.status, style=styles[finding.status]),
            *map(Text, (finding.what, finding.found, finding.remedy)),
        )
    console.print(table)


def show_plan(planned: Sequence[Planned], console: Console) -> None:
    """Prints what a sweep would do, a line for each task and training, and what it cannot do."""
    jobs = [item for item in planned if item.languages]
    confusing = any(item.job.adversarial for item in jobs)
    columns = ["task", "models", "seeds", "protocol", "trained on", *(["adversary over"] if confusing else [])]
    table = _table([*columns, "scored in", "oracle for"])
    alike: dict[tuple[str, ...], list[Planned]] = {}
    for item in jobs:
        row = [item.job.protocol, " ".join(item.job.train_languages)]
        row += [" ".join(item.job.adversarial)] if confusing else []
        key = (item.job.task, *row, " ".join(item.languages), " ".join(item.oracle))
        alike.setdefault(key, []).append(item)
    for (task, *row), items in alike.items():
        models = " ".join(dict.fromkeys(item.job.model for item in items))
        seeds = " ".join(dict.fromkeys(str(item.job.seed) for item in items))
        table.add_row(*map(Text, [task, models, seeds, *row]))
    console.print(table)
    show_without_text(jobs, console)
    gaps: dict[str, list[str]] = {}
    for item in planned:
        subject = item.job.model if item.encoder.reason else item.job.task
        for reason in _counted(item.missing):
            gaps.setdefault(reason, []).append(subject)
    for reason, subjects in gaps.items():
        text = f"not available: {' '.join(dict.fromkeys(subjects))}: {reason}"
        console.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)
    console.print(f"{counted(jobs)}, {sum(len(i.languages) for i in jobs)} records", highlight=False)


def counted(jobs: Sequence[Planned]) -> str:
    """Returns how many jobs these are, and how many of them are no fine-tunings since nothing is trained."""
    idle = sum(item.job.protocol == "none" for item in jobs)
    noun = "job" if idle else "fine-tuning"
    words = f"{len(jobs)} {noun}{'' if len(jobs) == 1 else 's'}"
    if not idle:
        return words
    return f"{words} ({'nothing trained' if idle == len(jobs) else f'{idle} without training'})"


def show_ignored(planned: Sequence[Planned], options: Sequence[str], console: Console) -> None:
    """Prints, in one line, which tasks train nothing, so that these options change nothing about them."""
    idle = dict.fromkeys(item.job.task for item in planned if item.job.protocol == "none")
    if idle and options:
        verb = "changes" if len(options) == 1 else "change"
        text = f"{' '.join(idle)}: nothing is trained, so {' and '.join(options)} {verb} nothing"
        console.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)


def show_without_text(planned: Sequence[Planned], console: Console) -> None:
    """Prints, once a task, which languages an adversary does without and why."""
    said = set()
    for item in planned:
        reasons = "; ".join(_counted(item.without_text))
        text = f"{item.job.task}: no unlabelled text in {' '.join(item.without_text)} for the adversary: {reasons}"
        if item.without_text and text not in said:
            said.add(text)
            console.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)


def _counted(reasons: Mapping[str, str]) -> dict[str, int]:
    kinds: dict[str, int] = {}
    for code, reason in reasons.items():
        general = without_language(reason, code)
        kinds[general] = kinds.get(general, 0) + 1
    return kinds


def _table(columns: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    return table
