#!/usr/bin/env bash
# Fuzzes one target until ten million executions or thirty minutes are over: `fuzz/run.sh TARGET [libFuzzer's options]`.
# What is found goes to fuzz/corpus, what crashes to fuzz/artifacts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

target="$1"
shift
options=(-runs=10000000 -max_total_time=1800 -rss_limit_mb=512 -malloc_limit_mb=64 -timeout=10)
if [ -f "dictionaries/$target.dict" ]; then
    options+=("-dict=dictionaries/$target.dict")
fi
mkdir -p "corpus/$target"
# Leaks are not looked for: that needs the right to trace processes, which containers lack.
ASAN_OPTIONS=detect_leaks=0 nice -n 15 cargo +nightly fuzz run "$target" "corpus/$target" "seeds/$target" -- \
    "${options[@]}" "$@"
