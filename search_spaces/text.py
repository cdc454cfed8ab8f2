"""Documents as YAML text that a person would have written: one line a stage, blocks as flow mappings."""

from collections.abc import Mapping
from typing import Any

import yaml

from search_spaces.nodes import plain_value


class _Flow(dict[str, Any]):
    """A mapping that is written on one line."""


class _Dumper(yaml.SafeDumper):
    """Plain data only; mappings keep their order."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never write an anchor: our own reader refuses them."""
        return True


def _represent_flow(dumper: _Dumper, data: _Flow) -> yaml.MappingNode:
    return dumper.represent_mapping("tag:yaml.org,2002:map", data.items(), flow_style=True)


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """Quote what our reader takes for a number: `1e5`, which a digest can be, is text to PyYAML."""
    try:
        is_text = plain_value(text) == text
    except ValueError:
        is_text = False
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if is_text else "'")


_Dumper.add_representer(_Flow, _represent_flow)
_Dumper.add_representer(str, _represent_text)

FLOW_KEYS = ("input", "stem", "head", "norm", "recipe")


def dump(document: Mapping[str, Any]) -> str:
    """YAML text of an architecture document, or of any document that holds one at its top level."""
    shaped: dict[str, Any] = {
        key: _Flow(value) if key in FLOW_KEYS and isinstance(value, Mapping) else value
        for key, value in document.items()
    }
    if "stages" in shaped:
        shaped["stages"] = [_Flow(stage) for stage in shaped["stages"]]
    text: str = yaml.dump(shaped, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)
    return text
