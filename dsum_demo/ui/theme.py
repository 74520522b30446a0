"""What the tabs share in looks and words: the theme, the style sheet, small scripts. A system's colour is in `looks`.

Knows no models and no handlers.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from dsum_demo.ui.style import EVALUATION_CSS, SHARED_CSS
from dsum_demo.ui.training_style import TRAINING_CSS

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

CSS = (
    SHARED_CSS
    + EVALUATION_CSS
    + """
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
.family-note .notice { margin-top: 6px; }
.family-note b { color: var(--body-text-color); }
#dialogue textarea { line-height: 1.5; }
#drop .wrap { font-size: .9rem; line-height: 1.3; }
#drop .icon-wrap { display: none; }

.downloads { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; justify-content: flex-end; }
.downloads span { color: var(--body-text-color-subdued); font-size: .85rem; }
.downloads a { border: 1px solid var(--border-color-primary); border-radius: 6px; padding: 3px 10px; font-size: .85rem;
  text-decoration: none; color: var(--body-text-color); }
.downloads a:hover, .downloads a:focus-visible { border-color: var(--body-text-color); }
#headline h3 { margin: 4px 0 0; font-size: 1.02rem; }

.state { white-space: nowrap; }
.state::before { content: "● "; }
.state.shipped::before, .state.local::before, .state.cached::before { color: #1f9d76; }
.state.downloadable::before { color: #2b7bd6; }
.state.missing::before, .state.unreachable::before, .state.no-room::before { color: #8a929e; }
.state.failed::before { color: #d6453d; }
.models { min-width: 640px; }
.models td, .models th { text-align: left; vertical-align: top; }
.models th[scope] { padding-top: 14px; }
.models code { white-space: nowrap; }

@media (max-width: 640px) {
  .gradio-container { padding: 8px !important; }
  #header { flex-wrap: wrap; }
  #header > div:first-child { flex: 1 1 100% !important; }
  .card { min-height: 120px; }
}
"""
    + TRAINING_CSS
)

CLICK_START = "() => { document.querySelector('#start').click(); }"
TOGGLE_DARK = "() => { document.body.classList.toggle('dark'); }"

# The cards' copy buttons; the fallback is for pages in a frame that may not write to the clipboard.
COPY_SUMMARY = """
element.addEventListener('click', async (event) => {
  const button = event.target.closest('.copy');
  if (!button) return;
  const text = [...button.closest('.card').querySelectorAll('.text')].map((part) => part.innerText.trim()).join('\\n');
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
