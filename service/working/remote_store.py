"""The files of one trial, for a trial process: bytes under the storage root, a row with the server for each.

`RemoteStore` is `search.ports.ArtifactStore`. A file gets a path of its own per content, so that the row, which only
the holder of the lease may change, decides which version counts: one that was fenced off changes nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence

from service.errors import AttemptLostError, ServiceError, StorageError
from service.working.storage import Storage
from service.working.work_orders import StoredFile
from service.working.worker_client import AttemptClient


class RemoteStore:
    """An artifact store of one attempt.

    Args:
        client: Speaks for the attempt.
        storage: Where bytes go.
        folder: Prefix of this attempt's files below the root: "trials/<trial id>/<attempt number>".
        files: What earlier attempts left.
        check_held: Raises AttemptLostError when the attempt must not write any more.
    """

    def __init__(
        self,
        client: AttemptClient,
        storage: Storage,
        *,
        folder: str,
        files: Sequence[StoredFile],
        check_held: Callable[[], None],
    ) -> None:
        self._client = client
        self._storage = storage
        self._folder = folder
        self._files = {file.name: file for file in files}
        self._check_held = check_held

    def write(self, name: str, content: bytes) -> None:
        """Store content under a name; it counts once the server has noted it.

        Raises:
            AttemptLostError: The attempt no longer holds its trial; what was stored before is untouched.
            ServerAwayError: The server did not note it in time.
            OSError: The storage refused.
        """
        self._check_held()
        digest = hashlib.sha256(content).hexdigest()
        path = f"{self._folder}/{name}.{digest[:12]}"
        file = StoredFile(name=name, path=path, sha256=digest, num_bytes=len(content))
        before = self._files.get(name)
        self._storage.write(path, content)
        try:
            self._check_held()  # writing may have taken long
            self._client.put_file(file)
        except AttemptLostError:
            self._forget_bytes(None if before is not None and before.path == path else path)
            raise
        self._files[name] = file
        self._forget_bytes(None if before is None or before.path == path else before.path)

    def read(self, name: str) -> bytes:
        """Return the content of a name.

        Raises:
            FileNotFoundError: Nothing is stored under that name.
            StorageError: The file is damaged.
        """
        if name not in self._files:
            raise FileNotFoundError(name)
        return self._storage.read(self._files[name])

    def exists(self, name: str) -> bool:
        """Return whether something is stored under a name."""
        return name in self._files

    def delete(self, name: str) -> None:
        """Forget a name; a name that holds nothing is no error.

        Raises:
            AttemptLostError: The attempt no longer holds its trial.
            ServerAwayError: The server did not note it in time.
        """
        if name not in self._files:
            return
        self._check_held()
        self._client.delete_file(name)
        self._forget_bytes(self._files.pop(name).path)

    def path_of(self, name: str) -> str:
        """Return where below the storage root the content of a name lies."""
        return self._files[name].path

    def drop_damaged(self) -> list[str]:
        """Forget all files if one of them is damaged or gone, and return the names of those that are.

        A trial can always begin anew; it cannot go on from files of which one is not what it was.
        """
        damaged = [name for name in self._files if not self._is_sound(name)]
        if damaged:
            self.drop_all()
        return damaged

    def drop_all(self) -> None:
        """Forget all files, so that the trial begins anew."""
        for name in list(self._files):
            self.delete(name)

    def _is_sound(self, name: str) -> bool:
        """Return whether a file is there and what its checksum says."""
        try:
            self.read(name)
        except (FileNotFoundError, StorageError):
            return False
        return True

    def _forget_bytes(self, path: str | None) -> None:
        """Remove bytes that no row names; where that fails, the server's sweeper does it later."""
        if path is not None:
            with contextlib.suppress(OSError, ServiceError):
                self._storage.remove(path)
