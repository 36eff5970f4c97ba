"""Migrations: they build what `db.sql.schema` says, old databases are brought up to date, newer ones refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

import db.sql.migration
from db.errors import SchemaVersionError
from db.records.states import JobState
from db.sql.engine import build_engine, parse_url
from db.sql.migration import migrate
from db.sql.schema import SCHEMA_REVISION, metadata
from db.sql.store import open_store

SCHEMAS = Path(__file__).parent / "schemas"


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a database without tables, once of each kind."""
    return str(request.getfixturevalue(f"empty_{request.param}_url"))


def describe(engine: Engine) -> dict[str, Any]:
    """Return everything that a database says of its tables."""
    seen = inspect(engine)
    tables = [name for name in seen.get_table_names() if name != "alembic_version"]
    return {
        name: {
            "columns": [(each["name"], str(each["type"]), each["nullable"]) for each in seen.get_columns(name)],
            "primary key": seen.get_pk_constraint(name),
            "foreign keys": sorted(map(str, seen.get_foreign_keys(name))),
            "unique": sorted(map(str, seen.get_unique_constraints(name))),
            "checks": sorted((each["name"], each["sqltext"]) for each in seen.get_check_constraints(name)),
            "indexes": sorted(map(_describe_index, seen.get_indexes(name))),
        }
        for name in tables
    }


def _describe_index(index: Any) -> str:
    """Return what makes an index: its name, columns, whether it is unique, and its condition."""
    options = {name: str(value) for name, value in index.get("dialect_options", {}).items()}
    return f"{index['name']} {index['column_names']} {index['unique']} {options}"


def test_the_migrations_build_the_schema(empty_url: str, tmp_path: Path) -> None:
    """A migrated database has the tables, constraints and indexes of the schema, no more and no less."""
    engine = build_engine(parse_url(empty_url))
    metadata.create_all(engine)
    drawn = describe(engine)
    metadata.drop_all(engine)
    migrate(empty_url)
    assert describe(engine) == drawn
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata) == []
    engine.dispose()
    assert set(drawn) == set(metadata.tables)


def test_migrating_again_changes_nothing(empty_url: str) -> None:
    """A database that is up to date is left alone, and a store opens it."""
    migrate(empty_url)
    store = open_store(empty_url, exclusive=False)
    store.add_audit("ann", "t", "a", "r")
    migrate(empty_url)
    assert len(store.list_audit()) == 1
    store.close()


def test_a_newer_database_is_refused(empty_url: str) -> None:
    """Tables of a revision that this version does not know are not touched."""
    migrate(empty_url)
    engine = build_engine(parse_url(empty_url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'from the future'"))
    engine.dispose()
    for attempt in (migrate, open_store):
        with pytest.raises(SchemaVersionError, match="newer version of this program"):
            attempt(empty_url)


def test_a_failed_migration_leaves_nothing(empty_url: str) -> None:
    """A script that fails half-way leaves the database as it was, and a sentence says so."""
    engine = build_engine(parse_url(empty_url))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE metric (x INTEGER)"))
    with pytest.raises(SchemaVersionError, match=r"already exists.*Nothing was changed"):
        migrate(empty_url)
    assert inspect(engine).get_table_names() == ["metric"]
    engine.dispose()


def test_the_schema_names_the_newest_revision() -> None:
    """The revision that a store expects is the last script."""
    folder = Path(str(db.sql.migration.__file__)).parent.parent / "migrations"
    assert ScriptDirectory(str(folder)).get_current_head() == SCHEMA_REVISION


def load_dump(url: str, dump: str) -> None:
    """Fill an empty database from a dump."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        with sqlite3.connect(str(parsed.database)) as connection:
            connection.executescript(dump)
        connection.close()
        return
    lines = [line for line in dump.splitlines() if not line.startswith("\\")]
    with psycopg.connect(url) as postgres:
        postgres.execute("\n".join(lines).encode())


@pytest.mark.parametrize("revision", ["0001", "0002", "0003"])
def test_old_databases_are_still_understood(empty_url: str, revision: str) -> None:
    """A database kept from each revision is brought up to date, and its unfinished job is run to its end."""
    kind = "sqlite" if empty_url.startswith("sqlite") else "postgres"
    load_dump(empty_url, (SCHEMAS / f"{revision}.{kind}.sql").read_text())
    store = open_store(empty_url, exclusive=False)
    states = store.count_jobs()
    assert (states[JobState.SUCCEEDED], states[JobState.QUEUED], states[JobState.CANCELLED]) == (1, 1, 1)
    assert [token.name for token in store.list_tokens(None)] == ["kept"]
    (baseline,) = store.list_baselines("study").values()
    assert baseline["metrics"]["left"]["value"] == 0.5
    store.close()
    migrated = _list_indexes(empty_url)
    engine = build_engine(parse_url(empty_url))
    metadata.drop_all(engine)
    metadata.create_all(engine)
    engine.dispose()
    assert migrated == _list_indexes(empty_url)


def _list_indexes(url: str) -> dict[str, list[str]]:
    """Return the indexes of each table without their conditions, which PostgreSQL spells anew after each dump."""
    engine = build_engine(parse_url(url))
    described = describe(engine)
    engine.dispose()
    return {name: [index.partition(" {")[0] for index in table["indexes"]] for name, table in described.items()}
