"""The Evaluate tab's runs, handlers, charts, tables and report, without a browser: real tiny models, real files."""

from __future__ import annotations

import csv
import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from dsum_demo.data.sources import SAMPLES
from dsum_demo.errors import InputError
from dsum_demo.evaluation.background import RECORDED, UPLOAD, BackgroundEvaluation, EvaluationQueue, Wanted, broken_rows
from dsum_demo.evaluation.notable_examples import differences
from dsum_demo.evaluation.records import Evaluation, Published
from dsum_demo.evaluation.report import Report, build_report
from dsum_demo.evaluation.storage import SavedEvaluations, write_evaluation
from dsum_demo.metrics.bootstrap import Interval
from dsum_demo.metrics.checks import CHECKS
from dsum_demo.metrics.rouge import ROUGE_TYPES
from dsum_demo.settings import Settings
from dsum_demo.ui import html
from dsum_demo.ui.appearance import KINDS, LOOKS, system_looks, system_titles
from dsum_demo.ui.evaluate import charts, form, results, saved, tab, tables
from dsum_demo.ui.evaluate import examples_tab as examples
from dsum_demo.ui.evaluate.example_detail import example_view
from dsum_demo.ui.evaluate.example_table import PAGE_ROWS, Selection, columns, ids_of, neighbour, parts, select, table
from dsum_demo.ui.evaluate.html_report import html_report
from dsum_demo.ui.html import SHARED
from dsum_demo.ui.services import Services

TRIO = ("dsum-t5-base", "dsum-t5-full", "dsum-t5-lora")
EVIL = "<script>alert(1)</script>"
SKIP = {"__type__": "update"}


@pytest.fixture(scope="module")
def services(tiny_root, tmp_path_factory) -> Services:
    return Services.start(
        Settings(root=tiny_root, data_dir=tmp_path_factory.mktemp("evaluate"), offline=True, family="dsum-t5")
    )


@pytest.fixture(scope="module")
def key(services) -> str:
    """A finished evaluation of twelve samples by the tiny trio, saved."""
    run = services.evaluations.start(Wanted(SAMPLES, TRIO, limit=12))
    wait(run)
    assert run.error == ""
    return run.key


@pytest.fixture(scope="module")
def opened(services, key):
    return services.evaluations.get(key)


@pytest.fixture(scope="module")
def evaluation(opened) -> Evaluation:
    return opened.evaluation


@pytest.fixture(scope="module")
def report(opened) -> Report:
    return opened.report


@pytest.fixture
def recorded(tmp_path) -> Path:
    """Outputs as a notebook might export them, with one unusable row."""
    file = tmp_path / "outputs.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(
            ["", "dialogue", "human_baseline_summaries", "original_model_summaries", "peft_model_summaries"]
        )
        for n in range(30):
            human = "" if n == 4 else f"Tom asks Ana for {n} apples."
            writer.writerow(
                [n, f"Tom: {n} apples?\nAna: Yes.", human, f"{n} apples.", f"=Tom asks Ana for {EVIL} apples."]
            )
    return file


def wait(run: BackgroundEvaluation) -> None:
    deadline = time.monotonic() + 120
    while not run.over and time.monotonic() < deadline:
        time.sleep(0.02)
    assert run.over


def with_output(evaluation: Evaluation, system: str, **changes) -> Evaluation:
    """The evaluation with the first example's output of `system` changed."""
    first, *rest = evaluation.examples
    outputs = {**first.outputs, system: replace(first.outputs[system], **changes)}
    return replace(evaluation, examples=(replace(first, outputs=outputs), *rest))


def many(evaluation: Evaluation, count: int) -> Evaluation:
    """The evaluation with its examples repeated under other ids up to this number."""
    repeated = tuple(
        replace(evaluation.examples[i % len(evaluation.examples)], id=f"ex-{i}", row=i + 1, group=f"g{i}")
        for i in range(count)
    )
    return replace(evaluation, examples=repeated, total=count)


# Runs


def test_finished_run_is_saved_with_every_system_on_every_example(services, key, evaluation):
    assert evaluation.finished and len(evaluation.examples) == 12
    assert all(set(example.outputs) == set(TRIO) for example in evaluation.examples)
    assert key in [one.name for one in services.evaluations.saved.list()]
    again = Services.start(services.settings).evaluations.get(key)
    assert again is not None and again.report == services.evaluations.get(key).report


def test_rerun_reads_outputs_from_the_cache(services, key, evaluation):
    run = services.evaluations.start(Wanted(SAMPLES, TRIO, limit=12))
    wait(run)
    same = services.evaluations.get(run.key).evaluation
    assert all(output.cached for example in same.examples for output in example.outputs.values())
    texts = [[e.outputs[name].text for name in TRIO] for e in evaluation.examples]
    assert [[e.outputs[name].text for name in TRIO] for e in same.examples] == texts


def test_second_run_is_refused_while_one_is_running(services, key):
    before, services.evaluations.run = services.evaluations.run, BackgroundEvaluation("another", "token")
    try:
        with pytest.raises(InputError, match="An evaluation is already running"):
            services.evaluations.start(Wanted(SAMPLES, TRIO, limit=2))
    finally:
        services.evaluations.run = before


def test_stopped_run_shows_its_progress(services, key):
    run = services.evaluations.start(Wanted(SAMPLES, TRIO, limit=29, seed=3))
    run.stop()
    wait(run)
    last = tab.tick(services, run.token, -1)
    assert "Stopped" in last[8] and last[5]["active"] is False and last[0]["visible"] is False


def test_failed_run_shows_its_error_and_keeps_finished_outputs(services, evaluation):
    run = BackgroundEvaluation("data", "token")

    def states():
        yield SimpleNamespace(evaluation=evaluation, done=3, total=36)
        raise RuntimeError("the disk is full")

    kept = []
    run.follow(states(), lambda one: kept.append(one) or "there")
    assert run.over and run.key == "there" and kept == [evaluation] and "the disk is full" in run.error


def test_public_page_limits_a_run_hides_it_from_others_and_does_not_save_it(tiny_root, tmp_path):
    settings = Settings(root=tiny_root, data_dir=tmp_path, offline=True, public=True, family="dsum-t5")
    public = Services.start(settings)
    run = public.evaluations.start(Wanted(SAMPLES, TRIO[:1], limit=5_000))
    assert public.evaluations.run_for(run.token) is run
    assert public.evaluations.run_for("another") is None and public.evaluations.run_for(None) is None
    wait(run)
    assert public.evaluations.saved.list() == [] and run.key.startswith("run:")
    assert not public.evaluations.get(run.key).saved
    assert "nothing" in saved.delete_open(public, run.key)[1]
    assert saved.chooser_update(public, run.key, run.key, run.title)["value"] == run.key


def test_invalid_evaluation_is_refused_before_it_starts(services):
    for wanted, said in (
        (Wanted("/etc/passwd", TRIO), "Unknown data"),
        (Wanted(SAMPLES, ()), "No system is chosen"),
        (Wanted(UPLOAD, TRIO), "No file is uploaded"),
        (Wanted(RECORDED, ("a",), Path("x.csv")), "reference"),
        (Wanted(SAMPLES, TRIO, limit=0), "limit"),
    ):
        with pytest.raises(InputError, match=said):
            services.evaluations.start(wanted)


def test_recorded_outputs_are_evaluated_like_models(services, recorded):
    references, systems = form.guess_outputs(
        ["index", "dialogue", "human_baseline_summaries", "original_model_summaries", "peft_model_summaries"]
    )
    assert references == ["human_baseline_summaries"]
    assert systems == ["original_model_summaries", "peft_model_summaries"]
    wanted = Wanted(RECORDED, tuple(systems), recorded, tuple(references), reading="rows")
    assert list(broken_rows(wanted)) == [5]
    run = services.evaluations.start(wanted)
    wait(run)
    assert run.rows == (5,) and run.key == ""
    assert str(recorded.parent) not in run.error and "outputs.csv" in run.error, "server paths must not be shown"
    run = services.evaluations.start(replace(wanted, skip_broken=True))
    wait(run)
    done = services.evaluations.get(run.key)
    assert len(done.evaluation.examples) == 29 and [row.row for row in done.evaluation.skipped] == [5]
    assert [warning.kind for warning in done.report.warnings if warning.kind == "skipped"] == ["skipped"]


def test_uploaded_dialogues_are_summarized_and_scored(services, tmp_path):
    file = tmp_path / "mine.jsonl"
    rows = [{"id": s.id, "dialogue": s.dialogue, "summary": s.references[0]} for s in services.samples[:3]]
    file.write_text("\n".join(map(json.dumps, [*rows, {"id": "x", "dialogue": ""}])), encoding="utf-8")
    wanted = Wanted(UPLOAD, TRIO[:1], file)
    assert list(broken_rows(wanted)) == [4]
    run = services.evaluations.start(replace(wanted, skip_broken=True))
    wait(run)
    assert services.evaluations.get(run.key).evaluation.data == "mine.jsonl"


def test_missing_dialogues_are_filled_in_if_the_dataset_is_available(tiny_root, tmp_path, evaluation):
    root = tmp_path / "root"
    root.mkdir()
    for name in ("models", "adapters", "samples"):
        (root / name).symlink_to(tiny_root / name)
    shipped = replace(evaluation, data="dialogsum:validation")
    write_evaluation(shipped, root / "evaluations" / "shipped", texts=False)
    settings = Settings(root=root, data_dir=tmp_path / "data", offline=True, family="dsum-t5")
    without = Services.start(settings)
    first = shipped.examples[0]
    event = SimpleNamespace(_data={"example": first.id})
    *_, view = examples.handle_click(without, "shipped", Selection(), SHARED, event)
    assert "DSUM_DIALOGSUM" in view and first.outputs[TRIO[0]].text[:10] in view.replace("&#x27;", "'")

    folder = tmp_path / "dialogsum"
    folder.mkdir()
    (folder / "validation.jsonl").write_bytes((root / "samples" / "dialogues.jsonl").read_bytes())
    having = Services.start(replace(settings, dialogsum_dir=folder))
    *_, view = examples.handle_click(having, "shipped", Selection(), SHARED, event)
    assert "DSUM_DIALOGSUM" not in view and 'class="turns"' in view and view.count("<li") == 3


# The tab


def test_tab_opens_on_the_newest_evaluation(services, key):
    answer = tab.open_tab(services, "", None)
    assert answer[7]["value"] in [one.name for one in services.evaluations.saved.list()]
    (shown,) = tab.open_evaluation(services, key, "rouge1")
    assert shown[0] == key and shown[1]["visible"]
    assert len(shown) == 3 + len(results.PARTS) + examples.FILLED


def test_the_chooser_and_the_facts_name_the_model_family(services, key):
    choices = {name: label for label, name in saved.chooser_update(services, key)["choices"]}
    assert choices[key].startswith("Samples · dsum-t5 · n=12 · 3 systems")
    (answer,) = tab.open_evaluation(services, key, "rouge1")
    assert "</b> · dsum-t5 · 12 examples" in answer[3 + results.PARTS.index("facts")]


def test_tab_without_evaluations_suggests_the_samples(tiny_root, tmp_path):
    empty = Services.start(Settings(root=tiny_root, data_dir=tmp_path, offline=True, family="dsum-t5"))
    answer = tab.open_tab(empty, "", None)
    assert "Start with the samples" in answer[8] and answer[9]["visible"]
    assert next(tab.open_evaluation(empty, None, "rouge1"))[1]["visible"] is False


def test_opening_a_deleted_evaluation_shows_an_error(services):
    assert "Unknown saved evaluation" in next(tab.open_evaluation(services, "gone", "rouge1"))[2]
    assert "no longer in memory" in next(tab.open_evaluation(services, "run:gone", "rouge1"))[2]


def test_dialogues_that_a_system_was_trained_on_count_only_if_included(services, evaluation):
    seen = evaluation.examples[0].id
    kept = services.evaluations.saved.save(replace(evaluation, trained_on={TRIO[1]: (seen,)}), "seen")
    included = tab.include(services, kept.name, True, "rouge1")
    for answers, n, ticked in ((tab.open_evaluation(services, kept.name, "rouge1"), 11, False), (included, 12, True)):
        key, _, _, *parts = next(answers)
        shown = dict(zip(results.PARTS, parts, strict=False))
        assert f"{n} example" in shown["facts"] and services.evaluations.get(key).report.n == n
        assert (shown["training"]["visible"], shown["training"]["value"]) == (True, ticked)
        assert ("1 example of 12 left out" in shown["warnings"]) is not ticked
    assert "Delete seen (" in saved.ask_delete(services, key)[1]
    saved.delete_open(services, key)
    assert "seen" not in [one.name for one in services.evaluations.saved.list()]


def test_opening_a_large_evaluation_shows_a_notice_first(services, key, monkeypatch):
    monkeypatch.setattr("dsum_demo.evaluation.background.LARGE", 10)
    services.evaluations.close(key)
    waiting, shown = tab.open_evaluation(services, key, "rouge1")
    assert "takes a few seconds" in waiting[2] and shown[0] == key


def test_reloaded_page_follows_the_running_evaluation(services, evaluation):
    run = BackgroundEvaluation("The samples", "token")
    run.progress = SimpleNamespace(
        evaluation=replace(evaluation, finished=False), done=18, total=36, seconds_left=95.0, note="LoRA"
    )
    before, services.evaluations.run = services.evaluations.run, run
    try:
        panel, bar, stop, so_far, partial, timer, drawn, _, _, _ = tab.open_tab(services, "", None)
        assert panel["visible"] and timer["active"] and drawn == 18 and stop["interactive"]
        assert "18 of 36 summaries" in bar and "about 95 s left" in bar and 'aria-valuenow="50"' in bar
        assert "So far" in so_far and "rouge_score" in so_far and partial["value"].data
        assert tab.tick(services, "", 18)[3] == SKIP, "unchanged results are not redrawn"
        assert tab.ask_to_stop(services, "")["interactive"] is False and run.stopping
        run.over, run.key = True, "there"
        assert "Stopped after 18 of 36" in tab.tick(services, "", 18)[8]
    finally:
        services.evaluations.run = before


def test_invalid_form_shows_an_error_and_starts_nothing(services):
    before = services.evaluations.run
    answer = tab.start(services, SAMPLES, [], None, [], [], 5, 0, "mean", "dialogues", False)
    assert "No system is chosen" in answer[1] and services.evaluations.run is before
    assert all(value == SKIP for value in (answer[0], *answer[2:]))
    assert (
        "number of dialogues"
        in tab.start(services, SAMPLES, list(TRIO), None, [], [], -1, 0, "mean", "dialogues", False)[1]
    )


# The form


def test_the_families_are_offered_with_their_states(services):
    labels = {name: label for label, name in form.offer_families(services)["choices"]}
    assert labels["dsum-t5"].endswith(" · included") and labels["flan-t5-base"].endswith(" · needs internet")


def test_recorded_outputs_default_to_all_rows_scored_individually(services):
    shown = form.choose_source(services, RECORDED)
    file, _, family, systems, columns, limit, reading, *_ = shown
    assert file["visible"] and columns["visible"] and not family["visible"] and not systems["visible"]
    assert limit["value"] == form.ALL and reading == "rows"
    assert form.choose_source(services, SAMPLES)[5]["value"] == form.DEFAULT_LIMIT


def test_unusable_rows_are_listed_and_skipped_only_if_checked(recorded):
    values = [RECORDED, [], str(recorded), [], [], 0, 0, "mean", "rows", False]
    references, outputs, *_, listed, box, problem = form.read_file(*values)
    values[3:5] = references["value"], outputs["value"]
    assert form.list_broken(*values)[0] == listed
    assert "1 row cannot be used" in listed and "value='5'" in listed.replace('"', "'") and problem == ""
    assert box["visible"] and box["value"] is False
    assert form.wanted(*values).skip_broken is False and form.wanted(*values).limit is None
    values[3] = ["nothing"]
    assert (
        "no column nothing" in form.list_broken(*values)[2] and str(recorded.parent) not in form.list_broken(*values)[2]
    )


def test_a_file_without_usable_rows_offers_no_rows_to_skip(tmp_path):
    file = tmp_path / "wrong.csv"
    file.write_text("text,summary\nA: hi,\n", encoding="utf-8")
    *_, listed, box, _ = form.read_file(UPLOAD, list(TRIO), str(file), [], [], 0, 0, "mean", "dialogues", False)
    assert box["visible"] is False and "no summary" in listed and "skip" not in listed.lower()


def test_a_windows_1252_upload_is_read_with_a_note(tmp_path):
    file = tmp_path / "old.csv"
    file.write_bytes("dialogue,summary\nZoë: hi,Zoë greets.\n".encode("cp1252"))
    *_, listed, _, problem = form.read_file(UPLOAD, list(TRIO), str(file), [], [], 0, 0, "mean", "dialogues", False)
    assert listed == "" and "old.csv is not UTF-8" in problem and "read as Windows-1252" in problem
    assert str(tmp_path) not in problem


def test_wrong_columns_are_answered_with_those_found_and_those_expected(tmp_path):
    file = tmp_path / "wrong.csv"
    file.write_text("talk,gist\nA: hi,A greets.\n", encoding="utf-8")
    *_, listed, box, problem = form.read_file(UPLOAD, list(TRIO), str(file), [], [], 0, 0, "mean", "dialogues", False)
    assert box["visible"] is False and listed == "" and str(tmp_path) not in problem
    assert "wrong.csv has no column dialogue and no column summary; its columns are: talk, gist." in problem
    assert "dialogue and summary (or summary1" in problem
    *_, listed, box, problem = form.read_file(RECORDED, [], str(file), [], [], 0, 0, "mean", "rows", False)
    assert box["visible"] is False and "The columns are: talk, gist." in problem and "references" in problem


def test_columns_with_other_names_are_chosen_on_the_page(services, tmp_path):
    file = tmp_path / "talks.csv"
    file.write_text("talk,gist,tldr,no\nA: hi\\nB: yo,A greets.,Hi.,7\nC: bye,C leaves.,Bye.,7\n", encoding="utf-8")
    values = [UPLOAD, list(TRIO[:1]), str(file), [], [], 0, 0, "mean", "dialogues", False]
    _, _, dialogue, summary, number, *_, problem = form.read_file(*values)
    assert [part["visible"] for part in (dialogue, summary, number)] == [True] * 3
    assert dialogue["choices"] == ["talk", "gist", "tldr", "no"] and dialogue["value"] is None
    assert (summary["value"], number["value"]) == ([], None) and "has no column dialogue" in problem
    values += ["talk", ["gist", "tldr"], "no"]
    listed, box, problem = form.list_broken(*values)
    assert (listed, box["visible"]) == ("", False) and "Ids repeat in rows 1, 2" in problem
    run = services.evaluations.start(form.wanted(*values))
    wait(run)
    examples = services.evaluations.get(run.key).evaluation.examples
    assert [(e.id, e.reference_count) for e in examples] == [("7 (row 1)", 2), ("7 (row 2)", 2)]


def test_guessed_columns_are_selected_and_described(tmp_path):
    file = tmp_path / "talks.csv"
    file.write_text("text,chat,Highlights\nA: hi,B: yo,A greets.\n", encoding="utf-8")
    values = [UPLOAD, list(TRIO), str(file), [], [], 0, 0, "mean", "dialogues", False]
    _, _, dialogue, summary, number, *_, problem = form.read_file(*values)
    assert (dialogue["value"], summary["value"], number["value"]) == ("text", ["Highlights"], None)
    assert "“text” is read as the dialogue (“chat” would fit too), “Highlights” is read as the summary" in problem
    assert form.list_broken(*values, "chat", ["Highlights"], None)[2] == ""


def test_recorded_outputs_may_have_any_dialogue_and_id_column(recorded):
    values = [RECORDED, [], str(recorded), ["human_baseline_summaries"], ["peft_model_summaries"], 0, 0, "mean", "rows",
              True]  # fmt: skip
    _, _, dialogue, summary, number, *_ = form.read_file(*values)
    assert (dialogue["value"], summary["visible"], number["value"]) == ("dialogue", False, None)
    wanted = form.wanted(*values, "dialogue", ["ignored"], "index")
    assert wanted.columns == {"dialogue": "dialogue", "id": "index"} and list(broken_rows(wanted)) == [5]


def test_unreadable_file_is_refused_without_its_server_path(tmp_path):
    file = tmp_path / "notes.csv"
    file.write_bytes(b"\xff\xfe\x00")
    *_, problem = form.read_file(RECORDED, [], str(file), [], [], 0, 0, "mean", "rows", False)
    assert "notes.csv is neither UTF-8" in problem and str(tmp_path) not in problem


@pytest.mark.parametrize(
    ("names", "references", "systems"),
    [
        (
            ["id", "dialogue", "summary1", "summary2", "summary3", "mine"],
            ["summary1", "summary2", "summary3"],
            ["mine"],
        ),
        (["reference", "lora", "full"], ["reference"], ["lora", "full"]),
        (["a", "b"], [], ["a", "b"]),
    ],
)
def test_columns_are_detected_by_name(names, references, systems):
    assert form.guess_outputs(names) == (references, systems)


# Charts


def test_bars_show_means_with_intervals_as_error_bars(evaluation, report):
    figure = charts.means_chart(evaluation, report).figure
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert [bar.name for bar in bars] == list(system_titles(evaluation.systems).values())
    for bar, system in zip(bars, report.systems, strict=True):
        means = [system.f1[rouge] for rouge in ROUGE_TYPES]
        assert list(bar.y) == [100 * mean.mean for mean in means]
        assert list(bar.error_y.array) == pytest.approx([100 * (mean.high - mean.mean) for mean in means])
        assert list(bar.error_y.arrayminus) == pytest.approx([100 * (mean.mean - mean.low) for mean in means])
    assert len({bar.marker.pattern.shape for bar in bars}) == 3, "bars differ without color"
    assert [trace.name.split(",")[0] for trace in figure.data[3:]] == ["LEAD-3", "Human"]


def test_published_scores_are_labeled_marks(evaluation, report):
    scores = {"base": (23.3, 7.6, 20.1), "adapter": (40.8, 16.3, 32.5)}
    published = Published("FLAN-T5 base", "a <paper>", scores)
    evaluation = replace(evaluation, published=published)
    report = build_report(evaluation, resamples=100)
    marks = charts.means_chart(evaluation, report).figure.data[-1]
    assert marks.name == "Published: FLAN-T5 base" and list(marks.y) == [*scores["base"], *scores["adapter"]]
    bars = charts.means_chart(evaluation, report).figure.data
    assert list(marks.x) == [*bars[0].x[:3], *bars[2].x[:3]], "each mark is above the bar of its kind"
    shown = tables.means_table(evaluation, report)
    assert shown.count("Published: FLAN-T5 base") == 2 and "a &lt;paper&gt;" in shown


def test_paired_differences_are_sorted_and_colored_by_the_better_system(evaluation):
    chart = charts.differences_chart(evaluation, TRIO[1], TRIO[0], "rouge1")
    below, above = (trace for trace in chart.figure.data if trace.type == "bar")
    drawn = [*below.y, *above.y]
    assert drawn == sorted(drawn) == [100 * d for _, d in differences(evaluation.examples, TRIO[1], TRIO[0], "rouge1")]
    assert all(y < 0 for y in below.y) and all(y >= 0 for y in above.y)
    assert below.marker.color == LOOKS[KINDS[0]].color and above.marker.color == LOOKS[KINDS[1]].color
    assert any(shape.y0 == 0 == shape.y1 for shape in chart.figure.layout.shapes), "the zero line"
    ahead = sum(d > 0 for _, d in differences(evaluation.examples, TRIO[1], TRIO[0], "rouge1"))
    assert f"on {ahead} of 12 dialogues" in chart.title


def test_large_evaluation_has_figures_of_bounded_size(evaluation):
    large = many(evaluation, 5_000)
    pairs = charts.differences_chart(large, TRIO[1], TRIO[0], "rouge1")
    assert sum(len(trace.x) for trace in pairs.figure.data) <= charts.MOST_RANKS
    assert "of 5,000 dialogues" in pairs.title and "shows 1,000 of them" in pairs.title
    length = charts.length_chart(large, "rougeL")
    assert sum(len(trace.x) for trace in length.figure.data) <= 3 * (charts.MOST_POINTS + 10)
    assert "1,500 of 5,000 dialogues" in length.title


def test_charts_by_length_explain_missing_dialogues(evaluation):
    bare = replace(
        evaluation, examples=tuple(replace(e, words=None, speakers=None, topics=()) for e in evaluation.examples)
    )
    assert charts.length_chart(bare, "rouge1").figure is None
    assert "no dialogues" in charts.length_chart(bare, "rouge1").title
    slices = build_report(bare, resamples=100)
    assert all(charts.slices_chart(bare, slices, by, "rouge1").figure is None for by in ("topic", "length", "speakers"))


def test_slices_chart_shows_every_slice_with_its_size(evaluation):
    large = many(evaluation, 60)
    report = build_report(large, resamples=200)
    chart = charts.slices_chart(large, report, "length", "rouge2")
    there = [part for part in report.slices if part.by == "length"]
    assert list(chart.figure.layout.yaxis.ticktext) == [f"{part.name} (n={part.n})" for part in there]
    for trace, name in zip(chart.figure.data, TRIO, strict=True):
        assert list(trace.x) == [100 * part.f1[name]["rouge2"].mean for part in there]
    assert len({trace.marker.symbol for trace in chart.figure.data}) == 3
    assert "scores highest on" in chart.title


def test_system_names_are_escaped_in_figures_and_tables(evaluation, report):
    evil = replace(evaluation, systems=(*evaluation.systems[:2], replace(evaluation.systems[2], title=EVIL)))
    assert EVIL not in charts.means_chart(evil, report).figure.to_json()
    for made in (tables.means_table, tables.parts_table, tables.differences_table, tables.checks_table):
        assert EVIL not in made(evil, report)


def test_second_system_of_a_kind_gets_its_own_color_and_pattern(evaluation):
    twin = replace(evaluation.systems[2], name="another")
    other = replace(evaluation.systems[0], name="column", kind="recorded", title="")
    styles = system_looks([*evaluation.systems, twin, other])
    assert len({look.color for look in styles.values()}) == len({look.pattern for look in styles.values()}) == 5
    assert [styles[name] for name in TRIO] == list(LOOKS.values())
    names = system_titles([*evaluation.systems, twin, other])
    assert names["another"] == "another" and names["column"] == "column" and names[TRIO[0]] == "Original"


# Tables


def test_an_open_evaluation_shows_the_signature_once(services, key, opened):
    (shown,) = tab.open_evaluation(services, key, "rouge1")
    texts = [str(update) for update in shown]
    assert sum(text.count(opened.report.signature.text) for text in texts) == 1


def test_slices_open_on_length_unless_only_topics_are_large_enough_for_intervals(evaluation):
    small = build_report(evaluation, resamples=100)
    assert results.first_slices(small) == "length"
    topical = many(evaluation, 60)
    halves = tuple(replace(e, topics=("work" if n % 2 else "food",)) for n, e in enumerate(topical.examples))
    by_topic = build_report(replace(topical, examples=halves), resamples=100)
    assert results.first_slices(by_topic) == "length"
    topics = tuple(part for part in by_topic.slices if part.by == "topic")
    assert results.first_slices(replace(by_topic, slices=topics)) == "topic"
    thirds = replace(topical, examples=tuple(replace(e, topics=()) for e in topical.examples))
    assert results.first_slices(build_report(thirds, resamples=100)) == "length"


def test_systems_with_the_same_warning_share_one_notice(evaluation):
    read_whole = replace(
        evaluation,
        examples=tuple(
            replace(e, outputs={name: replace(output, turns_left_out=0) for name, output in e.outputs.items()})
            for e in evaluation.examples
        ),
    )
    cut = read_whole
    for number, expected in enumerate(("Original", "Original, Full fine-tune", "Original, Full fine-tune, LoRA")):
        cut = with_output(cut, TRIO[number], turns_left_out=3)
        shown = tables.warnings(build_report(cut, resamples=100))
        assert shown.count("last turns were truncated") == 1 and f">{expected}: 1 of 12" in shown


def test_a_list_is_labeled_with_its_share_and_what_it_counts(report):
    labels = {ready.name: examples.list_label(ready) for ready in report.lists}
    swapped = next(ready for ready in report.lists if ready.name == "swapped")
    assert "of 36 summaries" in labels["invented"] and "of 12 examples" in labels["gain"]
    assert (
        examples.list_label(replace(swapped, total=353, of=1308)) == "Swapped speakers (353 of 1,308 summaries, 27 %)"
    )
    assert "no summaries to check" in examples.list_label(replace(swapped, total=0, of=0))


def test_a_checks_mean_states_the_summaries_that_it_is_over(evaluation):
    assert "of 12 summaries</small>" not in tables.checks_table(evaluation, build_report(evaluation, resamples=100))
    first, *rest = evaluation.examples
    without = replace(first.outputs[TRIO[0]], checks={**first.outputs[TRIO[0]].checks, "copied": None, "swapped": 1.0})
    some = replace(evaluation, examples=(replace(first, outputs={**first.outputs, TRIO[0]: without}), *rest))
    report = build_report(some, resamples=100)
    shown = tables.checks_table(some, report)
    assert "<small>of 11 summaries</small>" in shown
    swapped = next(ready for ready in report.lists if ready.name == "swapped")
    assert "<small>1 of " in shown and swapped.of == sum(system.checked["swapped"] for system in report.systems)


def test_headline_contains_the_recovery_sentence(report):
    assert tables.headline(report).count("LoRA") >= 1
    assert replace(report.recovery).sentence in tables.headline(report).replace("&#x27;", "'")
    assert tables.headline(replace(report, recovery=None)) == ""


def test_warnings_are_shown_as_notices(evaluation):
    cut = with_output(evaluation, TRIO[0], hit_length_limit=True)
    assert "truncated at 80 tokens" in tables.warnings(build_report(cut, resamples=100))


def test_each_check_is_explained(evaluation, report):
    shown = tables.checks_table(evaluation, report).replace("&#x27;", "'")
    for check in CHECKS:
        assert (check.how in shown and check.misses in shown) == (check.needs != "judge")
    assert "<details" in shown


@pytest.mark.parametrize(
    ("mean", "shown"),
    [
        (Interval(0.4083, 0.391, 0.424, 500), "40.8 [39.1, 42.4]"),
        (Interval(0.4083, None, None, 5), "40.8"),
        (None, "–"),
    ],
)
def test_interval_is_formatted_after_its_mean(mean, shown):
    assert html.interval(mean) == shown


def test_difference_is_bold_if_its_interval_excludes_zero():
    assert html.change(Interval(0.031, 0.01, 0.052, 50)) == "<b>+3.1 [+1.0, +5.2]</b>"
    assert html.change(Interval(-0.031, -0.07, 0.01, 50)) == "-3.1 [-7.0, +1.0]"


# Examples


def test_heading_sorts_all_examples_not_only_the_page(evaluation, report):
    large = many(evaluation, 3 * PAGE_ROWS)
    rows = select(large, report, Selection(sort=f"f1:{TRIO[1]}", descending=True))
    values = [row.example.outputs[TRIO[1]].scores["rouge1"].fmeasure for row in rows]
    assert len(rows) == 3 * PAGE_ROWS and values == sorted(values, reverse=True)
    shown = table(large, report, Selection(page=1))
    assert shown.count("<tr tabindex") == PAGE_ROWS and "101 to 200 of 300" in shown
    assert table(large, report, Selection(page=99)).count("<tr tabindex") == PAGE_ROWS


def test_missing_values_sort_last_in_both_directions(evaluation, report):
    first, *rest = evaluation.examples
    gappy = replace(evaluation, examples=(replace(first, words=None), *rest))
    for descending in (False, True):
        assert select(gappy, report, Selection(sort="words", descending=descending))[-1].example.id == first.id


def test_search_matches_all_words_in_any_text(evaluation, report):
    first = with_output(evaluation, TRIO[2], text="Zebra crossing")
    assert [row.example.id for row in select(first, report, Selection(query="zebra CROSSING"))] == [
        first.examples[0].id
    ]
    assert select(first, report, Selection(query="zebra nowhere")) == []
    assert "No matching examples" in table(first, report, Selection(query="zebra nowhere"))
    by_id = select(evaluation, report, Selection(query=evaluation.examples[3].id))
    assert evaluation.examples[3].id in [row.example.id for row in by_id]


def test_highlights_keep_their_order_and_show_the_reason(evaluation, report):
    for ready in report.lists:
        rows = select(evaluation, report, Selection(ready=ready.name, sort="list"))
        assert [row.example.id for row in rows] == [entry.id for entry in ready.entries]
    gain = next(ready for ready in report.lists if ready.name == "gain")
    if gain.entries:
        assert gain.entries[0].note in table(evaluation, report, Selection(ready="gain", sort="list"))
    nothing = replace(report, lists=(replace(gain, entries=()),))
    assert "No examples in" in table(evaluation, nothing, Selection(ready="gain"))


def test_slices_and_warnings_filter_the_examples(evaluation):
    cut = with_output(many(evaluation, 30), TRIO[0], hit_length_limit=True)
    report = build_report(cut, resamples=100)
    offered = {value: name for name, value in parts(cut, report)}
    for part in report.slices:
        rows = select(cut, report, Selection(part=f"{part.by}:{part.name}"))
        assert sorted(row.example.id for row in rows) == sorted(part.ids)
    warned = f"warning:length_limit:{TRIO[0]}"
    assert "Truncated output" in offered[warned] and cut.examples[0].id in ids_of(report, warned)


def test_another_slice_begins_on_its_first_page(services, key):
    shown = Selection(part="length:short", page=2)
    same, *_ = examples.filter_by(services, key, shown, SHARED, "length:short")
    other, *_ = examples.filter_by(services, key, shown, SHARED, None)
    assert (same.page, other.page) == (2, 0)


def test_page_of_twenty_thousand_rows_stays_small(evaluation, report):
    large = many(evaluation, 20_000)
    selection = Selection(query="a", sort=f"gain:{TRIO[2]}", descending=True)
    shown = table(large, report, selection)
    assert "of 20,000" in shown and len(shown) < 200_000


def test_every_column_can_be_sorted_by(evaluation, report):
    for column in columns(evaluation, Selection()):
        assert len(select(evaluation, report, Selection(sort=column.key))) == 12
    assert len(select(evaluation, report, Selection(sort="no such column"))) == 12


def test_invalid_click_data_is_ignored(services, key):
    for data in ({"sort": "x' OR 1"}, {"page": -5}, {"page": 10**9}, {"example": EVIL}, {"sort": 3}, None, "text"):
        _, shown, one, example = examples.handle_click(services, key, Selection(), SHARED, SimpleNamespace(_data=data))
        assert EVIL not in shown and one["visible"] is False and example == ""
        assert shown.count("<tr tabindex") == 12


def test_next_and_previous_follow_the_order_of_the_table(services, key, opened):
    rows = select(opened.evaluation, opened.report, Selection(sort="words"))
    first, second = rows[0].example.id, rows[1].example.id
    event = SimpleNamespace(_data={"example": first})
    selection, shown, one, view = examples.handle_click(services, key, Selection(sort="words"), SHARED, event)
    assert one["visible"] and "1 of 12" in view and shown.count('aria-selected="true"') == 1
    selection, _, _, view = examples.step_forward(services, key, selection, SHARED)
    assert selection.example == second and "2 of 12" in view
    assert examples.step_back(services, key, selection, SHARED)[0].example == first
    assert neighbour(rows, first, -1) == first
    assert examples.close_example(services, key, selection, SHARED)[2]["visible"] is False


def test_an_example_shows_texts_scores_by_reference_and_checks(evaluation):
    example = evaluation.examples[0]
    view = example_view(evaluation, example, SHARED, "1 of 12", "")
    assert example.dialogue.split(":")[1].strip()[:20] in view.replace("&#x27;", "'")
    assert view.count("<li") == len(example.references) == 3
    for name in TRIO:
        for scores in (example.outputs[name].scores, *example.outputs[name].by_reference):
            assert f"<td>{100 * scores['rouge1'].fmeasure:.1f}</td>" in view
    assert (view.count("Share copied") == 3 and "+" in view) or "-" in view


def test_texts_are_escaped_in_examples_and_report(evaluation):
    evil = with_output(evaluation, TRIO[0], text=EVIL, ungrounded=(EVIL,))
    first = replace(evil.examples[0], dialogue=f"{EVIL}: {EVIL}", references=(EVIL,), topics=(EVIL,), id=EVIL)
    evil = replace(evil, examples=(first, *evil.examples[1:]))
    report = build_report(evil, resamples=100)
    assert EVIL not in example_view(evil, first, SHARED, "", "") and EVIL not in table(evil, report, Selection())
    page = html_report(replace(evil, data=EVIL), replace(report, data=EVIL))
    assert EVIL not in page


def test_empty_and_missing_outputs_are_labeled(evaluation):
    first = evaluation.examples[0]
    outputs = {TRIO[0]: replace(first.outputs[TRIO[0]], text="")}
    view = example_view(evaluation, replace(first, outputs=outputs), SHARED, "", "")
    assert "No output" in view and view.count("Not generated yet") == 2


# Files and what is saved


def test_html_report_is_self_contained(evaluation, report):
    page = html_report(evaluation, report)
    assert page.count(report.signature.text) == 1 and report.recovery.sentence.split("'")[0] in page
    assert page.count("Plotly.newPlot(") >= 1 and "plotly.js v3" in page
    own = page.split("</script></head>")[1]
    assert "src=" not in own and "@import" not in own and "<link" not in own
    for example in evaluation.examples:
        assert example.id in own


def test_html_report_states_which_examples_it_contains(evaluation, report, monkeypatch):
    monkeypatch.setattr("dsum_demo.ui.evaluate.html_report.MOST_EXAMPLES", 5)
    page = html_report(evaluation, report)
    assert page.count("<tbody><tr tabindex") == 5 and "first 5 of 12" in page


def test_every_export_can_be_downloaded(services, key, evaluation):
    said = saved.write_files(services, key)
    assert "Writing" in next(said)[0]
    problem, *buttons = next(said)
    assert problem == "" and all(button["interactive"] for button in buttons)
    table_file, lines, report_file, markdown, page = (Path(button["value"]) for button in buttons)
    assert len(list(csv.DictReader(table_file.open(encoding="utf-8")))) == 36
    assert len(lines.read_text(encoding="utf-8").splitlines()) == 12
    assert json.loads(report_file.read_text(encoding="utf-8"))["report"]["n"] == 12
    assert "rouge_score" in markdown.read_text(encoding="utf-8")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert list(said) == [] and not page.exists(), "temporary files are deleted"
    assert "No evaluation is open" in next(saved.write_files(services, ""))[0]


def test_saved_evaluations_are_listed_and_compared(services, key):
    run = services.evaluations.start(Wanted(SAMPLES, TRIO, limit=12, policy="best"))
    wait(run)
    listed, first, _ = saved.fill_saved(services)
    assert key in listed and run.key in listed and key in [value for _, value in first["choices"]]
    assert "policies" in saved.compare_two(services, key, run.key)
    same = services.evaluations.saved.save(services.evaluations.get(key).evaluation, "again")
    compared = saved.compare_two(services, key, same.name)
    assert compared.count("+0.0 [+0.0, +0.0]") == 12 and "rouge_score" in compared
    assert "Choose two" in saved.compare_two(services, key, None) and "the same" in saved.compare_two(
        services, key, key
    )


def test_delete_asks_first_and_refuses_shipped_evaluations(services, tiny_root, tmp_path, evaluation):
    made = services.evaluations.saved.save(evaluation, "mine")
    question, said, _ = saved.ask_delete(services, made.name)
    assert question["visible"] and "Delete mine" in said and "cannot be undone" in said
    assert made.folder.is_dir(), "asking deletes nothing"
    answer = saved.delete_open(services, made.name)
    assert "Deleted mine" in answer[1] and not made.folder.exists() and answer[-1]["value"] != "mine"
    assert "Unknown saved evaluation" in saved.delete_open(services, "mine")[1]

    root = tmp_path / "root"
    write_evaluation(evaluation, root / "evaluations" / "trio")
    having = SimpleNamespace(
        evaluations=EvaluationQueue(None, None, SavedEvaluations(tmp_path, root / "evaluations"), None, None),
        settings=Settings(),
    )
    question, _, said = saved.ask_delete(having, "trio")
    assert question["visible"] is False and "cannot be deleted" in said
    assert "cannot be deleted" in saved.delete_open(having, "trio")[1] and (root / "evaluations" / "trio").is_dir()


def test_unreadable_evaluation_is_listed_with_its_error(services):
    broken = services.settings.evaluations_dir / "broken"
    broken.mkdir(parents=True)
    (broken / "report.json").write_text("{", encoding="utf-8")
    try:
        listed, first, _ = saved.fill_saved(services)
        assert "broken/report.json cannot be read" in listed
        assert "broken" not in [value for _, value in first["choices"]]
    finally:
        (broken / "report.json").unlink()
        broken.rmdir()


def test_changing_the_score_redraws_differences_and_slices(services, key):
    pair = results.pair_choices(services.evaluations.get(key).evaluation, services.evaluations.get(key).report)[0][1]
    one = results.redraw(services, key, "rouge1", pair, "length")
    other = results.redraw(services, key, "rougeL", pair, "length")
    assert one[1]["value"] != other[1]["value"] and "ROUGE-L" in other[1]["value"].layout.yaxis.title.text
    assert all(value == SKIP for value in results.redraw(services, "", "rouge1", None, "topic"))
