"""metrics.jsonl as an event file of TensorBoard, so that `tensorboard --logdir` shows it beside other trainings.

TensorBoard's own writer would bring a dozen packages into the image for the three messages below.
https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto
https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
"""

import struct
import time
from collections.abc import Iterator, Mapping, Sequence

_GROUPS = {"mean_return": "rollout", "median_return": "rollout", "min_return": "rollout", "max_return": "rollout"}
_GROUPS |= {"mean_length": "rollout", "seconds": "time"}
"""The first part of a tag, by which TensorBoard groups; what is not here is the algorithm's, `train`."""


def event_file(lines: Sequence[Mapping[str, float]]) -> bytes:
    """The content of an event file; `lines` are those of metrics.jsonl."""
    begun = time.time() - (lines[-1]["seconds"] if lines else 0)
    return b"".join(_record(event) for event in _events(lines, begun=begun))


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


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", _masked(length)) + data + struct.pack("<I", _masked(data))


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


def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _table()


def _masked(data: bytes) -> int:
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """The checksum of Castagnoli."""
    crc, table = 0xFFFFFFFF, _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF
