"""What surfaces look like: procedural patterns, sun, sky light, soft contact shadows and haze, in plain NumPy.

Colours are linear light in [0, 1] until `develop` makes bytes of them. Patterns are softened by the size of a pixel on
the surface, so that they fade with distance rather than flicker. Shapes: P points, colours and points are (3, P).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from search.data.raycast import Floats, Solid

PatternKind = Literal["plain", "checker", "stripes", "marble", "speckle"]
PATTERNS: tuple[PatternKind, ...] = ("plain", "checker", "stripes", "marble", "speckle")
_NUM_WAVES = 5


@dataclass(frozen=True)
class Texture:
    """A pattern of two colours in space.

    Attributes:
        pattern: How the colours alternate.
        colours: The two colours, (2, 3) in linear light.
        period: Length after which the pattern comes again, in metres.
        waves: Directions of the waves that add up to noise, (N, 3) in radians per period, coarse to fine.
        phases: Of the waves, (N,) radians.
        gloss: Strength of the highlight, from 0.
    """

    pattern: PatternKind
    colours: Floats
    period: float
    waves: Floats
    phases: Floats
    gloss: float


@dataclass(frozen=True)
class Light:
    """Sun and sky.

    Attributes:
        to_sun: Unit vector towards the sun, (3,).
        sun: Colour and strength of the sun, (3,).
        zenith: Colour of the sky overhead, (3,).
        horizon: Colour of the sky at the horizon and of the haze, (3,).
        haze_range: Depth at which the haze has taken 63 %, in metres.
        clouds: Pattern of the clouds.
        cloudiness: Share of cloud, in [0, 1].
    """

    to_sun: Floats
    sun: Floats
    zenith: Floats
    horizon: Floats
    haze_range: float
    clouds: Texture
    cloudiness: float


def draw_texture(rng: np.random.RandomState, pattern: PatternKind, colours: Floats, period: float) -> Texture:
    """Return a texture with random waves and gloss."""
    directions = rng.normal(size=(_NUM_WAVES, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    frequencies = 2 * np.pi * 1.9 ** np.arange(_NUM_WAVES)
    gloss = float(rng.uniform(0.0, 0.6)) if rng.uniform() < 0.6 else 0.0
    phases = rng.uniform(0, 2 * np.pi, _NUM_WAVES)
    return Texture(pattern, colours, period, directions * frequencies[:, None], phases, gloss)


def paint(texture: Texture, points: Floats, pixel: Floats) -> Floats:
    """Return the colour of points of a surface, (3, P).

    Args:
        texture: The pattern.
        points: In the frame of the solid, (3, P) metres.
        pixel: Size of an image pixel at each point, (P,) metres.
    """
    scaled, blur = points / texture.period, pixel / texture.period
    noise = _noise(texture, scaled, blur)
    if texture.pattern == "checker":
        # Off the lattice's own planes, or the flat faces of a box would lie exactly on a change of colour.
        along = [_square_wave(axis + 0.27, blur) for axis in scaled]
        share = along[0] * along[1] * along[2]
    elif texture.pattern == "stripes":
        first = texture.waves[0] / np.linalg.norm(texture.waves[0])
        share = _square_wave((first[:, None] * scaled).sum(0), blur)
    elif texture.pattern == "marble":
        share = _fade(2 * np.pi * (scaled[0] + scaled[1] + 0.6 * noise), 6 * blur)
    elif texture.pattern == "speckle":
        share = np.clip(3 * noise - 1, -1, 1)
    else:
        share = 0.25 * noise
    first_colour, second_colour = texture.colours[:, :, None]
    mixed = first_colour + (second_colour - first_colour) * (0.5 + 0.5 * share)
    grain: Floats = mixed * (1 + 0.12 * noise)
    return grain


def _square_wave(position: Floats, blur: Floats) -> Floats:
    """Return a wave of period 1 that alternates between -1 and 1 with edges one pixel wide."""
    wave: Floats = np.clip(np.sin(2 * np.pi * position) / (np.pi * blur + 1e-6), -1, 1)
    return wave


def _fade(angle: Floats, blur: Floats) -> Floats:
    """Return a sine that fades where a pixel covers much of its period."""
    faded: Floats = np.sin(angle) * np.clip(1 - blur, 0, 1)
    return faded


def _noise(texture: Texture, scaled: Floats, blur: Floats) -> Floats:
    """Return smooth noise of about [-1, 1]: waves, each bent by the coarser ones, fading below the size of a pixel."""
    total = np.zeros(scaled.shape[1])
    for level, (wave, phase) in enumerate(zip(texture.waves, texture.phases, strict=True)):
        angle = wave @ scaled + phase + 2.2 * total
        total += 0.62**level * _fade(angle, 1.9**level * blur)
    return total / 1.6


def draw_sky(light: Light, directions: Floats) -> Floats:
    """Return the colour of the sky in unit directions (3, P)."""
    height = np.clip(directions[1], 0, 1)
    blend = np.sqrt(height)
    sky = light.horizon[:, None] * (1 - blend) + light.zenith[:, None] * blend
    # Clouds hang on a plane overhead, so that they crowd together towards the horizon.
    overhead = directions / (height + 0.12)
    cover = _noise(light.clouds, overhead * np.array([1.0, 0.0, 1.0])[:, None], np.full(height.shape, 0.02))
    share = np.clip(cover + 2 * light.cloudiness - 1, 0, 1) * np.clip(height * 6, 0, 1)
    cloudy: Floats = sky + (0.9 - sky) * share
    return cloudy


def compute_openness(solids: tuple[Solid, ...], own: NDArray[np.intp], points: Floats, normals: Floats) -> Floats:
    """Return how much sky light reaches points (3, P), in [0, 1], taking each solid for the ball of its volume.

    Args:
        solids: All solids.
        own: Which of them each point lies on, (P,); a solid does not shade itself. Negative for the floor.
        points: Surface points.
        normals: Outward unit normals (3, P).
    """
    openness = np.ones(points.shape[1])
    for index, solid in enumerate(solids):
        radius = float(np.prod(solid.half_sizes)) ** (1 / 3)
        towards = solid.centre[:, None] - points
        distance = np.maximum(np.sqrt((towards * towards).sum(0)), radius)
        facing = np.clip((towards * normals).sum(0) / distance, 0, 1)
        openness *= 1 - 0.9 * facing * (radius / distance) ** 2 * (own != index)
    return openness


def light_surface(
    light: Light, albedo: Floats, gloss: Floats, normals: Floats, to_eye: Floats, lit: Floats, openness: Floats
) -> Floats:
    """Return the light that surfaces send to the eye, (3, P).

    Args:
        light: Sun and sky.
        albedo: Colours (3, P).
        gloss: Strength of the highlight (P,).
        normals: Outward unit normals (3, P).
        to_eye: Unit vectors towards the camera (3, P).
        lit: Share of the sun that arrives, (P,) in [0, 1].
        openness: Share of the sky's light that arrives, (P,) in [0, 1].
    """
    facing = np.clip((normals * light.to_sun[:, None]).sum(0), 0, 1) * lit
    halfway = to_eye + light.to_sun[:, None]
    halfway = halfway / np.linalg.norm(halfway, axis=0)
    shine = gloss * facing * np.clip((normals * halfway).sum(0), 0, 1) ** 40
    # The sky lights what looks up, and the floor throws a third of that back at what looks down.
    upward = 0.5 + 0.5 * normals[1]
    sky = (0.5 * light.horizon + 0.5 * light.zenith)[:, None] * (0.35 + 0.65 * upward) * openness
    sent: Floats = albedo * (0.55 * sky + light.sun[:, None] * facing) + light.sun[:, None] * shine
    return sent


def add_haze(light: Light, colours: Floats, depth: Floats) -> Floats:
    """Return colours (3, P) seen through the haze of a depth (P,) in metres."""
    share = 1 - np.exp(-((depth / light.haze_range) ** 2))
    hazy: Floats = colours + (light.horizon[:, None] - colours) * share
    return hazy


def develop(linear: Floats, rng: np.random.RandomState) -> NDArray[np.uint8]:
    """Return the bytes of an image (C, H, W) in linear light, with a little noise of the sensor."""
    display = np.clip(linear, 0, 1) ** (1 / 2.2) * 255
    noisy = display + rng.normal(scale=1.5, size=linear.shape)
    image: NDArray[np.uint8] = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return image
