#!/usr/bin/env bash
# Stock tools the tests compare with. Debian's packages, unpacked into .tools where they can't be installed.
set -euo pipefail
mkdir -p .tools/bin
missing=()
for tool in zstd tar openssl; do
    command -v "$tool" >/dev/null || missing+=("$tool")
done
[ ${#missing[@]} = 0 ] && exit 0
echo "installing ${missing[*]}" >&2
if [ "$(id -u)" = 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
else
    (cd .tools && apt-get download -qq "${missing[@]}" && for deb in ./*.deb; do dpkg -x "$deb" deb; done)
    for tool in "${missing[@]}"; do ln -sf "../deb/usr/bin/$tool" ".tools/bin/$tool"; done
fi
