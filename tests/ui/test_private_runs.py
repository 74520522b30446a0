"""On a public Space runs, files and models are visible only to their owner; without public mode, to every visitor."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from dsum_demo.data.archives import read_unpacked
from dsum_demo.data.sources import SAMPLES
from dsum_demo.errors import DataError, InputError, UnknownModelError
from dsum_demo.evaluation.background import Wanted
from dsum_demo.runs.store import Run, RunState
from dsum_demo.training.config import DataConfig, RunConfig, TrainingConfig
from dsum_demo.training.events import EventLog
from dsum_demo.ui import api, models_tab
from dsum_demo.ui.compare import cards
from dsum_demo.ui.compare import tab as compare
from dsum_demo.ui.compare.strength import offer_strength
from dsum_demo.ui.evaluate import form as evaluation_form
from dsum_demo.ui.services import Services
from dsum_demo.ui.train import form as training_form
from dsum_demo.ui.train import run_view, upload
from dsum_demo.ui.train import start as training_start
from dsum_demo.ui.train import tab as train
from dsum_demo.ui.train.history import Shown, rows
from dsum_demo.utils.ownership import is_owner, set_owner
from dsum_demo.utils.path_redaction import hide_paths

HERS, OTHER = "her secret", "another secret"
NAME, FILE, DIALOGUE = "bluebird-1a2b3c", "clinic.csv", "Nurse: The scan is on Monday, Zelda."
NOTHING = {"__type__": "update"}
EMPTY_TEXTS = ("", "", "", "")
ANYONE = SimpleNamespace(session_hash="s")


@pytest.fixture
def public(settings) -> Services:
    return Services.start(replace(settings, public=True))


@pytest.fixture
def run(public, tmp_path) -> Run:
    """A finished run with all its files, owned by HERS and trained on an uploaded file."""
    return finished(public, tmp_path)


def finished(services: Services, tmp_path: Path) -> Run:
    file = tmp_path / FILE
    file.write_text(f'dialogue,summary\n"{DIALOGUE}",Zelda has a scan.\n')
    kept = upload.keep_upload(file, services.uploads_dir(HERS))
    config = RunConfig("dsum-t5-base", TrainingConfig(max_steps=3), DataConfig(source=str(kept)))
    run = services.jobs.submit(config, NAME, HERS)
    log = EventLog(run.events_file)
    log.append({"event": "step", "step": 1, "steps": 1, "loss": 1.0, "samples_per_second": 1.0})
    summaries = [{"dialogue": DIALOGUE, "reference": "Zelda has a scan.", "summary": "A scan."}]
    log.append({"event": "evaluation", "step": 1, "steps": 1, "loss": 1.0, "rouge1": 0.1, "summaries": summaries})
    run.output_file.write_text(f'Traceback:\n  File "{services.settings.data_dir}/x.py"\n{kept} is odd\n')
    shutil.copytree(services.settings.root / "adapters" / "dsum-t5-lora", run.best)
    run.write_json("environment.json", {"data": {"source": str(kept)}})
    run.write_json("result.json", {"family": "dsum-t5", "method": "lora", "config": run.config()})
    run.write_status(RunState.FINISHED)
    services.registry.refresh()
    return run


def shown(answer: Any) -> str:
    """Return the complete contents of a response as text."""
    return json.dumps(answer, default=lambda value: getattr(value, "__dict__", str(value)))


def leaks(answer: Any) -> bool:
    return any(secret in shown(answer) for secret in (NAME, "clinic", "Zelda", HERS))


def test_only_the_secret_identifies_the_owner_of_a_folder(tmp_path):
    set_owner(tmp_path, HERS)
    assert is_owner(tmp_path, HERS)
    for odd in ("", OTHER, None, 5, [HERS], {"a": 1}, HERS + "\n", "\ud800", (tmp_path / ".owner").read_text()):
        assert not is_owner(tmp_path, odd)
    assert HERS not in (tmp_path / ".owner").read_text()
    (tmp_path / ".owner").write_text("")
    assert not is_owner(tmp_path, "") and not is_owner(tmp_path / "gone", HERS)


@pytest.mark.parametrize("visitor", [OTHER, "", None])
def test_no_handler_returns_another_visitors_run(public, run, visitor):
    jobs = public.jobs
    assert [each.name for each in jobs.visible(HERS)] == [NAME] == [row.name for row in rows(jobs, HERS)]
    assert jobs.visible(visitor) == rows(jobs, visitor) == []
    with pytest.raises(InputError) as refused:
        jobs.get(NAME, visitor)
    with pytest.raises(InputError) as unknown:
        jobs.get("unknown", visitor)
    assert str(refused.value).replace(NAME, "unknown") == str(unknown.value), (
        "the error does not reveal that the run exists"
    )

    state = (visitor, Shown(chosen=(NAME,)), {})
    answers = [
        *(look(public, NAME, *state) for look in (run_view.redraw_all, run_view.tick, run_view.show)),
        run_view.redraw_all(public, None, *state),
        *(run_view.apply_click(public, *state, {key: NAME}) for key in ("show", "choose")),
        run_view.apply_click(public, *state, {"sort": "score"}),
    ]
    assert not any(leaks(answer) for answer in answers)
    # These responses contain the name that was sent, and nothing else of the run.
    acts = [
        *(act(public, NAME, *state) for act in (run_view.keep, run_view.resume)),
        *(run_view.answer_yes(public, (action, NAME), *state) for action in ("discard", "delete", "keep", "resume")),
        run_view.apply_click(public, *state, {"remove": NAME}),
    ]
    for answer in acts:
        assert "There is no run" in shown(answer) and not leaks(shown(answer).replace(NAME, ""))
    assert run.status().state is RunState.FINISHED and run.best.is_dir()
    with pytest.raises(gr.Error, match="There is no run"):
        run_view.make_zip(public, NAME, visitor)
    assert not list(public.settings.data_dir.rglob("*.zip"))
    problem, *rest = train.open_in_compare(public, NAME, visitor)
    assert "There is no run" in problem and all(update == NOTHING for update in rest)


def test_the_owner_can_see_open_and_delete_the_run(public, run):
    seen = dict(zip(run_view.PARTS, run_view.redraw_all(public, None, HERS, Shown(), {}), strict=True))
    assert seen["watching"]["value"] == NAME and "Zelda" in seen["learning"] and "clinic.csv" in seen["card"]
    assert seen["zip"]["visible"] and seen["delete"]["visible"] and NAME in seen["history"]
    assert run_view.make_zip(public, NAME, HERS).is_file()
    problem, *rest = train.open_in_compare(public, NAME, HERS)
    assert problem == "" and NAME in shown(rest)
    run_view.answer_yes(public, ("delete", NAME), HERS, Shown(), {})
    assert public.jobs.runs.all() == [] and not list(public.settings.data_dir.rglob("*.zip"))


def test_other_visitors_see_the_queue_and_their_position_in_it(public, run):
    run.write_status(RunState.RUNNING, pid=os.getpid())
    for visitor in (OTHER, ""):
        seen = dict(zip(run_view.PARTS, run_view.redraw_all(public, None, visitor, Shown(), {}), strict=True))
        assert "Another visitor’s run is training" in seen["line"] and not leaks(seen)
    config = RunConfig("dsum-t5-base", TrainingConfig(max_steps=3))
    public.jobs.submit(config, "first", HERS)
    public.jobs.submit(config, "second", OTHER)
    seen = dict(zip(run_view.PARTS, run_view.redraw_all(public, None, OTHER, Shown(), {}), strict=True))
    assert "number 2 in the queue" in seen["card"] and "first" not in seen["line"] and not leaks(seen)
    assert 'data-remove="second"' in seen["line"] and seen["line"].count("Another visitor’s run") == 2


@pytest.mark.parametrize("visitor", [OTHER, "", None])
def test_a_trained_model_is_listed_only_for_its_owner(public, run, visitor):
    mine, theirs = public.registry.seen_by(HERS), public.registry.seen_by(visitor)
    assert mine.spec(NAME).name == NAME
    with pytest.raises(UnknownModelError) as error:
        theirs.spec(NAME)
    assert NAME not in str(error.value).replace(repr(NAME), "")
    trio = ["dsum-t5-base", "dsum-t5-full", "dsum-t5-lora"]
    assert not any(
        leaks(answer)
        for answer in (
            theirs.as_rows(), api.list_models(public), models_tab.show_models(public, visitor),
            models_tab.refresh_models(public, visitor),
            compare.change_family(public, ANYONE, "dsum-t5", visitor, *EMPTY_TEXTS),
            compare.describe_own_family(public, visitor, "dsum-t5", *trio),
            compare.note_family(public, "dsum-t5", visitor), compare.refresh(public),
            evaluation_form.offer_systems(public, "dsum-t5", visitor),
            evaluation_form.offer_new_systems(public, "dsum-t5", visitor),
        )
    )  # fmt: skip
    assert offer_strength(public.registry, NAME, visitor)["visible"] is False
    assert offer_strength(public.registry, NAME, HERS)["visible"] is True
    for answer in (
        mine.as_rows(), models_tab.show_models(public, HERS),
        compare.change_family(public, ANYONE, "dsum-t5", HERS, *EMPTY_TEXTS),
        evaluation_form.offer_new_systems(public, "dsum-t5", HERS),
    ):  # fmt: skip
        assert NAME in shown(answer)


@pytest.mark.parametrize("visitor", [OTHER, ""])
def test_a_trained_model_generates_only_for_its_owner(public, run, visitor):
    request = type("Request", (), {"session_hash": "session"})()
    typed = ["A: Hello.\nB: Hi.", "", "", "", "", "dsum-t5", cards.NO_HIGHLIGHT, "Greedy", 4, 1.0, 0, 4, 3]
    more = [None, None, "", "", "", *[1.0] * 5]
    for names in ([None, NAME, None], [None, None, NAME]):  # of a family's column, and of an added one
        (answer,) = compare.run_comparison(public, request, *typed, visitor, False, *names, *more)
        assert "There is no model" in shown(answer)
    assert NAME not in shown(compare.add_system(public, None, "dsum-t5", visitor, "", *[None] * 6, "", "", ""))
    assert NAME in shown(compare.add_system(public, None, "dsum-t5", HERS, "", *[None] * 6, "", "", ""))
    started = public.evaluations.start(Wanted(SAMPLES, (NAME,), limit=1, owner=visitor))
    while not started.over:
        pass
    assert "There is no model" in started.error and not started.key
    *_, answer = compare.run_comparison(public, request, *typed, HERS, False, *names, *more)
    assert "There is no model" not in shown(answer) and NAME in shown(answer)


def test_a_trained_model_is_not_a_default_for_other_visitors(public, run):
    shutil.rmtree(public.settings.root / "adapters" / "dsum-t5-lora")
    for visitor in (OTHER, ""):
        assert NAME not in shown(compare.change_family(public, ANYONE, "dsum-t5", visitor, *EMPTY_TEXTS))
    assert NAME not in shown(api.compare_dialogue(public, "A: Hello.\nB: Hi."))


def test_an_upload_is_read_only_for_its_owner(public, run, tmp_path):
    source = run.config()["data"]["source"]
    given = ({}, "upload", source, "", "dsum-t5-base", 64, None, None, None)
    assert "Zelda" in shown(upload.describe_own_file(public, HERS, *given))
    for visitor in (OTHER, "", None):
        assert not leaks(upload.describe_own_file(public, visitor, *given))
        config = training_form.preset_config(public, "smoke", "dsum-t5-base")
        form = training_form.fill_form(public, config)
        values = {name: update.get("value") if isinstance(update, dict) else update for name, update in form.items()}
        values |= {"base": "dsum-t5-base", "preset": "smoke", "place": "", "name": ""}
        values |= {"source": "upload", "uploaded": source, **{f"columns.{role}": None for role in training_form.ROLES}}
        for answer in (
            list(training_start.ask_cost(public, values, visitor)),
            list(training_start.start_run(public, visitor, None, values)),
        ):
            assert "an uploaded file" in shown(answer) and not leaks(answer)
    assert [each.name for each in public.jobs.runs.all()] == [NAME]
    form = ("upload", "", "", "dsum-t5-base", 64, None, None, None)
    again = upload.take_upload(public, str(tmp_path / FILE), OTHER, {}, *form)[0]
    assert again != source, "the same file uploaded by two visitors is stored twice"


def test_run_names_do_not_reveal_other_visitors_names(public):
    config = RunConfig("dsum-t5-base", TrainingConfig())
    names = {training_start._name(public, config, "same name") for _ in range(5)}
    assert len(names) == 5 and all(name.startswith("same-name-") for name in names)


def test_the_zip_and_the_list_of_models_contain_no_server_paths(public, run, settings):
    with zipfile.ZipFile(run_view.make_zip(public, NAME, HERS)) as archive:
        texts = {name: archive.read(name).decode("utf-8", "replace") for name in archive.namelist()}
    assert not [name for name, text in texts.items() if str(settings.data_dir) in text or str(settings.root) in text]
    assert json.loads(texts[f"{NAME}/config.json"])["data"]["source"] == FILE
    assert json.loads(texts[f"{NAME}/environment.json"])["data"]["source"] == FILE
    assert json.loads(texts[f"{NAME}/result.json"])["config"]["data"]["source"] == FILE
    assert f"{FILE} is odd" in texts[f"{NAME}/output.txt"]
    assert run.config()["data"]["source"].startswith("/"), "the run itself can be resumed"
    for answer in (api.list_models(public), public.registry.seen_by(HERS).as_rows()):
        assert str(settings.root) not in shown(answer) and str(settings.data_dir) not in shown(answer)
    assert "models/dsum-t5-base" in {row["source"] for row in api.list_models(public)["models"]}


def test_each_zip_has_a_different_hash(public, run):
    one, two = (run_view.make_zip(public, NAME, HERS).read_bytes() for _ in range(2))
    assert one != two


def test_an_error_about_an_upload_does_not_contain_the_folder_of_uploads(public, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    with pytest.raises(DataError) as raised:
        read_unpacked(tmp_path / "uploads" / "0f3a" / "rows.csv")
    assert str(tmp_path) in str(raised.value)
    assert public.told(raised.value) == "0f3a/rows.csv cannot be read: No such file or directory."


def test_hide_paths_makes_server_paths_relative(settings):
    text = f'{settings.data_dir}/runs/a, "{settings.root}/models" and /elsewhere/b'
    assert hide_paths(text, (settings.data_dir, settings.root)) == 'runs/a, "models" and /elsewhere/b'
    assert hide_paths("/elsewhere/b", (), {"/elsewhere/b": "b"}) == "b"
    assert hide_paths('  File "/usr/lib/python3/x.py", line 1', ()) == '  File "x.py", line 1'


def test_every_visitor_sees_all_runs_without_public_mode(settings, tmp_path):
    private = Services.start(settings)
    finished(private, tmp_path)
    for visitor in (HERS, OTHER, ""):
        seen = dict(zip(run_view.PARTS, run_view.redraw_all(private, None, visitor, Shown(), {}), strict=True))
        assert seen["watching"]["value"] == NAME and seen["zip"]["visible"] and seen["delete"]["visible"]
        assert private.registry.seen_by(visitor).spec(NAME) and run_view.make_zip(private, NAME, visitor)
    assert NAME in shown(api.list_models(private)) and str(settings.root) in shown(api.list_models(private))


def test_a_link_to_a_run_opens_it_for_its_owner_and_is_a_message_for_others(public, run):
    def follow(name: str, owner: str) -> dict[str, Any]:
        answer = train.follow_link(public, name, owner, Shown(), {})
        updates = zip(("tabs", *run_view.PARTS), answer, strict=True)
        return {part: update for part, update in updates if update != NOTHING}

    hers = follow(NAME, HERS)
    assert hers["tabs"]["selected"] == "train" and NAME in hers["card"]
    others = follow(NAME, OTHER)
    assert set(others) == {"tabs", "notice"} and f"no run &#x27;{NAME}&#x27;" in others["notice"]
    assert others["notice"].replace(NAME, "unknown") == follow("unknown", OTHER)["notice"]
    assert follow("", HERS) == {}
