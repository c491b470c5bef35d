"""HealthOmics' wire protocol, read from the service model that botocore ships."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

import regex
from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape
from botocore.utils import parse_timestamp
from werkzeug.wrappers import Request, Response

_NUMBERS = {"integer": int, "long": int, "float": int | float, "double": int | float}
_TYPES = {
    "structure": dict,
    "map": dict,
    "list": list,
    "string": str,
    "boolean": bool,
    "timestamp": datetime,
    **_NUMBERS,
}


class ServiceError(Exception):
    """
    An error that the service answers with.

    :param code: A shape of the service model, such as ``ValidationException``, or a code common to all AWS services.
    :param http_status: For a code that the service model does not have.
    """

    def __init__(self, code: str, message: str, http_status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.http_status = http_status


@dataclass(frozen=True)
class _Route:
    method: str
    path: re.Pattern[str]
    literal_parts: int
    operation: OperationModel


@cache
def service_model() -> ServiceModel:
    """Return the model of HealthOmics, from botocore's data; parsing it takes about a tenth of a second."""
    return ServiceModel(Loader().load_service_model("omics", "service-2"), "omics")


@cache
def error_codes() -> Mapping[str, int]:
    """Return the errors of the service model, each with its HTTP status."""
    model = service_model()
    shapes = (model.shape_for(name) for name in model.shape_names)
    return {
        shape.name: shape.metadata["error"]["httpStatusCode"] for shape in shapes if shape.metadata.get("exception")
    }


@cache
def _routes() -> list[_Route]:
    model = service_model()
    routes = []
    for name in model.operation_names:
        operation = model.operation_model(name)
        parts = operation.http["requestUri"].split("?")[0].split("/")
        literal = [not part.startswith("{") for part in parts]
        pattern = "/".join(
            re.escape(part) if is_literal else _label(part.strip("{+}"))
            for part, is_literal in zip(parts, literal, strict=True)
        )
        routes.append(_Route(operation.http["method"], re.compile(pattern), sum(literal), operation))
    return sorted(routes, key=lambda route: -route.literal_parts)


def _label(name: str) -> str:
    """Match a parameter in a path. An ARN has slashes, which not all clients encode."""
    return f"(?P<{name}>{'.+' if name.endswith('Arn') else '[^/]+'})"


def find_operation(method: str, path: str) -> tuple[OperationModel, dict[str, str]]:
    """
    Return the operation that a request calls, with the parameters in its path.

    :param path: As it was sent, percent-encoded: decoded, a slash within a parameter would look like one beside it.
    """
    for route in _routes():
        if route.method == method and (match := route.path.fullmatch(path)):
            return route.operation, {name: unquote(value) for name, value in match.groupdict().items()}
    raise ServiceError("UnknownOperationException", f"HealthOmics has no operation {method} {path}", 404)


def read_parameters(
    operation: OperationModel, request: Request, in_path: Mapping[str, str], maxima: Mapping[str, int | None]
) -> dict[str, Any]:
    """
    Collect a request's parameters and check them against the service model.

    :param maxima: Lengths that replace the model's maxima, by the shape's name; None for no maximum.
    """
    shape = operation.input_shape
    if shape is None:
        return {}
    try:
        body = json.loads(request.get_data() or b"{}")
    except ValueError:
        raise ServiceError("ValidationException", "The request body is not JSON") from None
    if not isinstance(body, dict):
        raise ServiceError("ValidationException", "The request body is not a JSON object")
    values: dict[str, Any] = {}
    for name, member in shape.members.items():
        wire_name = member.serialization.get("name", name)
        match member.serialization.get("location"):
            case "uri":
                value = in_path.get(wire_name)
            case "querystring":
                value = _from_text(member, request.args.get(wire_name))
            case _:
                value = body.get(wire_name)
        if value is not None:
            values[name] = _parse_times(member, value)
    problems = list(_problems(shape, values, "", maxima))
    if problems:
        plural = "" if len(problems) == 1 else "s"
        raise ServiceError(
            "ValidationException", f"{len(problems)} validation error{plural} detected: {'; '.join(problems)}"
        )
    return values


def write_response(operation: OperationModel, values: Mapping[str, Any], patch: Mapping[str, Any] | None) -> Response:
    """
    Render a response; members that are None are left out.

    :param patch: Members to replace, unchecked: what a fault makes the service say. None takes a member away.
    """
    body = _without_none(values)
    if operation.output_shape is not None:
        problems = list(_problems(operation.output_shape, body, "", {}))
        if problems:
            raise AssertionError(f"Local HealthOmics made a bad {operation.name} response: {problems}")
    if patch is not None:
        body = _without_none(body | dict(patch))
    return Response(json.dumps(body, default=_json), mimetype="application/json")


def write_error(error: ServiceError, request_id: str) -> Response:
    """Render an error in the form of the model's protocol (rest-json)."""
    return Response(
        json.dumps({"message": error.message}),
        status=error_codes().get(error.code, error.http_status),
        headers={"x-amzn-ErrorType": error.code, "x-amzn-RequestId": request_id},
        mimetype="application/json",
    )


def write_xml_error(error: ServiceError) -> Response:
    """Render an error in a form that clients of S3 and of STS read."""
    text = f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
    body = f"<ErrorResponse><Error>{text}</Error></ErrorResponse>"
    return Response(body, status=error.http_status, mimetype="text/xml")


def _from_text(shape: Shape, text: str | None) -> Any:
    if text is not None and shape.type_name in _NUMBERS:
        try:
            return int(text)
        except ValueError:
            return text
    return text


def _parse_times(shape: Shape, value: Any) -> Any:
    """Turn the timestamps in a request into datetimes; what cannot be read stays, for the check to find."""
    if shape.type_name == "timestamp" and isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            time = parse_timestamp(value)  # type: ignore[arg-type]
        except ValueError:
            return value
        return time if time.tzinfo else time.replace(tzinfo=UTC)
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        return {k: _parse_times(shape.members[k], v) if k in shape.members else v for k, v in value.items()}
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [_parse_times(shape.member, element) for element in value]
    return value


def _problems(shape: Shape, value: Any, where: str, maxima: Mapping[str, int | None]) -> Iterator[str]:
    """Yield what is wrong with a value, in the words that AWS services use."""
    if not _has_type(shape, value):
        yield f"Value at '{where}' is not a {shape.type_name}"
        return
    yield from _limit_problems(shape, value, where, maxima)
    if isinstance(shape, StructureShape):
        for name in shape.required_members:
            if value.get(name) is None:
                yield f"Value null at '{_join(where, name)}' failed to satisfy constraint: Member must not be null"
        for name, member in shape.members.items():
            if value.get(name) is not None:
                yield from _problems(member, value[name], _join(where, name), maxima)
    elif isinstance(shape, ListShape):
        for number, element in enumerate(value, 1):
            yield from _problems(shape.member, element, f"{where}.{number}.member", maxima)
    elif isinstance(shape, MapShape):
        for key, element in value.items():
            yield from _problems(shape.key, key, f"{where} key", maxima)
            yield from _problems(shape.value, element, _join(where, key), maxima)


def _limit_problems(shape: Shape, value: Any, where: str, maxima: Mapping[str, int | None]) -> Iterator[str]:
    said = f"Value '{value!s:.200}' at '{where}' failed to satisfy constraint: Member must"
    if shape.type_name in ("string", "list", "map", *_NUMBERS):
        is_number = shape.type_name in _NUMBERS
        size, have = (value, "be") if is_number else (len(value), "have length")
        least, most = shape.metadata.get("min"), maxima.get(shape.name, shape.metadata.get("max"))
        if least is not None and size < least:
            yield f"{said} {have} greater than or equal to {least}"
        if most is not None and size > most:
            yield f"{said} {have} less than or equal to {most}"
    if shape.type_name == "string":
        enum, pattern = shape.metadata.get("enum"), shape.metadata.get("pattern")
        if enum and value not in enum:
            yield f"{said} satisfy enum value set: [{', '.join(enum)}]"
        if pattern and not _compiled(pattern).fullmatch(value):
            yield f"{said} satisfy regular expression pattern: {pattern}"


def _has_type(shape: Shape, value: Any) -> bool:
    expected = _TYPES.get(shape.type_name, object)
    return isinstance(value, expected) and not (isinstance(value, bool) and shape.type_name in _NUMBERS)


@cache
def _compiled(pattern: str) -> Any:
    return regex.compile(pattern)  # the model's patterns use \p{L}, which the standard library's re does not know


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(element) for key, element in value.items() if element is not None}
    if isinstance(value, list):
        return [_without_none(element) for element in value]
    return value


def _json(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    raise TypeError(f"{value!r} cannot be sent")
