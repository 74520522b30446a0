"""Settings from environments that are right, wrong and hostile."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsum_demo.errors import SettingsError
from dsum_demo.settings import GIGABYTE, PROJECT_ROOT, Settings


def test_an_empty_environment_gives_the_checkout():
    settings = Settings.from_environment({})
    assert settings.root == PROJECT_ROOT
    assert settings.hub_timeout == 1.5 and settings.adapters_dir == PROJECT_ROOT / "adapters"
    assert not settings.public and not settings.offline and settings.dialogsum_dir is None
    assert settings.memory_budget_bytes == 6 * GIGABYTE
    assert (PROJECT_ROOT / "dsum_demo").is_dir()


def test_folders_are_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_environment({"DSUM_ROOT": ".", "DSUM_DATA_DIR": "data", "DSUM_DIALOGSUM": "splits"})
    assert settings.root == tmp_path.resolve()
    assert settings.runs_dir == tmp_path.resolve() / "data" / "runs"
    assert settings.samples_file == tmp_path.resolve() / "samples" / "dialogues.jsonl"
    assert settings.dialogsum_dir == tmp_path.resolve() / "splits"


@pytest.mark.parametrize("environment", [{"SPACE_ID": "someone/dsum"}, {"DSUM_PUBLIC": "1"}, {"DSUM_PUBLIC": "Yes"}])
def test_a_space_is_public_and_takes_less(environment):
    settings = Settings.from_environment(environment)
    assert settings.public
    assert settings.max_input_chars < Settings.from_environment({}).max_input_chars


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("true", True), ("0", False), ("", False), ("off", False)])
def test_offline_is_read_as_the_hub_reads_it(value, offline):
    assert Settings.from_environment({"HF_HUB_OFFLINE": value}).offline is offline


def test_memory_may_be_a_fraction():
    assert Settings.from_environment({"DSUM_MEMORY_GB": "0.5"}).memory_budget_bytes == GIGABYTE // 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DSUM_MEMORY_GB", "lots"),
        ("DSUM_HUB_TIMEOUT", "soon"),
        ("DSUM_HUB_TIMEOUT", "0"),
        ("DSUM_MEMORY_GB", "0"),
        ("DSUM_MEMORY_GB", "-1"),
        ("DSUM_MEMORY_GB", "nan"),
        ("DSUM_MEMORY_GB", "inf"),
        ("DSUM_PUBLIC", "maybe"),
        ("HF_HUB_OFFLINE", "2"),
        ("DSUM_UNICODE_ROUGE", "latin"),
        ("DSUM_REVIEWS_REPO", "reviews"),
        ("DSUM_REVIEWS_REPO", "a/b/c"),
        ("DSUM_REVIEWS_EVERY", "0"),
        ("DSUM_REVIEWS_EVERY", "often"),
        ("DSUM_BATCH_REQUESTS", "0"),
        ("DSUM_LOG", "xml"),
    ],
)
def test_a_value_that_cannot_be_read_is_named(name, value):
    with pytest.raises(SettingsError, match=f"{name} is '{value}'"):
        Settings.from_environment({name: value})


def test_a_child_process_gets_the_same_settings(tmp_path):
    plain = Settings.from_environment({})
    odd = Settings(
        root=tmp_path, data_dir=tmp_path / "data", dialogsum_dir=tmp_path / "splits", family="dsum-t5", public=True,
        offline=True, hub_timeout=0.25, memory_budget_bytes=GIGABYTE // 3, max_input_chars=200_000, unicode_rouge=True,
        bertscore="roberta-large",
        space="someone/dsum", reviews_repo="someone/reviews", reviews_every=3, batch_requests=1, log_json=True,
    )  # fmt: skip
    for settings in (plain, odd):
        assert Settings.from_environment(settings.as_environment()) == settings


def test_without_an_argument_the_process_environment_is_read(monkeypatch):
    monkeypatch.setenv("DSUM_DATA_DIR", "/somewhere/else")
    assert Settings.from_environment().data_dir == Path("/somewhere/else")


def test_the_family_is_read_from_the_environment():
    assert Settings.from_environment({"DSUM_FAMILY": " flan-t5-base "}).family == "flan-t5-base"
    assert Settings.from_environment({}).family == ""


@pytest.mark.parametrize(
    ("folder", "space", "lost"),
    [
        ("/no such folder/data", "someone/dsum", True),
        ("/no such folder/data", "", False),
        ("/proc/no such folder", "someone/dsum", False),  # proc is another volume
    ],
)
def test_data_on_the_disk_of_a_space_is_lost_on_a_restart(folder, space, lost):
    settings = Settings.from_environment({"DSUM_DATA_DIR": folder, "SPACE_ID": space})
    assert settings.loses_data is lost
