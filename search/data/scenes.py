"""Rendered scenes with exact labels for six dense tasks: solids on a patterned floor under a sky.

A scene follows from its split and number alone; `render_scene` casts rays through it. Normals stand in the camera
frame with x to the right, y up and z towards the camera; depth runs along the optical axis. Shapes: P rays, H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.data.raycast import FIRST_SOLID, FLOOR, SKY, Camera, Floats, Ints, Solid, SolidKind, is_shadowed, trace
from search.data.shading import (
    PATTERNS,
    Light,
    Texture,
    add_haze,
    compute_openness,
    develop,
    draw_sky,
    draw_texture,
    light_surface,
    paint,
)
from search.data.splits import derive_seed

# Raise it whenever a rendered image or label changes: caches and fingerprints of rendered data hold it.
RENDERER_VERSION = 1
FLOOR_RADIUS = 14.0

# What a pixel shows, as one code: sky, floor, then the named parts in the order of the catalogue's SCENES_PARTS.
PART_OF_SURFACE = (0, 0, 1, 2, 3, 4, 5, 6)
CLASS_OF_SURFACE = (0, 1, 2, 2, 3, 3, 4, 4)
_FIRST_SURFACE: dict[SolidKind, int] = {"sphere": 2, "box": 4, "cylinder": 6}
_KINDS: tuple[SolidKind, ...] = ("sphere", "box", "cylinder")


@dataclass(frozen=True)
class Scene:
    """All that an image shows.

    Attributes:
        camera: Where it is seen from.
        solids: What stands on the floor; they do not touch.
        textures: Of the solids, in the same order.
        floor: Texture of the floor.
        light: Sun and sky.
        noise_seed: Of the noise of the sensor.
    """

    camera: Camera
    solids: tuple[Solid, ...]
    textures: tuple[Texture, ...]
    floor: Texture
    light: Light
    noise_seed: int


@dataclass(frozen=True)
class RenderedScene:
    """An image with its labels in compact form; 0 where depth and normals do not exist (the sky).

    Attributes:
        image: Colours (3, H, W).
        surface: What is seen, (H, W) codes from 0 (sky) to 7.
        salient: 1 on the solid nearest to the camera, (H, W).
        edge: 1 on the thin lines between different things, (H, W).
        depth: Metres, (H, W).
        normals: Unit vectors, (3, H, W).
    """

    image: NDArray[np.uint8]
    surface: NDArray[np.uint8]
    salient: NDArray[np.uint8]
    edge: NDArray[np.uint8]
    depth: NDArray[np.float32]
    normals: NDArray[np.float32]


@dataclass(frozen=True)
class _Hits:
    """What P rays see: depth (P,), number of the thing (P,), points and world normals (3, P), surface codes (P,)."""

    depth: Floats
    thing: Ints
    points: Floats
    normals: Floats
    surface: Ints


def draw_scene(split: str, index: int) -> Scene:
    """Return a scene of a split, the same one at every call and in every size."""
    # NumPy promises never to change the numbers of RandomState, as it does not for its newer generators.
    rng = np.random.RandomState(derive_seed(0, "scenes", split, index) % 2**32)
    height = rng.uniform(1.2, 2.8)
    # Looking at a spot among the solids, from whatever height.
    camera = Camera(height, float(np.arctan2(height, rng.uniform(4.0, 7.5))), rng.uniform(0.85, 1.15))
    solids = _draw_solids(rng, camera, num_wanted=rng.randint(3, 9))
    textures = tuple(
        draw_texture(rng, PATTERNS[rng.randint(len(PATTERNS))], _draw_colours(rng, 0.95), rng.uniform(0.25, 0.8))
        for _ in solids
    )
    floor = draw_texture(rng, PATTERNS[rng.randint(len(PATTERNS))], _draw_colours(rng, 0.3), rng.uniform(0.8, 2.2))
    return Scene(camera, solids, textures, floor, _draw_light(rng), noise_seed=int(rng.randint(2**31 - 1)))


def _draw_solids(rng: np.random.RandomState, camera: Camera, num_wanted: int) -> tuple[Solid, ...]:
    """Return solids in view that stand on the floor without touching each other."""
    solids: list[Solid] = []
    footprints: list[tuple[float, float, float]] = []
    while len(solids) < num_wanted:
        kind = _KINDS[rng.randint(len(_KINDS))]
        half_sizes, rotation, reach = _draw_pose(rng, kind)
        forward = rng.uniform(1.9 + reach, 7.0)
        sideways = rng.uniform(-1, 1) * 0.45 * forward / camera.focal
        if any(np.hypot(sideways - x, forward - z) < reach + r + 0.08 for x, z, r in footprints):
            continue
        footprints.append((sideways, forward, reach))
        # Every pose here stands on the axis that points up, the first for a lying cylinder.
        height = float(np.abs(rotation[1]) @ half_sizes)
        solids.append(Solid(kind, np.array([sideways, height, forward]), half_sizes, rotation))
    return tuple(solids)


def _draw_pose(rng: np.random.RandomState, kind: SolidKind) -> tuple[Floats, Floats, float]:
    """Return half sizes, rotation, and how far the solid reaches from its centre along the floor, in metres."""
    yaw = rng.uniform(0, 2 * np.pi)
    sin, cos = np.sin(yaw), np.cos(yaw)
    upright = np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
    if kind == "sphere":
        radius = rng.uniform(0.25, 0.7)
        return np.full(3, radius), upright, radius
    if kind == "box":
        half_sizes = rng.uniform(0.2, 0.65, 3)
        return half_sizes, upright, float(np.hypot(half_sizes[0], half_sizes[2]))
    radius, half_length = rng.uniform(0.18, 0.5), rng.uniform(0.2, 0.8)
    half_sizes = np.array([radius, half_length, radius])
    if rng.uniform() < 0.6:
        return half_sizes, upright, radius
    # Lying: its axis, the second one, comes down to the floor.
    lying = upright @ np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    return half_sizes, lying, float(np.hypot(radius, half_length))


def _draw_colours(rng: np.random.RandomState, saturation: float) -> Floats:
    """Return two related colours of a texture, (2, 3) in linear light."""
    hue, value = rng.uniform(0, 1), rng.uniform(0.25, 0.9)
    first = _from_hue(hue, saturation * rng.uniform(0.35, 1), value)
    second = _from_hue(hue + rng.normal(scale=0.12), saturation * rng.uniform(0.1, 1), value * rng.uniform(0.25, 0.8))
    return np.stack([first, second])[:: 1 if rng.uniform() < 0.5 else -1]


def _from_hue(hue: float, saturation: float, value: float) -> Floats:
    """Return a colour (3,) from a hue in turns, a saturation and a value in [0, 1]."""
    wheel = np.clip(np.abs((hue + np.array([0.0, 2 / 3, 1 / 3])) % 1 * 6 - 3) - 1, 0, 1)
    colour: Floats = value * (1 - saturation + saturation * wheel)
    return colour


def _draw_light(rng: np.random.RandomState) -> Light:
    """Return sun and sky of a random hour, the sun never straight ahead."""
    elevation, azimuth = np.deg2rad(rng.uniform(28, 68)), np.deg2rad(rng.uniform(-135, 135))
    to_sun = np.array([np.cos(elevation) * np.sin(azimuth), np.sin(elevation), -np.cos(elevation) * np.cos(azimuth)])
    warmth = rng.uniform(0, 1)
    sun = rng.uniform(0.75, 1.1) * np.array([1.0, 0.97 - 0.12 * warmth, 0.9 - 0.28 * warmth])
    zenith = np.array([0.10, 0.24, 0.55]) * rng.uniform(0.7, 1.3)
    horizon = np.array([0.55 + 0.2 * warmth, 0.62 + 0.03 * warmth, 0.72 - 0.15 * warmth]) * rng.uniform(0.8, 1.1)
    clouds = draw_texture(rng, "plain", np.ones((2, 3)), 1.0)
    return Light(to_sun, sun, zenith, horizon, rng.uniform(14, 40), clouds, cloudiness=rng.uniform(0.2, 0.7))


def render_scene(scene: Scene, size: tuple[int, int]) -> RenderedScene:
    """Return the image of a scene and its labels, each label exact at the centre of its pixel.

    Args:
        scene: What to show.
        size: (H, W) in pixels.
    """
    rows, cols = (axis.ravel() + 0.5 for axis in np.indices(size).astype(np.float64))
    hits, colours, lit = _look(scene, rows, cols, size)
    rough = _find_rough(hits, lit, size)
    # Only what lies on a change is looked at again, from four points of the pixel.
    finer = [
        _look(scene, rows[rough] + dy, cols[rough] + dx, size)[1]
        for dy, dx in ((-0.125, -0.375), (-0.375, 0.125), (0.125, 0.375), (0.375, -0.125))
    ]
    colours[:, rough] = sum(finer) / 4
    seen = hits.thing != SKY
    in_camera = scene.camera.axes @ hits.normals
    return RenderedScene(
        image=develop(colours.reshape(3, *size), np.random.RandomState(scene.noise_seed)),
        surface=hits.surface.reshape(size).astype(np.uint8),
        salient=_find_salient(scene, hits).reshape(size).astype(np.uint8),
        edge=find_edges(hits.thing.reshape(size)),
        depth=np.where(seen, hits.depth, 0).reshape(size).astype(np.float32),
        normals=(in_camera * seen).reshape(3, *size).astype(np.float32),
    )


def find_edges(thing_HW: Ints) -> NDArray[np.uint8]:
    """Return 1 on lines one pixel wide where the thing seen is another one than to the right or below, else 0."""
    from skimage.morphology import thin  # noqa: PLC0415 - takes a second, and rendered scenes are kept

    differs = np.zeros(thing_HW.shape, dtype=np.bool_)
    differs[:, :-1] |= thing_HW[:, :-1] != thing_HW[:, 1:]
    differs[:-1] |= thing_HW[:-1] != thing_HW[1:]
    edges: NDArray[np.uint8] = thin(differs).astype(np.uint8)  # type: ignore[no-untyped-call]
    return edges


def _find_salient(scene: Scene, hits: _Hits) -> NDArray[np.bool_]:
    """Return which rays see the solid that comes nearest to the camera among those in the image, (P,)."""
    away = np.linalg.norm(hits.points - scene.camera.origin[:, None], axis=0)
    away = np.where(hits.thing >= FIRST_SOLID, away, np.inf)
    salient: NDArray[np.bool_] = (hits.thing == hits.thing[away.argmin()]) & np.isfinite(away)
    return salient


def _look(scene: Scene, rows: Floats, cols: Floats, size: tuple[int, int]) -> tuple[_Hits, Floats, NDArray[np.bool_]]:
    """Return what rays through image points hit, the light they bring (3, P), and whether the sun reaches it (P,)."""
    directions = scene.camera.rays(rows, cols, size)
    hits = _hit(scene, directions)
    lengths = np.linalg.norm(directions, axis=0)
    colours = np.zeros_like(directions)
    lit = np.ones(len(rows), dtype=np.bool_)
    sky, ground = hits.thing == SKY, hits.thing != SKY
    colours[:, sky] = draw_sky(scene.light, directions[:, sky] / lengths[sky])
    points, normals, depth = hits.points[:, ground], hits.normals[:, ground], hits.depth[ground]
    thing = hits.thing[ground]
    lit[ground] = ~is_shadowed(scene.solids, points, normals, scene.light.to_sun)
    openness = compute_openness(scene.solids, thing - FIRST_SOLID, points, normals)
    pixel = depth / (scene.camera.focal * min(size))
    albedo, gloss = _paint_things(scene, thing, points, pixel)
    to_eye = -directions[:, ground] / lengths[ground]
    sent = light_surface(scene.light, albedo, gloss, normals, to_eye, lit[ground].astype(np.float64), openness)
    colours[:, ground] = add_haze(scene.light, sent, depth)
    return hits, colours, lit


def _hit(scene: Scene, directions: Floats) -> _Hits:
    """Return the geometry of what camera rays see."""
    depth, thing = trace(scene.camera, scene.solids, directions, FLOOR_RADIUS)
    points = scene.camera.origin[:, None] + directions * np.where(thing == SKY, 0, depth)
    normals = np.zeros_like(directions)
    normals[1, thing == FLOOR] = 1
    surface = np.where(thing == FLOOR, 1, 0).astype(np.intp)
    for number, solid in enumerate(scene.solids, start=FIRST_SOLID):
        mine = np.flatnonzero(thing == number)
        if len(mine) == 0:
            continue
        normals[:, mine], axis = solid.normals(points[:, mine])
        if solid.kind == "sphere":
            is_second = points[1, mine] < solid.centre[1]
        elif solid.kind == "box":
            is_second = normals[1, mine] < 0.5
        else:
            is_second = axis == 0
        surface[mine] = _FIRST_SURFACE[solid.kind] + is_second
    return _Hits(depth, thing, points, normals, surface)


def _paint_things(scene: Scene, thing: Ints, points: Floats, pixel: Floats) -> tuple[Floats, Floats]:
    """Return colour (3, P) and gloss (P,) of points on the floor and the solids."""
    albedo, gloss = np.zeros_like(points), np.zeros_like(pixel)
    on_floor = thing == FLOOR
    albedo[:, on_floor] = paint(scene.floor, points[:, on_floor], pixel[on_floor])
    for number, (solid, texture) in enumerate(zip(scene.solids, scene.textures, strict=True), start=FIRST_SOLID):
        mine = thing == number
        own = solid.to_own(points[:, mine]) * solid.half_sizes[:, None]
        albedo[:, mine] = paint(texture, own, pixel[mine])
        gloss[mine] = texture.gloss
    return albedo, gloss


def _find_rough(hits: _Hits, lit: NDArray[np.bool_], size: tuple[int, int]) -> Ints:
    """Return the pixels beside which something else, another face or a shadow begins, as positions in (H*W)."""
    face = np.rint(hits.normals * 2).astype(np.int64)
    sharp = np.array([1, 8, 64]) @ (face + 2) * np.isin(hits.surface, (4, 5, 6, 7))
    code = ((hits.thing * 1024 + sharp) * 2 + lit).reshape(size)
    rough = np.zeros(size, dtype=np.bool_)
    for first, second in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        differs = code[first] != code[second]
        rough[first] |= differs
        rough[second] |= differs
    return np.flatnonzero(rough)
