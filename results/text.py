"""Plain data as YAML text: what a person reads at a glance, and what our reader reads back unchanged."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from results.entries import plain_json


class Flow(dict[str, Any]):
    """A mapping that is written on one line."""


class _Dumper(yaml.SafeDumper):
    """Data only; mappings keep their order."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write no anchors: the reader refuses them."""
        return True


_NUMBER_LIKE = re.compile(r"[-+]?\.?[0-9]")


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Quote what begins like a number: `1e5` (a digest can be that) is one to YAML 1.2, but not to PyYAML."""
    style = '"' if _NUMBER_LIKE.match(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_flow(dumper: yaml.SafeDumper, data: Flow) -> yaml.MappingNode:
    return dumper.represent_mapping("tag:yaml.org,2002:map", data.items(), flow_style=True)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(Flow, _represent_flow)


def dump_yaml(data: Mapping[str, Any], place: str) -> str:
    """YAML text of plain data; mappings inside a list stand on one line each.

    Raises:
        ValueError: something is not plain JSON; `place` is named.
    """
    shaped = _shaped(plain_json(data, place))
    text: str = yaml.dump(shaped, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)
    return text


def _shaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shaped(item) for key, item in value.items()}
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return [Flow(item) for item in value]
    return value
