"""Words in pictures, in the font that comes with Pillow: how wide they are, and as much of them as fits."""

from __future__ import annotations

import math
from functools import cache

from PIL import ImageFont

LINE = 17  # pixels of a line of text
PAPER, INK, QUIET, WRONG = (255, 255, 255), (32, 36, 44), (110, 116, 128), (190, 20, 30)
_TEXT_SIZE = 13


def clip(text: str, width: int) -> str:
    """Return as much of a text as fits into some pixels."""
    if measure(text) <= width:
        return text
    while text and measure(f"{text}..") > width:
        text = text[:-1]
    return f"{text}.."


def measure(text: str) -> int:
    """Return the width of a line of text in pixels."""
    return math.ceil(font().getlength(text))


@cache
def font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font that comes with Pillow."""
    return ImageFont.load_default(_TEXT_SIZE)
