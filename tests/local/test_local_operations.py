"""Every operation of the service model is told from all others, whatever is in its path."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.model import ListShape, MapShape, Shape, StructureShape
from conftest import ONE_TRY, World

from airflow_omics.local import LocalHealthOmics
from airflow_omics.local.wire import service_model

OPERATIONS = list(service_model().operation_names)
SCOPE = {"Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/omics/aws4_request"}
TAGS = "/tags/arn:aws:omics:us-east-1:123456789012:sequenceStore/1234567890"


def made_up(shape: Shape, text: str) -> Any:
    """Make a value of this shape up, with this text wherever text is asked for and nothing that is optional."""
    if isinstance(shape, StructureShape):
        members = shape.members
        names = shape.required_members or (list(members)[:1] if shape.is_tagged_union else [])
        return {name: made_up(members[name], text) for name in names}
    if isinstance(shape, ListShape):
        return [made_up(shape.member, text)] * shape.metadata.get("min", 1)
    if isinstance(shape, MapShape):
        return {text: made_up(shape.value, text)}
    others = {"integer": 1, "long": 1, "float": 1.0, "double": 1.0, "boolean": True, "timestamp": 0, "blob": b"@read"}
    return others.get(shape.type_name, text.ljust(shape.metadata.get("min", 0), "x"))


def said(client: Any, operation: str, text: str) -> ClientError | None:
    """Call an operation with made-up parameters, and return its error."""
    shape = service_model().operation_model(operation).input_shape
    try:
        getattr(client, xform_name(operation))(**(made_up(shape, text) if shape else {}))
    except ClientError as error:
        return error
    return None


@pytest.fixture(scope="module")
def served() -> set[str]:
    with LocalHealthOmics() as local, pytest.raises(ClientError) as caught:
        local.client().list_workflows()
    return set(str(caught.value).partition("it serves ")[2].split(", "))


def test_operations_that_are_served_are_told(served: set[str]) -> None:
    assert {"CreateSequenceStore", "StartReadSetExportJob", "GetReadSetMetadata"} <= served < set(OPERATIONS)


@pytest.mark.parametrize(
    "text",
    ["1234567890", "arn:aws:omics:us-east-1:123456789012:sequenceStore/1234567890", "a b/../c%2Fd?e#f+ünï/metadata"],
    ids=["digits", "an ARN", "anything"],
)
def test_every_operation_is_named_rightly(world: World, served: set[str], text: str) -> None:
    client = world.local.client("omics", **ONE_TRY)
    for operation in OPERATIONS:
        error = said(client, operation, text)
        assert world.local.calls()[-1]["operation"] == operation
        if operation not in served:
            assert error is not None
            assert error.response["Error"]["Code"] == "NotSupportedOperationException", operation
            assert f"does not serve {operation};" in str(error)
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 405


def test_a_path_is_decoded_once(world: World) -> None:
    said(world.omics, "ListTagsForResource", "arn:a%2Fb/c")
    said(world.omics, "GetReadSetMetadata", "100%25/000")
    calls = world.local.calls()[-2:]
    assert calls[0]["parameters"] == {"resourceArn": "arn:a%2Fb/c"}
    assert calls[1]["parameters"] == {"sequenceStoreId": "100%25/000", "id": "100%25/000"}


@pytest.mark.parametrize("path", [TAGS, TAGS.replace("/1", "%2F1"), TAGS.replace(":", "%3A") + "?x=/y"])
def test_an_arn_is_found_however_it_is_sent(world: World, path: str) -> None:
    request = urllib.request.Request(world.local.endpoint_url + path, headers=SCOPE)
    with pytest.raises(urllib.error.HTTPError, match="405"):
        urllib.request.urlopen(request)
    call = world.local.calls()[-1]
    assert (call["operation"], call["parameters"]) == (
        "ListTagsForResource",
        {"resourceArn": TAGS.removeprefix("/tags/")},
    )
