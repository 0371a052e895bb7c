#!/usr/bin/env bash
# Installs the Python packages of these tests from PyPI, in the versions of requirements.txt and tensorboard.txt, into
# target/interop/venv and target/tensorboard-venv, unless they are there. Where PyPI's PyTorch comes with CUDA, as on x86-64
# Linux, it takes 6 GB. Needs python3.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
target="$(cd "$here/../.." && pwd)/target"

# install LIST VENV: the list is copied last, so that an interrupted installation starts again.
install() {
    if ! cmp --silent "$1" "$2/requirements.txt"; then
        rm -rf "$2"
        mkdir -p "$(dirname "$2")"
        python3 -m venv "$2"
        "$2/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$1"
        cp "$1" "$2/requirements.txt"
    fi
}

install "$here/tensorboard.txt" "$target/tensorboard-venv"
install "$here/requirements.txt" "$target/interop/venv"
