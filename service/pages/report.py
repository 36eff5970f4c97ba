"""`report.html`: a whole study on one page that needs no network, no script and no other file.

Everything is decided here; the template beside it only sets it in type. The command line writes the page.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from search.architecture import Architecture
from search.results import WAITING, Candidate, History, MetricValue, Results, Study
from service.pages.curves_drawing import panel_svg, search_labels, search_panels, training_labels, training_panels
from service.pages.drawing import MINUS, TASK_COLOURS, TIMES, format_count, format_signed, theme_css
from service.pages.front.drawing import front_svg
from service.pages.metric_details import build_detail_tables
from service.pages.tree.drawing import tree_svg
from service.pages.tree.words import describe_tree

_NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_EVEN_PERCENT = 0.05  # a delta_m nearer to zero than this is called even
_CLOSE_PERCENT = 5.0  # a tree that loses more than this is not said to be close
_WIDE_TREE_TASKS = 5  # trees of this many tasks get the full width


@dataclass(frozen=True)
class Picture:
    """One picture for the report, e.g. predictions beside labels: a caption and the bytes of a PNG."""

    caption: str
    png: bytes


@dataclass(frozen=True)
class _Cell:
    """One metric in the table: its value, and its gain over the single-task network in percent where there is one."""

    value: str
    gain: str = ""
    tone: str = ""


@dataclass(frozen=True)
class _Entry:
    """One network as figures, before it is set in type."""

    name: str
    mark: str
    madds: int
    params: int | None
    delta_m: str
    metrics: Mapping[str, MetricValue] | None
    budget_madds: int | None = None


@dataclass(frozen=True)
class _Row:
    """One network in the table."""

    name: str
    mark: str
    budget: str
    madds: str
    share: str
    params: str
    delta_m: str
    cells: tuple[_Cell, ...]


@dataclass(frozen=True)
class _Tree:
    """One drawn tree with its heading and its words."""

    name: str
    facts: str
    words: str
    drawing: Markup


def render_report(results: Results, architectures: Mapping[str, Architecture], pictures: Sequence[Picture] = ()) -> str:
    """Return the page of a study as HTML.

    Args:
        results: The study; its `history` gives the curves.
        architectures: Candidate name -> its architecture; candidates without one are not drawn.
        pictures: Shown in a section of their own, none leaves it out.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    best = find_best(results)
    # Markup is only put around drawings, whose texts were escaped where they were drawn.
    return environment.get_template("report.html").render(
        title=f"bmtas: {results.study.dataset} on {results.study.backbone}",
        theme=Markup(theme_css()),
        num_colours=len(TASK_COLOURS),
        eyebrow=_describe_setting(results.study),
        headline=write_headline(results),
        lede=_write_lede(results, best),
        retrained=best is not None,
        front=Markup(front_svg(results)),
        tasks=[
            (name, task.metric, "↑" if task.higher_is_better else "↓") for name, task in results.study.tasks.items()
        ],
        rows=_build_rows(results, best),
        details=build_detail_tables(results),
        trees=_draw_trees(results, architectures),
        wide_trees=len(results.study.tasks) >= _WIDE_TREE_TASKS,
        search_curves=[
            Markup(panel_svg(panel)) for panel in search_panels(results.history, _budgets_by_stage(results))
        ],
        search_legend=search_labels(results.history),
        training_curves=[Markup(panel_svg(panel)) for panel in training_panels(results.history)],
        training_legend=training_labels(results.history),
        pictures=[(picture.caption, base64.b64encode(picture.png).decode()) for picture in pictures],
        example=(best or next(iter(results.candidates), None)),
        example_shape=f"(batch, {', '.join(map(str, (results.study.image_channels, *results.study.input_size)))})",
        provenance=[*_list_provenance(results.study), *_describe_waiting(results.history)],
        study=results.study,
    )


def find_best(results: Results) -> Candidate | None:
    """Return the candidate with the largest gain, the cheaper one of equals; None where nothing was retrained."""
    measured = [candidate for candidate in results.candidates if candidate.delta_m is not None]
    return max(measured, key=lambda candidate: (candidate.delta_m or 0.0, -candidate.madds), default=None)


def write_headline(results: Results) -> str:
    """Return in plain words what the study found."""
    num_tasks = len(results.study.tasks)
    networks = f"{_number_word(num_tasks)} separate networks"
    if not results.candidates:
        return f"No tree was searched yet for the work of {networks}"
    best = find_best(results)
    if best is None or best.delta_m is None:
        count = len(results.candidates)
        costs = [candidate.madds for candidate in results.candidates]
        low, high = (_share(madds, results, digits=0) for madds in (min(costs), max(costs)))
        span = f"{low} %" if low == high else f"{low} % to {high} %"
        found = f"{_number_word(count).capitalize()} tree{'s' if count > 1 else ''} found"
        return f"{found}, for {span} of the multiply-adds of {networks}"
    share = _share(best.madds, results, digits=0)
    if abs(best.delta_m) < _EVEN_PERCENT:
        quality = "and on a par with them"
    elif best.delta_m > 0:
        quality = f"and does {best.delta_m:.1f} % better"
    elif best.delta_m < -_CLOSE_PERCENT:
        quality = f"at a loss of {-best.delta_m:.1f} % in quality"
    else:
        # Rounded up: a tree 1.64 % short is within 1.7 %, not within 1.6 %.
        quality = f"and stays within {math.ceil(-10 * best.delta_m) / 10:.1f} % of their quality"
    return f"One tree does the work of {networks} for {share} % of their multiply-adds, {quality}"


def _write_lede(results: Results, best: Candidate | None) -> str:
    """Return the figures behind the headline, or what is missing for them."""
    if best is None or best.delta_m is None:
        return (
            "Nothing was retrained, so these are costs only. Run bmtas retrain on an architecture to know its quality."
        )
    under = "" if best.budget_madds is None else f" under {_share(best.budget_madds, results)} %"
    return (
        f"Best tree{under}: {format_count(best.madds)} MAdds, delta_m {format_signed(best.delta_m)} %. The separate "
        f"networks take {format_count(results.study.costs.single_madds)} MAdds for one image."
    )


def _describe_setting(study: Study) -> str:
    """Return dataset, backbone and recipe on one line."""
    size = TIMES.join(str(side) for side in study.input_size)
    return f"{study.dataset} · {study.backbone} · {size} · {study.preset} · seed {study.seed}"


def _share(madds: int, results: Results, digits: int = 1) -> str:
    """Return a cost in percent of the single-task networks, without idle zeros."""
    return f"{100 * madds / max(results.study.costs.single_madds, 1):.{digits}f}".removesuffix(".0")


def _number_word(number: int) -> str:
    """Return a small number as a word."""
    return _NUMBER_WORDS[number] if number < len(_NUMBER_WORDS) else str(number)


def _build_rows(results: Results, best: Candidate | None) -> list[_Row]:
    """Return the table's rows, dearest first: separate networks, candidates, everything shared."""
    costs, baselines = results.study.costs, results.baselines
    single = None if baselines is None else baselines.single
    shared = None if baselines is None else baselines.shared
    entries = [
        _Entry(
            name="separate networks",
            mark="baseline",
            madds=costs.single_madds,
            params=costs.single_params if single is None else single.params,
            delta_m="reference" if single else "",
            metrics=None if single is None else single.metrics,
        ),
        *(
            _Entry(
                name=candidate.name,
                mark=_mark(candidate, results, best),
                madds=candidate.madds,
                params=candidate.params,
                delta_m="" if candidate.delta_m is None else format_signed(candidate.delta_m),
                metrics=candidate.metrics,
                budget_madds=candidate.budget_madds,
            )
            for candidate in sorted(results.candidates, key=lambda candidate: -candidate.madds)
        ),
        _Entry(
            name="everything shared",
            mark="baseline",
            madds=costs.shared_madds,
            params=costs.shared_params if shared is None else shared.params,
            delta_m="" if shared is None else format_signed(shared.delta_m),
            metrics=None if shared is None else shared.metrics,
        ),
    ]
    most_params = max(entry.params or 0 for entry in entries)
    return [_set_row(entry, results, most_params) for entry in entries]


def _set_row(entry: _Entry, results: Results, most_params: int) -> _Row:
    """Return a network's figures as the texts of its row."""
    reference = None if results.baselines is None else results.baselines.single.metrics
    return _Row(
        name=entry.name,
        mark=entry.mark,
        budget="" if entry.budget_madds is None else f"{_share(entry.budget_madds, results)} %",
        madds=format_count(entry.madds, results.study.costs.single_madds),
        share=f"{100 * entry.madds / max(results.study.costs.single_madds, 1):.1f} %",
        params="" if entry.params is None else format_count(entry.params, most_params),
        delta_m=entry.delta_m,
        cells=_build_cells(results, entry.metrics, None if entry.metrics is reference else reference),
    )


def _mark(candidate: Candidate, results: Results, best: Candidate | None) -> str:
    """Return the class of a candidate's row."""
    if candidate is best:
        return "best front"
    return "front" if candidate.name in results.front else "behind"


def _build_cells(
    results: Results, metrics: Mapping[str, MetricValue] | None, reference: Mapping[str, MetricValue] | None
) -> tuple[_Cell, ...]:
    """Return one cell per task: the metric, and its gain over the single-task network, more being better."""
    if metrics is None:
        return tuple(_Cell("") for _ in results.study.tasks)
    cells = []
    for task in results.study.tasks:
        metric = metrics[task]
        value = _format_metric(metric.value)
        base = None if reference is None else reference[task].value
        if base is None or base == 0:
            cells.append(_Cell(value))
            continue
        gain = 100 * (metric.value - base) / abs(base) * (1 if metric.higher_is_better else -1)
        tone = "" if abs(gain) < _EVEN_PERCENT else "good" if gain > 0 else "bad"
        cells.append(_Cell(value, f"{format_signed(gain, 1)} %", tone))
    return tuple(cells)


def _format_metric(value: float) -> str:
    """Return a metric with as many digits as are worth reading."""
    digits = 3 if abs(value) < 2 else 2 if abs(value) < 100 else 1
    return f"{value:.{digits}f}".replace("-", MINUS)


def _budgets_by_stage(results: Results) -> dict[str, float]:
    """Return the budget of every search by the name of its stage in the history."""
    return {
        f"search {candidate.name}": candidate.budget_madds
        for candidate in results.candidates
        if candidate.budget_madds is not None
    }


def _draw_trees(results: Results, architectures: Mapping[str, Architecture]) -> list[_Tree]:
    """Return the trees of all candidates that have an architecture, cheapest first."""
    trees = []
    for candidate in sorted(results.candidates, key=lambda candidate: candidate.madds):
        architecture = architectures.get(candidate.name)
        if architecture is None:
            continue
        facts = f"{format_count(candidate.madds)} MAdds · {_share(candidate.madds, results)} %"
        if candidate.delta_m is not None:
            facts += f" · delta_m {format_signed(candidate.delta_m)} %"
        drawing = Markup(tree_svg(architecture, results.study.costs))
        trees.append(_Tree(candidate.name, facts, describe_tree(architecture), drawing))
    return trees


def _list_provenance(study: Study) -> list[tuple[str, str]]:
    """Return what names this run, to find it or to repeat it."""
    return [
        ("dataset", study.dataset),
        ("dataset fingerprint", study.dataset_fingerprint),
        ("backbone", study.backbone),
        ("input size", f" {TIMES} ".join(str(size) for size in (*study.input_size, study.image_channels))),
        ("preset", study.preset),
        ("objective", study.objective),
        ("seed", str(study.seed)),
        ("spec hash", study.spec_hash),
        ("code version", study.code_version),
        ("created", study.created),
        *([] if study.weights is None else [("weights", f"{study.weights.file}, SHA-256 {study.weights.sha256}")]),
    ]


def _describe_waiting(history: History) -> list[tuple[str, str]]:
    """Return how long training waited for its samples; nothing where they were in memory throughout."""
    epochs = [(row[WAITING], stage) for stage, rows in history.items() for row in rows if WAITING in row]
    if not epochs:
        return []
    mean, (worst, stage) = sum(share for share, _ in epochs) / len(epochs), max(epochs)
    return [("waited for samples", f"{100 * mean:.1f} % of an epoch, at most {100 * worst:.1f} % in {stage}")]
