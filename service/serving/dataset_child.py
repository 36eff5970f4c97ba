"""Reads every sample of a dataset once and writes what it found to stdout: run by `dataset_checker` as a process.

It loads numpy and PIL, which the server never does. Each sentence about a fault names files as the dataset.yaml does.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_NICENESS = 10


def main(place: Path) -> int:
    """Print the findings as JSON, or one sentence on stderr that says why there are none."""
    os.nice(_NICENESS)
    try:
        from search.data.checks.checking import check_source  # noqa: PLC0415 - numpy may be missing
        from search.data.files.manifest import load_manifest  # noqa: PLC0415
        from search.data.files.opening import open_source  # noqa: PLC0415
        from search.errors import SearchError  # noqa: PLC0415
    except ModuleNotFoundError as error:
        sys.stderr.write(f"This server has no {error.name}, which reads samples; workers check them.\n")
        return 1
    try:
        info = load_manifest(place).info
        findings = check_source(open_source(info, place), info.tasks, info.definition or "")
    except SearchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.buffer.write(findings.to_json_bytes())
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
