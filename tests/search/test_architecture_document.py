"""architecture.json: what is written is read back, and what is wrong is refused in one sentence."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.branching import Branching
from search.architecture import Architecture, HeadShape, Provenance, check_fits_dataset, heads_of, layers_of
from search.data.catalogue import DATASETS
from search.errors import ArchitectureFileError

TASKS = ("left", "right", "left_group")
ROUTING = ((0, 0, 0), (0, 1, 0), (0, 1, 0), (0, 1, 0), (0, 1, 2))
NAMES = tuple(f"block{index}" for index in range(1, 6))


def _architecture(branching: Branching | None = None, dataset: str = "digits") -> Architecture:
    """Return a three-task architecture for tiny4."""
    tree = branching or Branching.from_routing(TASKS, ROUTING)
    info = DATASETS["digits"]
    return Architecture(
        tasks=tree.tasks,
        backbone="tiny4",
        input_size=(24, 24),
        image_channels=1,
        layers=layers_of(tree, NAMES),
        heads=heads_of([info.task(task) for task in tree.tasks]),
        madds=310_000,
        params=2_345,
        budget_madds=320_000,
        provenance=Provenance(
            dataset=dataset,
            dataset_fingerprint="f00d",
            seed=0,
            objective="exact",
            spec_hash="beef",
            code_version="0.1.0",
            created="2026-01-31T12:00:00+00:00",
        ),
    )


def _document() -> dict[str, Any]:
    """Return that architecture as JSON values, to spoil."""
    document: dict[str, Any] = json.loads(_architecture().to_json_bytes())
    return document


def _encode(document: object) -> bytes:
    """Return JSON values as bytes."""
    return json.dumps(document).encode()


def test_what_is_written_is_read_back() -> None:
    """A document survives writing and reading, and its tree with it."""
    architecture = _architecture()
    again = Architecture.from_json_bytes(architecture.to_json_bytes())
    assert again == architecture
    assert again.branching == Branching.from_routing(TASKS, ROUTING)
    assert again.layer_names == NAMES


def test_the_keys_are_those_of_the_format() -> None:
    """The file holds the promised keys in a fixed order, one line per layer, and ends with a newline."""
    content = _architecture().to_json_bytes()
    expected = (
        "format version tasks backbone input_size image_channels layers heads madds params budget_madds provenance"
    )
    assert list(json.loads(content)) == expected.split()
    assert content.endswith(b"}\n")
    assert b'    {"name": "block2", "groups": [["left", "left_group"], ["right"]]},\n' in content


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(TASKS), routing=st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=5, max_size=5))
def test_task_order_changes_no_byte(order: list[str], routing: list[tuple[int, int, int]]) -> None:
    """The same tree gives the same file in whatever order its tasks were named."""
    picks = [[row[TASKS.index(task)] for task in order] for row in routing]
    permuted = _architecture(Branching.from_routing(order, picks))
    assert permuted.to_json_bytes() == _architecture(Branching.from_routing(TASKS, routing)).to_json_bytes()


def test_tasks_of_an_unknown_dataset_keep_their_order() -> None:
    """Where the dataset is not in the table, tasks stay as the file names them."""
    tree = Branching.shared(("right", "left"), 5)
    assert _architecture(tree, dataset="mine").tasks == ("right", "left")


def _set(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    """Return a spoiler that puts a value under a key."""
    return lambda document: document.__setitem__(key, value)


def _join_parted(document: dict[str, Any]) -> None:
    """Join in the last layer what an earlier one parted."""
    document["layers"][4]["groups"] = [["left", "right", "left_group"]]


SPOILS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "other format": (_set("format", "something"), "'format' must be 'bmtas-architecture', got 'something'"),
    "no format": (lambda d: d.pop("format"), "'format' must be"),
    "newer version": (_set("version", 2), "version 2, and this bmtas reads up to 1; upgrade"),
    "older version": (_set("version", 0), "'version'"),
    "missing key": (lambda d: d.pop("madds"), "the key 'madds' is missing"),
    "missing inner key": (lambda d: d["layers"][1].pop("groups"), "the key 'layers.1.groups' is missing"),
    "unknown key": (_set("colour", "red"), "the key 'colour' is unknown"),
    "not a tree": (_join_parted, "an earlier layer parted"),
    "no partition": (lambda d: d["layers"][0]["groups"][0].pop(), "exactly once"),
    "too few layers": (lambda d: d["layers"].pop(), "has 5 layers, and the file lists 4"),
    "repeated layer": (lambda d: d["layers"][1].update(name="block1"), "'block1' stands twice"),
    "unknown backbone": (_set("backbone", "vgg"), "Unknown backbone 'vgg'"),
    "heads of other tasks": (lambda d: d["heads"].pop("left"), "'heads' must name each"),
    "unknown kind": (lambda d: d["heads"]["left"].update(kind="magic"), "'heads.left.kind'"),
    "number as text": (_set("madds", "310000"), "'madds'"),
    "fraction": (_set("params", 1.5), "'params'"),
    "negative": (_set("madds", -1), "'madds'"),
    "truth as number": (_set("params", True), "'params'"),
    "empty side": (_set("input_size", [0, 24]), "'input_size.0'"),
    "no time": (lambda d: d["provenance"].update(created="now"), "ISO 8601"),
    "repeated task": (_set("tasks", ["left", "left", "right"]), "must be distinct"),
}


@pytest.mark.parametrize("case", SPOILS)
def test_a_spoiled_document_is_refused_in_one_sentence(case: str) -> None:
    """The error names the file, what is wrong in it, and what to do."""
    spoil, reason = SPOILS[case]
    document = _document()
    spoil(document)
    with pytest.raises(ArchitectureFileError) as caught:
        Architecture.from_json_bytes(_encode(document), "net.json")
    message = str(caught.value)
    assert message.startswith("net.json is not a usable architecture file: ")
    assert reason in message
    assert message.endswith(". Use an architecture.json that a search wrote.")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"{", "it is not JSON"),
        (b"\xff\xfe", "it is not UTF-8"),
        (b"[1]", "it holds a JSON list, not an object"),
        (b'{"a": 1, "a": 2}', "the key 'a' stands twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digit"),
    ],
)
def test_what_is_no_strict_json_is_refused(content: bytes, reason: str) -> None:
    """Cut, binary and ambiguous files are told apart."""
    with pytest.raises(ArchitectureFileError, match="not a usable architecture file") as caught:
        Architecture.from_json_bytes(content)
    assert reason in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(start=st.integers(0, 800), length=st.integers(1, 40), filler=st.binary(max_size=4))
def test_no_damage_escapes_as_another_error(start: int, length: int, filler: bytes) -> None:
    """A file with a hole in it is either still an architecture or refused with our own error."""
    content = _architecture().to_json_bytes()
    damaged = content[:start] + filler + content[start + length :]
    try:
        read = Architecture.from_json_bytes(damaged)
    except ArchitectureFileError:
        return
    assert Architecture.from_json_bytes(read.to_json_bytes()) == read


def test_an_architecture_fits_the_dataset_it_was_searched_on() -> None:
    """The right dataset is taken without a word."""
    check_fits_dataset(_architecture(), DATASETS["digits"])


def test_another_dataset_is_refused() -> None:
    """A dataset without the tasks is refused, and the right one named."""
    with pytest.raises(ArchitectureFileError, match=r"no task 'left'.*'digits'"):
        check_fits_dataset(_architecture(), DATASETS["scenes"])


def test_a_head_of_other_width_is_refused() -> None:
    """A task of the same name with other classes does not fit."""
    narrow = _architecture().model_copy(update={"heads": {"left": HeadShape(kind="classification", channels=7)}})
    with pytest.raises(ArchitectureFileError, match=r"10 channels in dataset 'digits'.*with 7"):
        check_fits_dataset(narrow, DATASETS["digits"])


def test_other_image_channels_are_refused() -> None:
    """A network for colour images does not fit grey ones."""
    colour = _architecture().model_copy(update={"image_channels": 3})
    with pytest.raises(ArchitectureFileError, match="takes 3"):
        check_fits_dataset(colour, DATASETS["digits"])
