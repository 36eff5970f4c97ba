"""A proposal as a commented dataset.yaml. Pure."""

from __future__ import annotations

import json
import re

from search.data.checks.proposing import Proposal, ProposedSplit, ProposedTask

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./ -]*[A-Za-z0-9]|[A-Za-z0-9]")
_OTHERWISE = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"}
_WIDTH = 100


def write_proposal(proposal: Proposal, root: str) -> str:
    """Return the text of a dataset.yaml whose root is a path relative to it."""
    height, width = proposal.native_size
    lines = [
        "# Proposed by `bmtas dataset init`: look through every line, then run `bmtas dataset check` on this file.",
        f"name: {quote_word(proposal.name)}",
        f"root: {quote_word(root)}  # all paths below start here, which is relative to this file",
        "splits:  # one sample id a line",
        f"  train: {quote_word(proposal.train.path)}  # {_describe_split(proposal.train)}",
        f"  val: {quote_word(proposal.val.path)}  # {_describe_split(proposal.val)}",
        f"image: {quote_word(proposal.image)}  # {proposal.num_images} files",
        "tasks:  # the kinds: segmentation, parts, depth, normals, edge, saliency, classification",
        *(line for task in proposal.tasks for line in _write_task(task)),
        f"input_size: [{proposal.input_size[0]}, {proposal.input_size[1]}]  # height, width of the networks' input; "
        f"images are {height}x{width}",
        *(f"# {remark}" for remark in proposal.remarks),
    ]
    return "\n".join(lines) + "\n"


def _write_task(task: ProposedTask) -> list[str]:
    """Return the lines of one task."""
    what = "table" if task.guess.kind == "classification" else "path"
    lines = [
        f"  {quote_word(task.name)}:  # {task.num_samples} samples: {task.guess.reason}",
        f"    kind: {task.guess.kind}",
        f"    {what}: {quote_word(task.place)}",
    ]
    for name, value in task.guess.settings.items():
        if isinstance(value, list):
            lines += _write_list(name, value)
        else:
            lines.append(f"    {name}: {quote_word(value) if isinstance(value, str) else json.dumps(value)}")
    return lines


def _write_list(name: str, values: list[str]) -> list[str]:
    """Return the lines of a list of words, on one line where it fits."""
    words = [quote_word(value) for value in values]
    line = f"    {name}: [{', '.join(words)}]"
    return [line] if len(line) <= _WIDTH else [f"    {name}:", *(f"      - {word}" for word in words)]


def _describe_split(split: ProposedSplit) -> str:
    """Return the words on a list of samples."""
    return f"{split.num_samples} samples, {'as found' if split.samples is None else 'drawn at random'}"


def quote_word(text: str) -> str:
    """Return a word as YAML reads it back, in quotes where it would read something else."""
    plain = _PLAIN.fullmatch(text) and text.lower() not in _OTHERWISE and not _is_number(text)
    return text if plain and not text.startswith("-") else json.dumps(text, ensure_ascii=False)


def _is_number(text: str) -> bool:
    """Return whether YAML may read a word as a number or a date."""
    return text[0].isdigit() or text.lower() in (".inf", ".nan")
