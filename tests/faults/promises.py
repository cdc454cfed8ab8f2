"""What the parts of the campaign have in common: figures, and promises that were not kept."""

Figures = dict[str, object]


class Wrong(AssertionError):
    """A promise that was not kept."""


def require(holds: bool, what: str) -> None:
    if not holds:
        raise Wrong(what)
