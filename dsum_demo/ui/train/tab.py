"""The Train tab: connects the layout with the handlers of the form, the cost estimate, the runs and the history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MethodType
from typing import Any

import gradio as gr

from dsum_demo.errors import DsumError
from dsum_demo.ui.assets import call
from dsum_demo.ui.compare.tab import CompareTab, show_model
from dsum_demo.ui.events import clicked
from dsum_demo.ui.html import notice
from dsum_demo.ui.review.visitor import Visitor
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import CHOICE, QUIET, Update
from dsum_demo.ui.train import run_view
from dsum_demo.ui.train import start as training_start
from dsum_demo.ui.train.form import FIRST_PRESET, PLACE, UPLOAD, TrainingForm, preset_config
from dsum_demo.ui.train.history import Shown
from dsum_demo.ui.train.layout import build_form, build_history, build_view
from dsum_demo.ui.train.preferences import A_FILE, model_choices, review_choices, start_preferences
from dsum_demo.ui.train.push import connect_push
from dsum_demo.ui.train.upload import describe_own_file, take_upload

TICK_SECONDS = 1.0
READERS_AT_ONCE = 8  # concurrent handlers that only read files
STARTED = ("#train-problem .notice", "#run-card")  # shown after a start: the error, else the run
PROBES_AT_ONCE = 1  # concurrent probes would distort each other


@dataclass(frozen=True)
class BrowserMemory:
    """The state in a visitor's browser: the form, the secret that identifies the owner of a run or a review, and the
    names that were given as a reviewer, by the review's token.

    Create it outside of the tabs: gradio does not read browser state inside a tab that was never opened.
    """

    form: gr.BrowserState
    owner: gr.BrowserState
    names: gr.BrowserState

    @classmethod
    def build(cls) -> BrowserMemory:
        return cls(
            gr.BrowserState(None, storage_key="dsum-training", secret="dsum"),
            gr.BrowserState("", storage_key="dsum-owner", secret="dsum"),
            gr.BrowserState({}, storage_key="dsum-reviewer", secret="dsum"),
        )


def build_train_tab(
    page: gr.Blocks, services: Services, tabs: gr.Tabs, own: gr.Tab, compare: CompareTab, memory: BrowserMemory
) -> dict[str, Any]:
    """Build and connect the tab `own` of `tabs`. A run is opened in `compare`. Returns the components of the selected
    run by name.
    """
    first = preset_config(services, FIRST_PRESET, services.registry.training_family.base.name)
    with gr.Row():
        with gr.Column(scale=5, min_width=310):
            form, left = build_form(services, first)
        with gr.Column(scale=8, min_width=310):
            right = build_view(services.settings.public)
    right |= build_history()
    right |= {"timer": gr.Timer(TICK_SECONDS, active=False), "drawn": gr.State({}), "shown": gr.State(Shown())}
    right["about"] = gr.State(None)
    _connect_form(page, FormHandlers(services, form.names), form, left, memory)
    _connect_start(StartHandlers(services, form.names), form, left, right, memory)
    _connect_view(page, services, tabs, own, right, memory.owner)
    connect_push(services, right["pushing"], right["watching"], memory.owner)
    right["open"].click(
        MethodType(open_in_compare, services),
        [right["watching"], memory.owner],
        [right["notice"], tabs, *compare.shown],
        **QUIET,
    )
    return right


@dataclass(frozen=True)
class _Handlers:
    """Handlers whose values arrive in the order of `names`."""

    services: Services
    names: tuple[str, ...]

    def named(self, values: tuple[Any, ...]) -> dict[str, Any]:
        return dict(zip(self.names, values, strict=True))


class FormHandlers(_Handlers):
    """Handlers that fill the form. Updates are in the order of `names`, then `extra`."""

    extra = ("noted", "explained", "kept", "described")

    def answer(self, updates: Mapping[str, Update]) -> list[Update]:
        order = (*self.names, *self.extra)
        if unknown := updates.keys() - set(order):
            raise TypeError(f"Unknown components: {', '.join(sorted(unknown))}.")
        return [updates.get(name, gr.skip()) for name in order]

    def preset(self, kept: Mapping[str, Any], *values: Any) -> list[Update]:
        return self.answer(training_start.choose_preset(self.services, kept, self.named(values)))

    def method(self, kept: Mapping[str, Any], *values: Any) -> list[Update]:
        return self.answer(training_start.choose_method(self.services, kept, self.named(values)))

    def base(self, kept: Mapping[str, Any], *values: Any) -> list[Update]:
        return self.answer(training_start.choose_base(self.services, kept, self.named(values)))

    def restore(self, saved: Any) -> list[Update]:
        return self.answer(training_start.restore(self.services, saved, self.names))


class StartHandlers(_Handlers):
    """Handlers that use the form. Updates are in the order of `extra`, then `run_view.PARTS`."""

    extra = ("problem", "cost", "command", "measured")

    def cost(self, owner: str, *values: Any) -> Iterator[list[Update]]:
        for update in training_start.ask_cost(self.services, self.named(values), owner):
            yield [update.get(name, gr.skip()) for name in self.extra]

    def start(
        self, owner: str, measured: Any, shown: Shown, drawn: Mapping[str, Any], *values: Any
    ) -> Iterator[list[Update]]:
        for update in training_start.start_run(self.services, owner, measured, self.named(values)):
            yield self._answer(update, owner, shown, drawn)

    def sweep(self, owner: str, steps: float, shown: Shown, drawn: Mapping[str, Any], *values: Any) -> list[Update]:
        return self._answer(
            training_start.start_sweep(self.services, owner, steps, self.named(values)), owner, shown, drawn
        )

    def preferences(
        self,
        owner: str,
        names: Any,
        model: str | None,
        review: str | None,
        file: str | None,
        shown: Shown,
        drawn: Mapping[str, Any],
    ) -> list[Update]:
        visitor = Visitor.read(owner, names)
        update = start_preferences(self.services, owner, visitor, model, review, file)
        return self._answer(update, owner, shown, drawn)

    def preference_choices(self, owner: str, names: Any) -> tuple[Update, Update]:
        reviews = review_choices(self.services, Visitor.read(owner, names))
        return gr.update(choices=model_choices(self.services)), gr.update(choices=[A_FILE, *reviews])

    def use_rate(
        self, watching: str | None, owner: str, base: str, method: str, event: gr.EventData
    ) -> tuple[Update, Update]:
        return run_view.rate_to_use(self.services, watching, owner, base, method, clicked(event))

    def _answer(self, update: dict[str, Update], owner: str, shown: Shown, drawn: Mapping[str, Any]) -> list[Update]:
        run = update.pop("watching", None)
        view = run_view.show(self.services, run, owner, shown, drawn) if run else run_view.parts()
        return [*(update.get(name, gr.skip()) for name in self.extra), *view]


def begin_cost() -> tuple[Update, ...]:
    """(start, price, cancel, cost, the notice above the run) before the measurement starts."""
    busy = gr.update(interactive=False)
    return busy, busy, gr.update(visible=True), notice("Waiting for the measurement to start…"), ""


def begin_start() -> tuple[Update, ...]:
    """The same before a run starts, which is measured first."""
    *buttons, cost, _ = begin_cost()
    return *buttons, cost, notice("Preparing the new run: memory and time are measured first. The run then opens here.")


def end() -> tuple[Update, ...]:
    return gr.update(interactive=True), gr.update(interactive=True), gr.update(visible=False), gr.skip(), ""


def cancel() -> tuple[Update, ...]:
    *buttons, _, _ = end()
    return *buttons, "", ""


def open_in_compare(services: Services, name: str | None, owner: str = "") -> tuple[Update, ...]:
    """(error, selected tab, updates of Compare): the run replaces the system of its kind."""
    try:
        spec = run_view.model_of(services, name or "", owner)
        return "", gr.update(selected="compare"), *show_model(services, spec, owner)
    except DsumError as error:
        return notice(services.told(error), "error"), gr.skip(), *(gr.skip() for _ in range(CompareTab.PARTS))


def follow_link(services: Services, run: str, owner: str, shown: Shown, drawn: Mapping[str, Any]) -> tuple[Update, ...]:
    """(tabs, the run's view): open the run of the page's address, if the visitor may see it."""
    if not run:
        return gr.skip(), *run_view.parts()
    try:
        found = services.jobs.get(run, owner)
    except DsumError as error:
        said = notice(f"The link cannot be opened: {services.told(error)}", "error")
        return gr.update(selected="train"), *run_view.parts(notice=said)
    return gr.update(selected="train"), *run_view.show(services, found.name, owner, shown, drawn)


def _connect_form(
    page: gr.Blocks, handlers: FormHandlers, form: TrainingForm, left: dict[str, Any], memory: BrowserMemory
) -> None:
    services, saved, owner = handlers.services, memory.form, memory.owner
    filled = [*form.components, *(left[name] for name in FormHandlers.extra)]
    form.preset.input(handlers.preset, [left["kept"], *form.components], filled, **CHOICE)
    form.method.input(handlers.method, [left["kept"], *form.components], filled, **CHOICE)
    form.base.input(handlers.base, [left["kept"], *form.components], filled, **CHOICE)
    file = [*form.columns.values(), left["preview"], left["described"]]
    named = [owner, left["described"], form.source, form.uploaded, form.place, form.base]
    named += [form.training["max_source_tokens"], *form.columns.values()]
    # In the browser: a late answer of the app to an earlier choice would hide what was chosen since.
    form.source.change(
        None, form.source, [left["uploading"], form.place], js=call("showSource", [UPLOAD, PLACE]), **QUIET
    )
    # One event, whose last call wins: a call for an earlier choice must not overwrite the preview of an upload.
    changes = [part.change for part in (form.source, form.place, form.uploaded)]
    changes += [part.input for part in (form.base, *form.columns.values())]
    gr.on(changes, MethodType(describe_own_file, services), named, file, **CHOICE)
    left["file"].upload(MethodType(take_upload, services), [left["file"], *named], [form.uploaded, *file], **QUIET)
    kept: dict[str, Any] = {"fn": None, "inputs": [saved, *form.components], "outputs": saved, **QUIET}
    page.load(handlers.restore, saved, filled, **QUIET).then(**kept, js=call("saveFormFromNowOn", form.names))
    gr.on([part.change for part in form.components], **kept, js=call("saveForm", form.names))


def _connect_start(
    handlers: StartHandlers, form: TrainingForm, left: dict[str, Any], right: dict[str, Any], memory: BrowserMemory
) -> None:
    owner = memory.owner
    waiting = [left["start"], left["price"], left["cancel"], left["cost"], right["notice"]]
    extra = [left[name] for name in StartHandlers.extra]
    view = [right[name] for name in run_view.PARTS]
    probing: dict[str, Any] = {"concurrency_limit": PROBES_AT_ONCE, "concurrency_id": "probe", **QUIET}
    asked = left["price"].click(begin_cost, None, waiting, queue=False, **QUIET)
    asked = asked.then(handlers.cost, [owner, *form.components], extra, **probing)
    started = left["start"].click(begin_start, None, waiting, queue=False, **QUIET)
    started = started.then(
        handlers.start,
        [owner, left["measured"], right["shown"], right["drawn"], *form.components],
        [*extra, *view],
        **probing,
    )
    swept = left["start_sweep"].click(
        handlers.sweep,
        [owner, left["sweep_steps"], right["shown"], right["drawn"], *form.components],
        [*extra, *view],
        **QUIET,
    )
    swept.success(None, None, None, js=call("scrollTo", *STARTED), **QUIET)
    if "preferences" in left:
        asking = [owner, memory.names]
        left["preferences"].expand(handlers.preference_choices, asking, [left["start_from"], left["review"]], **QUIET)
        preferred = left["start_preferences"].click(
            handlers.preferences,
            [*asking, left["start_from"], left["review"], left["pairs"], right["shown"], right["drawn"]],
            [*extra, *view],
            **QUIET,
        )
        preferred.success(None, None, None, js=call("scrollTo", *STARTED), **QUIET)
    right["sweep_table"].click(
        handlers.use_rate,
        [right["watching"], owner, form.base, form.method],
        [form.training["learning_rate"], right["notice"]],
        **QUIET,
    )
    for event in (asked, started):
        event.success(end, None, waiting, queue=False, **QUIET)
        event.failure(end, None, waiting, queue=False, **QUIET)
    started.success(None, None, None, js=call("scrollTo", *STARTED), **QUIET)
    left["cancel"].click(cancel, None, waiting, cancels=[asked, started], queue=False, **QUIET)


def _connect_view(
    page: gr.Blocks, services: Services, tabs: gr.Tabs, own: gr.Tab, right: dict[str, Any], owner: gr.BrowserState
) -> None:
    view = [right[name] for name in run_view.PARTS]
    seen = [right["watching"], owner, right["shown"], right["drawn"]]
    linked = gr.Textbox(visible=False)
    reading: dict[str, Any] = {"concurrency_limit": READERS_AT_ONCE, **QUIET}
    # In the browser: after a round trip to the app, a click right after loading would have no secret yet.
    known = page.load(None, owner, owner, js=call("newOwner"), **QUIET)
    known.then(None, None, None, js=call("replayClicks"), **QUIET)
    known.then(MethodType(run_view.redraw_all, services), seen, view, **reading).then(
        MethodType(follow_link, services),
        [linked, *seen[1:]],
        [tabs, *view],
        js=call("linkedIds", ["run"]),
        **reading,
    )
    # Selecting the tab finds runs that others started since the page was loaded, which the timer then follows.
    gr.on([right["timer"].tick, own.select], MethodType(run_view.tick, services), seen, view, **reading)
    right["watching"].input(
        MethodType(run_view.show, services), seen, view, concurrency_limit=READERS_AT_ONCE, **CHOICE
    )
    for table in ("line", "history"):
        right[table].click(MethodType(run_view.click_table, services), seen, view, **reading)
    right["keep"].click(MethodType(run_view.keep, services), seen, view, **QUIET)
    right["resume"].click(MethodType(run_view.resume, services), seen, view, **QUIET)
    right["discard"].click(run_view.ask_discard, right["watching"], view, **QUIET)
    right["delete"].click(run_view.ask_delete, right["watching"], view, **QUIET)
    right["yes"].click(MethodType(run_view.answer_yes, services), [right["about"], *seen[1:]], view, **QUIET)
    right["no"].click(run_view.answer_no, None, view, **QUIET)
    right["zip"].click(MethodType(run_view.make_zip, services), seen[:2], right["zip_file"], **QUIET).success(
        None, None, None, js=call("download", "#zip-file"), **QUIET
    )
