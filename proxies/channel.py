"""Messages between two processes: one line each, a word and a JSON document, over a socket pair.

Nothing here ever waits for the other side, so a peer that hangs, floods or dies in the middle of a message
stops nobody; and nothing is unpickled, so a peer that writes nonsense is a `ChannelError` and no more.
"""

import select
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_LINE_BYTES = 16 * 1024 * 1024
_READ_BYTES = 256 * 1024


class ChannelError(Exception):
    """The other side wrote what is not a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A word that says what it is, and its JSON document, unparsed."""

    word: str
    body: str = "{}"


class Channel:
    """One end of a conversation."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self.is_closed = False
        """Whether the other side is gone: nothing more will be received or sent."""

    def fileno(self) -> int:
        """The descriptor, for selectors."""
        return self._end.fileno()

    @property
    def num_unsent(self) -> int:
        """Bytes that `flush` has left to send."""
        return 0 if self.is_closed else len(self._outgoing)

    def send(self, word: str, body: str = "{}") -> None:
        """Queue a message and send what can be sent now. Into a closed channel it vanishes."""
        if not self.is_closed:
            self._outgoing += f"{word} {body}\n".encode()
            self.flush()

    def flush(self) -> None:
        """Send what can be sent now."""
        while self.num_unsent:
            try:
                sent = self._end.send(self._outgoing[:_READ_BYTES])
            except BlockingIOError:
                return
            except OSError:
                self.is_closed = True
                return
            del self._outgoing[:sent]

    def drain(self) -> None:
        """Wait until everything is sent or the other side is gone. For processes with nothing else to do."""
        while self.num_unsent:
            wait_for([self], None)
            self.flush()

    def receive(self) -> list[Message]:
        """The whole messages that have arrived, oldest first; sets `is_closed` at the end of the stream.

        Raises:
            ChannelError: a line is not a message, or longer than 16 MiB.
        """
        scanned = len(self._incoming)
        self._read()
        messages = []
        while (end := self._incoming.find(b"\n", scanned)) >= 0:
            messages.append(_parsed(bytes(self._incoming[:end])))
            del self._incoming[: end + 1]
            scanned = 0
        if len(self._incoming) > MAX_LINE_BYTES:
            raise ChannelError(f"a message is longer than {MAX_LINE_BYTES} bytes")
        return messages

    def close(self) -> None:
        """Close this end. What was not sent is lost."""
        self.is_closed = True
        self._end.close()

    def _read(self) -> None:
        while not self.is_closed and len(self._incoming) <= MAX_LINE_BYTES:
            try:
                chunk = self._end.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                chunk = b""
            if not chunk:
                self.is_closed = True
            self._incoming += chunk


def wait_for(
    channels: Sequence[Channel], timeout_seconds: float | None, descriptors: Iterable[int] = ()
) -> None:
    """Sleep until a channel can be read (or flushed, if it has unsent messages) or a descriptor is ready."""
    poll = select.poll()
    for channel in channels:
        poll.register(channel.fileno(), select.POLLIN | (select.POLLOUT if channel.num_unsent else 0))
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    poll.poll(None if timeout_seconds is None else max(0.0, timeout_seconds) * 1000)


def _parsed(line: bytes) -> Message:
    word, space, body = line.partition(b" ")
    if not space or not word.isalpha():
        raise ChannelError(f"not a message: {line[:100]!r}")
    return Message(word=word.decode("ascii", "replace"), body=body.decode("utf-8", "replace"))
