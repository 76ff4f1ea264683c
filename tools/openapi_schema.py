"""Check values against the schemas of an OpenAPI 3.0 description: as much of it as ours use."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


@dataclass(frozen=True, slots=True)
class Description:
    """A description, as JSON."""

    document: Mapping[str, Any]

    @classmethod
    def load(cls, path: Path) -> "Description":
        """Read it from a file."""
        return cls(json.loads(path.read_text(encoding="utf-8")))

    def request_faults(self, path: str, method: str, body: object) -> list[str]:
        """What is wrong with the body of a request to `path`, a template of the description."""
        operation = self.document["paths"][path][method]
        if "requestBody" not in operation:
            return [] if body is None else ["a body where there is none"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        return list(self._faults(schema, body, "body"))

    def answer_faults(self, path: str, method: str, status: int, body: object) -> list[str]:
        """What is wrong with an answer."""
        responses = self.document["paths"][path][method]["responses"]
        if str(status) not in responses:
            return [f"status {status}"] if status < 400 else []  # noqa: PLR2004 - refusals are free
        content = responses[str(status)].get("content")
        if content is None:
            return []
        return list(self._faults(content["application/json"]["schema"], body, "answer"))

    def _faults(self, schema: Mapping[str, Any], value: object, where: str) -> Iterator[str]:
        if "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        if value is None:
            if not schema.get("nullable") and "type" in schema:
                yield f"{where} is null"
            return
        if "oneOf" in schema:
            if all(list(self._faults(choice, value, where)) for choice in schema["oneOf"]):
                yield f"{where} is none of its choices"
            return
        yield from _value_faults(schema, value, where)
        if isinstance(value, dict):
            yield from self._object_faults(schema, value, where)
        if isinstance(value, list):
            for number, each in enumerate(value):
                yield from self._faults(schema.get("items", {}), each, f"{where}[{number}]")

    def _object_faults(
        self, schema: Mapping[str, Any], value: Mapping[str, Any], where: str
    ) -> Iterator[str]:
        properties = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{where}.{name} is missing"
        for name, each in value.items():
            if name in properties:
                yield from self._faults(properties[name], each, f"{where}.{name}")
            elif properties:
                yield f"{where}.{name} is unknown"


def _value_faults(schema: Mapping[str, Any], value: object, where: str) -> Iterator[str]:
    kind = schema.get("type")
    if kind is not None:
        is_flag = isinstance(value, bool)
        if not isinstance(value, TYPES[kind]) or is_flag != (kind == "boolean"):
            yield f"{where} is no {kind}"
            return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where} is not one of {schema['enum'][:5]}"
    if isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            yield f"{where} has {len(value)} characters"
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{where} does not look like {schema['pattern']}"
