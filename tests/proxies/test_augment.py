"""Augmentation of batches: what operations do, what mixing weights mean, what random numbers decide."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from proxies.augment import (
    OPERATIONS,
    apply_operation,
    mix,
    rand_augment,
    random_crop,
    resize,
    step_generator,
)


def pictures(count: int = 4, channels: int = 3, side: int = 16) -> Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_keep_shape_and_range(name: str, channels: int) -> None:
    x_BCHW = pictures(channels=channels)
    for level in (0.5, 1.0, 2.5):
        found = apply_operation(name, x_BCHW, level, step_generator(0, 1))
        assert found.shape == x_BCHW.shape
        assert found.dtype == torch.float32
        assert 0.0 <= float(found.min()) <= float(found.max()) <= 1.0
    does_nothing = name == "color" and channels == 1
    assert torch.equal(apply_operation(name, x_BCHW, 0.7, step_generator(0, 1)), x_BCHW) == does_nothing


def test_there_are_sixteen_operations() -> None:
    assert len(set(OPERATIONS)) == len(OPERATIONS) == 16


def test_operations_do_what_they_are_called() -> None:
    x_BCHW, rng = pictures(), step_generator(0, 0)
    dim_BCHW = 0.2 + 0.3 * x_BCHW
    stretched = apply_operation("auto_contrast", dim_BCHW, 1.0, rng)
    torch.testing.assert_close(stretched.amin((2, 3)), torch.zeros(4, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(stretched.amax((2, 3)), torch.ones(4, 3), atol=1e-4, rtol=0)
    torch.testing.assert_close(apply_operation("invert", x_BCHW, 1.0, rng), 1 - x_BCHW)
    torch.testing.assert_close(apply_operation("brightness", x_BCHW, 0.5, rng), x_BCHW)
    torch.testing.assert_close(apply_operation("contrast", x_BCHW, 0.5, rng), x_BCHW)
    torch.testing.assert_close(apply_operation("color", x_BCHW, 0.5, rng), x_BCHW)
    assert len(apply_operation("posterize", x_BCHW, 0.5, rng).unique()) <= 4
    solarized = apply_operation("solarize", x_BCHW, 0.5, rng)
    assert float(solarized.max()) <= 0.5
    grey = apply_operation("cutout", x_BCHW, 1.0, step_generator(1, 0)) != x_BCHW
    assert 0 < int(grey.any(1).sum()) <= 4 * 16


def test_a_translation_moves_by_a_third_of_the_side_and_comes_in_grey() -> None:
    x_BCHW = pictures(count=32, side=30)
    found = apply_operation("translate_x", x_BCHW, 0.3, step_generator(0, 0))
    right, left = x_BCHW[..., :-3], x_BCHW[..., 3:]
    moved = [
        (torch.allclose(f[..., 3:], r, atol=1e-5), torch.allclose(f[..., :-3], a, atol=1e-5))
        for f, r, a in zip(found, right, left, strict=True)
    ]
    assert set(moved) == {(True, False), (False, True)}
    edges = torch.stack(
        [f[..., 0] if is_right else f[..., -1] for f, (is_right, _) in zip(found, moved, strict=True)]
    )
    torch.testing.assert_close(edges, torch.full_like(edges, 0.5))


def test_randaugment_is_decided_by_its_generator_alone() -> None:
    x_BCHW = pictures(16)
    torch.manual_seed(0)
    first = rand_augment(x_BCHW, 9.0, step_generator(3, 5))
    torch.manual_seed(1)
    assert torch.equal(first, rand_augment(x_BCHW, 9.0, step_generator(3, 5)))
    for other in (step_generator(3, 6), step_generator(4, 5), step_generator(3, 5, 1)):
        assert not torch.equal(first, rand_augment(x_BCHW, 9.0, other))
    assert torch.equal(rand_augment(x_BCHW, 0.0, step_generator(3, 5)), x_BCHW)
    assert rand_augment(pictures(3), 9.0, step_generator(3, 5)).shape == (3, 3, 16, 16)


@given(
    mixup=st.sampled_from([0.0, 0.2, 1.0]),
    cutmix=st.sampled_from([0.0, 0.2, 1.0]),
    count=st.integers(2, 9),
    step=st.integers(0, 50),
)
def test_mixed_images_are_what_their_weights_say(mixup: float, cutmix: float, count: int, step: int) -> None:
    x_BCHW, y_B = pictures(count), torch.arange(count)
    found = mix(x_BCHW, y_B, mixup=mixup, cutmix=cutmix, rng=step_generator(0, step))
    assert torch.equal(found.other_B, y_B.flip(0))
    assert torch.equal(found.y_B, y_B)
    split = count // 2 if mixup and cutmix else count if mixup else 0
    for index, (image, weight) in enumerate(zip(found.x_BCHW, found.weight_B.tolist(), strict=True)):
        own, other = x_BCHW[index], x_BCHW[count - 1 - index]
        if index < split:
            assert 0.5 <= weight <= 1.0
            torch.testing.assert_close(image, own * weight + other * (1 - weight))
        else:
            from_other = (image == other).all(0) & (own != other).any(0)
            assert ((image == own).all(0) | from_other).all()
            if not torch.equal(own, other):
                assert weight == pytest.approx(1 - float(from_other.double().mean()))
            if not cutmix:
                assert weight == 1.0


def test_cutmix_takes_as_much_as_it_draws() -> None:
    """Boxes are of area 1 - l and lose what is beyond the edges, so a little less on the average."""
    x_BCHW = pictures(400, 1, 16)
    weights = mix(x_BCHW, torch.arange(400), mixup=0, cutmix=1.0, rng=step_generator(0, 0)).weight_B
    assert 0.5 < float(weights.mean()) < 0.75


def test_resizing_keeps_the_mean() -> None:
    x_BCHW = pictures(side=16)
    assert resize(x_BCHW, 16) is x_BCHW
    assert resize(x_BCHW, 5).shape == (4, 3, 5, 5)
    flat = torch.full((1, 1, 16, 16), 0.3)
    torch.testing.assert_close(resize(flat, 7), torch.full((1, 1, 7, 7), 0.3))
    torch.testing.assert_close(resize(x_BCHW, 4).mean(), x_BCHW.mean(), atol=0.02, rtol=0)


def test_random_crops_are_parts_of_the_images() -> None:
    rows = torch.linspace(0, 1, 64)[:, None].expand(64, 64)
    x_BCHW = torch.stack((rows, rows.T))[None].repeat(64, 1, 1, 1)
    found = random_crop(x_BCHW, 16, 0.25, step_generator(0, 0))
    assert found.shape == (64, 2, 16, 16)
    heights = (found[:, 0, -1, 0] - found[:, 0, 0, 0]) * 16 / 15
    widths = (found[:, 1, 0, -1] - found[:, 1, 0, 0]) * 16 / 15
    areas = (heights * widths).numpy()
    assert areas.min() > 0.2
    assert 0.5 < areas.mean() < 0.7
    assert np.std(found[:, 0, 0, 0].numpy()) > 0.05
    whole = random_crop(x_BCHW, 64, 1.0, step_generator(0, 0))
    assert torch.equal(random_crop(x_BCHW, 16, 0.25, step_generator(0, 0)), found)
    assert whole.shape == (64, 2, 64, 64)
