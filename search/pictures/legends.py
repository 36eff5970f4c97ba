"""What the colours of a dense task's pictures mean, as a strip to stand below them.

`search.pictures.colouring` makes the colours, `search.pictures.sheets` puts the strip in its place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from search.data.catalogue import TaskInfo
from search.pictures.colouring import Range, class_colours, colour_depth
from search.pictures.lettering import INK, LINE, PAPER, clip, font, measure

_CHIP, _GAP, _SCALE_WIDTH = 12, 14, 180
_WORDS = {
    "saliency": "black: 0, white: 1",
    "edge": "black: 0, white: 1",
    "normals": "red, green, blue: x, y, z of the normal, dark for -1, bright for 1",
}


def draw_legend(task: TaskInfo, width: int, *, classes: Sequence[int], depth_range: Range) -> Image.Image:
    """Return the strip of a dense task.

    Args:
        task: The task.
        width: Pixels it may be wide.
        classes: Those that occur in the pictures, where the task has classes.
        depth_range: (Nearest, farthest) in metres of the pictures, where the task is depth.
    """
    if task.kind == "depth":
        return _draw_scale(depth_range)
    if task.kind in ("segmentation", "parts"):
        return _draw_chips(task, classes, width)
    strip = Image.new("RGB", (width, LINE), PAPER)
    ImageDraw.Draw(strip).text((0, 0), clip(_WORDS[task.kind], width), fill=INK, font=font())
    return strip


def _draw_scale(depth_range: Range) -> Image.Image:
    """Return the colours of depth from near to far between their metres."""
    near, far = (f"{metres:.2g} m" for metres in depth_range)
    depths_HW = np.repeat(np.linspace(*depth_range, _SCALE_WIDTH)[None], _CHIP, axis=0)
    left, right = measure(near) + 6, measure(far) + 6
    strip = Image.new("RGB", (left + _SCALE_WIDTH + right, LINE), PAPER)
    pen = ImageDraw.Draw(strip)
    pen.text((0, 0), near, fill=INK, font=font())
    strip.paste(Image.fromarray(colour_depth(depths_HW, depth_range)), (left, 2))
    pen.text((left + _SCALE_WIDTH + 6, 0), far, fill=INK, font=font())
    return strip


def _draw_chips(task: TaskInfo, classes: Sequence[int], width: int) -> Image.Image:
    """Return a chip of colour and a name per class, in as many lines as they need."""
    colours_K3 = class_colours(task.channels)
    places: list[tuple[int, int, int, str]] = []
    x = row = 0
    for index in sorted(classes):
        name = clip(task.class_names[index] if task.class_names else str(index), width - _CHIP - 4)
        needed = _CHIP + 4 + measure(name)
        if x and x + needed > width:
            x, row = 0, row + 1
        places.append((x, row, index, name))
        x += needed + _GAP
    strip = Image.new("RGB", (width, (row + 1) * LINE), PAPER)
    pen = ImageDraw.Draw(strip)
    for left, line, index, name in places:
        top = line * LINE
        red, green, blue = (int(value) for value in colours_K3[index])
        pen.rectangle((left, top + 2, left + _CHIP - 1, top + _CHIP + 1), fill=(red, green, blue))
        pen.text((left + _CHIP + 4, top), name, fill=INK, font=font())
    return strip
