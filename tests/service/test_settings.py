"""Settings: the environment becomes one frozen value, and torch's thread policy is set before it is imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import ServiceError
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


def test_whom_a_client_speaks_to_comes_from_the_environment() -> None:
    """Server and token are read; nothing stands in their place when they are not set, and the token is not shown."""
    settings = load_settings({"BMTAS_SERVER": "http://q:1", "BMTAS_TOKEN": " nas_x ", "BMTAS_TOKEN_FILE": "/t"})
    assert (settings.server, settings.token, settings.token_file) == ("http://q:1", "nas_x", Path("/t"))
    assert "nas_x" not in repr(settings)
    empty = load_settings({})
    assert (empty.server, empty.token, empty.token_file) == (None, None, None)


def test_what_a_server_keeps_comes_from_the_environment() -> None:
    """Data folder, database and storage are read; the database's password is not shown."""
    settings = load_settings({"BMTAS_DATA": "/d", "BMTAS_DATABASE": "postgresql://u:p@h/n", "BMTAS_STORAGE": "s3://b"})
    assert (settings.data_dir, settings.storage_root) == (Path("/d"), "s3://b")
    assert settings.database_url == "postgresql://u:p@h/n"
    assert "u:p" not in repr(settings)
    assert load_settings({}).data_dir == Path.home() / ".local" / "share" / "bmtas"


def test_a_heartbeat_fits_its_lease() -> None:
    """Without a heartbeat of its own, a short lease brings a short heartbeat."""
    assert load_settings({}).heartbeat_seconds == 10.0
    assert load_settings({"BMTAS_LEASE_SECONDS": "20"}).heartbeat_seconds == 5.0


@pytest.mark.parametrize(
    "variables",
    [
        {"BMTAS_LEASE_SECONDS": "soon"},
        {"BMTAS_LEASE_SECONDS": "nan"},
        {"BMTAS_LEASE_SECONDS": "0"},
        {"BMTAS_HEARTBEAT_SECONDS": "-1"},
        {"BMTAS_BACKOFF_SECONDS": "often"},
        {"BMTAS_LEASE_SECONDS": "20", "BMTAS_HEARTBEAT_SECONDS": "15"},
    ],
)
def test_seconds_that_cannot_be_are_refused(variables: dict[str, str]) -> None:
    """The sentence names the variable."""
    with pytest.raises(ServiceError, match="BMTAS_"):
        load_settings(variables)


@pytest.mark.parametrize(("text", "cache_bytes"), [("0", 0), ("1000", 1000), ("500M", 500 * 2**20), ("2t", 2 * 2**40)])
def test_the_size_of_the_cache_comes_from_the_environment(text: str, cache_bytes: int) -> None:
    """With a unit or in bytes; without the variable there is some room."""
    assert load_settings({"BMTAS_CACHE_SIZE": text}).cache_bytes == cache_bytes
    assert load_settings({}).cache_bytes > 10**9


@pytest.mark.parametrize("text", ["x", "-1", "1.5G", "20 GB", "9" * 40])
def test_a_size_that_cannot_be_is_refused(text: str) -> None:
    """The sentence names the variable and shows how a size looks."""
    with pytest.raises(ServiceError, match=r"BMTAS_CACHE_SIZE must be a size such as 500M"):
        load_settings({"BMTAS_CACHE_SIZE": text})
