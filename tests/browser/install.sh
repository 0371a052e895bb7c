#!/usr/bin/env bash
# Installs what the browser tests need, if it is missing: Debian's chromium and its driver. Needs root for that.
set -euo pipefail

if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
    exit
fi
fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}
[ "$(id -u)" = 0 ] || fail 'chromium chromium-driver: not installed; install with apt-get, or run this as root'
command -v apt-get >/dev/null || fail 'chromium chromium-driver: not installed, and there is no apt-get to install with'
printf 'installing chromium chromium-driver\n' >&2
log="$(mktemp)"
{
    apt-get update &&
        DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends chromium chromium-driver
} >"$log" 2>&1 </dev/null || {
    tail -n 15 "$log" >&2
    fail 'chromium chromium-driver: cannot be installed'
}
rm -f "$log"
