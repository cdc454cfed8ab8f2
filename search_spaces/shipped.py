"""The documents that come with the package: their names, and what each says of itself.

Needs neither numpy nor pydantic, so that listings and shell completion answer at once.
"""

from pathlib import Path

SPACES = Path(__file__).parent / "spaces"
ARCHITECTURES = Path(__file__).parent / "architectures"


def shipped_names(folder: Path) -> tuple[str, ...]:
    """The names of the documents in one of the folders above, in alphabetical order."""
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


def shipped_notes(folder: Path, name: str) -> str | None:
    """The `notes` of a shipped document; None when it has none."""
    from search_spaces.nodes import Fields, Scalar, parse_yaml, read_text

    path = folder / f"{name}.yaml"
    document = parse_yaml(read_text(path), path.name)
    notes = document.get("notes") if isinstance(document, Fields) else None
    return notes.value if isinstance(notes, Scalar) and isinstance(notes.value, str) else None
