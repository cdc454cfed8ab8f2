"""Synthesis is deterministic, held-out scans stay held out, and the images are what they claim to be."""

import numpy as np
import pytest

from proxies.data import clutter
from proxies.data.clutter import ClutteredDigits, Pieces, _paste, _sample
from proxies.data.digits import Part, Scans, part_indices, read_scans
from proxies.data.protocol import DataError, Split

SMALL = ClutteredDigits(train_images=300, validation_images=200, test_images=100)


@pytest.fixture(scope="module")
def small() -> dict[str, Split]:
    splits = SMALL.load(resolution=32)
    return {"train": splits.train, "validation": splits.validation, "test": SMALL.load_test(resolution=32)}


def test_the_default_is_large_enough_to_rank_with() -> None:
    default = ClutteredDigits()
    assert default.train_images >= 4000
    assert default.validation_images >= 4000
    assert default.test_images >= 4000


def test_shapes_counts_and_balance(small: dict[str, Split]) -> None:
    for name, count in (("train", 300), ("validation", 200), ("test", 100)):
        split = small[name]
        assert split.images_NCHW.shape == (count, 3, 32, 32)
        assert split.images_NCHW.dtype == np.uint8
        assert list(np.bincount(split.labels_N)) == [count // 10] * 10
        np.testing.assert_array_equal(split.images_NCHW[:, 0], split.images_NCHW[:, 2])


def test_drawing_again_gives_equal_images(small: dict[str, Split]) -> None:
    again = SMALL.load(resolution=32)
    np.testing.assert_array_equal(again.train.images_NCHW, small["train"].images_NCHW)
    np.testing.assert_array_equal(again.validation.images_NCHW, small["validation"].images_NCHW)
    np.testing.assert_array_equal(again.train.labels_N, small["train"].labels_N)


def test_chunks_do_not_show(small: dict[str, Split], monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows are sized by the largest piece of a chunk: that must not change a pixel."""
    monkeypatch.setattr(clutter, "CHUNK", 17)
    np.testing.assert_array_equal(SMALL.load_test(resolution=32).images_NCHW, small["test"].images_NCHW)


def test_no_image_is_drawn_twice(small: dict[str, Split]) -> None:
    images = [image.tobytes() for split in small.values() for image in split.images_NCHW]
    assert len(set(images)) == 600


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_each_part_reads_its_own_scans_alone(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blank every scan of the other parts: not one pixel of this part may change, digits nor fragments."""
    source = ClutteredDigits(train_images=50, validation_images=50, test_images=50)

    def draw() -> dict[str, np.ndarray]:
        splits = source.load(resolution=24)
        test = source.load_test(resolution=24)
        return {
            "train": splits.train.images_NCHW,
            "validation": splits.validation.images_NCHW,
            "test": test.images_NCHW,
        }

    before = draw()
    scans = read_scans()
    own = part_indices(scans.labels_N, part, source.seed)
    blanked = np.zeros_like(scans.ink_NHW)
    blanked[own] = scans.ink_NHW[own]
    monkeypatch.setattr(
        "proxies.data.digits.read_scans", lambda: Scans(ink_NHW=blanked, labels_N=scans.labels_N)
    )
    after = draw()
    for name in before:
        assert np.array_equal(before[name], after[name]) == (name == part)


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"fragments": 3}, {"noise": 0.3}, {"smallest": 0.6}, {"max_rotation_degrees": 5.0}],
)
def test_every_parameter_changes_images_and_fingerprint(
    change: dict[str, float], small: dict[str, Split]
) -> None:
    other = SMALL.model_copy(update=change)
    assert other.fingerprint() != SMALL.fingerprint()
    assert not np.array_equal(other.load_test(resolution=32).images_NCHW, small["test"].images_NCHW)


def test_more_clutter_is_more_ink() -> None:
    amounts = [
        ClutteredDigits(test_images=100, fragments=fragments, noise=0.0)
        .load_test(resolution=32)
        .images_NCHW.mean()
        for fragments in (0, 4, 12)
    ]
    assert amounts == sorted(amounts)
    assert amounts[2] > 1.3 * amounts[0]


def test_without_clutter_an_upright_digit_is_its_scan() -> None:
    """At full size and angle 0 the drawing is the bilinear enlargement, whatever the resolution."""
    scan = read_scans().ink_NHW[:1].astype(np.float32) / 16
    canvas = np.zeros((1, 8, 8), dtype=np.float32)
    _paste(canvas, np.arange(1), _upright(scan, side=1.0, centre=(0.5, 0.5)))
    np.testing.assert_allclose(canvas, scan, atol=1e-6)


def test_a_piece_moves_by_whole_pixels() -> None:
    scan = read_scans().ink_NHW[:1].astype(np.float32) / 16
    canvas = np.zeros((1, 16, 16), dtype=np.float32)
    _paste(canvas, np.arange(1), _upright(scan, side=0.5, centre=(0.25 + 3 / 16, 0.25 + 1 / 16)))
    expected = np.zeros_like(canvas)
    expected[0, 3:11, 1:9] = scan[0]
    np.testing.assert_allclose(canvas, expected, atol=1e-6)


def test_a_quarter_turn_is_a_quarter_turn() -> None:
    scan = read_scans().ink_NHW[7:8].astype(np.float32) / 16
    canvas = np.zeros((1, 16, 16), dtype=np.float32)
    _paste(canvas, np.arange(1), _upright(scan, side=0.5, centre=(0.5, 0.5), angle=np.pi / 2))
    expected = np.zeros_like(canvas)
    expected[0, 4:12, 4:12] = np.rot90(scan[0])
    np.testing.assert_allclose(canvas, expected, atol=1e-5)


def test_sampling_is_bilinear() -> None:
    """Against SciPy's interpolation, outside included."""
    from scipy.ndimage import map_coordinates

    rng = np.random.default_rng(0)
    ink = rng.random((3, 8, 8), dtype=np.float32)
    row, column = rng.uniform(-3, 11, (2, 3, 20, 20)).astype(np.float32)
    expected = np.stack(
        [
            map_coordinates(np.pad(ink[n], 4), [row[n] + 4, column[n] + 4], order=1, mode="constant")
            for n in range(3)
        ]
    )
    np.testing.assert_allclose(_sample(ink, row, column), expected, atol=1e-5)


def test_the_same_image_at_twice_the_resolution() -> None:
    """Averaged down, a drawing at 64 pixels is close to the one at 32."""
    source = ClutteredDigits(test_images=20, noise=0.0)
    coarse = source.load_test(resolution=32).images_NCHW[:, 0].astype(float)
    fine = source.load_test(resolution=64).images_NCHW[:, 0].astype(float)
    averaged = fine.reshape(20, 32, 2, 32, 2).mean((2, 4))
    correlation = np.corrcoef(averaged.ravel(), coarse.ravel())[0, 1]
    assert correlation > 0.97


def test_golden_pixels() -> None:
    """Made with this file at NumPy 2.4; a change of algorithm must raise VERSION."""
    images = ClutteredDigits(test_images=10).load_test(resolution=32).images_NCHW[:, 0]
    assert images.mean() == pytest.approx(GOLDEN_MEAN, abs=0.05)
    np.testing.assert_allclose(images[0, 16, 8:24:3].astype(int), GOLDEN_ROW, atol=2)


def test_too_small_a_canvas_is_refused() -> None:
    with pytest.raises(DataError, match="cannot be drawn at 8 pixels; use 16 or more"):
        SMALL.load(resolution=8)


def _upright(scan: np.ndarray, *, side: float, centre: tuple[float, float], angle: float = 0.0) -> Pieces:
    return Pieces(
        ink_NHW=scan,
        centre_NXY=np.array([centre]),
        side_N=np.array([side]),
        angle_N=np.array([angle]),
        strength_N=np.ones(1),
        focus_NXY=np.zeros((1, 2)),
        extent=1.0,
    )


GOLDEN_MEAN = 50.175
GOLDEN_ROW = [13, 81, 169, 119, 106, 9]
