"""Finds errors in cluster files before any machine is started. Needs no network.

    python -m tools.clusters.check cluster.yaml tools/clusters/*.yaml    check the files
    python -m tools.clusters.check --ready cluster.yaml                  also check this machine: keys, token, no placeholder left

Cannot check whether ids exist, whether the account's quotas suffice, or what its roles allow.
"""

import argparse
import sys
from pathlib import Path

from tools.clusters.check.files import check


def main() -> int:
    """Check every given file; return 1 if one of them has a problem."""
    parser = argparse.ArgumentParser(prog="python -m tools.clusters.check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--ready", action="store_true", help="also check this machine's files and the placeholders; use it before `ray up`")
    options = parser.parse_args()
    failed = 0
    for path in options.files:
        problems = check(path, ready=options.ready)
        print("\n".join(f"BAD  {path}: {line}" for line in problems) or f"OK   {path}")
        failed |= bool(problems)
    return failed


if __name__ == "__main__":
    sys.exit(main())
