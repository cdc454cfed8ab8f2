"""A checksum as the last line of a document that a program wrote: what it says is what was written."""

import hashlib
import re

_SEAL = re.compile(r"# sha256 of all above: ([0-9a-f]{64})\n?")


def seal(text: str) -> str:
    """The text with a comment at its end: the SHA-256 of everything before it."""
    return f"{text}# sha256 of all above: {_sha256(text)}\n"


def is_broken(text: str) -> bool:
    """Whether a text that ends in a seal is not what was sealed. One without a seal never is."""
    start = text.rstrip("\n").rfind("\n") + 1
    match = _SEAL.fullmatch(text[start:])
    return match is not None and match[1] != _sha256(text[:start])


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
