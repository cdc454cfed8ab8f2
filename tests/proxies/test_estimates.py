"""Estimates: what they are called, what they stand on, and what is refused."""

import numpy as np
import pytest
from pydantic import ValidationError

from proxies.estimates import (
    Estimate,
    anchor_ratio,
    describe_estimated,
    estimate_fingerprint,
    estimate_outcome,
    estimate_step,
    profile_to_estimate,
    raw_seconds,
)
from proxies.hardware import UnknownHardwareError, load_profile, profile_names, timing_settings
from proxies.records import Outcome, TimeJob
from proxies.roofline import UNCALIBRATED_FACTOR, UNCALIBRATED_SCALE
from search_spaces.document import load_architecture

S = load_architecture("efficientnetv2-s")
PROFILES = [load_profile(name) for name in profile_names()]
RATED = [each for each in PROFILES if each.kind != "cpu"]
CALIBRATED = [each for each in PROFILES if each.roofline.is_calibrated]
ids = {"ids": lambda each: each.name}


def estimate(profile, arch=S, **settings) -> Estimate:
    return estimate_step(arch, profile, timing_settings(profile, arch, **settings))


@pytest.mark.parametrize("profile", RATED, **ids)
def test_every_profile_with_rates_gives_a_plausible_step(profile):
    found = estimate(profile)
    assert found.estimated_step_ms_low < found.estimated_step_ms < found.estimated_step_ms_high
    # Three forward passes at the peak rate is what nothing can beat.
    settings = found.settings
    peak = profile.peak_flops.model_dump()[settings.precision]
    fastest = 1e3 * 6 * 5_307_561_248 * settings.batch_size / peak
    assert fastest < found.estimated_step_ms < 100 * fastest
    assert found.estimated_images_per_second == pytest.approx(
        settings.batch_size / found.estimated_step_ms * 1e3
    )


def test_an_estimate_shares_no_name_with_a_measurement():
    outcome = estimate_outcome(S, PROFILES[0], timing_settings(PROFILES[0], S))
    measured = {"step_ms", "step_ms_low", "step_ms_high", "step_ratio", "images_per_second"}
    assert not measured & set(outcome.metrics)
    assert all(name.startswith("estimated_") for name in outcome.metrics)
    assert (outcome.kind, outcome.details["estimated"]) == ("estimate", True)
    assert "estimated, not measured" in outcome.details["hardware"]["device"]
    fields = set(Estimate.__dataclass_fields__)
    assert not fields & measured
    assert not isinstance(estimate(PROFILES[0]), Outcome)
    with pytest.raises(TypeError):
        float(estimate(PROFILES[0]))  # type: ignore[arg-type]  # that it is refused is the test


def test_an_estimate_is_filed_under_all_that_it_depends_on():
    profile = load_profile("h100")
    settings = timing_settings(profile, S)
    key = estimate_outcome(S, profile, settings).key
    assert key == estimate_outcome(S, profile, settings).key
    others = [
        estimate_outcome(S, load_profile("h200"), settings),
        estimate_outcome(load_architecture("efficientnetv2-b0"), profile, settings),
        estimate_outcome(S, profile, settings.model_copy(update={"batch_size": 7})),
    ]
    assert len({key, *(each.key for each in others)}) == 4
    slower = profile.model_copy(update={"roofline": profile.roofline.model_copy(update={"scale": 9.0})})
    assert estimate_fingerprint(slower) != estimate_fingerprint(profile)
    job = TimeJob(
        digest=S.digest,
        architecture={},
        hardware_fingerprint=estimate_fingerprint(profile),
        settings=settings,
    )
    assert job.key != key


def test_hardware_without_rates_is_refused():
    with pytest.raises(ValueError, match="'cpu' states no fp32 rate to estimate from; name hardware whose"):
        estimate(load_profile("cpu"))
    with pytest.raises(ValueError, match=r"'v100' states no bf16 rate .* choose --precision fp32, fp16"):
        estimate(load_profile("v100"), precision="bf16")


def test_of_an_alias_the_profile_with_published_speeds_is_meant():
    profile, remark = profile_to_estimate("a100")
    assert (profile.name, profile.roofline.is_calibrated) == ("a100-80g", True)
    assert remark == "a100 is a100-40g or a100-80g; estimated for a100-80g"
    assert profile_to_estimate("a100-40g") == (load_profile("a100-40g"), None)
    with pytest.raises(UnknownHardwareError, match="--estimate needs the name of hardware"):
        profile_to_estimate("auto")


def test_what_a_profile_stands_on_is_said():
    assert "uncalibrated" in describe_estimated(load_profile("t4"))["basis"]
    basis = describe_estimated(load_profile("rtx3090"))["basis"]
    assert "12 speeds of timm" in basis


@pytest.mark.parametrize("profile", CALIBRATED, **ids)
def test_scale_and_factor_are_those_of_the_anchors(profile):
    ratios = np.array([anchor_ratio(profile, anchor) for anchor in profile.roofline.anchors])
    scale, factor = profile.roofline.scale, profile.roofline.factor
    assert scale == pytest.approx(np.median(ratios), abs=0.006)
    furthest = np.exp(np.abs(np.log(ratios / scale)).max())
    assert furthest <= factor <= furthest + 0.03
    assert profile.roofline.source


def test_uncalibrated_profiles_have_the_middle_of_the_calibrated():
    assert len(CALIBRATED) >= 4
    scales = [each.roofline.scale for each in CALIBRATED]
    assert min(scales) < UNCALIBRATED_SCALE < max(scales)
    ratios = [anchor_ratio(each, anchor) for each in CALIBRATED for anchor in each.roofline.anchors]
    furthest = np.exp(np.abs(np.log(np.array(ratios) / UNCALIBRATED_SCALE)).max())
    assert furthest <= UNCALIBRATED_FACTOR < furthest + 0.05


def test_the_assumed_batch_of_an_anchor_hardly_matters():
    """Published speeds that come without a batch are taken at 128; the H100's have one."""
    for profile in (each for each in CALIBRATED if each.name != "h100"):
        for anchor in profile.roofline.anchors:
            times = [
                anchor_ratio(profile, anchor.model_copy(update={"batch_size": batch_size}))
                for batch_size in (64, 128, 256)
            ]
            assert max(times) / min(times) < 1.2


def test_fp32_moves_twice_the_bytes():
    profile = load_profile("h100")
    half, full = (
        raw_seconds(S, profile, resolution=224, batch_size=64, precision=precision)
        for precision in ("bf16", "fp32")
    )
    assert full > 1.9 * half


def test_a_profile_s_file_may_state_its_own(tmp_path):
    text = (load_profile("t4").model_dump_json(by_alias=True)).replace('"t4"', '"mine"')
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace('"scale":1.6', '"scale":3.2'))
    profile, remark = profile_to_estimate(str(path))
    assert (profile.name, remark) == ("mine", None)
    doubled = estimate(profile).estimated_step_ms
    assert doubled == pytest.approx(2 * estimate(load_profile("t4")).estimated_step_ms)
    with pytest.raises(ValidationError):
        type(profile.roofline)(product_efficiency=1.5)
