"""The Train tab's handlers and their output, without a browser."""

from __future__ import annotations

import html
import json
import math
import re
import shlex
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dsum_demo.cli.main import build_parser
from dsum_demo.cli.train import config_of
from dsum_demo.comparison import compare
from dsum_demo.composition import make_run_queue
from dsum_demo.errors import DataError, InputError
from dsum_demo.models.catalog import Kind
from dsum_demo.models.prompts import PROMPT_TEMPLATE
from dsum_demo.models.snippet import EXAMPLE
from dsum_demo.runs.limits import PUBLIC, check_allowed
from dsum_demo.runs.store import Run, RunState
from dsum_demo.settings import PROJECT_ROOT
from dsum_demo.training.config import DATA_FIELDS, TRAINING_FIELDS, RunConfig, TrainingConfig
from dsum_demo.training.events import Curve, EventLog, read_curve
from dsum_demo.training.methods import METHODS, method
from dsum_demo.training.preference_pairs import read_pairs
from dsum_demo.training.presets import presets
from dsum_demo.ui import models_tab
from dsum_demo.ui.compare.strength import is_scalable, offer_strength
from dsum_demo.ui.compare.tab import CompareTab
from dsum_demo.ui.review.visitor import Visitor
from dsum_demo.ui.services import Services
from dsum_demo.ui.sortable_table import sort_rows
from dsum_demo.ui.train import charts as training_charts
from dsum_demo.ui.train import form as training_form
from dsum_demo.ui.train import history as run_history
from dsum_demo.ui.train import preferences, run_cards, run_view, upload
from dsum_demo.ui.train import start as training_start
from dsum_demo.ui.train import tab as train
from dsum_demo.ui.train.generated_summaries import learning_table, marked_changes
from dsum_demo.ui.train.history import Shown
from dsum_demo.utils.ownership import set_owner
from tests.review.conftest import answer as judge
from tests.review.conftest import make_draft

NOTHING = {"__type__": "update"}
HEADER = "dialogue,summary\n"


@pytest.fixture
def services(settings) -> Services:
    return Services.start(settings)


@pytest.fixture
def public(settings) -> Services:
    return Services.start(replace(settings, public=True))


def filled(services: Services, preset: str = "smoke", **changes: Any) -> dict[str, Any]:
    """Return the form's values after a preset is chosen, as gradio passes them."""
    config = training_form.preset_config(services, preset, "dsum-t5-base")
    values: dict[str, Any] = {
        "base": "dsum-t5-base", "preset": preset, "source": "samples", "place": "", "uploaded": "", "name": "",
        **{f"columns.{role}": None for role in training_form.ROLES},
    }  # fmt: skip
    for name, update in training_form.fill_form(services, config).items():
        values[name] = update.get("value") if isinstance(update, dict) else update
    return values | changes


def curve_of(run: Run, steps: int = 6, end: bool = False) -> Run:
    """Events as a run writes them: steps with a falling loss, an evaluation every two."""
    log = EventLog(run.events_file)
    log.append(
        {"event": "start", "step": 0, "steps": steps, "parameters": 1000, "trained_parameters": 50, "resumed": False}
    )
    for step in range(1, steps + 1):
        log.append(
            {"event": "step", "step": step, "steps": steps, "loss": 4 / step, "learning_rate": 1e-3 / step,
             "grad_norm": 2.0 * step, "samples_per_second": 3.0, "seconds": step,
             "seconds_left": steps - step, "peak_memory_bytes": 2e9}
        )  # fmt: skip
        if step % 2 == 0:
            rows = [{"dialogue": "A: <b>hi</b>", "reference": "A greets.", "summary": f"<i>{step}</i>"}] * 3
            log.append(
                {"event": "evaluation", "step": step, "steps": steps, "loss": 5 / step, "rouge1": step / 10,
                 "rouge2": 0.1, "rougeL": 0.2, "best": step == 4, "summaries": rows}
            )  # fmt: skip
    if end:
        log.append({"event": "end", "state": "finished", "step": steps, "steps": steps})
    return run


def submit(services: Services, name: str, state: RunState = RunState.QUEUED, **training: Any) -> Run:
    run = services.jobs.submit(RunConfig("dsum-t5-base", TrainingConfig(**training)), name)
    if state is not RunState.QUEUED:
        run.write_status(state)
    return run


def look(services: Services, watching: str | None = None, drawn: dict[str, Any] | None = None, **more: Any) -> dict:
    answer = run_view.redraw(services, watching, more.get("owner", ""), more.get("shown", Shown()), drawn or {})
    return dict(zip(run_view.PARTS, answer, strict=True))


def test_a_recorded_run_is_shown_until_the_first_run(services):
    assert "curves" in look(services) and not look(services)["curves"]["visible"], "the recording is missing here"
    shutil.copytree(PROJECT_ROOT / "recordings", services.settings.root / "recordings")
    shown = look(services)
    assert "Recorded example" in shown["card"] and "LoRA on dsum-t5" in shown["card"]
    assert "20 steps, recorded on 29 November 2026" in shown["card"] and "Start training" in shown["card"]
    assert shown["curves"]["visible"] and len(shown["loss"].data[0].x) == 20 and len(shown["score"].data[0].x) == 4
    assert shown["learning"].count('<details class="watched"') == 6 and "Best and worst" in shown["learning"]
    assert "loss is computed on 202 tokens" in shown["batch"] and "… 427 more tokens …" in shown["batch"]
    assert "&lt;/s&gt;" in shown["batch"]
    for button in ("zip", "open", "delete", "resume"):
        assert not shown[button]["visible"]
    submit(services, "mine")
    assert "Recorded" not in str(look(services)["card"]) and not look(services)["curves"]["visible"]


# The form


def test_every_field_of_every_method_has_a_component():
    fields = training_form.option_fields()
    assert {each.name for row in METHODS.values() for each in row.fields} == set(fields)
    for each in (*fields.values(), *TRAINING_FIELDS, *DATA_FIELDS):
        assert each.explanation in training_form.field_component(each).info


@pytest.mark.parametrize("name", list(presets()))
def test_preset_fills_the_form_with_its_config(services, name):
    values = filled(services, name)
    wanted = presets()[name].run_config("dsum-t5-base", "SEQ_2_SEQ_LM")
    assert training_form.read_form(services, values) == wanted or values["source"] != wanted.data.source
    assert training_form.read_form(services, values).training == wanted.training


@pytest.mark.parametrize("name", list(METHODS))
def test_method_shows_only_its_own_options(services, name):
    before = "full" if name == "lora" else "lora"
    updates = training_start.choose_method(services, {"method": before, "options": {}}, filled(services, method=name))
    shown = {key for key, update in updates.items() if key.startswith("options.") and update["visible"]}
    assert shown == {f"options.{each.name}" for each in METHODS[name].fields}
    values = filled(services, method=name)
    for key, update in updates.items():
        if key.startswith(("options.", "training.")):
            value = update.get("value") if isinstance(update, dict) else update
            values[key] = values.get(key) if value is None else value
    training = training_form.read_form(services, values).training
    assert dict(training.options) == METHODS[name].options() and training.learning_rate == METHODS[name].learning_rate


def test_a_base_of_the_other_architecture_fills_the_form_with_its_defaults(services):
    values = filled(services, "notebook-lora") | {"options.r": 5, "base": "smollm2-135m-instruct"}
    kept = {"method": "lora", "options": {}, "task_type": "SEQ_2_SEQ_LM"}
    updates = training_start.choose_base(services, kept, values)
    wanted = presets()["notebook-lora"].run_config("smollm2-135m-instruct", "CAUSAL_LM")
    assert updates["options.r"]["value"] == 32, "the preset's value"
    assert updates["options.target_modules"]["value"] == ["q_proj", "v_proj"]
    assert updates["options.target_modules"]["choices"][:2] == ["all-linear", "q_proj"], (
        "the usual names if the base model is not downloaded"
    )
    assert updates["kept"]["task_type"] == updates["options.task_type"]["value"] == "CAUSAL_LM"
    for name, update in updates.items():
        if name in values:
            values[name] = update.get("value", values[name]) if isinstance(update, dict) else update
    assert training_form.read_form(services, values) == wanted
    again = training_start.choose_base(services, updates["kept"], values)
    assert set(again) == {"options.target_modules"}, "with the same architecture other values are kept"
    back = training_start.choose_base(services, updates["kept"], values | {"base": "dsum-t5-base", "method": "ia3"})
    assert (back["method"], back["options.target_modules"]["value"]) == ("ia3", ["k", "v", "wo"])
    assert back["training.learning_rate"] == METHODS["ia3"].learning_rate


@pytest.mark.parametrize("name", list(METHODS))
def test_a_method_of_a_decoder_only_base_shows_its_own_defaults(services, name):
    before = "full" if name == "lora" else "lora"
    values = filled(services, method=name) | {"base": "smollm2-135m-instruct"}
    updates = training_start.choose_method(services, {"method": before, "options": {}}, values)
    row = method(name, "CAUSAL_LM")
    assert updates["training.learning_rate"] == row.learning_rate
    shown = {field.name: updates[f"options.{field.name}"]["value"] for field in row.fields}
    assert shown == {key: list(v) if isinstance(v, tuple) else v for key, v in row.options().items()}


def test_options_are_kept_while_another_method_is_selected(services):
    values = filled(services) | {"options.r": 5, "method": "ia3"}
    away = training_start.choose_method(services, {"method": "lora", "options": {}}, values)
    back = training_start.choose_method(services, away["kept"], values | {"method": "lora"})
    assert back["options.r"]["value"] == 5
    assert training_start.choose_method(services, back["kept"], values | {"method": "lora", "options.r": 9}) == {}


def test_target_modules_are_those_of_the_model(services, settings):
    assert training_form.module_choices(services, "lora", "dsum-t5-base") == [
        "all-linear", "k", "o", "q", "v", "wi_0", "wi_1", "wo",
    ]  # fmt: skip
    assert "q" in training_form.module_choices(services, "lora", "flan-t5-base"), (
        "the usual names if the base model is not downloaded"
    )
    assert training_form.base_choices(services) == [("dsum-t5 (12.5 M, trained from scratch)", "dsum-t5-base")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"options.r": None}, "rank"),
        ({"options.r": 1.5}, "whole number"),
        ({"options.target_modules": []}, "target modules|target_modules"),
        ({"training.learning_rate": 7}, "learning_rate"),
        ({"data.validation_share": 0}, "validation_share"),
        ({"source": "upload"}, "drop one"),
        ({"source": "place", "place": "  "}, "No path"),
        ({"base": None}, "No base model"),
        ({"method": None}, "no fine-tuning method"),
    ],
)
def test_invalid_value_shows_an_error_and_starts_nothing(services, change, message):
    values = filled(services, **change)
    with pytest.raises(InputError, match=message):
        training_form.read_form(services, values)
    (update,) = training_start.start_run(services, "", None, values)
    assert 'role="alert"' in update["problem"] and services.jobs.runs.all() == []


def test_form_is_restored_from_the_browser(services):
    saved = filled(services, "notebook-lora") | {"options.r": 7, "training.epochs": 3, "name": "mine"}
    names = tuple(saved)
    updates = training_start.restore(services, json.loads(json.dumps(saved)), names)
    assert updates["options.r"]["value"] == 7 and updates["training.epochs"] == 3 and updates["name"] == "mine"
    assert updates["columns.dialogue"]["value"] is None
    odd = {**saved, "base": "gone", "method": "gone", "preset": "gone", "source": "gone"}
    updates = training_start.restore(services, odd, names)
    assert updates["base"]["value"] == "dsum-t5-base" and updates["method"] == "lora"
    assert "preset" not in updates and "source" not in updates
    assert updates["options.r"].get("value") != 7 and "training.learning_rate" not in updates, (
        "of the base that is gone"
    )
    for nothing in (None, [], {"base": "x"}):
        assert set(training_start.restore(services, nothing, names)) == {"base"}


@pytest.mark.parametrize("name", list(presets()))
def test_command_line_describes_the_same_run(services, name):
    config = training_form.read_form(services, filled(services, name, **{"options.r": 3} if "lora" in name else {}))
    words = shlex.split(run_cards.command_line(config))
    options = build_parser().parse_args(words[1:])
    assert replace(config_of(options, services.settings), preset=config.preset) == config
    assert f'<code class="text">{words[0]} train' in training_start.command_html(config)


# Uploads


def describe(services: Services, file: Path, *given: str | None) -> tuple:
    kept = upload.keep_upload(file, services.uploads_dir(""))
    return upload.describe_file(services, "upload", str(kept), "", "dsum-t5-base", 20, *(given or (None,) * 3))


def take(services: Services, file: Path, uploaded: str = "", described: dict | None = None) -> tuple:
    form = ("upload", uploaded, "", "dsum-t5-base", 20, None, None, None)
    return upload.take_upload(services, str(file), "", described or {}, *form)


def test_upload_is_stored_and_previewed_with_problems_by_row(services, tmp_path):
    file = tmp_path / "my chats.csv"
    file.write_text(
        'text,summary\n"A: <b>hello</b> there, Tom! Hello there, Tom! Hello there, Tom!",A greets.\n,nothing\n'
        '"A: <b>hello</b> there, Tom! Hello there, Tom! Hello there, Tom!",A says hello.\n'
    )
    path, *rest = take(services, file)
    assert rest == [NOTHING] * 5, "the change of the path describes the file"
    dialogue, summary, identity, shown = describe(services, file)
    assert Path(path).read_text() == file.read_text() and Path(path).parent.parent == services.settings.data_dir
    assert dialogue["value"] == "text" and summary["value"] == "summary" and identity["value"] is None
    assert "3 rows, 2 of them usable" in shown and "row 2: no dialogue (skipped)" in shown
    assert "row 3: the same dialogue as row 1" in shown and "the model reads 20: " in shown
    assert "<b>hello" not in shown and "my-chats.csv" in shown
    assert upload.keep_upload(file, services.uploads_dir("")) == Path(path), "the same file is stored once"


def test_a_windows_1252_upload_is_previewed_with_a_notice(services, tmp_path):
    file = tmp_path / "old.csv"
    file.write_bytes((HEADER + "Zoë: hi there everyone,Zoë greets.\n").encode("cp1252"))
    *_, shown = describe(services, file)
    assert "Zoë greets." in shown and "read as Windows-1252" in shown and str(tmp_path) not in shown
    file.write_text(HEADER + "Zoë: hi there everyone,Zoë greets.\n", encoding="utf-8")
    assert "Windows-1252" not in describe(services, file)[-1]


def test_undetected_columns_can_be_selected(services, tmp_path):
    file = tmp_path / "odd.csv"
    file.write_text("one,two\nA: hi there everyone,A greets.\n")
    dialogue, _, _, shown = describe(services, file)
    assert dialogue["choices"] == ["one", "two"] and dialogue["visible"] and "has no column dialogue" in shown
    *_, shown = describe(services, file, "one", "two", None)
    assert "No empty fields" in shown and "hi there" in shown


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [("a.txt", "hello", "unsupported file type"), ("a.csv", "", "no rows"), ("a.json", "{", "JSON")],
)
def test_invalid_upload_is_refused_and_the_previous_file_stays(services, tmp_path, name, text, message):
    file = tmp_path / name
    file.write_text(text)
    *nothing, shown, described = take(services, file)
    assert [*nothing, described] == [NOTHING] * 5 and message in shown and str(tmp_path) not in shown


def test_uploading_the_same_file_again_describes_it_and_keeps_its_columns(services, tmp_path):
    file = tmp_path / "odd.csv"
    file.write_text("one,two\nA: hi,A greets.\n")
    kept, *_ = take(services, file)
    path, dialogue, _, _, shown, described = take(services, file, kept)
    assert path == NOTHING and dialogue["choices"] == ["one", "two"] and "has no column dialogue" in shown
    assert described == {"file": kept}
    form = ("upload", kept, "", "dsum-t5-base", 20, "one", "two", None)
    _, *choosers, shown, _ = upload.take_upload(services, str(file), "", described, *form)
    assert "A greets." in shown and not any("value" in chooser for chooser in choosers)


def test_server_path_is_previewed_like_an_upload(services, tmp_path, public):
    file = tmp_path / "a.csv"
    file.write_text(HEADER + "A: hi there everyone,A greets.\n")
    *_, shown = upload.describe_file(services, "place", "", str(file), "dsum-t5-base", 20, None, None, None)
    assert "1 row." in shown
    for other in (services, public):
        *_, shown = upload.describe_file(other, "place", "", "/nowhere", "dsum-t5-base", 20, None, None, None)
        assert "folder" in shown
    *_, shown = upload.describe_file(public, "place", "", str(file), "dsum-t5-base", 20, None, None, None)
    assert "greets" not in shown


def test_uploaded_file_is_the_training_data(services, tmp_path):
    file = tmp_path / "odd.csv"
    file.write_text("one,two\nA: hi,A greets.\n")
    kept = upload.keep_upload(file, services.uploads_dir(""))
    values = filled(services, source="upload", uploaded=str(kept)) | {
        "columns.dialogue": "one",
        "columns.summary": "two",
    }
    config = training_form.read_form(services, values)
    assert config.data.source == str(kept) and config.data.columns == {"dialogue": "one", "summary": "two"}
    chosen = values | {"preset": "good-lora"}
    assert training_start.choose_preset(services, {"preset": "smoke"}, chosen).get("source") is None, (
        "the upload stays selected"
    )


def test_leaving_the_preset_without_a_choice_keeps_what_was_edited(services):
    values = filled(services) | {"training.learning_rate": 7.0}
    form = train.FormHandlers(services, tuple(values))
    updates = training_start.choose_preset(services, {"preset": "good-lora"}, values)
    assert updates["kept"]["preset"] == values["preset"] and "training.learning_rate" in updates
    assert set(map(str, form.preset(updates["kept"], *values.values()))) == {str(NOTHING)}
    restored = training_start.restore(services, values, tuple(values))
    assert training_start.choose_preset(services, restored["kept"], values) == {}


def test_selected_columns_are_used_for_the_same_file_only(services, tmp_path):
    file = tmp_path / "odd.csv"
    file.write_text("one,two\nA: hi,A greets.\n")
    same = {"source": "upload", "uploaded": str(upload.keep_upload(file, services.uploads_dir(""))), "place": ""}
    saved = same | {"columns.dialogue": "one", "columns.summary": "two", "columns.id": None}
    none = (None,) * 3

    def selected(described: dict, given: tuple[str | None, ...] = none) -> tuple[list[str | None], bool]:
        form = (*same.values(), "dsum-t5-base", 20, *given)
        *choosers, shown, now = upload.describe_own_file(services, "", described, *form)
        assert now == {"file": same["uploaded"]}
        changed = [chooser.get("value", old) for chooser, old in zip(choosers, given, strict=True)]
        return changed, "A greets." in shown

    values = filled(services) | saved
    restored = training_start.restore(services, values, tuple(values))
    assert restored["columns.dialogue"] == {"__type__": "update", "choices": ["one"], "value": "one"}
    described = restored["described"]
    assert selected(described) == (["one", "two", None], True), "the choosers are still empty after a reload"
    assert selected(described, ("two", "one", None)) == (["two", "one", None], True)
    gone = {**described, "columns": {"dialogue": "gone", "summary": "two", "id": None}}
    assert selected(gone) == ([None, "two", None], False)
    for other in ({**described, "file": "another.csv"}, {}):
        assert selected(other, ("one", "two", None)) == ([None] * 3, False), "columns of another file"


def test_a_column_selected_while_the_file_is_read_is_not_overwritten(services, tmp_path):
    file = tmp_path / "odd.csv"
    file.write_text("one,two\nA: hi,A greets.\n")
    kept = str(upload.keep_upload(file, services.uploads_dir("")))
    form = ("upload", kept, "", "dsum-t5-base", 20, None, None, None)
    *choosers, _, _ = upload.describe_own_file(services, "", {"file": kept}, *form)
    assert all(chooser["visible"] and "value" not in chooser for chooser in choosers)


def test_unavailable_dialogsum_is_explained_before_a_run_starts(services):
    *_, shown = upload.describe_file(services, "dialogsum", "", "", "dsum-t5-base", 20, None, None, None)
    assert "HF_HUB_OFFLINE" in shown and "DSUM_DIALOGSUM" in shown


# A public Space


def test_public_space_offers_only_allowed_sources(public, tmp_path):
    assert [value for _, value in training_form.source_choices(public)] == ["samples", "upload"]
    for name in presets():
        config = training_form.read_form(public, filled(public, name))
        check_allowed(config, public.settings.uploads_dir)
    (update,) = training_start.start_run(public, "me", None, filled(public, source="place", place="/etc/passwd"))
    assert "samples or an uploaded file" in update["problem"]
    (update,) = training_start.ask_cost(public, filled(public, source="upload", uploaded="/etc/passwd"))
    assert "samples or an uploaded file" in update["problem"]
    *_, shown = upload.describe_file(public, "upload", "/etc/passwd", "", "dsum-t5-base", 20, None, None, None)
    assert shown == ""
    long = tmp_path / "long.csv"
    long.write_text(HEADER + "A: hi,A.\n" * (PUBLIC["uploaded_rows"] + 1))
    with pytest.raises(DataError, match="allows at most"):
        upload.keep_upload(long, tmp_path, PUBLIC["uploaded_rows"])


def test_public_visitors_can_change_only_their_own_runs(public):
    config = training_form.preset_config(public, "smoke", "dsum-t5-base")
    run = public.jobs.submit(config, "hers", owner="her secret")
    shown = look(public, "hers", owner="other")
    assert "data-remove" not in shown["line"] and "hers" not in shown["line"]
    answer = dict(zip(run_view.PARTS, run_view.act(public, "keep", "hers", "other", Shown(), {}), strict=True))
    assert "There is no run" in answer["notice"] and run.status().state is RunState.QUEUED
    run_view.act(public, "keep", "hers", "her secret", Shown(), {})
    assert public.jobs.runs.all() == []
    command = run_cards.command_line(replace(config, data=replace(config.data, source="/x/0123__a.csv")), public=True)
    assert "--data a.csv" in command


# Start


def test_start_measures_the_run_and_queues_it(services, monkeypatch):
    values = filled(services, name="my run")
    *updates, last = training_start.start_run(services, "", None, values)
    assert any("Measuring" in update.get("cost", "") for update in updates)
    cost = next(update for update in updates if "measured" in update)
    assert "Trained parameters" in cost["cost"] and "Peak memory" in cost["cost"]
    assert last["watching"] == "my-run"
    # Settings that were measured already are not measured again.
    assert [update.get("watching") for update in training_start.start_run(services, "", cost["measured"], values)] == [
        "my-run-2"
    ]
    assert [run.name for run in services.jobs.queued()] == ["my-run", "my-run-2"]


def test_overlaid_with_a_run_each_learning_rate_of_a_sweep_has_its_own_line():
    def steps(count: int, **more) -> list[dict]:
        return [{"event": "step", "step": step, "loss": 4 / step, **more} for step in range(1, count + 1)]

    second = [{**event, "step": event["step"] + 3} for event in steps(3, rate=0.01)]
    curves = {"a": Curve().add(steps(5)), "sweep": Curve().add([*steps(3, rate=0.001), *second])}
    loss, _ = training_charts.overlay_figures(curves, {"a": "lora", "sweep": "lora"})
    assert [trace.name for trace in loss.data] == ["a", "sweep, 0.001", "sweep, 0.01"]
    assert [list(trace.x) for trace in loss.data] == [[1, 2, 3, 4, 5], [1, 2, 3], [1, 2, 3]]
    assert loss.data[1].line == loss.data[2].line != loss.data[0].line


def test_a_sweep_is_queued_and_its_learning_rate_fills_the_form(services):
    values = filled(services)
    shown = training_start.start_sweep(services, "", 3, values)
    run = services.jobs.get(shown["watching"], "")
    config = RunConfig.from_record(run.config())
    assert run.name == "sweep-lora-samples" and "--sweep 3" in shown["command"] and len(config.sweep) == 4
    named = training_start.start_sweep(services, "", 3, {**values, "name": " mine "})
    assert named["watching"] == "sweep-mine", "mine is the name of the run itself"
    log = EventLog(run.events_file)
    for step in range(1, 4):
        log.append({"event": "step", "step": step, "steps": 12, "loss": 4 / step, "rate": config.sweep[0]})
    run.write_status(RunState.FINISHED)
    seen = look(services, run.name)
    assert (
        seen["sweep"]["visible"] and not seen["curves"]["visible"] and list(seen["sweep_chart"].data[0].x) == [1, 2, 3]
    )
    assert seen["sweep_table"].count("Use this one") == 1 and "Learning-rate sweep of LoRA" in seen["card"]
    assert "LoRA, sweep" in seen["history"]

    def use(rate: Any, method: str = "lora") -> tuple:
        return run_view.rate_to_use(services, run.name, "", "dsum-t5-base", method, {"use": rate})

    assert use(repr(config.sweep[0]))[0] == config.sweep[0]
    rate, told = use(repr(config.sweep[0]), "full")
    assert rate == NOTHING and "sweep was of LoRA on dsum-t5-base" in told
    assert [use(rate)[0] for rate in ("0.5", "x", None)] == [NOTHING] * 3


@pytest.mark.parametrize(
    ("model", "pairs", "message"),
    [
        (None, 60, "No model is selected"),
        ("dsum-t5-lora", None, "No pairs are selected"),
        ("dsum-t5-lora", 12, "pairs.jsonl has 12 different pairs; preference training needs at least 50"),
        ("dsum-t5-lora", 60, "dsum-t5-base is encoder-decoder: TRL"),
    ],
)
def test_preference_training_that_cannot_start_shows_why(services, tmp_path, model, pairs, message):
    prompt = PROMPT_TEMPLATE.format(dialogue="A: hi")
    rows = [{"prompt": prompt, "chosen": f"A greets {n}.", "rejected": "No."} for n in range(pairs or 0)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = str(tmp_path / "pairs.jsonl") if pairs else None
    answer = preferences.start_preferences(services, "", Visitor("", {}), model, "", file)
    assert message in html.unescape(answer["problem"])
    assert services.jobs.runs.all() == [] and preferences.model_choices(services) == []


def test_the_pairs_of_a_review_are_offered_to_those_who_may_see_its_results(causal_store, tiny_settings, tmp_path):
    settings = replace(tiny_settings, data_dir=tmp_path)
    services = Services(settings, causal_store.registry, causal_store, [], make_run_queue(settings))
    ana, ben = Visitor("secret of Ana", {}), Visitor("secret of Ben", {})
    draft = replace(make_draft(20, owner_reviews=False), name="Weekdays & more")
    review = services.reviews.create(draft, ana.secret)
    few = services.reviews.create(replace(make_draft(2, owner_reviews=False), name="Few"), ana.secret)
    for each in (review, few):
        judge(services.reviews, each, "Cem")
    offered = [("Few: 6 pairs", few.id), ("Weekdays & more: 60 pairs", review.id)]
    assert preferences.review_choices(services, ana) == offered
    assert preferences.review_choices(services, ben) == []

    def start(visitor: Visitor, chosen: str) -> dict[str, Any]:
        return preferences.start_preferences(services, visitor.secret, visitor, "causal-lora", chosen, None)

    for visitor, chosen, message in (
        (ana, few.id, "The review Few has 6 usable pairs; preference training needs at least 50."),
        (ben, review.id, "The results open when you have answered every item"),
        (ben, "gone", "There is no review "),
    ):
        assert message in html.unescape(start(visitor, chosen)["problem"])
    assert services.jobs.runs.all() == []
    started = start(ana, review.id)
    config = RunConfig.from_record(services.jobs.get(started["watching"], ana.secret).config())
    assert config.start_from == "causal-lora" and len(read_pairs(Path(config.data.source))) == 60
    assert config.data.source.endswith("__Weekdays-more.jsonl") and "--preferences" in started["command"]


def test_a_preference_run_shows_its_accuracy_instead_of_rouge(services):
    run = services.jobs.submit(RunConfig("dsum-t5-base", TrainingConfig(), start_from="my-lora"), "preferred")
    log = EventLog(run.events_file)
    log.append({"event": "step", "step": 1, "steps": 1, "loss": 0.7, "accuracy": 0.5})
    log.append({"event": "evaluation", "step": 1, "steps": 1, "loss": 0.6, "accuracy": 0.75, "best": True})
    assert look(services, "preferred")["learning"] == "", "of an older version, without summaries"
    row = {"number": 2, "dialogue": "A: hi", "reference": "A greets.", "summary": "A asks.", "rouge1": 0.5}
    log.append({"event": "evaluation", "step": 2, "steps": 2, "loss": 0.5, "accuracy": 0.75, "summaries": [row]})
    run.write_status(RunState.FINISHED)
    shown = look(services, "preferred")
    assert list(shown["score"].data[0].y) == [75.0, 75.0] and "Preference accuracy" in shown["score_title"]
    assert "Preference training of LoRA on my-lora" in shown["card"] and "75 %" in shown["card"]
    assert "LoRA, DPO" in shown["history"] and "R1 compares with the preferred summary." in shown["learning"]
    assert (
        "A asks." in shown["learning"] and '<th scope="row">Preferred</th><td dir="auto">A greets.' in shown["learning"]
    )


@pytest.mark.parametrize(
    ("steps", "message"), [(None, "None; give a whole"), (2.5, "give a whole"), (math.inf, "from 2 to")]
)
def test_invalid_steps_of_a_sweep_show_an_error(services, steps, message):
    assert message in training_start.start_sweep(services, "", steps, filled(services))["problem"]
    assert services.jobs.runs.all() == []


def test_public_sweep_is_limited_in_total(public):
    assert "watching" in training_start.start_sweep(public, "me", 50, filled(public))
    assert "has 240 steps in total" in training_start.start_sweep(public, "me", 60, filled(public))["problem"]


def test_run_that_does_not_fit_is_refused_with_the_reason(services):
    values = filled(services)
    config = training_form.read_form(services, values)
    cost = {
        "trained_parameters": 5, "parameters": 10, "share": 0.5, "checkpoint_bytes": 2e6, "peak_memory_bytes": 3e9,
        "free_memory_bytes": 1e9, "seconds": 4000.0, "steps": 20, "samples_per_second": 1.0, "train_dialogues": 3,
        "validation_dialogues": 1, "precision": "bf16", "device": "CPU", "notes": ["<x>"],
        "refusal": "It is <too> big.",
    }  # fmt: skip
    (update,) = training_start.start_run(services, "", (config.as_record(), cost), values)
    card = update["cost"]
    assert "It is &lt;too&gt; big." in card and "1 h 07 min" in card and "&lt;x&gt;" in card
    assert services.jobs.runs.all() == []


# The selected run


def test_tab_without_runs_shows_an_introduction(services):
    shown = look(services)
    assert "Start training" in shown["card"] and shown["history"] == "" and not shown["timer"]["active"]


def test_redraw_updates_only_what_changed(services):
    run = curve_of(submit(services, "first"))
    run.write_status(RunState.FINISHED)
    shown = look(services)
    assert shown["watching"]["value"] == "first" and len(shown["loss"].data) == 3 and shown["curves"]["visible"]
    assert shown["dynamics"]["visible"] and list(shown["grad_norm"].data[0].y) == [2, 4, 6, 8, 10, 12]
    assert shown["learning_rate"].data[0].y[1] == pytest.approx(5e-4)
    assert "6 <small>of 6" in shown["card"] and "first" in shown["history"]
    again = look(services, "first", shown["drawn"])
    assert {name for name, update in again.items() if update != NOTHING} == {"timer", "drawn"}
    EventLog(run.events_file).append({"event": "step", "step": 7, "steps": 8, "loss": 1.0})
    grown = look(services, "first", shown["drawn"])
    assert list(grown["loss"].data[0].x)[-1] == 7 and grown["history"] == NOTHING
    assert list(grown["grad_norm"].data[0].x)[-1] == 6, "a step without a norm"


def test_a_run_that_recorded_no_gradient_norm_hides_its_chart(services):
    run = submit(services, "older", RunState.FINISHED)
    EventLog(run.events_file).append({"event": "step", "step": 1, "steps": 1, "loss": 1.0, "learning_rate": 0.1})
    shown = look(services, "older")
    assert shown["curves"]["visible"] and not shown["dynamics"]["visible"] and shown["grad_norm"] == NOTHING


def test_a_click_on_a_name_in_the_history_also_selects_the_run_for_the_buttons(services):
    for name in ("first", "second"):
        curve_of(submit(services, name, RunState.FINISHED))
    shown = look(services, "second")
    answer = run_view.apply_click(services, "", Shown(), shown["drawn"], {"show": "first"})
    clicked = dict(zip(run_view.PARTS, answer, strict=True))
    assert clicked["watching"]["value"] == "first" and "<h3>first</h3>" in clicked["card"]
    assert look(services, "first", clicked["drawn"])["watching"] == NOTHING
    for asked, value in (("second", False), ("gone", True)):
        ticked = dict(zip(run_view.PARTS, run_view.tick(services, asked, "", Shown(), {}), strict=True))
        assert len(ticked["watching"]["choices"]) == 2 and ("value" in ticked["watching"]) is value


def test_running_run_is_selected_first_and_the_queue_is_listed(services):
    import os

    running = curve_of(submit(services, "running"))
    running.write_status(RunState.RUNNING, pid=os.getpid())
    submit(services, "next")
    shown = look(services)
    assert shown["watching"]["value"] == "running" and shown["timer"]["active"]
    assert shown["keep"]["visible"] and shown["discard"]["visible"] and not shown["delete"]["visible"]
    assert "is training, 100 %" in shown["line"] and 'data-remove="next"' in shown["line"]
    assert "number 1 in the queue" in look(services, "next")["card"]


@pytest.mark.parametrize(
    ("state", "reason", "message", "buttons"),
    [
        (RunState.CRASHED, "Killed.", "The run crashed. Killed.", {"resume", "zip", "delete"}),
        (RunState.FAILED, "NaN <loss>", "NaN &lt;loss&gt;", {"resume", "zip", "delete"}),
        (RunState.STOPPED, "On request.", "On request.", {"resume", "zip", "delete"}),
        (RunState.FINISHED, "", "finished", {"zip", "delete"}),
    ],
)
def test_ended_run_shows_its_reason_and_available_actions(services, state, reason, message, buttons):
    run = submit(services, "ended")
    run.output_file.write_text("Traceback <1>")
    run.write_status(state, reason)
    shown = look(services, "ended")
    assert message in shown["card"]
    assert {
        name for name in ("keep", "discard", "resume", "open", "zip", "delete") if shown[name]["visible"]
    } == buttons
    failed = state in (RunState.CRASHED, RunState.FAILED)
    assert shown["log"]["visible"] is failed and ("Traceback &lt;1&gt;" in shown["output"]) is failed


def test_delete_asks_for_confirmation(services):
    submit(services, "old", RunState.FINISHED)
    asked = dict(zip(run_view.PARTS, run_view.ask_delete("old"), strict=True))
    assert "cannot be undone" in asked["question"] and asked["asking"]["visible"]
    assert dict(zip(run_view.PARTS, run_view.answer_no(), strict=True))["asking"]["visible"] is False
    assert [run.name for run in services.jobs.runs.all()] == ["old"]
    answer = run_view.answer_yes(services, asked["about"], "", Shown(), {})
    assert services.jobs.runs.all() == [] and "Start training" in dict(zip(run_view.PARTS, answer, strict=True))["card"]


def test_impossible_action_shows_an_error(services):
    submit(services, "done", RunState.FINISHED)
    answer = dict(zip(run_view.PARTS, run_view.resume(services, "done", "", Shown(), {}), strict=True))
    assert "done is finished" in answer["notice"]
    for name in ("gone", None):
        answer = dict(zip(run_view.PARTS, run_view.keep(services, name, "", Shown(), {}), strict=True))
        assert "There is no run" in answer["notice"]


def test_discard_asks_for_confirmation_and_resume_queues_the_run(services):
    run = submit(services, "early", RunState.STOPPED)
    asked = dict(zip(run_view.PARTS, run_view.ask_discard("early"), strict=True))
    assert asked["about"] == ("discard", "early") and "stays in the history" in asked["question"]
    run_view.resume(services, "early", "", Shown(), {})
    assert run.status().state is RunState.QUEUED


def test_zip_contains_the_run(services):
    import zipfile

    run = curve_of(submit(services, "packed", RunState.FINISHED))
    file = run_view.make_zip(services, "packed")
    assert file.name == "packed.zip"
    names = zipfile.ZipFile(file).namelist()
    assert "packed/config.json" in names and "packed/events.jsonl" in names
    assert run_view.make_zip(services, None) is None and run.folder.is_dir()


def test_generated_texts_are_escaped(services):
    run = curve_of(submit(services, "evil"))
    table = learning_table(read_curve(run.events_file))
    assert "<i>2</i>" not in table and "&lt;i&gt;2&lt;/i&gt;" in table and "<b>hi" not in table
    assert table.count('class="kept" title') == 3, "once per dialogue"
    assert learning_table(Curve()) == ""


def test_changes_since_the_previous_step_are_marked():
    before, after = "Tom lends <Maya> ten dollars.", "Tom lends <Maya> money today."
    assert marked_changes(before, after) == ("Tom lends &lt;Maya&gt; <del>ten dollars.</del> <ins>money today.</ins>")
    assert (
        marked_changes("", after)
        == marked_changes("Something else entirely", after)
        == "Tom lends &lt;Maya&gt; money today."
    )
    assert marked_changes(after, after) == "Tom lends &lt;Maya&gt; money today."


def test_many_evaluations_are_thinned_but_the_best_and_the_last_are_shown(services):
    run = submit(services, "long")
    log = EventLog(run.events_file)
    for step in range(1, 101):
        row = {"number": 7, "dialogue": "A: hi", "reference": "A greets.", "summary": f"text {step}", "rouge1": 0.5}
        event = {"event": "evaluation", "step": step, "steps": 100, "best": step == 50, "summaries": [row]}
        log.append({**event, "best_rows": [row | {"summary": "<good>"}], "worst_rows": [row | {"summary": ""}]})
    table = learning_table(read_curve(run.events_file))
    assert 20 <= table.count('<th scope="row">') <= 30
    assert all(f'<th scope="row">{step}' in table for step in (50, 100)) and "Dialogue 7" in table
    assert "&lt;good&gt;" in table and "<i>no output</i>" in table and "at step 100" in table


def test_age_of_a_run_is_formatted_briefly():
    now = time.time()
    assert [run_cards.ago(now - s) for s in (1, 300, 200_000)] == ["just now", "5 min ago", "2 d ago"]


# History


def test_history_sorts_in_both_directions_with_missing_values_last(services):
    for name, score in (("low", 0.1), ("high", 0.3), ("none", None)):
        run = submit(services, name, RunState.FINISHED)
        if score is not None:
            record = {
                "best": {"rouge1": score},
                "trained_parameters": 5,
                "seconds": 3,
                "general_loss": [3.0, 3.5 - score],
            }
            run.write_json("result.json", record)
    found = run_history.rows(services.jobs)
    names = [row.name for row in found]
    shown = run_history.click(Shown(), {"sort": "score"}, names)
    assert [row.name for row in sort_rows(found, run_history.COLUMNS, shown)] == ["high", "low", "none"]
    shown = run_history.click(shown, {"sort": "score"}, names)
    assert [row.name for row in sort_rows(found, run_history.COLUMNS, shown)] == ["low", "high", "none"]
    assert "+0.40" in run_history.history_table(found, shown) and "+0.20" in run_history.history_table(found, shown)
    assert 'aria-sort="ascending"' in run_history.history_table(found, shown)
    for column in run_history.COLUMNS:
        assert len(sort_rows(found, run_history.COLUMNS, Shown(sort=column.key))) == 3


def test_selected_runs_are_overlaid_and_their_differences_listed(services):
    curve_of(submit(services, "a", RunState.FINISHED, options={"r": 4}))
    curve_of(submit(services, "b", RunState.FINISHED, options={"r": 8}))
    curve_of(submit(services, "c", RunState.FINISHED, method="full"))
    shown = Shown()
    for name in ("a", "b"):
        answer = dict(zip(run_view.PARTS, run_view.apply_click(services, "", shown, {}, {"choose": name}), strict=True))
        shown = answer["shown"]
    assert shown.chosen == ("a", "b") and answer["overlay"]["visible"]
    assert [trace.name for trace in answer["overlay_loss"].data] == ["a", "b"]
    assert len({trace.line.color for trace in answer["overlay_score"].data}) == 2
    assert "training.options.r" in answer["differences"] and "<td>4</td><td>8</td>" in answer["differences"]
    assert "method" not in answer["differences"]
    answer = dict(zip(run_view.PARTS, run_view.apply_click(services, "", shown, {}, {"choose": "b"}), strict=True))
    assert not answer["overlay"]["visible"] and "checked" in answer["history"]
    opened = dict(zip(run_view.PARTS, run_view.apply_click(services, "", shown, {}, {"show": "c"}), strict=True))
    assert opened["watching"]["value"] == "c"
    services.jobs.delete("b")
    assert look(services, "a", shown=shown)["shown"].chosen == ("a",)


def test_smoothing_starts_at_the_first_value_and_keeps_a_constant():
    assert training_charts.smoothed([3.0] * 5) == pytest.approx([3.0] * 5)
    assert training_charts.smoothed([4.0, 0.0]) == pytest.approx([4.0, 0.9 * 4 / 1.9])
    assert training_charts.smoothed([]) == []


def test_long_curve_is_thinned_and_keeps_its_end(services):
    curve = Curve(steps=[{"event": "step", "step": n, "steps": 5000, "loss": 1.0} for n in range(1, 5001)])
    x = list(training_charts.loss_figure(curve, "lora").data[0].x)
    assert len(x) <= 2 * training_charts.MOST_POINTS and (x[0], x[-1]) == (1, 5000)


# Compare


def test_finished_run_replaces_the_system_of_its_kind_in_compare(services, root, tiny_model):
    import shutil

    for name, source in (
        ("my-lora", root / "adapters" / "dsum-t5-lora"),
        ("my-full", root / "models" / "dsum-t5-full"),
    ):
        run = submit(services, name, RunState.FINISHED)
        shutil.copytree(source, run.best)
        run.write_json("result.json", {"family": "dsum-t5", "method": name})
        problem, tabs, family, _, *choosers = train.open_in_compare(services, name)[: 4 + 3]
        assert problem == "" and tabs["selected"] == "compare" and family == "dsum-t5"
        place = 1 if name == "my-full" else 2
        assert choosers[place]["value"] == name
        assert services.registry.spec(name).kind is (Kind.FULL if name == "my-full" else Kind.ADAPTER)
        problem, tabs, table, model = models_tab.open_run(services, name, "")
        assert f"<code>{name}</code>" in table
        assert problem == "" and tabs["selected"] == "models" and model["value"] == name and name in model["choices"]
    assert len(train.open_in_compare(services, "my-full")) == 2 + CompareTab.PARTS
    problem, *rest = train.open_in_compare(services, "nothing")
    assert "There is no run" in problem and rest == [NOTHING] * (1 + CompareTab.PARTS)
    empty = submit(services, "empty", RunState.FINISHED)
    problem, *_ = train.open_in_compare(services, empty.name)
    assert "empty cannot be loaded as a model" in problem and look(services, "empty")["code"] == ""
    assert "empty cannot be loaded as a model" in models_tab.open_run(services, "empty", "")[0]


@pytest.mark.parametrize("is_public", [False, True])
def test_the_code_of_a_finished_run_writes_what_the_app_writes(services, public, root, capsys, monkeypatch, is_public):
    services = public if is_public else services
    run = services.jobs.runs.create(RunConfig("dsum-t5-base").as_record(), "mine")
    run.write_status(RunState.FINISHED)
    set_owner(run.folder, "me")
    shutil.copytree(root / "adapters" / "dsum-t5-lora", run.best)
    run.write_json("result.json", {"family": "dsum-t5", "method": "lora"})
    shown = look(services, run.name, owner="me")
    [code] = re.findall(r'<code class="text">(.+?)</code>', shown["code"], re.DOTALL)
    assert shown["export"]["visible"] is not is_public
    assert (str(root.parent) in code) is not is_public, "a visitor does not see the server's paths"
    monkeypatch.chdir(root)
    if is_public:  # the zip file, unpacked
        shutil.copytree(run.folder, root / run.name)
    exec(html.unescape(code), {})
    spec = run_view.model_of(services, run.name, "me")
    family = services.registry.family("dsum-t5")
    summary = compare(services.store, family, [spec], EXAMPLE).systems[0].summary
    assert capsys.readouterr().out.strip() == summary


def test_changed_weights_of_a_resumed_run_are_reloaded(services, root, tiny_model):
    import os
    import shutil

    run = submit(services, "again", RunState.FINISHED)
    shutil.copytree(root / "models" / "dsum-t5-full", run.best)
    run.write_json("result.json", {"family": "dsum-t5", "method": "full"})
    first = services.store.load(run_view.model_of(services, "again"))
    assert services.store.load(run_view.model_of(services, "again")) is first
    tiny_model(7).save_pretrained(run.best)
    os.utime(run.best / "model.safetensors", ns=(1, 1))
    assert services.store.load(run_view.model_of(services, "again")) is not first


def test_strength_is_offered_only_for_additive_adapters(services):
    registry = services.registry
    assert (
        offer_strength(registry, "dsum-t5-lora")["visible"] and offer_strength(registry, "dsum-t5-lora")["value"] == 1
    )
    assert not offer_strength(registry, "dsum-t5-full")["visible"]
    assert not offer_strength(registry, None)["visible"] and not offer_strength(registry, "gone")["visible"]
    assert not is_scalable(registry, None)
