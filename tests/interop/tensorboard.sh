#!/usr/bin/env bash
# Reads event files of `klayer train --tensorboard` back with TensorBoard itself, and compares them with the metrics of
# the same runs: one undisturbed, and one that was stopped and resumed. install.sh installs TensorBoard.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

venv="$PWD/target/tensorboard-venv"
tests/interop/install.sh

cargo build --quiet --locked --package klayer
klayer="$PWD/target/debug/klayer"
images=(--synthetic)
[ -d "${CIFAR10_DIR:-}" ] && images=(--data "$CIFAR10_DIR")

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
train() {
    local name="$1"
    shift
    exec "$klayer" train --hidden 20 --n-s 1500 --cycles 1 --validate-every 100 --threads 1 "${images[@]}" \
        --out "$folder/$name.klayer" --tensorboard "$folder/events/$name" "$@" >"$folder/$name.log" 2>&1
}

(train whole)
# SIGINT is ignored in the background of a script, SIGTERM is not.
train stopped &
pid=$!
metrics="$folder/stopped.klayer.metrics.jsonl.part"
for _ in {1..1200}; do
    [ -f "$metrics" ] && [ "$(wc -l <"$metrics")" -ge 3 ] && break
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.05
done
kill -TERM "$pid"
wait "$pid" || status=$?
[ "${status:-0}" = 143 ] || {
    printf 'error: the training that was to be stopped ended with status %s\n' "${status:-0}" >&2
    exit 1
}
(train stopped --resume)
"$venv/bin/python" tests/interop/read_events.py "$folder"
