#!/usr/bin/env bash
# Stock tools the tests compare with, and the database server they run. Debian's packages, unpacked into .tools where
# they can't be installed.
set -euo pipefail
mkdir -p .tools/bin
missing=()
for tool in zstd tar openssl; do
    command -v "$tool" >/dev/null || missing+=("$tool")
done
tools=("${missing[@]}")
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=(postgresql)
[ ${#missing[@]} = 0 ] && exit 0
echo "installing ${missing[*]}" >&2
if [ "$(id -u)" = 0 ]; then
    # The tests start servers of their own: none is to run on this machine because of them.
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Dpkg::Options::=--force-confold "${missing[@]}" >/dev/null
else
    # What an installation would bring, libraries included; tests/fixtures/postgres.py finds it there.
    packages=$(apt-get -s install --no-install-recommends "${missing[@]}" | awk '$1 == "Inst" { print $2 }')
    # shellcheck disable=SC2086 # one word a package
    (cd .tools && apt-get download -qq $packages && for deb in ./*.deb; do dpkg -x "$deb" deb; done && rm ./*.deb)
    for tool in "${tools[@]}"; do ln -sf "../deb/usr/bin/$tool" ".tools/bin/$tool"; done
fi
