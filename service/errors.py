"""What can go wrong in the shell that the person who asked can mend, one class per kind of mistake.

The method's own mistakes stand in `search.errors` and `models.errors`; `service.commands.failures` turns all of them
into one sentence and an exit code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class ServiceError(ValueError):
    """The shell cannot do what was asked."""


class ArtifactNameError(ServiceError):
    """A name of an artifact must stay inside its folder."""


class FolderContentError(ServiceError):
    """The folder holds neither a candidate, nor a retrained network, nor a study."""


class TargetFileError(ServiceError):
    """The file to be written exists already, or its folder does not."""


class PredictionError(ServiceError):
    """Some photographs could not be used; the others are done."""


class ServerAwayError(ServiceError):
    """The server does not answer. Start it with `bmtas serve`, or name another with --server."""


class ServiceProblem(ServiceError):  # noqa: N818 - RFC 9457 calls what the server answers a problem
    """The server refused the request.

    Attributes:
        status: HTTP status.
        code: Short name of the problem; "" where the answer named none.
        errors: What is wrong with which field: {pointer, code, message}.
        request_id: What the server's log calls the request.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 0,
        code: str = "",
        errors: Sequence[Mapping[str, str]] = (),
        request_id: str = "",
    ) -> None:
        super().__init__(message or "The server refused the request.")
        self.status = status
        self.code = code
        self.errors = tuple(errors)
        self.request_id = request_id


class NoTokenError(ServiceError):
    """An access token is needed. Set BMTAS_TOKEN_FILE or BMTAS_TOKEN, or give --token-file."""


class ChecksumError(ServiceError):
    """The file that arrived is not the one that the server promised."""


class ServerStartError(ServiceError):
    """The server cannot start as asked."""


class WaitedJobError(ServiceError):
    """The job that was waited for ended without a result."""


class AttemptLostError(ServiceError):
    """This attempt no longer holds its trial: its lease ran out, or the job was stopped. Nothing more is written."""


class VersionMismatchError(ServiceError):
    """Server and worker must be of the same program version. Install the server's version here."""


class StorageError(ServiceError):
    """The storage root must be an absolute path or an fsspec URL, and its files what the server says they are."""


class BackboneDescriptionError(ServiceError):
    """A backbone of another package cannot be built, measured or cut."""
