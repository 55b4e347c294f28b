"""Google Cloud cluster file -> what Compute Engine would reject, without any network.

Compares ``node_config``, which Ray's schema does not cover, with the API's description that comes with Google's client. The description lists
neither machine types nor images, and has no rules between fields; those are in ``gcp_machines.py``.
"""

import functools
import json
from collections.abc import Iterator

from tools.clusters.check.gcp_machines import check_machines
from tools.clusters.check.rules import node_types

_SCALARS = {"string": str, "boolean": bool, "integer": int, "number": (int, float)}


@functools.cache
def _schemas() -> dict[str, dict]:
    from googleapiclient.discovery_cache import get_static_doc

    document = get_static_doc("compute", "v1")
    assert document is not None, "google-api-python-client has no description of compute v1"
    return json.loads(document)["schemas"]


def check_launch_request(config: dict) -> Iterator[str]:
    """Yield what Compute Engine's instances.insert would reject."""
    region, zone = (config["provider"].get(key) or "" for key in ("region", "availability_zone"))
    if not zone.startswith(f"{region}-"):
        yield f"provider.availability_zone: {zone} is not in {region}; name a zone of that region"
    if not config["provider"].get("project_id"):
        yield "provider.project_id: is missing; name your project"
    for where, node, settings, head in node_types(config):
        if not head and not node["resources"]:
            yield f"{where}.resources: is empty; set CPU, GPU and memory, Ray has no list of Google's machine types"
        for line in _check_value(settings, {"$ref": "Instance"}, f"{where}.node_config"):
            yield f"{line}; see Compute Engine's instances.insert"
    yield from check_machines(config)


def _check_value(value: object, schema: dict, where: str) -> Iterator[str]:
    """Yield how a value differs from its schema."""
    if "$ref" in schema:
        schema = _schemas()[schema["$ref"]]
    if schema["type"] == "object":
        if not isinstance(value, dict):
            yield f"{where}: is not a mapping"
            return
        properties, additional = schema.get("properties", {}), schema.get("additionalProperties")
        for key, inner in value.items():
            inner_schema = properties.get(key, additional)
            if inner_schema is None:
                yield f"{where}.{key}: is unknown"
            else:
                yield from _check_value(inner, inner_schema, f"{where}.{key}")
    elif schema["type"] == "array":
        if not isinstance(value, list):
            yield f"{where}: is not a list"
            return
        for inner in value:
            yield from _check_value(inner, schema["items"], where)
    elif schema["type"] in _SCALARS and (not isinstance(value, _SCALARS[schema["type"]]) and schema.get("format") not in ("int64", "uint64")):
        yield f"{where}: {value} is not of type {schema['type']}"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value} is not one of {', '.join(schema['enum'])}"
