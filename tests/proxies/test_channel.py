"""Laws of the channel: whole messages in order, nobody blocked, nonsense refused."""

import select
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxies.channel import MAX_LINE_BYTES, Channel, ChannelError, Message, wait_for


def pair() -> tuple[Channel, Channel]:
    one, other = socket.socketpair()
    return Channel(one), Channel(other)


words = st.sampled_from(["job", "outcome", "stop"])
bodies = st.text(st.characters(blacklist_characters="\n", blacklist_categories=["Cs"]), max_size=50)


@settings(max_examples=50, deadline=None)
@given(sent=st.lists(st.builds(Message, word=words, body=bodies), max_size=10), cuts=st.integers(1, 40))
def test_messages_arrive_whole_and_in_order_however_the_bytes_are_cut(sent: list[Message], cuts: int) -> None:
    one, other = socket.socketpair()
    receiver = Channel(other)
    stream = "".join(f"{message.word} {message.body}\n" for message in sent).encode()
    received: list[Message] = []
    for start in range(0, len(stream), cuts):
        one.sendall(stream[start : start + cuts])
        received += receiver.receive()
    assert received == sent
    one.close()
    assert receiver.receive() == []
    assert receiver.is_closed
    receiver.close()


def test_sending_never_blocks_and_loses_nothing() -> None:
    one, other = pair()
    body = "x" * 100_000
    for _ in range(40):
        one.send("partial", body)
    assert one.num_unsent > 0
    received: list[Message] = []
    while len(received) < 40:
        received += other.receive()
        one.flush()
    assert received == [Message(word="partial", body=body)] * 40
    assert one.num_unsent == 0
    one.close()
    other.close()


def test_a_half_message_of_a_dead_peer_is_dropped() -> None:
    one, other = socket.socketpair()
    receiver = Channel(other)
    one.sendall(b"outcome {}\noutcome {")
    one.close()
    assert receiver.receive() == [Message(word="outcome", body="{}")]
    assert receiver.is_closed
    receiver.close()


def test_sending_to_the_dead_is_silent() -> None:
    one, other = pair()
    other.close()
    one.send("job")
    one.send("job")
    one.drain()
    assert one.is_closed
    assert one.num_unsent == 0
    one.close()


@pytest.mark.parametrize("line", [b"nonsense\n", b"\x80\x04\x95 pickle\n", b" {}\n", b"job2 {}\n"])
def test_nonsense_is_refused(line: bytes) -> None:
    one, other = socket.socketpair()
    receiver = Channel(other)
    one.sendall(line)
    with pytest.raises(ChannelError, match="not a message"):
        receiver.receive()
    one.close()
    receiver.close()


def receive_for_ever(sender: Channel, receiver: Channel) -> None:
    while True:
        receiver.receive()
        sender.flush()


def test_an_endless_line_is_refused_before_it_fills_the_memory() -> None:
    one, other = socket.socketpair()
    sender, receiver = Channel(one), Channel(other)
    sender.send("job", "x" * (2 * MAX_LINE_BYTES))
    with pytest.raises(ChannelError, match="longer than"):
        receive_for_ever(sender, receiver)
    sender.close()
    receiver.close()


def test_waiting_ends_with_a_message_a_descriptor_or_the_time() -> None:
    one, other = pair()
    wait_for([other], 0.0)
    one.send("stop")
    wait_for([other], None)
    assert [message.word for message in other.receive()] == ["stop"]
    reader, writer = socket.socketpair()
    writer.send(b".")
    wait_for([other], None, [reader.fileno()])
    assert select.select([reader], [], [], 0)[0] == [reader]
    for end in (one, other, reader, writer):
        end.close()
