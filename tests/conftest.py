"""What all tests share."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# Machines are shared and noisy: no example is failed for being slow. Examples are the same in every run, so
# that a red run is red again; `--hypothesis-profile=search` looks for new ones.
settings.register_profile(
    "repeatable", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repeatable")

# A shell starts background jobs with Ctrl-C ignored, and so would be every program that a test starts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# One thread a worker: two test processes share two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def _no_ones_cache(tmp_path_factory):
    """What programs keep between runs is kept here, not in the cache of whoever runs the tests."""
    before = os.environ.get("NAS_CACHE_DIR")
    os.environ["NAS_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["NAS_CACHE_DIR"]
    else:
        os.environ["NAS_CACHE_DIR"] = before
