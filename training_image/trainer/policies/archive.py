"""model.tar.gz: the same content gives the same bytes, whenever and wherever it is packed."""

import gzip
import io
import tarfile


def pack(files: dict[str, bytes]) -> bytes:
    """A gzipped tar of files by name, at its top level."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(data))
    return gzip.compress(tar.getvalue(), mtime=0)


def unpack(packed: bytes) -> dict[str, bytes]:
    """The files of a `pack`ed archive, by name."""
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]
