"""`python -m service.serving.api_description` writes service/openapi.json; a test compares it with the server."""

from __future__ import annotations

import json
from pathlib import Path

from db.memory.store import MemoryStore
from service.app import create_app
from service.server_settings import ServerSettings

PATH = Path(__file__).parent.parent / "openapi.json"


def describe_api() -> str:
    """Return the description of the API as text, keys in a fixed order, newline at the end."""
    settings = ServerSettings("/nowhere", Path("/nowhere"), bytes(32), "0")
    document = create_app(settings, MemoryStore()).openapi()
    return f"{json.dumps(document, indent=1, sort_keys=True)}\n"


if __name__ == "__main__":
    PATH.write_text(describe_api(), encoding="utf-8")
