//! What `verify` can find, how bad it is, and the remedy.

use crate::audit::finding::kinds;

const ROTATE: &str = "rotate: begin a new generation; what was sealed stays readable";
const KEEP_A_COPY: &str = "no crash leaves this: keep a copy of the folder and report it; restore the vault from a backup";
const RESTORE_THE_EVENT: &str = "restore the event from a copy of the event store";
const WHO_ELSE_SIGNS: &str = "first make sure that nobody else signs: has this vault's folder been copied or its signing key been \
     stolen (`Vault::signing_keys`)? If not, the vault was put back to before that erasure: open it with the events \
     that announce it, or apply the list that `erasure::export` had written";
const REBUILD_OWNERS: &str = "forgetting the owner would not reach this stream: `Oubliette::rebuild_owners` notes what the events state; or \
     forget the stream by name as well";

kinds! {
    /// A kind of finding of `verify`.
    Defect

    /// A page of the vault does not open, or is where it should not be.
    DamagedPage: Error, "damaged page",
        "what lies beneath it is lost here, everything else still opens; restore the vault from a backup";
    /// The root slot does not hold the root that is in use.
    SlotDiffers: Error, "slot differs",
        "put the slot back in its place before this process ends: with what the slot holds now, the vault will \
         not open again";
    /// A page of the vault was sealed too often under one key.
    WornPage: Error, "worn page", ROTATE;
    /// A page in the vault's store that nothing leads to.
    OrphanPage: Notice, "orphan page",
        "none needed: ciphertext that no key of this vault opens any more; `VerifyOptions::repair` removes it";
    /// The list of the vault's pages to remove does not open.
    RetireList: Warning, "retire list",
        "none needed for secrecy; `VerifyOptions::repair` removes the pages that it named";
    /// A value in the vault does not have its form, or is where none should be.
    OddRecord: Error, "odd record", KEEP_A_COPY;
    /// A subject's record or fence contradicts itself.
    Contradiction: Error, "contradiction", KEEP_A_COPY;
    /// A key is there that a fence says is dead.
    DeadKey: Error, "dead key is there",
        "forget the subject again: what is there goes, and the fence stays";
    /// A key that an erasure spared is not there.
    SparedKeyMissing: Error, "spared key missing",
        "it was retained or held when its subject was forgotten, and is lost: what it sealed reads as missing. \
         Restore the vault from a backup that has it";
    /// A key's id or place is not that of its stream, subject, class and generation.
    MisplacedKey: Error, "misplaced key", KEEP_A_COPY;
    /// Two keys have the same id.
    DoubleKey: Error, "double key", KEEP_A_COPY;
    /// A key sealed more than one key may.
    WornKey: Error, "worn key", ROTATE;
    /// A key is of a generation that was never begun.
    KeyWithoutGeneration: Error, "key without generation",
        "the subject's record is older than its keys: restore the vault from a backup";
    /// A subject names an owner who does not know of it.
    OwnerEdgeMissing: Error, "owner edge missing",
        "forgetting the owner would not reach this subject: forget it by name as well, or append an event that \
         states the owner again";
    /// An owner's list names a subject that does not name the owner.
    OwnerEdgeStale: Warning, "owner edge stale", "none needed: it goes with the owner";
    /// A forgotten subject is still named as an owner.
    ForgottenNamed: Error, "forgotten named",
        "the name of somebody who is forgotten is left in the vault: forget the one who names them, or report \
         this";
    /// Whether an event that states an owner is in the store was never settled.
    UnsettledClaim: Notice, "unsettled claim", "none needed: the next append or plan settles it";
    /// Whether an event that a codec sealed and that states an owner was stored, only its caller
    /// knows, and has not said.
    OpenClaim: Warning, "open claim",
        "look whether your store has that event, and say so with `Codec::settle`: until then forgetting an owner may not reach this subject";
    /// A subject's owner was forgotten before its claim was settled, and the erasure did not reach it.
    OwnerForgotten: Warning, "owner forgotten",
        "forget this subject by name; or say that it stays, with `Codec::acknowledge`";
    /// A backup's day has passed, and its file is not said to be destroyed.
    BackupOverdue: Warning, "backup overdue",
        "destroy the file, and say so with `Vault::retire_backup`: until then every erasure names it, \
         because it holds the keys";
    /// A mirror of the root slot may hold an earlier root, or its counter does not tell the present epoch.
    MirrorStale: Warning, "mirror stale",
        "make it reachable and open the vault; or, if it is destroyed, say so with `Vault::retire_mirror` (of a \
         counter, `Vault::release_counter`): until then what was forgotten since \
         is pending";
    /// An erasure is decided, and its keys are not destroyed.
    ErasureNotCarriedOut: Error, "erasure not carried out",
        "open the vault for writing: it is carried out at once";
    /// An erasure's keys are destroyed, and its tombstones are not all set.
    ErasurePending: Warning, "erasure pending",
        "the keys are gone; as soon as the store takes tombstones, opening it sets them";
    /// A fence names an erasure of which there is no record.
    FenceWithoutRecord: Warning, "fence without record",
        "none needed for secrecy: the books have lost why and when; look for the request";
    /// An erasure that destroyed keys left no fence.
    RecordWithoutFence: Error, "record without fence",
        "keys of that erasure could return unnoticed: restore the vault from a backup made since, or forget \
         the subject again";
    /// An event names a key that is not there, and nothing explains it.
    UnknownKey: Error, "unknown key id",
        "the key was lost, or this is not the vault that sealed the event: restore the vault from a newer \
         backup, or open the right one";
    /// A sealed part does not open in its place under its key.
    Tampered: Error, "tampered",
        "the event was changed, moved or cut since it was sealed: restore it from a copy of the event store";
    /// An event notes that it belongs to a stream, and is not in a half of it.
    Misplaced: Error, "misplaced",
        "somebody moved the event to another stream, or the policy no longer has the rule that splits its \
         stream: put the rule back, or restore both streams from a copy of the event store. It is nobody's \
         where it lies";
    /// An event names a destroyed key that was never a key of its stream, and no tag vouches for it.
    BorrowedKey: Error, "borrowed key",
        "forged: somebody who can write to the event store put a dead key's id over this event, to have it \
         pass for a forgotten person's. It says of nobody that they are forgotten, and forgetting somebody \
         because of it would be a mistake. Restore the event from a copy of the event store";
    /// An event's keys are dead, and no tag of this vault's vouches that it was ever sealed here.
    Untagged: Error, "untagged",
        "forged of a dead key's id, or its tag was removed: it says of nobody that they are forgotten, and \
         forgetting somebody because of it would be a mistake. Restore the event from a copy of the event \
         store";
    /// An event can be read today, and nothing will vouch for it when its keys are gone.
    TagMissing: Warning, "tag missing",
        "somebody changed or replaced the event's tag: restore it from a copy of the event store before its \
         subject is forgotten; afterwards it cannot be told from a forged one";
    /// Another vault sealed the event.
    OtherVault: Notice, "another vault's",
        "none needed, if another vault shares this event store: open it with that one, and verify it there";
    /// An event says that parts of it were missing when it was copied, and this vault did not note
    /// that.
    ForgedHole: Error, "forged hole",
        "somebody else can write to the event store: the note was forged, changed, or taken from another \
         event. It says of nobody that they are forgotten. Restore the event from a copy of the event store";
    /// An event's tag is of an era that the vault does not know; or an announcement of this vault's
    /// is sealed for later eras alone, so that it cannot be opened.
    UnknownEra: Error, "unknown era",
        "this vault was restored from a backup that is older than the event: restore a newer one";
    /// The store has something at a position that it did not write.
    DamagedEvent: Error, "damaged event",
        "restore it from a copy of the event store: readers get an error there. Which keys it uses and what it \
         says is not known; so no key is called unused, and no owner unstated";
    /// A stored event does not have its form.
    Unreadable: Error, "unreadable", RESTORE_THE_EVENT;
    /// A newer version of this program wrote the event.
    Newer: Error, "newer event",
        "nothing is wrong with it, as far as this program can say: verify it with the newer one that wrote it, \
         and leave it where it is. Which keys it uses and what it says is not known here; so no key is called \
         unused, and no owner unstated";
    /// Half of a split event is missing.
    HalfMissing: Error, "half missing", RESTORE_THE_EVENT;
    /// An erasure has fewer tombstones than it set.
    TombstonesMissing: Warning, "tombstones missing",
        "the keys are destroyed all the same, but readers of these streams are not told: the event store was \
         put back to before the erasure, lost events, or somebody changed them; restore a newer copy of it, if \
         there is one, or have the vault set them again with `Oubliette::tell_again`";
    /// The vault has tombstones to set again under the key that signs, and has not set all of them.
    TombstonesDue: Warning, "tombstones due",
        "open the vault with the event store at hand: it is tried each time, and a warning says what the event \
         store answered. Forgetting goes on meanwhile";
    /// An event of the tombstone's type claims to be this vault's word, and is not.
    ForgedTombstone: Error, "forged tombstone",
        "forged, or changed since: somebody else can write to the event store. It says of nobody that they are \
         forgotten, and readers get nothing of it. Forget nobody because of it; find out who wrote it, and \
         restore the stream from a copy of the event store";
    /// A tombstone speaks of what is this vault's, and names a signing key that the vault never had.
    UnknownSigner: Error, "unknown signer",
        "it does not count, and readers get nothing of it: anybody who can write to the event store can have \
         written it, another restoration of this vault among them. Forget nobody because of it; find out who \
         wrote it";
    /// A tombstone that does not count, and says nothing that the vault knows to be otherwise: a compromised key
    /// signed it, or one of which only an announcement was believed; or one that the vault never had, beside a tombstone
    /// of the same erasure that counts.
    UncountedTombstone: Notice, "uncounted tombstone",
        "none needed: readers get nothing of it, and the vault says itself what it knows of that erasure";
    /// The vault says of a subject what only a newer version of this program understands.
    NewerState: Error, "newer state",
        "use the newer version of this program that wrote it: this one cannot say what the subject's state is, \
         and reading the stream ends there";
    /// A tombstone that is another vault's, as far as can be told.
    ForeignTombstone: Notice, "foreign tombstone",
        "none needed, if another vault shares this event store; if none does, it is forged, and somebody else \
         can write to the store. It says nothing of this vault's subjects";
    /// An announcement names this vault, and is not its word; or what is in the stream of announcements is none.
    ForgedAnnouncement: Error, "forged announcement",
        "forged, or changed since: it does not count, and nobody is forgotten by it. Somebody who can write to \
         the event store made it";
    /// An announcement that opens with this vault's secrets, by a key that the vault never had: only the operator can
    /// say whether it counts.
    AnnouncementInDoubt: Error, "announcement in doubt",
        "nothing personal is served until somebody says which: `erasure::believe` with the id of the event, if \
         another restoration of this vault announced it, or this one before it was put back; \
         `erasure::pass_over`, if somebody did who found a backup";
    /// What the vault knows to have announced is not in the event store.
    AnnouncementMissing: Warning, "announcement missing",
        "a vault that is restored from an earlier backup will not learn of it from this event store: the store \
         was put back, lost events, or somebody changed or removed it. Restore a newer copy of the store, if \
         there is one, or have the vault announce its erasures again with `Oubliette::tell_again`; keep the list that \
         `erasure::export` writes, and have each restoration replay it (`erasure::replay`)";
    /// Only a compromised signing key says it, and the vault knows nothing of it, or knows otherwise.
    CompromisedWord: Error, "compromised word",
        "it does not count, and readers get nothing of it: whoever stole the key can have written it";
    /// A statement leads to a signing key from one that the vault does not know.
    SigningKeyGap: Error, "signing key gap",
        "this vault was put back to before a change of its signing key, and the announcement of an earlier one \
         is missing: restore the missing events of oubliette-announcements, or a newer backup. Until then \
         nothing that the later key signed counts here";
    /// A statement about signing keys that does not count.
    RefusedStatement: Error, "refused statement",
        "it does not count. If you changed the signing key without its pinned successor, and this vault was \
         restored from an earlier backup, restore a newer one; if you did not, somebody else has the earlier \
         key: `Vault::signing_keys` lists those of this vault";
    /// The vault announced what this version does not carry out.
    NotCarriedOut: Error, "not carried out",
        "use a program that knows it: until then nothing personal is served";
    /// A tombstone that the vault signed is of an erasure that it does not know.
    ErasureUnknown: Error, "erasure unknown", WHO_ELSE_SIGNS;
    /// A tombstone calls a key dead that lives.
    TombstoneOfLivingKey: Error, "tombstone of a living key", WHO_ELSE_SIGNS;
    /// An event states an owner of whom the vault does not know.
    OwnerNotNoted: Warning, "owner not noted", REBUILD_OWNERS;
    /// An event that was never sealed states an owner of whom the vault does not know.
    OwnerInClear: Warning, "owner stated in clear, not noted", REBUILD_OWNERS;
    /// An event says that it is of somebody who is forgotten, and their forgetting did not reach it.
    Missed: Error, "missed by a forgetting",
        "forget the stream by name, if nothing in it is somebody else's";
    /// A stream depends on one that changed hands and that is forgotten in part: which of its events
    /// are of that part is not known, and none was reached.
    MissedInPart: Warning, "part missed by a forgetting",
        "forget the stream by name, if what it holds of that time should go: the rest of it goes, too";
    /// A stream whose rule names owners has none.
    Ownerless: Warning, "ownerless",
        "append an event that states its owner; what was sealed before a change of hands, or before a \
         forgetting, goes only when the stream is forgotten by name";
    /// An event is sealed for somebody else than the present policy says.
    OtherSubject: Warning, "sealed for another subject",
        "forgetting that person does not reach this event: forget the stream by name as well, or move the \
         event into a new stream";
    /// An owner counts whom no event states.
    OwnerNotStated: Warning, "owner not stated",
        "forgetting that owner takes the stream along: if they do not own it, append an event that says who \
         does; if the policy changed, or the event was removed from the store, nothing is wrong with the \
         vault";
    /// An event about somebody who is forgotten was never sealed.
    ForgottenInClear: Error, "forgotten in clear",
        "remove the event from the store: it was not sealed here, and no erasure reaches it; where another \
         vault wrote it, ask there";
    /// A key that no event uses.
    UnusedKey: Notice, "unused key",
        "none needed: an append that was broken off, or events that are not in this store";
    /// An announcement of the vault's is missing in the event store, and that was not accepted.
    WitnessGap: Error, "gap in what was announced",
        "the vault serves nothing until it is back, or somebody accepts by name that it is not: restore the \
         missing events of oubliette-announcements; or accept the gap and apply the last list that was kept \
         elsewhere (`Oubliette::open_past_gap`, `erasure::replay`)";
    /// An announcement of the vault's is missing in the event store, and somebody accepted that.
    AcceptedGap: Notice, "accepted gap in what was announced",
        "none, if everybody who had been forgotten by it is forgotten again: if the vault was put back, they \
         can be read in it";
}
