"""The Train tab's style sheet; colours and sizes are those of `theme`."""

from __future__ import annotations

TRAINING_CSS = """
.welcome { border: 1px dashed var(--border-color-primary); border-radius: 8px; padding: 18px 20px; line-height: 1.5; }
.welcome h3, .run h3, h3.part { margin: 0; font-size: 1.02rem; }
h3.part { margin: 10px 0 4px; }
.run { border: 1px solid var(--border-color-primary); border-radius: 8px; padding: 12px 14px; display: flex;
  flex-direction: column; gap: 8px; background: var(--background-fill-primary); }
.run header { display: flex; justify-content: space-between; align-items: baseline; gap: 8px; }
.run h3 { overflow-wrap: anywhere; }
.bar { height: 8px; border-radius: 4px; background: var(--background-fill-secondary); overflow: hidden;
  border: 1px solid var(--border-color-primary); }
.bar div { height: 100%; background: #2b7bd6; transition: width .6s; }
.bar.ended div { background: #8a929e; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(98px, 1fr)); gap: 6px 14px; margin: 0; }
.tiles dt { color: var(--body-text-color-subdued); font-size: .8rem; }
.tiles dd { margin: 0; font-size: 1.02rem; font-variant-numeric: tabular-nums; }
.tiles small { color: var(--body-text-color-subdued); font-size: .8rem; }
.state.run-running::before, .state.run-stopping::before { color: #2b7bd6; }
.state.run-finished::before { color: #1f9d76; }
.state.run-queued::before, .state.run-stopped::before { color: #8a929e; }
.state.run-failed::before, .state.run-crashed::before { color: #d6453d; }
.line { border-left: 4px solid var(--border-color-primary); padding: 4px 12px; border-radius: 4px;
  background: var(--background-fill-secondary); }
.line ul { margin: 0; padding: 0; list-style: none; }
.line li { display: flex; gap: 8px; align-items: baseline; margin: 2px 0; }
button.link { background: none; border: 0; padding: 0; color: inherit; cursor: pointer; font: inherit;
  text-align: inherit; text-decoration: underline; text-decoration-color: var(--border-color-primary);
  text-underline-offset: 3px; }
button.link:hover, button.link:focus-visible { text-decoration-color: currentColor; }
th button.link { font-weight: 700; text-decoration: none; white-space: nowrap; }
button.small { border: 1px solid var(--border-color-primary); border-radius: 6px; background: transparent;
  font-size: .8rem; color: var(--body-text-color-subdued); padding: 1px 8px; cursor: pointer; }
button.small:hover, button.small:focus-visible { color: var(--body-text-color); border-color: var(--body-text-color); }
.learning { min-width: 720px; table-layout: fixed; }
.learning th:first-child, .learning td:first-child { width: 84px; }
.learning td, .learning th { text-align: left !important; vertical-align: top; line-height: 1.4;
  overflow-wrap: anywhere; }
.learning .dialogue { white-space: pre-line; font-weight: 400; max-height: 14em; overflow-y: auto; }
.learning details summary { cursor: pointer; }
.learning tfoot td, .learning tfoot th { border-top: 2px solid #1f9d76 !important; }
.learning small { color: var(--body-text-color-subdued); font-weight: 400; }
.kept { color: #1f9d76; }
.history { min-width: 980px; }
.history td, .history th { white-space: nowrap; }
.scores .text-cell { text-align: left; }
.only-read { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.rows td, .rows th, .differences td, .differences th { text-align: left !important; vertical-align: top; }
.rows { min-width: 480px; }
.problems { margin: 4px 0; font-size: .9rem; }
.problems summary { cursor: pointer; }
.problems ul { margin: 4px 0; padding-left: 1.4em; list-style: disc; max-height: 12em; overflow-y: auto; }
.command { display: flex; gap: 8px; align-items: flex-start; border: 1px solid var(--border-color-primary);
  border-radius: 6px; padding: 8px 10px; background: var(--background-fill-secondary); }
.command code { flex: 1; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .84rem; background: none; }
.command .copy { border: 1px solid var(--border-color-primary); border-radius: 6px; background: transparent;
  color: var(--body-text-color-subdued); font-size: .8rem; padding: 2px 8px; cursor: pointer; }
#output pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .84rem; max-height: 18em; overflow-y: auto; }
#run-buttons { flex-wrap: wrap; gap: 8px; }
#question { flex-wrap: wrap; align-items: center; border-left: 4px solid #c99a00; padding: 4px 12px; }
#question p { margin: 0; }
#question .plain { flex: 1 1 240px; min-width: 240px !important; }
.plain .html-container { padding: 0; }
.block.plain:not(:has(.prose > *)) { display: none; }
.plain p { margin: 0; }
"""
