"""The server's own TLS: what it serves, what it refuses, and what happens when its files are renewed under it."""

import os
import socket
import ssl
import tempfile
from pathlib import Path

import pytest

from ony_core.clock import SystemClock
from ony_core.connector import enrolled
from ony_core.connector.link import Link, Unreachable
from ony_core.errors import OnyError
from ony_core.server import tls
from ony_core.server.message import Response
from tests.server.listening import PATIENT, QUICK, Client, Listening
from tests.server.serving import Server, ony
from tests.store.world import Clock

DAY = 24 * 3600


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return tls.local(tmp_path, "127.0.0.1", SystemClock())


def trusted(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=folder / "tls" / "ca.pem")


def get(port: int, context: ssl.SSLContext, name: str = "127.0.0.1") -> bytes:
    with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain, server_hostname=name) as sock:
        sock.sendall(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: sock.recv(4096), b""))


def serial(port: int) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain) as sock:
        from cryptography import x509

        return x509.load_der_x509_certificate(sock.getpeercert(binary_form=True) or b"").serial_number


def test_a_client_that_knows_the_authority_is_answered_and_no_other(tmp_path, pair):
    with Listening(tls=tls.Certificates(*pair).context) as server:
        assert b" 200 " in get(server.port, trusted(tmp_path))
        with pytest.raises(ssl.SSLCertVerificationError):
            get(server.port, ssl.create_default_context())
        with pytest.raises(ssl.SSLCertVerificationError):
            get(server.port, trusted(tmp_path), "127.0.0.2")


def test_a_kept_connection_is_answered_again_and_again(tmp_path, pair):
    request = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
    with Listening(tls=tls.Certificates(*pair).context) as server:
        plain = server.connect().sock
        with trusted(tmp_path).wrap_socket(plain, server_hostname="127.0.0.1") as sock:
            assert [Client(sock).say(request).reply()[0] for _ in range(4)] == [200] * 4


def test_a_large_answer_reaches_a_slow_reader_whole(tmp_path, pair):
    async def large(request):
        return Response(200, b"x" * 3_000_000)

    with Listening(limits=PATIENT, tls=tls.Certificates(*pair).context) as server:
        server.answers["/a"] = large
        assert get(server.port, trusted(tmp_path)).count(b"x") >= 3_000_000


def test_a_connector_believes_the_named_authority_alone(tmp_path, pair):
    with Listening(tls=tls.Certificates(*pair).context, hosts=None) as server:
        url = f"https://127.0.0.1:{server.port}"
        assert Link(url, authority=tmp_path / "tls" / "ca.pem").call("GET", "/a").body["path"] == "/a"
        with pytest.raises(Unreachable):
            Link(url).call("GET", "/a")
        with pytest.raises(OnyError, match="authority"):
            Link(url, authority=tmp_path / "nothing.pem").call("GET", "/a")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_not_spoken(tmp_path, pair, version):
    old = trusted(tmp_path)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, version
    with Listening(tls=tls.Certificates(*pair).context) as server, pytest.raises((ssl.SSLError, ConnectionError)):
        get(server.port, old)


STRANGERS = {
    "plain http": b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n",
    "nothing": b"",
    "half a handshake": b"\x16\x03\x01\x02\x00\x01\x00",
    "noise": bytes(range(256)),
}  # fmt: skip


@pytest.mark.parametrize("first", STRANGERS.values(), ids=STRANGERS.keys())
def test_who_shakes_no_hands_is_cut_and_everybody_else_is_answered(tmp_path, pair, first):
    with Listening(tls=tls.Certificates(*pair).context) as server:
        with server.connect() as stranger:
            stranger.sock.sendall(first)
            assert b" 200 " in get(server.port, trusted(tmp_path))
            assert b"HTTP/" not in left_over(stranger)
        server.until(lambda: not server.listener.connections)
    assert [path for _, path, _ in server.seen] == ["/a"]


def test_handshakes_that_are_never_finished_are_counted_and_make_room_again(tmp_path, pair):
    with Listening(tls=tls.Certificates(*pair).context, limits=QUICK) as server:
        waiting = [server.connect() for _ in range(QUICK.per_address + 3)]
        for one in waiting:
            with one:
                left_over(one)
        server.until(lambda: not server.listener.connections)
        assert b" 200 " in get(server.port, trusted(tmp_path))


def left_over(client: Client) -> bytes:
    """What came before the server hung up, in whatever way."""
    try:
        return client.rest()
    except ConnectionError:
        return b""


# ---------------------------------------------------------------- the files


def test_a_renewed_pair_is_served_to_the_next_client_without_a_restart(tmp_path, pair):
    served = tls.Certificates(*pair)
    with Listening(tls=served.context) as server:
        before = serial(server.port)
        assert served.refresh() is False
        pair[0].unlink()
        tls.local(tmp_path, "127.0.0.1", SystemClock())
        assert served.refresh() is True
        assert serial(server.port) != before
        assert b" 200 " in get(server.port, trusted(tmp_path))


def _emptied(certificate: Path, key: Path) -> None:
    certificate.write_bytes(b"")


def _another_key(certificate: Path, key: Path) -> None:
    tls.local(certificate.parent / "other", "127.0.0.1", SystemClock())
    key.write_bytes((certificate.parent / "other" / "tls" / "server.key").read_bytes())


def _open_key(certificate: Path, key: Path) -> None:
    key.write_bytes(key.read_bytes())
    key.chmod(0o644)


def _gone(certificate: Path, key: Path) -> None:
    key.unlink()


@pytest.mark.parametrize("spoil", [_emptied, _another_key, _open_key, _gone])
def test_a_pair_that_cannot_be_served_changes_nothing_later_and_stops_a_start(tmp_path, pair, spoil):
    served = tls.Certificates(*pair)
    (pair[0].parent / "other").mkdir()
    with Listening(tls=served.context) as server:
        before = serial(server.port)
        spoil(*pair)
        assert served.refresh() is False
        assert serial(server.port) == before
        assert b" 200 " in get(server.port, trusted(tmp_path))
    with pytest.raises(OnyError):
        tls.Certificates(*pair)


# ---------------------------------------------------------------- an authority of our own


def test_the_local_pair_is_kept_and_renewed_in_time_under_the_same_authority(tmp_path):
    clock = Clock()
    certificate, _ = tls.local(tmp_path, "ony.lan", clock)
    first, authority = certificate.read_bytes(), (tmp_path / "tls" / "ca.pem").read_bytes()
    clock.pass_((tls.CERTIFICATE_DAYS - tls.RENEW_DAYS - 1) * DAY)
    tls.local(tmp_path, "ony.lan", clock)
    assert certificate.read_bytes() == first
    clock.pass_(2 * DAY)
    tls.local(tmp_path, "ony.lan", clock)
    assert certificate.read_bytes() != first
    assert (tmp_path / "tls" / "ca.pem").read_bytes() == authority


def test_another_name_gets_another_certificate(tmp_path):
    certificate, _ = tls.local(tmp_path, "ony.lan", Clock())
    first = certificate.read_bytes()
    tls.local(tmp_path, "other.lan", Clock())
    assert certificate.read_bytes() != first


def test_nobody_else_can_read_the_keys(tmp_path, pair):
    folder = tmp_path / "tls"
    assert folder.stat().st_mode & 0o077 == 0
    assert {os.stat(folder / name).st_mode & 0o777 for name in ("ca.key", "server.key")} == {0o600}


@pytest.mark.parametrize("half", ["ca.pem", "ca.key"])
def test_half_an_authority_is_an_error_and_no_new_one_is_made(tmp_path, half):
    tls.local(tmp_path, "ony.lan", Clock())
    (tmp_path / "tls" / half).unlink()
    with pytest.raises(OnyError, match="half of the local authority"):
        tls.local(tmp_path, "ony.lan", Clock())
    assert not (tmp_path / "tls" / half).exists()


# ---------------------------------------------------------------- from the outside


def test_a_machine_of_the_local_network_enrols_with_the_authority_and_not_without(tmp_path):
    """`ony serve --tls-local`, `ony enroll --ca`: as two people on two machines would do it."""
    with tempfile.TemporaryDirectory(prefix="ony-") as folder:
        server = Server(Path(folder)).start(ONY_SERVER_TLS_LOCAL="127.0.0.1")
        try:
            assert "https://127.0.0.1:" in server.ready_line
            code, authority = server.admin("enroll-code")["code"], str(server.data / "tls" / "ca.pem")
            words = ("enroll", f"https://127.0.0.1:{server.port}", "--name", "laptop")
            without = ony(*words, stdin=code + "\n", ONY_HOME=str(tmp_path / "home"))
            assert (without.returncode, (tmp_path / "home" / "connector.json").exists()) == (1, False)
            assert ony(*words, "--ca", authority, stdin=code + "\n", ONY_HOME=str(tmp_path / "home")).returncode == 0
            assert (tmp_path / "home" / "server-ca.pem").read_text() == Path(authority).read_text()
            known = enrolled.load(tmp_path / "home")
            assert enrolled.link(tmp_path / "home", known).call("GET", "/v1/bundle").status == 200
        finally:
            server.stop()
