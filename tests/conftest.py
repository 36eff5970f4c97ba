"""Settings every test runs under: passive OpenMP threads, one torch thread, no deadlines, no silent skips in CI."""

import os
from collections.abc import Generator
from typing import TypeVar

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import hypothesis
import pytest
import torch

IN_CI = os.environ.get("CI", "").strip().lower() not in ("", "0", "false", "no")
NO_GPU = "no CUDA device on this machine"
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

# A busy machine must not fail a property; in CI the examples are the same in every run.
hypothesis.settings.register_profile("bmtas", deadline=None, derandomize=IN_CI, database=None)
hypothesis.settings.load_profile("bmtas")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Keep tests from fighting over two cores."""
    torch.set_num_threads(1)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Return the device under test; the GPU case skips where there is none."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip(NO_GPU)
    return torch.device(str(request.param))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that skips in CI for want of anything but a GPU."""
    return _without_silent_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a file that skips as a whole in CI."""
    return _without_silent_skip((yield))


def _without_silent_skip(report: Report) -> Report:
    """Return the report, a skip turned into a failure unless a GPU is missing or, for a test of that, is there."""
    reason = str(report.longrepr)
    if IN_CI and report.skipped and not hasattr(report, "wasxfail") and "CUDA device" not in reason:
        report.outcome = "failed"
        report.longrepr = f"Nothing but a GPU may be missing in CI, but this was skipped: {reason}"
    return report
