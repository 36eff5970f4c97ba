"""Sessions: opened by a token, sealed, ended with the token; and what keeps other people's pages out."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from service.app import create_app
from service.dashboard.session import check_target
from service.web.auth import SESSION_COOKIE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from tests.service.dashboard.conftest import CheckAxe, NewPage, SeedSearch, Site, Watch

SEARCH = {"dataset": "digits", "backbone": "tiny4", "budgets": ["60%"], "preset": "smoke"}


def sign_in(page: Page, token: str) -> None:
    """Sign in by the form."""
    page.goto("/sign-in")
    page.get_by_label("Access token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/sign-in" not in url)


@contextmanager
def open_session(site: Site, role: str = "operator") -> Iterator[httpx.Client]:
    """Yield a client that is signed in as a browser is; its CSRF token stands in `headers["x-test-csrf"]`."""
    with httpx.Client(base_url=site.address, timeout=30, trust_env=False, headers={"Accept": "text/html"}) as client:
        response = client.post("/sign-in", data={"token": site.tokens[role]}, headers={"Origin": site.address})
        assert response.status_code == 303, response.text
        form = client.get("/studies").text
        client.headers["x-test-csrf"] = form.partition('name="csrf-token" content="')[2].partition('"')[0]
        yield client


def make_token(site: Site) -> tuple[str, str]:
    """Return id and text of a new token of an operator."""
    with site.ask("admin") as client:
        answer = client.post("/api/v1/tokens", json={"name": "short", "role": "operator", "owner": "olga"}).json()
    return str(answer["id"]), str(answer["token"])


def test_pages_ask_strangers_to_sign_in(new_page: NewPage, site: Site, check_axe: CheckAxe) -> None:
    """A stranger is sent to sign in, and comes back to where they wanted to go."""
    page = new_page(role=None)
    page.goto("/searches?state=FAILED")
    assert "/sign-in?next=" in page.url
    check_axe(page)
    page.get_by_label("Access token").fill(site.tokens["viewer"])
    page.keyboard.press("Enter")
    page.wait_for_url("**/searches?state=FAILED")
    assert page.get_by_text("read only").is_visible()


def test_a_wrong_token_is_refused_in_words(new_page: NewPage, watch: Watch) -> None:
    """The page says so, names the request, and repeats nothing of what was typed."""
    watch.forgive("401")
    page = new_page(role=None)
    page.goto("/sign-in")
    page.get_by_label("Access token").fill("nas_not-a-token")
    page.keyboard.press("Enter")
    alert = page.get_by_role("alert")
    assert "not valid here" in alert.inner_text()
    assert "req_" in alert.inner_text()
    assert "not-a-token" not in page.content()


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        ("/searches?a=b&c=%2F", "/searches?a=b&c=%2F"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a\\..\\evil", "/"),
        ("/\t/evil.example", "/"),
        ("", "/"),
    ],
)
def test_signing_in_leads_nowhere_else(wanted: str, target: str) -> None:
    """Only an address of this server is gone to after signing in."""
    assert check_target(wanted) == target


def test_the_cookie_holds_no_secret_and_is_kept_from_scripts(site: Site) -> None:
    """It is HttpOnly and SameSite=Strict, ends after a week, and is worthless without the server's seal."""
    with open_session(site) as client:
        (cookie,) = client.cookies.jar
        header = client.post(
            "/sign-in", data={"token": site.tokens["operator"]}, headers={"Origin": site.address}
        ).headers["set-cookie"]
        assert {"HttpOnly", "SameSite=strict", "Max-Age=604800", "Path=/"} <= set(header.split("; "))
        assert site.tokens["operator"].split("_")[2] not in (cookie.value or "")
        value = cookie.value or ""
        for place in (3, 14, 40, len(value) - 1):
            forged = value[:place] + ("1" if value[place] != "1" else "2") + value[place + 1 :]
            headers = {"Cookie": f"{SESSION_COOKIE}={forged}"}
            answer = httpx.get(f"{site.address}/api/v1/searches", headers=headers, trust_env=False)
            assert answer.status_code == 401


def test_the_api_takes_the_session_of_a_page(site: Site) -> None:
    """Reading needs the cookie alone; changing needs the CSRF token of the session and an origin of our own."""
    with open_session(site) as client:
        csrf = {"X-CSRF-Token": client.headers["x-test-csrf"], "Accept": "application/json"}
        own, foreign = {"Origin": site.address}, {"Origin": "https://evil.example"}
        assert client.get("/api/v1/searches", headers={"Accept": "*/*"}).status_code == 200
        assert client.get("/api/v1/searches", headers={"Accept": "*/*", **foreign}).status_code == 403
        for headers, status in (
            ({}, 403),
            (own, 403),
            (csrf, 403),
            ({**csrf, **foreign}, 403),
            ({**csrf, "Origin": "null"}, 403),
            ({**own, "X-CSRF-Token": "0" * 64}, 403),
            ({**csrf, **own}, 202),
        ):
            answer = client.post("/api/v1/searches", json=SEARCH, headers={"Accept": "application/json", **headers})
            assert answer.status_code == status, headers


def test_forms_need_their_csrf_token_and_origin(site: Site) -> None:
    """A form that another page made is refused with a page that says why."""
    with open_session(site) as client:
        token = {"csrf_token": client.headers["x-test-csrf"]}
        own = {"Origin": site.address}
        refused = [
            client.post("/sign-out", data={"csrf_token": "no"}, headers=own),
            client.post("/sign-out", headers=own, data={}),
            client.post("/sign-out", data=token),
            client.post("/sign-out", data=token, headers={"Origin": "http://127.0.0.1:1"}),
        ]
        assert [answer.status_code for answer in refused] == [403, 415, 403, 403]
        assert all("request" in answer.text and "text/html" in answer.headers["content-type"] for answer in refused)
        assert client.post("/sign-out", data=token, headers=own).status_code == 303
        assert client.get("/searches").status_code == 303


def test_a_foreign_host_name_is_refused(site: Site) -> None:
    """A page elsewhere that binds its name to this address gets nothing (D5)."""
    with open_session(site) as client:
        assert client.get("/searches", headers={"Host": "evil.example"}).status_code == 400


def test_sessions_end_with_their_token(site: Site) -> None:
    """Once its token is revoked, a session is over at its next request."""
    token_id, token = make_token(site)
    with httpx.Client(base_url=site.address, trust_env=False) as client:
        assert client.post("/sign-in", data={"token": token}, headers={"Origin": site.address}).status_code == 303
        assert client.get("/studies").status_code == 200
        site.store.revoke_token(token_id)
        assert client.get("/studies").status_code == 303
        assert client.get("/api/v1/searches").status_code == 401


def test_an_open_page_tells_that_its_session_is_over(new_page: NewPage, site: Site, watch: Watch) -> None:
    """It does not try for ever, and does not lock its owner out by doing so."""
    watch.forgive("ERR_|401|503")
    token_id, token = make_token(site)
    page = new_page(role=None)
    sign_in(page, token)
    page.locator("#live[data-live=live]").wait_for()
    site.store.revoke_token(token_id)
    site.stop()
    site.start()
    page.get_by_text("signed out").wait_for()
    for _ in range(40):
        page.evaluate("fetch('/api/v1/tasks')")
    page.goto("/searches")
    assert page.get_by_label("Access token").is_visible()
    sign_in(page, site.tokens["operator"])


def test_the_cookie_stays_on_encrypted_connections(site: Site) -> None:
    """Over HTTPS it is marked Secure, over HTTP, which is this machine only, it cannot be."""

    async def ask(origin: str) -> str:
        transport = httpx.ASGITransport(create_app(site.settings, site.store))
        async with httpx.AsyncClient(transport=transport, base_url=origin) as client:
            answer = await client.post("/sign-in", data={"token": site.tokens["viewer"]}, headers={"Origin": origin})
            return str(answer.headers["set-cookie"])

    with ThreadPoolExecutor(1) as thread:  # the browser's driver has an event loop in this one
        assert "; Secure" in thread.submit(lambda: asyncio.run(ask("https://localhost"))).result()
        assert "; Secure" not in thread.submit(lambda: asyncio.run(ask("http://localhost"))).result()


def test_a_viewer_sees_no_buttons_and_is_refused(
    new_page: NewPage, site: Site, seed_search: SeedSearch, watch: Watch
) -> None:
    """The read-only role has no way to change anything, neither on the pages nor by the API."""
    job = seed_search(site, outcome="queued")
    page = new_page(role="viewer")
    page.goto("/searches")
    assert page.get_by_text("read only").is_visible()
    assert page.get_by_role("link", name="New search").count() == 0
    assert page.get_by_role("link", name="Submit").count() == 0
    watch.forgive("403")
    status = page.evaluate(
        """async (path) => (await fetch(path, {method: 'POST', headers: {
            'X-CSRF-Token': document.querySelector('meta[name=csrf-token]').content}})).status""",
        f"/api/v1/searches/{job.id}/cancel",
    )
    assert status == 403


def test_signing_out_ends_the_session(page: Page) -> None:
    """The button in the header does it, by keyboard too."""
    page.goto("/searches")
    page.get_by_role("button", name="Sign out").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/sign-in")
    page.goto("/searches")
    assert "/sign-in" in page.url
