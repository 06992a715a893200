"""metrics.jsonl as an event file of TensorBoard, so that `tensorboard --logdir` shows it beside other trainings.

TensorBoard's own writer would bring a dozen packages into the image for the three messages below.
https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto
https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
"""

import struct
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

_GROUPS = {"mean_return": "rollout", "median_return": "rollout", "min_return": "rollout", "max_return": "rollout"}
_GROUPS |= {"mean_length": "rollout", "seconds": "time"}
"""The first part of a tag, by which TensorBoard groups; what is not here is the algorithm's, `train`."""


def event_file(lines: Sequence[Mapping[str, float]]) -> bytes:
    """The content of an event file; `lines` are those of metrics.jsonl."""
    begun = time.time() - (lines[-1]["seconds"] if lines else 0)
    return _records(list(_events(lines, begun=begun)))


def _events(lines: Sequence[Mapping[str, float]], *, begun: float) -> Iterator[bytes]:
    yield _double(1, begun) + _bytes(3, b"brain.Event:2")
    for line in lines:
        values = (
            _bytes(1, _bytes(1, f"{_GROUPS.get(name, 'train')}/{name}".encode()) + _float(2, value))
            for name, value in line.items()
            if name != "timesteps"
        )
        yield (
            _double(1, begun + line["seconds"])
            + _varint(2 << 3)
            + _varint(int(line["timesteps"]))
            + _bytes(5, b"".join(values))
        )


def _records(messages: Sequence[bytes]) -> bytes:
    lengths = [struct.pack("<Q", len(message)) for message in messages]
    checked = zip(lengths, _masked(lengths), messages, _masked(messages), strict=True)
    return b"".join(part for record in checked for part in record)


# --- protocol buffers: https://protobuf.dev/programming-guides/encoding/ ----------------------------------------------


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _float(field: int, value: float) -> bytes:
    # What a float of 32 bits cannot hold is infinite there.
    return _varint(field << 3 | 5) + struct.pack("<f", value if abs(value) < 3.4e38 else value * float("inf"))


# --- CRC-32C, which no package of the image has: RFC 3720, B.4 --------------------------------------------------------


def _table() -> npt.NDArray[np.uint32]:
    table: npt.NDArray[np.uint32] = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(0x82F63B78), table >> 1)
    return table


_TABLE = _table()


def _masked(messages: Sequence[bytes]) -> list[bytes]:
    crc = crc32c(messages)
    return [struct.pack("<I", each) for each in (crc >> 15 | crc << 17) + np.uint32(0xA282EAD8)]


def crc32c(messages: Sequence[bytes]) -> npt.NDArray[np.uint32]:
    """The checksums of Castagnoli of messages of four bytes and more, all of them side by side."""
    columns = np.zeros((max(map(len, messages)), len(messages)), np.uint8)
    for number, message in enumerate(messages):
        columns[len(columns) - len(message) :, number] = np.frombuffer(message, np.uint8)
        # To begin with all ones is to turn over the first 32 bits; then nothing before them counts.
        columns[len(columns) - len(message) :, number][:4] ^= 0xFF
    crc = np.zeros(len(messages), np.uint32)
    for row in columns:
        crc = _TABLE[(crc ^ row) & 0xFF] ^ crc >> 8
    return ~crc
