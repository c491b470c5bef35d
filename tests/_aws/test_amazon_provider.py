"""The private parts of the Amazon provider that are used are there, and do what they are used for."""

from __future__ import annotations

from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
from botocore.config import Config
from conftest import ONE_TRY, World

from airflow_omics._aws.amazon_provider import AmazonHook
from airflow_omics.hooks import OmicsHook


def test_the_client_and_the_connection_are_cached_and_can_be_forgotten(world: World) -> None:
    hook: Any = OmicsHook(config=ONE_TRY)
    assert (hook._made_client, hook._read_config) == (None, None)
    client = hook.conn
    assert hook._made_client is client is hook.conn
    assert hook._read_config is hook.conn_config
    assert hook._forget() is client
    assert (hook._made_client, hook._read_config) == (None, None)
    assert hook.conn is not client


def test_all_clients_take_the_configuration_that_the_connection_is_given(world: World) -> None:
    hook: Any = AmazonHook(aws_conn_id="aws_default", client_type="omics")
    hook._configure(Config(read_timeout=7))
    assert hook.get_client_type().meta.config.read_timeout == 7


def test_the_configuration_that_a_hook_was_made_with(world: World) -> None:
    config = Config(read_timeout=7)
    assert OmicsHook(config=config)._given_config is config
    assert OmicsHook()._given_config is None


def test_who_calls_is_found_by_methods_that_the_provider_has() -> None:
    for name in ("_find_operator_class_name", "_find_executor_class_name"):
        assert callable(getattr(AwsGenericHook, name))
    assert AmazonHook._find_operator_class_name("execute") is None


def test_a_task_that_calls_is_named(world: World) -> None:
    class Caller:
        def execute(self) -> str | None:
            return AmazonHook._find_operator_class_name("execute")

    assert Caller().execute() == "Caller"
