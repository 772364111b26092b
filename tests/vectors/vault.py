"""Reads the backup of a vault, written from docs/backups.md and the tables that docs/format.md lists in section 13.

`vault.py FILE IDENTITY-FILE` writes as JSON what a restored vault has, secrets included: nothing for a real one."""
import datetime, hashlib, hmac, json, uuid
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
import reader
from reader import History, Number, b64, framed, key_id, once, signer, token

KINDS = range(1, 12)  # of notes
FORMS = {(1, 1): 22, (1, 2): 38, (1, 3): 34, (2,): 21, (3,): 22}  # how many bytes a place has
class Bytes:
    """Reads from its beginning; whatever is missing or left is an error of this name."""
    def __init__(self, raw, error): self.raw, self.at, self.error = raw, 0, error
    def take(self, n):
        self.at += n
        assert self.at <= len(self.raw), self.error
        return self.raw[self.at - n:self.at]
    def number(self, n): return int.from_bytes(self.take(n), "big")
    def version(self, known):
        version = self.number(1)
        assert version <= known, "newer format"
        assert version == known, self.error
    def name(self):
        text = self.take(self.number(1))
        if not text: return ""
        try: return reader.name(text.decode())
        except (UnicodeDecodeError, AssertionError): raise AssertionError(self.error)
    def flag(self):
        flag = self.number(1)
        assert flag < 2, self.error
        return flag
    def end(self): assert self.at == len(self.raw), self.error
ODD = "odd: does not have its form"
def instant(micros):
    """As text (RFC 3339)."""
    at = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=micros)
    return at.isoformat(timespec="microseconds").rstrip("0").rstrip(".") + "Z"
def items(plain):
    """The header, the walk and the changes."""
    of = Bytes(plain, "cut off")
    assert of.take(16) == b"OUBLIETTE BACKUP", "not a backup"
    format = of.number(4)
    assert format <= 1, "newer format"
    assert format == 1, "not a backup"
    header = {"vault": str(uuid.UUID(bytes=of.take(16))), "backup": str(uuid.UUID(bytes=of.take(16))),
              "created": instant(of.number(8)), "expires": instant(of.number(8)), "epoch": of.number(8), "identity": of.take(32)}
    def place():
        length = of.number(1)
        assert length <= 64, "odd: a place in it is too long"
        return of.take(length)
    def value():
        length, size = of.number(1), of.number(2)
        assert size <= 16384, "odd: a value in it is too long"
        assert length <= 64, "odd: a place in it is too long"
        return of.take(length), of.take(size)
    walk, changes, ended = [], [], False
    while True:
        kind = of.number(1)
        if kind == 1 and not ended:
            walk.append(value())
            assert len(walk) < 2 or walk[-2][0] < walk[-1][0], "odd: its places are not in order"
            check(header, *walk[-1])
        elif kind == 2 and not ended: ended = True
        elif kind == 1:
            changes.append(("value", *value()))
            check(header, *changes[-1][1:])
        elif kind == 3 and ended: changes.append(("gone", place()))
        elif kind == 4 and ended: changes.append(("range", place(), place()))
        elif kind == 5 and ended: break
        else: raise AssertionError("odd: something in it is not of its form")
    assert (of.number(8), of.number(8)) == (len(walk), len(changes)), "odd: it does not hold as much as it says at its end"
    zeros = of.take(65536)
    assert not any(zeros) and of.at == len(plain), "odd: something follows its end"
    return header, walk, changes
def keyed(header, text):
    names = hmac.digest(header["identity"], b"oubliette vault 1: names", "sha256")
    return hmac.digest(names, text, "sha256")[:16]
def is_key(place): return place[:1] == b"\1" and place[17:18] == b"\2"
def check(header, place, value):
    """One value, by itself."""
    kind = tuple(place[:1]) + tuple(place[17:18] if place[:1] == b"\1" else b"")
    assert FORMS.get(kind) == len(place), "unknown kind"
    if place[0] == 3:
        assert place[1] in KINDS, "unknown kind"
        if place[-4:] == bytes(4):
            note = Bytes(value, ODD)
            note.take(4)
            note.version(1)
    if is_key(place): assert read_key(value)[1](header) == place, "odd: a key in it stands at a place that is not its own"
def read_key(value):
    """A data key, and what makes its place."""
    of = Bytes(value, ODD)
    of.version(1)
    key = {"id": of.take(20).hex(), "secret": of.take(32).hex(), "generation": of.number(4), "created": instant(of.number(8)),
           "lastDay": of.number(4), "reserved": of.number(8)}
    form = of.number(1)
    assert form & 15 < 3, ODD
    key |= {"layout": ("sealed", "inline", "split")[form & 15], "policy": of.take(8).hex()}
    key["subject"] = of.name()
    assert key["subject"], ODD
    key["stream"] = of.name() or key["subject"]
    form >>= 4
    assert form < 4, "unknown class"
    begins = of.at
    key["category"] = of.name() if form & 1 else None
    assert key["category"] != "", ODD
    if form & 2: day = (of.number(2), of.number(1), of.number(1))
    key["period"] = "%04d-%02d-%02d" % day if form & 2 else None
    of.end()
    name = key["stream"].encode()
    hashed = b"class and stream\0" + bytes([form]) + of.raw[begins:] + name if form else b"stream\0" + name
    def place(header):
        return b"\1" + keyed(header, b"subject\0" + key["subject"].encode()) + b"\2" + keyed(header, hashed) + key["generation"].to_bytes(4, "big")
    return key, place
def leads_to(id, place, secret):
    """Whether a key id, of the era with this secret, says this place."""
    block = Cipher(algorithms.AES(hmac.digest(secret, b"oubliette era 1: key ids", "sha256")), modes.ECB()).decryptor()
    return block.update(id[4:])[:13] == place[1:9] + place[18:20] + place[35:38]
def wholes(values):
    """Values put together from their parts: by what is in front of the part's number."""
    found, open = {}, {}
    for place, value in values:
        stem, number = place[:-4], int.from_bytes(place[-4:], "big")
        if number == 0: open[stem], found[stem] = int.from_bytes(value[:4], "big"), [value[4:]]
        else:
            assert len(found.get(stem, ())) == number, "odd: a part of a value is missing"
            found[stem].append(value)
    found = {stem: b"".join(parts) for stem, parts in found.items()}
    for stem, whole in found.items(): assert len(whole) == open[stem], "odd: a part of a value is missing"
    return found
def read_fence(stem, value):
    of = Bytes(value, ODD)
    of.version(1)
    flags = of.number(1)
    assert flags < 4, ODD
    dead, next = [], 1
    for _ in range(of.number(4)):
        first, last, by = of.number(4), of.number(4), str(uuid.UUID(bytes=of.take(16)))
        assert next <= first <= last < 2**24, ODD
        next = last + 1
        dead.append([first, last, by])
    whole = [str(uuid.UUID(bytes=of.take(16))) for _ in range(of.number(4))]
    spared = [[of.number(4), of.take(20).hex(), str(uuid.UUID(bytes=of.take(16))) if of.flag() else None]
              for _ in range(of.number(4) if flags & 2 else 0)]
    assert bool(spared) == bool(flags & 2) and all(a[:2] < b[:2] for a, b in zip(spared, spared[1:])), ODD
    of.end()
    return {"pseudonym": stem[1:].hex(), "closed": bool(flags & 1), "dead": dead, "whole": whole, "spared": spared}
def content(note):
    of = Bytes(note, ODD)
    of.version(1)
    return note[1:]
def exact(text, members):
    """JSON without white space, of these members."""
    try: found = json.loads(text, object_pairs_hook=once)
    except (ValueError, AssertionError): raise AssertionError(ODD)
    assert json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode() == text, ODD
    has(found, members)
    return found
def has(found, members):
    """These members in this order; those with `?` may be absent."""
    order = [m.rstrip("?") for m in members if m.rstrip("?") in found]
    assert list(found) == order and all(m in found for m in members if not m.endswith("?")), ODD
ENTRY = ("backup", "created", "expires", "epoch", "era", "recipients", "file", "keys", "retired")
def read_history(vault, note):
    """The signing keys: something must lead to each, and say of each stolen one that it is (signing/history.rs)."""
    said = exact(note, ("keys", "successors", "distrusts?", "due", "repeat", "retell?"))
    said = json.loads(json.dumps(said), parse_int=Number)
    keys, pins, distrusts = said["keys"], said["successors"], said.get("distrusts", [])
    assert keys and said.get("distrusts") != [] and said.get("retell", True) is True and type(said["repeat"]) is bool, ODD
    for key in keys: has(key, ("key", "public", "since", "until?", "origin", "compromised?", "statement?"))
    for pin in pins: has(pin, ("key", "public", "since", "replaces", "statement"))
    for text in [of[when] for of in keys + pins for when in ("since", "until", "compromised") if when in of]:
        try: reader.instant(text)
        except (AssertionError, TypeError, ValueError): raise AssertionError(ODD)
    for line in [of["statement"] for of in keys + pins if "statement" in of] + distrusts:
        assert list(line) == ["id", *sorted(line.keys() - {"id"})] and line["vault"] == vault and reader.has_form(line), ODD
    history, stated = History(vault, keys[0]["public"]), set()
    def stands(so): assert so, "odd: the history of signing keys has a gap"
    def leads(line, kind, of): return line["kind"] == kind and line["statement"]["public"] == of["public"] and reader.proved(line)
    for n, key in enumerate(keys):
        stands(key_id(key["public"]) == key["key"])
        line, origin = key.get("statement"), key["origin"]
        stands((line is None) == (origin in ("created", "restored")) and (origin == "created") == (n == 0))
        if origin == "restored": history.restored.add(key["key"])
        if line:
            old = line["statement"]["replaces"]
            stands(leads(line, "signing-key", key) and old in history.keys and origin in ("rotated", "successor"))
            stands(signer(line) == (key["public"] if origin == "successor" else history.keys[old]))
            stands(origin == "rotated" or any((pin["key"], pin["replaces"]) == (key["key"], old) for pin in pins))
            history.next[old] = key["key"]
            if "compromised" in line["statement"]: stated.add(old)
        history.keys[key["key"]] = key["public"]
    for pin in pins:
        line = pin["statement"]
        stands(key_id(pin["public"]) == pin["key"] and leads(line, "successor", pin))
        stands(line["statement"]["replaces"] == pin["replaces"] and signer(line) == history.keys.get(pin["replaces"], ""))
        history.pins.setdefault(pin["replaces"], pin["public"])
    order = list(history.keys)
    for line in distrusts:
        key, by = line["distrust"]["key"], line["key"]
        assert line["kind"] == "distrust" and signer(line) == history.keys.get(by, "") and key in order[:order.index(by)], ODD
        history.distrusts.add((key, by))
        stated.add(key)
    history.stolen = {key["key"] for key in keys if "compromised" in key}
    assert history.stolen == stated, ODD
    return history
def read_backup(plain):
    """What a restored vault has: see `opened` in backup.json."""
    header, walk, changes = items(plain)
    values = dict(walk)
    for what, *change in changes:
        if what == "value": values[change[0]] = change[1]
        if what == "gone": values.pop(change[0], None)
        if what == "range": values = {place: value for place, value in values.items() if not change[0] <= place < change[1]}
    values = dict(sorted(values.items()))
    def parted(*prefix): return wholes((place, value) for place, value in values.items() if place.startswith(bytes(prefix)))
    eras = []
    for stem, note in parted(3, 8).items():
        secret, order = content(note), int.from_bytes(stem[6:14], "big")
        assert len(secret) == 32 and order and not any(stem[2:6]), "odd: the secret of an era"
        eras.append({"era": b64(stem[14:]), "order": order, "secret": secret.hex()})
    note = parted(3, 5)
    assert note, "odd: it has no history of signing keys"
    note = content(note.popitem()[1])
    history, policy = read_history(header["vault"], note), parted(3, 7)
    entry = parted(3, 3, *uuid.UUID(header["backup"]).bytes)
    assert entry, "odd: it is not in its own catalogue"
    entry = content(entry.popitem()[1])
    exact(entry, ENTRY)
    fences = [read_fence(stem, value) for stem, value in parted(2).items()]
    by_pseudonym = {fence["pseudonym"]: fence for fence in fences}
    def is_dead(place, value):
        """Whether a fence says so, and does not spare the key."""
        fence = by_pseudonym.get(place[1:17].hex())
        if not is_key(place) or not fence: return False
        key = read_key(value)[0]
        spared = [later for at, id, later in fence["spared"] if [at, id] == [key["generation"], key["id"]]]
        return spared[0] is not None if spared else any(first <= key["generation"] <= last for first, last, _ in fence["dead"])
    values = {place: value for place, value in values.items() if not is_dead(place, value)}
    secrets = {token(era["era"]): bytes.fromhex(era["secret"]) for era in eras}
    for place, value in values.items():
        if is_key(place) and (secret := secrets.get(value[1:5])): assert leads_to(value[1:21], place, secret), "an id of another place"
    keys = [read_key(value)[0] for place, value in values.items() if is_key(place)]
    return header | {"identity": header["identity"].hex(), "entry": entry.decode(), "keys": keys, "fences": fences, "eras": eras,
                     "history": note.decode(), "policy": content(policy.popitem()[1]).decode() if policy else None, "values": len(values),
                     "digest": hashlib.sha256(framed(*(part for both in values.items() for part in both))).hexdigest()}, history

if __name__ == "__main__":
    import pathlib, re, sys
    import age
    file, identity = map(pathlib.Path, sys.argv[1:])
    identity = re.search(r"^AGE-SECRET-KEY-1\S+", identity.read_text(), re.M)[0]
    print(json.dumps(read_backup(age.unseal(file.read_bytes(), age.identity(identity)))[0]))
