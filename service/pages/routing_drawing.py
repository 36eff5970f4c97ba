"""How a search made up its mind: per layer the copies that each task takes at one moment, and a strip over training.

Rows stand at the heights of the tree beside it. `routing.js` moves the moment; without it the end is shown.
Shapes: R records, L layers, T tasks, K copies per layer.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from search.method.routing import Routing, RoutingRecord
from service.pages.drawing import MONO, colour, escape, frame, task_colour, text
from service.pages.tree.layout import NAME_SIZE, measure_names

_BAR_WIDTH, _BAR_GAP, _SLOT_GAP = 3.6, 0.8, 6.0
_ROW_HEIGHT = 18.0
_STRIP_WIDTH = 180.0
_GAP = 24.0
_LEAST_WIDTH = 118.0  # of the bars, for what stands above them
_LEVELS = 4  # of the strips' strength, between "takes any copy" and "takes this one"
_MAX_RECORDS = 50
_MAX_FIGURES = 30_000  # bytes of probabilities that a page carries


@dataclass(frozen=True)
class RoutingView:
    """A routing made ready for a page.

    Attributes:
        layers: Names of the L layers.
        tasks: Names of the T tasks.
        num_copies: K.
        records: The moments that are shown, thinned, first and last kept.
    """

    layers: tuple[str, ...]
    tasks: tuple[str, ...]
    num_copies: int
    records: tuple[RoutingRecord, ...]

    @classmethod
    def of(cls, routing: Routing) -> RoutingView | None:
        """Return a routing with as few moments as a page needs; None for one without any."""
        if not routing.records:
            return None
        num_copies = len(routing.records[0].probabilities[0][0])
        per_record = len(routing.layers) * len(routing.tasks) * num_copies
        kept = max(2, min(len(routing.records), _MAX_RECORDS, _MAX_FIGURES // max(per_record, 1)))
        last = len(routing.records) - 1
        picks = sorted({round(index * last / (kept - 1)) for index in range(kept)})
        return cls(routing.layers, routing.tasks, num_copies, tuple(routing.records[pick] for pick in picks))

    def encode_percents(self) -> str:
        """Return all probabilities as whole percents, a byte each in the order R, L, T, K, as Base64."""
        values = bytes(
            round(100 * share)
            for record in self.records
            for layer in record.probabilities
            for row in layer
            for share in row
        )
        return base64.b64encode(values).decode()


@dataclass(frozen=True)
class _Places:
    """Where the columns of the drawing stand."""

    bars: float
    slot: float
    strip: float
    row_y: Sequence[float]


def routing_svg(view: RoutingView, row_y: Sequence[float]) -> str:
    """Return the drawing of a routing.

    Args:
        view: What is shown; the bars show its last moment.
        row_y: Heights of the L + 2 rows of the tree beside it.
    """
    left = measure_names(view.layers)
    slot = len(view.tasks) * (_BAR_WIDTH + _BAR_GAP) - _BAR_GAP + _SLOT_GAP
    places = _Places(left, slot, left + max(slot * view.num_copies, _LEAST_WIDTH) + _GAP, row_y)
    width = places.strip + _STRIP_WIDTH + 14
    parts = [
        _draw_headings(view, places),
        *(_draw_layer(view, places, layer) for layer in range(len(view.layers))),
        _draw_cursor(places),
    ]
    return frame(
        width,
        row_y[-1] + 66,
        "".join(parts),
        title="Routing probabilities",
        description=describe_routing(view),
        kind="routing-drawing",
        standalone=False,
        sized=True,
    )


def describe_routing(view: RoutingView) -> str:
    """Return in words which copy each task takes in each layer at the end."""
    last = view.records[-1].probabilities
    return " ".join(
        f"{name}: {describe_layer(view.tasks, layer)}." for name, layer in zip(view.layers, last, strict=True)
    )


def describe_layer(tasks: Sequence[str], layer: Sequence[Sequence[float]]) -> str:
    """Return which copy each task takes in one layer, with how sure the search is of it."""
    picks = [max(range(len(row)), key=row.__getitem__) for row in layer]
    return ", ".join(
        f"{task} copy {pick + 1} ({100 * row[pick]:.0f} %)" for task, row, pick in zip(tasks, layer, picks, strict=True)
    )


def _draw_headings(view: RoutingView, places: _Places) -> str:
    """Return what stands above the columns, and the numbers of the copies."""
    top = places.row_y[0]
    end = view.records[-1].epoch
    numbers = [
        text(
            places.bars + (k + 0.5) * places.slot - _SLOT_GAP / 2,
            top + 3,
            str(k + 1),
            size=9.5,
            anchor="middle",
            fill="muted",
        )
        for k in range(view.num_copies)
    ]
    return "".join(
        (
            text(places.bars - 14, 16, "layer", size=NAME_SIZE, anchor="end", fill="muted"),
            text(places.bars, 16, "copy each task takes", size=NAME_SIZE, fill="muted"),
            text(places.strip, 16, "over training", size=NAME_SIZE, fill="muted"),
            *numbers,
            text(places.strip, top + 3, "start", size=9.5, fill="muted"),
            text(places.strip + _STRIP_WIDTH, top + 3, f"epoch {end}", size=9.5, anchor="end", fill="muted"),
        )
    )


def _draw_layer(view: RoutingView, places: _Places, layer: int) -> str:
    """Return the bars and the strip of one layer."""
    y = places.row_y[layer + 1]
    rows, name = view.records[-1].probabilities[layer], view.layers[layer]
    width = places.slot - _SLOT_GAP
    slots = "".join(f"M{k * places.slot:.1f} 0h{width:.1f}" for k in range(view.num_copies))
    mono = f'font-family="{MONO}"'
    bars = "".join(
        f'<path class="bars" d="{draw_bars(row, places.slot, _place_bar(task))}" stroke="{task_colour(task)}"/>'
        for task, row in enumerate(rows)
    )
    # The rectangle is there to be pointed at, so that the title of the layer shows.
    return (
        text(places.bars - 14, y + 3.5, name, size=NAME_SIZE, anchor="end", fill="muted", attributes=mono)
        + f'<g class="routing-layer" data-layer="{escape(name)}" stroke-width="{_BAR_WIDTH:g}" '
        f'transform="translate({places.bars:.1f} {y + _ROW_HEIGHT / 2:.1f})">'
        f"<title>{escape(name)}: {escape(describe_layer(view.tasks, rows))}</title>"
        f'<rect y="{-_ROW_HEIGHT:g}" width="{places.slot * view.num_copies:.0f}" height="{_ROW_HEIGHT:g}" '
        f'fill="{colour("surface")}"/><path d="{slots}" stroke="{colour("line")}" stroke-width="1.5"/>{bars}</g>'
        f"{_draw_strip(view, places, layer)}"
    )


def draw_bars(row: Sequence[float], slot: float, x: float) -> str:
    """Return the path of a task's bars, one per copy, as high as its probability in whole percents.

    Args:
        row: Probabilities of the K copies.
        slot: How far apart copies stand.
        x: Where the bar of the first copy stands.
    """
    percents = [round(100 * share) for share in row]
    return "".join(
        f"M{x + k * slot:.1f} 0v-{percent * _ROW_HEIGHT / 100:.1f}" for k, percent in enumerate(percents) if percent
    )


def _place_bar(task: int) -> float:
    """Return where the bar of a task stands in the slot of a copy."""
    return task * (_BAR_WIDTH + _BAR_GAP) + _BAR_WIDTH / 2


def _draw_strip(view: RoutingView, places: _Places, layer: int) -> str:
    """Return a layer over training: a line per task in the colour of the copy it takes, pale while it is unsure."""
    num_tasks, num_records = len(view.tasks), len(view.records)
    line = _ROW_HEIGHT / num_tasks
    top = places.row_y[layer + 1] - _ROW_HEIGHT / 2
    pieces: dict[int, dict[int, list[str]]] = {}
    for task in range(num_tasks):
        start = 0
        for (copy, level), run in groupby(_find_shade(record.probabilities[layer][task]) for record in view.records):
            length = len(list(run))
            if level:
                by_level = pieces.setdefault(copy, {})
                by_level.setdefault(level, []).append(f"M{start} {(task + 0.5) * line:.4g}h{length}")
            start += length
    drawn = "".join(
        f'<g stroke="{task_colour(copy)}">'
        + "".join(f'<path d="{"".join(d)}" opacity="{level / _LEVELS:.2g}"/>' for level, d in sorted(by_level.items()))
        + "</g>"
        for copy, by_level in sorted(pieces.items())
    )
    # One unit to the right is one moment; lines are level, so that their width is not stretched.
    return (
        f'<g class="routing-strip" stroke-width="{max(line - 0.6, 0.8):.2f}" transform="translate({places.strip:.1f} '
        f'{top:.1f}) scale({_STRIP_WIDTH / num_records:.4f} 1)"><rect width="{num_records}" height="{_ROW_HEIGHT:g}" '
        f'fill="{colour("tint")}" fill-opacity="0.6"/>{drawn}</g>'
    )


def _find_shade(row: Sequence[float]) -> tuple[int, int]:
    """Return the copy that a task takes and how sure the search is: 0 for chance, `_LEVELS` for certain."""
    copy = max(range(len(row)), key=row.__getitem__)
    chance = 1 / len(row)
    sureness = (row[copy] - chance) / (1 - chance) if len(row) > 1 else 1.0
    level = max(0, min(_LEVELS, round(sureness * _LEVELS)))
    return (copy, level) if level else (0, 0)


def _draw_cursor(places: _Places) -> str:
    """Return the line that says which moment the bars show."""
    x = places.strip + _STRIP_WIDTH
    return (
        f'<line class="moment" data-slot="{places.slot:.2f}" data-first="{_place_bar(0):g}" '
        f'data-pitch="{_BAR_WIDTH + _BAR_GAP:g}" data-left="{places.strip:.1f}" '
        f'data-width="{_STRIP_WIDTH:.1f}" '
        f'x1="{x:.1f}" x2="{x:.1f}" '
        f'y1="{places.row_y[0] + 8:.1f}" y2="{places.row_y[-2] + _ROW_HEIGHT / 2 + 6:.1f}" stroke="{colour("ink")}" '
        'stroke-width="1.5"/>'
    )
