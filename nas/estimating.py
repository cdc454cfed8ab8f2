"""Step times of architectures for hardware that is not here; nothing is built or run."""

from collections.abc import Sequence
from pathlib import Path

from nas.errors import ConfigError
from proxies.estimates import Estimate, estimate_step, profile_to_estimate
from proxies.hardware import timing_settings
from proxies.records import Precision
from search_spaces.architecture import Architecture
from search_spaces.document import load_architecture


def estimate(
    architectures: Sequence[Architecture | str | Path],
    *,
    hardware: str,
    resolution: int | None = None,
    batch: int | None = None,
    precision: Precision | None = None,
) -> list[Estimate]:
    """The training step time of each by the roofline of `hardware`'s profile.

    Settings that are not given are the profile's, as in a measurement.

    Raises:
        ConfigError: the profile states no rates to estimate from, or a setting is out of range.
        UnknownHardwareError, DocumentError: what was named does not exist.
    """
    profile, _ = profile_to_estimate(hardware)
    found = []
    for each in architectures:
        arch = each if isinstance(each, Architecture) else load_architecture(each)
        try:
            settings = timing_settings(
                profile, arch, resolution=resolution, batch_size=batch, precision=precision
            )
            found.append(estimate_step(arch, profile, settings))
        except ValueError as error:
            raise ConfigError(str(error)) from error
    return found
