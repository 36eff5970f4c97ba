"""Which server a command speaks to, and with which token: options first, then the environment, then this machine's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from service.client import Client
from service.client_parts.connection import Patience, check_address
from service.errors import NoTokenError, ServerAwayError
from service.settings import DEFAULT_HOST, DEFAULT_PORT, Settings

_COMMAND_PATIENCE = Patience(seconds=3.0)  # a person is waiting
_ADDRESS_NAME = "address"
_ADMIN_TOKEN_NAME = "admin-token"


@dataclass(frozen=True)
class ServerAccess:
    """What the options of a command say; None where they say nothing.

    Attributes:
        server: Address of the server.
        token_file: File that holds the access token.
    """

    server: str | None = None
    token_file: Path | None = None


def open_client(access: ServerAccess, settings: Settings, *, patience: Patience = _COMMAND_PATIENCE) -> Client:
    """Return a client of the server that is meant.

    Raises:
        NoTokenError: No access token is known.
        ServiceError: The address is none.
        OSError: The token file cannot be read.
    """
    server, token = find_access(access, settings)
    return Client(server, token, patience=patience)


def find_access(access: ServerAccess, settings: Settings) -> tuple[str, str]:
    """Return the address and the token.

    The admin token of this machine's server goes to that server only.

    Raises:
        NoTokenError: No access token is known.
        ServerAwayError: No server is named and none runs here.
        ServiceError: The address is none.
        OSError: The token file cannot be read.
    """
    own = _read(settings.data_dir / _ADDRESS_NAME)
    server = check_address(access.server or settings.server or own or f"http://{DEFAULT_HOST}:{DEFAULT_PORT}")
    token_file = access.token_file or (None if settings.token is not None else settings.token_file)
    if token_file is not None:
        token: str | None = token_file.read_text("utf-8").strip()
    else:
        token = settings.token or (_read(settings.data_dir / _ADMIN_TOKEN_NAME) if server == own else None)
    if not token and own is None and access.server is None and settings.server is None:
        raise ServerAwayError(
            f"No server runs on this machine with the data folder {settings.data_dir}. Start it with `bmtas serve`, or "
            "name one with --server or BMTAS_SERVER."
        )
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        what = "is missing" if not token else "is not one line of plain characters"
        raise NoTokenError(
            f"An access token is needed for {server}, but it {what}. Set BMTAS_TOKEN_FILE or BMTAS_TOKEN, or give "
            "--token-file; the first start of `bmtas serve` leaves an admin token in its data folder."
        )
    return server, token


def _read(path: Path) -> str | None:
    """Return the one line of a file of this machine's server, None where it cannot be read."""
    try:
        return path.read_text("utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None
