"""Reads tombstones and announcements, written from docs/format.md alone."""
import base64, datetime, hashlib, hmac, json, re, unicodedata, uuid
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

class Ed25519PublicKey:
    """Checks signatures strictly (section 9): `cryptography` takes keys and R of small order, too."""
    P = 2**255 - 19
    HALF = 0x5fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826  # y of two points of order 8
    SMALL = {0, 1, P - 1, HALF, P - HALF}  # y of the eight points of small order
    def __init__(self, raw): self.raw = raw
    from_public_bytes = classmethod(lambda cls, raw: cls(raw))
    def verify(self, sig, message):
        for point in (self.raw, sig[:32]):
            if int.from_bytes(point, "little") % 2**255 % self.P in self.SMALL: raise InvalidSignature
        ed25519.Ed25519PublicKey.from_public_bytes(self.raw).verify(sig, message)

Number = type("Number", (str,), {})  # a number's literal
def load(text):
    return json.loads(text, parse_int=Number, parse_float=Number)
def number(literal):
    """The one spelling of a number's value (section 3)."""
    sign, whole, fraction, exponent = re.fullmatch(r"(-?)(\d+)(?:\.(\d+))?(?:[eE]\+?(-?\d+))?", literal).groups("")
    digits = (whole + fraction).lstrip("0")
    power = len(whole) - (len(whole + fraction) - len(digits)) - 1
    digits = digits.rstrip("0")
    if not digits: return "0"
    if len(exponent.lstrip("-0")) > 18: return literal
    power += int(exponent or 0)
    if not -40 <= power < 40: return f"{sign}{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e{power}"
    if power < 0: return f"{sign}0.{'0' * (-power - 1)}{digits}"
    digits = digits.ljust(power + 1, "0")
    return sign + digits[:power + 1] + ("." + digits[power + 1:] if digits[power + 1:] else "")
def canonical(v):
    if isinstance(v, Number): return number(v)
    if isinstance(v, (bool, int)): return json.dumps(v)
    if isinstance(v, dict): return "{%s}" % ",".join(f"{canonical(k)}:{canonical(v[k])}" for k in sorted(v))
    if isinstance(v, list): return "[%s]" % ",".join(map(canonical, v))
    return json.dumps(v, ensure_ascii=False)
HIDDEN = [(0xad, 0xad), (0x34f, 0x34f), (0x61c, 0x61c), (0x115f, 0x1160), (0x17b4, 0x17b5), (0x180b, 0x180f), (0x200b, 0x200f),
          (0x202a, 0x202e), (0x2060, 0x206f), (0x2800, 0x2800), (0x3164, 0x3164), (0xfe00, 0xfe0f), (0xfeff, 0xfeff), (0xffa0, 0xffa0),
          (0xfff0, 0xfffb), (0x1bca0, 0x1bca3), (0x1d173, 0x1d17a), (0xe0000, 0xe0fff)]  # what does not show
def name(text):
    """A name in its one form (section 3), as far as the tables of this Python go: what is newer they refuse."""
    assert text, "empty"
    text = unicodedata.normalize("NFC", text)
    for c in text:
        hidden = any(first <= ord(c) <= last for first, last in HIDDEN)
        assert not hidden and unicodedata.category(c) not in ("Zs", "Zl", "Zp", "Cc", "Co"), "bad character"
        assert unicodedata.category(c) not in ("Cn", "Cs"), "unassigned"
    assert len(text.encode()) <= 255, "too long"
    assert text[0] != "$", "reserved"
    return text
def field(b): return len(b).to_bytes(4, "big") + b
def token(text):
    assert type(text) is str, "malformed"
    try: raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError: raise AssertionError("not-base64")
    assert base64.urlsafe_b64encode(raw).rstrip(b"=") == text.encode(), "not-base64"
    return raw
def once(pairs):
    assert len({name for name, _ in pairs}) == len(pairs), "malformed"
    return dict(pairs)
def pieces(text):
    """What stands between the commas of an object or array."""
    depth, start, found = 0, 1, []
    for m in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[\]{},]', text):
        depth += (m[0] in "[{") - (m[0] in "]}")
        if (depth, m[0]) == (1, ",") or depth == 0: found.append(text[start:m.start()]); start = m.end()
    return found if found != [""] and (len(found) > 1 or found[0].strip()) else []
def split(piece):
    """Key (None for an element), all before the value, the value, the white space after it."""
    head, key = re.match(r'(\s*(?:("(?:[^"\\]|\\.)*")\s*:\s*)?)', piece).groups()
    value = piece[len(head):]
    load(value)
    return key and load(key), head, value.rstrip(), value[len(value.rstrip()):]
def spoken(label, line, *left_out):
    """An announcement's bytes: its place and the canonical form of its members, without some (section 10)."""
    members = canonical({k: v for k, v in line.items() if k not in ("id", *left_out)}).encode()
    return framed(label, b"oubliette-announcements", uuid.UUID(line["id"]).bytes, members)
def associated(line): return spoken(b"oubliette announcement", line, "sealed", "proof", "sig")
def of_era(secret, label): return hmac.digest(secret, b"oubliette era 1: " + label, "sha256")
def open_announcement(line, eras):
    """Associated data and plaintext of an announcement, by whichever of these eras it is sealed for."""
    aad, raw = associated(line), token(line["sealed"])
    end = 2 + 64 * int.from_bytes(raw[:2], "big")
    wraps = {raw[at:at + 4]: raw[at + 4:at + 64] for at in range(2, end, 64)}
    era = next(era for era in wraps if era in eras)
    key = AESGCM(of_era(eras[era], b"announcements")).decrypt(wraps[era][:12], wraps[era][12:], aad)
    return aad, AESGCM(key).decrypt(raw[end:end + 12], raw[end + 12:], aad)
def framed(*fields): return b"".join(map(field, fields))
def history(keys):
    """Signing keys by their ids (section 9)."""
    found = {key["key"]: token(key["public"]) for key in keys}
    for id, public in found.items(): assert token(id) == hashlib.sha256(framed(b"oubliette signing key", public)).digest()[:16]
    return found
def verify(keys, key, message, sig, unknown, wrong):
    assert key in keys, unknown
    try: Ed25519PublicKey.from_public_bytes(keys[key]).verify(sig, message)
    except InvalidSignature: raise AssertionError(wrong)
def signer(line):
    """The key that an announcement gives, if that has the id that it names and signed it; nobody else is told of."""
    try:
        public = token(line["public"])
        assert len(public) == 32 and key_id(line["public"]) == line["key"]
        Ed25519PublicKey.from_public_bytes(public).verify(token(line["sig"]), spoken(b"oubliette signed announcement", line, "sig"))
    except (InvalidSignature, AssertionError, KeyError): return None
    return line["public"]
def key_id(public): return b64(hashlib.sha256(framed(b"oubliette signing key", token(public))).digest()[:16])
def is_key_id(text):
    try: return len(token(text)) == 16
    except AssertionError: return False
def is_reference(named):
    """Whether this names an announcement, by its event and the digest of what was signed."""
    try: return set(named) == {"event", "digest"} and str(uuid.UUID(named["event"])) == named["event"] and len(token(named["digest"])) == 32
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError): return False
def is_previous(named):
    """Whether this names announcements: at most 16, in ascending order, each once."""
    if not isinstance(named, list) or len(named) > 16 or not all(isinstance(n, dict) and is_reference(n) for n in named): return False
    bytes_of = [(uuid.UUID(n["event"]).bytes, token(n["digest"])) for n in named]
    return all(a < b for a, b in zip(bytes_of, bytes_of[1:]))
def reference_of(line): return {"event": line["id"], "digest": b64(hashlib.sha256(spoken(b"oubliette signed announcement", line, "sig")).digest())}
def b64(raw): return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
STATED = ("signing-key", "successor")
KINDS = ("erasure", "distrust", *STATED)
LATER = [f"{kind}{end}" for kind in ("hold", "suspension", "restriction", "link") for end in ("", "-lifted")] + ["erasure-lifted"]
MEMBERS = {"id", "format", "kind", "vault", "log", "about", "at", "epoch", "sealed", "public", "key", "sig"}
def instant(text):
    """The one spelling of an instant (section 10)."""
    found = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{0,5}[1-9]))?Z", text, re.ASCII)
    assert found, "form"
    *whole, fraction = found.groups("")
    at = datetime.datetime(*map(int, whole), int(fraction.ljust(6, "0")))
    assert at <= datetime.datetime(9999, 12, 30, 22), "form"
    return at
def is_id_of(about, at):
    """Whether an id is of version 7 and carries an instant, to the millisecond."""
    text, about = about, uuid.UUID(about)
    return str(about) == text and about.version == 7 and about.int >> 80 == (at - datetime.datetime(1970, 1, 1)) // datetime.timedelta(milliseconds=1)
def has_form(line):
    """Whether the members are those of a kind that is carried out (section 10)."""
    kind = line["kind"]
    try:
        present = set(line) - {"previous", "proof", "statement", "distrust"}
        assert MEMBERS - {"public", "key", "sig"} <= present <= MEMBERS and type(line["sealed"]) is str
        assert ("statement" in line) == (kind in STATED) and ("distrust" in line) == (kind == "distrust")
        assert "proof" not in line or kind in STATED and len(token(line["proof"])) == 64
        said = line.get("statement", line.get("distrust", {}))
        if "statement" in line: assert set(said) - {"compromised"} == {"public", "replaces"} and len(token(said["public"])) == 32 and is_key_id(said["replaces"])
        if "distrust" in line: assert set(said) == {"key", "compromised"} and is_key_id(said["key"])
        assert "compromised" not in said or kind != "successor"
        if "compromised" in said: instant(said["compromised"])
        assert isinstance(line["epoch"], Number) and re.fullmatch(r"\d+", number(line["epoch"])) and int(number(line["epoch"])) < 2**64
        assert is_key_id(line["log"]) and is_id_of(line["about"], instant(line["at"]))
        assert is_previous(line["previous"]) if "previous" in line else kind == "erasure"
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError): return False
    return True
def proved(line):
    """Whether the key that a statement names signed it, too."""
    try: Ed25519PublicKey.from_public_bytes(token(line["statement"]["public"])).verify(
        token(line["proof"]), spoken(b"oubliette proof of possession", line, "sealed", "proof", "sig"))
    except (InvalidSignature, KeyError): return False
    return True
class History:
    """A vault's signing keys: who signs, who signed, who is to (section 9)."""
    def __init__(self, vault, public):
        self.vault, self.keys, self.restored, self.stolen = vault, {key_id(public): public}, set(), set()
        self.pins, self.next, self.distrusts = {}, {}, set()  # by whose place; by whose place; who distrusts whom
    def waits_for(self, key):
        """For whose place the successor is pinned that may take a key's, and which it is."""
        for old in reversed([*self.keys][:[*self.keys].index(key) + 1]):
            unused = old in self.pins and old not in self.next
            if unused or old not in self.restored: return (old, self.pins[old]) if unused and old not in self.stolen else None
    def is_word(self, public):
        waits = self.waits_for([*self.keys][-1])
        return public in [p for k, p in self.keys.items() if k not in self.stolen] or bool(waits) and public == waits[1]
    def judge(self, line, eras):
        """Raises what is wrong with an announcement, and learns from a statement."""
        assert line["vault"] == self.vault, "another vault"
        kind, wrong = line.get("kind"), None
        if not isinstance(line["format"], Number) or number(line["format"]) != "1": wrong = "format"
        elif kind in LATER: wrong = "reserved"
        elif kind not in KINDS: wrong = "kind"
        elif not has_form(line): wrong = "form"
        public = signer(line)
        if wrong and self.is_word(public): raise AssertionError(wrong)
        if not wrong and kind == "distrust": return self.distrust(public, line["distrust"]["key"])
        if not wrong and kind != "erasure": return self.learn(line, kind, line["statement"])
        assert public, "unsigned"
        try:
            text = open_announcement(line, eras)[1]
            wrong = wrong or (read_verdict(text, line["about"]) and None)
        except (StopIteration, InvalidTag): raise AssertionError("too new" if self.is_word(public) and line["key"] in self.keys else "unsigned")
        except AssertionError as error: wrong = "format" if str(error) == "format" else "form"
        assert line["key"] in self.keys, "stranger"
        assert line["key"] not in self.stolen, "unsigned" if wrong else "compromised"
        assert not wrong, wrong
    def distrust(self, public, key):
        """Only a later key that is trusted may, and none that a successor waits for which was pinned for the first."""
        assert public, "forged"
        order, signer = list(self.keys), key_id(public)
        assert signer in order, "unknown signer"
        if (key, signer) in self.distrusts: return
        assert signer not in self.stolen, "compromised"
        if key not in order: return
        assert order.index(key) < order.index(signer), "not later"
        assert (self.waits_for(signer) or (None,))[0] != key, "not the successor"
        self.stolen.add(key)
        self.distrusts.add((key, signer))
    def learn(self, line, kind, statement):
        public = signer(line)
        new, old = key_id(statement["public"]), statement["replaces"]
        assert public and proved(line), "forged"
        assert old in self.keys, "gap" if line["key"] in (old, new) else "forged"
        pin = self.pins.get(old)
        pinned = kind == "signing-key" and pin == statement["public"] == public
        assert pinned or public == self.keys[old], "forged"
        if (pin == statement["public"]) if kind == "successor" else self.next.get(old) == new: return
        assert old not in self.stolen, "compromised"
        assert old not in self.next and new not in self.keys, "replaced"
        waits = pin or self.waits_for(old)
        if kind == "successor":
            assert not waits, "pinned before"
            self.pins[old] = statement["public"]
            return
        assert not waits or pinned, "not the successor"
        # The key that the vault made for itself stays the last, unless it is the one that is replaced.
        own = [key for key in [*self.keys][-1:] if key in self.restored and key != old]
        self.keys = {**self.keys, new: statement["public"]}
        for key in own: self.keys[key] = self.keys.pop(key)
        self.next[old] = new
        if "compromised" in statement: self.stolen.add(old)
def read_tombstone(v, vault, keys, stolen, living):
    """What a tombstone's signature is over, and its reference (section 8)."""
    t = json.loads(v["data"], parse_int=Number, parse_float=Number, object_pairs_hook=once)
    try:
        key, sig = token(t["key"]), token(t["sig"])
        assert len(key) == 16 and len(sig) == 64
        if (meta := json.loads(v["metadata"] or "{}", object_pairs_hook=once)):
            assert set(meta) == {"$oubliette"} and set(meta["$oubliette"]) == {"stream"}
    except Exception: raise AssertionError("malformed")
    assert not meta or meta["$oubliette"]["stream"] == v["stream"], "misplaced"
    message = framed(b"oubliette signed tombstone", vault, v["stream"].encode(), uuid.UUID(v["id"]).bytes,
                     canonical({name: t[name] for name in t if name != "sig"}).encode())
    wrong = None
    try:
        verify(keys, t["key"], message, sig, "unknown key", "forged")
        assert t["key"] not in stolen, "compromised"
    except AssertionError as error: wrong = str(error)
    try:
        assert set(t) - {"subject"} == {"state", "ref", "day", "keys", "key", "sig"} and t["state"] == "forgotten"
        ref, ids = token(t["ref"]), [token(k) for k in t["keys"]]
        assert len(ref) == 16 and all(len(id) == 20 for id in ids) and ids == sorted(set(ids))
        assert "subject" not in t or name(t["subject"]) == t["subject"]
        assert datetime.date.fromisoformat(t["day"]).isoformat() == t["day"]
    except Exception: raise AssertionError("malformed" if wrong else "newer")
    assert not wrong, wrong
    assert not living & set(t["keys"]), "undone"
    return message, ref
def reference(identity, erasure, stream):
    """What stands for an erasure in a stream (section 8)."""
    key = hmac.digest(hmac.digest(identity, b"oubliette vault 1: references", "sha256"), stream.encode(), "sha256")
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return block.update(erasure) + block.finalize()
RECORD = {"erasure": str, "at": instant, "reason": str, **dict.fromkeys(("attempt", "keys", "subjects", "streams", "unsealed",
          "unknown_keys", "passed_over", "kept", "foreign"), int), **dict.fromkeys(("done", "destroyed", "announced"), bool)}
ALSO = {"epoch": int, "replayed": instant, "dealt_with": instant}
def read_record(text, erasure):
    """The record of an erasure (section 10)."""
    assert text[0] == 1, "format"
    record = json.loads(text[1:], object_pairs_hook=once)
    assert list(record) == [*RECORD, *(member for member in ALSO if member in record)] and record["erasure"] == erasure, "form"
    for member, form in {**RECORD, **ALSO}.items():
        value = record.get(member)
        if form is instant and value is not None: instant(value)
        elif member in record: assert type(value) is form and (form is not int or 0 <= value < 2**64), "form"
    assert json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode() == text[1:], "another spelling"
    return text[1:].decode()
def read_verdict(text, erasure):
    """Who loses what, by pseudonym, and the record."""
    at, taken = 0, []
    def take(n):
        nonlocal at
        at += n
        assert at <= len(text), "truncated"
        return text[at - n:at]
    def number(): return int.from_bytes(take(4), "big")
    assert take(1) == b"\1", "format"
    for _ in range(number()):
        pseudonym, flags = take(16).hex(), take(1)[0]
        assert flags < 8, "flags"
        assert not taken or taken[-1]["pseudonym"] < pseudonym, "order of subjects"
        dead = [[number(), number()] for _ in range(number())]
        assert dead or not flags & 1, "all, and nothing"
        assert all(1 <= first <= last < 2**24 for first, last in dead), "span"
        assert all(last + 1 < first for (_, last), (first, _) in zip(dead, dead[1:])), "order of spans"
        taken.append({"pseudonym": pseudonym, "whole": bool(flags & 1), "closed": bool(flags & 2), "dead": dead})
        if flags & 4:
            spared = [[number(), take(20).hex()] for _ in range(number())]
            assert spared and all(one < other for one, other in zip(spared, spared[1:])), "spared"
            taken[-1]["spared"] = spared
    record = take(number())
    assert not any(text[at:]), "something follows"
    try: record = read_record(record, erasure) if record else ""
    except (TypeError, ValueError): raise AssertionError("form")
    return {"taken": taken, "record": record}
