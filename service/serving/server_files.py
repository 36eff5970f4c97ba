"""The server's own folder: the SQLite database, the secret, the tokens of the first start, the address.

What is secret is readable by its owner alone from the moment it exists.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from db.records.access import TokenRecord
from service.errors import ServerStartError
from service.web.token_format import NewToken, make_token, read_token

ADMIN_TOKEN_NAME = "admin-token"
WORKER_TOKEN_NAME = "worker-token"
ADDRESS_NAME = "address"
_SECRET_NAME = "server-secret"
_DATABASE_NAME = "bmtas.db"
_SQLITE = "sqlite:///"
_SECRET_BYTES = 32


class TokenStore(Protocol):
    """What the folder asks of the database."""

    def now(self) -> datetime:
        """Return the database's time."""
        ...

    def count_tokens(self) -> int:
        """Return how many tokens there are."""
        ...

    def find_token(self, token_id: str) -> TokenRecord | None:
        """Return a token, or None."""
        ...

    def add_token(self, token: TokenRecord) -> None:
        """Store a token."""
        ...


class ServerFiles:
    """The folder of a server.

    Args:
        folder: Absolute path; made when it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def default_database_url(self) -> str:
        """Return the URL of the SQLite database in this folder."""
        return f"{_SQLITE}{self.folder / _DATABASE_NAME}"

    @property
    def worker_token_path(self) -> Path:
        """Return where the token of the local worker stands."""
        return self.folder / WORKER_TOKEN_NAME

    @property
    def admin_token_path(self) -> Path:
        """Return where the first admin token stands."""
        return self.folder / ADMIN_TOKEN_NAME

    def prepare(self) -> None:
        """Make the folder, for its owner alone.

        Raises:
            ServerStartError: There is something else in its place.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise ServerStartError(f"The data folder {self.folder} is a file. Choose another --data.")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def load_secret(self) -> bytes:
        """Return the server's secret, made on the first start.

        Raises:
            ServerStartError: The file is damaged.
        """
        path = self.folder / _SECRET_NAME
        if not path.exists():
            with contextlib.suppress(FileExistsError):
                write_private(path, f"{secrets.token_hex(_SECRET_BYTES)}\n", replace=False)
        try:
            secret = bytes.fromhex(path.read_text("ascii").strip())
        except ValueError:
            secret = b""
        if len(secret) < _SECRET_BYTES:
            raise ServerStartError(
                f"{path} must hold {2 * _SECRET_BYTES} hexadecimal digits. Restore it, or delete it: running attempts "
                "then lose their leases and are tried again."
            )
        return secret

    def issue_first_admin_token(self, store: TokenStore) -> str | None:
        """Return the admin token of a first start, None when the database already holds tokens.

        The file comes first: a crash in between leaves a token that nobody knows of, and the next start makes another.
        """
        if store.count_tokens() > 0:
            return None
        token = _make("admin", "first start", store.now())
        write_private(self.admin_token_path, f"{token.text}\n")
        store.add_token(token.record)
        return token.text

    def ensure_worker_token(self, store: TokenStore) -> None:
        """See to it that the local worker's token stands in its file and is good."""
        presented = None
        if self.worker_token_path.is_file():
            presented = read_token(self.worker_token_path.read_text("utf-8", "replace").strip())
        record = None if presented is None else store.find_token(presented.id)
        if presented is None or record is None or record.revoked_at is not None:
            token = _make("worker", "local worker", store.now())
            write_private(self.worker_token_path, f"{token.text}\n")
            store.add_token(token.record)

    @contextmanager
    def announced(self, address: str) -> Iterator[None]:
        """Leave the server's address in the folder while it serves, for commands on this machine."""
        path = self.folder / ADDRESS_NAME
        write_private(path, f"{address}\n")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def write_private(path: Path, text: str, *, replace: bool = True) -> None:
    """Write a file that only its owner may read, whole or not at all.

    Raises:
        FileExistsError: It is there already and must not be replaced.
        OSError: The disk refused.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        if replace:
            os.replace(temporary, path)
        else:
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _make(role: Literal["admin", "worker"], name: str, created_at: datetime) -> NewToken:
    """Return a new token of the server's own."""
    return make_token(name=name, owner=role, role=role, created_at=created_at)
