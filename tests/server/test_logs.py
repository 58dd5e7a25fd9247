"""No secret and no digit of a person's can stand in the log: by what log calls are given, by what the formatter lets through, and by what
a real server wrote after everything secret was sent to it everywhere.
"""

import ast
import io
import json
import logging
import re
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ony_core.errors import OnyError
from ony_core.server import logs
from tests.server.serving import EMAIL, NUMBER, PASSWORD, VOICE, Server

ROOMS = ("server", "channels", "store")
SOURCES = sorted(path for room in ROOMS for path in (Path(logs.__file__).parents[1] / room).rglob("*.py"))
LEVELS = {"debug", "info", "warning", "error", "critical", "exception", "log"}
# What a log call may be given: types, closed words of ours, addresses, places, and errors, whose words we wrote.
GIVEN = re.compile(
    r"type\([\w.()]+\)\.__name__( if error else 'trouble')?|_where\(error\)|error|trouble|channel|outcome|reason|violation\.reason"
    r"|self\.address or 'the local socket'|request\.peer"
)
SECRETS = ("hunter2pass", "correct horse battery", "482913", "+15550100123", "15550100123", "0123", "con_" + "a1" * 32, "ONY-ABCD-2345",
           "JBSWY3DPEHPK3PXP4444JBSWY3DPEHPK3PXPABCD", "PSK_x9y8z7", "you@example.com", "555-0100", "１２３４５６")  # fmt: skip


def logged(*given, template: str = "%s", name: str = "ony.test", **more) -> dict:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonLines())
    handler.emit(logging.LogRecord(name, logging.WARNING, "x.py", 1, template, given, more.get("exc_info")))
    (line,) = stream.getvalue().splitlines()
    return json.loads(line)


def written(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_who_is_refused_again_and_again_fills_no_disk_and_pushes_nothing_out():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonLines())
    handler.addFilter(logs.Calm())

    def say(at: float, template: str = "refused from %s", name: str = "ony.http", many: int = 1) -> None:
        for _ in range(many):
            record = logging.LogRecord(name, logging.WARNING, "x.py", 1, template, ("192.0.2.1",), None)
            record.created = at
            handler.handle(record)

    say(1000, many=5000)
    say(1001, "another")
    say(1002, "one text", name="library", many=60)
    say(1002, "another text", name="library", many=60)
    assert len(written(stream)) == logs.MOST + 1 + logs.MOST
    say(1000 + logs.MINUTE_S)
    assert written(stream)[-1]["left_out"] == 5000 - logs.MOST
    say(1001 + logs.MINUTE_S)
    assert "left_out" not in written(stream)[-1]
    say(900)  # a clock that was set back silences nothing
    assert written(stream)[-1]["what"] == "refused from 192.0.2.1" and len(written(stream)) == 2 * logs.MOST + 4


def roughly(port: int, head: str, body: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(head.encode() + body)
        while sock.recv(65536):
            pass


def log_calls() -> list[tuple[str, ast.Call]]:
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute) and called.attr in LEVELS and ast.unparse(called.value) in ("log", "logging", "logger"):
                found.append((f"{path.name}:{node.lineno}", node))
    return found


def test_every_log_call_has_a_literal_text_and_is_given_nothing_but_types_words_addresses_and_errors():
    calls = log_calls()
    assert len(calls) > 10
    for where, call in calls:
        template, *given_to_it = call.args
        assert isinstance(template, ast.Constant) and isinstance(template.value, str), f"{where}: the text is not a literal"
        assert not call.keywords, f"{where}: extra, exc_info and stack_info may quote anything"
        assert not re.search(r"[0-9]", template.value), f"{where}: no digits in a text"
        for value in given_to_it:
            assert GIVEN.fullmatch(ast.unparse(value)), f"{where}: {ast.unparse(value)} is not a closed word"


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_that_is_given_to_a_log_call_all_the_same_is_hidden(secret):
    raised = (ValueError, ValueError(secret), None)
    for line in (logged(secret), logged(f"it was {secret}"), logged([secret]), logged({"a": secret}), logged(secret.encode()),
                 logged(ValueError(secret)), logged("word", exc_info=raised),
                 logged(secret, template="two %s of %s"), logged(secret, template="%d"), logged(name=secret, template=secret),
                 logged(template=secret, name="asyncio"), logged("x", secret, template="%s")):  # fmt: skip
        assert secret not in json.dumps({**line, "at": ""}, ensure_ascii=False), line
    if not secret.replace(" ", "").isalpha():  # the words of an OnyError are ours: what is left to hide is what no sentence holds
        assert secret not in logged(OnyError(f"it was ({secret}) or so"))["what"]


@given(st.lists(st.text() | st.integers() | st.binary() | st.floats() | st.from_regex(r"\+?[0-9]{1,20}"), max_size=3))
def test_of_whatever_is_logged_no_digit_stands_anywhere_but_in_the_time_and_an_address(values):
    line = logged(*values, template="a %s and %s and %s"[: 2 + 7 * len(values)] or "none")
    for word in line["what"].split():
        assert not re.search(r"\d", word) or logs._is_address(word) or logs._PLACE.match(word), line


def test_what_helps_is_kept():
    assert logged("ValueError", "routes.py:103", template="unexpected %s in %s")["what"] == "unexpected ValueError in routes.py:103"
    assert logged("203.0.113.7", "foreign_host", template="refused from %s: %s")["what"] == "refused from 203.0.113.7: foreign_host"
    assert logged(OnyError("the database cannot be written (disk I/O error)"))["what"] == "the database cannot be written (disk I/O error)"
    assert logged("no-answer")["what"] == "no-answer"
    assert logged("fe80::1%1234567")["what"] == logs.HIDDEN, "a zone may be any text"


def test_one_line_stays_one_line():
    assert logged("a\nb\u2028c")["what"] == logs.HIDDEN


def test_a_real_server_that_is_sent_every_secret_everywhere_writes_none_of_them_down(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s")
    server = Server(folder).start(**VOICE, ONY_VOICE_SIGNING_KEY="PSK_x9y8z7")
    for secret in SECRETS:
        plain = "".join(letter for letter in secret if 33 <= ord(letter) < 127)
        body = json.dumps({"email": plain, "password": plain, "code": plain, "name": plain, "version": plain, "protocol": 1}).encode()
        for path in (f"/{plain}", f"/v1/handoffs?wait={plain}", f"/v1/voice/{'0' * 64}/start?n={plain}", "/v1/freeze", "/v1/enroll"):
            for method in ("GET", "POST", plain):
                head = (f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {plain}", f"X-{plain}: {plain}",
                        "Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close", "", "")  # fmt: skip
                roughly(server.port, "\r\n".join(head), body)
    server.admin("phone", "--email", EMAIL, "--number", NUMBER, "--verified")
    server.admin("enroll-code")
    server.stop()
    said = server.log.read_text()
    assert said.count("\n") > 50, "the refusals were logged"
    for line in said.splitlines():
        about = json.loads(line)
        rest = about["what"].replace("127.0.0.1", "")
        assert about.keys() <= {"at", "level", "from", "what", "error"}
        assert not re.search(r"\d", re.sub(r"\w+\.py:\d+", "", rest)), line
    for secret in (*SECRETS, PASSWORD, EMAIL, NUMBER, *VOICE.values()):
        assert secret not in re.sub(r'"at": "[^"]*"', "", said), secret
