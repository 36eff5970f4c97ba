"""Which addresses a download may go to: http and https only, and no machine of this network unless a person named it.

A public address that leads on to a private one would have this machine ask its neighbours in a stranger's name.
"""

from __future__ import annotations

import ipaddress
import socket
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from service.errors import ServiceError

Resolve = Callable[[str, int], Iterable[str]]
_PORTS = {"http": 80, "https": 443}


class AddressError(ServiceError):
    """A download may only go to a public http or https address, or to one that a person named."""


def resolve_host(host: str, port: int) -> tuple[str, ...]:
    """Return the IP addresses of a host.

    Raises:
        OSError: It is not known, or there is no network.
    """
    return tuple(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


@dataclass(frozen=True)
class AddressRule:
    """Where a download may go.

    Attributes:
        named: The URL that a person named; its host and port are allowed wherever they are. None where the program
            itself knows the URL.
        resolve: Finds the IP addresses of a host and port.
    """

    named: str | None = None
    resolve: Resolve = resolve_host

    def check(self, url: str) -> None:
        """Raise AddressError for a URL that a download may not go to, before any connection.

        Raises:
            OSError: The host is not known, or there is no network.
        """
        parts = split_url(url)
        if self._is_named(parts) or _goes_by_proxy(parts):
            return
        host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
        for address in self.resolve(host, port):
            self.check_peer(url, address)

    def check_peer(self, url: str, address: str) -> None:
        """Raise AddressError where a connection for a URL leads to an IP address that it may not lead to."""
        parts = split_url(url)
        if self._is_named(parts) or _goes_by_proxy(parts):
            return
        found = ipaddress.ip_address(address.partition("%")[0])
        if not found.is_global or found.is_multicast:
            raise AddressError(
                f"Downloads go to public addresses, but {url[:200]} leads to {address}, a machine of this network. "
                f"If you mean it, name that URL by --from."
            )

    def _is_named(self, parts: SplitResult) -> bool:
        """Return whether a URL leads to the host and port that a person named."""
        return self.named is not None and _place(parts) == _place(split_url(self.named))


def split_url(url: str) -> SplitResult:
    """Return the parts of an http or https URL.

    Raises:
        AddressError: It is another kind of URL, has no host, or carries a name and password.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _PORTS and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise AddressError(f"A download needs a URL that begins with https:// or http://, got {url[:200]!r}.")
    if parts.username is not None or parts.password is not None:
        raise AddressError("A URL must not carry a name or a password, since it is printed and logged. Leave them out.")
    return parts


def _place(parts: SplitResult) -> tuple[str, int]:
    """Return host and port of a URL."""
    return str(parts.hostname).lower(), parts.port or _PORTS[parts.scheme]


def _goes_by_proxy(parts: SplitResult) -> bool:
    """Return whether a proxy connects for us: then this machine knows neither the addresses nor the connection."""
    proxies = urllib.request.getproxies()
    host = str(parts.hostname)
    if not (proxies.get(parts.scheme) or proxies.get("all")) or urllib.request.proxy_bypass(host):
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return True
