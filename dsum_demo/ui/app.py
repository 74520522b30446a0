"""The Gradio app: builds the page and serves it."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from dsum_demo.comparison import compare
from dsum_demo.errors import DsumError
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.estimates import measure_speed
from dsum_demo.settings import Settings
from dsum_demo.ui.account import build_sign_in, connect_sign_in
from dsum_demo.ui.api import add_api
from dsum_demo.ui.assets import SCRIPTS, STYLE_SHEETS, call
from dsum_demo.ui.compare.tab import build_compare_tab
from dsum_demo.ui.delivery import PageDelivery
from dsum_demo.ui.evaluate.tab import build_evaluate_tab
from dsum_demo.ui.health import health_routes
from dsum_demo.ui.logs import RequestLog, id_of, log_as_json, request_id
from dsum_demo.ui.methods_tab import build_methods_tab
from dsum_demo.ui.models_tab import build_models_tab
from dsum_demo.ui.review.tab import build_review_tab
from dsum_demo.ui.services import COMPARISONS_AT_ONCE, Services
from dsum_demo.ui.theme import TAGLINE, THEME, TITLE
from dsum_demo.ui.train.tab import BrowserMemory, build_train_tab
from dsum_demo.ui.zero_gpu import ON_ZERO_GPU
from dsum_demo.utils.hardware import limit_malloc_arenas

log = logging.getLogger(__name__)


class Page(gr.Blocks):
    """Blocks whose handlers get valid Unicode and may raise the errors of dsum.

    gradio cannot send a lone surrogate back: its stream of answers to this browser would end with an error.
    """

    def __init__(self, services: Services, **options: Any):
        super().__init__(**options)
        self._told = services.told

    async def process_api(self, block_fn: Any, inputs: Any, state: Any = None, *arguments: Any, **named: Any) -> Any:
        token = request_id.set(id_of(named.get("request")) or request_id.get())
        try:
            return await super().process_api(block_fn, valid_unicode(inputs), state, *arguments, **named)
        except DsumError as error:
            raise gr.Error(self._told(error), print_exception=False) from error
        except gr.Error:
            raise
        except Exception as error:
            # gradio would print the message, which may quote a user's text.
            log.exception("%s failed", getattr(block_fn, "name", block_fn))
            reason = f"The app failed unexpectedly ({type(error).__name__}). Its log has the details"
            reference = f" under the request {request_id.get()}" if request_id.get() else ""
            raise gr.Error(f"{reason}{reference}.", print_exception=False) from error
        finally:
            request_id.reset(token)
            if state is not None:
                self._forget_replaced(state)

    def _forget_replaced(self, state: Any) -> None:
        """Remove what gradio 6.31 keeps of a session for ever: a value that follows an update of a component is also
        stored under the id of the updated copy, which no event uses.
        """
        for kept in (state.blocks_config.blocks, state.config_values):
            for replaced in kept.keys() - self.blocks.keys():
                kept.pop(replaced, None)


def valid_unicode(value: Any) -> Any:
    """A JSON value with U+FFFD for every lone surrogate in its texts."""
    if isinstance(value, str):
        try:
            value.encode()
            return value
        except UnicodeEncodeError:
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [valid_unicode(each) for each in value]
    if isinstance(value, dict):
        return {valid_unicode(key): valid_unicode(each) for key, each in value.items()}
    return value


def build_demo(services: Services) -> gr.Blocks:
    """The page; launch it with `launch_options()`."""
    title = f"{TITLE}: what fine-tuning changes"
    with Page(services, title=title, analytics_enabled=False, fill_width=True, delete_cache=(3600, 3600)) as demo:
        with gr.Row(elem_id="header"):
            gr.HTML(f"<h1>{TITLE}</h1><p>{TAGLINE}</p>", min_width=260, scale=3)
            build_sign_in(services.settings)
            dark = gr.Button("◐ Theme", elem_id="theme-toggle", size="sm", scale=0)
            dark.click(None, None, None, js=call("toggleDark"), api_visibility="private")
        memory = BrowserMemory.build()
        connect_sign_in(demo, services.settings, memory.owner)
        with gr.Tabs() as tabs:
            with gr.Tab("Compare", id="compare"):
                _title("Compare")
                compare_tab = build_compare_tab(demo, services, memory.owner)
            with gr.Tab("Evaluate", id="evaluate", elem_id="evaluate-page") as evaluate:
                _title("Evaluate")
                build_evaluate_tab(demo, services, tabs, evaluate, memory.owner)
            with gr.Tab("Review", id="review") as review:
                _title("Review")
                build_review_tab(demo, services, tabs, review, compare_tab, memory)
            with gr.Tab("Train", id="train") as train_tab:
                _title("Train")
                run = build_train_tab(demo, services, tabs, train_tab, compare_tab, memory)
            with gr.Tab("Methods", id="methods"):
                _title("Methods")
                build_methods_tab(demo, services)
            with gr.Tab("Models", id="models") as models:
                _title("Models")
                build_models_tab(services, tabs, models, run, memory.owner)
        add_api(demo, services)
    return demo


def _title(name: str) -> None:
    """The heading of a tab for screen readers: the headings below it are of the third level."""
    gr.HTML(f"<h2>{name}</h2>", elem_classes="tab-title")


def launch_options(public: bool = True) -> dict[str, object]:
    """Arguments of `launch`: theme, style, scripts and limits. Uploads are small on a public page."""
    return {
        "theme": THEME,
        "css_paths": STYLE_SHEETS,
        "head": SCRIPTS,
        "run_history": False,
        "footer_links": ["api", "settings"],
        "ssr_mode": False,
        # Each comparison that runs or waits for a model occupies one.
        "max_threads": COMPARISONS_AT_ONCE + 40,
        "mcp_server": True,
        # gradio keeps all values of this many past sessions in memory.
        "state_session_capacity": 200,
        "max_file_size": "5mb" if public else "200mb",
    }


def app_options(services: Services) -> dict[str, object]:
    """The argument `app_kwargs` of `launch`."""
    return {"routes": health_routes(services), "middleware": [Middleware(RequestLog), Middleware(PageDelivery)]}


def serve(settings: Settings, host: str | None = None, port: int | None = None) -> None:
    """Serve the page until interrupted. Raises SettingsError for an invalid catalog or environment."""
    limit_malloc_arenas()
    if settings.log_json:
        log_as_json()
    services = Services.start(settings)
    if ON_ZERO_GPU:
        load_all(services)
    else:
        threading.Thread(target=warm_up, args=(services,), name="warm up", daemon=True).start()
    services.jobs.start_polling()
    build_demo(services).launch(
        server_name=host,
        server_port=port,
        app_kwargs=app_options(services),
        **launch_options(settings.public),  # type: ignore[arg-type]
    )


def warm_up(services: Services) -> None:
    """Load the default models, so that the first comparison need not wait for them, and measure the speed."""
    family = services.registry.default_family
    specs = [spec for spec in family.default_trio() if spec and services.registry.availability(spec).usable]
    with contextlib.suppress(DsumError):
        compare(services.store, family, specs, "A: Hello.\nB: Hello!", decode=DecodingConfig(max_new_tokens=2))
        services.speed = measure_speed(services.store)


def load_all(services: Services) -> None:
    """Load the default models of every family that are on this disk: on ZeroGPU those that this thread loads before the
    launch move to the GPU fast.
    """
    registry = services.registry
    for spec in [spec for family in registry.families() for spec in family.default_trio()]:
        if spec and registry.folder_of(spec):
            with contextlib.suppress(DsumError):
                services.store.load(spec)
