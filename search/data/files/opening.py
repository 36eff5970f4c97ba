"""From the name and the place of a dataset made of files to its samples: the one table of what reads which layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from search.data.catalogue import DatasetInfo
from search.data.files.manifest_source import open_manifest
from search.data.files.nyud import NyudSource
from search.data.files.paper_layouts import NYUD, PASCAL_CONTEXT
from search.data.files.pascal_context import PascalContextSource
from search.data.files.sources import SampleSource
from search.errors import DatasetError

_LAYOUTS: Mapping[str, Callable[[Path], SampleSource]] = {PASCAL_CONTEXT: PascalContextSource, NYUD: NyudSource}
"""What reads the folder of a dataset that is no dataset.yaml."""


def open_source(info: DatasetInfo, place: Path) -> SampleSource:
    """Return the samples of a dataset.

    Args:
        info: Its facts, as the job knows them.
        place: Its dataset.yaml, or its folder.

    Raises:
        DatasetError: What lies there is not usable, or defined otherwise by now.
    """
    source = _LAYOUTS.get(info.name, open_manifest)(place)
    if source.info.definition != info.definition:
        raise DatasetError(
            f"Dataset '{info.name}' changed while a job on it began: {place} says other than before. Start anew."
        )
    return source
