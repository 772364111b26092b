#!/usr/bin/env python3
"""Opens every vector of docs/format.md, written from that page and those that it names; every bad one must fail."""
import copy, hashlib, json, pathlib, re, sys, uuid
sys.dont_write_bytecode = True
from cryptography.exceptions import InvalidTag
import age, events, texts, vault as vaults
from reader import *

here = pathlib.Path(__file__).parent
def refused(v, read):
    """A bad vector must fail with its own error."""
    try: read()
    except AssertionError as error:
        assert str(error).split(":")[0] == v["error"] and v.get("what", "") in str(error), (v["name"], str(error))
    else: assert False, f"{v['name']} is taken, but is bad"
def event_vectors(file, good, bad):
    """Each good vector gives what it says, each bad one its own error."""
    vault = events.Vault(file)
    for v in good:
        aad, digest, opened, read = events.read_event(v, vault)
        if v["purpose"] == 2: read = {member: read[member] for member in ("data", "metadata")}  # nothing else reads one yet
        assert read == v["opened"], (v["name"], read, v["opened"])
        if aad is None: continue
        assert (aad.hex(), digest.hex()) == (v["associated"], v["digest"]), v["name"]
        assert [text.hex() for text in opened] == v["plaintexts"], v["name"]
        event = events.Stored(v)
        if "said" in v: assert events.said(event.holes, v["stream"], v["id"], v["type"]).hex() == v["said"], v["name"]
        tag = token(event.notes["mac"])
        if not vault.wrote(tag) or tag[8:12] not in vault.eras: continue
        tokens = event.tokens or list(map(token, event.notes.get("stubs", [])))
        assert vault.fits(tag, b"event tags", aad, tokens) and not vault.fits(tag, b"event tags", aad[:-1], tokens), v["name"]
        assert not vault.fits(tag, b"event tags", aad, tokens[1:] or [bytes(50)]), v["name"]
    for v in bad: refused(v, lambda: events.read_event(v, vault))
    return vault
file = json.loads((here / "good.json").read_text())
event_vectors(file, file["vectors"], [])
print(f"{len(file['vectors'])} good vectors as they should be")
file = json.loads((here / "bad.json").read_text())
event_vectors(file, [], file["vectors"])
print(f"{len(file['vectors'])} bad vectors as they should be")
file = json.loads((here / "holes.json").read_text())
event_vectors(file, file["vectors"], file["bad"])
print(f"{len(file['vectors'])} hole vectors, {len(file['bad'])} bad ones as they should be")

for file in ("announcements", "distrust"):
    file = load((here / f"{file}.json").read_text())
    eras = {token(e["era"]): bytes.fromhex(e["secret"]) for e in file["eras"]}
    known = History(file["vault"], file["keys"][0]["public"])
    said = {v["line"]["id"]: v["line"] for v in file["statements"] + file["vectors"]}
    for line in said.values():
        for before in line.get("previous", []): assert before["event"] not in said or before == reference_of(said[before["event"]]), line["id"]
    for v in file["statements"] + file["vectors"]:
        aad, text = open_announcement(v["line"], eras)
        opened = read_verdict(text, v["line"]["about"])
        assert (aad.hex(), text.hex()) == (v["associated"], v["plaintext"]) and canonical(opened) == canonical(v["opened"]), v["name"]
        for member, other in (("id", str(uuid.uuid4())), ("epoch", Number(0)), ("vault", str(uuid.uuid4())), ("previous", [{"event": str(uuid.uuid4()), "digest": b64(bytes(32))}]), ("log", b64(bytes(16)))):
            try: open_announcement({**v["line"], member: other}, eras)
            except Exception: continue
            assert False, f"{v['name']} opened with another {member}"
        known.judge(v["line"], eras)
        assert spoken(b"oubliette signed announcement", v["line"], "sig").hex() == v["signed"], v["name"]
    for key in file["keys"]: assert known.keys[key["key"]] == key["public"] and (key["key"] in known.stolen) == ("compromised" in key)
    assert list(known.keys) == [key["key"] for key in file["keys"]] and file.get("successor", {}).get("public") in [*known.pins.values(), None]
    for v in file["bad"]:
        try: known.judge(v["line"], eras)
        except AssertionError as error: assert str(error) == v["error"], (v["name"], error)
        else: assert False, f"{v['name']} counts, but is bad"
    print(f"{len(file['vectors'])} announcement vectors, {len(file['statements'])} statements of keys, {len(file['bad'])} bad ones as they should be")

file = load((here / "histories.json").read_text())
eras, counts = {token(e["era"]): bytes.fromhex(e["secret"]) for e in file["eras"]}, [0, 0]
for given in file["histories"]:
    known = vaults.read_history(file["vault"], given["history"].encode())
    for v in given["vectors"]:
        after, leaves = copy.deepcopy(known), vaults.read_history(file["vault"], v.get("leaves", given["history"]).encode())
        after.judge(v["line"], eras)
        assert vars(after) == vars(leaves) and list(after.keys) == list(leaves.keys), (given["name"], v["name"])
    for v in given["bad"]: refused(v, lambda: copy.deepcopy(known).judge(v["line"], eras))
    counts = [counts[0] + len(given["vectors"]), counts[1] + len(given["bad"])]
print(f"{counts[0]} history vectors, {counts[1]} bad ones as they should be")

file = json.loads((here / "tombstones.json").read_text())
identity, vault, keys = bytes.fromhex(file["identity"]), uuid.UUID(file["vault"]).bytes, history(file["keys"])
stolen, living = {key["key"] for key in file["keys"] if key["compromised"]}, set(file["living"])
for v in file["vectors"]:
    message, ref = read_tombstone(v, vault, keys, stolen, living)
    assert (message.hex(), ref) == (v["signed"], reference(identity, uuid.UUID(v["erasure"]).bytes, v["stream"])), v["name"]
for v in file["bad"]:
    try: read_tombstone(v, vault, keys, stolen, living)
    except AssertionError as error: assert str(error) == v["error"], (v["name"], error)
    else: assert False, f"{v['name']} verifies, but is bad"
print(f"{len(file['vectors'])} tombstone vectors, {len(file['bad'])} bad ones as they should be")

file = json.loads((here / "signatures.json").read_text())
def fits(v):
    public, sig, message = (bytes.fromhex(v[name]) for name in ("public", "sig", "message"))
    try: Ed25519PublicKey.from_public_bytes(public).verify(sig, message)
    except InvalidSignature: return False
    return True
for v in file["good"]: assert fits(v), v["name"]
for v in file["bad"]: assert not fits(v), f"{v['name']} verifies, but is bad"
print(f"{len(file['good'])} signature vectors, {len(file['bad'])} bad ones as they should be")

file = json.loads((here / "values.json").read_text())
for v in file["json"]: assert canonical(texts.value(v["text"])) == v["canonical"], v["text"]
for v in file["bad"]: refused(v, lambda: texts.value(v["text"]))
for v in file["names"]: assert name(v["text"]) == v["name"], v["text"]
for v in file["badNames"]: refused(v, lambda: name(v["text"]))
print(f"{len(file['json'])} value vectors, {len(file['names'])} names, {len(file['bad']) + len(file['badNames'])} bad ones as they should be")

file = json.loads((here / "positions.json").read_text())
for store in file["stores"]:
    raw = [texts.position(v["text"]) for v in store]
    assert [one.hex() for one in raw] == [v["bytes"] for v in store] and raw == sorted(raw) and len({*map(len, raw)}) == 1
for v in file["bad"]: refused(v, lambda: texts.position(v["text"]))
print(f"{sum(map(len, file['stores']))} position vectors, {len(file['bad'])} bad ones as they should be")

file = json.loads((here / "rows.json").read_text())
for v in file["good"]: assert texts.row(v["row"].encode(), True) == v["taken"], (v["name"], texts.row(v["row"].encode(), True))
for v in file["bad"]:
    row = bytes.fromhex(v["hex"]) if "hex" in v else v["row"].encode()
    refused(v, lambda: texts.row(row, False))
    if "unless" in v: texts.row(row, True)
    else: refused(v, lambda: texts.row(row, True))
print(f"{len(file['good'])} row vectors, {len(file['bad'])} bad ones as they should be")

file = json.loads((here / "lists.json").read_text())
for v in file["good"]: assert len(texts.erasures(v["text"])) == v["announcements"], v["name"]
for v in file["bad"]: refused(v, lambda: texts.erasures(v["text"]))
print(f"{len(file['good'])} list vectors, {len(file['bad'])} bad ones as they should be")

file = json.loads((here / "successors.json").read_text())
def successor(raw): return texts.successor(raw, file["vault"], file["public"])
assert key_id(file["public"]) == file["key"]
for v in file["good"]: assert successor(v["text"].encode()).hex() == file["secret"], v["name"]
for v in file["bad"]: refused(v, lambda: successor(bytes.fromhex(v["hex"]) if "hex" in v else v["text"].encode()))
print(f"{len(file['good'])} successor vectors, {len(file['bad'])} bad ones as they should be")

file, sealed = json.loads((here / "backup.json").read_text()), (here / "backup.age").read_bytes()
secret, whole = age.identity(file["identity"]), bytes.fromhex(file["plaintext"]) + bytes(file["zeros"])
assert age.unseal(sealed, secret) == whole
read, signers = vaults.read_backup(whole)
assert read == file["opened"], {member for member in read if read[member] != file["opened"].get(member)}
def changed(of, edits):
    for edit in reversed(edits): of = of[:edit["at"]] + bytes.fromhex(edit["put"]) + of[edit["at"] + edit["cut"]:]
    return of
for v in file["bad"]:
    if "plaintext" in v: refused(v, lambda: vaults.read_backup(changed(whole, v["plaintext"])))
    else: refused(v, lambda: age.unseal(changed(sealed, v["file"]) if "file" in v else sealed, age.identity(v.get("identity", file["identity"]))))
print(f"1 backup vector, {len(file['bad'])} bad ones as they should be")

def sweep(whole, same, every=1, lengths=()):
    """What has a bit flipped, every nth of them, or is cut to these lengths, is refused, or is the same all the same."""
    changes = [(bit // 8, whole[:bit // 8] + bytes([whole[bit // 8] ^ 1 << bit % 8]) + whole[bit // 8 + 1:])
               for bit in (range(0, 8 * len(whole), every) if every else ())] + [(n, whole[:n]) for n in lengths]
    for at, changed in changes:
        try: found = same(changed)
        except (AssertionError, InvalidTag, KeyError, ValueError, TypeError, AttributeError): continue
        assert found, f"a change at byte {at} passes: {changed}"
    return len(changes)
def told(title, count): print(f"{title}: each of {count} changes is found")

file, count = json.loads((here / "good.json").read_text()), 0
vault = events.Vault(file)
for v in file["vectors"]:
    # What is left of a token when its key is gone the tag vouches for.
    if v["purpose"] == 2 or {"shredded", "unvouched"} & set(v["opened"]): continue
    halves = [half[part] for half in (v, v.get("private", {})) for part in ("data", "metadata") if half.get(part)]
    sealed_in = [load(half["json"] if "json" in half else "{}") if isinstance(half, dict) else load(half) for half in halves]
    for text in [text for part in sealed_in if isinstance(part, dict) for text in part.get("$sealed", ())]:
        def same(raw):
            other = json.loads(json.dumps(v).replace(text, b64(raw)))
            return events.read_event(other, vault)[3] == v["opened"] and other == v
        count += sweep(token(text), same, 3)
told("tokens", count)

file, count = json.loads((here / "tombstones.json").read_text()), 0
vault, signers_of = uuid.UUID(file["vault"]).bytes, history(file["keys"])
for v in file["vectors"]:
    def same(raw):
        read_tombstone({**v, "data": raw.decode()}, vault, signers_of, stolen, living)
        return load(raw.decode()) == load(v["data"])
    count += sweep(v["data"].encode(), same, 7)
told("tombstones", count)

count = 0
for kind in ("announcements", "distrust"):
    file = load((here / f"{kind}.json").read_text())
    eras, seen = {token(e["era"]): bytes.fromhex(e["secret"]) for e in file["eras"]}, set()
    known = History(file["vault"], file["keys"][0]["public"])
    said = {v["line"]["id"]: v["line"] for v in file["statements"] + file["vectors"]}
    for line in said.values():
        for before in line.get("previous", []): assert before["event"] not in said or before == reference_of(said[before["event"]]), line["id"]
    for v in file["statements"] + file["vectors"]:
        line = v["line"]
        if line["kind"] not in seen:
            def same(raw):
                other = texts.value(raw.decode())
                copy.deepcopy(known).judge(other, eras)
                return {**other, "id": str(uuid.UUID(other["id"]))} == line
            assert same(canonical(line).encode())
            count += sweep(canonical(line).encode(), same, 11)
        seen.add(line["kind"])
        known.judge(line, eras)
told("announcements", count)

file = json.loads((here / "lists.json").read_text())
whole = file["good"][1]["text"].encode()
told("lists", sweep(whole, lambda raw: texts.erasures(raw.decode()) == texts.erasures(whole.decode()), 5, range(len(whole) - 1)))

file = json.loads((here / "successors.json").read_text())
line = file["good"][1]["text"].encode()
told("successors", sweep(line, lambda raw: (raw.split(), successor(raw).hex()) == (line.split(), file["secret"]), 1, range(len(line))))

rest = sealed.index(b"\n--- ") + 64
sampled = range(rest, len(sealed), 499)
def same(raw):
    age.unseal(raw, secret)
    return raw == sealed
count = sweep(sealed[:rest], lambda raw: same(raw + sealed[rest:])) + sweep(sealed, same, 0, [*range(rest), *sampled])
for at in sampled: count += sweep(sealed[at:at + 1], lambda raw: same(sealed[:at] + raw + sealed[at + 1:]), 5)
told("backup", count)
