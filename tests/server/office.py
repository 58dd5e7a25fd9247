"""A hall with counters in front of the desk, for tests that speak to the server without a socket."""

import asyncio

from ony_core import canon
from ony_core.connector import bundle, enrolled, statement
from ony_core.server.admin import Admin
from ony_core.server.allowance import Allowance
from ony_core.server.connectors import Connectors
from ony_core.server.message import Request
from tests.server.world import Hall

EMAIL, NUMBER = "owner@example.com", "+15550100123"


def request(method: str, body: object = None, query: str = "", **headers: str) -> Request:
    found = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Request(method, "/", query, found, b"" if body is None else canon.dumps(body), "127.0.0.1")


def said(response) -> dict:
    return canon.loads(response.body) if response.body else {}


def refused(response) -> tuple[int, str]:
    return response.status, said(response)["error"]["code"]


class Office:
    """A hall with the two counters in front of the desk: the connectors' and the administrator's."""

    def __init__(self, folder, seed: str = "test") -> None:
        self.hall = Hall(folder, seed)
        hall = self.hall
        self.allowance = Allowance(8, hall.clock)
        self.connectors = Connectors(hall.store, hall.keyring, hall.desk, hall.config, hall.clock, self.allowance)
        self.admin = Admin(hall.store, hall.keyring, hall.config, hall.clock)

    def code(self) -> str:
        return said(asyncio.run(self.admin.enroll_code(request("POST", {"email": EMAIL}))))["code"]

    def enroll(self, code: str, **changes):
        wish = {"code": code, "name": "laptop", "version": "0.2.0", "protocol": 1, **changes}
        return asyncio.run(self.connectors.enroll(request("POST", wish)))

    def phone(self, number: str = NUMBER, email: str = EMAIL, verified: bool = True, **confirmed: str):
        """Confirmed by the owner, with a code that was not used before, unless said otherwise."""
        self.hall.clock.pass_(30)
        wish = {"email": email, "number": number, "verified": verified, "by": "", "code": self.hall.owner.code(), **confirmed}
        return asyncio.run(self.admin.phone(request("POST", wish)))

    def bundle(self, **headers: str):
        return asyncio.run(self.connectors.bundle(request("GET", **headers), self.hall.owner.connector))


def bundle_of(office, kept=None):
    hall = office.hall
    me = enrolled.Enrolled("http://127.0.0.1", "", hall.owner.connector_id, hall.org_id, hall.owner.user_id, "t" * 20,
                           hall.keyring.verdict_public, b"", "", (), b"", b"")  # fmt: skip
    return bundle.check(said(office.bundle()), me, statement.verifier(me.server_key), kept)
