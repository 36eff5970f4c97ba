"""`python -m service.api_description` writes service/openapi.json, which a test compares with what the server says."""

from __future__ import annotations

import json
from pathlib import Path

from db.memory import MemoryStore
from service.app import create_app
from service.server_settings import ServerSettings

PATH = Path(__file__).with_name("openapi.json")


def describe_api() -> str:
    """Return the description of the API as text, keys in a fixed order, newline at the end."""
    settings = ServerSettings("/nowhere", Path("/nowhere"), bytes(32), "0")
    document = create_app(settings, MemoryStore()).openapi()
    return f"{json.dumps(document, indent=1, sort_keys=True)}\n"


if __name__ == "__main__":
    PATH.write_text(describe_api(), encoding="utf-8")
