"""Where rays meet spheres, boxes, cylinders and a round floor: exact geometry in plain NumPy.

World frame: x to the right, y up, z forward, in metres, the floor at y = 0. Every solid is convex, so that a ray is
inside it for one interval. Shapes: P rays, arrays are (3, P) so that each coordinate lies in one piece.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]
SolidKind = Literal["sphere", "box", "cylinder"]

SKY, FLOOR, FIRST_SOLID = 0, 1, 2


@dataclass(frozen=True)
class Camera:
    """A pinhole camera above the floor, looking forward and down.

    Attributes:
        height: Of the pinhole above the floor, in metres.
        pitch: Angle of the optical axis below the horizon, in radians.
        focal: Focal length as a multiple of the image's smaller side.
    """

    height: float
    pitch: float
    focal: float

    @property
    def origin(self) -> Floats:
        """Return the pinhole, (3,)."""
        return np.array([0.0, self.height, 0.0])

    @property
    def axes(self) -> Floats:
        """Return the rows right, up and towards the camera in world coordinates, (3, 3): world to camera frame."""
        sin, cos = np.sin(self.pitch), np.cos(self.pitch)
        return np.array([[1.0, 0.0, 0.0], [0.0, cos, sin], [0.0, sin, -cos]])

    def rays(self, rows: Floats, cols: Floats, size: tuple[int, int]) -> Floats:
        """Return the directions of rays through image points, (3, P), each of length 1 along the optical axis.

        The parameter t of such a ray is therefore the depth in metres.

        Args:
            rows: Row coordinates (P,); the centre of pixel i is i + 0.5.
            cols: Column coordinates (P,).
            size: (H, W) of the image in pixels.
        """
        focal_px = self.focal * min(size)
        in_camera = np.stack([(cols - size[1] / 2) / focal_px, (size[0] / 2 - rows) / focal_px, -np.ones_like(rows)])
        return self.axes.T @ in_camera


@dataclass(frozen=True)
class Solid:
    """A sphere, box or cylinder, as an affine image of the unit one (the cylinder's axis is its own y).

    Attributes:
        kind: Which unit solid.
        centre: In the world, (3,) metres.
        half_sizes: Along its own axes, (3,) metres; equal for a sphere, the first and last equal for a cylinder.
        rotation: Columns are its own axes in the world, (3, 3).
    """

    kind: SolidKind
    centre: Floats
    half_sizes: Floats
    rotation: Floats

    def to_own(self, points: Floats) -> Floats:
        """Return world points (3, P) in the coordinates of the unit solid."""
        own: Floats = self.rotation.T @ (points - self.centre[:, None]) / self.half_sizes[:, None]
        return own

    def enter(self, origins: Floats, directions: Floats) -> Floats:
        """Return the parameter at which each ray enters, (P,); infinite where it misses or starts behind.

        Args:
            origins: (3, 1) or (3, P), outside of the solid.
            directions: (3, P).
        """
        start = self.to_own(origins)
        step = self.rotation.T @ directions / self.half_sizes[:, None]
        if self.kind == "sphere":
            first, last = _ball_interval(start, step)
        elif self.kind == "box":
            first, last = _slab_interval(start, step)
        else:
            round_first, round_last = _ball_interval(start[[0, 2]], step[[0, 2]])
            flat_first, flat_last = _slab_interval(start[1:2], step[1:2])
            first, last = np.maximum(round_first, flat_first), np.minimum(round_last, flat_last)
        return np.where((first < last) & (first > 0), first, np.inf)

    def normals(self, points: Floats) -> tuple[Floats, Ints]:
        """Return the outward unit normals (3, P) at surface points (3, P), and which of its own axes they follow (P,).

        For a box the axis is that of the face; for a cylinder 1 on a cap and 0 on the side; for a sphere 0.
        """
        own = self.to_own(points)
        axis = np.zeros(own.shape[1], dtype=np.intp)
        if self.kind == "sphere":
            own_normals = own
        elif self.kind == "box":
            axis = np.abs(own).argmax(0)
            own_normals = _along_axis(own, axis)
        else:
            axis = (np.abs(own[1]) > np.hypot(own[0], own[2])).astype(np.intp)
            side = own * np.array([1.0, 0.0, 1.0])[:, None]
            own_normals = np.where(axis == 1, _along_axis(own, axis), side)
        normals = self.rotation @ (own_normals / np.linalg.norm(own_normals, axis=0))
        return normals, axis


def _along_axis(own: Floats, axis: Ints) -> Floats:
    """Return the vectors (3, P) with nothing but the sign of the coordinate that `axis` (P,) names."""
    return np.where(np.arange(3)[:, None] == axis, np.where(own < 0, -1.0, 1.0), 0.0)


def _ball_interval(start: Floats, step: Floats) -> tuple[Floats, Floats]:
    """Return where rays enter and leave the unit ball of any dimension; an empty interval where they miss."""
    square = np.maximum((step * step).sum(0), 1e-300)
    half_slope = (start * step).sum(0)
    discriminant = half_slope**2 - square * ((start * start).sum(0) - 1)
    root = np.sqrt(np.maximum(discriminant, 0))
    first = np.where(discriminant > 0, (-half_slope - root) / square, np.inf)
    return first, np.where(discriminant > 0, (-half_slope + root) / square, -np.inf)


def _slab_interval(start: Floats, step: Floats) -> tuple[Floats, Floats]:
    """Return where rays enter and leave the cube |x| <= 1 of any dimension; first > last where they miss."""
    # A ray along a face would divide by zero; so small a tilt moves no hit by anything that shows.
    inverse = 1 / np.where(np.abs(step) < 1e-12, 1e-12, step)
    to_low, to_high = (-1 - start) * inverse, (1 - start) * inverse
    return np.minimum(to_low, to_high).max(0), np.maximum(to_low, to_high).min(0)


def enter_floor(origin: Floats, directions: Floats, radius: float) -> Floats:
    """Return where rays from one point (3,) meet the round floor below it, (P,); infinite where they miss."""
    falling = directions[1] < 0
    t = np.where(falling, -origin[1] / np.where(falling, directions[1], -1.0), np.inf)
    reach = np.where(falling, t, 0.0) * np.hypot(directions[0], directions[2])
    return np.where(falling & (reach < radius), t, np.inf)


def trace(camera: Camera, solids: tuple[Solid, ...], directions: Floats, floor_radius: float) -> tuple[Floats, Ints]:
    """Return the depth in metres of what each camera ray sees first, infinite for the sky, and its number, both (P,).

    Numbers are SKY, FLOOR, then FIRST_SOLID onwards in the order of the solids.
    """
    origin = camera.origin
    depths = [enter_floor(origin, directions, floor_radius)]
    depths.extend(solid.enter(origin[:, None], directions) for solid in solids)
    stack = np.stack(depths)
    nearest = stack.argmin(0)
    depth: Floats = np.take_along_axis(stack, nearest[None], 0)[0]
    return depth, np.where(np.isfinite(depth), nearest + FLOOR, SKY)


def is_shadowed(solids: tuple[Solid, ...], points: Floats, normals: Floats, to_light: Floats) -> Bools:
    """Return whether a solid stands between each surface point (3, P) and a far light in direction (3,), (P,)."""
    shadowed = np.zeros(points.shape[1], dtype=np.bool_)
    # Lifted off its own surface; surfaces turned away from the light are dark without any shadow.
    facing = np.flatnonzero((normals * to_light[:, None]).sum(0) > 0)
    lifted = points[:, facing] + 1e-4 * normals[:, facing]
    for solid in solids:
        shadowed[facing] |= np.isfinite(solid.enter(lifted, np.broadcast_to(to_light[:, None], lifted.shape)))
    return shadowed
