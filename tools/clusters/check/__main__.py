"""Cluster files in, problems out: what would show minutes later on paid machines, and what never would; without any network.

python -m tools.clusters.check cluster.yaml tools/clusters/*.yaml    the files themselves
python -m tools.clusters.check --ready cluster.yaml                  also this machine: keys, token, no placeholder left
"""

import argparse
import sys
from pathlib import Path

from tools.clusters.check.files import check


def main() -> int:
    """Check every file given; 1 where one of them has a problem."""
    parser = argparse.ArgumentParser(prog="python -m tools.clusters.check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--ready", action="store_true", help="check this machine and the ids too, right before `ray up`")
    options = parser.parse_args()
    failed = 0
    for path in options.files:
        problems = check(path, ready=options.ready)
        print("\n".join(f"BAD  {path}: {line}" for line in problems) or f"OK   {path}")
        failed |= bool(problems)
    return failed


if __name__ == "__main__":
    sys.exit(main())
