import pytest
import torch

from search.data.digits import GROUP_OF_DIGIT, DigitsDataset, compose_images, draw_pairs, load_sources, split_sources

TASKS = ("left", "right", "left_group", "right_group")


def test_the_sources_are_those_of_scikit_learn() -> None:
    """The file that is read without importing the package holds what its own function returns."""
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    images_NHW, digit_N = load_sources()
    assert torch.equal(images_NHW, torch.from_numpy(digits.images / 16).float())
    assert digit_N.tolist() == digits.target.tolist()


def test_no_digit_image_stands_in_both_splits() -> None:
    """The splits are by source digit, also in content."""
    train, val = split_sources()
    assert not set(train.tolist()) & set(val.tolist())
    sources = load_sources()[0].flatten(1)
    assert not {tuple(row) for row in sources[train].tolist()} & {tuple(row) for row in sources[val].tolist()}
    assert set(draw_pairs("train", 300).flatten().tolist()) <= set(train.tolist())
    assert set(draw_pairs("val", 300).flatten().tolist()) <= set(val.tolist())


def test_the_pairs_are_the_same_everywhere() -> None:
    """Written down once, since accuracies are only comparable on the same images."""
    assert draw_pairs("train", 3).tolist() == [[188, 321], [257, 312], [1257, 453]]
    assert draw_pairs("val", 2).tolist() == [[818, 541], [1737, 764]]


def test_fewer_samples_are_the_first_ones() -> None:
    """The first N images do not depend on how many are used."""
    assert torch.equal(draw_pairs("train", 5), draw_pairs("train", 50)[:5])


def test_digits_lie_where_they_should_and_the_brighter_wins() -> None:
    """Corners that only one digit covers show it alone, the middle shows the maximum, the rest is black."""
    sources = torch.stack([torch.full((8, 8), 0.25), torch.full((8, 8), 0.75)])
    image = compose_images(sources, torch.tensor([[0, 1]]))[0, 0]
    assert torch.all(image[:8, :16] == -0.5)
    assert torch.all(image[8:, 8:] == 0.5)
    assert torch.all(image[16:, :8] == -1)
    assert torch.all(image[:8, 16:] == -1)


def test_digits_are_doubled_bilinearly() -> None:
    """A single bright pixel spreads with weights 3/4 and 1/4."""
    sources = torch.zeros(1, 8, 8)
    sources[0, 4, 4] = 1
    image = (compose_images(sources, torch.tensor([[0, 0]]))[0, 0, 7:11, 7:11] + 1) / 2
    weights = torch.tensor([0.25, 0.75, 0.75, 0.25])
    assert torch.allclose(image, torch.outer(weights, weights))


def test_labels_are_the_digits_and_their_groups() -> None:
    """Groups are the fixed colouring of the digit on their side."""
    batch = DigitsDataset("train", 40, TASKS).batch(range(40))
    digits = load_sources()[1][draw_pairs("train", 40)]
    assert torch.equal(batch["left"], digits[:, 0])
    assert torch.equal(batch["right"], digits[:, 1])
    for side in ("left", "right"):
        assert batch[f"{side}_group"].tolist() == [GROUP_OF_DIGIT[digit] for digit in batch[side].tolist()]


def test_a_batch_has_the_promised_form() -> None:
    """Grey images in [-1, 1] and whole numbers as labels, in the order asked for."""
    dataset = DigitsDataset("val", 30, ("right", "left_group"))
    batch = dataset.batch(torch.tensor([7, 3]))
    assert list(batch) == ["image", "right", "left_group"]
    assert batch["image"].shape == (2, 1, 24, 24)
    assert batch["image"].dtype == torch.float32
    assert batch["image"].min() >= -1
    assert batch["image"].max() <= 1
    assert batch["right"].dtype == torch.int64
    assert torch.equal(batch["image"][1], dataset.batch([3])["image"][0])


def test_lower_resolution_shrinks_the_image_alone() -> None:
    """Labels and digest stay; the side is rounded."""
    full, small = (DigitsDataset("val", 10, TASKS, resolution_scale=scale) for scale in (1.0, 2 / 3))
    assert small.batch([0])["image"].shape == (1, 1, 16, 16)
    assert small.digest == full.digest


@pytest.mark.parametrize("augment", [False, True])
def test_without_a_generator_nothing_is_random(augment: bool) -> None:
    """An augmented split gives its images as they are when no generator is handed in."""
    dataset = DigitsDataset("train", 10, TASKS, augment=augment)
    assert torch.equal(dataset.batch(range(10))["image"], DigitsDataset("train", 10, TASKS).batch(range(10))["image"])


def test_augmentation_shifts_by_at_most_a_pixel_and_repeats_by_seed() -> None:
    """Every augmented image is one of the nine shifts of its original, and several of them occur."""
    dataset = DigitsDataset("train", 60, TASKS, augment=True)
    original = dataset.batch(range(60))["image"]
    moved, again = (dataset.batch(range(60), torch.Generator().manual_seed(5))["image"] for _ in range(2))
    assert torch.equal(moved, again)
    padded = torch.nn.functional.pad(original, (1, 1, 1, 1), value=-1.0)
    shifts = torch.stack([padded[..., dy : dy + 24, dx : dx + 24] for dy in range(3) for dx in range(3)])
    matches = (shifts == moved).flatten(2).all(2)
    assert matches.any(0).all()
    assert matches.any(1).all()


def test_the_digest_follows_content_and_tasks() -> None:
    """Other samples, another split or other tasks are other data."""
    variants = [("train", 20, TASKS), ("val", 20, TASKS), ("train", 21, TASKS), ("train", 20, TASKS[:2])]
    digests = {DigitsDataset(split, num, tasks).digest for split, num, tasks in variants}
    assert len(digests) == 4
    assert DigitsDataset("train", 20, TASKS).digest in digests
