"""Which proxy stands before a server, by the variables of the environment."""

import socket

import pytest

from serving.client import proxies

PROXY = "http://proxy.example:3128"
ALL = ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy", "all_proxy")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in ALL:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
def test_grpc_goes_through_what_it_would_take_by_itself(variable, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://last.example:1")
    monkeypatch.setenv(variable, PROXY)
    assert proxies.of_grpc("tfs.example:8500") == (PROXY, variable)


@pytest.mark.parametrize("name, value", [("HTTP_PROXY", PROXY), ("http_proxy", "https://p:1"), ("https_proxy", "p:1")])
def test_what_grpc_does_not_read_or_cannot_use_is_no_proxy(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    assert proxies.of_grpc("tfs.example:8500") is None


HERE = [
    "localhost:8500",
    "LOCALHOST:8500",
    "tfs.localhost:8500",
    "127.0.0.1:8500",
    "127.1.2.3:8500",
    "[::1]:8500",
    "0.0.0.0:8500",
    "unix:/tmp/socket",
    "dns:///localhost:8500",
    "ipv4:127.0.0.1:8500",
    f"{socket.gethostname()}:8500",
]


@pytest.mark.parametrize("target", HERE)
def test_this_machine_is_asked_directly(target, monkeypatch):
    monkeypatch.setenv("http_proxy", PROXY)
    assert proxies.of_grpc(target) is None and proxies.passed_over(target) is None


@pytest.mark.parametrize("variable", ["no_grpc_proxy", "no_proxy", "NO_PROXY"])
@pytest.mark.parametrize(
    "listed, target, excepted",
    [
        ("tfs.example", "tfs.example:8500", True),
        ("a.b, .example", "tfs.example:8500", True),
        ("example", "tfs.example:8500", True),
        ("*.example", "TFS.Example:8500", True),
        ("*", "tfs.example:8500", True),
        ("10.0.0.0/8", "10.1.2.3:8500", True),
        ("10.0.0.0/8,fd00::/8", "[fd00::7]:8500", True),
        ("10.1.2.3", "10.1.2.3:8500", True),
        ("ample", "tfs.example:8500", False),
        ("10.0.0.0/8", "11.1.2.3:8500", False),
        ("", "tfs.example:8500", False),
        (",", "tfs.example:8500", False),
    ],
)
def test_exceptions_count_in_both_spellings(variable, listed, target, excepted, monkeypatch):
    monkeypatch.setenv("http_proxy", PROXY)
    monkeypatch.setenv(variable, listed)
    assert (proxies.of_grpc(target) is None) == excepted


def test_a_proxy_is_named_with_its_variable_and_without_its_password(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://me:s3cret@proxy.example:3128")
    shown = "the proxy http://proxy.example:3128 (by https_proxy in the environment)"
    assert str(proxies.of_grpc("tfs.example:8500")) == shown
