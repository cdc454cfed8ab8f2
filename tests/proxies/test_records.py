"""Keys of jobs: what they depend on, and that all ways to them agree."""

from hypothesis import given
from hypothesis import strategies as st

from proxies.records import TimeJob, TimingSettings, TrainJob, keys_like

SETTINGS = st.builds(
    TimingSettings,
    resolution=st.integers(1, 512),
    batch_size=st.integers(1, 64),
    precision=st.sampled_from(["fp32", "bf16"]),
    tolerance=st.floats(0.01, 0.5),
)
TIMINGS = st.builds(
    TimeJob,
    digest=st.text(),
    architecture=st.just({}),
    hardware_fingerprint=st.text(),
    settings=SETTINGS,
    repeat=st.integers(0, 3),
)
TRAININGS = st.builds(
    TrainJob,
    digest=st.text(),
    architecture=st.just({}),
    task_fingerprint=st.text(),
    seed=st.integers(0, 2**32),
)


@given(st.one_of(TIMINGS, TRAININGS), st.one_of(st.text(), st.text("0123456789abcdef", min_size=64)))
def test_a_key_for_another_network_is_that_of_its_own_job(job: TimeJob | TrainJob, digest: str) -> None:
    assert keys_like(job)(digest) == job.model_copy(update={"digest": digest}).key


@given(TIMINGS, TIMINGS)
def test_timings_share_a_key_only_where_all_that_matters_is_equal(first: TimeJob, second: TimeJob) -> None:
    assert (first.key == second.key) == (first == second)


def test_keys_stay_what_they_were() -> None:
    """Golden: another key would let every measurement on file be made anew."""
    timing = TimeJob(
        digest="a" * 64,
        architecture={"schema": "nas.architecture/1"},
        hardware_fingerprint="cpu",
        settings=TimingSettings(resolution=32, batch_size=8),
    )
    training = TrainJob(digest="a" * 64, architecture={}, task_fingerprint="task", seed=1)
    assert timing.key == "68a89422cd1db9e158e456228934119024a325749fc1d018f97c1529f031dd3e"
    assert training.key == "27e5dbd520b011ac75efff1a509dda14032c3812e1027583729b85627db25b51"
