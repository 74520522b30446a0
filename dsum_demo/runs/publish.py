"""Uploads a finished run to the Hugging Face Hub: its best weights, model card and result.json.

Without a given token huggingface_hub takes it from HF_TOKEN or `hf auth login`; this module never stores or logs one.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from dsum_demo.errors import InputError, TrainingError
from dsum_demo.hub.client import HubProbe
from dsum_demo.runs.store import Run
from dsum_demo.settings import REPOSITORY
from dsum_demo.utils.formatting import first_line

# Not uploaded: they describe this machine, not the model.
_PRIVATE = ("name", "created")


def push(run: Run, repository: str, hub: HubProbe, *, private: bool = False, token: str | None = None) -> str:
    """Upload the run's best weights, tokenizer, card and result.json in one commit; returns the repository's URL.

    The repository is created if it does not exist. Raises InputError for an invalid name or a run without a model, and
    TrainingError if the Hub cannot be reached or refuses the upload.
    """
    if not REPOSITORY.fullmatch(repository):
        raise InputError(f"{repository!r} is not a repository name; give owner/name.")
    record = run.result()
    if record is None or not run.best.is_dir():
        raise InputError(f"{run.name} is {run.status().state} and has no model to upload; finish it first.")
    reason = hub.unreachable_because()
    if reason:
        raise TrainingError(f"{run.name} cannot be uploaded. {reason}")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import LocalTokenNotFoundError

    api = HfApi(token=token)
    try:
        page = api.create_repo(repository, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(run.best, folder, dirs_exist_ok=True)
            (Path(folder) / "result.json").write_text(_public(record), encoding="utf-8")
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message=f"{run.name}, trained with dsum")
    except LocalTokenNotFoundError:
        raise TrainingError("No Hub token found; set HF_TOKEN or log in with `hf auth login`.") from None
    except Exception as error:  # errors of the Hub and of the HTTP library
        raise TrainingError(f"Uploading {run.name} to the Hub failed: {first_line(error)}") from None
    return str(page)


def _public(record: dict) -> str:
    config = {key: value for key, value in record.get("config", {}).items() if key not in _PRIVATE}
    data = dict(config.get("data", {}))
    for key in ("source", "validation_source"):
        if data.get(key):
            data[key] = Path(data[key]).name
    return json.dumps({**record, "config": {**config, "data": data}}, ensure_ascii=False, indent=2) + "\n"
