#!/usr/bin/env bash
# Installs those of the named packages that are missing: setup-debian.sh PACKAGE...
# Ends with 1 if some could not be installed, after having tried each.
set -euo pipefail

missing() {
    local package
    for package in "$@"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
            echo "$package"
    done
}

fail() {
    echo "setup-debian: $1" >&2
    exit 1
}

command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
    fail "this is no Debian or Ubuntu; please install by hand what these hold: $*"

mapfile -t packages < <(missing "$@")
((${#packages[@]})) || exit 0

sudo=()
if ((EUID != 0)); then
    command -v sudo >/dev/null || fail "neither root nor sudo; please install: ${packages[*]}"
    sudo=(sudo)
fi

# By way of env, because sudo does not pass the environment on.
apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive
    apt-get -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends)
echo "setup-debian: installing ${packages[*]}"
"${apt[@]}" update || echo "setup-debian: going on with the package lists that are there" >&2

# One by one when they cannot be had together, so that one that is unknown here costs no other.
if ! "${apt[@]}" install "${packages[@]}"; then
    for package in "${packages[@]}"; do
        "${apt[@]}" install "$package" || true
    done
fi

mapfile -t packages < <(missing "$@")
((${#packages[@]} == 0)) || fail "could not install: ${packages[*]}"
