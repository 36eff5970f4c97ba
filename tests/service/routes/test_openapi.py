"""The description of the API: committed as it is, complete, and true of the running server."""

from __future__ import annotations

import copy
import functools
import json
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS, load_all_checks

from service.server_settings import RateLimits
from service.serving.api_description import PATH, describe_api

if TYPE_CHECKING:
    from tests.service.routes.conftest import Server, StartServer

# An example that is right by its form may still name a network that is not there.
load_all_checks()
UNFIT = [check for check in CHECKS.get_all() if check.__name__ == "positive_data_acceptance"]
METHODS_WITH_BODY = {"post", "patch", "put"}


@functools.cache
def load_document() -> dict[str, Any]:
    """Return the description; it must not be changed."""
    document: dict[str, Any] = json.loads(describe_api())
    return document


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    """Return (method, path, operation) of all of them."""
    document = load_document()
    return [(method, path, one) for path, ones in document["paths"].items() for method, one in ones.items()]


# Endless streams are left to their own tests.
GENERATED = [(method, path) for method, path, _ in operations() if not path.endswith("/events")]


@pytest.fixture(scope="module")
def setting_changes() -> dict[str, Any]:
    """Return what the shared server of this file does otherwise."""
    return {"rate_limits": RateLimits(failure_burst=100_000)}


def test_the_committed_description_is_the_present_one() -> None:
    """After a change of the API, `python -m service.serving.api_description` writes it down."""
    assert PATH.read_text("utf-8") == describe_api()


def test_operations_are_named_and_say_how_they_fail() -> None:
    """Names are unique; every refusal is declared as a problem document."""
    names = [one["operationId"] for _, _, one in operations()]
    assert len(set(names)) == len(names)
    problems = load_document()["components"]["responses"]
    for _, path, one in operations():
        for status, response in one["responses"].items():
            if int(status) >= 400 and not (path == "/readyz" and status == "503"):
                assert response == {"$ref": f"#/components/responses/Problem{status}"}
                assert list(problems[f"Problem{status}"]["content"]) == ["application/problem+json"]


def test_bodies_of_requests_are_closed_and_have_examples() -> None:
    """No request takes unknown keys; what people send has an example."""
    document = load_document()
    for method, path, one in operations():
        assert ("requestBody" in one) <= (method in METHODS_WITH_BODY)
        if "requestBody" in one:
            name = one["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            schema = document["components"]["schemas"][name]
            assert schema["additionalProperties"] is False
            assert "/worker/" in path or schema["examples"], name


def send_generated(server: Server, method: str, path: str, num_examples: int) -> None:
    """Send generated requests to an operation as an admin, and check the answers against the description (C1)."""
    schema = schemathesis.openapi.from_dict(copy.deepcopy(load_document()))
    schema.config.update(base_url=server.address)

    @settings(max_examples=num_examples, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(case=schema[path][method.upper()].as_strategy())
    def send(case: Any) -> None:
        """Send one."""
        response = case.call(headers={"Authorization": f"Bearer {server.tokens['admin']}"})
        case.validate_response(response, excluded_checks=UNFIT)
        assert response.status_code < 500
        if response.status_code >= 400:
            assert response.headers["content-type"] == ["application/problem+json"]

    send()


@pytest.mark.parametrize(("method", "path"), GENERATED)
def test_generated_requests_are_answered_as_described(server: Server, method: str, path: str) -> None:
    """A few generated requests per operation: no fault of ours, and answers as the description says (C1, short)."""
    send_generated(server, method, path, 3)


@pytest.mark.soak
def test_many_generated_requests_are_answered_as_described(start_server: StartServer, database_url: str) -> None:
    """More than 500 generated requests in all, on each kind of database (C1)."""
    server = start_server(database_url, rate_limits=RateLimits(failure_burst=100_000))
    server.run_search()
    for method, path in GENERATED:
        send_generated(server, method, path, 20)
