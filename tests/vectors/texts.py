"""Reads the texts of docs/format.md: positions (11), rows (12), lists of erasures (10), and a successor's file."""
import base64, datetime, hashlib, json, re, uuid
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from reader import Number, b64, name, number, once, pieces, split, token

def value(text):
    """JSON (section 3), with numbers as they are spelled."""
    def odd(_): raise ValueError
    try: value = json.loads(text, parse_int=Number, parse_float=Number, parse_constant=odd, object_pairs_hook=once)
    except AssertionError: raise AssertionError("member twice")
    except ValueError: raise AssertionError("no JSON")
    def check(value, depth):
        if isinstance(value, str): assert not re.search("[\ud800-\udfff]", value), "no JSON"
        if not isinstance(value, (dict, list)): return
        assert depth < 128, "too deep"
        for inner in value: check(inner, depth + 1)
        for inner in value.values() if isinstance(value, dict) else (): check(inner, depth + 1)
    check(value, 0)
    return value
def strict(text, error):
    try: return value(text)
    except AssertionError: raise AssertionError(error)

def position(text):
    """The bytes of a position."""
    one = r"(?:0|[1-9][0-9]{0,19})"
    if m := re.fullmatch(rf"({one})(?:-({one}))?", text, re.ASCII):
        numbers = [int(part) for part in m.groups() if part is not None]
        assert max(numbers) < 2**64, "not a position"
        return b"".join(part.to_bytes(8, "big") for part in numbers)
    assert re.fullmatch(r"x(?:[0-9a-f]{2}){1,24}", text) and len(text) not in (17, 33), "not a position"
    return bytes.fromhex(text[1:])

def successor(raw, vault, public):
    """The secret in a successor's file, of this vault, that has this public key pinned."""
    error = "not a successor"
    try: text = raw.decode().removeprefix("\ufeff")
    except UnicodeDecodeError: raise AssertionError(error)
    lines = [line for line in text.split("\n") if line.strip() and line[0] != "#"]
    words = re.split(r"[ \t\r]+", lines[0].strip(" \t\r")) if lines else [""]
    version = words[0].removeprefix("OUBLIETTE-SUCCESSOR-")
    assert words[0] != version and re.fullmatch(r"[1-9][0-9]*", version), error
    assert version == "1", "newer"
    assert len(lines) == 1 and len(words) == 3 and len(raw) <= 4096, error
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", words[1]), error
    try: secret = token(words[2])
    except AssertionError: raise AssertionError(error)
    assert len(secret) == 32, error
    assert words[1] == vault, "another vault"
    key = ed25519.Ed25519PrivateKey.from_private_bytes(secret).public_key()
    assert b64(key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)) == public, "another key"
    return secret

def erasures(text):
    """The lines of a list of erasures, or of several."""
    found, open = [], []
    for line in text.split("\n"):
        line = line.lstrip("\ufeff").strip(" \t\r")
        if not line: continue
        said = strict(line, "no announcement")
        if isinstance(said, dict) and "end" in said:
            end = said["end"]
            try:
                assert set(said) == {"end"} and set(end) == {"announcements", "sha256"}
                assert isinstance(end["announcements"], Number) and re.fullmatch(r"[0-9]{1,15}", number(end["announcements"]))
                assert type(end["sha256"]) is str
            except (AssertionError, TypeError): raise AssertionError("odd end")
            digest = hashlib.sha256(b"".join(line.encode() + b"\n" for line in open or [])).hexdigest()
            assert (number(end["announcements"]), end["sha256"]) == (str(len(open or [])), digest), "other end"
            open = None
            continue
        assert isinstance(said, dict), "no announcement"
        for member in ("id", "vault"):
            try: uuid.UUID(said[member])
            except (KeyError, TypeError, ValueError, AttributeError): raise AssertionError("no announcement")
        open = [*(open or []), line]
        found.append(line)
    assert open is None, "no end"
    return found

MEMBERS = ("stream", "revision", "position", "id", "type", "subject", "recorded", "restored", "metadata", "data", "bytes", "foreign",
           "keys", "shredded", "withheld")
def hole(part):
    """A part of which the key was destroyed."""
    assert set(part) == {"origin", "ref", "day", "keys", "fields"}
    assert str(uuid.UUID(part["origin"])) == part["origin"] and len(token(part["ref"])) == 16
    assert datetime.date.fromisoformat(part["day"]).isoformat() == part["day"]
    assert all(len(token(key)) == 20 for key in part["keys"]) and texts(part["fields"])
    return part
def denied(part):
    """A part that the reader could not open."""
    assert set(part) == {"why", "fields"} and part["why"] in ("no-vault", "not-copied", "unvouched") and texts(part["fields"])
    return part["fields"]
def texts(list): return isinstance(list, type([])) and all(type(text) is str for text in list)
def row(line, with_holes):
    """What a row is taken for (section 12)."""
    try: line = line.decode().strip(" \t\r\n")
    except UnicodeDecodeError: raise AssertionError("not UTF-8")
    def odd(_): raise ValueError
    try: whole = json.loads(line, parse_constant=odd)
    except ValueError: raise AssertionError("no JSON")
    assert isinstance(whole, dict), "no object"
    found = {}
    for piece in pieces(line):
        member, _, spelled, _ = split(piece)
        assert member in MEMBERS, "unknown"
        assert member not in found, "twice"
        found[member] = spelled
    def text(member):
        if found.get(member, "null") == "null": return None
        value = json.loads(found[member])
        assert type(value) is str and not re.search("[\ud800-\udfff]", value), "no text"
        return value
    def named(member, needed=True):
        value = text(member)
        assert value is not None or not needed, "missing"
        if value is None: return None
        try: return name(value)
        except AssertionError: raise AssertionError("name")
    def parts(member, of):
        if found.get(member, "null") == "null": return []
        try:
            listed = strict(found[member], "odd holes")
            assert isinstance(listed, list)
            return [of(part) for part in listed]
        except Exception: raise AssertionError("odd holes")
    taken = {"stream": named("stream"), "type": named("type")}
    if taken["type"] == "SubjectForgotten":
        assert with_holes, "tombstone"
        return "tombstone"
    shredded, withheld = parts("shredded", hole), parts("withheld", denied)
    assert with_holes or not shredded and not withheld, "holes"
    if shredded or withheld: taken |= {"shredded": shredded, "withheld": withheld}
    if subject := named("subject", False): taken["subject"] = subject
    if (id := text("id")) is not None:
        form = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
        assert re.fullmatch(rf"{form}|[0-9a-f]{{32}}|\{{{form}\}}|urn:uuid:{form}", id, re.I), "id"
        taken["id"] = str(uuid.UUID(id))
    if found.get("metadata", "null") != "null":
        assert found["metadata"][0] == "{", "metadata"
        strict(found["metadata"], "payload")
        taken["metadata"] = found["metadata"]
    if "data" in found: strict(found["data"], "payload")
    raw = text("bytes")
    assert raw is None or "data" not in found, "both"
    if raw is not None:
        try: taken["bytes"] = base64.b64decode(raw, validate=True).hex()
        except ValueError: raise AssertionError("base64")
        assert base64.b64encode(bytes.fromhex(taken["bytes"])).decode() == raw, "base64"
    else:
        assert "data" in found or shredded or withheld, "missing"
        taken["data"] = found.get("data", "{}")
    return taken
