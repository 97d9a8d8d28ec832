"""What keeps voice data private: files that only their owner can read, the key, and AES-GCM around every blob.

The key is 64 hexadecimal digits (``openssl rand -hex 32``): the systemd credential ``affectd-store-key`` where there is
one, otherwise a file in the store's folder, made when it is first needed.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edge.errors import StoreError
from edge.files import new_file

KEY_BYTES = 32
NONCE_BYTES = 12
KEY_FILE_NAME = "store.key"
CREDENTIAL_NAME = "affectd-store-key"


class Vault:
    """AES-256-GCM with a random nonce per blob (NIST SP 800-38D); a blob opens only in the context it was sealed in."""

    def __init__(self, key: bytes, origin: Path) -> None:
        self.origin = origin
        self._cipher = AESGCM(key)

    @classmethod
    def load(cls, folder: Path, may_create: bool = False) -> Vault:
        """Read the key that belongs to a store's folder.

        Args:
            folder: the store's folder.
            may_create: make a key file when there is no key, for a store that holds nothing sealed yet.

        Raises:
            StoreError: there is no key, it is not 64 hexadecimal digits, or others can read the key file.
        """
        credential = Path(os.environ.get("CREDENTIALS_DIRECTORY") or "/nonexistent", CREDENTIAL_NAME)
        if credential.exists():
            # Its mode says nothing: systemd grants access by an ACL, which shows as a group's right to read.
            return cls(read_key(credential), credential)
        key_file = folder / KEY_FILE_NAME
        if may_create and not key_file.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Another process may have been first, and its key is the key.
            with suppress(FileExistsError), new_file(key_file, private=True, replace=False) as path:
                path.write_text(secrets.token_hex(KEY_BYTES) + "\n", encoding="ascii")
        key = read_key(key_file)
        mode = stat.S_IMODE(key_file.stat().st_mode)
        if mode & 0o077:
            raise StoreError(f"{key_file}: others can use this key (mode {mode:04o}): run `chmod 600 {key_file}`")
        return cls(key, key_file)

    def seal(self, plain: bytes, *context: str) -> bytes:
        """Encrypt. The same ``context`` is needed to open it, so that a blob cannot be moved to another place."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, _associated(context))

    def open(self, sealed: bytes, *context: str) -> bytes | None:
        """Decrypt what ``seal`` returned; None if it was damaged, moved to another place or sealed with another key."""
        nonce, encrypted = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, encrypted, _associated(context))
        except (InvalidTag, ValueError):  # ValueError: too short for a nonce
            return None


def _associated(context: tuple[str, ...]) -> bytes:
    return json.dumps(context).encode()


def read_key(path: Path) -> bytes:
    """Return the key in a file; raises StoreError when there is none, it cannot be read or is no key."""
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        raise StoreError(
            f"{path}: the key of the store is missing, and so is $CREDENTIALS_DIRECTORY/{CREDENTIAL_NAME}; put it "
            f"back, for without it people can only be listed, renamed and forgotten"
        ) from None
    except OSError as error:
        raise StoreError(f"{path}: the key cannot be read: {error.strerror}") from None
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise StoreError(f"{path}: is no key; a key is {2 * KEY_BYTES} hexadecimal digits (openssl rand -hex 32)")
    return key
