"""How long odsF takes: one image by the fast path and by its plain twin, and many images by one and several processes.

python benchmarks/edges.py [--images 32] [--processes 2] [--thresholds 99]
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Iterator

import numpy as np
from scipy import ndimage

from search.data.reading.reading_processes import map_in_processes
from search.edges.counts import (
    EdgeCounts,
    EdgeImage,
    EdgeWork,
    count_image,
    count_matches_plainly,
    count_work,
    suppress_non_maxima,
    thin_lines,
)

SIZES = ((128, 128), (256, 256), (425, 560), (512, 512))
NUM_REGIONS = 40
TOLERANCE = 0.0075
SHARPNESSES = {"sharp": 0.02, "like a trained network": 0.1, "noisy": 0.5}


def draw_image(size: tuple[int, int], noise: float, seed: int) -> EdgeImage:
    """Return the boundaries between random regions, and a prediction that is blurred, fades and has false alarms.

    Args:
        size: (H, W) in pixels.
        noise: How strong the false alarms are.
        seed: Draws all of it.
    """
    random = np.random.default_rng(seed)
    rows_HW, columns_HW = np.indices(size)
    nearest_HW, region_HW = np.full(size, np.inf), np.zeros(size, dtype=np.int64)
    for region, (row, column) in enumerate(random.uniform(0, 1, (NUM_REGIONS, 2)) * size):
        distance_HW = (rows_HW - row) ** 2 + (columns_HW - column) ** 2
        region_HW[distance_HW < nearest_HW] = region
        nearest_HW = np.minimum(nearest_HW, distance_HW)
    truth_HW = np.zeros(size, dtype=np.bool_)
    truth_HW[1:] |= region_HW[1:] != region_HW[:-1]
    truth_HW[:, 1:] |= region_HW[:, 1:] != region_HW[:, :-1]
    ridge_HW = ndimage.gaussian_filter(truth_HW.astype(np.float64), 1.5)
    alarms_HW, fading_HW = (ndimage.gaussian_filter(random.normal(size=size), radius) for radius in (2, 30))
    logit_HW = 8 * ridge_HW / ridge_HW.max() - 4 + 6 * noise * alarms_HW / alarms_HW.std()
    probability_HW = 1 / (1 + np.exp(-logit_HW - 1.5 * fading_HW / fading_HW.std()))
    return EdgeImage(probability_HW, truth_HW, np.ones(size, dtype=np.bool_))


def count_plainly(image: EdgeImage, thresholds: np.ndarray) -> EdgeCounts:
    """Return the counts of an image, every threshold thinned and matched on its own."""
    tolerance_px = TOLERANCE * math.hypot(*image.truth_HW.shape)
    strength_HW = suppress_non_maxima(image.probability_HW)
    return count_matches_plainly(strength_HW, thin_lines(image.truth_HW), thresholds, tolerance_px)


def measure_seconds(work: Callable[[], EdgeCounts]) -> tuple[float, EdgeCounts]:
    """Return the seconds of processor time that some work takes, and its result."""
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


def print_images(thresholds: np.ndarray) -> None:
    """Print a row per size and kind of prediction."""
    print(f"{len(thresholds)} thresholds, seconds of processor time per image")
    print(f"{'size':>9}  {'prediction':<24}{'edge pixels':>12}{'fast':>8}{'plain':>8}{'times':>7}  counts")
    for size in SIZES:
        for words, noise in SHARPNESSES.items():
            image = draw_image(size, noise, seed=1)
            fast_s, fast = measure_seconds(lambda image=image: count_image(image, thresholds, TOLERANCE))  # type: ignore[misc]
            plain_s, plain = measure_seconds(lambda image=image: count_plainly(image, thresholds))  # type: ignore[misc]
            equal = np.array_equal(fast.matched, plain.matched) and np.array_equal(fast.predicted, plain.predicted)
            print(
                f"{size[0]:>5}x{size[1]}  {words:<24}{fast.predicted[0]:>12}{fast_s:>8.3f}{plain_s:>8.2f}"
                f"{plain_s / fast_s:>7.0f}  {'equal' if equal else 'DIFFERENT'}"
            )


def list_work(images: list[EdgeImage], num_images: int, thresholds: np.ndarray) -> Iterator[EdgeWork]:
    """Yield so many images to be counted."""
    for index in range(num_images):
        yield EdgeWork("edge", images[index % len(images)], thresholds, TOLERANCE)


def print_processes(num_images: int, most_processes: int, thresholds: np.ndarray) -> None:
    """Print a row per number of processes, their start included."""
    images = [draw_image((425, 560), 0.1, seed) for seed in range(8)]
    print(f"\n{num_images} images of 425x560, seconds on the clock, start of the processes included")
    print(f"{'processes':>9}{'seconds':>10}{'per image':>11}{'speed-up':>10}")
    alone = 0.0
    for num_processes in sorted({1, 2, most_processes}):
        began = time.monotonic()
        for _ in map_in_processes(count_work, list_work(images, num_images, thresholds), num_processes):
            pass
        seconds = time.monotonic() - began
        alone = alone or seconds
        print(f"{num_processes:>9}{seconds:>10.2f}{seconds / num_images:>11.3f}{alone / seconds:>10.2f}")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100, help="images of the second table")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)), help="most processes of it")
    parser.add_argument("--thresholds", type=int, default=99)
    chosen = parser.parse_args()
    thresholds = np.arange(1, chosen.thresholds + 1) / (chosen.thresholds + 1)
    print_images(thresholds)
    print_processes(chosen.images, chosen.processes, thresholds)


if __name__ == "__main__":
    main()
