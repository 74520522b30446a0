"""The part of the Models tab about models outside the app, with tiny real models."""

from __future__ import annotations

from dataclasses import replace
from html import unescape

import pytest

from dsum_demo.composition import make_run_queue
from dsum_demo.models.snippet import snippet_of
from dsum_demo.ui.app import build_demo
from dsum_demo.ui.long_task import StopFlag
from dsum_demo.ui.model_export import default_folder, describe_format, own_folder, run_export, show_code
from dsum_demo.ui.services import Services


@pytest.fixture
def services(tiny_settings, tiny_store, tmp_path) -> Services:
    settings = replace(tiny_settings, data_dir=tmp_path)
    return Services(settings, tiny_store.registry, tiny_store, [], make_run_queue(settings))


def test_the_code_is_the_snippet_and_a_model_that_does_not_exist_is_named(services):
    lora = services.registry.spec("dsum-t5-lora")
    shown = unescape(show_code(services, lora.name, ""))
    assert snippet_of(services.registry, lora) in shown and 'class="copy"' in shown
    assert "There is no model 'gpt'" in unescape(show_code(services, "gpt", ""))


def test_a_format_is_described_by_its_size_or_the_reason_against_it(services):
    folder, button, about = describe_format(services, "dsum-t5-lora", "merged")
    assert folder.endswith("exports/dsum-t5-lora-merged") and button["interactive"] and "About " in about
    for form, reason in (("gguf-q8_0", "encoder-decoder"), ("onnx", "transformers&lt;4.58")):
        _, button, about = describe_format(services, "dsum-t5-lora", form)
        assert not button["interactive"] and reason in about


def test_an_export_shows_its_progress_and_its_files_and_a_second_one_is_refused(services):
    out = default_folder(services, "dsum-t5-lora", "merged")
    *progress, last = run_export(services, "dsum-t5-lora", "merged", "", StopFlag())
    assert "Loading dsum-t5-lora" in progress[0]
    assert f"<code>{out}</code>" in last and "model.safetensors" in last and " kB</td>" in last
    *_, refused = run_export(services, "dsum-t5-lora", "merged", out, StopFlag())
    assert "is not empty; give a new one" in refused and 'role="alert"' in refused


def test_a_stopped_export_leaves_no_files(services, tmp_path):
    stop = StopFlag()
    stop.event.set()
    *_, last = run_export(services, "dsum-t5-lora", "merged", str(tmp_path / "out"), stop)
    assert "Stopped; no files were kept." in last
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("folder", ["../out", "/tmp/dsum-outside", "link/out", ".", "a\0b"])
def test_an_export_to_a_folder_outside_the_data_folder_is_refused(services, tmp_path, folder):
    (tmp_path / "link").symlink_to(tmp_path.parent)
    before = sorted(tmp_path.parent.rglob("*"))
    (last,) = run_export(services, "dsum-t5-lora", "merged", folder, StopFlag())
    assert "folder; give" in last and 'role="alert"' in last
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_a_relative_folder_is_in_the_data_folder(services, tmp_path):
    assert own_folder(services, "exports/mine") == tmp_path / "exports" / "mine"


@pytest.mark.parametrize("public", [False, True])
def test_a_public_app_shows_the_code_but_no_export(services, public):
    services.settings = replace(services.settings, public=public)
    ids = {block.elem_id for block in build_demo(services).blocks.values()}
    assert "snippet" in ids and ("export-start" in ids) == (not public)
