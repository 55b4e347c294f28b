"""Cluster files in, problems out: what would show minutes later on paid machines, and what never would; without any network.

Ray's own defaults and schema run unchanged; on AWS its bootstrap too (``aws.py``), on Google Cloud what a machine is asked for is held
against the interface's own description (``gcp.py``). Our own rules come on top (``rules.py``, ``kuberay.py``).
It cannot tell whether ids exist, whether an account's quotas suffice, or what its roles allow.
"""

import contextlib
import copy
import io
import json
from collections.abc import Iterator
from pathlib import Path

import yaml

from tools.clusters.check import aws, gcp, kuberay
from tools.clusters.check.rules import KINDS, TYPES, inlined, rules_of, texts

_PLACEHOLDERS = ("0123456789abcdef0", "123456789012", "your-", "192.0.2.")


def _unreplaced(config: dict) -> Iterator[str]:
    places = {text: where for where, text in texts(config) if any(placeholder in text for placeholder in _PLACEHOLDERS)}
    for text, where in places.items():
        yield f"{where}: {text} is still the placeholder; put your own"


def here(config: dict, *, ready: bool) -> Iterator[str]:
    """Files that ``ray up`` reads on this machine; with ``ready`` also those of its owner, and ids nobody replaced."""
    for local in (config.get("file_mounts") or {}).values():
        own = local.startswith(("~", "/"))
        if (ready or not own) and not Path(local).expanduser().exists():  # relative to where `ray up` is called
            todo = (
                "make it with `ray get-auth-token --generate`"
                if local.endswith("auth_token")
                else "call this, and `ray up`, from the project's folder"
            )
            yield f"file_mounts: {local} is not here; {todo}"
    key = (config.get("auth") or {}).get("ssh_private_key")
    if ready and key and not Path(key).expanduser().exists():
        yield f"auth.ssh_private_key: {key} is not here; leave it out and Ray makes one"
    yield from _unreplaced(config) if ready else ()


def _schema_problems(config: dict) -> Iterator[str]:
    import jsonschema
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    for error in jsonschema.validators.validator_for(schema)(schema).iter_errors(config):
        yield f"{'.'.join(map(str, error.absolute_path)) or 'file'}: {error.message[:200]}; see Ray's cluster YAML reference"


def _ray_says(config: dict) -> Iterator[str]:
    """What Ray finds wrong before it talks to anybody, where no bootstrap is run."""
    from ray.autoscaler._private import util

    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            util.validate_config(util.prepare_config(copy.deepcopy(config)))
    except Exception as error:  # whatever Ray raises is the answer to the question
        yield f"ray up: {' '.join(str(error).split())[:300]}; see Ray's cluster YAML reference"


def check(path: Path, *, ready: bool = False) -> list[str]:
    """All problems of one file, one line each; empty where ``ray up`` (or KubeRay) would go on to start machines."""
    try:
        raw = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        return [f"file: {' '.join(str(error).split())}; mend it first"]
    if isinstance(raw, dict) and raw.get("kind") == "RayJob":
        return [*kuberay.check(raw), *(_unreplaced(raw) if ready else ())]
    kind = (raw.get("provider") or {}).get("type") if isinstance(raw, dict) else None
    if kind not in KINDS:
        return [f"provider.type: is not {', '.join(KINDS)}; this check knows no others"]
    for key in ("max_workers", *((TYPES, "head_node_type") if kind != "local" else ())):
        if key not in raw:
            return [f"{key}: is missing; state it, the default does not fit"]
    problems = list(_schema_problems(raw)) if kind != "local" else list(_ray_says(raw))  # of the latter Ray checks what it makes of it
    if not problems and kind != "local" and raw["head_node_type"] not in raw[TYPES]:
        problems = [f"head_node_type: {raw['head_node_type']} is not one of {TYPES}; name one of {', '.join(raw[TYPES])}"]
    if not problems:
        whole = inlined(raw)
        launches = {"aws": aws.launches, "gcp": gcp.launches}.get(kind, lambda config: ())
        problems = [line for rule in (*rules_of(kind), launches) for line in rule(whole)] + list(here(raw, ready=ready))
    return problems or list(aws.bootstrap(raw) if kind == "aws" else _ray_says(raw))
