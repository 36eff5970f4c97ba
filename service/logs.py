"""What the processes of a worker log: one line per event on stderr, with the kind of process and its id."""

from __future__ import annotations

import logging
import sys


def configure_logging(kind: str) -> None:
    """Send what this process logs to stderr, each line marked "worker 4711", "driver 4712" or "trial 4713"."""
    logging.basicConfig(
        level=logging.INFO,
        format=f"%(asctime)s %(levelname)s {kind} %(process)d: %(message)s",
        stream=sys.stderr,
        force=True,
    )
    # It would name every request, and those of heartbeats are many.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("httpcore").setLevel(logging.WARNING)
