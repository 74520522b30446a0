"""Puts a finished run on the Hugging Face Hub: its best weights, its card and its record.

The token comes from HF_TOKEN or from `hf auth login`, through huggingface_hub; it is never read, kept or logged here.
Knows runs' folders and the Hub; huggingface_hub is imported when it is needed.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path

from dsum_demo.errors import InputError, TrainingError
from dsum_demo.hub.client import HubProbe
from dsum_demo.runs.store import Run
from dsum_demo.settings import Settings
from dsum_demo.utils.formatting import first_line

# What huggingface_hub takes, with the owner spelled out: nobody should upload to a place that they did not name.
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
# Names of this machine and its paths are nobody's business.
_PRIVATE = ("name", "created")


def push(run: Run, repository: str, settings: Settings, *, private: bool = False) -> str:
    """Upload the run's best weights with tokenizer, card and result.json as one commit; returns the page's address.

    A repository that does not exist is made. Raises InputError for a name that the Hub would not take or a run that
    has no model, and TrainingError with the Hub's answer where it refuses or cannot be reached.
    """
    if not _REPOSITORY.fullmatch(repository):
        raise InputError(f"{repository!r} names no repository; give owner/name.")
    record = run.result()
    if record is None or not run.best.is_dir():
        raise InputError(f"{run.name} is {run.status().state} and has no model to upload; finish it first.")
    reason = HubProbe(settings.offline, settings.hub_timeout).unreachable_because()
    if reason:
        raise TrainingError(f"{run.name} cannot be uploaded. {reason}")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import LocalTokenNotFoundError

    api = HfApi()
    try:
        page = api.create_repo(repository, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(run.best, folder, dirs_exist_ok=True)
            (Path(folder) / "result.json").write_text(_public(record), encoding="utf-8")
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message=f"{run.name}, trained with dsum")
    except LocalTokenNotFoundError:
        raise TrainingError("There is no token for the Hub: set HF_TOKEN, or log in with `hf auth login`.") from None
    except Exception as error:  # the Hub's answers, and whatever the network's library raises
        raise TrainingError(f"The Hub did not take {run.name}: {first_line(error)}") from None
    return str(page)


def _public(record: dict) -> str:
    config = {key: value for key, value in record.get("config", {}).items() if key not in _PRIVATE}
    data = dict(config.get("data", {}))
    for key in ("source", "validation_source"):
        if data.get(key):
            data[key] = Path(data[key]).name
    return json.dumps({**record, "config": {**config, "data": data}}, ensure_ascii=False, indent=2) + "\n"
