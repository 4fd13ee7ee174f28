#!/usr/bin/env python3
"""Opens a Strongroom block from its bytes and keys alone: a second reader that shares no line with the server.

The format is docs/formats/sealed-object.md. Needs the package `cryptography`.
    python3 read_block.py FILE --aek HEX --workspace-secret HEX -o OUT [--infrastructure HEX]
"""

import argparse
import hashlib
import hmac
import struct
import sys
import uuid

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

CHUNK, TAG = 16384, 16


def expand(algorithm, key, info, length):
    """HKDF-Expand, RFC 5869 section 2.3."""
    out, block = b"", b""
    while len(out) < length:
        block = hmac.digest(key, block + info + bytes([len(out) // hashlib.new(algorithm).digest_size + 1]), algorithm)
        out += block
    return out[:length]


def open_layer(cipher, name, key, context, layer):
    """C2SP chunked encryption: salt 24, commitment 32, chunks of 16 KiB, the last one shorter."""
    salt, commitment, chunks = layer[:24], layer[24:56], layer[56:]
    if len(chunks) % (CHUNK + TAG) < TAG:
        raise ValueError("truncated: no final chunk")
    info = b"c2sp.org/chunked-encryption@v1+" + name + b"\0" + salt + context
    derived = expand("sha512", key, info, 76)
    if not hmac.compare_digest(derived[44:], commitment):
        raise ValueError("the commitment does not fit: wrong key, wrong place or changed bytes")
    aead, base, plain = cipher(derived[:32]), int.from_bytes(derived[32:44], "big"), []
    for number, at in enumerate(range(0, len(chunks), CHUNK + TAG)):
        plain.append(aead.decrypt((base ^ number).to_bytes(12, "big"), chunks[at : at + CHUNK + TAG], None))
    return b"".join(plain)


def open_block(sealed, aek, secret, infrastructure=None):
    context = sealed[:96]
    magic, version, suite, kind, flags = struct.unpack("<4sBBBB", context[:8])
    if magic != b"STRG" or version != 1 or suite != 1 or kind != 1 or flags > 1:
        raise ValueError("not a block of format 1")
    workspace, layer = context[40:56], sealed[96:]
    if flags & 1:
        if infrastructure is None:
            raise ValueError("sealed twice: --infrastructure is needed")
        layer = open_layer(ChaCha20Poly1305, b"AEAD_CHACHA20_POLY1305", infrastructure, context, layer)
    purpose_key = expand("sha256", aek, b"aek/v1/block", 32)
    key = expand("sha256", purpose_key, b"ws/v1/" + workspace + secret, 32)
    return open_layer(AESGCM, b"AEAD_AES_256_GCM", key, context, layer)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    for name in ("aek", "workspace-secret", "infrastructure"):
        parser.add_argument("--" + name, type=bytes.fromhex, required=name != "infrastructure")
    parser.add_argument("-o", "--out", required=True)
    args = parser.parse_args()
    with open(args.file, "rb") as file:
        sealed = file.read()
    try:
        plain = open_block(sealed, args.aek, args.workspace_secret, args.infrastructure)
    except (ValueError, struct.error, InvalidTag) as error:
        sys.exit(f"{args.file}: {error or 'a chunk is not authentic'}")
    with open(args.out, "wb") as file:
        file.write(plain)
    ids = dict(zip(("aek", "account", "workspace", "table"), (uuid.UUID(bytes=sealed[at : at + 16]) for at in (8, 24, 40, 56))))
    print(f"block {uuid.UUID(bytes=sealed[80:96])}: {len(plain)} bytes, " + ", ".join(f"{k} {v}" for k, v in ids.items()))


if __name__ == "__main__":
    main()
