"""One tool call from the hook to the phone and back, through real processes: what is answered, what is kept, and what never leaves."""

import itertools
import json
import random

import pytest

from tests.facts.test_leaks import CLASSES, parts
from tests.world import World

# one template for each class of secret: as an operand, a flag's value, a name, an address, code, a document
PLANTED = [
    "echo {0}", "export A={0}", "PASSWORD={0} npm publish", "rm -rf /srv/{0}", "git push --force origin '{0}'", "git branch -D '{0}'",
    "kubectl --context '{0}' -n '{0}' delete pod '{0}'", "curl -H 'Authorization: Bearer {0}' https://example.org/?{0}={0}",
    "psql 'postgres://u:{0}@h/d' -c \"DROP TABLE t_{0}\"", "mysql -p'{0}' -e 'TRUNCATE t'", "redis-cli -a '{0}' FLUSHALL",
    "docker run -e T='{0}' -v '{0}':/x img", "aws --profile '{0}' s3 rm 's3://{0}' --recursive", "ssh '{0}@host' ls", "'./{0}'",
    "python3 -c 'import os; os.system(\"{0}\")'", "cat <<E | sh\n{0}\nE\n:", "npm install '{0}'", "make '{0}'",
    "helm upgrade a b --set t='{0}'",
    "terraform workspace select '{0}'", "gh api -X DELETE 'repos/{0}'", "git commit -m '{0}'", "sudo -u '{0}' reboot", "'{0}' deploy",
    "alias x='{0}'; x", "git remote add '{0}' 'https://{0}@example.org/r.git'",
]  # fmt: skip

COMMAND = "terraform apply -auto-approve"
SECRET = "hunter2-correct-horse"


@pytest.fixture(scope="module")
def world():
    with World(deadline_s=30) as made:
        yield made


def decision(done) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["hookSpecificOutput"]


def verify(world: World) -> dict:
    return json.loads(world.ony("audit", "verify", "--data", str(world.data), "--witness", str(world.ony_home / "heads"), "--json"))


def test_a_harmless_call_passes_without_an_opinion_and_nobody_is_called(world):
    before = world.states()
    done = world.hook("git status")
    assert (done.returncode, json.loads(done.stdout)) == (0, {})
    assert world.states() == before
    world.provider.check()


def test_a_no_on_the_phone_is_a_no_for_the_agent(world):
    world.rings().denies()
    said = decision(world.hook(COMMAND, session="22222222-2222-4333-8444-555555555555"))
    assert said["permissionDecision"] == "deny"
    assert world.states()[-1] == "denied"
    world.provider.check()


def test_a_yes_with_the_code_releases_that_very_call_once(world):
    world.rings().approves().hears("pproved")
    said = decision(world.hook(COMMAND))
    assert said["permissionDecision"] == "allow"
    assert said["updatedInput"]["command"] == COMMAND
    world.provider.check()
    world.until("the verdict is used", lambda: world.states()[-1] == "used")


def test_the_next_identical_call_rings_again(world):
    known = len(world.states())
    world.rings().denies()
    assert decision(world.hook(COMMAND, session="33333333-2222-4333-8444-555555555555"))["permissionDecision"] == "deny"
    assert len(world.states()) == known + 1
    world.provider.check()


def test_nothing_the_call_says_reaches_the_server_its_log_or_the_phone(world):
    person = world.rings().denies()
    call = f"terraform apply -auto-approve -var password={SECRET}"
    assert decision(world.hook(call, session="44444444-2222-4333-8444-555555555555"))["permissionDecision"] == "deny"
    kept = [path for folder in (world.data, world.ony_home) for path in folder.rglob("*") if path.is_file()]
    for path in [*kept, world.folder / "server.log"]:
        assert SECRET.encode() not in path.read_bytes(), path
        assert b"auto-approve" not in path.read_bytes() or path.name in ("ony.db", "ony.db-wal"), path  # a flag of the tables may be a fact
    assert SECRET not in json.dumps([person.heard, world.provider.requests])


def test_no_class_of_secret_leaves_in_a_call_that_is_full_of_them(world):
    drawn = random.Random(7)
    secrets = {name: "".join(drawn.choice(alphabet) for _ in range(length)) for name, (_, alphabet, length) in CLASSES.items()}
    texts = [prefix + secrets[name] for name, (prefix, _, _) in CLASSES.items()]
    call = "; ".join(template.format(text) for template, text in zip(PLANTED, itertools.cycle(texts), strict=False))
    person = world.rings().denies()
    session = f"55555555-{secrets['hex'][:4]}-4333-8444-555555555555"
    assert decision(world.hook(f"terraform apply -auto-approve; {call}", session=session))["permissionDecision"] == "deny"
    files = [path for folder in (world.data, world.ony_home) for path in folder.rglob("*") if path.is_file()]
    kept: dict[object, bytes] = {path: path.read_bytes() for path in files}
    kept[world.folder / "server.log"] = (world.folder / "server.log").read_bytes()
    kept["the phone"] = json.dumps([person.heard, world.provider.requests]).encode()
    for name, secret in secrets.items():
        found = [(name, place) for place, content in kept.items() if any(part.encode() in content for part in parts(secret))]
        assert not found


def test_decisions_and_log_survive_the_servers_sudden_death(world):
    before = world.handoffs()
    assert verify(world)["result"] == "OK"
    world.kill_server()
    world.start_server()
    assert world.handoffs() == before
    assert verify(world)["result"] == "OK"
    assert json.loads(world.hook("git status").stdout) == {}


def test_without_a_daemon_the_call_is_blocked(world):
    world.kill_daemon()
    done = world.hook(COMMAND)
    assert (done.returncode, done.stdout) == (2, "")
    world.start_daemon()
    assert json.loads(world.hook("git status").stdout) == {}
