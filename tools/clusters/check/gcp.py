"""A Google Cloud cluster file's content in, what Compute Engine would refuse out; without any network.

What a machine is asked for is held against the interface's own description, which Google's client brings along; Ray's schema does not look
into ``node_config``. It knows neither machine types nor images.
"""

import functools
import json
from collections.abc import Iterator

from tools.clusters.check.rules import nodes

_PLAIN = {"string": str, "boolean": bool, "integer": int, "number": (int, float)}


@functools.cache
def _schemas() -> dict[str, dict]:
    from googleapiclient.discovery_cache import get_static_doc

    return json.loads(get_static_doc("compute", "v1"))["schemas"]


def launches(config: dict) -> Iterator[str]:
    """What Compute Engine's call that makes machines would refuse."""
    region, zone = (config["provider"].get(key) or "" for key in ("region", "availability_zone"))
    if not zone.startswith(f"{region}-"):
        yield f"provider.availability_zone: {zone} is not in {region}; name a zone of that region"
    if not config["provider"].get("project_id"):
        yield "provider.project_id: is missing; name your project"
    for where, node, settings, head in nodes(config):
        if not head and not node["resources"]:
            yield f"{where}.resources: is empty; Ray does not know Google's machine types, state CPU and GPU"
        for line in _differences(settings, {"$ref": "Instance"}, f"{where}.node_config"):
            yield f"{line}; see Compute Engine's instances.insert"


def _differences(value: object, kind: dict, where: str) -> Iterator[str]:
    """What of a value does not fit its description."""
    if "$ref" in kind:
        kind = _schemas()[kind["$ref"]]
    if kind["type"] == "object":
        if not isinstance(value, dict):
            yield f"{where}: is no mapping"
            return
        known, others = kind.get("properties", {}), kind.get("additionalProperties")
        for key, inner in value.items():
            if key not in known and others is None:
                yield f"{where}.{key}: is unknown"
            else:
                yield from _differences(inner, known.get(key) or others, f"{where}.{key}")
    elif kind["type"] == "array":
        if not isinstance(value, list):
            yield f"{where}: is no list"
            return
        for inner in value:
            yield from _differences(inner, kind["items"], where)
    elif kind["type"] in _PLAIN and (not isinstance(value, _PLAIN[kind["type"]]) and kind.get("format") not in ("int64", "uint64")):
        yield f"{where}: {value} is no {kind['type']}"
    elif "enum" in kind and value not in kind["enum"]:
        yield f"{where}: {value} is none of {', '.join(kind['enum'])}"
