"""The listener on real sockets: the battery, the deadlines, the caps, hang-ups, a graceful end, and the local socket's peers."""

import asyncio
import os
import stat
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest

from ony_core.errors import OnyError
from ony_core.server.connection import Connection
from ony_core.server.http import Limits, Listener
from ony_core.server.message import Known, Response, answer
from tests.server.listening import CONTINUE, GIVE_UP_S, PATIENT, QUICK, Listening, get
from tests.server.probes import PROBES

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
WAIT = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"
NEVER_ENDING = ("a GET whose body never ends", "nothing at all", "half a header")


@pytest.fixture
def socket_path(tmp_path_factory):
    return tmp_path_factory.mktemp("s") / "admin.sock"


def statuses(said: bytes) -> tuple[int, ...]:
    return tuple(int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:])


class Parked:
    """A handler that waits until it is told, and notices when it is cancelled."""

    def __init__(self, server: Listening, path: str = "/wait") -> None:
        self.server, self.entered, self.cancelled, self.finished = server, 0, 0, 0
        self.go = asyncio.Event()
        server.answers[path] = self

    async def __call__(self, request):
        self.entered += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.finished += 1
        return answer({"waited": True})

    def release(self) -> None:
        self.server.run(self._set())

    async def _set(self) -> None:
        self.go.set()


# ---------------------------------------------------------------- the battery


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_each_probe_is_answered_as_it_must_be(probe):
    with Listening() as server, server.connect() as client:
        said = client.say(probe.data).rest()  # what stays open ends by its idle deadline
        assert statuses(said) == probe.answers
        assert all(path != "/smuggled" for _, path, _ in server.seen)
        assert (b"Connection: keep-alive" in said) == probe.stays


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_each_probe_is_answered_the_same_byte_by_byte(probe):
    slow = QUICK if probe.name in NEVER_ENDING else replace(PATIENT, idle_s=0.3)
    with Listening(slow) as server, server.connect() as client:
        said = client.byte_by_byte(probe.data)
        first = probe.answers[:1] if statuses(said)[:1] != (100,) or b"Expect" not in probe.data else (100,)  # told to go on, in time
        assert statuses(said)[:1] == first, "the client stops sending at the first answer"
        assert all(path != "/smuggled" for _, path, _ in server.seen)


def test_a_client_that_asks_first_is_told_to_go_on():
    with Listening() as server, server.connect() as client:
        client.say(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert client.sock.recv(100) == CONTINUE
        assert client.say(b"ok").reply()[0] == 200
        assert server.seen == [("POST", "/", b"ok")]


def test_a_body_of_64_kib_is_read_whole_and_the_connection_stays():
    body = b"b" * 65536
    with Listening() as server, server.connect() as client:
        for _ in range(2):
            assert client.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n" + body).reply()[0] == 200
        assert server.seen == [("POST", "/", body)] * 2


def test_a_refusal_reaches_a_client_that_is_still_sending():
    with Listening() as server, server.connect() as client:
        client.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"b" * 1_000_000)
        assert statuses(client.rest()) == (413,)


# ---------------------------------------------------------------- answers


def test_every_answer_carries_the_security_headers_and_no_version():
    with Listening(headers=(("Strict-Transport-Security", "max-age=1"),)) as server:
        for path, status in (("/", 200), ("//", 400)):
            found, headers, _ = get(server, path)
            assert found == status
            assert headers["server"] == "ony" and headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
            assert headers["content-security-policy"].startswith("default-src 'none'") and headers["referrer-policy"] == "no-referrer"
            assert headers["strict-transport-security"] == "max-age=1" and headers["date"].endswith("GMT")


def test_an_answers_own_header_wins_over_the_default():
    async def cached(request):
        return Response(200, b"{}", headers=(("Cache-Control", "max-age=60"),))

    with Listening() as server:
        server.answers["/"] = cached
        assert get(server, "/")[1]["cache-control"] == "max-age=60"


def test_an_answer_without_a_body_says_nothing_of_one():
    async def nothing(request):
        return Response(204)

    with Listening() as server:
        server.answers["/"] = nothing
        status, headers, body = get(server, "/")
        assert (status, body) == (204, b"") and "content-length" not in headers and "content-type" not in headers


def test_an_unforeseen_error_is_a_500_that_tells_nothing(caplog):
    async def broken(request):
        raise RuntimeError("hunter2")

    with Listening() as server:
        server.answers["/"] = broken
        status, _, body = get(server, "/")
        assert status == 500 and b"hunter2" not in body and b"RuntimeError" not in body
        assert "RuntimeError in test_http.py" in caplog.text and "hunter2" not in caplog.text
        assert get(server, "/other")[0] == 200


def test_the_refused_method_is_told_what_is_allowed():
    with Listening() as server, server.connect() as client:
        _, headers, _ = client.say(b"PUT / HTTP/1.1\r\nHost: x\r\n\r\n").reply()
        assert headers["allow"] == "GET, POST"


# ---------------------------------------------------------------- deadlines


@pytest.mark.parametrize(
    ("first", "drip", "said"),
    [(b"GET / HTTP/1.1\r\nX: ", b"a", (408,)), (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n", b"b", (408,))],
    ids=["head", "body"],
)
def test_a_deadline_is_for_the_whole_and_dripping_does_not_stretch_it(first, drip, said):
    with Listening() as server, server.connect() as client:
        began = time.monotonic()
        client.say(first)
        client.sock.settimeout(0.02)
        answered = b""
        while not answered and time.monotonic() - began < GIVE_UP_S:
            client.sock.send(drip)
            try:
                answered = client.sock.recv(65536)
            except TimeoutError:
                continue
        assert statuses(answered) == said and time.monotonic() - began < 2


def test_a_kept_connection_ends_when_nothing_follows():
    with Listening() as server, server.connect() as client:
        assert client.say(GET).reply()[0] == 200
        assert client.rest() == b""


def test_a_client_that_does_not_read_its_answer_is_let_go():
    async def large(request):
        return Response(200, b"x" * 8_000_000)

    with Listening() as server, server.connect() as client:
        server.answers["/"] = large
        client.say(GET)
        server.until(lambda: server.seen)
        server.until(lambda: not server.listener.connections)


# ---------------------------------------------------------------- caps


def test_an_address_gets_only_so_many_connections_and_gets_one_back_when_it_gives_one_up():
    with Listening(replace(PATIENT, per_address=3)) as server, ExitStack() as open_ones:
        kept = [open_ones.enter_context(server.connect()) for _ in range(3)]
        assert [client.say(GET).reply()[0] for client in kept] == [200] * 3
        with server.connect() as one_too_many:
            status, headers, _ = one_too_many.reply()
            assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
            assert one_too_many.rest() == b""
        kept[0].sock.close()
        server.until(lambda: len(server.listener.connections) == 2)
        assert get(server, "/")[0] == 200


def test_a_proxy_is_not_counted_per_address_but_all_strangers_are_counted():
    limits = replace(PATIENT, per_address=1, strangers=2)
    with Listening(limits, proxies=("127.0.0.0/8",)) as server, server.connect() as one, server.connect() as two, server.connect() as three:
        assert [client.say(GET).reply()[0] for client in (one, two)] == [200, 200]
        assert three.reply()[0] == 503


def test_one_client_behind_a_proxy_has_the_server_wait_for_only_so_many_bodies():
    """Its connections are the proxy's, so it would otherwise hold the places of everybody behind that proxy."""

    def begins(client: str) -> bytes:
        return f"POST / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\nContent-Length: 2\r\n\r\na".encode()

    limits = replace(PATIENT, per_address=2)
    with Listening(limits, proxies=("127.0.0.1",)) as server, ExitStack() as open_ones:
        slow = [open_ones.enter_context(server.connect()).say(begins("192.0.2.1")) for _ in range(2)]
        server.until(lambda: server.listener._bodies["192.0.2.1"] == 2)
        third = open_ones.enter_context(server.connect()).say(begins("10.0.0.1, 192.0.2.1"))
        assert (third.reply()[0], third.rest()) == (503, b"")
        other = open_ones.enter_context(server.connect()).say(begins("192.0.2.2"))
        server.until(lambda: server.listener._bodies["192.0.2.2"] == 1)
        assert other.say(b"b").reply()[0] == 200
        assert slow[0].say(b"b").reply()[0] == 200
        again = open_ones.enter_context(server.connect()).say(begins("192.0.2.1"))
        server.until(lambda: server.listener._bodies["192.0.2.1"] == 2)
        slow[1].sock.close()
        again.sock.close()
        server.until(lambda: not server.listener._bodies)


def test_waiting_connectors_are_counted_apart_so_that_strangers_cannot_shut_them_out():
    limits = replace(PATIENT, per_address=2, trusted=3)
    with Listening(limits, trusted=of_one_organisation) as server, ExitStack() as open_ones:
        parked = Parked(server)
        waiting = []
        for count in range(1, 4):
            waiting.append(open_ones.enter_context(server.connect()).say(WAIT))
            server.until(lambda count=count: parked.entered == count)
        strangers = [open_ones.enter_context(server.connect()) for _ in range(2)]
        assert [client.say(GET).reply()[0] for client in strangers] == [200, 200]
        strangers[0].say(WAIT)
        assert strangers[0].reply()[0] == 503, "the cap of the trusted"
        parked.release()
        assert [client.reply()[0] for client in waiting] == [200] * 3


def of_one_organisation(request):
    return Known("org", person=False) if request.path == "/wait" else None


@pytest.mark.parametrize("person", [False, True], ids=["an organisation's connectors", "a person's browsers"])
def test_who_has_taken_all_their_share_is_a_stranger_with_the_rest_and_leaves_the_others_theirs(person):
    """One viewer's session, or one stolen key, would otherwise take every place there is for connectors of anybody."""
    limits = replace(PATIENT, per_address=2, trusted=6, **{"person" if person else "share": 3})

    def whose(request):
        return Known(request.path, person) if request.path != "/" else None

    with Listening(limits, trusted=whose) as server, ExitStack() as open_ones:
        greedy = [open_ones.enter_context(server.connect()) for _ in range(2)]
        for _ in range(4):
            assert greedy[-1].say(GET.replace(b"/", b"/greedy", 1)).reply()[0] == 200
            greedy.append(open_ones.enter_context(server.connect()))
        assert greedy[-1].reply()[0] == 503, "the places of strangers at this address are taken, too"
        assert server.listener._trusted == 3
        greedy[0].sock.close()
        server.until(lambda: len(server.listener.connections) == 4)
        other = open_ones.enter_context(server.connect())
        server.until(lambda: len(server.listener.connections) == 5)
        assert other.say(GET.replace(b"/", b"/other", 1)).reply()[0] == 200
        for client in (*greedy, other):
            client.sock.close()
        server.until(lambda: not server.listener.connections)
        assert (server.listener._trusted, +server.listener._shares) == (0, {}), "and all is given back"


def test_one_customers_addresses_are_counted_as_one():
    """An IPv6 customer has 2^64 of them (RFC 6177)."""
    with Listening(replace(PATIENT, per_address=2)) as server:

        async def room():
            made = [Connection(server.listener) for _ in range(4)]
            for one, address in zip(made, ("2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"), strict=True):
                one.address = address
            let_in = [server.listener.admit(one) for one in made]
            for one in made:
                if one in server.listener.connections:
                    server.listener.forget(one)
            return let_in, dict(server.listener._strangers)

        assert server.run(room()) == ([True, True, False, True], {})


def test_a_parked_connection_costs_no_thread():
    import threading

    with Listening(replace(PATIENT, per_address=100)) as server, ExitStack() as open_ones:
        before, parked = threading.active_count(), Parked(server)
        for _ in range(60):
            open_ones.enter_context(server.connect()).say(WAIT)
        server.until(lambda: parked.entered == 60)
        assert threading.active_count() == before


# ---------------------------------------------------------------- hang-ups and the end


def test_a_client_that_hangs_up_cancels_its_wait():
    with Listening(PATIENT) as server:
        parked = Parked(server)
        with server.connect() as client:
            client.say(WAIT)
            server.until(lambda: parked.entered)
        server.until(lambda: parked.cancelled == 1)
        server.until(lambda: not server.listener.connections)


def test_a_post_whose_client_hangs_up_still_runs_to_its_end():
    with Listening(PATIENT) as server:
        parked = Parked(server)
        with server.connect() as client:
            client.say(b"POST /wait HTTP/1.1\r\nHost: x\r\n\r\n")
            server.until(lambda: parked.entered)
        assert get(server, "/")[0] == 200, "by now the server has heard of the hang-up"
        parked.release()
        server.until(lambda: parked.finished == 1)
        assert parked.cancelled == 0


def test_requests_sent_behind_a_waiting_one_are_answered_in_their_order():
    with Listening(PATIENT) as server, server.connect() as client:
        parked = Parked(server)
        client.say(WAIT + GET)
        server.until(lambda: parked.entered)
        assert len(server.seen) == 1
        parked.release()
        assert b"waited" in client.reply()[2] and b'"path":"/"' in client.reply()[2]


def test_a_client_that_floods_behind_a_waiting_request_is_let_go():
    with Listening(PATIENT) as server, server.connect() as client:
        parked = Parked(server)
        client.say(WAIT)
        server.until(lambda: parked.entered)
        client.sock.sendall(GET * 10_000)
        server.until(lambda: parked.cancelled == 1)


def test_stopping_sends_waiting_clients_away_with_a_word_and_lets_a_post_finish():
    with Listening(PATIENT) as server, server.connect() as waiting, server.connect() as posting, server.connect() as idle:
        parked, posted = Parked(server), Parked(server, "/post")
        waiting.say(WAIT)
        posting.say(b"POST /post HTTP/1.1\r\nHost: x\r\n\r\n")
        server.until(lambda: parked.entered and posted.entered)
        idle.say(GET).reply()
        ended = asyncio.run_coroutine_threadsafe(server.listener.stop(), server._loop)
        status, headers, _ = waiting.reply()
        assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
        assert idle.rest() == b""
        posted.release()
        assert posting.reply()[0] == 200
        ended.result(GIVE_UP_S)
        with pytest.raises(OSError):
            server.connect()


def test_stopping_ends_even_when_a_handler_does_not():
    with Listening(replace(QUICK, stop_s=0.2)) as server, server.connect() as client:
        parked = Parked(server)
        client.say(b"POST /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        server.until(lambda: parked.entered)
        server.run(server.listener.stop())
        assert parked.cancelled == 1


def test_a_port_that_is_taken_is_said_in_words():
    with Listening() as server:

        async def again():
            await Listener(server._handle, None).start_tcp("127.0.0.1", server.port)

        with pytest.raises(OnyError, match=r"cannot listen on 127\.0\.0\.1"):
            server.run(again())


# ---------------------------------------------------------------- the local socket


def test_the_local_socket_is_its_owners_and_tells_who_asks(socket_path):
    with Listening(hosts=None, unix=socket_path) as server:
        assert stat.S_IMODE(os.stat(socket_path).st_mode) == 0o600
        assert get(server, "/")[0] == 200
        assert server.peers == [("", os.getuid())]
    assert not socket_path.exists()


def test_a_process_of_another_user_gets_no_word(socket_path):
    with Listening(hosts=None, unix=socket_path, uids=frozenset({os.getuid() + 1})) as server, server.connect() as client:
        with pytest.raises((ConnectionError, AssertionError)):
            client.say(GET).reply()
        assert server.seen == []


def test_a_socket_that_a_crashed_server_left_is_replaced(socket_path):
    import socket

    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(socket_path))
    with Listening(hosts=None, unix=socket_path) as server:
        assert get(server, "/")[0] == 200


def test_a_path_too_long_for_a_socket_is_said_in_words(tmp_path):
    with pytest.raises(OnyError, match="longer than 100 bytes"), Listening(hosts=None, unix=tmp_path / ("d" * 100) / "admin.sock"):
        pass


def test_the_real_limits_are_those_of_the_checklist():
    assert Limits() == Limits(
        header_s=5, body_s=10, idle_s=15, strangers=256, per_address=32, trusted=2000, share=1000, person=32, backlog=128
    )
