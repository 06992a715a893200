"""A policy's archive, extracted. Python's own safe way to do so came with 3.11.4, after the 3.11 of Debian 12."""

import shutil
import tarfile
from os.path import normpath
from pathlib import Path
from typing import IO


def extract(packed: IO[bytes], folder: Path) -> None:
    """Write the files of a gzipped tar below a folder, which need not exist.

    Raises:
        tarfile.TarError: it is damaged, or holds what no policy needs: links, devices, names that lead elsewhere.
        OSError, EOFError, zlib.error: it is damaged, or cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=packed, mode="r:gz") as tar:
        for member in tar:
            place = Path(normpath(folder / member.name))
            if not place.is_relative_to(normpath(folder)):
                raise tarfile.ExtractError(f"{member.name} leads outside of its folder")
            if member.isdir():
                place.mkdir(parents=True, exist_ok=True)
                continue
            content = tar.extractfile(member) if member.isfile() else None
            if content is None:
                raise tarfile.ExtractError(f"{member.name} is neither a file nor a folder")
            place.parent.mkdir(parents=True, exist_ok=True)
            with content, place.open("wb") as file:
                shutil.copyfileobj(content, file)
