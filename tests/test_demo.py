"""The demo is the product's first minute: every part in it is real, so it is tested as a user would run it, in an empty HOME."""

import json
import os
import subprocess

import pytest

from ony_core import program


@pytest.fixture(scope="module")
def performance(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(tmp_path_factory.mktemp("tmp")), "LANG": "C.UTF-8"}
    done = subprocess.run(
        [*program.command(), "demo", "--auto", "--keep"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout, home, environment["TMPDIR"]


def test_the_harmless_call_passes_without_a_word(performance):
    assert "Hook answers {} after" in performance[0]


def test_the_phone_says_what_the_call_does_and_takes_keys_and_code(performance):
    text = performance[0].lower()
    assert "press 5" in text and "production" in text and "press 1" in text and "six" in text


def test_the_call_is_released_exactly_once_with_its_own_input(performance):
    assert performance[0].count("Released, once: terraform apply -auto-approve") == 1


def test_the_verdict_shown_carries_both_signatures(performance):
    text = performance[0]
    shown = json.loads(
        text[text.index("{\n", text.index("5. verdict.json")) : text.index("}", text.index("5. verdict.json")) + 1].replace("\n   ", "\n")
    )
    assert shown["decision"] == "approve" and shown["action"] == "deploy.production" and shown["code_verified"] is True
    assert shown["signature"].startswith("hmac-sha256:") and shown["server_signature"].startswith("ed25519:")


def test_the_chain_is_listed_and_verified(performance):
    text = performance[0]
    assert "verdict" in text[text.index("6. The audit chain") :] and "\n   OK" in text


def test_it_says_plainly_that_it_protects_nothing(performance):
    assert "it protects nothing" in performance[0]


def test_the_users_own_home_is_left_alone(performance):
    assert list(performance[1].iterdir()) == []
