"""The server's folder: secrets that only their owner may read, tokens made once."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from db.records.access import TokenRecord
from service.errors import ServerStartError
from service.serving.server_files import ServerFiles, write_private
from service.web.token_format import read_token


@dataclass
class Tokens:
    """What the folder asks of a store, in memory."""

    records: dict[str, TokenRecord] = field(default_factory=dict)

    def now(self) -> datetime:
        """Return a fixed time."""
        return datetime(2026, 1, 31, tzinfo=UTC)

    def count_tokens(self) -> int:
        """Return how many there are."""
        return len(self.records)

    def find_token(self, token_id: str) -> TokenRecord | None:
        """Return a token, or None."""
        return self.records.get(token_id)

    def add_token(self, token: TokenRecord) -> None:
        """Keep a token."""
        self.records[token.id] = token


@pytest.fixture
def files(tmp_path: Path) -> ServerFiles:
    """Return a prepared folder."""
    made = ServerFiles(tmp_path / "deep" / "data")
    made.prepare()
    return made


def mode(path: Path) -> int:
    """Return the permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_may_look(files: ServerFiles) -> None:
    """The folder is closed to others, and so is every secret in it."""
    store = Tokens()
    files.load_secret()
    files.issue_first_admin_token(store)
    files.ensure_worker_token(store)
    assert mode(files.folder) == 0o700
    assert {path.name: mode(path) for path in files.folder.iterdir()} == {
        "server-secret": 0o600,
        "admin-token": 0o600,
        "worker-token": 0o600,
    }


def test_the_secret_stays(files: ServerFiles) -> None:
    """Every start finds the same 32 random bytes, and another folder has others."""
    assert len(files.load_secret()) == 32
    assert files.load_secret() == files.load_secret()


@pytest.mark.parametrize("content", ["", "xyz", "abcd", "é"])
def test_a_damaged_secret_is_refused(files: ServerFiles, content: str) -> None:
    """A secret that is too short or no hexadecimal number is not replaced behind the person's back."""
    (files.folder / "server-secret").write_text(content, encoding="utf-8")
    with pytest.raises(ServerStartError, match="hexadecimal"):
        files.load_secret()


def test_the_admin_token_is_made_once(files: ServerFiles) -> None:
    """The first start makes it and leaves it in its file; later ones make none."""
    store = Tokens()
    text = files.issue_first_admin_token(store)
    assert text is not None
    assert files.admin_token_path.read_text().strip() == text
    (record,) = store.records.values()
    assert (record.role, record.expires_at) == ("admin", None)
    assert files.issue_first_admin_token(store) is None


def test_the_worker_token_stays_while_it_is_good(files: ServerFiles) -> None:
    """The token in the file is used again; one that the database does not know, or a damaged file, is replaced."""
    store = Tokens()
    files.ensure_worker_token(store)
    first = files.worker_token_path.read_text()
    files.ensure_worker_token(store)
    assert files.worker_token_path.read_text() == first
    files.worker_token_path.write_text("nonsense")
    files.ensure_worker_token(store)
    files.ensure_worker_token(Tokens())
    presented = read_token(files.worker_token_path.read_text().strip())
    assert presented is not None
    assert presented.id not in store.records


def test_the_address_is_there_while_the_server_is(files: ServerFiles) -> None:
    """Commands on this machine find the server by it."""
    with files.announced("http://127.0.0.1:8642"):
        assert (files.folder / "address").read_text() == "http://127.0.0.1:8642\n"
    assert not (files.folder / "address").exists()


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    """The data folder must be a folder."""
    (tmp_path / "data").write_text("")
    with pytest.raises(ServerStartError, match="is a file"):
        ServerFiles(tmp_path / "data").prepare()


def test_private_files_are_not_replaced_unless_asked(tmp_path: Path) -> None:
    """Two servers that start at once end with one secret."""
    write_private(tmp_path / "x", "one")
    with pytest.raises(FileExistsError):
        write_private(tmp_path / "x", "two", replace=False)
    assert (tmp_path / "x").read_text() == "one"
    assert len(list(tmp_path.iterdir())) == 1
