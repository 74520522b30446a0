"""Reads examples by source name: the samples, a split of DialogSum, or a file.

DialogSum is read from the folder in DSUM_DIALOGSUM, or else from the Hub with the datasets library and its cache.
datasets is imported on first use.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dsum_demo.data.columns import GivenColumns
from dsum_demo.data.examples import Example, read_samples, to_examples
from dsum_demo.data.tables import PACKED_ENDINGS, Broken, Row, find_table
from dsum_demo.errors import DataError, InputError, Stopped
from dsum_demo.hub.client import HubProbe, Progress, StopAsked
from dsum_demo.utils.formatting import first_line
from dsum_demo.utils.threads import ThreadTimeoutError, run_stoppable

SAMPLES, DIALOGSUM = "samples", "dialogsum"
SPLITS = ("train", "validation", "test")
DIALOGSUM_ON_HUB = "knkarthick/dialogsum"
PATIENCE_SECONDS = 600
# In DialogSum's test split the rows test_0_1, test_0_2 and test_0_3 are one dialogue with three summaries.
ROW_OF_SEVERAL = re.compile(r"(.*\d)_\d+", re.DOTALL)


def source_names() -> list[str]:
    """The named sources; except on a public Space a file's path is a source too."""
    return [SAMPLES, *(f"{DIALOGSUM}:{split}" for split in SPLITS)]


@dataclass(frozen=True)
class Sources:
    """Where examples are read from.

    dialogsum_dir: folder with DialogSum's splits; None: they are downloaded from the Hub. allow_files: whether a file's
    path is a source.
    """

    samples_file: Path
    hub: HubProbe
    dialogsum_dir: Path | None = None
    allow_files: bool = True

    def read(
        self,
        source: str,
        *,
        download: bool = True,
        on_progress: Progress = lambda text, share: None,
        should_stop: StopAsked = lambda: False,
        broken: Broken | None = None,
        columns: GivenColumns | None = None,
        notes: list[str] | None = None,
    ) -> list[Example]:
        """The examples of `samples`, of `dialogsum:train`, `:validation` or `:test`, or of a file (see `read_samples`).

        Rows that share a dialogue are merged into one example. download: whether DialogSum may be downloaded;
        on_progress and should_stop are used while it is. Raises InputError for an unknown source, DataError if the data
        is invalid or not available, and Stopped. If `broken` is given, invalid rows of a file are skipped and added to
        it by row number. columns: the columns of a file by role, see `map_columns`. notes: gets messages, see
        `read_samples`.
        """
        name, _, split = source.strip().partition(":")
        if source.strip() == SAMPLES:
            return read_samples(self.samples_file, broken)
        if name == DIALOGSUM:
            if split not in SPLITS:
                wanted = ", ".join(f"{DIALOGSUM}:{known}" for known in SPLITS)
                raise InputError(f"DialogSum has no split {split!r}; give one of: {wanted}.")
            if self.dialogsum_dir:
                return regroup(read_samples(_split_file(self.dialogsum_dir, split), broken, notes=notes))
            return regroup(self._from_hub(split, download, on_progress, should_stop))
        if not self.allow_files:
            raise InputError(f"Unknown source {source!r}; give one of: {', '.join(source_names())}.")
        if not Path(source).is_file():
            raise InputError(f"There is no file {source!r}; give a file or one of: {', '.join(source_names())}.")
        return regroup(read_samples(Path(source), broken, columns, notes))

    def _from_hub(self, split: str, download: bool, on_progress: Progress, should_stop: StopAsked) -> list[Example]:
        rows = _cached(split)
        if rows is None:
            if not download:
                raise DataError(f"DialogSum is not on this machine. {_OTHER_WAYS}")
            if reason := self.hub.unreachable_because():
                raise DataError(f"DialogSum is not on this machine and cannot be downloaded. {reason} {_OTHER_WAYS}")
            on_progress("Downloading DialogSum from the Hub (12 MB)", None)
            rows = _downloaded(split, should_stop)
        return to_examples(rows, f"DialogSum's {split} split")


def regroup(examples: Sequence[Example]) -> list[Example]:
    """One example per dialogue with the references and topics of all its rows, in the order of the first rows.

    Rows are merged if dialogue and group are equal. The group is an id like test_0_2 without its last part, and becomes
    the id of the merged example. Other rows with equal dialogues get the id of the first.
    """
    groups: dict[tuple[str, str], list[Example]] = {}
    for example in examples:
        several = ROW_OF_SEVERAL.fullmatch(example.id)
        groups.setdefault((several[1] if several else "", example.dialogue), []).append(example)
    named = [group for group, _ in groups]
    return [
        rows[0]
        if len(rows) == 1
        else replace(
            rows[0],
            # A group of ids with two dialogues is not unique.
            id=group if group and named.count(group) == 1 else rows[0].id,
            references=tuple(text for row in rows for text in row.references),
            topics=tuple(text for row in rows for text in row.topics),
        )
        for (group, _), rows in groups.items()
    ]


def _split_file(folder: Path, split: str) -> Path:
    if file := find_table(folder, split):
        return file
    raise DataError(
        f"The folder in DSUM_DIALOGSUM, {folder}, contains no {split}{PACKED_ENDINGS[0]} (or "
        f"{', '.join(PACKED_ENDINGS[1:])}); add it, or unset DSUM_DIALOGSUM to download DialogSum from the Hub."
    )


_OTHER_WAYS = "Set DSUM_DIALOGSUM to a folder with its splits, or use the samples."


def _cached(split: str) -> list[Row] | None:
    """The split from the cache of datasets, or None. Never uses the network."""
    import datasets

    datasets.logging.set_verbosity_error()  # it warns whenever its cache is used
    with contextlib.suppress(ImportError, ValueError, OSError):
        from datasets.packaged_modules.cache.cache import Cache  # undocumented; without it the split is downloaded

        name = DIALOGSUM_ON_HUB.split("/")[-1]
        builder = Cache(dataset_name=name, repo_id=DIALOGSUM_ON_HUB, version="auto", hash="auto")
        return list(builder.as_dataset(split=split))
    return None


def _downloaded(split: str, should_stop: StopAsked) -> list[Row]:
    import datasets

    def download(stop: threading.Event) -> list[Row]:
        datasets.disable_progress_bars()
        return list(datasets.load_dataset(DIALOGSUM_ON_HUB, split=split))

    try:
        # In a thread, because a blocked connection cannot be stopped, and some of the library's requests have no
        # timeout.
        return run_stoppable(
            download,
            should_stop,
            name="download DialogSum",
            stopped="The download of DialogSum was stopped.",
            timeout=PATIENCE_SECONDS,
        )
    except ThreadTimeoutError:
        raise DataError(f"The download of DialogSum took more than {PATIENCE_SECONDS} s. {_OTHER_WAYS}") from None
    except Stopped:
        raise
    except Exception as error:
        raise DataError(f"DialogSum could not be downloaded from the Hub: {first_line(error)} {_OTHER_WAYS}") from error
