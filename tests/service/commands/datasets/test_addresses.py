"""Downloads go to public addresses, or to where a person said."""

import pytest

from service.commands.datasets.addresses import AddressError, AddressRule, split_url

PRIVATE = ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "::1", "fe80::1%eth0", "fd00::1", "0.0.0.0"]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the proxies of this machine away."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("address", [*PRIVATE, "::ffff:127.0.0.1", "100.64.0.1", "224.0.0.1"])
def test_private_addresses_are_refused_before_any_connection(address: str) -> None:
    """Whatever name leads to them, and wherever among several addresses they stand."""
    rule = AddressRule(resolve=lambda host, port: ["93.184.215.14", address])
    with pytest.raises(AddressError, match=r"machine of this network.*--from"):
        rule.check("https://data.example.org/x.tgz")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "2130706433", "0x7f.1", "0177.0.0.1"])
def test_ways_to_write_this_machine_are_known(host: str) -> None:
    """Numbers in any base lead where the system says, and that is what counts."""
    with pytest.raises((AddressError, OSError)):
        AddressRule().check(f"http://{host}:80/x")


def test_public_addresses_are_allowed() -> None:
    """By name or by number."""
    AddressRule(resolve=lambda host, port: ["93.184.215.14"]).check("https://data.example.org/x.tgz")


def test_a_named_host_is_allowed_and_no_other() -> None:
    """Host and port count, the path does not."""
    rule = AddressRule(named="http://127.0.0.1:8000/a.tgz", resolve=lambda host, port: [host])
    rule.check("http://127.0.0.1:8000/b.tgz")
    rule.check_peer("http://127.0.0.1:8000/b.tgz", "127.0.0.1")
    for other in ("http://127.0.0.1:8001/a.tgz", "http://127.0.0.1/a.tgz", "http://10.0.0.1:8000/a.tgz"):
        with pytest.raises(AddressError):
            rule.check(other)


def test_a_name_that_leads_elsewhere_by_now_is_refused() -> None:
    """The address that was connected to counts, not only the one that was looked up."""
    rule = AddressRule(resolve=lambda host, port: ["93.184.215.14"])
    with pytest.raises(AddressError, match=r"10\.0\.0\.7"):
        rule.check_peer("https://data.example.org/x.tgz", "10.0.0.7")


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "gopher://x/", "ftp://x/y", "http://", "https:///x", "x.tgz", "http://a b/", "http://x:0x/"],
)
def test_other_urls_are_refused(url: str) -> None:
    """Only http and https, with a host."""
    with pytest.raises(AddressError, match="begins with https"):
        split_url(url)


def test_passwords_in_urls_are_refused() -> None:
    """And not repeated in the message."""
    with pytest.raises(AddressError) as caught:
        split_url("https://me:hunter2@example.org/x")
    assert "hunter2" not in str(caught.value)


def test_a_proxy_connects_for_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a proxy names are not looked up here, but numbers of this network stay refused."""
    monkeypatch.setenv("https_proxy", "http://proxy.example.org:3128")
    rule = AddressRule(resolve=lambda host, port: [host])
    rule.check("https://data.example.org/x.tgz")
    with pytest.raises(AddressError):
        rule.check("https://10.0.0.1/x.tgz")
