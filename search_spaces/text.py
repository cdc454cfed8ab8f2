"""Documents as YAML text that a person would have written: one line a stage, blocks as flow mappings."""

from typing import Any

import yaml


class _Flow(dict[str, Any]):
    """A mapping that is written on one line."""


class _Dumper(yaml.SafeDumper):
    """Plain data only; mappings keep their order."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never write an anchor: our own reader refuses them."""
        return True


_Dumper.add_representer(
    _Flow,
    lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data.items(), flow_style=True),
)

FLOW_KEYS = ("input", "stem", "head", "norm", "recipe")


def dump(document: dict[str, Any]) -> str:
    """YAML text of an architecture document, or of any document that holds one at its top level."""
    shaped = {key: _Flow(value) if key in FLOW_KEYS else value for key, value in document.items()}
    if "stages" in shaped:
        shaped["stages"] = [_Flow(stage) for stage in shaped["stages"]]
    return yaml.dump(shaped, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)
