"""Settings: the environment becomes one frozen value, and torch's thread policy is set before it is imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.settings import load_settings, prepare_process


def test_cache_folder_comes_from_the_environment() -> None:
    """BMTAS_CACHE names the cache folder; a home sign in it is resolved."""
    assert load_settings({"BMTAS_CACHE": "/data/cache"}).cache_dir == Path("/data/cache")
    assert load_settings({"BMTAS_CACHE": "~/cache"}).cache_dir == Path.home() / "cache"
    assert load_settings({"BMTAS_CACHE": "cache"}).cache_dir == Path.cwd() / "cache"


def test_cache_folder_defaults_to_the_home_folder() -> None:
    """Without the variable, or with an empty one, the cache lies in ~/.cache/bmtas."""
    assert load_settings({}).cache_dir == load_settings({"BMTAS_CACHE": " "}).cache_dir
    assert load_settings({}).cache_dir == Path.home() / ".cache" / "bmtas"


@pytest.mark.parametrize(("value", "plain"), [("true", True), ("1", True), ("false", False), ("0", False), ("", False)])
def test_build_services_get_plain_lines(value: str, plain: bool) -> None:
    """CI, unless it says no, asks for plain progress."""
    assert load_settings({"CI": value}).plain_progress is plain


def test_threads_wait_asleep_unless_told_otherwise() -> None:
    """OMP_WAIT_POLICY is set to PASSIVE, and a policy that the person chose stays."""
    empty: dict[str, str] = {}
    chosen = {"OMP_WAIT_POLICY": "ACTIVE"}
    prepare_process(empty)
    prepare_process(chosen)
    assert empty == {"OMP_WAIT_POLICY": "PASSIVE"}
    assert chosen == {"OMP_WAIT_POLICY": "ACTIVE"}
