"""`bmtas cost`: the documented keys, the table, and architectures that fit or do not."""

from __future__ import annotations

KEYS = [
    *("dataset", "backbone", "size", "tasks", "stem_madds", "layer_names", "layer_madds", "decoder_madds"),
    *("shared_madds", "split_madds", "single_madds", "architecture_madds", "shared_params", "single_params"),
]
TINY = ("cost", "--dataset", "digits", "--backbone", "tiny4")
