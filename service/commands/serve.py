"""`bmtas serve` and `bmtas work`: the server, and a worker that takes jobs from one."""

from __future__ import annotations

import json
import sys

import click

from service.serve import Ready, ServeRequest, run_server


def serve(request: ServeRequest, *, as_json: bool) -> None:
    """Serve until the process is asked to stop, after one announcement on stdout.

    Raises:
        ServerStartError: The server cannot start as asked.
        DbError: The database is away, taken, or of another version.
    """
    run_server(request, lambda ready: _announce(ready, as_json=as_json))


def _announce(ready: Ready, *, as_json: bool) -> None:
    """Say where the server answers, and on a first start the admin token."""
    if as_json:
        document = {"address": ready.address, "data": str(ready.data_dir), "admin_token": ready.admin_token}
        click.echo(json.dumps(document))
    else:
        click.echo(f"bmtas serves at {ready.address} and keeps its data in {ready.data_dir}. Ctrl-C stops it.")
        if ready.admin_token is not None:
            click.echo(
                f"Admin token, shown this once and kept in {ready.data_dir / 'admin-token'}: {ready.admin_token}"
            )
    sys.stdout.flush()
