from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import label as label_regions

from search.data.catalogue import SCENES_OBJECTS, SCENES_PARTS
from search.data.raycast import Camera, Floats, Ints, Solid
from search.data.scenes import (
    CLASS_OF_SURFACE,
    FLOOR_RADIUS,
    PART_OF_SURFACE,
    Scene,
    draw_scene,
    find_edges,
    render_scene,
)

SIZE = (48, 64)
RADIUS = 0.6
CENTRE = np.array([0.1, RADIUS, 3.0])


def _scene(*solids: Solid, height: float = 1.0, pitch: float = 0.2) -> Scene:
    """Return a scene of known geometry with the looks of the first training scene."""
    looks = draw_scene("train", 0)
    camera = Camera(height=height, pitch=pitch, focal=1.0)
    return replace(looks, camera=camera, solids=solids, textures=looks.textures[: len(solids)])


def _rays(camera: Camera) -> Floats:
    """Return the directions through the pixel centres in the camera frame, (3, H, W), worked out afresh."""
    rows, cols = np.indices(SIZE) + 0.5
    focal_px = camera.focal * min(SIZE)
    return np.stack([(cols - SIZE[1] / 2) / focal_px, (SIZE[0] / 2 - rows) / focal_px, -np.ones(SIZE)])


def _sphere(centre: Floats = CENTRE) -> Solid:
    """Return a sphere of known size."""
    return Solid("sphere", centre, np.full(3, RADIUS), np.eye(3))


def test_depth_and_normals_of_a_sphere_are_those_of_the_formula() -> None:
    """Points at the stated depth lie on the sphere, and normals point from its centre, in the camera frame."""
    scene = _scene(_sphere())
    rendered = render_scene(scene, SIZE)
    on_sphere = np.isin(rendered.surface, (2, 3))
    centre_in_camera = scene.camera.axes @ (CENTRE - scene.camera.origin)
    points = (_rays(scene.camera) * rendered.depth)[:, on_sphere]
    away = points - centre_in_camera[:, None]
    assert on_sphere.sum() > 200
    assert np.allclose(np.linalg.norm(away, axis=0), RADIUS, atol=1e-5)
    assert np.allclose(rendered.normals[:, on_sphere], away / RADIUS, atol=1e-5)


def test_the_sphere_covers_exactly_the_pixels_whose_ray_meets_it() -> None:
    """The outline is the cone of tangents from the camera."""
    scene = _scene(_sphere())
    rays = _rays(scene.camera)
    centre = scene.camera.axes @ (CENTRE - scene.camera.origin)
    along = np.einsum("c,chw->hw", centre, rays) / np.linalg.norm(rays, axis=0)
    meets = centre @ centre - along**2 < RADIUS**2
    assert np.array_equal(np.isin(render_scene(scene, SIZE).surface, (2, 3)), meets)


def test_depth_and_normals_of_the_floor_are_those_of_the_plane() -> None:
    """The floor lies the camera's height below it and looks up."""
    scene = _scene(height=1.5, pitch=0.3)
    rendered = render_scene(scene, SIZE)
    points = np.einsum("cw,chk->whk", scene.camera.axes, _rays(scene.camera) * rendered.depth)
    floor = rendered.surface == 1
    assert np.allclose(points[1][floor], -1.5, atol=1e-5)
    assert np.hypot(points[0], points[2])[floor].max() < FLOOR_RADIUS + 1e-4
    assert np.allclose(rendered.normals[:, floor].T, [0, np.cos(0.3), np.sin(0.3)], atol=1e-6)


def test_a_wall_that_faces_the_camera_has_normals_towards_it() -> None:
    """Straight ahead, a box shows (0, 0, 1) at the depth of its face."""
    box = Solid("box", np.array([0.0, 1.0, 4.0]), np.ones(3), np.eye(3))
    rendered = render_scene(_scene(box, pitch=0.0), SIZE)
    face = rendered.surface == 5
    assert np.allclose(rendered.normals[:, face].T, [0, 0, 1], atol=1e-6)
    assert np.allclose(rendered.depth[face], 3.0, atol=1e-5)


@pytest.mark.parametrize(
    ("solid", "upper", "lower"),
    [
        (_sphere(), "sphere upper half", "sphere lower half"),
        (Solid("box", CENTRE, np.array([0.5, 0.6, 0.5]), np.eye(3)), "box top", "box side"),
        (Solid("cylinder", CENTRE, np.array([0.5, 0.6, 0.5]), np.eye(3)), "cylinder cap", "cylinder side"),
    ],
)
def test_parts_lie_where_their_names_say(solid: Solid, upper: str, lower: str) -> None:
    """Seen from above, the upper part lies above the lower one, and both are of the right object."""
    rendered = render_scene(_scene(solid, height=2.2, pitch=0.5), SIZE)
    parts = np.array(PART_OF_SURFACE)[rendered.surface]
    rows_upper, rows_lower = (np.nonzero(parts == SCENES_PARTS.index(name))[0] for name in (upper, lower))
    assert len(rows_upper) > 20
    assert rows_upper.mean() < rows_lower.mean()
    classes = np.array(CLASS_OF_SURFACE)[rendered.surface]
    assert set(classes[parts > 0]) == {SCENES_OBJECTS.index(solid.kind)}
    assert set(classes[parts == 0]) == {SCENES_OBJECTS.index("background"), SCENES_OBJECTS.index("ground")}


def test_the_salient_solid_is_the_nearest_one() -> None:
    """Of two spheres the nearer one is marked, whatever their order."""
    near, far = _sphere(np.array([0.7, RADIUS, 2.5])), _sphere(np.array([-0.8, RADIUS, 4.0]))
    for solids in ((near, far), (far, near)):
        rendered = render_scene(_scene(*solids), SIZE)
        marked = rendered.salient == 1
        assert np.isin(rendered.surface[marked], (2, 3)).all()
        assert np.nonzero(marked)[1].mean() > SIZE[1] / 2
        assert 0 < marked.sum() < np.isin(rendered.surface, (2, 3)).sum()


def test_without_solids_nothing_is_salient() -> None:
    """Floor and sky are never salient."""
    assert render_scene(_scene(), SIZE).salient.sum() == 0


def _staircase() -> Ints:
    """Return things with straight, slanted and round borders."""
    rows, cols = np.indices((40, 40))
    things = (rows + 2 * cols > 60).astype(np.intp)
    things[(rows - 15) ** 2 + (cols - 12) ** 2 < 64] = 5
    return things


def test_edges_lie_only_where_another_thing_begins() -> None:
    """Every edge pixel has a neighbour of another thing, and nothing else is marked."""
    things = _staircase()
    padded = np.pad(things, 1, mode="edge")
    neighbours = np.stack([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]])
    borders = (neighbours != things).any(0)
    edges = find_edges(things) == 1
    assert edges.any()
    assert borders[edges].all()
    assert find_edges(np.zeros((9, 9), dtype=np.intp)).sum() == 0


def test_edges_are_one_pixel_wide_and_separate_things() -> None:
    """No two by two block is all edge, and removing the edges leaves no way from one thing to another."""
    things = _staircase()
    edges = find_edges(things) == 1
    assert not (edges[:-1, :-1] & edges[1:, :-1] & edges[:-1, 1:] & edges[1:, 1:]).any()
    regions, num_regions = label_regions(~edges)
    for region in range(1, num_regions + 1):
        values, counts = np.unique(things[regions == region], return_counts=True)
        # An edge lies on either side of the border, so that a pixel of the other side may remain.
        assert counts.max() / counts.sum() > 0.95, values


def test_labels_of_drawn_scenes_agree_with_each_other() -> None:
    """In the sky there is no depth and no normal; elsewhere normals are unit vectors that face the camera."""
    for index in range(5):
        scene = draw_scene("val", index)
        rendered = render_scene(scene, SIZE)
        sky = rendered.surface == 0
        assert (rendered.depth[sky] == 0).all()
        assert (rendered.normals[:, sky] == 0).all()
        assert rendered.depth[~sky].min() > 0.5
        assert np.allclose(np.linalg.norm(rendered.normals[:, ~sky], axis=0), 1, atol=1e-6)
        assert ((rendered.normals * _rays(scene.camera))[:, ~sky].sum(0) < 1e-6).all()
        assert rendered.salient.sum() > 0


def test_drawn_solids_stand_on_the_floor_apart_from_each_other() -> None:
    """Three to eight of them, each touching the floor with its lowest point."""
    kinds = set()
    for index in range(60):
        solids = draw_scene("train", index).solids
        assert 3 <= len(solids) <= 8
        kinds |= {solid.kind for solid in solids}
        for solid in solids:
            extent = np.abs(solid.rotation[1]) * solid.half_sizes
            lowest = extent.sum() if solid.kind == "box" else np.linalg.norm(extent)
            assert solid.centre[1] == pytest.approx(lowest)
        gaps = [np.linalg.norm(a.centre - b.centre) for a in solids for b in solids if a is not b]
        assert min(gaps) > 0.4
    assert kinds == {"sphere", "box", "cylinder"}


def test_a_scene_follows_from_split_and_index_alone() -> None:
    """The same call gives the same bytes; another index or split gives another scene."""
    images = [render_scene(draw_scene(split, index), SIZE).image for split, index in [("train", 3)] * 2]
    assert np.array_equal(images[0], images[1])
    others = [render_scene(draw_scene(split, index), SIZE).image for split, index in (("train", 4), ("val", 3))]
    assert all(not np.array_equal(images[0], other) for other in others)


def test_the_renderer_still_draws_what_its_version_says() -> None:
    """Counts written down once; whoever changes them raises RENDERER_VERSION, which caches and fingerprints hold."""
    rendered = render_scene(draw_scene("train", 7), (64, 64))
    assert np.bincount(rendered.surface.ravel(), minlength=8).tolist() == [1250, 2525, 56, 32, 85, 148, 0, 0]
    assert rendered.image.mean() == pytest.approx(143.300, abs=0.02)


def test_the_same_scene_is_seen_at_every_size() -> None:
    """A larger image shows the same things at finer grain."""
    scene = draw_scene("train", 2)
    small, large = render_scene(scene, (32, 32)), render_scene(scene, (96, 96))
    # The centre of every third pixel of the large image is that of a pixel of the small one.
    assert np.array_equal(large.surface[1::3, 1::3], small.surface)
    assert np.allclose(large.depth[1::3, 1::3], small.depth, atol=1e-5)


def test_images_use_their_range_and_show_shadows_and_colours() -> None:
    """Images are neither flat nor mostly clipped."""
    images = [render_scene(draw_scene("train", index), SIZE).image for index in range(4)]
    for image in images:
        assert image.std() > 15
        assert ((image == 0) | (image == 255)).mean() < 0.3
