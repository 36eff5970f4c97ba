"""Brings the tables of a database up to date; Alembic's scripts lie in `db/migrations`, its settings are made here.

A database that is up to date costs one query, and Alembic is not even imported.
"""

from __future__ import annotations

import io
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from db.errors import DbError, SchemaVersionError
from db.sql.engine import Database, Transaction, build_engine, parse_url
from db.sql.schema import SCHEMA_REVISION

_SCRIPTS = Path(__file__).parent.parent / "migrations"
_LOCK = "migration"
_ENCODINGS = ("UTF8", "SQL_ASCII")


def migrate(url: str) -> None:
    """Make the tables of an empty database, or bring an older one up to date.

    Raises:
        DbError: Its encoding cannot hold every character.
        SchemaVersionError: A newer version of this program made the database, or somebody changed its tables.
    """
    database = Database(build_engine(parse_url(url)))
    try:
        migrate_engine(database)
    finally:
        database.close()


def migrate_engine(database: Database) -> None:
    """Bring the tables of an open database up to date; see `migrate`."""
    database.read(_refuse_encoding)
    revision = database.read(lambda tx: find_revision(tx.connection))
    if revision == SCHEMA_REVISION:
        return
    try:
        database.write(_upgrade, durable=True)
    except DBAPIError as error:
        raise SchemaVersionError(
            f"The tables must be brought from revision {revision or 'none'} to {SCHEMA_REVISION}, but they are not as "
            f"this program made them ({error.orig}). Nothing was changed: undo by hand what was changed by hand, or "
            "choose another database."
        ) from error


def find_revision(connection: Connection) -> str | None:
    """Return the revision of the tables, None for an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if revision is None else str(revision)


def _refuse_encoding(tx: Transaction) -> None:
    """Return when a database takes every character; SQL_ASCII keeps what it is given."""
    encoding = tx.execute(text("SHOW server_encoding")).scalar() if tx.is_postgres else "UTF8"
    if encoding not in _ENCODINGS:
        raise DbError(
            f"A PostgreSQL database must have the encoding UTF8 to take every character, this one has {encoding}. "
            f"Make another: CREATE DATABASE name TEMPLATE template0 ENCODING 'UTF8'."
        )


def _upgrade(tx: Transaction) -> None:
    """Run the scripts that a database lacks, in the transaction under way."""
    # Imported here: a server whose tables are up to date starts a quarter of a second sooner.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    tx.lock_names([_LOCK])
    connection = tx.connection
    revision = find_revision(connection)
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        if revision is not None:
            ScriptDirectory.from_config(config).get_revision(revision)
    except CommandError as error:
        raise SchemaVersionError(
            f"The database was made by a newer version of this program (its tables are of revision {revision}, this "
            f"version knows those up to {SCHEMA_REVISION}). Install that version, or choose another database."
        ) from error
    command.upgrade(config, "head")
