"""Thinning at all thresholds at once: equal to skimage's thinning of every mask, plateaus and blobs included."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.morphology import thin

from search.edges.thinning import thin_at_thresholds

FEW = settings(max_examples=25, deadline=None)


@FEW
@given(seed=st.integers(0, 10**6), num_thresholds=st.sampled_from([1, 2, 63, 64, 65, 99]), levels=st.integers(1, 40))
def test_every_mask_is_thinned_as_on_its_own(seed: int, num_thresholds: int, levels: int) -> None:
    """Images with few levels have plateaus; those of many are noise."""
    random = np.random.default_rng(seed)
    strength_HW = np.ceil(random.random((int(random.integers(1, 16)), int(random.integers(1, 16)))) * levels) / levels
    thresholds = np.arange(1, num_thresholds + 1) / (num_thresholds + 1)
    thinned = thin_at_thresholds(strength_HW, thresholds)
    for threshold, present_N in zip(thresholds, thinned.present_KN, strict=True):
        mask_P = np.zeros(strength_HW.size, dtype=np.bool_)
        mask_P[thinned.places_N[present_N]] = True
        expected_HW = thin(strength_HW > threshold)  # type: ignore[no-untyped-call]
        assert (mask_P.reshape(strength_HW.shape) == expected_HW).all()


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_flat_image_is_no_special_case(value: float) -> None:
    """Nothing is thinned where nothing is above, and a full image wears down to what skimage leaves of it."""
    strength_HW = np.full((30, 47), value)
    thinned = thin_at_thresholds(strength_HW, np.array([0.2, 0.4, 0.6]))
    expected = int(thin(strength_HW > 0).sum())  # type: ignore[no-untyped-call]
    assert thinned.present_KN.sum(axis=1).tolist() == [expected * (value > t) for t in (0.2, 0.4, 0.6)]
