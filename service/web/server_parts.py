"""What the routes share: the store, the settings and the helpers built on them, as one value on the application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from db.stores import Store
from service.server_settings import ServerSettings
from service.web.auth import Authenticator
from service.web.event_hub import EventHub
from service.web.fronts import FrontAnswers
from service.web.monitoring import Monitor
from service.web.paging import PageTokens
from service.web.planning.offers import Offers


@dataclass(frozen=True)
class ServerParts:
    """Everything a route may need.

    Attributes:
        settings: How the server behaves.
        store: The database.
        authenticator: Knows the callers.
        pages: Signs page tokens.
        hub: Hands out events as they come.
        monitor: Counts for Prometheus.
        fronts: Keeps the fronts that were asked for.
        offers: What a request may name.
    """

    settings: ServerSettings
    store: Store
    authenticator: Authenticator
    pages: PageTokens
    hub: EventHub
    monitor: Monitor
    fronts: FrontAnswers
    offers: Offers


async def get_parts(request: Request) -> ServerParts:
    """Return the parts of the application that a request came to."""
    parts = request.app.state.parts
    assert isinstance(parts, ServerParts)
    return parts


Parts = Annotated[ServerParts, Depends(get_parts)]
