import numpy as np
import pytest

from search.data.raycast import Solid
from search.data.scenes import draw_scene
from search.data.shading import (
    PATTERNS,
    add_haze,
    compute_openness,
    develop,
    draw_sky,
    draw_texture,
    light_surface,
    paint,
)

COLOURS = np.array([[0.2, 0.3, 0.4], [0.8, 0.7, 0.6]])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_mix_their_two_colours_and_fade_with_distance(pattern: str) -> None:
    """Colours lie about between the two, and where a pixel covers many periods only an even tone is left."""
    texture = draw_texture(np.random.RandomState(0), next(name for name in PATTERNS if name == pattern), COLOURS, 0.5)
    points = np.random.RandomState(1).uniform(-3, 3, (3, 500))
    near, far = paint(texture, points, np.full(500, 0.001)), paint(texture, points, np.full(500, 50.0))
    assert near.min() > 0
    assert near.max() < 1
    assert far.std(axis=1).max() < 0.02
    assert near.std(axis=1).max() > 2 * far.std(axis=1).max()


def test_a_solid_takes_sky_light_from_the_floor_beneath_it_but_not_from_itself() -> None:
    """The floor is darker near a ball than far away."""
    ball = Solid("sphere", np.array([0.0, 0.5, 5.0]), np.full(3, 0.5), np.eye(3))
    points = np.array([[0.1, 0.0, 5.0], [4.0, 0.0, 5.0], [0.0, 1.0, 5.0]]).T
    upwards = np.repeat([[0.0], [1.0], [0.0]], 3, axis=1)
    under, beside, own = compute_openness((ball,), np.array([-1, -1, 0]), points, upwards)
    assert under < 0.3
    assert beside > 0.95
    assert own == 1


def test_what_faces_the_sun_is_brighter_than_what_is_in_shadow() -> None:
    """Without sun only the light of the sky is left."""
    light = draw_scene("train", 0).light
    albedo, eye = np.full((3, 2), 0.5), np.array([[0.0, 0.0], [0.0, 0.0], [-1.0, -1.0]])
    normals = np.repeat(light.to_sun[:, None], 2, axis=1)
    sent = light_surface(light, albedo, np.zeros(2), normals, eye, np.array([1.0, 0.0]), np.ones(2))
    assert (sent[:, 0] > sent[:, 1]).all()
    assert (sent[:, 1] > 0).all()


def test_haze_leads_to_the_colour_of_the_horizon() -> None:
    """Near colours stay, far ones go over into the horizon."""
    light = draw_scene("train", 0).light
    hazy = add_haze(light, np.full((3, 2), 0.2), np.array([0.0, 1e4]))
    assert np.allclose(hazy[:, 0], 0.2)
    assert np.allclose(hazy[:, 1], light.horizon)


def test_the_sky_goes_from_horizon_to_zenith() -> None:
    """At the horizon the sky has the colour of the haze."""
    light = draw_scene("train", 0).light
    assert np.allclose(draw_sky(light, np.array([[0.0], [0.0], [1.0]]))[:, 0], light.horizon)


def test_developing_clips_and_adds_a_little_noise() -> None:
    """Black stays near 0, light beyond the range near 255."""
    image = develop(np.stack([np.zeros((8, 8)), np.full((8, 8), 3.0)]), np.random.RandomState(0))
    assert image.dtype == np.uint8
    assert image[0].max() < 10
    assert image[1].min() > 245
