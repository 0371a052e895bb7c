#!/usr/bin/env bash
# Stops the Slurm that start.sh has started in FOLDER (default: target/slurm), with its jobs. Logs stay there.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
folder="${1:-$here/../../target/slurm}"
export PATH="$PATH:/usr/sbin:/sbin"
[ -d "$folder" ] || exit 0
folder="$(cd "$folder" && pwd)"
export SLURM_CONF="$folder/slurm.conf"
[ -e "$SLURM_CONF" ] || exit 0

# The process of the daemon, if the number in its file is still that of a process of this name.
process() {
    local pid
    pid="$(cat "$folder/$1.pid" 2>/dev/null)" || return 1
    # Debian's daemons have names such as slurmd-wlm; a process that has ended but was not waited for has none.
    case "$(readlink "/proc/$pid/exe" 2>/dev/null)" in */"$1" | */"$1"-*) printf '%s\n' "$pid" ;; *) return 1 ;; esac
}

if process slurmctld >/dev/null && process slurmd >/dev/null; then
    timeout 5 scancel --user="$(id -un)" >/dev/null 2>&1 || true
    for _ in {1..100}; do
        [ -n "$(timeout 5 squeue --noheader 2>/dev/null)" ] || break
        sleep 0.1
    done
fi
for daemon in slurmd slurmctld munged; do
    if pid="$(process "$daemon")"; then
        kill "$pid"
        for _ in {1..100}; do
            process "$daemon" >/dev/null || break
            sleep 0.1
        done
        if process "$daemon" >/dev/null; then
            kill -KILL "$pid"
        fi
    fi
done
# What is left of jobs that the daemons could no longer end.
for environment in /proc/[0-9]*/environ; do
    pid="${environment#/proc/}" pid="${pid%/environ}"
    if grep -qszxF "SLURM_CONF=$SLURM_CONF" "$environment" &&
        { grep -qszE '^SLURMD_NODENAME=' "$environment" || readlink "/proc/$pid/exe" | grep -q '/slurm[^/]*$'; }; then
        kill -KILL "$pid" 2>/dev/null || true
    fi
done
rm -rf "$folder/state" "$folder/spool" "$folder/slurm.conf" "$folder"/*.pid "$folder"/munge.socket*
