"""A server with two organisations and their people, asked as a browser asks it: through the route table, with cookies and an origin."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyotp

from ony_core import canon
from ony_core.clock import new_id
from ony_core.server import passwords
from ony_core.server.account import Account
from ony_core.server.admin import Admin
from ony_core.server.allowance import Allowance
from ony_core.server.connectors import Connectors
from ony_core.server.devices import Devices
from ony_core.server.freeze import Freezer
from ony_core.server.history import History
from ony_core.server.keys import Keys
from ony_core.server.login import Login
from ony_core.server.message import Request, Response
from ony_core.server.numbers import Numbers
from ony_core.server.openapi import OpenApi
from ony_core.server.passwords import Doorkeeper
from ony_core.server.payloads import Payloads
from ony_core.server.policies import Policies
from ony_core.server.routes import LOCAL, PUBLIC, Router
from ony_core.server.sessions import FULL, Sessions
from ony_core.server.team import Team
from ony_core.server.upkeep import Upkeep
from tests.server.world import Hall

HOST = "ony.example.com"
ORIGIN = f"https://{HOST}"
PASSWORD = "correct horse battery"
QUICK = 1000  # rounds of a hash where its cost is not what is tested


class Town:
    """people: who lives here, by name. Leave with `hall.close()`."""

    def __init__(self, folder: Path, *, public_url: str = ORIGIN, secure: bool = True, seed: str = "test") -> None:
        self.hall = hall = Hall(folder, seed)
        self.clock, self.store, self.secure = hall.clock, hall.store, secure
        self.door = Doorkeeper(hall.clock)
        self.sessions = Sessions(hall.store, hall.clock, public_url=public_url, secure=secure)
        self.allowance = Allowance(8, hall.clock)
        people = (hall.store, hall.keyring, self.sessions, self.door, hall.clock)
        self.parts: dict[str, Any] = {
            "connectors": Connectors(hall.store, hall.keyring, hall.desk, hall.config, hall.clock, self.allowance),
            "freezer": Freezer(hall.store, hall.keyring, hall.desk, hall.clock, self.door),
            "admin": Admin(hall.store, hall.keyring, hall.config, hall.clock),
            "policies": Policies(hall.store, hall.keyring, hall.clock),
            "login": Login(*people), "account": Account(*people),
            "team": Team(hall.store, hall.keyring, hall.clock), "devices": Devices(hall.store, hall.keyring, hall.clock),
            "numbers": Numbers(hall.store, hall.keyring, None, hall.clock),
            "payloads": Payloads(hall.store, hall.keyring, hall.config, hall.clock, self.allowance), "history": History(hall.store),
            "openapi": OpenApi(), "upkeep": Upkeep(hall.store, hall.keyring, hall.config, hall.clock),
            "keys": Keys(folder, hall.store, hall.keyring, hall.clock),
        }  # fmt: skip
        self.router = Router(hall.store, self.parts, PUBLIC, sessions=self.sessions)
        self.local = Router(hall.store, self.parts, LOCAL)
        self.hashed = passwords.hashed(PASSWORD, b"s" * 16)
        self.org_id = hall.org_id

    def person(self, name: str, role: str = "member", org_id: str = "", *, second_factor: bool = False) -> SimpleNamespace:
        """A user who can log in. secret: of the login's authenticator entry, "" without one."""
        org_id = org_id or self.org_id
        user_id, email, secret = new_id("usr", self.clock), f"{name}@example.com", pyotp.random_base32() if second_factor else ""

        def add(tx: Any) -> None:
            org = tx.org(org_id)
            org.add_user(user_id, email, role, self.hashed)
            if secret:
                org.add_totp(user_id, "login", self.hall.keyring.seal(secret.encode(), "totp.login", org_id, user_id, self.clock))

        self.store.write_now(add)
        return SimpleNamespace(user_id=user_id, email=email, org_id=org_id, secret=secret)

    def code(self, person: SimpleNamespace, steps: int = 0) -> str:
        return pyotp.TOTP(person.secret).at(self.clock.now + 30 * steps)

    def session(self, person: Any, level: str = FULL, *, fresh: bool = True) -> "Browser":
        """Somebody who has logged in, a moment or ten minutes ago."""

        def begin(tx: Any) -> str:
            org = tx.org(person.org_id)
            session, token = self.sessions.begun(org, org.user(person.user_id), level, "Firefox")
            if not fresh:
                org._db.execute("UPDATE web_session SET confirmed_at = confirmed_at - 600 WHERE id = ?", (session.id,))
            return str(token)

        return Browser(self, self.store.write_now(begin))

    def browser(self, **changes: str) -> "Browser":
        return Browser(self, "", **changes)

    def at_socket(self, method: str, path: str, body: object = None) -> Response:
        """As `ony admin` asks on the local socket."""
        return asyncio.run(self.local.answer(_request(method, path, body, ())))

    def log(self, kind: str) -> list[dict[str, Any]]:
        return [row for row in self.hall.logged() if row["kind"] == kind]


class Browser:
    """Keeps one cookie. headers: what it sends beside it; peer: its address."""

    def __init__(self, town: Town, token: str, peer: str = "192.0.2.7", **headers: str) -> None:
        self.town, self.token, self.peer = town, token, peer
        self.headers = {"host": HOST, "origin": ORIGIN, "sec-fetch-site": "same-origin", **headers}
        self.set_cookie = ""

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Response:
        """headers: instead of the usual ones; "" leaves one out."""
        path, _, query = path.partition("?")
        name = "__Host-ony" if self.town.secure else "ony-local"
        found = {**self.headers, **({"cookie": f"{name}={self.token}"} if self.token else {}),
                 **{name.replace("_", "-"): value for name, value in headers.items()}}  # fmt: skip
        asked = _request(method, path, body, tuple((name, value) for name, value in found.items() if value), query, self.peer)
        response = asyncio.run(self.town.router.answer(asked))
        self._keep(response)
        return response

    def post(self, path: str, body: object = None, **headers: str) -> Response:
        return self.ask("POST", path, {} if body is None else body, **headers)

    def get(self, path: str, **headers: str) -> dict[str, Any]:
        response = self.ask("GET", path, **headers)
        assert response.status == 200, response.body
        return dict(said(response))

    def _keep(self, response: Response) -> None:
        for name, value in response.headers:
            if name == "Set-Cookie":
                self.set_cookie = value
                self.token = value.partition(";")[0].partition("=")[2]


def said(response: Response) -> Any:
    return canon.loads(response.body) if response.body else {}


def refused(response: Response) -> tuple[int, str]:
    return response.status, said(response)["error"]["code"]


def _request(method: str, path: str, body: object, headers: tuple[tuple[str, str], ...], query: str = "", peer: str = "") -> Request:
    typed = (("content-type", "application/json"),) if body is not None else ()
    return Request(method, path, query, (*headers, *typed), b"" if body is None else json.dumps(body).encode(), peer)
