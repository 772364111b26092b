"""Opens an age file (age-encryption.org/v1) that is sealed to an X25519 recipient, as a backup is."""
import base64, hmac, re
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

FIRST = b"age-encryption.org/v1\n"
CHUNK = 65536
ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
def identity(text):
    """The 32 bytes of AGE-SECRET-KEY-1… (Bech32, BIP 173)."""
    prefix, digits = text.lower().rsplit("1", 1)
    values = [ALPHABET.index(digit) for digit in digits]
    sum = 1
    for value in [*(ord(c) >> 5 for c in prefix), 0, *(ord(c) & 31 for c in prefix), *values]:
        top, sum = sum >> 25, (sum & 0x1ffffff) << 5 ^ value
        for bit, term in enumerate((0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3)):
            if top >> bit & 1: sum ^= term
    assert (prefix, sum) == ("age-secret-key-", 1), "no identity"
    bits = "".join(f"{value:05b}" for value in values[:-6])
    return bytes(int(bits[at:at + 8], 2) for at in range(0, len(bits) - 7, 8))
def base64_of(text):
    """Without padding, in the one canonical spelling."""
    try: raw = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except ValueError: raise AssertionError("damaged")
    assert base64.b64encode(raw).rstrip(b"=") == text, "damaged"
    return raw
def derived(secret, salt, info):
    return HKDF(hashes.SHA256(), 32, salt, info).derive(secret)
def stanzas(file):
    """Arguments and body of each stanza, where the tag's line begins, the tag, where the rest begins."""
    at, found = len(FIRST), []
    def line():
        nonlocal at
        end = file.find(b"\n", at)
        assert end >= 0, "cut off"
        text, at = file[at:end], end + 1
        return text
    while True:
        begins, text = at, line()
        if text.startswith(b"--- "): return found, begins, base64_of(text[4:]), at
        assert re.fullmatch(rb"->( [!-~]+)+", text), "damaged"
        body = b""
        while True:
            row = line()
            assert len(row) <= 64, "damaged"
            body += row
            if len(row) < 64: break
        found.append((text.split(b" ")[1:], base64_of(body)))
def file_key(stanzas, secret):
    key = X25519PrivateKey.from_private_bytes(secret)
    own = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    for arguments, body in stanzas:
        if arguments[0] != b"X25519": continue
        assert len(arguments) == 2 and len(body) == 32, "damaged"
        share = base64_of(arguments[1])
        assert len(share) == 32, "damaged"
        try: shared = key.exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError: raise AssertionError("damaged")
        wrap = derived(shared, share + own, b"age-encryption.org/v1/X25519")
        try: return ChaCha20Poly1305(wrap).decrypt(bytes(12), body, None)
        except InvalidTag: continue
    raise AssertionError("other recipient")
def unseal(file, secret):
    """What is in a file. The errors are those of docs/backups.md."""
    assert file[:len(FIRST)] == FIRST[:len(file)], "not age"
    assert len(file) >= len(FIRST), "cut off"
    found, tag_at, tag, at = stanzas(file)
    key = file_key(found, secret)
    assert hmac.compare_digest(hmac.digest(derived(key, b"", b"header"), file[:tag_at + 3], "sha256"), tag), "damaged"
    nonce, at = file[at:at + 16], at + 16
    assert len(nonce) == 16, "cut off"
    cipher, plain, number = ChaCha20Poly1305(derived(key, nonce, b"payload")), [], 0
    while True:
        chunk = file[at:at + CHUNK + 16]
        is_last, at = at + len(chunk) == len(file), at + len(chunk)
        # A chunk that is whole and the file's last may be a file that was cut behind it.
        flags = (0, 1) if len(chunk) == CHUNK + 16 else (1,)
        for flag in flags:
            try: plain.append(cipher.decrypt(number.to_bytes(11, "big") + bytes([flag]), chunk, None))
            except InvalidTag: continue
            break
        else: raise AssertionError("cut off" if is_last else "damaged")
        if flag: break
        assert at < len(file), "cut off"
        number += 1
    assert at == len(file) and (plain[-1] or number == 0), "damaged"
    return b"".join(plain)
