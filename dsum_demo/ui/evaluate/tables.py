"""Tables of the Evaluate tab."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from dsum_demo.evaluation.export import scale
from dsum_demo.evaluation.records import Evaluation
from dsum_demo.evaluation.recovery import RULE
from dsum_demo.evaluation.report import Report, SystemReport
from dsum_demo.judge.judges import is_tested, judge_lines
from dsum_demo.metrics.bootstrap import MIN_EXAMPLES, Interval
from dsum_demo.metrics.checks import CHECKS, Check
from dsum_demo.metrics.scores import METRICS, shown_unit
from dsum_demo.ui.appearance import system_titles
from dsum_demo.ui.html import change, html_table, interval, notice
from dsum_demo.utils.formatting import millions, quantity

HOW_RECOVERY = (
    "This is LoRA’s gain over the original divided by the full fine-tune’s gain over the original, in mean ROUGE-1. "
    "The 95 % interval is a paired bootstrap over dialogues."
)


HOW_MEANS = (
    "Mean {} with its 95 % bootstrap confidence interval: the range in which the mean of similar dialogues is "
    f"expected. It needs at least {MIN_EXAMPLES} dialogues."
)


HOW_DIFFERENCES = (
    "{} of the first system minus the second on the same dialogues. Bold: the 95 % interval excludes zero, so "
    "the difference is unlikely to be chance."
)


HOW_CHECKS = (
    "Means per summary with 95 % intervals, over the summaries that have the texts which a check needs. A check "
    "counts features of the text; it does not measure whether a summary is correct."
)


def headline(report: Report) -> str:
    """The main finding, and how it is computed."""
    if report.recovery is None:
        return ""
    how = HOW_RECOVERY if report.recovery.share else RULE
    return (
        f'<div class="finding"><p class="sentence">{escape(report.recovery.sentence)}</p>'
        f'<p class="hint">{escape(how)}</p></div>'
    )


def facts(evaluation: Evaluation, report: Report, title: str) -> str:
    """Data, model family, number of examples, decoding and date in one line."""
    examples = quantity(report.n, "example")
    if report.n < report.total:
        examples = f"{report.n:,} of {report.total:,} examples"
    if report.dialogues != report.n:
        examples += f" over {quantity(report.dialogues, 'dialogue')}"
    parts = [f"<b>{escape(title)}</b>", escape(evaluation.family), examples]
    parts.append("recorded outputs" if evaluation.recorded else _decoding(evaluation.decode))
    if evaluation.created:
        parts.append(escape(day(evaluation.created)))
    return f'<p class="facts">{" · ".join(part for part in parts if part)}</p>'


def warnings(report: Report) -> str:
    """One notice per sentence: systems with the same sentence are named together."""
    titles: dict[tuple[str, str], list[str]] = {}
    for warning in report.warnings:
        title, colon, sentence = warning.text.partition(": ") if warning.system else ("", "", warning.text)
        titles.setdefault((warning.kind, sentence), []).extend([title] if colon else [])
    texts: dict[str, list[str]] = {}
    for (kind, sentence), named in titles.items():
        texts.setdefault(kind, []).append(f"{', '.join(named)}: {sentence}" if named else sentence)
    return "".join(notice(" ".join(sentences), "warning") for sentences in texts.values())


def signature(report: Report) -> str:
    return f'<p class="hint signature">{escape(report.signature.text)}</p>' if report.signature else ""


def means_table(evaluation: Evaluation, report: Report) -> str:
    """One row per system, then LEAD-3, human agreement and published scores for comparison."""
    names = _names(evaluation)
    rows = [
        [names[s.name], str(s.n), *(interval(s.f1.get(name)) for name in METRICS), *_cost(evaluation, s.name, s)]
        for s in report.systems
    ]
    for title, means in scale(report):
        n = next(iter(means.values())).n
        rows.append([title, str(n), *(interval(means.get(name)) for name in METRICS), "", ""])
    if report.published:
        for kind, scores in report.published.scores.items():
            system = evaluation.of_kind(kind)
            title = names[system.name] if system else escape(kind)
            cells = [f"{score:.1f}" for score in scores] + [""] * (len(METRICS) - len(scores))
            rows.append([f"Published: {escape(report.published.title)}, {title}", "", *cells, "", ""])
    table = html_table(["System", "n", *_headings(), "Trained", "Tokens"], rows)
    source = f'<p class="hint">Published: {escape(report.published.source)}.</p>' if report.published else ""
    return f'{table}<p class="hint">{HOW_MEANS.format(shown_unit())}</p>{source}'


def parts_table(evaluation: Evaluation, report: Report) -> str:
    """Precision, recall and F1 of every system and metric that has them."""
    names = _names(evaluation)
    rows = [
        [
            names[s.name],
            metric.title,
            *(f"{100 * value:.2f}" for value in (score.precision, score.recall, score.fmeasure)),
        ]
        for s in report.systems
        for metric in METRICS.values()
        if metric.has_parts and (score := s.means.get(metric.name))
    ]
    return html_table(["System", "Score", "Precision", "Recall", "F1"], rows)


def differences_table(evaluation: Evaluation, report: Report) -> str:
    names = _names(evaluation)
    rows = [
        [
            f"{names[d.system]} − {names[d.baseline]}",
            str(_n(d.f1.values())),
            *(change(d.f1.get(name)) for name in METRICS),
        ]
        for d in report.differences
    ]
    if not rows:
        return '<p class="hint">A difference needs at least two systems.</p>'
    table = html_table(["Difference", "n", *_headings()], rows)
    return f'{table}<p class="hint">{HOW_DIFFERENCES.format(shown_unit())}</p>'


def checks_table(evaluation: Evaluation, report: Report) -> str:
    """One row per check, one column per system, with an explanation of each check below."""
    names = _names(evaluation)
    rows, said = [], []
    for check in CHECKS:
        if any(system.checked[check.name] for system in report.systems):
            cells = [
                interval(system.checks[check.name], check.factor, check.digits) + _over(check, system)
                for system in report.systems
            ]
            rows.append([f"{escape(check.axis)}{_untested(check, evaluation)}", *cells])
        if check.needs == "judge" and not evaluation.judge:
            continue
        misses = escape(check.misses)
        said.append(f"<dt>{escape(check.title)}</dt><dd>{escape(check.how)} <i>What it misses:</i> {misses}</dd>")
    if not rows:
        return '<p class="hint">No summaries to check yet.</p>'
    return (
        html_table(["Check", *(names[system.name] for system in report.systems)], rows)
        + "".join(f'<p class="hint judge">{escape(line)}</p>' for line in _judge(evaluation))
        + f'<p class="hint">{HOW_CHECKS}</p><details class="how"><summary>How each check is computed, and what it '
        f"misses</summary><dl>{''.join(said)}</dl></details>"
    )


def _judge(evaluation: Evaluation) -> list[str]:
    return judge_lines(evaluation.judge) if evaluation.judge else []


def _untested(check: Check, evaluation: Evaluation) -> str:
    tested = evaluation.judge is None or check.needs != "judge" or is_tested(evaluation.judge, check.title)
    return "" if tested else "<br><small>not tested</small>"


def _over(check: Check, system: SystemReport) -> str:
    """The number of summaries behind a mean, unless it is all of them; a yes/no check also states how many are yes."""
    mean, checked = system.checks[check.name], system.checked[check.name]
    if mean is None or (checked == system.n and check.unit != "yes/no"):
        return ""
    yes = f"{round(mean.mean * checked):,} " if check.unit == "yes/no" else ""
    return f"<br><small>{yes}of {checked:,} summar{'y' if checked == 1 else 'ies'}</small>"


def slices_table(evaluation: Evaluation, report: Report, by: str, rouge: str) -> str:
    names = _names(evaluation)
    rows = [
        [
            escape(part.name),
            str(part.n),
            *(interval(part.f1.get(system.name, {}).get(rouge)) for system in report.systems),
        ]
        for part in report.slices
        if part.by == by
    ]
    if not rows:
        return ""
    heads = [by.capitalize(), "n", *(f"{names[system.name]}, {METRICS[rouge].title}" for system in report.systems)]
    return html_table(heads, rows)


def day(created: str) -> str:
    """Date and minute of an ISO time: "2026-11-24 18:20"."""
    return created[:16].replace("T", " ")


def _names(evaluation: Evaluation) -> dict[str, str]:
    return {name: escape(title) for name, title in system_titles(evaluation.systems).items()}


def _headings() -> list[str]:
    return [escape(metric.heading) for metric in METRICS.values()]


def _n(means: Iterable[Interval]) -> int | str:
    return next((mean.n for mean in means), "")


def _cost(evaluation: Evaluation, name: str, report: object) -> tuple[str, str]:
    system = evaluation.system(name)
    tokens = getattr(report, "tokens", None)
    trained = "–"
    if system.kind == "base":
        trained = "nothing"
    elif system.parameters and system.trained_parameters:
        trained = f"{100 * system.trained_parameters / system.parameters:.3g} %, {millions(system.trained_parameters)}"
    return trained, "–" if tokens is None else f"{tokens:.0f}"


def _decoding(decode: Mapping[str, object] | None) -> str:
    if not decode:
        return ""
    beams = decode.get("num_beams", 1)
    way = "sampling" if decode.get("do_sample") else "greedy" if beams == 1 else f"{beams} beams"
    return escape(f"{way}, up to {decode.get('max_new_tokens')} tokens, the same for all systems")
