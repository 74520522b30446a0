"""Folders and limits, read once from the environment. Imports only the standard library."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dsum_demo.errors import SettingsError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
GIGABYTE = 1024**3
MAX_INPUT_CHARS = 1_000_000  # of a dialogue
PUBLIC_MAX_INPUT_CHARS = 200_000
# The names of repositories that huggingface_hub accepts, with the owner required, so that the destination is explicit.
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


@dataclass(frozen=True)
class Settings:
    """One process's settings.

    root: folder with models/, adapters/, judges/ and samples/.
    data_dir: folder with the app's data (runs, evaluations).
    dialogsum_dir: folder with DialogSum's splits; None: they are downloaded from the Hub.
    family: the default family of every page and command; empty: the catalog's default.
    public: the profile of a public Space: no paths or Hub ids typed by users, small caps.
    offline: do not access the Hub.
    hub_timeout: seconds to wait for the Hub before it counts as unreachable.
    memory_budget_bytes: loaded families beyond it are evicted, least recently used first.
    batch_requests: the most waiting requests whose summaries are generated in one batch; 1: one by one.
    max_input_chars: a longer dialogue is rejected before it is tokenized.
    unicode_rouge: also score with ROUGE over Unicode words.
    bertscore: also score with BERTScore by this encoder, "" for none.
    log_json: write the app's log as JSON lines.
    space: the id of the Space that the app runs in, "" elsewhere.
    reviews_repo: the dataset repository that gets a copy of the reviews after every `reviews_every` verdicts; empty:
    none.
    """

    root: Path = PROJECT_ROOT
    data_dir: Path = Path("dsum-data")
    dialogsum_dir: Path | None = None
    family: str = ""
    public: bool = False
    offline: bool = False
    hub_timeout: float = 1.5
    memory_budget_bytes: int = 6 * GIGABYTE
    batch_requests: int = 32
    max_input_chars: int = MAX_INPUT_CHARS
    unicode_rouge: bool = False
    bertscore: str = ""
    log_json: bool = False
    space: str = ""
    reviews_repo: str = ""
    reviews_every: int = 10

    @property
    def adapters_dir(self) -> Path:
        return self.root / "adapters"

    @property
    def judges_dir(self) -> Path:
        return self.root / "judges"

    @property
    def samples_file(self) -> Path:
        return self.root / "samples" / "dialogues.jsonl"

    @property
    def runs_dir(self) -> Path:
        return self.data_dir / "runs"

    @property
    def uploads_dir(self) -> Path:
        return self.data_dir / "uploads"

    @property
    def evaluations_dir(self) -> Path:
        return self.data_dir / "evaluations"

    @property
    def outputs_file(self) -> Path:
        """The folder of cached summaries."""
        return self.data_dir / "outputs.sqlite"

    @property
    def reviews_file(self) -> Path:
        return self.data_dir / "reviews.sqlite"

    @property
    def loses_data(self) -> bool:
        """Whether the data folder is lost on a restart: on a Space, unless it is on a volume."""
        return bool(self.space) and mount_point(self.data_dir) == Path("/")

    @property
    def shipped_evaluations_dir(self) -> Path:
        return self.root / "evaluations"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read DSUM_ROOT, DSUM_DATA_DIR, DSUM_DIALOGSUM, DSUM_FAMILY, DSUM_PUBLIC, DSUM_MEMORY_GB, DSUM_HUB_TIMEOUT,
        DSUM_BATCH_REQUESTS, DSUM_LOG, DSUM_UNICODE_ROUGE, DSUM_BERTSCORE, DSUM_REVIEWS_REPO, DSUM_REVIEWS_EVERY,
        SPACE_ID and HF_HUB_OFFLINE.

        Raises SettingsError for an invalid value.
        """
        env = os.environ if environment is None else environment
        public = _flag(env, "DSUM_PUBLIC") or bool(env.get("SPACE_ID"))
        form = env.get("DSUM_LOG", "").strip() or "text"
        if form not in ("text", "json"):
            raise SettingsError(f"DSUM_LOG is {form!r}; give text or json.")
        repository = env.get("DSUM_REVIEWS_REPO", "").strip()
        if repository and not REPOSITORY.fullmatch(repository):
            raise SettingsError(f"DSUM_REVIEWS_REPO is {repository!r}; give a dataset repository as owner/name.")
        return cls(
            root=Path(env.get("DSUM_ROOT") or PROJECT_ROOT).resolve(),
            data_dir=Path(env.get("DSUM_DATA_DIR") or "dsum-data").resolve(),
            dialogsum_dir=Path(env["DSUM_DIALOGSUM"]).resolve() if env.get("DSUM_DIALOGSUM") else None,
            family=env.get("DSUM_FAMILY", "").strip(),
            public=public,
            offline=_flag(env, "HF_HUB_OFFLINE"),
            hub_timeout=_number(env, "DSUM_HUB_TIMEOUT", "1.5", "seconds"),
            memory_budget_bytes=int(_number(env, "DSUM_MEMORY_GB", "6", "gigabytes") * GIGABYTE),
            batch_requests=math.ceil(_number(env, "DSUM_BATCH_REQUESTS", "32", "requests")),
            max_input_chars=PUBLIC_MAX_INPUT_CHARS if public else MAX_INPUT_CHARS,
            unicode_rouge=_flag(env, "DSUM_UNICODE_ROUGE"),
            bertscore=env.get("DSUM_BERTSCORE", "").strip(),
            log_json=form == "json",
            space=env.get("SPACE_ID", ""),
            reviews_repo=repository,
            reviews_every=math.ceil(_number(env, "DSUM_REVIEWS_EVERY", "10", "verdicts")),
        )

    def as_environment(self) -> dict[str, str]:
        """The variables from which `from_environment` reads these settings, for a child process."""
        return {
            "DSUM_ROOT": str(self.root),
            "DSUM_DATA_DIR": str(self.data_dir),
            "DSUM_DIALOGSUM": str(self.dialogsum_dir or ""),
            "DSUM_FAMILY": self.family,
            "DSUM_PUBLIC": str(int(self.public)),
            "HF_HUB_OFFLINE": str(int(self.offline)),
            "DSUM_HUB_TIMEOUT": str(self.hub_timeout),
            "DSUM_MEMORY_GB": str(self.memory_budget_bytes / GIGABYTE),
            "DSUM_BATCH_REQUESTS": str(self.batch_requests),
            "DSUM_UNICODE_ROUGE": str(int(self.unicode_rouge)),
            "DSUM_BERTSCORE": self.bertscore,
            "DSUM_LOG": "json" if self.log_json else "text",
            "SPACE_ID": self.space,
            "DSUM_REVIEWS_REPO": self.reviews_repo,
            "DSUM_REVIEWS_EVERY": str(self.reviews_every),
        }


def mount_point(folder: Path) -> Path:
    """The mount point of the volume that a folder is on, or will be."""
    return next(parent for parent in (folder, *folder.parents) if os.path.ismount(parent))


def _number(env: Mapping[str, str], name: str, default: str, unit: str) -> float:
    value = env.get(name, default)
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SettingsError(f"{name} is {value!r}; give a number of {unit}, such as {default}.")
    if number <= 0:
        raise SettingsError(f"{name} is {value!r}; give a number above 0.")
    return number


def _flag(env: Mapping[str, str], name: str) -> bool:
    value = env.get(name, "").strip().lower()
    if value in ("", "0", "false", "no", "off"):
        return False
    if value in ("1", "true", "yes", "on"):
        return True
    raise SettingsError(f"{name} is {value!r}; give 1 or 0.")
