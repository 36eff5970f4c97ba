"""Reads YAML that strangers may have written, as data only and within bounds.

No tags, no aliases (a few lines of them unfold to gigabytes), no key twice, UTF-8 only. Pure but for reading one file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from search.errors import DatasetError

_MAX_BYTES = 256 << 10


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no annotations
    """YAML's safe loader without aliases and without keys that stand twice or are no words."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Return the next node; an alias is none."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read; write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping, each of whose keys is a word and stands once."""
        names = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                raise yaml.YAMLError(f"keys must be words, got {str(key.value)[:40]!r}; put it in quotes")
            if names.count(key.value) > 1:
                raise yaml.YAMLError(f"the key {key.value[:40]!r} stands twice")
        return dict(super().construct_mapping(node, deep))


def read_plain_yaml(file: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Raises:
        DatasetError: Missing, too long, not UTF-8, not YAML, or no mapping; the sentence names the file.
    """
    try:
        if file.exists() and not file.is_file():  # a pipe would never end
            raise DatasetError(f"{file} is no ordinary file. Name a dataset.yaml.")
        with file.open("rb") as handle:
            content = handle.read(_MAX_BYTES + 1)
    except OSError as error:
        raise DatasetError(f"{file} cannot be read ({error.strerror}). Check the path of the dataset.yaml.") from None
    try:
        if len(content) > _MAX_BYTES:
            raise ValueError(f"it is longer than {_MAX_BYTES} bytes")
        values = _PlainLoader(content.decode("utf-8-sig")).get_single_data()
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text"
    except RecursionError:
        reason = "it is nested too deeply"
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
    else:
        if isinstance(values, dict):
            return values
        reason = "it is empty" if values is None else f"it holds a {type(values).__name__}, not keys with values"
    raise DatasetError(f"{file} is no usable dataset.yaml: {reason}. Mend the file, then try again.")
