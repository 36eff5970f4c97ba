"""The routing drawing: bars at one moment, strips over training, and the bytes that a page carries."""

import base64
from xml.etree import ElementTree

import pytest

from search.method.routing import Routing, RoutingRecord
from service.pages.routing_drawing import RoutingView, describe_layer, routing_svg

LAYERS, TASKS = ("one", "two", "three"), ("a", "b")


def _build(num_records: int, num_layers: int = 3) -> Routing:
    """Return a routing in which b leaves for its own copy from the second layer on."""
    records = []
    for index in range(num_records):
        sure = 0.5 + 0.5 * index / max(num_records - 1, 1)
        together, apart = ((sure, 1 - sure), (sure, 1 - sure)), ((sure, 1 - sure), (1 - sure, sure))
        layers = (together, *[apart] * (num_layers - 1))
        records.append(RoutingRecord(step=10 * index, epoch=index, temperature=5.0, probabilities=layers))
    return Routing(layers=LAYERS[:num_layers], tasks=TASKS, records=tuple(records))


@pytest.mark.parametrize("num_records", [1, 2, 7, 200])
def test_first_and_last_moment_are_kept(num_records: int) -> None:
    """A page carries as many moments as are worth moving through."""
    routing = _build(num_records)
    view = RoutingView.of(routing)
    assert view is not None
    assert (view.records[0], view.records[-1]) == (routing.records[0], routing.records[-1])
    assert len(view.records) == min(num_records, 50)


def test_a_routing_without_moments_is_not_shown() -> None:
    """A search that has not begun has nothing to draw."""
    assert RoutingView.of(Routing(layers=LAYERS, tasks=TASKS, records=())) is None


def test_percents_stand_in_order() -> None:
    """A byte per probability: moments, layers, tasks, copies."""
    view = RoutingView.of(_build(2))
    assert view is not None
    percents = list(base64.b64decode(view.encode_percents()))
    assert percents == [50] * 12 + [100, 0, 100, 0] + [100, 0, 0, 100] * 2


def test_bars_show_the_last_moment() -> None:
    """A layer has a set of bars per task, as high as its probabilities, and says in its title who goes where."""
    view = RoutingView.of(_build(3))
    assert view is not None
    root = ElementTree.fromstring(routing_svg(view, (64, 86, 108, 130, 152)))
    layers = [element for element in root.iter() if element.get("class") == "routing-layer"]
    assert [layer.get("data-layer") for layer in layers] == list(LAYERS)
    bars = [path for path in layers[1] if path.get("class") == "bars"]
    assert [str(bar.get("d")).partition("v")[2] for bar in bars] == ["-18.0", "-18.0"]
    assert bars[0].get("d") != bars[1].get("d")
    titles = [next(child.text for child in layer if child.tag.endswith("title")) for layer in layers]
    assert titles[:2] == ["one: a copy 1 (100 %), b copy 1 (100 %)", "two: a copy 1 (100 %), b copy 2 (100 %)"]


def test_strips_are_pale_while_the_search_is_unsure() -> None:
    """At chance nothing is drawn; at the end a task has the full colour of the copy it takes."""
    sure = RoutingView.of(_build(2))
    unsure = RoutingView.of(_build(1))
    assert sure is not None
    assert unsure is not None
    assert 'opacity="1"' in routing_svg(sure, (0, 1, 2, 3, 4))
    assert 'h1" opacity="' not in routing_svg(unsure, (0, 1, 2, 3, 4))


def test_words_name_the_likeliest_copy() -> None:
    """Copies are counted from one."""
    assert describe_layer(("a", "b"), ((0.2, 0.8), (0.61, 0.39))) == "a copy 2 (80 %), b copy 1 (61 %)"
