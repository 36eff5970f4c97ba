"""delta_m of every row of the paper's result tables, recomputed from the metrics printed beside it.

Source: Bruggemann et al., BMVC 2020 (arXiv 2008.10292), comparison tables and ablations on PASCAL-Context and NYUD-v2.
"""

import pytest

from search.delta import compute_delta_m
from search.results import MetricValue

PASCAL_MOBILENET = {
    # model: SemSeg mIoU, PartSeg mIoU, Sal mIoU, Norm mErr, Edge odsF, delta_m
    "Single": (65.11, 57.54, 65.41, 13.98, 69.50, 0.00),
    "Shared": (59.69, 55.96, 63.03, 16.02, 67.80, -6.35),
    "Cross-Stitch": (63.28, 60.21, 65.13, 14.17, 71.10, 0.47),
    "NDDR-CNN": (63.22, 56.12, 65.16, 14.47, 68.90, -2.02),
    "MTAN": (61.55, 58.89, 64.96, 14.74, 69.90, -1.73),
    "BMTAS-1": (61.43, 56.77, 63.64, 14.77, 68.20, -3.44),
    "BMTAS-2": (62.80, 57.72, 64.92, 14.48, 68.70, -1.74),
    "BMTAS-3": (64.07, 58.60, 64.72, 14.27, 69.40, -0.60),
    "Permutations": (63.07, 57.46, 64.25, 14.94, 69.20, -2.47),
    "Vanilla": (64.29, 57.15, 64.43, 15.06, 69.10, -2.34),
    "without resource loss": (64.70, 58.82, 65.32, 14.14, 70.00, 0.21),
    "without warm-up": (62.70, 57.93, 63.66, 14.74, 68.60, -2.49),
    "without resizing": (63.29, 57.50, 64.06, 14.37, 68.70, -1.77),
}
PASCAL_RESNET50 = {
    "Single": (70.43, 63.93, 67.34, 13.39, 74.10, 0.00),
    "Shared": (68.24, 62.18, 65.16, 14.98, 71.90, -4.80),
    "BMTAS-1": (68.17, 62.36, 65.64, 14.09, 72.20, -3.20),
    "BMTAS-2": (66.92, 62.93, 65.82, 13.70, 72.90, -2.56),
    "BMTAS-3": (69.58, 64.36, 66.68, 13.65, 73.00, -1.00),
}
NYUD_RESNET50 = {
    # model: SemSeg mIoU, Depth RMSE, Norm mErr, Edge odsF, delta_m
    "Single": (40.08, 0.5479, 21.67, 70.10, 0.00),
    "Shared": (38.37, 0.5766, 22.66, 70.90, -3.23),
    "Cross-Stitch": (41.01, 0.5380, 22.00, 70.40, 0.77),
    "NDDR-CNN": (40.88, 0.5358, 21.86, 70.30, 0.91),
    "MTAN": (42.03, 0.5191, 21.89, 70.40, 2.38),
    "BMTAS-1": (40.66, 0.5691, 21.84, 70.70, -0.58),
    "BMTAS-2": (40.37, 0.5413, 21.74, 69.80, 0.30),
    "BMTAS-3": (41.10, 0.5431, 21.56, 70.10, 0.98),
}
PASCAL_METRICS = (("semseg", "mIoU"), ("parts", "mIoU"), ("sal", "maxIoU"), ("normals", "mErr"), ("edge", "odsF"))
NYUD_METRICS = (("semseg", "mIoU"), ("depth", "RMSE"), ("normals", "mErr"), ("edge", "odsF"))
TABLES = (
    ("PASCAL-Context MobileNetV2", PASCAL_METRICS, PASCAL_MOBILENET),
    ("PASCAL-Context ResNet-50", PASCAL_METRICS, PASCAL_RESNET50),
    ("NYUD-v2 ResNet-50", NYUD_METRICS, NYUD_RESNET50),
)


def as_metrics(names: tuple[tuple[str, str], ...], row: tuple[float, ...]) -> dict[str, MetricValue]:
    """Return a table row without its last column as metrics."""
    lower_is_better = ("mErr", "RMSE")
    return {
        task: MetricValue(metric=metric, value=value, higher_is_better=metric not in lower_is_better)
        for (task, metric), value in zip(names, row[:-1], strict=True)
    }


@pytest.mark.parametrize(
    ("names", "row", "baseline"),
    [
        pytest.param(names, row, table["Single"], id=f"{title}: {model}")
        for title, names, table in TABLES
        for model, row in table.items()
    ],
)
def test_delta_m_of_the_paper(
    names: tuple[tuple[str, str], ...], row: tuple[float, ...], baseline: tuple[float, ...]
) -> None:
    """The gain recomputed from the printed metrics is the printed gain, up to the rounding of what is printed."""
    assert compute_delta_m(as_metrics(names, row), as_metrics(names, baseline)) == pytest.approx(row[-1], abs=0.02)


def test_all_rows_are_there() -> None:
    """The tables hold the 23 rows that have a gain besides the baselines."""
    assert sum(len(table) - 1 for _, _, table in TABLES) == 23
