"""An export from the page by a real worker, and the page's own lines of Python run on it in a fresh process (E6)."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from search.architecture import Architecture
from search.networks import build_network
from search.training.lesson import pack_weights
from service.web.token_format import make_token

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from db.records.jobs import ClaimedTrial
    from tests.service.dashboard.conftest import SeedSearch, Site

PATIENCE_MS = 120_000


def leave_weights(site: Site, claimed: ClaimedTrial, result: dict[str, Any]) -> None:
    """Leave the network of a candidate with weights at random."""
    if claimed.trial.kind == "candidate":
        torch.manual_seed(0)
        network = build_network(Architecture.model_validate_json(json.dumps(result["architecture"])))
        site.put_file(claimed, "weights.safetensors", pack_weights(network))


@pytest.fixture
def worker(site: Site, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Return a real worker of the server, which is of its version from now on."""
    site.stop()
    site.code_version = version("bmtas")
    site.start()
    token = make_token(name="worker", owner="w", role="worker", created_at=site.store.now())
    site.store.add_token(token.record)
    (tmp_path / "token").write_text(token.text)
    command = [sys.executable, "-m", "service.cli", "work", "--server", site.address, "--executor", "local"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--token-file", str(tmp_path / "token")], stdout=log, stderr=log)
    yield process
    process.send_signal(signal.SIGTERM)
    process.wait(60)


@pytest.mark.parametrize("formats", [["onnx"], pytest.param(["onnx", "pt2"], marks=pytest.mark.soak)])
def test_what_the_page_says_to_run_runs(
    worker: subprocess.Popen[bytes],
    page: Page,
    site: Site,
    seed_search: SeedSearch,
    tmp_path: Path,
    formats: list[str],
) -> None:
    """Asked for by keyboard, written by the worker, downloaded: the file lies where the copied lines look for it."""
    job = seed_search(site, "to export", tasks=("left", "left_group"), budgets=("80%",), leave=leave_weights)
    (row,) = site.store.list_front_rows(job_id=job.id, study_key=None)
    page.goto(f"/architectures/{row.id}")
    page.locator("main[data-state=ready]").wait_for()
    lines = page.locator("#snippet").inner_text()
    for file_format in formats:
        page.locator(f"#ask-{file_format}").press("Enter")
        link = page.locator(f"#download-{file_format}")
        link.wait_for(timeout=PATIENCE_MS)
        with page.expect_download() as download:
            link.press("Enter")
        target = tmp_path / download.value.suggested_filename
        download.value.save_as(target)
        told = page.locator(f"tr[data-format={file_format}]").inner_text()
        assert hashlib.sha256(target.read_bytes()).hexdigest() in told
        assert "differs from torch by at most" in told
    lines += "\nprint({task: (out.shape, bool(np.isfinite(out).all())) for task, out in outputs.items()})"
    ran = subprocess.run([sys.executable, "-c", lines], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    assert ran.stdout.strip() == "{'left': ((1, 10), True), 'left_group': ((1, 2), True)}"
