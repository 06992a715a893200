#!/usr/bin/env bash
# Makes a root file system that stands in for the images' base where no registry can be reached:
#
#     tests/image/stand_in_base.sh TAR
#
# Debian bookworm with Debian's Python 3.11. It proves the Dockerfiles and the code, not the real base's packages.
set -euo pipefail
# Unpacking waits for the disk most of the time, so it happens in memory where there is enough.
folder=$(mktemp -d -p "$( (($(df --output=avail /dev/shm 2>/dev/null | tail -n 1) > 2000000)) && echo /dev/shm || echo "${TMPDIR:-/tmp}")")
trap 'rm -rf "$folder"' EXIT
TMPDIR=$folder mmdebstrap --quiet --mode=root --variant=minbase \
  --include=ca-certificates,python3,python3-venv,python-is-python3 \
  --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/usr/lib/python3*/EXTERNALLY-MANAGED' \
  bookworm "$folder/base.tar"
mv "$folder/base.tar" "$1"
