"""`bmtas serve` as a process: the first start, who may reach it, who shares its database, its worker."""

from __future__ import annotations

import os
import signal
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from service.client import Client
from service.client_parts.records import TokenRequest
from service.errors import ServiceProblem

if TYPE_CHECKING:
    from tests.service.serving.conftest import Serve


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def children_of(pid: int) -> list[int]:
    """Return the process ids of a process's children that are no zombies."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def test_the_first_start_makes_tokens_that_only_their_owner_reads(serve: Serve) -> None:
    """There is no default password: the admin token is random, printed once and left with mode 0600."""
    server = serve().start()
    assert server.ready["address"] == server.address
    assert server.ready["admin_token"] == server.token
    names = ("admin-token", "worker-token", "server-secret")
    assert {stat.S_IMODE((server.data / name).stat().st_mode) for name in names} == {0o600}
    with server.client() as client:
        assert {token["role"] for token in client.list_tokens()} == {"admin", "worker"}
    assert server.token not in server.log
    assert server.end(signal.SIGTERM)[0] == 0
    assert server.start().ready["admin_token"] is None
    with server.client() as client:
        assert len(client.list_tokens()) == 2


def test_nobody_enters_without_a_token(serve: Serve) -> None:
    """Every question but those about the server's health needs a token."""
    server = serve().start()
    assert httpx.get(f"{server.address}/healthz", trust_env=False).status_code == 200
    assert httpx.get(f"{server.address}/api/v1/searches", trust_env=False).status_code == 401


def test_only_this_machine_is_served(serve: Serve) -> None:
    """The server listens on 127.0.0.1 alone."""
    server = serve().start()
    socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", server.port), timeout=5)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_plain_http_for_others_is_refused(serve: Serve, host: str) -> None:
    """Tokens must not travel in the clear unless the person says so, and nothing is made."""
    server = serve("--host", host)
    code, said = server.run_to_end()
    assert code == 2
    assert said.count("\n") == 1
    assert all(word in said for word in ("access tokens", host, "--tls-cert", "--insecure-bind"))
    assert not server.data.exists()


def test_plain_http_for_others_can_be_wanted(serve: Serve) -> None:
    """With --insecure-bind every interface is served, under the names that were allowed."""
    server = serve("--host", "0.0.0.0", "--insecure-bind", "--allowed-host", "queue.example").start()
    socket.create_connection(("127.0.0.2", server.port), timeout=5).close()
    for host, status in (("queue.example", 200), (socket.gethostname(), 200), ("evil.example", 400)):
        answer = httpx.get(f"{server.address}/healthz", headers={"Host": host}, trust_env=False)
        assert answer.status_code == status, host


def test_a_second_server_on_one_sqlite_file_is_refused(serve: Serve) -> None:
    """The second says why in one sentence and ends with 2; the first works on."""
    first = serve().start()
    second = serve(data=first.data)
    code, said = second.run_to_end()
    assert code == 2
    assert said.count("\n") == 1
    assert all(word in said for word in ("SQLite", "bmtas.db", "PostgreSQL"))
    with first.client() as client:
        assert client.list_jobs() == ([], None)
    assert (first.data / "address").read_text().strip() == first.address


def test_a_killed_server_leaves_its_file_to_the_next(serve: Serve) -> None:
    """The lock goes with the process, whatever ended it."""
    server = serve().start()
    assert server.end(signal.SIGKILL)[0] == -signal.SIGKILL
    server.start()
    assert server.end(signal.SIGINT)[0] == 0


def test_servers_share_a_postgres_database(serve: Serve, postgres_url: str) -> None:
    """Two servers on one database know each other's tokens; only the first start makes an admin token."""
    first = serve("--database", postgres_url).start()
    second = serve("--database", postgres_url).start()
    assert second.ready["admin_token"] is None
    with first.client() as client:
        token = client.list_tokens()[0]["id"]
    headers = {"Authorization": f"Bearer {first.token}"}
    answer = httpx.get(f"{second.address}/api/v1/tokens", headers=headers, trust_env=False)
    assert token in {row["id"] for row in answer.json()["items"]}


def test_a_taken_port_is_refused(serve: Serve) -> None:
    """The sentence names the port and says how to choose another."""
    first = serve().start()
    second = serve()
    second.port = first.port
    code, said = second.run_to_end()
    assert (code, said.count("\n")) == (2, 1)
    assert str(first.port) in said
    assert "--port" in said


def test_a_revoked_token_is_worth_nothing(serve: Serve) -> None:
    """A token that was made over the API works until it is revoked."""
    server = serve().start()
    with server.client() as admin:
        made = admin.create_token(TokenRequest("laptop", "viewer", expires_in_days=1))
        with Client(server.address, made["token"]) as viewer:
            assert viewer.list_jobs()[0] == []
            admin.revoke_token(made["id"])
            with pytest.raises(ServiceProblem, match="valid access token"):
                viewer.list_jobs()


def test_the_worker_beside_the_server_comes_back_and_goes_with_it(serve: Serve) -> None:
    """A worker that is killed is started again; it ends with the server, even when that is killed."""
    server = serve("--executor", "local").start()
    assert server.process is not None
    wait_for(lambda: len(children_of(server.process.pid if server.process else 0)) == 1)
    (first,) = children_of(server.process.pid)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: children_of(server.process.pid if server.process else 0) not in ([], [first]))
    (second,) = children_of(server.process.pid)
    time.sleep(1.0)  # until its handlers are there
    server.end(signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{second}").exists())
