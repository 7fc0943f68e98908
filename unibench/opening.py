"""The files of a split, fetched if need be -> its columns, by the reader that the card names or else by `datasets`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unibench import files
from unibench.errors import DataError, Unavailable, one_line
from unibench.files import Sheet
from unibench.sources import BUILDERS, Split, ending_of


def read_split(split: Split, wanted: Sequence[str]) -> Sheet:
    """Returns the wanted columns of a split, those it has, through its reader or `datasets`; errors as `open_split`."""
    if split.reader:
        found = [(path, _shown(split, file)) for path, file in zip(_fetch_all(split), split.files, strict=True)]
        return files.read(split.reader, split.format, found, wanted, split.name)
    dataset = open_split(split)
    columns, features = {}, {}
    for column in wanted:  # dots lead into nested columns, as they do in JSON
        root, *path = [column] if column in dataset.column_names else column.split(".")
        if root not in dataset.column_names:
            continue
        values, feature = dataset[root][:], dataset.features[root]
        try:
            for key in path:
                values, feature = [value[key] for value in values], feature[key]
        except (KeyError, TypeError):
            continue
        columns[column], features[column] = values, getattr(feature, "feature", feature)
    labels = {column: names for column in columns if (names := getattr(features[column], "names", None))}
    remedy = "fetch the file again, or correct the row"
    return Sheet(name=split.name, names=dataset.column_names, columns=columns, labels=labels, remedy=remedy)


def open_split(split: Split) -> Any:
    """Returns the split as a `datasets.Dataset`, downloading it first where needed.

    Raises DataError where a file cannot be read, Unavailable where it cannot be fetched.
    """
    import datasets

    paths = [str(path) for path in _fetch_all(split)]
    builder, options = BUILDERS[ending_of(split.files[0])]
    try:
        with _quiet():
            # The builder's cache is keyed by the files' paths and times of change, so an edited file is read again.
            return datasets.load_dataset(builder, data_files={"rows": paths}, split="rows", **options)
    except Exception as error:  # datasets and pyarrow raise a dozen kinds for a damaged file
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise DataError(
            f"{split.name} cannot be read as {builder} ({one_line(cause)}); fetch the file again"
        ) from error


def _shown(split: Split, file: str) -> str:
    """Returns what messages call one file: its path, or where it lies in a dataset of the Hub."""
    return f"{split.hub}/{file}" if split.folder is None or split.commit else str(split.folder / file)


def _fetch_all(split: Split) -> list[Path]:
    if split.folder is not None:
        return [split.folder / file for file in split.files]
    from huggingface_hub import hf_hub_download

    try:
        return [
            Path(hf_hub_download(split.hub, file, repo_type="dataset", revision=split.commit)) for file in split.files
        ]
    except Exception as error:  # any of three libraries' network, permission and disk errors
        raise Unavailable(f"{split.name} cannot be fetched from the Hub ({one_line(error)})") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences `datasets`: its progress bars and its log of the error that we report ourselves."""
    import datasets

    verbosity, bars = datasets.logging.get_verbosity(), datasets.are_progress_bars_disabled()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(verbosity)
        if not bars:
            datasets.enable_progress_bars()
