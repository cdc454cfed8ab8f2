"""Which way of running is kept, on devices whose times are given."""

import pytest

from nas.runtime_tuning import tune
from proxies.hardware import load_profile
from proxies.records import Outcome, TimingSettings

CPU, H100, V100 = (load_profile(name) for name in ("cpu", "h100", "v100"))
DEFAULT = TimingSettings(resolution=32, batch_size=4)


class Device:
    """Times by a rule; intervals of 1 %. Remembers what it was asked to time and to check."""

    def __init__(self, rule, *, unsound=lambda way: False, status="ok") -> None:
        self.rule, self.unsound, self.status = rule, unsound, status
        self.timed: list[TimingSettings] = []
        self.checked: list[TimingSettings] = []

    def time(self, ways):
        self.timed += ways
        return [self._outcome(way) for way in ways]

    def _outcome(self, way):
        ms = self.rule(way)
        metrics = {"step_ms": ms, "step_ms_low": 0.99 * ms, "step_ms_high": 1.01 * ms}
        status = "ok" if way == self.timed[0] else self.status
        return Outcome(
            key="k",
            kind="time",
            digest="d",
            status=status,
            reason=None if status == "ok" else "noise",
            metrics=metrics,
            details={"settings": way.model_dump()},
        )

    def check(self, way):
        self.checked.append(way)
        return "it is wrong" if self.unsound(way) else None


def tuned(device, *, default=DEFAULT, profile=CPU, fixed=frozenset()):
    outcome, tried = tune(default, profile=profile, fixed=fixed, time=device.time, check=device.check)
    (kept,) = [each for each in tried if each.why_not is None] or [None]
    assert kept is None or kept.outcome == outcome
    assert [each.settings for each in tried] == device.timed
    return outcome, tried, kept


def speeds(**factors):
    """The product of factors by value, 100 ms for none."""
    return lambda way: (
        100.0 * _product(factors.get(str(value).replace("-", "_"), 1.0) for value in _values(way))
    )


def _values(way):
    return way.memory_format, way.precision, way.compile, "fused" if way.fused_optimizer else "apart"


def _product(values):
    product = 1.0
    for value in values:
        product *= value
    return product


def test_the_fastest_of_layout_and_precision_is_kept_with_the_fused_optimizer_on_top():
    device = Device(speeds(contiguous=0.8, bf16=0.7, fused=0.9))
    _, tried, kept = tuned(device)
    assert _values(kept.settings) == ("contiguous", "bf16", "none", "fused")
    assert kept.outcome.metrics["step_ms"] == pytest.approx(100 * 0.8 * 0.7 * 0.9)
    assert len(tried) == 5
    assert "another is faster" in {each.why_not for each in tried}


def test_a_layout_that_is_good_in_one_precision_only_is_found():
    """Layout decides on precision and the other way round: changing one at a time would find neither."""
    both = {("contiguous", "bf16"): 50.0}
    device = Device(lambda way: both.get((way.memory_format, way.precision), 100.0))
    _, _, kept = tuned(device)
    assert (kept.settings.memory_format, kept.settings.precision) == ("contiguous", "bf16")


def test_the_fastest_is_passed_over_where_it_computes_something_else():
    device = Device(speeds(bf16=0.5, contiguous=0.9), unsound=lambda way: way.precision == "bf16")
    _, tried, kept = tuned(device)
    assert _values(kept.settings) == ("contiguous", "fp32", "none", "apart")
    assert {each.why_not for each in tried if each.settings.precision == "bf16"} == {"it is wrong"}


def test_what_may_be_noise_changes_nothing():
    outcome, tried, kept = tuned(Device(speeds(bf16=0.985, contiguous=1.0, fused=1.01)))
    assert kept.settings == DEFAULT
    assert outcome == tried[0].outcome
    assert {each.why_not for each in tried[1:]} == {"not faster beyond doubt"}


def test_a_timing_that_is_not_accepted_replaces_none():
    _, tried, kept = tuned(Device(speeds(bf16=0.1), status="unstable"))
    assert kept.settings == DEFAULT
    assert {each.why_not for each in tried[1:]} == {"unstable: noise"}


def test_a_default_that_is_not_sound_gives_way_to_a_slower_one_that_is():
    default = DEFAULT.model_copy(update={"precision": "bf16"})
    device = Device(speeds(fp32=2.0), unsound=lambda way: way.precision == "bf16")
    _, _, kept = tuned(device, default=default)
    assert kept.settings.precision == "fp32"


def test_where_nothing_is_sound_the_default_comes_back_with_its_problem():
    outcome, tried, kept = tuned(Device(speeds(), unsound=lambda way: True))
    assert kept is None
    assert outcome == tried[0].outcome
    assert tried[0].why_not == "it is wrong"


@pytest.mark.parametrize("axis", ["memory_format", "precision", "compile", "fused_optimizer"])
def test_what_the_user_set_stays(axis):
    device = Device(speeds(bf16=0.5, contiguous=0.5, fused=0.5, none=0.5, cuda_graph=0.4))
    default = DEFAULT.model_copy(update={"compile": "default"})
    tuned(device, default=default, profile=H100, fixed=frozenset({axis}))
    assert {getattr(way, axis) for way in device.timed} == {getattr(default, axis)}


def test_on_a_gpu_compilation_is_tried_and_on_a_cpu_it_is_not():
    gpu, cpu = Device(speeds()), Device(speeds())
    tuned(gpu, profile=H100)
    tuned(cpu)
    assert {way.compile for way in gpu.timed} == {"none", "default", "cuda-graph"}
    assert {way.precision for way in gpu.timed} == {"fp32", "bf16", "fp16", "tf32"}
    assert {way.compile for way in cpu.timed} == {"none"}
    assert {way.precision for way in cpu.timed} == {"fp32", "bf16"}


def test_a_captured_step_is_never_in_fp16():
    """`timing_settings` refuses it, so no way of running may be it."""
    for default in ({"compile": "cuda-graph", "precision": "bf16"}, {"compile": "none", "precision": "fp16"}):
        device = Device(speeds(fp16=0.5, cuda_graph=0.5))
        tuned(device, default=DEFAULT.model_copy(update=default), profile=H100)
        assert not [way for way in device.timed if (way.precision, way.compile) == ("fp16", "cuda-graph")]


def test_a_card_is_not_timed_in_what_it_has_no_units_for():
    device = Device(speeds())
    tuned(device, profile=V100, default=DEFAULT.model_copy(update={"precision": "fp16"}))
    assert {way.precision for way in device.timed} == {"fp16"}


def test_only_what_would_be_kept_is_checked():
    device = Device(speeds(bf16=2.0, contiguous=2.0, fused=2.0))
    tuned(device)
    assert device.checked == [DEFAULT]
