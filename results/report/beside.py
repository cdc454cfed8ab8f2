"""What was measured beside a run's search, for its report: published networks, and the honest front."""

from typing import Any

from results.anchors import published_networks
from results.confirmations import CONFIRMATIONS_NAME, honest
from results.errors import RunError
from results.report.measurements import shortened
from results.run import Run


def published(run: Run) -> list[dict[str, Any]]:
    """The published networks that a run has, with its objectives and the accuracy that they are known for."""
    names = [objective.name for objective in run.objectives]
    return [
        {
            "name": each.name,
            "imagenet_top1": each.imagenet_top1,
            "standing": each.standing,
            "values": {
                name: None if value is None else shortened(value)
                for name, value in each.result.values(names).items()
            },
        }
        for each in published_networks(run)
    ]


def likely(run: Run) -> list[dict[str, Any]]:
    """The members of the honest front with intervals and probabilities; empty before it was confirmed."""
    if not (run.path / CONFIRMATIONS_NAME).exists():
        return []
    try:
        found = honest(run)
    except RunError:  # confirmations that failed leave the noise unknown
        return []
    return [
        {
            "id": each.id,
            "probability": round(each.probability, 3),
            "values": {
                name: [shortened(end) for end in (each.low[name], value, each.high[name])]
                for name, value in each.values.items()
            },
            "measured": dict(each.num_measurements),
        }
        for each in found
        if each.is_member
    ]
