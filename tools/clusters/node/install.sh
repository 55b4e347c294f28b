#!/usr/bin/env bash
# Installs the pinned packages into ~/abaw_ray/.venv (about 4 minutes and 6 GB); does nothing if they are installed. Every cluster file runs it
# as its set-up command, the Dockerfile at build time. Reads pyproject.toml and constraints.txt in the parent folder.
#
# The project itself is not installed: each job brings its code (ray job submit --working-dir).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The line must be the last in ~/.bashrc, or another Python named there would precede the environment's. Login shells read that file, and so does
# every bash with sshd as an ancestor, such as the one in which Ray starts a job.
line=". $PWD/node/environment.sh"
[ "$(tail -n 1 ~/.bashrc 2>/dev/null)" = "$line" ] || echo "$line" >> ~/.bashrc

pins=$(cat pyproject.toml constraints.txt | sha256sum)
if [ "$(cat installed 2>/dev/null)" = "$pins" ] && .venv/bin/ray --version >/dev/null 2>&1; then
    exit 0
fi

python=${PYTHON:-python3}
root=$([ "$(id -u)" = 0 ] || echo sudo)
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    command -v apt-get >/dev/null || { echo "$(hostname): $python cannot create virtual environments and there is no apt-get; install Python 3.11 to 3.13 with venv"; exit 2; }
    # A new machine still runs its own updates: wait for them, and for their lock.
    if command -v cloud-init >/dev/null; then cloud-init status --wait >/dev/null || true; fi
    for wait in 5 10 20 40 80 0; do  # apt-get does not wait for the lock of the package lists
        if $root apt-get update -qq; then break; fi
        sleep "$wait"
    done
    $root apt-get -o DPkg::Lock::Timeout=600 install -yqq --no-install-recommends python3-venv >/dev/null
fi
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || {
    echo "$(hostname): $("$python" --version) is not Python 3.11 to 3.13; set PYTHON to one that is"
    exit 2
}

rm -rf .venv installed
"$python" -m venv .venv
.venv/bin/python - > requirements.txt <<'PYTHON'
import tomllib

with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["project"]["dependencies"], sep="\n")
PYTHON
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --constraint constraints.txt --requirement requirements.txt
echo "$pins" > installed
