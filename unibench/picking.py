"""The tasks that a command was asked for, by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from unibench import cards
from unibench.cards import TaskCard
from unibench.errors import UnknownName, UserError


def pick_tasks(names: Literal["all"] | Sequence[str], tasks_dir: Path | None) -> list[TaskCard]:
    """Returns the cards named; raises UserError for an unknown one, saying where cards of one's own are named."""
    try:
        return cards.pick(names, cards.card_folders(tasks_dir))
    except UnknownName as error:
        if tasks_dir is not None:
            raise
        raise UserError(f"{error}; for a card of your own add --tasks-dir FOLDER") from error
