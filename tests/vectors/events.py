"""Reads events (docs/format.md, sections 1 to 7), written from that page and places.rs alone."""
import datetime, hashlib, hmac, re, uuid
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from reader import *

OWN = ("$sealed", "$oubliette")

class Vault:
    """What a vault knows: its eras, its living keys, and what its fences say of the dead."""
    def __init__(self, file):
        self.id, self.identity = uuid.UUID(file["vault"]), bytes.fromhex(file["identity"])
        self.eras = {token(e["era"]): bytes.fromhex(e["secret"]) for e in file["eras"]}  # in their order
        self.keys, self.fences = {token(k["id"]): k for k in file["keys"]}, file["fences"]
        for id, key in self.keys.items():
            hint = self.hash("subject", key["subject"])[:8] + self.hash("stream", key["stream"])[:2] + key["generation"].to_bytes(3, "big")
            assert self.hint(id)[:13] == hint, "an id that does not lead to its key"
    def hash(self, what, name):
        names = hmac.digest(self.identity, b"oubliette vault 1: names", "sha256")
        return hmac.digest(names, f"{what}\0{name}".encode(), "sha256")[:16]
    def hint(self, id):
        block = Cipher(algorithms.AES(of_era(self.eras[id[:4]], b"key ids")), modes.ECB()).decryptor()
        return block.update(id[4:]) + block.finalize()
    def state(self, id):
        """A key that lives, the erasure that destroyed it, or neither."""
        if id[:4] not in self.eras: return None, None
        if id in self.keys: return self.keys[id], None
        hint = self.hint(id)
        generation = int.from_bytes(hint[10:13], "big")
        for fence in self.fences:
            if self.hash("subject", fence["subject"])[:8] != hint[:8] or [generation, b64(id)] in fence["spared"]: continue
            for first, last, erasure in fence["dead"]:
                if first <= generation <= last: return None, erasure
        return None, None
    def wrote(self, tag): return tag[:8] == self.id.bytes[:8]
    def fits(self, tag, label, text, tokens=()):
        text = len(text).to_bytes(8, "big") + text + b"".join(t[2:34] + t[-16:] for t in tokens)
        return hmac.digest(of_era(self.eras[tag[8:12]], label), text, "sha256")[:16] == tag[12:]
    def began_before(self, era, other):
        order = list(self.eras)
        return era in order and other in order and order.index(era) < order.index(other)

def token_of(raw):
    """The bytes of a token, or of a stub."""
    assert raw, "truncated"
    assert raw[0] == 1, "version"
    assert len(raw) > 1, "truncated"
    assert raw[1] == 1, "algorithm"
    assert len(raw) >= 67 or len(raw) == 50, "truncated"
    return raw
def sealed(value):
    """The tokens of `$sealed`."""
    assert isinstance(value, list) and value and all(type(text) is str for text in value), "malformed"
    return [token_of(token(text)) for text in value]
def holes_of(notes):
    """What was missing of a copy (section 5)."""
    if "holes" not in notes: return {}
    h = notes["holes"]
    assert set(h) <= {"shredded", "withheld", "bare", "mac"} and set(h) & {"shredded", "withheld"}
    assert all(h[k] for k in set(h) & {"shredded", "withheld"}) and h.get("bare", True) is True
    assert "mac" not in h or len(token(h["mac"])) == 28
    for part in h.get("shredded", []):
        assert set(part) == {"origin", "ref", "day", "keys", "fields"} and str(uuid.UUID(part["origin"])) == part["origin"]
        assert len(token(part["ref"])) == 16 and all(len(token(k)) == 20 for k in part["keys"])
        assert datetime.date.fromisoformat(part["day"]).isoformat() == part["day"]
    return h
def is_later(v):
    """Whether the notes of an event say that they are of a later version (section 5)."""
    return isinstance(v, Number) and re.fullmatch(r"[1-9]\d*", v) is not None and 1 < int(v) < 2**32
def notes_of(meta):
    """The notes of section 5."""
    if "$oubliette" not in meta: return {}
    notes = meta["$oubliette"]
    assert isinstance(notes, dict) and notes, "malformed"
    if "v" in notes: raise AssertionError("version" if is_later(notes["v"]) else "malformed")
    try:
        assert set(notes) <= {"stream", "private", "public", "sealed", "clear", "others", "fields", "holes", "stubs", "mac"}
        if "stream" in notes: name(notes["stream"])
        for half in {"private", "public"} & set(notes): assert str(uuid.UUID(notes[half])) == notes[half]
        assert notes.get("sealed", "bytes") == notes.get("clear", "bytes") == "bytes" and notes.get("others", True) is True
        assert "mac" not in notes or len(token(notes["mac"])) == 28
        stubs = list(map(token, notes.get("stubs", [])))
        assert "stubs" not in notes or stubs
        fields = notes.get("fields", [["*"]])
        assert fields and all(isinstance(part, list) and all(type(f) is str for f in part) for part in fields)
        holes_of(notes)
    except Exception: raise AssertionError("malformed")
    assert all(s[:1] == b"\1" for s in stubs), "version"
    assert all(s[1:2] == b"\1" for s in stubs), "algorithm"
    assert all(len(s) == 50 for s in stubs), "malformed"
    return notes
def said(h, stream, id, kind):
    """What the tag of the holes is over."""
    def fields(names): return framed(*(name.encode() for name in names))
    shredded = [framed(uuid.UUID(p["origin"]).bytes, token(p["ref"]), p["day"].encode(), b"".join(map(token, p["keys"])),
                       fields(p["fields"])) for p in h.get("shredded", [])]
    withheld = [framed(fields(part)) for part in h.get("withheld", [])]
    return framed(b"oubliette holes", stream.encode(), uuid.UUID(id).bytes, kind.encode(),
                  bytes([h.get("bare", False)]), b"".join(shredded), b"".join(withheld))

class Stored:
    """A stored event, taken apart (sections 3 to 5)."""
    def __init__(self, half):
        self.data, self.text = half["data"], half["metadata"] or "{}"
        meta = load(self.text)
        assert isinstance(meta, dict), "malformed"
        self.notes = notes = notes_of(meta)
        lists = [sealed(meta["$sealed"])] if "$sealed" in meta else []
        self.holes = holes_of(notes)
        assert "private" in notes or "stubs" not in notes, "malformed"
        self.public = None  # in canonical form
        if "bytes" in self.data:
            raw = bytes.fromhex(self.data["bytes"])
            if "sealed" in notes: lists.append([token_of(raw)])
            else: self.public = raw
        else:
            body = load(self.data["json"])
            if isinstance(body, dict) and "$sealed" in body:
                lists.append(sealed(body.pop("$sealed")))
                self.public = canonical(body).encode() if body else None
            else: self.public = canonical(body).encode()
        assert len(lists) < 2, "malformed"
        self.tokens = lists[0] if lists else []
        self.clear = not lists and not notes
        half_elsewhere, bare = not lists and "private" in notes, "bare" in self.holes
        if (half_elsewhere or bare) and self.public == b"{}" and "json" in self.data: self.public = None
        assert not bare or self.public is None, "malformed"
        assert ("clear" in notes) == (self.public is not None and "bytes" in self.data), "malformed"
        assert half_elsewhere or "fields" not in notes or len(notes["fields"]) == len(self.tokens), "malformed"
        assert half_elsewhere or lists or "sealed" not in notes, "malformed"
        for own in ("$sealed", "$oubliette"): meta.pop(own, None)
        self.metadata = meta  # what is left of it
        bound = {k: v for k, v in notes.items() if k not in ("mac", "stubs")}
        if bound: meta = {**meta, "$oubliette": bound}
        meta, public = canonical(meta).encode() if meta else b"", self.public or b""
        self.digest = hashlib.sha256(public + meta + len(public).to_bytes(8, "big")).digest()
    def join(self, id, private, private_id):
        """With the other half of a split event (section 6)."""
        theirs = {"stream", "public"} | set(private.notes) & {"sealed"}
        assert not private.clear and set(private.notes) == theirs and "stream" in self.notes and "public" not in self.notes, "tampered"
        assert private.notes["stream"] == self.notes["stream"] and private.notes["public"] == id, "tampered"
        assert self.notes.get("private") == private_id and private.public is None and not private.metadata, "tampered"
        assert not self.tokens and [t[:34] + t[-16:] for t in private.tokens] == list(map(token, self.notes.get("stubs", []))), "tampered"
        assert private.tokens and len(self.notes.get("fields", private.tokens)) == len(private.tokens), "malformed"
        self.tokens = private.tokens

def halves(stream):
    """What the policy of the vectors calls the halves of a stream."""
    kind, rest = stream.rsplit("-", 1)
    return f"{kind}-public-{rest}", f"{kind}-private-{rest}"
def logical(notes, lies):
    """The stream of an event that lies there, if its notes count (section 5)."""
    assert "public" not in notes or "stream" in notes and lies == halves(notes["stream"])[1], "misplaced"
    assert "public" in notes or "stream" not in notes or lies in (notes["stream"], halves(notes["stream"])[0]), "misplaced"
    return notes.get("stream", lies)
def read_event(v, vault):
    """Associated data, digest and plaintexts of an event, and what a reader gets of it."""
    lies = v.get("in", v["stream"])
    stream = logical(notes_of(load(v["metadata"] or "{}")), lies)
    event, half = Stored(v), v.get("private", {})
    if event.clear: return None, None, [], {"data": v["data"], "metadata": v["metadata"], "unsealed": True}
    notes = event.notes
    if "private" in notes and half.get("id") == notes["private"] and half["in"] == halves(stream)[1]:
        event.join(v["id"], Stored(half), half["id"])
    elif "private" in notes and not event.tokens:
        stubs = list(map(token, notes.get("stubs", [])))
        assert stubs and all(vault.state(stub[2:22])[1] for stub in stubs), "half-missing"
        event.tokens = stubs
    tag = token(notes["mac"]) if "mac" in notes else None
    check_holes(vault, event.holes, tag, said(event.holes, stream, v["id"], v["type"]))
    aad = framed(b"\1", b"\1", bytes([v["purpose"]]), stream.encode(), uuid.UUID(v["id"]).bytes, v["type"].encode(),
                 b"".join(t[2:22] for t in event.tokens), event.digest)
    seen = {"keys": [b64(t[2:22]) for t in event.tokens]}
    opened, shredded = [], []
    for n, t in enumerate(event.tokens):
        key, erasure = vault.state(t[2:22])
        if not key and not erasure:
            assert not tag or vault.wrote(tag), "other-vault"
            raise AssertionError("unknown-era" if tag and t[2:6] not in vault.eras else "key-missing")
        if erasure:
            at = int.from_bytes(uuid.UUID(erasure).bytes[:6], "big") / 1000
            shredded.append({"origin": str(vault.id), "ref": b64(reference(vault.identity, uuid.UUID(erasure).bytes, stream)),
                             "day": datetime.datetime.fromtimestamp(at, datetime.timezone.utc).date().isoformat(),
                             "keys": [b64(t[2:22])], "fields": notes["fields"][n] if "fields" in notes else ["*"]})
            continue
        assert len(t) != 50, "purged"
        try: opened.append(AESGCM(bytes.fromhex(key["secret"])).decrypt(t[22:34], t[34:], aad))
        except InvalidTag: raise AssertionError("tampered")
        if n == 0 and "others" not in notes: seen["subject"] = key["subject"]
    if not opened: vouch(vault, event, tag, aad, seen)
    withheld = [{"fields": fields, "why": "not-copied"} for fields in event.holes.get("withheld", [])]
    shredded += event.holes.get("shredded", [])
    if "unvouched" in seen:
        withheld += [{"fields": part["fields"], "why": "unvouched"} for part in shredded]
        shredded = []
    seen |= {"shredded": shredded, "withheld": withheld}
    seen = {member: value for member, value in seen.items() if value}
    seen["data"], seen["metadata"] = assemble(event, opened)
    return aad, event.digest, opened, seen
def check_holes(vault, h, others, text):
    """Whether the vault vouches for what is missing of a copy."""
    if not h: return
    tag = token(h["mac"]) if "mac" in h else b""
    assert not tag or vault.wrote(tag) or not others or vault.wrote(others), "other-vault"
    assert vault.wrote(tag), "forged-hole"
    assert tag[8:12] not in vault.eras or vault.fits(tag, b"holes", text), "forged-hole"
def vouch(vault, event, tag, aad, seen):
    """What the tag says of an event of which no part opens."""
    if not tag or not vault.wrote(tag):
        if not event.tokens and not event.holes: seen["unsealed"] = True
        else: raise AssertionError("other-vault" if tag else "untagged")
    elif any(vault.began_before(tag[8:12], t[2:6]) for t in event.tokens): raise AssertionError("tampered")
    elif tag[8:12] not in vault.eras: seen["unvouched"] = True
    else: assert vault.fits(tag, b"event tags", aad, event.tokens), "tampered"

def fillings(text):
    """Container, index, piece."""
    found, at = [], 0
    while at < len(text):
        m = re.compile(rb"(0|[1-9]\d*) (0|[1-9]\d*) (0|[1-9]\d*) ").match(text, at)
        parent, index, length = map(int, m.groups())
        at = m.end() + parent + length
        assert at <= len(text), "lengths"
        pointer = text[m.end():at - length].decode()
        assert re.fullmatch(r"(/([^~/]|~[01])*)*", pointer), "pointer"
        steps = [s.replace("~1", "/").replace("~0", "~") for s in pointer.split("/")[1:]]
        found.append((steps, index, text[at - length:at].decode()))
        split(found[-1][2])
    return found
def skeleton(value):
    v = load(value)
    return v == {} or isinstance(v, list) and all(x is None for x in v)
def fill(value, todo, hidden=()):
    """A container's text with what is filled into it."""
    own, below = [f for f in todo if not f[0]], [f for f in todo if f[0]]
    is_object, here = value[0] == "{", [split(p) for p in pieces(value)]
    assert is_object or value[0] == "[", "no place"
    here = [p for p in here if p[0] not in hidden]
    for _, index, piece in sorted(own, key=lambda f: (f[1], skeleton(split(f[2])[2]))):
        new = split(piece)
        assert is_object == (new[0] is not None), "a member without a key, or an element with one"
        at = next((i for i, p in enumerate(here) if p[0] == new[0]), None) if is_object else index
        if is_object and at is None: here.insert(index, new)
        elif not (skeleton(new[2]) and here[at][2][0] in "[{"): here[at] = new
    for i, (key, head, inner, tail) in enumerate(here):
        deeper = [(s[1:], *rest) for s, *rest in below if s[0] == (key if is_object else str(i))]
        below = [f for f in below if f[0][0] != (key if is_object else str(i))]
        if deeper: here[i] = (key, head, fill(inner, deeper), tail)
    assert not below, "no place"
    return value[0] + ",".join(h + v + t for _, h, v, t in here) + value[-1]
def assemble(event, opened):
    """Data and metadata of an event (section 2). No vector has a container that is missing with a token."""
    try:
        body, about, whole = [], [], []
        for text in opened:
            m, b = (int.from_bytes(text[at:at + 4], "big") for at in (9, 13))
            metadata, part = text[17:17 + m], text[17 + m:17 + m + b]
            assert len(text) >= 17 + m + b and not any(text[17 + m + b:]), "lengths or padding"
            assert text[0] <= 3 and (text[0] or not part), "form"
            about += fillings(metadata)
            if text[0] == 1: load(part.decode()); whole.append({"json": part.decode()})
            if text[0] == 2: body.append(fillings(part))
            if text[0] == 3: whole.append({"bytes": part.hex()})
        public = event.public is not None
        assert not whole or len(whole) == 1 and not body and not public
        if whole: data = whole[0]
        elif body: data = {"json": fill(event.data["json"] if public else "{}", sum(body, []), OWN)}
        elif public: data = event.data if "$sealed" not in load(event.data.get("json", "0")) else {"json": fill(event.data["json"], [], OWN)}
        else: data = {"json": "{}"} if event.tokens and len(opened) == len(event.tokens) and "bare" not in event.holes else None
        told = fill(event.text, about, OWN) if about or set(load(event.text)) & set(OWN) else event.text
        return data, told if pieces(told) else None
    except Exception: raise AssertionError("malformed")
