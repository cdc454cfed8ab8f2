"""Augmentation of whole batches on their device: random crops, RandAugment, mixup and cutmix.

Everything random is drawn from a numpy generator that the caller makes of (seed, step), so that a training
which is resumed draws what one that was never stopped does.
"""

# Shapes: B batch, C channels, H height, W width, S side, G images of a group.

from collections.abc import Callable
from math import log, sqrt
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

OPERATIONS = (
    "auto_contrast",
    "equalize",
    "invert",
    "posterize",
    "solarize",
    "solarize_add",
    "color",
    "contrast",
    "brightness",
    "sharpness",
    "rotate",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "cutout",
)
"""Those of EfficientNetV2's released code, drawn uniformly with replacement and always applied."""

LAYERS = 2
GROUPS = 8
"""Parts of a batch, each with operations of its own; signs and places are each image's own."""

ASPECT = (3 / 4, 4 / 3)
CONSTANTS_SIDE = 300
"""Pixels at which the released code's constants in pixels (translate 100, cutout 40) are taken."""


def step_generator(seed: int, step: int, rank: int = 0) -> np.random.Generator:
    """The randomness of one step of one worker, whatever came before."""
    return np.random.default_rng([seed, step, rank])


def resize(x_BCHW: Tensor, side: int) -> Tensor:
    """Bilinear with antialiasing: (B, C, side, side)."""
    if x_BCHW.shape[-1] == x_BCHW.shape[-2] == side:
        return x_BCHW
    return functional.interpolate(x_BCHW, (side, side), mode="bilinear", antialias=True)


def random_crop(x_BCHW: Tensor, side: int, smallest_area: float, rng: np.random.Generator) -> Tensor:
    """A part of each image, of `smallest_area` to all of its area and 3:4 to 4:3, as (B, C, side, side)."""
    count = len(x_BCHW)
    area_B = rng.uniform(smallest_area, 1.0, count)
    aspect_B = np.exp(rng.uniform(log(ASPECT[0]), log(ASPECT[1]), count))
    width_B = np.minimum(1.0, np.sqrt(area_B * aspect_B))
    height_B = np.minimum(1.0, np.sqrt(area_B / aspect_B))
    theta_B23 = np.zeros((count, 2, 3))
    theta_B23[:, 0, 0], theta_B23[:, 1, 1] = width_B, height_B
    theta_B23[:, 0, 2] = rng.uniform(-1.0, 1.0, count) * (1.0 - width_B)
    theta_B23[:, 1, 2] = rng.uniform(-1.0, 1.0, count) * (1.0 - height_B)
    # What is left of an image that is much larger than the crop's pixels is reduced first, against aliasing.
    wanted = int(side / sqrt(float(np.mean(area_B))))
    x_BCHW = resize(x_BCHW, min(x_BCHW.shape[-1], max(side, wanted)))
    theta = torch.from_numpy(theta_B23).to(x_BCHW)
    grid_BSS2 = functional.affine_grid(theta, [count, x_BCHW.shape[1], side, side], align_corners=False)
    return functional.grid_sample(
        x_BCHW, grid_BSS2, mode="bilinear", padding_mode="reflection", align_corners=False
    )


def rand_augment(x_BCHW: Tensor, magnitude: float, rng: np.random.Generator) -> Tensor:
    """Two random operations on images in [0, 1], at `magnitude` / 10 of their range; 0 changes nothing.

    Source: Cubuk et al. 2019, arXiv:1909.13719, in the form and ranges of EfficientNetV2's released code,
    whose magnitudes go beyond 10. Its constants in pixels are made fractions of a side of 300.
    """
    if magnitude == 0.0:
        return x_BCHW
    groups = np.array_split(np.arange(len(x_BCHW)), min(GROUPS, len(x_BCHW)))
    parts = []
    for group in groups:
        x_GCHW = x_BCHW[int(group[0]) : int(group[-1]) + 1]
        for name in rng.choice(OPERATIONS, LAYERS):
            x_GCHW = apply_operation(str(name), x_GCHW, magnitude / 10.0, rng)
        parts.append(x_GCHW)
    return torch.cat(parts)


def apply_operation(name: str, x_GCHW: Tensor, level: float, rng: np.random.Generator) -> Tensor:
    """One operation on images in [0, 1] at `level` (1: its full range), moved by random signs or places."""
    if name in _PIXELS:
        return _PIXELS[name](x_GCHW, level).clamp(0.0, 1.0)
    if name == "cutout":
        return _cutout(x_GCHW, level, rng)
    sign_G = torch.from_numpy(rng.choice([-1.0, 1.0], len(x_GCHW))).to(x_GCHW)
    # What comes in from outside is grey.
    return (_moved(name, x_GCHW - 0.5, sign_G * level) + 0.5).clamp(0.0, 1.0)


def _moved(name: str, x_GCHW: Tensor, level_G: Tensor) -> Tensor:
    from kornia.geometry.transform import rotate, shear, translate

    if name == "rotate":
        return rotate(x_GCHW, 30.0 * level_G)
    none_G = torch.zeros_like(level_G)
    is_x = name.endswith("_x")
    if name.startswith("shear"):
        amount_G = 0.3 * level_G
        return shear(x_GCHW, torch.stack((amount_G, none_G) if is_x else (none_G, amount_G), 1))
    amount_G = 100.0 / CONSTANTS_SIDE * level_G * x_GCHW.shape[-1 if is_x else -2]
    return translate(x_GCHW, torch.stack((amount_G, none_G) if is_x else (none_G, amount_G), 1))


def _cutout(x_GCHW: Tensor, level: float, rng: np.random.Generator) -> Tensor:
    """A grey square of 2 * 40 / 300 of the side at level 1, its middle anywhere in the image."""
    side = x_GCHW.shape[-1]
    reach = int(40.0 / CONSTANTS_SIDE * level * side)
    middle_G2 = torch.from_numpy(rng.integers(0, side, (len(x_GCHW), 2))).to(x_GCHW.device)
    away_GS2 = (torch.arange(side, device=x_GCHW.device)[None, :, None] - middle_G2[:, None, :]).abs()
    inside_GSS = (away_GS2[:, :, None, 0] < reach) & (away_GS2[:, None, :, 1] < reach)
    return torch.where(inside_GSS[:, None], 0.5, x_GCHW)


def _auto_contrast(x_GCHW: Tensor, _: float) -> Tensor:
    from kornia.enhance import normalize_min_max

    return normalize_min_max(x_GCHW)


def _equalize(x_GCHW: Tensor, _: float) -> Tensor:
    from kornia.enhance import equalize

    return equalize(x_GCHW)


def _posterize(x_GCHW: Tensor, level: float) -> Tensor:
    from kornia.enhance import posterize

    return posterize(x_GCHW, max(0, min(8, int(level * 4))))


def _solarize(x_GCHW: Tensor, level: float) -> Tensor:
    return torch.where(x_GCHW < level, x_GCHW, 1.0 - x_GCHW)


def _solarize_add(x_GCHW: Tensor, level: float) -> Tensor:
    return torch.where(x_GCHW < 0.5, x_GCHW + level * 110.0 / 255.0, x_GCHW)


def _enhancement(level: float) -> float:
    return 1.8 * level + 0.1


def _color(x_GCHW: Tensor, level: float) -> Tensor:
    if x_GCHW.shape[1] != 3:
        return x_GCHW
    from kornia.enhance import adjust_saturation_with_gray_subtraction

    return adjust_saturation_with_gray_subtraction(x_GCHW, _enhancement(level))


def _contrast(x_GCHW: Tensor, level: float) -> Tensor:
    grey_GCHW = x_GCHW.mean((1, 2, 3), keepdim=True)
    return grey_GCHW + (x_GCHW - grey_GCHW) * _enhancement(level)


def _brightness(x_GCHW: Tensor, level: float) -> Tensor:
    return x_GCHW * _enhancement(level)


def _sharpness(x_GCHW: Tensor, level: float) -> Tensor:
    from kornia.enhance import sharpness

    return sharpness(x_GCHW, _enhancement(level))


def _invert(x_GCHW: Tensor, _: float) -> Tensor:
    return 1.0 - x_GCHW


_PIXELS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "auto_contrast": _auto_contrast,
    "equalize": _equalize,
    "invert": _invert,
    "posterize": _posterize,
    "solarize": _solarize,
    "solarize_add": _solarize_add,
    "color": _color,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
}


class Mixed(NamedTuple):
    """Images and what they are of: `weight_B` of class `y_B`, the rest of class `other_B`."""

    x_BCHW: Tensor
    y_B: Tensor
    other_B: Tensor
    weight_B: Tensor


def mix(x_BCHW: Tensor, y_B: Tensor, *, mixup: float, cutmix: float, rng: np.random.Generator) -> Mixed:
    """Mix each image with its partner in the reversed batch; alphas of 0 mix nothing.

    With both on, mixup takes the first half of the batch and cutmix the second. Mixup's weight l is
    max(l, 1 - l), an image of its own for every pair; cutmix's is the area that is left.
    Sources: Zhang et al. 2017, arXiv:1710.09412; Yun et al. 2019, arXiv:1905.04899; released code.
    """
    count = len(x_BCHW)
    split = count // 2 if mixup and cutmix else count if mixup else 0
    weight_B = np.ones(count)
    reversed_BCHW, other_B = x_BCHW.flip(0), y_B.flip(0)
    parts = []
    if split:
        drawn_B = rng.beta(mixup, mixup, split)
        weight_B[:split] = np.maximum(drawn_B, 1.0 - drawn_B)
        weight_B111 = torch.from_numpy(weight_B[:split]).to(x_BCHW)[:, None, None, None]
        parts.append(torch.lerp(reversed_BCHW[:split], x_BCHW[:split], weight_B111))
    if cutmix and split < count:
        mask_BHW = _boxes(count - split, x_BCHW.shape[-1], cutmix, rng)
        weight_B[split:] = 1.0 - mask_BHW.mean((1, 2))
        mask_B1HW = torch.from_numpy(mask_BHW).to(x_BCHW.device)[:, None]
        parts.append(torch.where(mask_B1HW, reversed_BCHW[split:], x_BCHW[split:]))
    mixed_BCHW = torch.cat(parts) if parts else x_BCHW
    return Mixed(mixed_BCHW, y_B, other_B, torch.from_numpy(weight_B).float().to(x_BCHW.device))


def _boxes(count: int, side: int, alpha: float, rng: np.random.Generator) -> np.ndarray:
    """Boxes of area 1 - l, l from Beta(alpha, alpha), cut off at the image's edges: bool (count, S, S)."""
    reach_B1 = side * np.sqrt(1.0 - rng.beta(alpha, alpha, count))[:, None] / 2.0
    middle_B2 = rng.integers(0, side, (count, 2))
    place_S = np.arange(side)[None]
    rows_BS = np.abs(place_S - middle_B2[:, :1]) < reach_B1
    columns_BS = np.abs(place_S - middle_B2[:, 1:]) < reach_B1
    boxes: np.ndarray = rows_BS[:, :, None] & columns_BS[:, None, :]
    return boxes
