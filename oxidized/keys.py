"""Static keys as text and in files: `ox1key:` (private, Ed25519 seed) and `ox1pub:` (public), base64.

No message here ever shows what is in a file: a mistyped path may well lead to another secret.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from collections.abc import Callable, Mapping

from oxidized.errors import KeyFileError
from oxidized.limits import KEY_FILE_BYTES_MAX

PRIVATE_PREFIX = "ox1key:"
PUBLIC_PREFIX = "ox1pub:"
KEY_BYTES = 32  # RFC 8032: seed and public key alike

_CREDENTIAL_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def generate(entropy: Callable[[int], bytes] = os.urandom) -> bytes:
    """A new private key."""
    private = entropy(KEY_BYTES)
    assert len(private) == KEY_BYTES
    return private


def public_of(private: bytes) -> bytes:
    """The public key of a private one."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def private_text(private: bytes) -> str:
    """For the key file alone; nothing else may show it."""
    return PRIVATE_PREFIX + base64.b64encode(private).decode()


def public_text(public: bytes) -> str:
    return PUBLIC_PREFIX + base64.b64encode(public).decode()


def public_parse(text: str) -> bytes:
    """ValueError (one line, without the text) when it is no public key."""
    if text.startswith(PRIVATE_PREFIX):
        raise ValueError("is a private key: replace that key, and put what `oxidized pubkey` prints here")
    return _parse(text, PUBLIC_PREFIX, "public")


def private_parse(text: str) -> bytes:
    """White space around it is allowed. ValueError (one line, without the text) when it is no private key."""
    text = text.strip()
    if text.startswith(PUBLIC_PREFIX):
        raise ValueError("is a public key; a private one is needed (`oxidized keygen`)")
    return _parse(text, PRIVATE_PREFIX, "private")


def _parse(text: str, prefix: str, kind: str) -> bytes:
    wanted = f'{kind} key of the form "{prefix}" and 44 characters of base64'
    if not text.startswith(prefix):
        raise ValueError(f"is no {wanted}")
    try:
        key = base64.b64decode(text.removeprefix(prefix), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"is no {wanted}") from None
    # base64 leaves spare bits at the end: two texts of one key would make two peers of it.
    if len(key) != KEY_BYTES or prefix + base64.b64encode(key).decode() != text:
        raise ValueError(f"is no {wanted}")
    return key


def source_check(source: str) -> None:
    """ValueError when `identity.key` is neither "credential:NAME" nor "file:/absolute/path"."""
    kind, _, rest = source.partition(":")
    if source.startswith(PRIVATE_PREFIX):
        raise ValueError(
            'is a key itself: keys stand in files of their own ("file:/path", "credential:NAME")'
        )
    if kind == "credential" and _CREDENTIAL_NAME.fullmatch(rest) and rest not in (".", ".."):
        return
    if kind == "file" and rest.startswith("/") and "\0" not in rest:
        return
    if kind == "file":
        raise ValueError("needs an absolute path: file:/etc/oxidized/keys/NAME.key")
    raise ValueError('is neither "credential:NAME" nor "file:/absolute/path"')


def is_credential(source: str) -> bool:
    return source.startswith("credential:")


def read(source: str, environ: Mapping[str, str] = os.environ) -> bytes:
    """The private key that `identity.key` names. Raises KeyFileError; `source` has been checked."""
    kind, _, rest = source.partition(":")
    if kind == "file":
        return _read_file(rest, forbidden_mode=0o077)
    folder = environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder.startswith("/"):
        raise KeyFileError(
            "$CREDENTIALS_DIRECTORY is not set: credentials come from systemd (LoadCredential=); "
            'outside a unit use "file:/path"'
        )
    # systemd lets the service in through an access control list, whose mask shows in the group bits.
    return _read_file(os.path.join(folder, rest), forbidden_mode=0o007)


def _read_file(path: str, forbidden_mode: int) -> bytes:
    try:
        # O_NONBLOCK: a named pipe must not make us wait.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise KeyFileError(f"can not read key file {path}: {error.strerror}") from None
    try:
        _file_check(path, os.fstat(fd), forbidden_mode)
        content = os.read(fd, KEY_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise KeyFileError(f"can not read key file {path}: {error.strerror}") from None
    finally:
        os.close(fd)
    try:
        if len(content) > KEY_FILE_BYTES_MAX:
            raise ValueError(f"is larger than {KEY_FILE_BYTES_MAX} bytes")
        return private_parse(content.decode("ascii"))
    except UnicodeDecodeError:
        raise KeyFileError(f"key file {path} is not text") from None
    except ValueError as error:
        raise KeyFileError(f"what key file {path} holds {error}") from None


def _file_check(path: str, found: os.stat_result, forbidden_mode: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise KeyFileError(f"key file {path} is not a regular file")
    if found.st_uid not in (0, os.geteuid()):
        raise KeyFileError(f"key file {path} belongs to uid {found.st_uid}, neither root nor us: chown it")
    if found.st_mode & forbidden_mode:
        mode = stat.S_IMODE(found.st_mode)
        raise KeyFileError(f"key file {path} is open to others (mode {mode:04o}): chmod 0600 {path}")


def write_new(path: str, private: bytes) -> None:
    """Make a key file of mode 0600. Raises OSError; an existing file is never overwritten."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(private_text(private) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        os.unlink(path)
        raise
