"""What `nas measure --estimate` shows: step times that nobody measured."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cli.output import Column, note, write_json, write_line, write_table

if TYPE_CHECKING:
    from proxies.estimates import Estimate


def show_estimates(
    names: Sequence[str],
    *,
    hardware: str,
    resolution: int | None,
    batch: int | None,
    precision: str | None,
    as_json: bool,
) -> None:
    """With --json: an object for one architecture, a list of them for several."""
    from nas.estimating import estimate
    from proxies.estimates import describe_estimated, profile_to_estimate
    from search_spaces.document import load_architecture

    profile, remark = profile_to_estimate(hardware)
    archs = [load_architecture(name) for name in names]
    estimates = estimate(
        archs,
        hardware=hardware,
        resolution=resolution,
        batch=batch,
        precision=precision,  # type: ignore[arg-type]  # checked where it is used
    )
    if remark is not None:
        note(remark)
    described = describe_estimated(profile)
    documents = [
        _document(name, arch.digest, each, described)
        for name, arch, each in zip(names, archs, estimates, strict=True)
    ]
    if as_json:
        write_json(documents[0] if len(documents) == 1 else documents)
        return
    titles = ("estimated step ms [range]", "estimated images/s", "batch", "px")
    write_table(
        [Column("architecture"), *(Column(title, is_number=True) for title in titles)],
        [(name, *_cells(each)) for name, each in zip(names, estimates, strict=True)],
    )
    write_line()
    write_line(
        f"estimated, not measured: forward, backward and optimizer, {estimates[0].settings.precision}, on"
        f" {profile.description or profile.name}; {estimates[0].basis}; range: how far published speeds are"
        " from their estimates"
    )


def _document(name: str, digest: str, found: "Estimate", hardware: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "digest": digest,
        "estimated": True,
        **found.metrics(),
        "basis": found.basis,
        "settings": found.settings.model_dump(),
        "hardware": hardware,
    }


def _cells(found: "Estimate") -> tuple[str, ...]:
    low, high = found.estimated_step_ms_low, found.estimated_step_ms_high
    return (
        f"{found.estimated_step_ms:.2f} [{low:.2f}, {high:.2f}]",
        f"{found.estimated_images_per_second:.0f}",
        str(found.settings.batch_size),
        str(found.settings.resolution),
    )
