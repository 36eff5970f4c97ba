import pytest
import torch
from torch import Tensor

from search.data.catalogue import TaskInfo
from search.data.compact import augment_samples, make_batch
from search.data.transforms import augment, draw_augmentations

TASKS = (
    TaskInfo("semseg", "segmentation", 5),
    TaskInfo("normals", "normals", 3),
    TaskInfo("depth", "depth", 1),
    TaskInfo("edge", "edge", 1, positive_weight=0.9),
    TaskInfo("scene", "classification", 4),
)


def _sample(seed: int) -> dict[str, Tensor]:
    """Return a random compact sample of 5x7 pixels, some of them ignored."""
    generator = torch.Generator().manual_seed(seed)
    normals = torch.nn.functional.normalize(torch.randn(3, 5, 7, generator=generator), dim=0)
    sample = {
        "image": torch.randint(0, 256, (3, 5, 7), generator=generator).to(torch.uint8),
        "semseg": torch.randint(0, 5, (5, 7), generator=generator).to(torch.uint8),
        "normals": normals.half(),
        "depth": torch.rand(5, 7, generator=generator) * 9,
        "edge": torch.randint(0, 2, (5, 7), generator=generator).to(torch.uint8),
    }
    for name in ("semseg", "normals", "depth", "edge"):
        sample[name][..., 1, 2:5] = 255
    return {**sample, "scene": torch.tensor(seed % 4)}


def test_a_batch_has_the_promised_form() -> None:
    """Types, shapes and ranges of every kind."""
    batch = make_batch([_sample(0), _sample(1)], TASKS)
    assert list(batch) == ["image", *(task.name for task in TASKS)]
    forms = {name: (value.dtype, tuple(value.shape)) for name, value in batch.items()}
    assert forms == {
        "image": (torch.float32, (2, 3, 5, 7)),
        "semseg": (torch.int64, (2, 5, 7)),
        "normals": (torch.float32, (2, 3, 5, 7)),
        "depth": (torch.float32, (2, 1, 5, 7)),
        "edge": (torch.float32, (2, 1, 5, 7)),
        "scene": (torch.int64, (2,)),
    }
    assert torch.equal(batch["image"][1], _sample(1)["image"].float() / 127.5 - 1)


def test_normals_are_unit_vectors_or_ignored() -> None:
    """Their direction is that of the sample, and no zero vector turns into something that is no number."""
    sample = _sample(0)
    sample["normals"][:, 0, 0] = 0
    normals = make_batch([sample], TASKS)["normals"][0]
    assert (normals[:, 1, 2:5] == 255).all()
    assert (normals[:, 0, 0] == 0).all()
    twin = torch.nn.functional.normalize(sample["normals"].float(), dim=0)
    assert torch.allclose(normals[:, 2:], twin[:, 2:], atol=1e-6)
    assert torch.allclose(normals[:, 2:].norm(dim=0), torch.ones(3, 7), atol=1e-6)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_missing_label_is_255_throughout(task: TaskInfo) -> None:
    """In all channels of it, augmented or not, and nothing else of the batch changes."""
    whole, partial = [_sample(0), _sample(1)], [_sample(0), _sample(1)]
    del partial[1][task.name]
    for change in (list, lambda samples: augment_samples(samples, TASKS, torch.Generator().manual_seed(2))):
        found, wanted = make_batch(change(partial), TASKS), make_batch(change(whole), TASKS)
        wanted[task.name][1] = 255
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_each_sample_of_a_batch_is_augmented_by_its_own_draw() -> None:
    """A batch gives what its samples give one by one."""
    samples = [_sample(seed) for seed in range(6)]
    out = augment_samples(samples, TASKS, torch.Generator().manual_seed(8))
    drawn = draw_augmentations(6, (5, 7), torch.Generator().manual_seed(8))
    kinds = {task.name: task.kind for task in TASKS}
    for sample, changed, one in zip(samples, out, drawn, strict=True):
        alone = augment(sample, kinds, one)
        assert all(torch.equal(changed[name], alone[name]) for name in alone)
    assert len(set(drawn)) > 1
