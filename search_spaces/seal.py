"""A checksum as the last line of a document that a program wrote: what it says is what was written."""

import hashlib
import re

_SEAL = re.compile(r"# sha256 of all above: ([0-9a-f]{64})\n?")


def seal(text: str) -> str:
    """The text with a comment at its end: the SHA-256 of everything before it."""
    return f"{text}# sha256 of all above: {_sha256(text)}\n"


def is_sealed(text: str) -> bool:
    """Whether a text ends in a seal, broken or not."""
    return _SEAL.fullmatch(text[text.rstrip("\n").rfind("\n") + 1 :]) is not None


def is_broken(text: str) -> bool:
    """Whether a text that ends in a seal is not what was sealed. One without a seal never is."""
    start = text.rstrip("\n").rfind("\n") + 1
    match = _SEAL.fullmatch(text[start:])
    return match is not None and match[1] != _sha256(text[:start])


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


FILE_SEAL = "file_sha256"
"""The entry of a binary file's own metadata that holds its SHA-256."""
BLANK = "0" * 64
"""What that entry holds while the checksum is taken."""
_BINARY_SEAL = re.compile(rb"file_sha256[^0-9a-f]{1,6}([0-9a-f]{64})")


def seal_bytes(content: bytes) -> bytes:
    """A file whose metadata says `file_sha256: 000...` with the SHA-256 of just that content in place of it.

    Raises:
        ValueError: no such entry.
    """
    start = _digits(content)
    if start is None:
        raise ValueError(f"no blank {FILE_SEAL} in the file's metadata")
    digest = hashlib.sha256(content).hexdigest().encode()
    return b"".join((content[:start], digest, content[start + len(BLANK) :]))


def is_broken_bytes(content: bytes) -> bool | None:
    """Whether a file with such an entry is not what was sealed; None where it has none."""
    start = _digits(content)
    if start is None:
        return None
    hashed = hashlib.sha256(content[:start])
    hashed.update(BLANK.encode())
    hashed.update(memoryview(content)[start + len(BLANK) :])
    return hashed.hexdigest().encode() != content[start : start + len(BLANK)]


def _digits(content: bytes) -> int | None:
    """Where the 64 digits of a binary file's seal begin."""
    near = content.find(FILE_SEAL.encode())
    match = _BINARY_SEAL.match(content, near) if near >= 0 else None
    return None if match is None else match.start(1)
