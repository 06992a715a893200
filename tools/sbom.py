"""Write a bill of materials of each image's Python packages, in CycloneDX's JSON.

    python tools/sbom.py FOLDER

It comes from the lock files, which the images are proven to hold exactly. What Debian packages are below them, the base
image's own bill says. https://cyclonedx.org/docs/1.6/json/
"""

import json
import re
import sys
import uuid
from pathlib import Path
from typing import Any

if not __package__:
    # Run as a script: packages are imported from the repository's root.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tools.lock_images import LOCKS, ROOT

_LOCKED = re.compile(r"^(?P<name>\S+)==(?P<version>\S+) --hash=sha256:(?P<digest>[0-9a-f]{64})$", re.MULTILINE)


def bill(lock: Path) -> dict[str, Any]:
    """The bill of materials of one lock file; the same for the same file."""
    text = lock.read_text(encoding="utf-8")
    image = f"{lock.parent.name}-{lock.stem}".replace("_image-requirements", "")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, text)}",
        "version": 1,
        "metadata": {"component": {"type": "container", "bom-ref": image, "name": f"rlpipe-{image}"}},
        "components": [_component(**match.groupdict()) for match in _LOCKED.finditer(text)],
    }


def _component(name: str, version: str, digest: str) -> dict[str, Any]:
    # https://github.com/package-url/purl-spec: a local version's `+` is percent-encoded.
    purl = f"pkg:pypi/{name}@{version.replace('+', '%2B')}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


def main(arguments: list[str]) -> int:
    """Write the files; returns the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python tools/sbom.py FOLDER\n")
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for lock in LOCKS:
        document = bill(ROOT / lock)
        path = folder / f"{document['metadata']['component']['name']}.cdx.json"
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        sys.stderr.write(f"{path}: {len(document['components'])} packages\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
