"""What the stores refuse, one class per kind of refusal; the docstring is the default message.

`service.web.problems` gives each its HTTP status.
"""


class DbError(ValueError):
    """The store cannot do what was asked."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or str(type(self).__doc__))


class NotFoundError(DbError):
    """There is nothing under this id, or it belongs to someone else."""


class ConflictError(DbError):
    """The request contradicts what is stored."""


class IllegalMoveError(ConflictError):
    """The state of this job does not allow that action."""


class StaleVersionError(DbError):
    """The resource has changed since it was read. Read it again and repeat the change."""


class LeaseLostError(ConflictError):
    """This attempt no longer holds its trial: its lease ran out or a newer one took over. Stop writing."""


class QueueFullError(DbError):
    """The queue is full. Wait until some jobs have ended, then submit again."""


class IdempotencyMismatchError(DbError):
    """This idempotency key was used for another request. Use a new key for a new request."""


class IdempotencyBusyError(ConflictError):
    """The first request with this idempotency key is still running. Repeat in a moment."""


class DatabaseUnavailableError(DbError):
    """The database does not answer at the moment. Nothing was changed; repeat the request in a moment."""


class SchemaVersionError(DbError):
    """The database was made by another version of this program."""
