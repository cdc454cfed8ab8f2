"""Options that several commands share, and what the shell completes for them."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from cli.values import parse_duration, parse_size

T = TypeVar("T")


def _space_names() -> list[str]:
    from search_spaces.shipped import SPACES, shipped_names

    return list(shipped_names(SPACES))


def _architecture_names() -> list[str]:
    from search_spaces.shipped import ARCHITECTURES, shipped_names

    return list(shipped_names(ARCHITECTURES))


def _hardware_names() -> list[str]:
    from proxies.hardware import ALIASES, AUTO, profile_names

    return [AUTO, *sorted([*profile_names(), *ALIASES])]


def _strategy_names() -> list[str]:
    from nas.strategies.registry import STRATEGIES

    return sorted(STRATEGIES)


def _run_names() -> list[str]:
    from results.directory import LATEST, list_runs

    return [LATEST, *(path.name for path in list_runs())]


def completed_from(names: Callable[[], list[str]]) -> Callable[[str], list[str]]:
    """A completion that offers the names that begin with what is typed."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names() if name.startswith(incomplete)]

    return complete


def _as_parameter(parse: Callable[[str], T]) -> Callable[[Any], T]:
    """A parser whose ValueError is shown beside the option."""

    def parser(text: Any) -> T:
        try:
            return parse(str(text))
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    return parser


DURATION: dict[str, Any] = {"parser": _as_parameter(parse_duration), "metavar": "TIME"}
SIZE: dict[str, Any] = {"parser": _as_parameter(parse_size), "metavar": "SIZE"}

COMPLETE_SPACE = completed_from(_space_names)
COMPLETE_ARCHITECTURE = completed_from(_architecture_names)
COMPLETE_HARDWARE = completed_from(_hardware_names)
COMPLETE_STRATEGY = completed_from(_strategy_names)
COMPLETE_RUN = completed_from(_run_names)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
AllowPlugins = Annotated[
    bool, typer.Option("--allow-plugins", help="Load blocks of installed plug-ins, which runs their code.")
]
SpaceName = Annotated[
    str,
    typer.Argument(
        metavar="NAME_OR_FILE", help="A shipped space or a YAML file.", autocompletion=COMPLETE_SPACE
    ),
]
RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A directory, a name under runs/, or latest.", autocompletion=COMPLETE_RUN
    ),
]


def load_plugins(allowed: bool) -> None:
    """Add the blocks of installed plug-ins where the user allows it."""
    if allowed:
        from search_spaces.registry import load_block_plugins

        load_block_plugins()
