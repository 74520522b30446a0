"""Style that the page and a report of an evaluation share: cards, tables, notices, the evaluation itself.

Colours are variables: gradio sets them on the page, `REPORT_CSS` in a report. Knows no gradio.
"""

from __future__ import annotations

SHARED_CSS = """
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
.card progress { display: block; width: 100%; height: 6px; margin-top: 8px; border: 0; border-radius: 3px;
  appearance: none; background: var(--border-color-primary); }
.card progress::-webkit-progress-bar { border-radius: 3px; background: var(--border-color-primary); }
.card progress::-webkit-progress-value { border-radius: 3px; background: var(--system); }
.card progress::-moz-progress-bar { border-radius: 3px; background: var(--system); }
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

.scores { width: 100%; border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
.scores, .scores :is(thead, tbody, tr) { border: 0 !important; }
.scores th, .scores td { text-align: right; padding: 4px 8px; border: 0 !important;
  border-bottom: 1px solid var(--border-color-primary) !important; }
.scores th:first-child, .scores td:first-child { text-align: left; }
.scroll { overflow-x: auto; }

/* The figure is drawn once and follows the page's colours. */
.js-plotly-plot text { fill: var(--body-text-color) !important; }
.js-plotly-plot .hoverlayer text { fill: #fff !important; }
.js-plotly-plot .errorbar path { stroke: var(--body-text-color) !important; }
.js-plotly-plot .gridlayer path { stroke: var(--border-color-primary) !important; }
"""

EVALUATION_CSS = """
#evaluate-page .html-container { padding: 0; }
#evaluate-page .hint p { color: inherit; font-size: inherit; margin: 0; }
#evaluate-page .block:has(> .html-container > .prose:empty) { display: none; }
#evaluate-page .hint mark { color: var(--body-text-color); }
#evaluation-new, #saved-compare { align-self: center; height: 48px; }
#evaluation-form, #evaluation-run { border: 1px solid var(--border-color-primary); border-radius: 8px; padding: 14px; }
.saved td:nth-child(2), .saved td:nth-child(4), .saved th:nth-child(2), .saved th:nth-child(4) { text-align: left; }
.saved { min-width: 860px; }
.saved td:nth-child(4) { white-space: normal; min-width: 240px; }
.facts { margin: 0; line-height: 1.5; }
.finding .sentence { font-size: 1.35rem; line-height: 1.35; font-weight: 700; margin: 0 0 4px; }
.finding .hint, .signature { margin: 2px 0 0; line-height: 1.4; }
.notice + .notice { margin-top: 6px; }
.notice p { margin: 0 0 4px; }
.broken { margin: 0; padding-left: 3.2em; max-height: 220px; overflow-y: auto; list-style: decimal; }
.chart-title h3 { margin: 10px 0 0; font-size: 1.05rem; line-height: 1.35; }
.empty { color: var(--body-text-color-subdued); padding: 8px 0; }
.scores td, .scores th[scope] { font-weight: 400; }
.scores th[scope=row] { min-width: 132px; } .scores.small th[scope=row] { min-width: 0; }
.scores thead th[scope] { font-weight: 700; vertical-align: bottom; }
.scores td { white-space: nowrap; }
.scores:is(.learning, .models, .methods) td { white-space: normal; }
.scores b { font-weight: 700; }
.how { margin-top: 10px; } .how summary { cursor: pointer; }
.how dl { margin: 8px 0 0; } .how dt { font-weight: 700; margin-top: 8px; } .how dd { margin: 0; line-height: 1.45; }

.progress { height: 10px; border-radius: 5px; background: var(--background-fill-secondary);
  border: 1px solid var(--border-color-primary); overflow: hidden; }
.progress div { height: 100%; background: #2b7bd6; transition: width .6s linear; }
.progress-text { margin: 4px 0 0; line-height: 1.4; font-variant-numeric: tabular-nums; }

.scroll:has(> .examples) { max-height: 520px; overflow: auto; }
.examples { min-width: 720px; }
.examples thead th { position: sticky; top: 0; z-index: 1; background: var(--background-fill-primary); }
.examples td.text-cell, .examples th.text-cell { text-align: left; }
.examples td.text-cell { white-space: normal; min-width: 90px; overflow-wrap: anywhere; }
.examples td:nth-child(2).text-cell { min-width: 200px; }
.examples tbody tr { cursor: pointer; }
.examples tbody tr:hover td, .examples tr[aria-selected=true] td { background: var(--background-fill-secondary); }
.examples tr[aria-selected=true] td:first-child { box-shadow: inset 4px 0 0 #2b7bd6; }
.examples tr:focus-visible { outline: 2px solid #2b7bd6; outline-offset: -2px; }
.examples th button { all: unset; cursor: pointer; font-weight: 700; }
.examples th button:focus-visible, .examples th button:hover { text-decoration: underline; }
.pages { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; padding-top: 8px; font-size: .9rem;
  color: var(--body-text-color-subdued); }
.pages button { border: 1px solid var(--border-color-primary); border-radius: 6px; background: transparent;
  color: var(--body-text-color); padding: 3px 10px; cursor: pointer; }
.pages button:disabled { opacity: .4; cursor: default; }

.example { outline: none; } .example h3 { margin: 0; font-size: 1.1rem; overflow-wrap: anywhere; }
.example-grid { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 9fr); gap: 16px; margin-top: 8px; }
.example-text { display: flex; flex-direction: column; gap: 12px; min-width: 0; }
.example-cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(250px, 1fr)); gap: 12px;
  align-items: start; min-width: 0; }
.turns { border: 1px solid var(--border-color-primary); border-radius: 8px; padding: 10px 14px; max-height: 420px;
  overflow-y: auto; }
.turns p { margin: 0 0 6px; line-height: 1.5; overflow-wrap: anywhere; }
.card.other-0 { --system: #a05bb8; } .card.other-1 { --system: #b8495f; } .card.other-2 { --system: #5f8f2f; }
.card.other-3 { --system: #8a6d3b; } .card.other-4 { --system: #3a9ea5; }
.scores.small { font-size: .82rem; }
.scores.small th, .scores.small td { padding: 2px 0 2px 6px; line-height: 1.4; }
.scores.small th:first-child { padding-left: 0; white-space: nowrap; }
.checks { display: grid; grid-template-columns: 1fr auto; gap: 2px 10px; margin: 0; font-size: .84rem; }
.checks dt { color: var(--body-text-color-subdued); }
.checks dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
@media (max-width: 900px) { .example-grid { grid-template-columns: minmax(0, 1fr); } }
"""

REPORT_CSS = """
:root { color-scheme: light dark; --body-text-color: #1f2937; --body-text-color-subdued: #5b6472;
  --border-color-primary: #d9dde3; --background-fill-primary: #fff; --background-fill-secondary: #f1f4f8; }
@media (prefers-color-scheme: dark) { :root { --body-text-color: #eceff4; --body-text-color-subdued: #a4adba;
  --border-color-primary: #3a424f; --background-fill-primary: #12161d; --background-fill-secondary: #1d232d; } }
body { margin: 0 auto; max-width: 1240px; padding: 20px; background: var(--background-fill-primary);
  color: var(--body-text-color); font: 16px/1.5 "Source Sans Pro", "Segoe UI", system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 4px; } h2 { font-size: 1.2rem; margin: 32px 0 4px; }
h3 { font-size: 1.05rem; margin: 18px 0 0; }
.notice { border-left: 4px solid var(--border-color-primary); padding: 6px 12px; border-radius: 4px;
  background: var(--background-fill-secondary); }
.notice.warning { border-left-color: #c99a00; } .notice.error { border-left-color: #d6453d; }
.chart { overflow-x: auto; } .copy { display: none; } .examples tbody + tbody { border: 0; }
.scroll:has(> .examples) { max-height: none; }
.unfolded > td { padding: 12px 8px 24px !important; text-align: left !important; white-space: normal !important; }
.unfolded .example > h3 { display: none; }
"""
