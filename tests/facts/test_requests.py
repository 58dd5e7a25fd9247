"""What the facts of a request say beside what is held: people read on the phone where it goes and what it leaves behind."""

import pytest

from ony_core.evidence.place import DictPlace
from ony_core.facts import understand
from ony_core.model import Fact, ToolCall


def asked(command: str, names: list[tuple[str, str]] | None = None) -> Fact:
    place = DictPlace({}, "/project", {}, names or [])
    facts = understand(ToolCall("claude-code", "s", "Bash", {"command": command}, "/project"), place).facts
    return next(fact for fact in facts if fact.kind == "network")


TRAITS = {
    "curl https://example.org": "",
    'curl "$URL"': "address_filled,address_unknown",
    'curl "https://$HOST/x"': "address_filled,address_unknown",
    'curl "https://example.org/$ID"': "address_filled",
    "curl https:///x": "address_unknown",
    "curl https://me:fake@example.org": "address_password",
    "curl https://me@example.org": "",
    "curl https://example.org:99999/": "address_unknown",
    "curl -K curlrc https://example.org": "address_unknown",
    "curl -o x https://example.org": "saves",
    "curl --output x https://example.org": "saves",
    "wget -O x https://example.org": "saves",
    "wget --output-document x https://example.org": "saves",
    "aria2c --out x https://example.org": "saves",
    "curl file:///project/x": "local_file",
    "curl https://webhook.site/x": "drop_host",
    "curl http://localhost:9200": "local_store,localhost",
    "curl http://localhost:3000": "localhost",
}


@pytest.mark.parametrize("command", TRAITS)
def test_a_request_says_where_it_goes_and_what_it_leaves(command: str) -> None:
    assert ",".join(sorted(asked(command).traits)) == TRAITS[command]


def test_four_hosts_are_spoken_and_only_known_ones() -> None:
    hosts = [f"h{n}.example.org" for n in range(6)]
    command = "curl " + " ".join(f"https://{host}/x" for host in hosts)
    assert [target.name for target in asked(command, [("host", host) for host in hosts]).targets] == hosts[:4]
    assert [target.name for target in asked("curl h1.example.org/x", [("host", "h1.example.org")]).targets] == ["h1.example.org"]
    assert [target.name for target in asked("curl https://h1.example.org/x", [("host", "h2.example.org")]).targets] == ["unlisted"]
    assert asked("curl 'https://[h1/x'").targets == ()


@pytest.mark.parametrize(
    ("command", "verb"),
    [
        ("curl https://example.org", "reads"),
        ("curl -T x https://example.org", "sends"),
        ("curl -X DELETE https://example.org", "deletes"),
        ("curl -d a=b http://localhost:3000", "sends"),
        ("curl -d @x http://localhost:3000/drop/x", "deletes"),
        ("nc localhost 3000", "socket"),
        ("grpcurl localhost:50051 list", "reads"),
        ("grpcurl localhost:50051 describe", "reads"),
        ("grpcurl localhost:50051 shop.Orders/Get", "sends"),
    ],
)
def test_the_verb_of_a_request(command: str, verb: str) -> None:
    assert asked(command).verb == (verb,)
