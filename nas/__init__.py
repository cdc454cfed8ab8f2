"""Training-aware neural architecture search: the public face.

    import nas
    run = nas.search(space="tiny", hardware="cpu", candidates=12, executor="local")
    run.frame()                                     # a pandas row for each candidate
    network = nas.build(nas.load_architecture("efficientnetv2-s"), num_classes=10)

Everything here is loaded on first use, so `import nas` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas import plot as plot
    from nas.api import measure as measure
    from nas.api import resume as resume
    from nas.api import search as search
    from nas.config import SearchConfig as SearchConfig
    from nas.confirming import confirm as confirm
    from nas.deploy.export import export as export
    from nas.errors import NasError as NasError
    from nas.estimating import estimate as estimate
    from nas.published import measure_anchors as measure_anchors
    from nas.reward import TargetReward as TargetReward
    from nas.reward import WeightedProduct as WeightedProduct
    from nas.reward import mnasnet_hard as mnasnet_hard
    from nas.reward import mnasnet_soft as mnasnet_soft
    from nas.scaling import Factors as Factors
    from nas.scaling import load_rule as load_rule
    from nas.scaling import scale as scale
    from nas.scaling import scale_to_size as scale_to_size
    from nas.training.api import Trained as Trained
    from nas.training.api import resume_training as resume_training
    from nas.training.api import train as train
    from nas.training.plan import TrainingChanges as TrainingChanges
    from proxies.estimates import Estimate as Estimate
    from proxies.protocols import Task as Task
    from results.anchors import Published as Published
    from results.compare import compare as compare
    from results.comparison import Comparison as Comparison
    from results.confirmations import honest as honest
    from results.likeness import like_groups as like_groups
    from results.pareto import Objective as Objective
    from results.report.page import write_report as write_report
    from results.run import Run as Run
    from results.run import load_run as load_run
    from results.run import load_runs as load_runs
    from search_spaces.architecture import Architecture as Architecture
    from search_spaces.architecture import cost as cost
    from search_spaces.builders import block_run as block_run
    from search_spaces.builders import fused_mbconv as fused_mbconv
    from search_spaces.builders import mbconv as mbconv
    from search_spaces.builders import squeeze_excite as squeeze_excite
    from search_spaces.builders import stage as stage
    from search_spaces.builders import stage_of_runs as stage_of_runs
    from search_spaces.choice import int_range as int_range
    from search_spaces.choice import one_of as one_of
    from search_spaces.choice import ref as ref
    from search_spaces.choice import use as use
    from search_spaces.document import load_architecture as load_architecture
    from search_spaces.layers.merging import merge as merge
    from search_spaces.merging import merged as merged
    from search_spaces.network import build as build
    from search_spaces.space import Space as Space
    from search_spaces.space_document import load_space as load_space
    from search_spaces.space_document import space as space

_PLACES = {
    "Architecture": "search_spaces.architecture",
    "Estimate": "proxies.estimates",
    "Comparison": "results.comparison",
    "Factors": "nas.scaling",
    "NasError": "nas.errors",
    "Objective": "results.pareto",
    "Published": "results.anchors",
    "Run": "results.run",
    "SearchConfig": "nas.config",
    "Space": "search_spaces.space",
    "TargetReward": "nas.reward",
    "Task": "proxies.protocols",
    "Trained": "nas.training.api",
    "TrainingChanges": "nas.training.plan",
    "WeightedProduct": "nas.reward",
    "block_run": "search_spaces.builders",
    "build": "search_spaces.network",
    "compare": "results.compare",
    "confirm": "nas.confirming",
    "cost": "search_spaces.architecture",
    "estimate": "nas.estimating",
    "export": "nas.deploy.export",
    "fused_mbconv": "search_spaces.builders",
    "honest": "results.confirmations",
    "int_range": "search_spaces.choice",
    "like_groups": "results.likeness",
    "load_architecture": "search_spaces.document",
    "load_rule": "nas.scaling",
    "load_run": "results.run",
    "load_runs": "results.run",
    "load_space": "search_spaces.space_document",
    "mbconv": "search_spaces.builders",
    "measure": "nas.api",
    "measure_anchors": "nas.published",
    "merge": "search_spaces.layers.merging",
    "merged": "search_spaces.merging",
    "mnasnet_hard": "nas.reward",
    "mnasnet_soft": "nas.reward",
    "one_of": "search_spaces.choice",
    "ref": "search_spaces.choice",
    "resume": "nas.api",
    "resume_training": "nas.training.api",
    "scale": "nas.scaling",
    "scale_to_size": "nas.scaling",
    "search": "nas.api",
    "space": "search_spaces.space_document",
    "squeeze_excite": "search_spaces.builders",
    "stage": "search_spaces.builders",
    "stage_of_runs": "search_spaces.builders",
    "train": "nas.training.api",
    "use": "search_spaces.choice",
    "write_report": "results.report.page",
}

_MODULES = ("plot",)

__all__ = sorted([*_PLACES, *_MODULES])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"nas.{name}")
    if name not in _PLACES:
        raise AttributeError(f"module 'nas' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
