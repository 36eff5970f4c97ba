"""Backbones of other packages as a server offers them: described by somebody else, kept, never imported."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from db.memory.store import MemoryStore
from models.errors import ModelsError
from search.costs.backbone_facts import BackboneDescription
from search.data.catalogue import TaskInfo
from service.errors import BackboneDescriptionError
from service.web.planning.backbone_offers import BackboneOffers
from service.web.problems import ProblemError

TASKS = (TaskInfo("a", "edge", 1), TaskInfo("b", "classification", 3))


class Describer:
    """Stands in for the child process: counts what it is asked, and fails while it has an error."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None

    def __call__(
        self, name: str, tasks: Sequence[TaskInfo], size: tuple[int, int] | None, channels: int | None
    ) -> BackboneDescription:
        """Return a description whose costs count the tasks."""
        self.asked += 1
        if self.error is not None:
            raise self.error
        return BackboneDescription(
            name=name,
            num_layers=2,
            output_stride=8,
            min_size=16,
            image_channels=3,
            summary="two blocks",
            definition="d",
            input_size=size or (16, 16),
            layer_names=("one", "two"),
            stem_madds=10,
            layer_madds=(20, 30),
            decoder_madds={task.name: 5 for task in tasks},
            stem_params=1,
            layer_params=(2, 3),
            decoder_params={task.name: 1 for task in tasks},
        )


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the metadata folder of an installed package that brings a backbone, whose module must not be imported."""
    folder = tmp_path / "wild-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: wild\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[bmtas.backbones]\nwild_net = wild_module:build\n")
    (tmp_path / "wild_module.py").write_text("raise AssertionError('the server must not import it')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


@pytest.fixture
def time() -> list[datetime]:
    """Return the time, which a test may replace."""
    return [datetime(2030, 1, 1, tzinfo=UTC)]


@pytest.fixture
def store(time: list[datetime]) -> MemoryStore:
    """Return an empty store."""
    return MemoryStore(clock=lambda: time[0])


def test_facts_are_asked_for_once(package: Path, store: MemoryStore) -> None:
    """The list names it before and after; facts and costs are kept per tasks and size, for the next server too."""
    describer = Describer()
    offers = BackboneOffers(store, describer)
    (before,) = [row for row in offers.list() if row.package]
    assert (before.name, before.package, before.info, before.problem) == ("wild_net", "wild 1.0", None, "")
    assert (offers.get("wild_net").num_layers, describer.asked) == (2, 1)
    costs = [BackboneOffers(store, describer).compute_costs("wild_net", TASKS, (32, 32), 3) for _ in range(2)]
    assert (costs[0].shared_madds, costs[0] == costs[1], describer.asked) == (70, True, 2)
    (after,) = [row for row in offers.list() if row.package]
    assert (after.info is not None, describer.asked, "wild_module" in sys.modules) == (True, 2, False)


def test_a_server_gets_to_know_them_at_its_start(package: Path, store: MemoryStore) -> None:
    """What is known already is not asked for; a broken one is no reason to stop, the end of the server is."""
    describer, ended = Describer(), threading.Event()
    offers = BackboneOffers(store, describer)
    describer.error = BackboneDescriptionError("It is broken. Mend it.")
    offers.describe_all(ended)
    describer.error = None
    offers.describe_all(ended)
    assert describer.asked == 1
    assert not any(row.info for row in offers.list() if row.package)
    ended.set()
    BackboneOffers(MemoryStore(), describer).describe_all(ended)
    assert describer.asked == 1


def test_another_version_is_asked_anew(package: Path, store: MemoryStore) -> None:
    """What was found out holds for the package as it was installed then."""
    describer = Describer()
    offers = BackboneOffers(store, describer)
    offers.get("wild_net")
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: wild\nVersion: 1.1\n")
    offers.get("wild_net")
    assert describer.asked == 2


@pytest.mark.parametrize("error", [BackboneDescriptionError("It is broken. Mend it."), ModelsError("It is cut badly.")])
def test_a_broken_package_is_a_problem_of_the_field(
    package: Path, store: MemoryStore, time: list[datetime], error: Exception
) -> None:
    """Its sentence stands at /backbone and in the list; half a minute later it is tried again."""
    describer = Describer()
    describer.error = error
    offers = BackboneOffers(store, describer)
    for _ in range(2):
        with pytest.raises(ProblemError, match=str(error)) as refused:
            offers.get("wild_net")
        assert refused.value.errors[0].pointer == "/backbone"
    assert describer.asked == 1
    assert next(row.problem for row in offers.list() if row.package) == str(error)
    time[0] += timedelta(seconds=31)
    assert next(row.problem for row in offers.list() if row.package) == str(error)
    describer.error = None
    assert offers.get("wild_net").summary == "two blocks"


def test_names_that_nobody_brings_are_refused(package: Path, store: MemoryStore) -> None:
    """The refusal lists what there is; code is no name, and without a describer built-in ones alone are offered."""
    for name in ("nothing", "wild_module:build", "../wild_net", ""):
        with pytest.raises(ProblemError, match=r"Choose one of: tiny4, .*wild_net"):
            BackboneOffers(store, Describer()).get(name)
    with pytest.raises(ProblemError, match="Choose one of"):
        BackboneOffers(store, None).get("wild_net")
    assert all(row.package is None for row in BackboneOffers(store, None).list())
    assert BackboneOffers(store, None).get("tiny4").num_layers == 5
