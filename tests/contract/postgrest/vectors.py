"""The cases of PostgREST's test suite as requests and what must come back.

How values are computed and compared is left to the functions of the runner that comes with the
cases, `../shared/postgrest/run_vectors.py`, so that both judge alike.
"""

from __future__ import annotations

import base64
import http.client
import importlib.util
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from tests.contract.postgrest.fixtures import SHARED

TIMEOUT_S = 20.0
BODY_CHARACTERS_MAX = 400


@dataclass(frozen=True, slots=True)
class Vector:
    """A case: requests in order, all of which must be answered as expected."""

    id: str
    tier: str
    config: str
    """What differs from the base configuration, as JSON with sorted keys."""
    commits: bool
    """Whether it changes the database for others."""
    needs: tuple[str, ...]
    path: tuple[str, ...]
    steps: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, list[str]]
    """By lower-case name."""
    body: bytes

    def __getitem__(self, name: str) -> Any:
        """What the runner's functions ask for by name."""
        return getattr(self, name)

    def __str__(self) -> str:
        return f"{self.status} {self.body[:BODY_CHARACTERS_MAX].decode('utf-8', 'replace')}"


@cache
def base_config() -> Mapping[str, Any]:
    """The configuration from which those of the cases differ."""
    config: Mapping[str, Any] = _file()["summary"]["base_config"]
    return config


@cache
def load_vectors() -> Sequence[Vector]:
    """All cases, those of the same configuration beside each other; none without the files."""
    if not SHARED.is_dir():
        return ()
    vectors = [_vector(raw, identity) for raw, identity in _identified(_file()["vectors"])]
    return sorted(vectors, key=lambda vector: (vector.commits, vector.config))


def find_difference(vector: Vector, url: str) -> str | None:
    """Make the requests of `vector` and say in what the answers differ; None when in nothing."""
    answers: list[Answer] = []
    for number, step in enumerate(vector.steps):
        answer = exchange(url, step["request"], answers)
        answers.append(answer)
        difference = _compare(step, answer)
        if difference is not None:
            request = step["request"]
            return f"step {number}, {request['method']} {request['target']}: {difference}"
    return None


def exchange(url: str, request: Mapping[str, Any], answers: Sequence[Answer] = ()) -> Answer:
    """Send a request byte for byte as it is written."""
    runner, parts = _runner(), urlsplit(url)
    target = "/" + runner.val(request["wire_target"], answers).removeprefix("/")
    body = _encode(request["body"])
    with closing(
        http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=TIMEOUT_S)
    ) as connection:
        connection.putrequest(
            request["method"],
            (parts.path + target).encode().decode("latin-1"),
            skip_accept_encoding=True,
        )
        for name, value in request["headers"]:
            if name.lower() not in {"host", "connection"}:
                connection.putheader(name, runner.val(value, answers).encode())
        if body is not None or request["method"] in {"POST", "PATCH", "PUT"}:
            connection.putheader("Content-Length", str(len(body or b"")))
        connection.endheaders(body)
        response = connection.getresponse()
        headers = defaultdict(list)
        for name, value in response.getheaders():
            headers[name.lower()].append(value)
        return Answer(response.status, headers, response.read())


def _compare(step: Mapping[str, Any], answer: Answer) -> str | None:
    runner, expected = _runner(), step["expect"]
    if expected.get("status", answer.status) != answer.status:
        return f"expected status {expected['status']}, got {answer}"
    if step["request"]["method"] != "HEAD" and not _is_body(expected.get("body"), answer.body):
        return f"expected {json.dumps(expected['body'], ensure_ascii=False)}, got {answer}"
    for check in expected.get("headers", ()):
        if not runner.hcheck(check, answer.headers):
            got = answer.headers.get(check.get("name", "").lower())
            return f"expected header {check}, got {got} with {answer}"
    for check in step["checks"]:
        if runner.check(check, answer) is False:
            return f"expected {check}, got {answer}"
    return None


def _is_body(expected: Mapping[str, Any] | None, body: bytes) -> bool:
    if expected is None:
        return True
    if "json" in expected:
        try:
            return bool(json.loads(body) == expected["json"])
        except ValueError:
            return False
    return body == _encode(expected)


def _encode(body: Mapping[str, Any] | None) -> bytes | None:
    if body is None:
        return None
    if "base64" in body:
        return base64.b64decode(body["base64"])
    if "json" in body:
        return json.dumps(body["json"], ensure_ascii=False).encode()
    return str(body["text"]).encode()


def _identified(raws: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Each case with an id of its own: the suite uses one of them twice."""
    seen: Counter[str] = Counter()
    for raw in raws:
        seen[raw["id"]] += 1
        times = seen[raw["id"]]
        yield raw, raw["id"] if times == 1 else f"{raw['id']}-{times}"


def _vector(raw: Mapping[str, Any], identity: str) -> Vector:
    return Vector(
        id=identity,
        tier=raw["tier"],
        config=json.dumps(raw["config"], sort_keys=True),
        commits=raw["commits"],
        needs=tuple(raw["needs"]),
        path=tuple(raw["path"]),
        steps=raw["steps"],
    )


@cache
def _file() -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads((SHARED / "vectors.json").read_text(encoding="utf-8"))
    return content


@cache
def _runner() -> ModuleType:
    found = importlib.util.spec_from_file_location("run_vectors", SHARED / "run_vectors.py")
    assert found is not None, "the runner lies beside its cases"
    assert found.loader is not None, "and is a Python file"
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
