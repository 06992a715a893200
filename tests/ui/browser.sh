#!/usr/bin/env bash
# Runs a command that needs Debian's Chromium, which is installed if it is missing and may be.
#
#     tests/ui/browser.sh COMMAND [ARGUMENT ...]
#
#     UI_CHROMIUM=PATH    take this browser
set -euo pipefail
(($#)) || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }

refuse() {
  echo "No Chromium: $* Set UI_CHROMIUM to the path of one." >&2
  exit 1
}

UI_CHROMIUM=${UI_CHROMIUM:-$(command -v chromium || true)}
if [[ ! $UI_CHROMIUM ]]; then
  command -v apt-get >/dev/null || refuse "there is no apt-get to install it."
  ((EUID == 0)) || refuse "only root may install it (apt-get install chromium)."
  echo "Installing chromium (once)" >&2
  log=$(apt-get update -qq 2>&1 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    chromium fonts-dejavu-core 2>&1) || refuse "it could not be installed: ${log: -500}"
  UI_CHROMIUM=$(command -v chromium)
fi
export UI_CHROMIUM
exec "$@"
