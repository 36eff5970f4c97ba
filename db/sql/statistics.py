"""PostgreSQL's statistics, without which it plans as if tables were tiny: made when a restored database has none."""

from __future__ import annotations

from sqlalchemy import text

from db.sql.engine import Database, Transaction
from db.sql.schema import metadata

_NEVER_LOOKED_AT = text(
    "SELECT count(*) FROM pg_class WHERE oid = to_regclass('job') AND reltuples <= 0 AND EXISTS (SELECT 1 FROM job)"
)
_LOOK = text(f"ANALYZE {', '.join(metadata.tables)}")


def make_missing_statistics(database: Database) -> None:
    """Have PostgreSQL look at tables that are full but that it never looked at, as after a restore or an upgrade.

    Its own housekeeping comes a minute later; until then a list of one label took 70 ms instead of 7 with 10,000 jobs.
    """

    def work(tx: Transaction) -> None:
        if tx.is_postgres and tx.execute(_NEVER_LOOKED_AT).scalar_one():
            tx.execute(_LOOK)

    if database.engine.dialect.name == "postgresql":
        database.write(work)
