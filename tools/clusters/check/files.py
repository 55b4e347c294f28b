"""Cluster file -> problems, one line each, without any network.

Runs Ray's own defaults and schema; on AWS also Ray's bootstrap (``aws.py``), on Google Cloud a comparison of the launch request with the API's
description (``gcp.py``). Then applies this project's rules (``rules.py``, ``kuberay.py``).
"""

import contextlib
import copy
import io
import json
from collections.abc import Iterator
from pathlib import Path

import yaml

from tools.clusters.check import aws, gcp, kuberay
from tools.clusters.check.rules import KINDS, TYPES, inline_scripts, rules_for, strings

_PLACEHOLDERS = ("0123456789abcdef0", "123456789012", "your-", "192.0.2.")


def _placeholders_left(config: dict) -> Iterator[str]:
    places = {text: where for where, text in strings(config) if any(placeholder in text for placeholder in _PLACEHOLDERS)}
    for text, where in places.items():
        yield f"{where}: {text} is a placeholder; replace it with your own value"


def check_local_files(config: dict, *, ready: bool) -> Iterator[str]:
    """Check that the files which ``ray up`` reads are on this machine; with ``ready`` also the owner's files and placeholders."""
    for local in (config.get("file_mounts") or {}).values():
        personal = local.startswith(("~", "/"))
        if (ready or not personal) and not Path(local).expanduser().exists():  # relative to the working directory of `ray up`
            remedy = (
                "create it with `ray get-auth-token --generate`"
                if local.endswith("auth_token")
                else "run this, and `ray up`, in the project's folder"
            )
            yield f"file_mounts: {local} not found; {remedy}"
    key = (config.get("auth") or {}).get("ssh_private_key")
    if ready and key and not Path(key).expanduser().exists():
        yield f"auth.ssh_private_key: {key} not found; leave the key out and Ray creates one"
    yield from _placeholders_left(config) if ready else ()


def _schema_problems(config: dict) -> Iterator[str]:
    import ray.autoscaler
    from jsonschema.validators import validator_for

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    for error in validator_for(schema)(schema).iter_errors(config):
        yield f"{'.'.join(map(str, error.absolute_path)) or 'file'}: {error.message[:200]}; see Ray's cluster YAML reference"


def _ray_problems(config: dict) -> Iterator[str]:
    """Yield what Ray's validation finds, for files that need no bootstrap."""
    from ray.autoscaler._private import util

    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            util.validate_config(util.prepare_config(copy.deepcopy(config)))
    except Exception as error:  # Ray raises many types; each is a problem of the file
        yield f"ray up: {' '.join(str(error).split())[:300]}; see Ray's cluster YAML reference"


def check(path: Path, *, ready: bool = False) -> list[str]:
    """Return all problems of one file, one line each; empty if ``ray up`` (or KubeRay) would proceed to start machines."""
    try:
        raw = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        return [f"file: {' '.join(str(error).split())}; fix this first"]
    if isinstance(raw, dict) and raw.get("kind") == "RayJob":
        return [*kuberay.check(raw), *(_placeholders_left(raw) if ready else ())]
    kind = (raw.get("provider") or {}).get("type") if isinstance(raw, dict) else None
    if kind not in KINDS:
        return [f"provider.type: is not one of {', '.join(KINDS)}; no other provider is supported"]
    for key in ("max_workers", *((TYPES, "head_node_type") if kind != "local" else ())):
        if key not in raw:
            return [f"{key}: is missing; set it, Ray's default does not fit"]
    # Ray's schema covers a local file only after Ray has expanded it.
    problems = list(_schema_problems(raw)) if kind != "local" else list(_ray_problems(raw))
    if not problems and kind != "local" and raw["head_node_type"] not in raw[TYPES]:
        problems = [f"head_node_type: {raw['head_node_type']} is not one of {TYPES}; name one of {', '.join(raw[TYPES])}"]
    if not problems:
        inlined = inline_scripts(raw)
        launch_rule = {"aws": aws.check_launch_request, "gcp": gcp.check_launch_request}.get(kind, lambda config: ())
        problems = [line for rule in (*rules_for(kind), launch_rule) for line in rule(inlined)] + list(check_local_files(raw, ready=ready))
    return problems or list(aws.run_bootstrap(raw) if kind == "aws" else _ray_problems(raw))
