"""The data sources: name -> class. A new source is one line here and one file.

Other distributions add sources through the entry-point group `nas.data`; they are loaded only when the
user allows plug-ins, because loading one runs its code.
"""

import dataclasses
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, ValidationError

from proxies.data.clutter import ClutteredDigits
from proxies.data.digits import Digits
from proxies.data.folder import Folder
from proxies.data.hub import Hub
from proxies.data.protocol import DataError, DataSource
from search_spaces.messages import suggest

DATA: dict[str, type[DataSource]] = {
    "cluttered-digits": ClutteredDigits,
    "digits": Digits,
    "folder": Folder,
    "hub": Hub,
}

METHODS = ("num_classes", "fingerprint", "load", "load_test")


@runtime_checkable
class HoldsOut(Protocol):
    """A source that can hold its validation images out of training, whatever validation split it has."""

    def holding_out(self, fraction: float) -> DataSource:
        """The same data with that fraction of the training images as validation."""


def load_data_plugins() -> list[str]:
    """Add the sources of installed plug-ins; returns their names. Loading twice changes nothing.

    Raises:
        ValueError: a plug-in's name is taken, or its object is no class of data sources.
    """
    loaded = []
    for entry in entry_points(group="nas.data"):
        cls = entry.load()
        missing = [method for method in METHODS if not hasattr(cls, method)]
        if not isinstance(cls, type) or missing:
            raise ValueError(
                f"plug-in data {entry.name!r} ({entry.value}) is not a class of data sources; "
                f"it lacks {', '.join(missing) or 'a class'}"
            )
        if DATA.get(entry.name, cls) is not cls:
            raise ValueError(
                f"plug-in data {entry.name!r} ({entry.value}): this name exists already; rename it"
            )
        DATA[entry.name] = cls
        loaded.append(entry.name)
    return loaded


def source_from_document(document: Mapping[str, Any]) -> DataSource:
    """A source from plain data: `source` names it, the other keys are its parameters.

    Raises:
        ValueError: an unknown source or parameter, or a value that it refuses; one sentence.
    """
    parameters = dict(document)
    name = parameters.pop("source", None)
    if not isinstance(name, str):
        raise ValueError(f"data needs a source: one of {', '.join(sorted(DATA))}")
    if name not in DATA:
        raise ValueError(_unknown(name))
    cls = DATA[name]
    unknown = [str(key) for key in parameters if key not in _parameters(cls)]
    if unknown:
        known = _parameters(cls)
        raise ValueError(
            f"{name} has no parameter {unknown[0]!r}{suggest(unknown[0], known)}; known: {', '.join(known)}"
        )
    try:
        return cls(**parameters)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        place = ".".join(map(str, detail["loc"]))
        raise ValueError(f"{name}: {place}: {detail['msg']}, got {detail['input']!r}") from error
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from error


def source_document(source: DataSource) -> dict[str, Any]:
    """The plain data that `source_from_document` reads back.

    A source that is in no registry is named by its class; reading it back fails, and names it.
    """
    cls: Any = type(source)
    name = next(
        (name for name, known in DATA.items() if known is cls), f"{cls.__module__}:{cls.__qualname__}"
    )
    if issubclass(cls, BaseModel):
        return {"source": name, **source.model_dump(mode="json")}  # type: ignore[attr-defined]
    return {"source": name, **{key: getattr(source, key) for key in _parameters(cls)}}


def find_source(text: str) -> DataSource:
    """The source that `--data` means.

    A name of the registry, `hub:NAME`, a YAML file with a source and its parameters, a Parquet file or a
    folder of such files, or a folder of class folders of images.

    Raises:
        DataError: none of these.
        ValueError: a source by name that cannot do without parameters, or a bad file.
    """
    if text in DATA:
        return source_from_document({"source": text})
    if text.startswith("hub:"):
        return Hub(path=text.removeprefix("hub:"))
    path = Path(text).expanduser()
    if path.suffix in {".yaml", ".yml"}:
        return _read_source(path)
    if path.suffix == ".parquet" or any(path.glob("*.parquet")) or any(path.glob("data/*.parquet")):
        return Hub(path=str(path))
    if path.is_dir():
        return Folder(root=str(path))
    raise DataError(f"{_unknown(text)}; or give a folder, a .parquet or .yaml file, or hub:NAME")


def _read_source(path: Path) -> DataSource:
    from search_spaces.document import read_yaml

    document = read_yaml(path)
    if not isinstance(document, dict):
        raise ValueError(f"{path}: expected a mapping such as `source: folder` with parameters")
    try:
        return source_from_document(document)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _unknown(name: str) -> str:
    return f"no data source is called {name!r}{suggest(name, DATA)}; known: {', '.join(sorted(DATA))}"


def _parameters(cls: Any) -> list[str]:
    if issubclass(cls, BaseModel):
        return list(cls.model_fields)
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls) if field.init]
    return []
