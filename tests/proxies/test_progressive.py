"""Progressive schedules: the published ones to the digit, and what holds of any."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxies.progressive import Progressive, preset_names, progressive_preset

PAPER = {
    "s": {
        "size": (128, 185.33, 242.67, 300),
        "randaugment": (5, 8.33, 11.67, 15),
        "mixup": (0, 0, 0, 0),
        "dropout": (0.1, 0.1667, 0.2333, 0.3),
    },
    "m": {
        "size": (128, 212, 296, 380),
        "randaugment": (5, 10, 15, 20),
        "mixup": (0, 0.0667, 0.1333, 0.2),
        "dropout": (0.1, 0.2, 0.3, 0.4),
    },
    "l": {
        "size": (128, 212, 296, 380),
        "randaugment": (5, 11.67, 18.33, 25),
        "mixup": (0, 0.1333, 0.2667, 0.4),
        "dropout": (0.1, 0.2333, 0.3667, 0.5),
    },
}
"""Tan & Le 2021, arXiv:2104.00298, Table 6 by Algorithm 1, printed to two or four places."""

NONE, B_SERIES = (0, 0, 0, 0), {"randaugment": (0, 0, 0, 0), "mixup": (0, 0, 0, 0)}
RELEASED = {
    "s": {"size": (171, 214, 257, 300), "randaugment": (5, 6.667, 8.333, 10), "mixup": NONE, "dropout": 0.2},
    "m": {
        "size": (192, 256, 320, 384),
        "randaugment": (5, 8.333, 11.667, 15),
        "mixup": (0, 0.0667, 0.1333, 0.2),
        "dropout": 0.3,
    },
    "l": {
        "size": (192, 256, 320, 384),
        "randaugment": (5, 10, 15, 20),
        "mixup": (0, 0.1667, 0.3333, 0.5),
        "dropout": 0.4,
    },
    "xl": {
        "size": (192, 256, 320, 384),
        "randaugment": (5, 10, 15, 20),
        "mixup": (0, 0.1667, 0.3333, 0.5),
        "dropout": 0.4,
    },
    "b0": {"size": (144, 160, 176, 192), "dropout": 0.2, **B_SERIES},
    "b1": {"size": (144, 160, 176, 192), "dropout": 0.2, **B_SERIES},
    "b2": {"size": (148, 168, 188, 208), "dropout": 0.3, **B_SERIES},
    "b3": {"size": (156, 184, 212, 240), "dropout": 0.3, **B_SERIES},
}
"""The authors' released code (google/automl, efficientnetv2): main.py, hparams.py, configs."""


def test_every_preset_has_its_published_numbers() -> None:
    assert preset_names() == [f"paper/{size}" for size in PAPER] + [
        f"released-code/{size}" for size in RELEASED
    ]


@pytest.mark.parametrize("size", PAPER)
def test_the_papers_schedule(size: str) -> None:
    schedule, expected = progressive_preset(f"paper/{size}"), PAPER[size]
    settings = [schedule.settings(stage) for stage in range(4)]
    assert [schedule.size.at(stage, 4) for stage in range(4)] == pytest.approx(expected["size"], abs=0.005)
    assert [each.resolution for each in settings] == [int(side) for side in expected["size"]]
    assert [each.randaugment for each in settings] == pytest.approx(expected["randaugment"], abs=0.005)
    assert [each.mixup for each in settings] == pytest.approx(expected["mixup"], abs=5e-5)
    assert [each.dropout for each in settings] == pytest.approx(expected["dropout"], abs=5e-5)
    assert all(each.cutmix is None for each in settings)


@pytest.mark.parametrize("size", RELEASED)
def test_the_released_codes_schedule(size: str) -> None:
    schedule, expected = progressive_preset(f"released-code/{size}"), RELEASED[size]
    settings = [schedule.settings(stage) for stage in range(4)]
    assert tuple(each.resolution for each in settings) == expected["size"]
    assert [each.randaugment for each in settings] == pytest.approx(expected["randaugment"], abs=5e-4)
    assert [each.mixup for each in settings] == pytest.approx(expected["mixup"], abs=5e-5)
    assert [each.cutmix for each in settings] == [each.mixup for each in settings]
    assert {each.dropout for each in settings} == {expected["dropout"]}


def test_stages_of_350_epochs_begin_where_the_papers_do() -> None:
    schedule = progressive_preset("paper/s")
    assert schedule.starts(350) == [0, 87, 175, 262]
    assert [schedule.stage_at(epoch, 350) for epoch in (0, 86, 87, 174, 175, 261, 262, 349)] == [
        *(0, 0, 1, 1, 2, 2, 3, 3)
    ]


def test_the_saving_in_pixels_is_the_published_one() -> None:
    """Image area against training at the largest size throughout."""
    areas = {
        name: sum(schedule.settings(stage).resolution ** 2 for stage in range(4)) / 4 / schedule.size.end**2
        for name in ("released-code/s", "released-code/m")
        for schedule in [progressive_preset(name)]
    }
    assert areas == pytest.approx({"released-code/s": 0.6419, "released-code/m": 0.5972}, abs=5e-4)


def test_fixed_regularisation_has_its_last_value_throughout() -> None:
    fixed = progressive_preset("paper/m").model_copy(update={"regularisation": "fixed"})
    settings = [fixed.settings(stage) for stage in range(4)]
    assert {each[1:] for each in settings} == {(20.0, 0.2, None, 0.4)}
    assert [each.resolution for each in settings] == [128, 212, 296, 380]


@given(
    stages=st.integers(1, 9),
    start=st.integers(1, 400),
    rise=st.integers(0, 400),
    length=st.integers(1, 1000),
    first=st.sampled_from(["start", "above"]),
)
def test_any_schedule_rises_to_its_end(stages: int, start: int, rise: int, length: int, first: str) -> None:
    schedule = Progressive.model_validate(
        {"stages": stages, "size": {"from": start, "to": start + rise, "first": first}}
    )
    sizes = [schedule.settings(stage).resolution for stage in range(stages)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == start + rise
    assert sizes[0] == start or first == "above" or stages == 1
    if length < stages:
        with pytest.raises(ValueError, match="do not fit in a training of"):
            schedule.starts(length)
        return
    found = [schedule.stage_at(position, length) for position in range(length)]
    assert found == sorted(found)
    assert set(found) == set(range(stages))


def test_unknown_presets_are_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"'paper/xl' is unknown.*known: paper/s"):
        progressive_preset("paper/xl")
