"""``abaw-ray doctor``: checks whether analysis can run on this machine, with a remedy for each problem."""

import json
import shutil
from dataclasses import asdict, dataclass, field

from abaw_ray.cli.arguments import CommandLine, parse
from abaw_ray.cli.help import Page
from abaw_ray.core.storage.filesystems import StorageConfig


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """Settings of the checks."""

    storage: StorageConfig = field(default_factory=StorageConfig)
    """The store of the results."""
    json: bool = False
    """Print all values as JSON."""


LINE = CommandLine(
    page=Page(
        command="abaw-ray doctor",
        does="Check versions, CPUs, memory, disks, GPU, codecs, weights and credentials of this machine. Nothing is downloaded or changed.",
        arguments="[options]",
        examples=("abaw-ray doctor", "abaw-ray doctor -o /data/out --json"),
        everyday=("storage.uri", "json"),
        notes=("The exit code is 0 if analysis can run here, else 1.",),
    ),
    default=DoctorConfig(),
)
"""Its arguments."""


def main(name: str, args: list[str]) -> int:
    """Run all checks and print them.

    Returns:
        The exit code: 0 if analysis can run, else 1.
    """
    config = parse(LINE, args)
    from abaw_ray.cli.doctor import installation, machine  # PyAV, torch and the hub's client, which --help does not need
    from abaw_ray.cli.doctor.checks import conclusion

    checks = [
        installation.system(),
        installation.packages(),
        machine.cpus(),
        machine.memory(),
        *machine.disks(config.storage.uri),
        machine.gpu(),
        installation.codecs(),
        *installation.weights(),
        installation.credentials(),
    ]
    works, text = conclusion(checks)
    if config.json:
        print(json.dumps({"ok": works, "conclusion": text, "checks": [asdict(check) for check in checks]}, indent=1))
    else:
        width = min(shutil.get_terminal_size().columns, 120)
        print("\n".join([line for check in checks for line in check.lines(width)] + ["", text]))
    return 0 if works else 1
