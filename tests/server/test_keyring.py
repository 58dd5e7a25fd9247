"""Sealed secrets open for their own row alone; keys that are missing, foreign or open to others stop the server and are not made anew."""

import os

import pytest

from ony_core.errors import OnyError
from ony_core.server import keyring
from ony_core.server.keyring import Keyring
from ony_core.store import Store
from tests.store.world import Clock

PLACE = ("totp.approval", "org_" + "1" * 32, "usr_" + "1" * 32)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    made = Store.open(tmp_path / "ony.db", clock)
    yield made
    made.close()


@pytest.fixture
def keys(tmp_path, store, clock):
    return keyring.create(tmp_path, store, clock)


def test_what_is_sealed_opens_and_does_not_show(keys, clock):
    sealed = keys.seal(b"JBSWY3DPEHPK3PXP", *PLACE, clock)
    assert keys.unseal(sealed, *PLACE) == b"JBSWY3DPEHPK3PXP"
    assert b"JBSWY3DP" not in sealed
    assert keys.seal(b"JBSWY3DPEHPK3PXP", *PLACE, clock) != sealed, "a fresh nonce each time"


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_sealed_value_moved_elsewhere_does_not_open(keys, clock, part):
    sealed = keys.seal(b"secret", *PLACE, clock)
    other = [*PLACE]
    other[part] = other[part][:-1] + "2"
    with pytest.raises(OnyError, match="does not open"):
        keys.unseal(sealed, *other)


def test_every_bit_of_a_sealed_value_counts(keys, clock):
    sealed = keys.seal(b"secret", *PLACE, clock)
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(OnyError):
            keys.unseal(bytes(changed), *PLACE)
    for cut in range(len(sealed)):
        with pytest.raises(OnyError):
            keys.unseal(sealed[:cut], *PLACE)


def test_the_same_keys_after_a_restart(tmp_path, store, keys, clock):
    sealed = keys.seal(b"secret", *PLACE, clock)
    again = Keyring.open(tmp_path, store)
    assert again.unseal(sealed, *PLACE) == b"secret"
    assert (again.verdict_public, again.audit_public) == (keys.verdict_public, keys.audit_public)
    assert keys.verdict_public != keys.audit_public


def test_the_master_key_is_the_owners_alone_and_not_in_the_database(tmp_path, store, keys):
    path = tmp_path / "master.key"
    assert path.stat().st_mode & 0o777 == 0o600
    master = bytes.fromhex(path.read_text())
    for name in ("ony.db", "ony.db-wal"):
        data = (tmp_path / name).read_bytes()
        assert master not in data
        assert master.hex().encode() not in data


TROUBLE = {
    "missing": lambda path: path.unlink(),
    "another one": lambda path: path.write_text("ab" * 32),
    "too short": lambda path: path.write_text("ab" * 31),
    "not hex": lambda path: path.write_text("zz" * 32),
    "empty": lambda path: path.write_text(""),
    "open to the group": lambda path: os.chmod(path, 0o640),
    "open to all": lambda path: os.chmod(path, 0o604),
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_with_trouble_about_the_master_key_nothing_starts_and_none_is_made(tmp_path, store, keys, trouble):
    path = tmp_path / "master.key"
    TROUBLE[trouble](path)
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(OnyError):
        Keyring.open(tmp_path, store)
    assert (path.read_bytes() if path.exists() else None) == before


def test_an_existing_master_key_is_never_replaced(tmp_path, store, keys, clock):
    before = (tmp_path / "master.key").read_bytes()
    with pytest.raises(OnyError, match="already"):
        keyring.create(tmp_path, store, clock)
    assert (tmp_path / "master.key").read_bytes() == before


def test_a_database_without_signing_keys_is_not_given_new_ones(tmp_path, clock):
    store = Store.open(tmp_path / "ony.db", clock)
    (tmp_path / "master.key").write_text("ab" * 32)
    (tmp_path / "master.key").chmod(0o600)
    with pytest.raises(OnyError, match="no verdict key"):
        Keyring.open(tmp_path, store)
    store.close()
