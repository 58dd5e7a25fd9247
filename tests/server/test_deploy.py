"""What deploy/ holds is understood by the program and the tools it is for; `ony doctor --server` says what is wrong with a server."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from ony_core import cli, config
from ony_core.commands import doctor_server
from tests.server.serving import EMAIL, NUMBER, VOICE, Server, ony

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNIT = (DEPLOY / "ony.service").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
MOST_EXPOSED = 2.0


def systemd(*words: str) -> "subprocess.CompletedProcess[str]":
    if shutil.which("systemd-analyze") is None:
        pytest.skip("this machine has no systemd-analyze")
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False)


def test_the_unit_is_understood_by_systemd(tmp_path):
    unit = tmp_path / "ony.service"
    unit.write_text(UNIT.replace("/opt/ony/ony ", "/bin/true "))
    done = systemd("verify", str(unit))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_leaves_little_to_attack():
    done = systemd("security", "--offline=true", "--no-pager", str(DEPLOY / "ony.service"))
    assert float(re.search(r"exposure level for ony.service: ([\d.]+)", done.stdout)[1]) <= MOST_EXPOSED


HELD = ("NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes", "MemoryDenyWriteExecute=yes", "User=ony",
        "CapabilityBoundingSet=", "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6", "StateDirectoryMode=0700", "UMask=0077")  # fmt: skip


@pytest.mark.parametrize("line", HELD)
def test_the_unit_holds_what_the_threat_model_counts_on(line):
    assert line in UNIT.splitlines()


def commands_in(text: str) -> list[list[str]]:
    return [words.split() for words in re.findall(r"(?:^|\s|/)ony ((?:serve|admin|doctor|config) [^\n#]*)", text)]


@pytest.mark.parametrize("file", sorted(path.name for path in DEPLOY.iterdir()))
def test_every_ony_command_in_these_files_is_understood(file):
    text = (DEPLOY / file).read_text().replace('"Example"', "Example")
    for words in commands_in(text):
        if words[0] in cli.COMMANDS and not any(word.startswith("`") for word in words):
            cli.parser_of(words[0]).parse_args([word.rstrip("`,.") for word in words[1:]])


def test_the_configuration_is_one_that_a_server_takes(tmp_path):
    path = tmp_path / "ony.toml"
    shutil.copy(DEPLOY / "ony.toml", path)
    path.chmod(0o640)
    assert config.load(str(path), {}, {}).server.trusted_proxies == ("127.0.0.1", "::1")


def test_the_containers_have_no_more_than_they_need():
    """Read as the Compose specification has it; `docker compose config` needs a plugin that test machines lack."""
    ony_, caddy = COMPOSE["services"]["ony"], COMPOSE["services"]["caddy"]
    assert ony_["read_only"] is True and ony_["cap_drop"] == ["ALL"] and "no-new-privileges:true" in ony_["security_opt"]
    assert "ports" not in ony_ and caddy["ports"] == ["80:80", "443:443"]
    named = {name for service in COMPOSE["services"].values() for name in service["networks"]}
    assert named <= COMPOSE["networks"].keys()
    volumes = {volume.partition(":")[0] for service in COMPOSE["services"].values() for volume in service["volumes"]}
    assert {name for name in volumes if not name.startswith(".")} == COMPOSE["volumes"].keys()
    settings = config.load(None, dict(ony_["environment"]), {"server.listen": "0.0.0.0:8750"})
    assert settings.server.trusted_proxies == (COMPOSE["networks"]["inner"]["ipam"]["config"][0]["subnet"],)
    assert (DEPLOY / ony_["build"]["context"]).resolve() == ROOT and (ROOT / ony_["build"]["dockerfile"]).is_file()
    assert caddy["environment"]["ONY_UPSTREAM"] == "ony:8750"


def test_the_image_runs_as_nobody_in_particular():
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    assert "USER ony" in lines and not any(line.startswith(("ADD http", "RUN curl")) for line in lines)
    healthy = next(line for line in lines if line.startswith("HEALTHCHECK"))
    assert json.loads(healthy.partition("CMD ")[2])[0] == "python"


def test_the_proxy_file_is_balanced_and_points_at_the_default_address():
    text = (DEPLOY / "Caddyfile").read_text()
    assert text.count("{") == text.count("}") and config.Server().listen in text and "max_size 64KB" in text


# ---------------------------------------------------------------- ony doctor --server


def doctor(server: Server, **environ: str) -> dict[str, tuple[bool, str]]:
    done = ony("doctor", "--server", "--json", "--data", str(server.data), **environ)
    found = {line["check"]: (line["holds"], line["detail"] + " " + line["remedy"]) for line in json.loads(done.stdout)["checks"]}
    assert done.returncode == (0 if all(holds for holds, _ in found.values()) else 1)
    return found


def test_a_server_that_lacks_nothing_passes_and_each_lack_is_named(tmp_path_factory):
    server, settings = Server(tmp_path_factory.mktemp("s")), {**VOICE, "ONY_VOICE_SIGNING_KEY": "PSK_x"}
    assert "trusted_proxies" in doctor(server, **settings)["configuration"][1]
    settings["ONY_SERVER_TRUSTED_PROXIES"] = "127.0.0.1"
    found = doctor(server)
    assert not found["running"][0] and "ony serve" in found["running"][1] and not found["voice"][0]
    server.start(**settings)
    assert not doctor(server, **settings)["phones"][0]
    server.admin("phone", "--email", EMAIL, "--number", NUMBER, "--verified")
    found = doctor(server, **settings)
    assert all(holds for holds, _ in found.values()), found
    assert "hunter2" not in str(found) and NUMBER not in str(found)
    (server.data / "master.key").chmod(0o644)
    assert "chmod 600" in doctor(server, **settings)["keys"][1]
    (server.data / "master.key").unlink()
    assert "none is made anew" in doctor(server, **settings)["keys"][1]
    server.data.chmod(0o755)
    assert "chmod 700" in doctor(server, **settings)["data folder"][1]
    server.stop()


def test_a_full_disk_and_a_certificate_that_ends_are_said_before_they_hurt(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor_server, "SPACE", 1 << 60)
    (tmp_path / "ony.db").touch()
    with pytest.raises(Exception, match="MiB are free"):
        doctor_server._disk(tmp_path)
    with pytest.raises(Exception, match="cannot be read"):
        doctor_server._certificate(tmp_path / "none.pem")


def test_a_sqlite_with_the_wal_reset_bug_is_named(monkeypatch):
    for version, bug in (((3, 40, 1), True), ((3, 44, 6), False), ((3, 50, 7), False), ((3, 51, 2), True), ((3, 51, 3), False)):
        monkeypatch.setattr(doctor_server.copies, "SQLITE", version)
        assert ("WAL-reset" in doctor_server._sqlite()) is bug
