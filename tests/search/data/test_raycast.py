import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.data.raycast import FIRST_SOLID, FLOOR, SKY, Bools, Camera, Floats, Solid, SolidKind, is_shadowed, trace

KINDS: tuple[SolidKind, ...] = ("sphere", "box", "cylinder")


def _rotation(rng: np.random.RandomState) -> Floats:
    """Return a random rotation."""
    matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix[:, 0] *= np.sign(np.linalg.det(matrix))
    return np.asarray(matrix)


def _solid(kind: SolidKind, rng: np.random.RandomState) -> Solid:
    """Return a solid of random size and pose around the point (0, 0, 5)."""
    half = rng.uniform(0.3, 1.2, 3)
    if kind == "sphere":
        half[:] = half[0]
    half[2] = half[0] if kind == "cylinder" else half[2]
    return Solid(kind, np.array([0.0, 0.0, 5.0]) + rng.normal(scale=0.2, size=3), half, _rotation(rng))


def _is_inside(solid: Solid, points: Floats) -> Bools:
    """Return whether points (3, P) lie in a solid, by its plain definition."""
    own = solid.to_own(points)
    if solid.kind == "sphere":
        return np.asarray((own**2).sum(0) <= 1)
    if solid.kind == "box":
        return np.asarray(np.abs(own).max(0) <= 1)
    return np.asarray((np.hypot(own[0], own[2]) <= 1) & (np.abs(own[1]) <= 1))


@settings(max_examples=15, deadline=None)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 10_000))
def test_rays_enter_where_marching_finds_the_first_inside_point(kind: SolidKind, seed: int) -> None:
    """The closed form agrees with walking along each ray in small steps."""
    rng = np.random.RandomState(seed)
    solid = _solid(kind, rng)
    directions = np.stack([*rng.uniform(-0.3, 0.3, (2, 40)), np.ones(40)])
    entered = solid.enter(np.zeros((3, 1)), directions)
    steps = np.arange(2.0, 9.0, 0.002)
    inside = np.stack([_is_inside(solid, directions[:, [ray]] * steps) for ray in range(40)])
    marched = np.where(inside.any(1), steps[inside.argmax(1)], np.inf)
    # A ray that only grazes a corner may pass between two steps.
    both = np.isfinite(entered) & np.isfinite(marched)
    assert np.abs(entered[both] - marched[both]).max(initial=0) < 0.0021
    assert np.isfinite(entered[np.isfinite(marched)]).all()
    assert (np.isfinite(entered) & ~np.isfinite(marched)).sum() <= 2


@settings(max_examples=15, deadline=None)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 10_000))
def test_normals_are_unit_and_point_out_of_the_solid(kind: SolidKind, seed: int) -> None:
    """A small step along the normal leaves the solid, one against it goes inside."""
    rng = np.random.RandomState(seed)
    solid = _solid(kind, rng)
    directions = np.stack([*rng.uniform(-0.05, 0.05, (2, 60)), np.ones(60)])
    entered = solid.enter(np.zeros((3, 1)), directions)
    hit = np.isfinite(entered)
    points = directions[:, hit] * entered[hit]
    normals, _ = solid.normals(points)
    assert np.allclose(np.linalg.norm(normals, axis=0), 1)
    assert not _is_inside(solid, points + 1e-6 * normals).any()
    assert _is_inside(solid, points - 1e-6 * normals).mean() > 0.95
    assert ((normals * directions[:, hit]).sum(0) < 1e-9).all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_behind_or_beside_is_missed(kind: SolidKind) -> None:
    """Only what lies ahead of the ray counts."""
    solid = Solid(kind, np.array([0.0, 0.0, 5.0]), np.ones(3), np.eye(3))
    directions = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]).T
    assert solid.enter(np.zeros((3, 1)), directions).tolist() == [4.0, np.inf, np.inf]


def test_a_ray_along_a_face_does_not_divide_by_zero() -> None:
    """A ray parallel to four faces of a box meets the one ahead."""
    box = Solid("box", np.array([0.0, 0.0, 5.0]), np.ones(3), np.eye(3))
    assert box.enter(np.array([[0.0], [1 - 1e-9], [0.0]]), np.array([[0.0], [0.0], [1.0]])) == pytest.approx([4.0])


def test_the_camera_sees_along_its_axis_in_the_middle() -> None:
    """The middle of the image looks along the pitch, and the parameter of every ray is depth along that axis."""
    camera = Camera(height=1.0, pitch=np.deg2rad(30), focal=1.0)
    rays = camera.rays(np.array([10.0, 0.0, 20.0]), np.array([15.0, 0.0, 30.0]), (20, 30))
    assert np.allclose(rays[:, 0], [0, -0.5, np.sqrt(0.75)])
    assert np.allclose((camera.axes @ rays)[2], -1)
    assert np.allclose((camera.axes @ rays)[:, 1], [-0.75, 0.5, -1])
    assert np.allclose(camera.axes @ camera.axes.T, np.eye(3))


def test_the_nearest_thing_is_seen() -> None:
    """A solid hides the floor behind it, the floor ends at its radius, and above it is sky."""
    camera = Camera(height=1.0, pitch=0.0, focal=1.0)
    near, far = (Solid("sphere", np.array([0.0, 1.0, z]), np.full(3, 0.5), np.eye(3)) for z in (3.0, 6.0))
    directions = np.array([[0.0, 0.0, 1.0], [0.0, -0.5, 1.0], [0.0, -0.05, 1.0], [0.0, 0.3, 1.0]]).T
    depth, thing = trace(camera, (far, near), directions, floor_radius=10.0)
    assert thing.tolist() == [FIRST_SOLID + 1, FLOOR, FIRST_SOLID + 1, SKY]
    assert depth[0] == pytest.approx(2.5)
    assert depth[1] == pytest.approx(2.0)
    assert depth[3] == np.inf
    assert trace(camera, (), directions[:, [2]], floor_radius=10.0)[1].tolist() == [SKY]


def test_shadow_falls_away_from_the_light_only() -> None:
    """A point under a sphere is in its shadow with the sun overhead; a point beside it is not."""
    sphere = Solid("sphere", np.array([0.0, 1.0, 5.0]), np.full(3, 0.5), np.eye(3))
    points = np.array([[0.0, 0.0, 5.0], [2.0, 0.0, 5.0], [0.0, 1.5, 5.0]]).T
    upwards = np.array([0.0, 1.0, 0.0])
    normals = np.repeat(upwards[:, None], 3, axis=1)
    assert is_shadowed((sphere,), points, normals, upwards).tolist() == [True, False, False]
