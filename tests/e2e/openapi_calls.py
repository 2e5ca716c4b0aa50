"""Calls made from an OpenAPI by schemathesis: each route by itself, and on from one answer to the next by its links."""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis.errors import Unsatisfiable
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)


@schemathesis.serializer("application/jsonl")
def lines(_: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


class Judge:
    """Makes calls for a caller, and holds the answers against the OpenAPI; ``faults`` is what went wrong, as texts."""

    def __init__(self, url: str, credential: str | None) -> None:
        self.faults: set[str] = set()
        self._url, self._is_known = url, credential is not None
        self._headers = {} if credential is None else {"authorization": f"Bearer {credential}"}
        self.schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        self.operations = {each.label: each for each in map(_sound, self.schema.get_all_operations())}
        self._closed = {label for label, each in self.operations.items() if "401" in each.definition.raw["responses"]}

    def call(self, case: Any) -> Any:
        """Make a call, and judge its answer."""
        answer = case.call(base_url=self._url, headers=self._headers, timeout=60)
        where = f"{case.operation.label} {answer.status_code}: {answer.content[:300]!r}"
        if answer.status_code >= 500:
            self.faults.add(f"server error: {where}")
        if answer.status_code >= 400:
            body = answer.json()
            if body.get("status") != answer.status_code or not body["type"].startswith("urn:docex:problem:"):
                self.faults.add(f"no problem document: {where}")
        # A path that no route has (with a line break in it) is answered before anybody is asked who calls.
        nowhere = answer.status_code == 404 and answer.json()["detail"] == "Not Found"
        is_closed = not self._is_known and case.operation.label in self._closed
        if is_closed and answer.status_code not in (401, 422, 400) and not nowhere:
            self.faults.add(f"no authentication: {where}")
        try:
            case.validate_response(answer, checks=CHECKS)
        except BaseExceptionGroup as group:
            self.faults.update(f"{type(each).__name__} {each}: {where}"[:900] for each in group.exceptions)
        except Exception as error:
            self.faults.add(f"{type(error).__name__} {error}: {where}"[:900])
        return answer


def _sound(found: Any) -> Any:
    assert isinstance(found, Ok), found
    return found.ok()


def examples(operation: Any, mode: Any, count: int) -> list[Any]:
    """Calls of a route, the same ones each time; none where nothing can be wrong, and that is wanted."""
    made: list[Any] = []
    settings: Any = hypothesis.settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )

    def keep(case: Any) -> None:
        made.append(case)

    with suppress(Unsatisfiable):
        wrap: Any = hypothesis.given(operation.as_strategy(generation_mode=mode))
        settings(wrap(keep))()
    return made


def try_all(judge: Judge, count: int) -> None:
    """Call every route as the OpenAPI has it, and as it has it not."""
    for operation in judge.operations.values():
        for mode in MODES:
            for case in examples(operation, mode, count):
                judge.call(case)


@dataclass(frozen=True)
class Link:
    """A link of the OpenAPI."""

    source: str
    target: str
    parameters: Mapping[str, str]
    body: Any

    def __str__(self) -> str:
        return f"{self.source} > {self.target}"


@dataclass
class Walk:
    """Goes from answers to the calls that their links lead to, as the caller of the first of its judges.

    All others make each of its calls after it, with the same ids. ``bodies`` are for what no example can know.
    """

    judges: Sequence[Judge]
    bodies: Mapping[str, Mapping[str, Any]]
    variants: int
    """Calls of each kind with all that they may take, besides one with as little as there can be."""
    followed: set[str] = field(default_factory=set)
    """Links that led to a success."""
    _last: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    _made: dict[str, list[Any]] = field(default_factory=dict)
    _begun: list[str] = field(default_factory=list)

    @property
    def operations(self) -> Mapping[str, Any]:
        return self.judges[0].operations

    def links(self) -> Iterator[Link]:
        """All that there are."""
        labels = {each.definition.raw["operationId"]: label for label, each in self.operations.items()}
        for label, operation in self.operations.items():
            for response in operation.definition.raw["responses"].values():
                for link in response.get("links", {}).values():
                    target = labels[link["operationId"]]
                    yield Link(label, target, link.get("parameters", {}), link.get("requestBody"))

    def run(self, rounds: int) -> None:
        """Begin at what needs nothing, and follow each link in each round, in an order that is the same each time."""
        order, links = random.Random(1), list(self.links())
        for _ in range(rounds):
            for label in sorted({each.source for each in links}):
                self._begin(label)
            order.shuffle(links)
            for link in sorted(links, key=_is_end):
                if _is_end(link):
                    self._begin(link.source)  # what it named may be gone
                self._follow(link)

    def _begin(self, label: str) -> None:
        if "{" not in label or label.endswith("/documents/{path}"):
            self._go(label, {"path": f"lots/17/{len(self._begun)}"}, self.bodies.get(label))
            self._begun.append(label)

    def _follow(self, link: Link) -> None:
        if link.source not in self._last:
            return
        case, answer = self._last[link.source]
        values = {name: _value(expression, case, answer) for name, expression in link.parameters.items()}
        body = _value(link.body, case, answer)
        if None in values.values():
            return
        if self._go(link.target, values, body):
            self.followed.add(str(link))

    def _go(self, label: str, values: Mapping[str, Any], body: Any) -> bool:
        """Call a route with these values and nothing else, and with all else that it takes; whether one succeeded."""
        operation = self.operations[label]
        if body is not None:
            body = {**body, **self.bodies.get(label, {})}
        good = False
        for pattern in [None, *self._examples(label)]:
            case = _filled(operation, pattern, values, body)
            answer, *_ = [each.call(case) for each in self.judges]
            if answer.status_code < 300:
                good = True
                self._last[label] = case, answer
        return good

    def _examples(self, label: str) -> list[Any]:
        if label not in self._made:
            wanted = schemathesis.GenerationMode.POSITIVE
            self._made[label] = examples(self.operations[label], wanted, self.variants) if self.variants else []
        return self._made[label]


def _is_end(link: Link) -> bool:
    return link.target.startswith("DELETE ")


def _filled(operation: Any, pattern: Any, values: Mapping[str, Any], body: Any) -> Any:
    """A call with these values, and all others as in the pattern."""
    said: dict[str, Any] = {"path_parameters": {}, "query": {}, "headers": {}}
    if pattern is not None:
        said = {name: dict(getattr(pattern, name)) for name in said}
        said |= {"body": pattern.body, "media_type": pattern.media_type}
    elif "requestBody" in operation.definition.raw:
        said |= {"body": b"content", "media_type": "application/octet-stream"}
    for each in operation.definition.raw.get("parameters", []):
        place = said["path_parameters" if each["in"] == "path" else "query"]
        if each["name"] in values:
            place[each["name"]] = values[each["name"]]
        elif each["name"] == "limit":
            place["limit"] = 1  # so that there is a page behind
    if body is not None:
        said |= {"body": body, "media_type": "application/json"}
    return operation.Case(**said)


def _value(expression: Any, case: Any, answer: Any) -> Any:
    """What a runtime expression stands for, or all those within; None where there is nothing."""
    if isinstance(expression, dict):
        return {name: _value(each, case, answer) for name, each in expression.items()}
    if isinstance(expression, list):
        return [_value(each, case, answer) for each in expression]
    if not isinstance(expression, str) or not expression.startswith("$"):
        return expression
    if expression.startswith("$request.path."):
        return case.path_parameters[expression.removeprefix("$request.path.")]
    found = answer.json()
    for step in expression.removeprefix("$response.body#/").split("/"):
        if isinstance(found, list):
            found = found[int(step)] if int(step) < len(found) else None
        else:
            found = found.get(step) if found else None
    return found
