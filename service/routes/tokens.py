"""Access tokens: made, listed and revoked, by an admin for everybody and by anyone for themselves."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter
from fastapi.responses import Response

from db.errors import NotFoundError
from service.schemas.requests import TokenBody
from service.schemas.server import CreatedToken, TokenAnswer, TokenList
from service.web.auth import Caller, Reader, Writer
from service.web.guarded_route import GuardedRoute
from service.web.problems import ProblemError, refuse_field
from service.web.server_parts import Parts
from service.web.token_format import ROLE_SCOPES, make_token

router = APIRouter(route_class=GuardedRoute, tags=["tokens"])


@router.post("/api/v1/tokens", name="create_token", response_model=CreatedToken, status_code=201)
def create_token(body: TokenBody, caller: Writer, parts: Parts) -> Response:
    """Make an access token; its text is shown this once. Without being an admin: for yourself, with your rights."""
    owner = body.owner or caller.owner
    if not caller.is_admin and (owner != caller.owner or not set(ROLE_SCOPES[body.role]) <= set(caller.scopes)):
        raise ProblemError("forbidden", "Only an admin makes tokens for others or with more rights than their own.")
    now = parts.store.now()
    expires_at = None if body.expires_in_days is None else now + timedelta(days=body.expires_in_days)
    if caller.expires_at is not None and not caller.is_admin and (expires_at is None or expires_at > caller.expires_at):
        raise refuse_field("/expires_in_days", "A token cannot outlive the one that makes it.")
    token = make_token(name=body.name, owner=owner, role=body.role, created_at=now, expires_at=expires_at)
    parts.store.add_token(token.record)
    parts.store.add_audit(caller.owner, caller.token_id, "create_token", token.record.id)
    content = CreatedToken.with_text(token.record, token.text).model_dump_json()
    headers = {"Location": f"/api/v1/tokens/{token.record.id}", "Cache-Control": "no-store"}
    return Response(content, 201, headers, media_type="application/json")


@router.get("/api/v1/tokens", name="list_tokens", response_model=TokenList)
def list_tokens(caller: Reader, parts: Parts) -> TokenList:
    """List access tokens without their secrets: your own, or all of them for an admin."""
    records = parts.store.list_tokens(None if caller.is_admin else caller.owner)
    return TokenList(items=[TokenAnswer.of(record) for record in records])


@router.get("/api/v1/tokens/{token_id}", name="get_token", response_model=TokenAnswer)
def get_token(token_id: str, caller: Reader, parts: Parts) -> TokenAnswer:
    """Read an access token without its secret."""
    record = parts.store.find_token(token_id)
    if record is None or not _may_see(caller, record.owner):
        raise NotFoundError()
    return TokenAnswer.of(record)


@router.delete("/api/v1/tokens/{token_id}", name="revoke_token", status_code=204, response_model=None)
def revoke_token(token_id: str, caller: Reader, parts: Parts) -> Response:
    """Make an access token worthless for good: your own, or any for an admin."""
    record = parts.store.find_token(token_id)
    if record is None or not _may_see(caller, record.owner):
        raise NotFoundError()
    parts.store.revoke_token(token_id)
    parts.store.add_audit(caller.owner, caller.token_id, "revoke_token", token_id)
    return Response(status_code=204)


def _may_see(caller: Caller, owner: str) -> bool:
    """Return whether tokens of an owner concern the caller; those of others do not exist for them."""
    return caller.is_admin or owner == caller.owner
