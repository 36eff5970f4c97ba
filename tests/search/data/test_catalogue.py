import pytest

from search.data.catalogue import DATASETS, TaskInfo, resolve_tasks
from search.errors import TaskSetError, UnknownNameError


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_what_the_catalogue_says_of_a_dataset_fits_together(name: str) -> None:
    """Keys, names, sizes and channels agree."""
    info = DATASETS[name]
    assert info.name == name
    assert len({task.name for task in info.tasks}) == len(info.tasks)
    assert all(info.sizes[0] <= side <= info.sizes[1] for side in info.default_size)
    for task in info.tasks:
        assert len(task.class_names) in (0, task.channels)
        assert (task.positive_weight is not None) == (task.kind == "edge")


@pytest.mark.parametrize("task", [task for info in DATASETS.values() for task in info.tasks], ids=str)
def test_classes_have_distinct_names(task: TaskInfo) -> None:
    """No class of a task is named twice."""
    assert len(set(task.class_names)) == len(task.class_names)


@pytest.mark.parametrize(
    ("name", "channels", "counts"),
    [("pascal_context", [21, 7, 1, 3, 1], (4998, 5105)), ("nyud", [41, 3, 1, 1], (795, 654))],
)
def test_datasets_of_the_paper_have_its_tasks(name: str, channels: list[int], counts: tuple[int, int]) -> None:
    """Channels and numbers of images are those of the paper."""
    info = DATASETS[name]
    assert [task.channels for task in info.tasks] == channels
    assert (info.num_train, info.num_val) == counts


def test_the_order_in_which_tasks_are_named_does_not_matter() -> None:
    """Tasks come in the dataset's order; without names all of them come."""
    info = DATASETS["digits"]
    assert [task.name for task in resolve_tasks(info, ["left_group", "left"])] == ["left", "left_group"]
    assert resolve_tasks(info, None) == info.tasks


@pytest.mark.parametrize(
    ("names", "error", "said"),
    [
        (["left"], TaskSetError, "at least two tasks, got left"),
        ([], TaskSetError, "got none"),
        (["left", "left", "right"], TaskSetError, "got left more than once"),
        (["left", "middle"], UnknownNameError, "no task 'middle'"),
    ],
)
def test_tasks_that_make_no_job_are_refused(names: list[str], error: type[Exception], said: str) -> None:
    """The message says what was seen."""
    with pytest.raises(error, match=said):
        resolve_tasks(DATASETS["digits"], names)
