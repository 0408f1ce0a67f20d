"""Makes the schemas: `python -m tests.kustomize.schemas --source TEXT FILE…`.

A FILE is a list of custom resource definitions as `kubectl get crd -o json` prints it. TEXT says where it is from, with
the version; each schema keeps it as `x-source`.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from tests.kustomize.schemas import FOLDER, file_name

Schema = dict[str, Any]

KINDS = {
    "barmancloud.cnpg.io": ("ObjectStore",),
    "cert-manager.io": ("Certificate", "ClusterIssuer", "Issuer"),
    "gateway.networking.k8s.io": ("Gateway", "GatewayClass", "HTTPRoute", "ReferenceGrant"),
    "monitoring.coreos.com": (
        "Alertmanager",
        "PodMonitor",
        "Prometheus",
        "PrometheusRule",
        "ScrapeConfig",
        "ServiceMonitor",
    ),
    "postgresql.cnpg.io": ("Backup", "Cluster", "Database", "Pooler", "ScheduledBackup"),
}
_KEPT = (
    "type",
    "enum",
    "required",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
)
_WORTH_SHARING = 160  # characters of a part that occurs more than once


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.kustomize.schemas", description=__doc__)
    parser.add_argument("--source", required=True, help="where the definitions are from, with their version")
    parser.add_argument("files", nargs="+", type=Path)
    arguments = parser.parse_args()
    for file in arguments.files:
        for (api_version, kind), schema in sorted(from_definitions(file.read_text()).items()):
            document = {"x-source": arguments.source} | _shared(schema)
            target = FOLDER / file_name(api_version, kind)
            target.write_text(json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n")
            print(target.name, target.stat().st_size)


def from_definitions(text: str) -> dict[tuple[str, str], Schema]:
    """The schemas of the newest served version of each definition in a list, by apiVersion and kind."""
    found = {}
    for definition in json.loads(text)["items"]:
        spec = definition["spec"]
        if spec["names"]["kind"] not in KINDS.get(spec["group"], ()):
            continue
        version = next(version for version in spec["versions"] if version["served"])  # they stand newest first
        schema = compact(version["schema"]["openAPIV3Schema"])
        found[(f"{spec['group']}/{version['name']}", spec["names"]["kind"])] = _as_object(schema)
    return found


def compact(schema: Schema) -> Schema:
    """A structural schema of Kubernetes as a JSON schema that refuses what it does not name."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    kept: Schema = {key: schema[key] for key in _KEPT if key in schema}
    if "pattern" in schema and _is_regular(schema["pattern"]):
        kept["pattern"] = schema["pattern"]
    if "items" in schema:
        kept["items"] = compact(schema["items"])
    if "properties" in schema:
        kept["properties"] = {name: compact(value) for name, value in schema["properties"].items()}
    if isinstance(schema.get("additionalProperties"), dict):
        kept["additionalProperties"] = compact(schema["additionalProperties"])
    elif "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        kept["additionalProperties"] = False
    if schema.get("nullable") and isinstance(kept.get("type"), str):
        kept["type"] = [kept["type"], "null"]
    return kept


def _is_regular(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _as_object(schema: Schema) -> Schema:
    """The schema of a whole object, as people write it: Kubernetes itself judges metadata, and writes the status."""
    properties = {name: value for name, value in schema["properties"].items() if name != "status"}
    properties |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    required = sorted({*schema.get("required", ()), "apiVersion", "kind", "metadata"})
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _shared(schema: Schema) -> Schema:
    """The schema with parts that occur several times written once, under $defs."""
    counts: Counter[str] = Counter()

    def count(part: Any) -> None:
        if isinstance(part, dict):
            if "type" in part and isinstance(part.get("type"), str | list):
                text = json.dumps(part, sort_keys=True)
                counts[text] += 1
                if counts[text] > 1 and len(text) >= _WORTH_SHARING:
                    return
            for value in part.values():
                count(value)

    count(schema)
    names: dict[str, str] = {}
    definitions: Schema = {}

    def replaced(part: Any, *, whole: bool = False) -> Any:
        if not isinstance(part, dict):
            return part
        text = json.dumps(part, sort_keys=True)
        if not whole and counts[text] > 1 and len(text) >= _WORTH_SHARING:
            if text not in names:
                names[text] = f"d{len(names)}"
                definitions[names[text]] = replaced(part, whole=True)
            return {"$ref": f"#/$defs/{names[text]}"}
        return {key: replaced(value) for key, value in part.items()}

    done = replaced(schema, whole=True)
    return done | ({"$defs": definitions} if definitions else {})


if __name__ == "__main__":
    main()
