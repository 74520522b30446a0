"""What the tabs share in looks and words: the theme, the style sheet, small scripts. A system's colour is in `looks`.

Knows no models and no handlers.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

TITLE = "dsum"
# Every listener of the page: not part of the API, and no progress bars over what shows its own progress.
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
TAGLINE = "One dialogue, three summaries: the original T5, fully fine-tuned, and LoRA."

THEME = gr.themes.Default(
    primary_hue="blue",
    neutral_hue="slate",
    # The 600 that gradio 6.31 bundles lacks most letters; the browser takes 700 for it.
    font=[gr.themes.LocalFont("Source Sans Pro", weights=(400, 700)), "ui-sans-serif", "system-ui", "sans-serif"],
)

CSS = """
/* A width of its own: otherwise the widest tab decides, and on a phone that is wider than the screen. */
.gradio-container { width: 100% !important; max-width: 1440px !important; margin: 0 auto; }
.gradio-container main, .gradio-container .column { min-width: 0; }
#header { align-items: center; gap: 16px; }
#header h1 { font-size: 1.6rem; margin: 0; line-height: 1.2; }
#header p { margin: 0; color: var(--body-text-color-subdued); }
#theme-toggle { max-width: 96px; min-width: 96px; align-self: center; }
#header .html-container, #cards .html-container, #card-human .html-container { padding: 0; }
.gap:has(> #problem) > .block:empty, #problem:not(:has(.notice)), #legend:not(:has(.legend)) { display: none; }
.family-note { color: var(--body-text-color-subdued); font-size: .9rem; line-height: 1.4; }
.family-note b { color: var(--body-text-color); }
#dialogue textarea { line-height: 1.5; }
#drop .wrap { font-size: .9rem; line-height: 1.3; }
#drop .icon-wrap { display: none; }
.hint { color: var(--body-text-color-subdued); font-size: .85rem; }
.notice { border-left: 4px solid var(--border-color-primary); padding: 6px 12px; border-radius: 4px;
  background: var(--background-fill-secondary); line-height: 1.4; }
.notice.error { border-left-color: #d6453d; }
.notice.warning { border-left-color: #c99a00; }

.card { border: 1px solid var(--border-color-primary); border-top: 4px solid var(--system); border-radius: 8px;
  padding: 12px 14px; background: var(--background-fill-primary); min-height: 190px; display: flex;
  flex-direction: column; gap: 8px; }
.card.original { --system: #8a929e; } .card.full { --system: #2b7bd6; }
.card.lora { --system: #e07b1a; } .card.human { --system: #1f9d76; min-height: 0; }
.card header { display: flex; justify-content: space-between; align-items: baseline; gap: 8px; }
.card h3 { margin: 0; font-size: 1.02rem; }
.card .trained, .card footer { color: var(--body-text-color-subdued); font-size: .84rem; line-height: 1.4; }
.card .summary { margin: 0; flex: 1; font-size: 1.04rem; line-height: 1.55; overflow-wrap: anywhere;
  color: var(--body-text-color); }
.card .empty { color: var(--body-text-color-subdued); }
.card .failed { color: var(--body-text-color); border-left: 4px solid #d6453d; padding-left: 10px; }
.card ol { margin: 0; padding-left: 1.3em; }
.card .copy { border: 1px solid var(--border-color-primary); border-radius: 6px; background: transparent;
  color: var(--body-text-color-subdued); font-size: .8rem; padding: 2px 8px; cursor: pointer; white-space: nowrap; }
.card .copy:hover, .card .copy:focus-visible { color: var(--body-text-color); border-color: var(--body-text-color); }
.caret { display: inline-block; width: .5em; height: 1.05em; vertical-align: text-bottom; background: var(--system);
  animation: blink 1s steps(2) infinite; }
@keyframes blink { 50% { opacity: 0; } }
@media (prefers-reduced-motion: reduce) { .caret { animation: none; } }

mark.shared, mark.copied { color: inherit; border-radius: 3px; padding: 0 1px; }
mark.shared { background: rgba(31, 157, 118, .24); text-decoration: underline solid 2px rgba(31, 157, 118, .95); }
mark.copied { background: rgba(170, 120, 240, .22); text-decoration: underline dashed 2px rgba(150, 95, 230, .95); }
mark.shared, mark.copied { text-underline-offset: 3px; text-decoration-skip-ink: none; }

.downloads { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; justify-content: flex-end; }
.downloads span { color: var(--body-text-color-subdued); font-size: .85rem; }
.downloads a { border: 1px solid var(--border-color-primary); border-radius: 6px; padding: 3px 10px; font-size: .85rem;
  text-decoration: none; color: var(--body-text-color); }
.downloads a:hover, .downloads a:focus-visible { border-color: var(--body-text-color); }
#headline h3 { margin: 4px 0 0; font-size: 1.02rem; }

.scores { width: 100%; border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
.scores, .scores :is(thead, tbody, tr) { border: 0 !important; }
.scores th, .scores td { text-align: right; padding: 4px 8px; border: 0 !important;
  border-bottom: 1px solid var(--border-color-primary) !important; }
.scores th:first-child, .scores td:first-child { text-align: left; }
.scroll { overflow-x: auto; }
.state { white-space: nowrap; }
.state::before { content: "● "; }
.state.shipped::before, .state.local::before, .state.cached::before { color: #1f9d76; }
.state.downloadable::before { color: #2b7bd6; }
.state.missing::before, .state.unreachable::before { color: #8a929e; }
.state.failed::before { color: #d6453d; }
.models { min-width: 640px; }
.models td, .models th { text-align: left; vertical-align: top; }
.models th[scope] { padding-top: 14px; }
.models code { white-space: nowrap; }

/* The figure is drawn once and follows the page's colours. */
.js-plotly-plot text { fill: var(--body-text-color) !important; }
.js-plotly-plot .hoverlayer text { fill: #fff !important; }
.js-plotly-plot .gridlayer path { stroke: var(--border-color-primary) !important; }

@media (max-width: 640px) {
  .gradio-container { padding: 8px !important; }
  #header { flex-wrap: wrap; }
  #header > div:first-child { flex: 1 1 100% !important; }
  .card { min-height: 120px; }
}
"""

CLICK_START = "() => { document.querySelector('#start').click(); }"
TOGGLE_DARK = "() => { document.body.classList.toggle('dark'); }"

# The cards' copy buttons; the fallback is for pages in a frame that may not write to the clipboard.
COPY_SUMMARY = """
element.addEventListener('click', async (event) => {
  const button = event.target.closest('.copy');
  if (!button) return;
  const text = [...element.querySelectorAll('.text')].map((part) => part.innerText.trim()).join('\\n');
  try { await navigator.clipboard.writeText(text); }
  catch {
    const area = document.createElement('textarea');
    area.value = text; document.body.appendChild(area); area.select();
    document.execCommand('copy'); area.remove();
  }
  const before = button.textContent;
  button.textContent = 'Copied';
  setTimeout(() => { button.textContent = before; }, 1500);
});
"""
