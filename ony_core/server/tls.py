"""The server's own TLS: a pair of certificate files that may be renewed under it, or its own small authority for a local network.

MUST: speak TLS 1.2 or newer (RFC 9325), and take no private key that other users can read.
MUST: keep serving with the pair it has when a new one cannot be used, and say so; never half of each.
"""

import datetime
import ipaddress
import logging
import os
import ssl
import stat
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ony_core.clock import Clock
from ony_core.errors import OnyError

FOLDER = "tls"  # below the data folder
AUTHORITY, AUTHORITY_KEY, CERTIFICATE, KEY = "ca.pem", "ca.key", "server.pem", "server.key"
AUTHORITY_DAYS, CERTIFICATE_DAYS, RENEW_DAYS = 3650, 397, 30  # browsers refuse server certificates of more than 398 days
LOOK_S = 60  # how often the files are looked at

log = logging.getLogger("ony.tls")


class Certificates:
    """A pair of PEM files and the context that serves it. OnyError where the pair cannot be served."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self._seen = self._state()
        _require_private(key)
        _load(self.context, certificate, key)

    def refresh(self) -> bool:
        """Whether a new pair is served from now on. One that cannot be used changes nothing and is tried again when it changes."""
        state = self._state()
        if state == self._seen:
            return False
        self._seen = state
        try:
            _require_private(self._files[1])
            _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), *self._files)  # a trial: loading a bad pair would leave half of it
            _load(self.context, *self._files)
        except OnyError as error:
            log.error("the certificate before is kept: %s", error)
            return False
        log.info("a new certificate is served")
        return True

    def _state(self) -> tuple[tuple[int, int, int], ...]:
        try:
            return tuple((about.st_ino, about.st_mtime_ns, about.st_size) for about in map(os.stat, self._files))
        except OSError:
            return ()


def local(data: Path, name: str, clock: Clock) -> tuple[Path, Path]:
    """Certificate and key for a name or address on a local network, signed by this server's own authority, made or renewed as needed.

    The authority's certificate (tls/ca.pem) is what the other machines are given. Its key never leaves the data folder.
    """
    folder = data / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    now = datetime.datetime.fromtimestamp(clock.wall(), datetime.UTC)
    authority, authority_key = _authority(folder, now)
    if not _good(folder, name, now):
        key = ec.generate_private_key(ec.SECP256R1())
        made = _signed(name, key.public_key(), authority, authority_key, now)
        _write(folder / KEY, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        _write(folder / CERTIFICATE, made.public_bytes(Encoding.PEM))
    return folder / CERTIFICATE, folder / KEY


def _authority(folder: Path, now: datetime.datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The kept authority, or a first one. OnyError for half of one: a new one beside it would not be trusted by anybody."""
    there = [(folder / file).exists() for file in (AUTHORITY, AUTHORITY_KEY)]
    if any(there):
        if not all(there):
            raise OnyError("one half of the local authority is missing", f"put it back, or empty {folder} and hand out the new one")
        _require_private(folder / AUTHORITY_KEY)
        key = load_pem_private_key((folder / AUTHORITY_KEY).read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise OnyError("the local authority's key is not one that this server made", f"look into {folder}")
        return x509.load_pem_x509_certificate((folder / AUTHORITY).read_bytes()), key
    key = ec.generate_private_key(ec.SECP256R1())
    made = _self_signed(key, now)
    _write(folder / AUTHORITY_KEY, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    _write(folder / AUTHORITY, made.public_bytes(Encoding.PEM))
    return made, key


def _good(folder: Path, name: str, now: datetime.datetime) -> bool:
    """Whether there is a certificate for this name that lasts for a while."""
    if not (folder / CERTIFICATE).exists() or not (folder / KEY).exists():
        return False
    try:
        found = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    return _general(name) in names and found.not_valid_after_utc - now > datetime.timedelta(days=RENEW_DAYS)


def _self_signed(key: ec.EllipticCurvePrivateKey, now: datetime.datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Ony local authority")])
    builder = _builder(name, name, key.public_key(), now, AUTHORITY_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return builder.add_extension(_usage(signs=True), critical=True).sign(key, hashes.SHA256())


def _signed(
    name: str, public: ec.EllipticCurvePublicKey, authority: x509.Certificate, key: ec.EllipticCurvePrivateKey, now: datetime.datetime
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Ony server")])
    builder = _builder(subject, authority.subject, public, now, CERTIFICATE_DAYS)
    builder = builder.add_extension(x509.SubjectAlternativeName([_general(name)]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    return builder.add_extension(_usage(signs=False), critical=True).sign(key, hashes.SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime.datetime, days: int
) -> x509.CertificateBuilder:
    """Valid from an hour ago, because clocks differ (RFC 5280 4.1.2.5)."""
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
    return builder.not_valid_after(now + datetime.timedelta(days=days))


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        key_cert_sign=signs, crl_sign=signs, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key, password="")  # none is asked for # nosec B106
    except OSError as error:  # ssl.SSLError is one
        raise OnyError(f"the TLS certificate cannot be served ({_why(error)})", f"look at {certificate} and {key}") from None


def _why(error: OSError) -> str:
    reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
    return str(reason).lower().replace("_", " ")


def _require_private(key: Path) -> None:
    try:
        mode = os.stat(key).st_mode
    except OSError as error:
        raise OnyError(f"the TLS key cannot be read ({error.strerror})", f"look at {key}") from None
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise OnyError("other users can read or change the TLS key", f"run `chmod 640 {key}`")


def _write(file: Path, data: bytes) -> None:
    """Whole or not at all, 0600 from its first moment."""
    fresh = file.with_suffix(file.suffix + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(fresh, file)
