#!/usr/bin/env bash
# Trains networks with klayer, exports them in every form, and compares klayer's logits on real test images with those of
# onnxruntime and PyTorch:
#
#     tests/interop/run.sh
#
# Needs python3, and CIFAR-10 in $CIFAR10_DIR or in ../shared/cifar-10-batches-bin. install.sh installs the Python packages.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
folder="$root/target/interop"
venv="$folder/venv"
export CIFAR10_DIR="${CIFAR10_DIR:-$root/../shared/cifar-10-batches-bin}"

if [ ! -f "$CIFAR10_DIR/test_batch.bin" ]; then
    printf 'error: no CIFAR-10 in %s\n' "$CIFAR10_DIR" >&2
    exit 1
fi

"$here/install.sh"

cargo build --quiet --locked --manifest-path "$root/Cargo.toml" --package klayer --target-dir "$root/target"
klayer="$root/target/debug/klayer"

# check NAME SWITCHES...: a network, trained with these switches, and all that is made of it.
check() {
    local models="$folder/$1"
    shift
    rm -rf "$models"
    mkdir "$models"
    (
        cd "$models"
        "$klayer" train --cycles 1 --n-s 225 --data "$CIFAR10_DIR" "$@" --out model.klayer >/dev/null
        "$klayer" evaluate model.klayer --data "$CIFAR10_DIR" --logits logits.safetensors --json >evaluation.json
        "$klayer" export model.klayer --out model.safetensors
        "$klayer" export model.klayer --out model.onnx
        "$klayer" export model.klayer --out pixels.onnx --input pixels
        "$klayer" export model.klayer --out model-folded.onnx --fold-bn
        "$klayer" export model.klayer --out pixels-folded.onnx --input pixels --fold-bn
        "$klayer" import model.safetensors --out back.klayer
        cmp model.klayer back.klayer
        "$venv/bin/python" "$here/check.py" "$root/docs/export.md"
        "$klayer" import saved.safetensors --out saved.klayer
        cmp model.klayer saved.klayer
    )
}

check batch-norm --hidden 50,50
check nine-layers --hidden 50,30,20,20,10,10,10,10
check without-batch-norm --hidden 50 --no-bn
check activations --hidden 60,40,30 --activation modulus,gelu --dropout 0.1 --normalize channel --momentum 0.9
check whitened --hidden 60,40 --activation modulus,gelu --normalize whiten --flip --shift 4 --label-smoothing 0.1

others="$folder/datasets"
rm -rf "$others"
mkdir "$others"
(cd "$others" && "$venv/bin/python" "$here/datasets.py" "$klayer" "$root/docs/export.md")
rm -rf "$others"
