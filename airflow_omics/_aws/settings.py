"""Checking what a client is made with: connection, region, TLS, and botocore's options. No boto3 here."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from airflow_omics._aws.masking import has_secret, mask
from airflow_omics._service.limits import cut, shown
from airflow_omics._values import has_templates, wrong
from airflow_omics.exceptions import OmicsArgumentError

Rule: TypeAlias = "tuple[Callable[[Any], bool], str] | dict[str, Rule]"
"""A test and what it expects in words; or the rules of a dictionary's members, under ``*`` that of any other."""

LONGEST_TIMEOUT = 86_400
"""Seconds that a request may take; what a system's sockets take ends somewhere above."""

_NO_PATHS = ("", "false", "none", "null", "true")
_SECRET_NAME = re.compile(r"(?i)passw|secret|token|credential|private_?key|api_?key")
_USER_IN_URL = re.compile(r"//[^\s/]+@")


def _is_text(value: object) -> bool:
    """Tell whether a text can be sent in a header."""
    return isinstance(value, str) and value.isprintable() and value.isascii() and len(value) <= 4096


def _is_whole(lowest: int) -> Callable[[object], bool]:
    """Tell whether a value is an int from ``lowest`` on; botocore takes no other library's whole numbers."""
    return lambda value: type(value) is int and lowest <= value < 2**31


def _or_none(test: Callable[[Any], bool], expected: str) -> Rule:
    return lambda value: value is None or test(value), f"{expected}, or None"


_FLAG = _or_none(lambda value: isinstance(value, bool), "True or False")
_TEXT = _or_none(_is_text, "text of at most 4,096 printable ASCII characters")
_PATH = _or_none(lambda value: isinstance(value, str) and value.isprintable(), "text")
_CERTIFICATE = _or_none(
    lambda value: (
        isinstance(value, str)
        or (isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(each, str) for each in value))
    ),
    "the path of a certificate, or the two paths of a certificate and its key",
)
_PROXY = _or_none(
    lambda value: (
        isinstance(value, str)
        and value.isprintable()
        and ("://" not in value or value.lower().startswith(("http://", "https://")))
    ),
    "the URL of a proxy, such as 'http://proxy:3128'; botocore knows no other kind",
)
_SECONDS = _or_none(
    lambda value: type(value) in (int, float) and 0 < value <= LONGEST_TIMEOUT,
    "seconds, as a number above 0, at most a day",
)
_OPTIONS: dict[str, Rule] = {
    **dict.fromkeys(
        (
            "disable_request_compression",
            "ignore_configured_endpoint_urls",
            "inject_host_prefix",
            "parameter_validation",
            "s3_disable_express_session_auth",
            "tcp_keepalive",
            "use_dualstack_endpoint",
            "use_fips_endpoint",
        ),
        _FLAG,
    ),
    **dict.fromkeys(
        (
            "account_id_endpoint_mode",
            "auth_scheme_preference",
            "defaults_mode",
            "region_name",
            "request_checksum_calculation",
            "response_checksum_validation",
            "sigv4a_signing_region_set",
            "user_agent",
            "user_agent_appid",
            "user_agent_extra",
        ),
        _TEXT,
    ),
    "connect_timeout": _SECONDS,
    "signature_version": _or_none(
        lambda value: _is_text(value) or type(value).__module__.split(".")[0] == "botocore",
        "text, or botocore.UNSIGNED",
    ),
    "read_timeout": _SECONDS,
    "max_pool_connections": (_is_whole(1), "a whole number of at least 1"),
    "request_min_compression_size_bytes": _or_none(_is_whole(0), "a whole number of at least 0"),
    "client_cert": _CERTIFICATE,
    "client_context_params": {},
    "proxies": {"*": _PROXY},
    "proxies_config": {
        "proxy_ca_bundle": _PATH,
        "proxy_client_cert": _CERTIFICATE,
        "proxy_use_forwarding_for_https": _FLAG,
    },
    "retries": {
        "max_attempts": (_is_whole(0), "a whole number of at least 0"),
        "mode": (lambda value: value in ("legacy", "standard", "adaptive"), "'legacy', 'standard' or 'adaptive'"),
        "total_max_attempts": (_is_whole(1), "a whole number of at least 1"),
    },
    "s3": {
        "addressing_style": _TEXT,
        "payload_signing_enabled": _FLAG,
        "us_east_1_regional_endpoint": _TEXT,
        "use_accelerate_endpoint": _FLAG,
    },
}
"""What botocore's Config takes (its documentation); what is not here is left to it."""


def check_connection(aws_conn_id: object, region_name: object, verify: object, botocore_config: object) -> None:
    """
    Check what a client is made with, without reading files.

    :raises OmicsArgumentError: It is of a wrong type.
    """
    texts = {"aws_conn_id": aws_conn_id, "region_name": region_name}
    for argument, value in {**texts, "verify": None if isinstance(verify, bool) else verify}.items():
        if value is not None and not (isinstance(value, str) and value.isprintable() and len(value) <= 4096):
            raise wrong(argument, value, "text of at most 4,096 printable characters, or None")
    _check_no_flag("verify", verify)
    if not isinstance(botocore_config, dict | None):
        raise wrong("botocore_config", botocore_config, "a dictionary, or None")
    check_config("botocore_config", botocore_config or {})


def check_config(argument: str, config: Mapping[str, Any]) -> None:
    """
    Check the options of botocore's Config: much of what is wrong there would only show in a call, or never.

    :param argument: Where they are, in words.
    :raises OmicsArgumentError: An option is of a wrong type.
    """
    _check_option(argument, config, _OPTIONS)


def check_verify(argument: str, verify: object) -> None:
    """
    Check whether TLS certificates are to be verified, or with which CA certificates; this reads their file.

    :raises OmicsArgumentError: It is neither True, False or None nor the path of a file with certificates.
    """
    if verify is None or isinstance(verify, bool):
        return
    _check_no_flag(argument, verify)
    expected = "True, False, or the path of a file with at least one CA certificate in PEM form"
    if not isinstance(verify, str):
        raise wrong(argument, verify, expected)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(verify)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise wrong(argument, verify, f"{expected} ({cut(str(error))})") from error
    if not context.cert_store_stats()["x509"]:
        raise wrong(argument, verify, f"{expected} (it has none)")


def check_no_secrets(argument: str, config: object) -> None:
    """
    Check that a configuration has no password in it: Airflow keeps it with a deferred task, in plain text.

    :raises OmicsArgumentError: It has one; the message says where, and not which.
    """
    rest, seen = [(argument, config)], set()
    while rest:
        where, value = rest.pop()
        if id(value) in seen:  # it may hold itself
            continue
        seen.add(id(value))
        is_proxy = where.startswith(f"{argument}['proxies']") and isinstance(value, str) and "@" in value
        if is_proxy or (isinstance(value, str) and (has_secret(value) or _USER_IN_URL.search(value))):
            raise _masked(OmicsArgumentError(f"{where} has a password in it. {_PLAIN_TEXT}"))
        if isinstance(value, list | tuple):
            rest += [(f"{where}[{index}]", each) for index, each in enumerate(value)]
        if isinstance(value, Mapping):
            for name, member in value.items():
                if isinstance(member, str) and member and _SECRET_NAME.search(str(name)):
                    raise _masked(OmicsArgumentError(f"{where}[{shown(name)}] looks like a secret. {_PLAIN_TEXT}"))
                rest += [(f"a name in {where}", name), (f"{where}[{shown(name)}]", member)]


_PLAIN_TEXT = (
    "What a deferred task waits with is kept in Airflow's database in plain text. Put this option into config_kwargs "
    "of the Airflow connection, which Airflow encrypts; or pass deferrable=False."
)


def check_client_of(task: Any) -> None:
    """Check, when the DAG is parsed, what a task's client will be made with; what has templates in it passes."""
    values = (task.aws_conn_id, task.region_name, task.verify, task.botocore_config)
    literal = [None if has_templates(value) else value for value in values]
    check_connection(*literal)
    if task.deferrable:
        check_no_secrets("botocore_config", literal[-1])


def _check_option(where: str, value: object, rule: Rule | None) -> None:
    if isinstance(rule, dict):
        if not isinstance(value, Mapping | None):
            raise _masked(wrong(where, value, "a dictionary, or None"))
        for name, member in (value or {}).items():
            _check_option(f"{where}[{shown(name)}]", member, rule.get(name, rule.get("*")))
    elif rule is not None:
        test, expected = rule
        if not test(value):
            raise _masked(wrong(where, value, expected))


def _check_no_flag(argument: str, verify: object) -> None:
    """Refuse what a template or JSON makes of True, False and None: botocore would take it for a path."""
    if isinstance(verify, str) and verify.strip().lower() in _NO_PATHS:
        raise wrong(argument, verify, "True or False as a bool, without quotes, or the path of a CA bundle")


def _masked(error: OmicsArgumentError) -> OmicsArgumentError:
    mask(error, ())
    return error
