"""What a client is made with: botocore's options, the CA bundle, and no passwords where they would be kept in plain."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from conftest import SENSORS, TaskInstance, World
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from secret_search import SECRET
from starting import operator
from test_arguments import ID
from versions import TaskDeferred

from airflow_omics._aws.settings import check_config, check_no_secrets, check_verify
from airflow_omics.exceptions import OmicsArgumentError
from airflow_omics.jobs import ReadSetJobKind

EXPORT = ReadSetJobKind.EXPORT
PROXY = f"http://user:{SECRET}@proxy:3128"
FLAGS = ["use_fips_endpoint", "use_dualstack_endpoint", "inject_host_prefix", "tcp_keepalive", "parameter_validation"]
FLAGS += ["ignore_configured_endpoint_urls", "disable_request_compression", "s3_disable_express_session_auth"]
TEXTS = ["region_name", "user_agent", "user_agent_extra", "user_agent_appid"]
WRONG: list[tuple[dict[str, Any], str]] = [
    *(({flag: "no"}, f"['{flag}'] is 'no'") for flag in FLAGS),
    *(({flag: 1}, f"['{flag}'] is 1") for flag in FLAGS),
    *(({name: text}, f"['{name}'] is ") for name in TEXTS for text in (5, "a\nb", "a\rb", "ü", "a" * 5000)),
    *(
        ({name: value}, f"['{name}'] is ")
        for name in ("connect_timeout", "read_timeout")
        for value in ("abc", "5", 0, -1, True, float("nan"), float("inf"), 1e9)
    ),
    *(({"max_pool_connections": value}, "['max_pool_connections'] is ") for value in (0, "5", 1.5, True, None)),
    ({"request_min_compression_size_bytes": -1}, "['request_min_compression_size_bytes'] is -1"),
    ({"signature_version": 4}, "['signature_version'] is 4"),
    ({"client_cert": 5}, "['client_cert'] is 5"),
    ({"client_cert": ["a", None]}, "['client_cert'] is "),
    ({"client_context_params": "a"}, "['client_context_params'] is 'a'"),
    ({"proxies": "proxy:3128"}, "['proxies'] is 'proxy:3128'"),
    ({"proxies": {"https": 3128}}, "['proxies']['https'] is 3128"),
    ({"proxies_config": {"proxy_use_forwarding_for_https": "no"}}, "['proxy_use_forwarding_for_https'] is 'no'"),
    ({"proxies_config": {"proxy_ca_bundle": True}}, "['proxies_config']['proxy_ca_bundle'] is True"),
    ({"retries": 5}, "['retries'] is 5"),
    ({"retries": {"max_attempts": "3"}}, "['retries']['max_attempts'] is '3'"),
    ({"retries": {"max_attempts": -1}}, "['retries']['max_attempts'] is -1"),
    ({"retries": {"total_max_attempts": 0}}, "['retries']['total_max_attempts'] is 0"),
    ({"retries": {"mode": "fast"}}, "['retries']['mode'] is 'fast'"),
    ({"s3": "path"}, "['s3'] is 'path'"),
    ({"s3": {"use_accelerate_endpoint": "no"}}, "['s3']['use_accelerate_endpoint'] is 'no'"),
]
RIGHT: list[dict[str, Any]] = [
    *({name: None} for name in Config.OPTION_DEFAULTS if name != "max_pool_connections"),
    *({flag: value} for flag in FLAGS for value in (True, False)),
    *({name: "us-east-1"} for name in TEXTS),
    {"connect_timeout": 5, "read_timeout": 0.5, "max_pool_connections": 5, "signature_version": UNSIGNED},
    {"signature_version": "v4", "client_cert": ("a.pem", "a.key"), "request_min_compression_size_bytes": 0},
    {"proxies": {"http": "http://proxy:3128", "https": None}, "proxies_config": {"proxy_ca_bundle": "/a.pem"}},
    {"retries": {"max_attempts": 0, "total_max_attempts": 1, "mode": "adaptive"}, "s3": {"addressing_style": "path"}},
    {"an_option_of_a_newer_botocore": "any", "defaults_mode": "legacy", "endpoint_discovery_enabled": "auto"},
    {},
]


@pytest.mark.parametrize(("config", "named"), WRONG, ids=lambda value: str(value)[:60])
def test_a_wrong_option_is_named(config: dict[str, Any], named: str) -> None:
    with pytest.raises(OmicsArgumentError) as caught:
        check_config("config_kwargs of Airflow connection 'x'", config)
    assert str(caught.value).startswith("config_kwargs of Airflow connection 'x'['")
    assert named in str(caught.value)
    with pytest.raises(OmicsArgumentError, match=r"^botocore_config\["):
        SENSORS[EXPORT](task_id="wait", sequence_store_id=ID, job_id=ID, botocore_config=config)


@pytest.mark.parametrize("config", RIGHT, ids=lambda value: str(value)[:60])
def test_what_botocore_takes_passes(config: dict[str, Any]) -> None:
    check_config("botocore_config", config)


def test_an_option_with_a_password_is_not_shown() -> None:
    with pytest.raises(OmicsArgumentError, match=r"\['proxies'\] is 'http://\*\*\*@proxy") as caught:
        check_config("botocore_config", {"proxies": PROXY})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("aws_conn_id", 5),
        ("region_name", ["us-east-1"]),
        ("verify", 5),
        ("verify", ""),
        ("verify", "False"),
        ("verify", "true"),
        ("verify", "None"),
        ("botocore_config", "{}"),
    ],
    ids=str,
)
def test_the_connection_is_checked_when_the_dag_is_parsed_and_when_the_task_runs(
    world: World, ti: TaskInstance, name: str, value: Any
) -> None:
    makers: list[Any] = [
        lambda **settings: world.sensor(EXPORT, world.start(EXPORT), **settings),
        lambda **settings: operator(world, EXPORT, world.read_sets, **settings),
    ]
    for make in makers:
        with pytest.raises(OmicsArgumentError, match=f"^{name} is "):
            make(**{name: value})
        templated = "{{ params.x }}"
        made = make(**{name: {"user_agent": [templated]} if name == "botocore_config" else templated})
        setattr(made, name, value)
        with pytest.raises(OmicsArgumentError, match=f"^{name} is "):
            made.execute({"ti": ti})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        ("folder", "Is a directory"),
        ("", "no certificate or crl found"),
        ("no PEM", "no certificate or crl found"),
        ("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n", "lib"),
    ],
    ids=str,
)
def test_a_ca_bundle_that_is_none(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "bundle.pem"
    if content == "folder":
        path.mkdir()  # which botocore cannot use either
    elif content is not None:
        path.write_text(content)
    with pytest.raises(OmicsArgumentError) as caught:
        check_verify("verify of Airflow connection 'x'", str(path))
    assert str(caught.value).startswith(f"verify of Airflow connection 'x' is '{path}'")
    assert said in str(caught.value)


def test_a_ca_bundle_with_a_revocation_list_only(tmp_path: Path) -> None:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder(x509.Name([]), now, now + timedelta(days=1))
    (tmp_path / "crl.pem").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    with pytest.raises(OmicsArgumentError, match="it has none"):
        check_verify("verify", str(tmp_path / "crl.pem"))


@pytest.mark.parametrize("verify", ["True", "false", " FALSE ", "None", "null", "", 5, "a\0b", "\ud800"], ids=repr)
def test_verify_that_is_no_path(verify: Any) -> None:
    with pytest.raises(OmicsArgumentError, match=r"^verify is .*expected True") as caught:
        check_verify("verify", verify)
    is_flag = isinstance(verify, str) and verify.isprintable()
    assert ("as a bool, without quotes" in str(caught.value)) == is_flag


def test_verify_that_is_right() -> None:
    for verify in (True, False, None, str(Path(botocore.__file__).parent / "cacert.pem")):
        check_verify("verify", verify)


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({"proxies": {"https": PROXY}}, "['proxies']['https']"),
        ({"proxies": {"https": f"user:{SECRET}@proxy:3128"}}, "['proxies']['https']"),
        ({"proxies": {"https": f"HTTPS://{SECRET}@proxy"}}, "['proxies']['https']"),
        ({"proxies": {PROXY: "http://proxy"}}, "a name in botocore_config['proxies']"),
        ({"client_context_params": {"api_token": SECRET}}, "['client_context_params']['api_token']"),
        ({"client_context_params": {"x": [{"Password": SECRET}]}}, "['x'][0]['Password']"),
        ({"user_agent_extra": f"password={SECRET}"}, "['user_agent_extra']"),
    ],
    ids=["user", "no scheme", "other scheme", "name", "token", "list", "text"],
)
def test_a_password_is_not_kept_with_a_deferred_task(
    world: World, ti: TaskInstance, config: dict[str, Any], where: str
) -> None:
    with pytest.raises(OmicsArgumentError) as caught:
        check_no_secrets("botocore_config", config)
    for part in (where, "config_kwargs of the Airflow connection", "plain text"):
        assert part in str(caught.value)
    assert SECRET not in str(caught.value)
    with pytest.raises(OmicsArgumentError, match="config_kwargs"):
        world.sensor(EXPORT, ID, deferrable=True, botocore_config=config)
    with pytest.raises(OmicsArgumentError, match="config_kwargs"):
        operator(world, EXPORT, world.read_sets, deferrable=True, botocore_config=config)
    world.sensor(EXPORT, ID, botocore_config=config)


def test_a_rendered_password_is_found_before_anything_is_kept_or_started(world: World, ti: TaskInstance) -> None:
    templated = {"user_agent_extra": "{{ params.x }}"}
    rendered = {"user_agent_extra": f"password={SECRET}"}
    sensor = world.sensor(EXPORT, world.start(EXPORT), deferrable=True, botocore_config=templated)
    start = operator(world, EXPORT, world.read_sets, deferrable=True, botocore_config=templated)
    sensor.botocore_config = start.botocore_config = rendered
    started = world.local.call_counts().get("StartReadSetExportJob", 0)
    for each in (sensor, start):
        with pytest.raises(OmicsArgumentError, match="password in it"):
            each.execute({"ti": ti})
    assert world.local.call_counts().get("StartReadSetExportJob", 0) == started
    start.botocore_config = None
    with pytest.raises(TaskDeferred) as left:
        start.execute({"ti": ti})
    start.botocore_config = rendered
    with pytest.raises(OmicsArgumentError, match="password in it"):
        start.resume_execution(
            "execute_complete", {**(left.value.kwargs or {}), "event": {"status": "due"}}, {"ti": ti}
        )


def test_a_configuration_without_passwords_is_kept() -> None:
    endless: dict[str, Any] = {"proxies": {"https": "http://proxy:3128"}, "user_agent_extra": "contact me@example.org"}
    endless["client_context_params"] = [endless, {"token": ""}]
    check_no_secrets("botocore_config", endless)
    check_no_secrets("botocore_config", None)


def test_the_checks_need_no_boto3() -> None:
    code = "import sys, airflow_omics._aws.settings; assert not {'boto3', 'botocore'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_proxy_that_botocore_does_not_know_is_named_without_its_password() -> None:
    with pytest.raises(OmicsArgumentError, match=r"\['proxies'\]\['https'\].*socks5://\*\*\*@proxy") as caught:
        check_config("botocore_config", {"proxies": {"https": f"socks5://me:{SECRET}@proxy"}})
    assert SECRET not in str(caught.value)
