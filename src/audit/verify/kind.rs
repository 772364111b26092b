//! What `verify` can find, how bad it is, and the remedy.

use std::fmt;

use serde::Serialize;

use crate::audit::{Finding, Location, Severity};

/// A kind of finding of `verify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Defect {
    /// A page of the vault does not open, or is where it should not be.
    DamagedPage,
    /// The root slot does not hold the root that is in use.
    SlotDiffers,
    /// A page of the vault was sealed too often under one key.
    WornPage,
    /// A page in the vault's store that nothing leads to.
    OrphanPage,
    /// The list of the vault's pages to remove does not open.
    RetireList,
    /// A value in the vault does not have its form, or is where none should be.
    OddRecord,
    /// A subject's record or fence contradicts itself.
    Contradiction,
    /// A key is there that a fence says is dead.
    DeadKey,
    /// A key that an erasure spared is not there.
    SparedKeyMissing,
    /// A key's id or place is not that of its stream, subject, class and generation.
    MisplacedKey,
    /// Two keys have the same id.
    DoubleKey,
    /// A key sealed more than one key may.
    WornKey,
    /// A key is of a generation that was never begun.
    KeyWithoutGeneration,
    /// A subject names an owner who does not know of it.
    OwnerEdgeMissing,
    /// An owner's list names a subject that does not name the owner.
    OwnerEdgeStale,
    /// A forgotten subject is still named as an owner.
    ForgottenNamed,
    /// Whether an event that states an owner is in the store was never settled.
    UnsettledClaim,
    /// Whether an event that a codec sealed and that states an owner was stored, only its caller
    /// knows, and has not said.
    OpenClaim,
    /// A subject's owner was forgotten before its claim was settled, and the erasure did not reach it.
    OwnerForgotten,
    /// A backup's day has passed, and its file is not said to be destroyed.
    BackupOverdue,
    /// A mirror of the root slot may hold an earlier root, or its counter does not tell the present epoch.
    MirrorStale,
    /// An erasure is decided, and its keys are not destroyed.
    ErasureNotCarriedOut,
    /// An erasure's keys are destroyed, and its tombstones are not all set.
    ErasurePending,
    /// A fence names an erasure of which there is no record.
    FenceWithoutRecord,
    /// An erasure that destroyed keys left no fence.
    RecordWithoutFence,
    /// An event names a key that is not there, and nothing explains it.
    UnknownKey,
    /// A sealed part does not open in its place under its key.
    Tampered,
    /// An event notes that it belongs to a stream, and is not in a half of it.
    Misplaced,
    /// An event names a destroyed key that was never a key of its stream, and no tag vouches for it.
    BorrowedKey,
    /// An event's keys are dead, and no tag of this vault's vouches that it was ever sealed here.
    Untagged,
    /// An event can be read today, and nothing will vouch for it when its keys are gone.
    TagMissing,
    /// Another vault sealed the event.
    OtherVault,
    /// An event says that parts of it were missing when it was copied, and this vault did not note
    /// that.
    ForgedHole,
    /// An event's tag is of an era that the vault does not know; or an announcement of this vault's
    /// is sealed for later eras alone, so that it cannot be opened.
    UnknownEra,
    /// The store has something at a position that it did not write.
    DamagedEvent,
    /// A stored event does not have its form.
    Unreadable,
    /// A newer version of this program wrote the event.
    Newer,
    /// Half of a split event is missing.
    HalfMissing,
    /// An erasure has fewer tombstones than it set.
    TombstonesMissing,
    /// The vault has tombstones to set again under the key that signs, and has not set all of them.
    TombstonesDue,
    /// An event of the tombstone's type claims to be this vault's word, and is not.
    ForgedTombstone,
    /// A tombstone speaks of what is this vault's, and names a signing key that the vault never had.
    UnknownSigner,
    /// A tombstone that does not count, and says nothing that the vault knows to be otherwise: a compromised key
    /// signed it, or one of which only an announcement was believed; or one that the vault never had, beside a tombstone
    /// of the same erasure that counts.
    UncountedTombstone,
    /// The vault says of a subject what only a newer version of this program understands.
    NewerState,
    /// A tombstone that is another vault's, as far as can be told.
    ForeignTombstone,
    /// An announcement names this vault, and is not its word; or what is in the stream of announcements is none.
    ForgedAnnouncement,
    /// An announcement that opens with this vault's secrets, by a key that the vault never had: only the operator can
    /// say whether it counts.
    AnnouncementInDoubt,
    /// What the vault knows to have announced is not in the event store.
    AnnouncementMissing,
    /// Only a compromised signing key says it, and the vault knows nothing of it, or knows otherwise.
    CompromisedWord,
    /// A statement leads to a signing key from one that the vault does not know.
    SigningKeyGap,
    /// A statement about signing keys that does not count.
    RefusedStatement,
    /// The vault announced what this version does not carry out.
    NotCarriedOut,
    /// A tombstone that the vault signed is of an erasure that it does not know.
    ErasureUnknown,
    /// A tombstone calls a key dead that lives.
    TombstoneOfLivingKey,
    /// An event states an owner of whom the vault does not know.
    OwnerNotNoted,
    /// An event that was never sealed states an owner of whom the vault does not know.
    OwnerInClear,
    /// An event says that it is of somebody who is forgotten, and their forgetting did not reach it.
    Missed,
    /// A stream depends on one that changed hands and that is forgotten in part: which of its events
    /// are of that part is not known, and none was reached.
    MissedInPart,
    /// A stream whose rule names owners has none.
    Ownerless,
    /// An event is sealed for somebody else than the present policy says.
    OtherSubject,
    /// An owner counts whom no event states.
    OwnerNotStated,
    /// An event about somebody who is forgotten was never sealed.
    ForgottenInClear,
    /// A key that no event uses.
    UnusedKey,
    /// An announcement of the vault's is missing in the event store, and that was not accepted.
    WitnessGap,
    /// An announcement of the vault's is missing in the event store, and somebody accepted that.
    AcceptedGap,
}

impl Defect {
    /// How bad it is.
    pub fn severity(self) -> Severity {
        match self {
            Self::UnsettledClaim
            | Self::UnusedKey
            | Self::AcceptedGap
            | Self::OrphanPage
            | Self::ForeignTombstone
            | Self::UncountedTombstone
            | Self::OtherVault => Severity::Notice,
            Self::RetireList
            | Self::OwnerEdgeStale
            | Self::OpenClaim
            | Self::OwnerForgotten
            | Self::BackupOverdue
            | Self::MirrorStale
            | Self::ErasurePending
            | Self::FenceWithoutRecord
            | Self::TombstonesMissing
            | Self::TombstonesDue
            | Self::AnnouncementMissing
            | Self::OwnerNotNoted
            | Self::OwnerInClear
            | Self::MissedInPart
            | Self::Ownerless
            | Self::OtherSubject
            | Self::OwnerNotStated
            | Self::TagMissing => Severity::Warning,
            _ => Severity::Error,
        }
    }

    /// What to do about it. A finding may know more: then it has a remedy of its own.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::DamagedPage => {
                "what lies beneath it is lost here, everything else still opens; restore the vault \
                 from a backup"
            }
            Self::SlotDiffers => {
                "put the slot back in its place before this process ends: with what the slot holds \
                 now, the vault will not open again"
            }
            Self::WornPage | Self::WornKey => {
                "rotate: begin a new generation; what was sealed stays readable"
            }
            Self::OrphanPage => {
                "none needed: ciphertext that no key of this vault opens any more; \
                 `verify --repair` removes it"
            }
            Self::RetireList => {
                "none needed for secrecy; `verify --repair` removes the pages that it named"
            }
            Self::OddRecord | Self::Contradiction | Self::MisplacedKey | Self::DoubleKey => {
                "no crash leaves this: keep a copy of the folder and report it; restore the vault \
                 from a backup"
            }
            Self::DeadKey => "forget the subject again: what is there goes, and the fence stays",
            Self::SparedKeyMissing => {
                "it was retained or held when its subject was forgotten, and is lost: what it sealed \
                 reads as missing. Restore the vault from a backup that has it"
            }
            Self::KeyWithoutGeneration => {
                "the subject's record is older than its keys: restore the vault from a backup"
            }
            Self::OwnerEdgeMissing => {
                "forgetting the owner would not reach this subject: forget it by name as well, or \
                 append an event that states the owner again"
            }
            Self::OwnerEdgeStale => "none needed: it goes with the owner",
            Self::ForgottenNamed => {
                "the name of somebody who is forgotten is left in the vault: forget the one who \
                 names them, or report this"
            }
            Self::UnsettledClaim => "none needed: the next append or plan settles it",
            Self::OpenClaim => {
                "look whether your store has that event, and say so with `Codec::settle`, or \
                 `oubliette settle EVENT --stored` or `--rejected`: until then forgetting an owner may \
                 not reach this subject"
            }
            Self::OwnerForgotten => {
                "forget this subject by name; or say that it stays, with \
                 `oubliette settle EVENT --acknowledge` or `Codec::acknowledge`"
            }
            Self::MirrorStale => {
                "make it reachable and run any command; or, if it is destroyed, \
                 `oubliette root mirror retire FILE --lost` (of a counter, \
                 `oubliette root counter release --lost`): until then what was forgotten since is pending"
            }
            Self::BackupOverdue => {
                "destroy the file, and say so with `oubliette backup retire`: until then every erasure \
                 names it, because it holds the keys"
            }
            Self::ErasureNotCarriedOut => "open the vault for writing: it is carried out at once",
            Self::ErasurePending => {
                "the keys are gone; as soon as the store takes tombstones, opening it sets them"
            }
            Self::FenceWithoutRecord => {
                "none needed for secrecy: the books have lost why and when; look for the request"
            }
            Self::RecordWithoutFence => {
                "keys of that erasure could return unnoticed: restore the vault from a backup made \
                 since, or forget the subject again"
            }
            Self::UnknownKey => {
                "the key was lost, or this is not the vault that sealed the event: restore the \
                 vault from a newer backup, or open the right one"
            }
            Self::Tampered => {
                "the event was changed, moved or cut since it was sealed: restore it from a copy of \
                 the event store"
            }
            Self::Misplaced => {
                "somebody moved the event to another stream, or the policy no longer has the rule that \
                 splits its stream: put the rule back, or restore both streams from a copy of the event \
                 store. It is nobody's where it lies"
            }
            Self::BorrowedKey => {
                "forged: somebody who can write to the event store put a dead key's id over this event, to \
                 have it pass for a forgotten person's. It says of nobody that they are forgotten, and \
                 forgetting somebody because of it would be a mistake. Restore the event from a copy of \
                 the event store"
            }
            Self::Untagged => {
                "forged of a dead key's id, or its tag was removed: it says of nobody that they are \
                 forgotten, and forgetting somebody because of it would be a mistake. Restore the \
                 event from a copy of the event store"
            }
            Self::ForgedHole => {
                "somebody else can write to the event store: the note was forged, changed, or taken \
                 from another event. It says of nobody that they are forgotten. Restore the event \
                 from a copy of the event store"
            }
            Self::NewerState => {
                "use the newer version of this program that wrote it: this one cannot say what the \
                 subject's state is, and reading the stream ends there"
            }
            Self::TagMissing => {
                "somebody changed or replaced the event's tag: restore it from a copy of the event store \
                 before its subject is forgotten; afterwards it cannot be told from a forged one"
            }
            Self::OtherVault => {
                "none needed, if another vault shares this event store: open it with that one, and verify it \
                 there"
            }
            Self::UnknownEra => {
                "this vault was restored from a backup that is older than the event: restore a newer one"
            }
            Self::Newer => {
                "nothing is wrong with it, as far as this program can say: verify it with the newer one that wrote \
                 it, and leave it where it is. Which keys it uses and what it says is not known here; so no \
                 key is called unused, and no owner unstated"
            }
            Self::DamagedEvent => {
                "restore it from a copy of the event store: readers get an error there. Which keys it uses and \
                 what it says is not known; so no key is called unused, and no owner unstated"
            }
            Self::Unreadable | Self::HalfMissing => {
                "restore the event from a copy of the event store"
            }
            Self::TombstonesMissing => {
                "the keys are destroyed all the same, but readers of these streams are not told: the \
                 event store was put back to before the erasure, lost events, or somebody changed them; restore \
                 a newer copy of it, if there is one"
            }
            Self::TombstonesDue => {
                "open the folder with the event store at hand (`read` will do): it is tried each time, and a \
                 warning says what the event store answered. Forgetting goes on meanwhile"
            }
            Self::ForgedTombstone => {
                "forged, or changed since: somebody else can write to the event store. It says of \
                 nobody that they are forgotten, and readers get nothing of it. Forget nobody because \
                 of it; find out who wrote it, and restore the stream from a copy of the event store"
            }
            Self::UnknownSigner => {
                "it does not count, and readers get nothing of it: anybody who can write to the event store can \
                 have written it, another restoration of this vault among them. Forget nobody because of it; find \
                 out who wrote it"
            }
            Self::UncountedTombstone => {
                "none needed: readers get nothing of it, and the vault says itself what it knows of that \
                 erasure"
            }
            Self::AnnouncementMissing => {
                "a vault that is restored from an earlier backup will not learn of it from this event store: \
                 the store was put back, lost events, or somebody changed or removed it. Restore a newer copy \
                 of the store, if there is one; keep what `oubliette erasures export` writes, and give it to \
                 each restoration (`--erasures`)"
            }
            Self::ForeignTombstone => {
                "none needed, if another vault shares this event store; if none does, it is forged, \
                 and somebody else can write to the store. It says nothing of this vault's subjects"
            }
            Self::WitnessGap => {
                "the vault serves nothing until it is back, or somebody accepts by name that it is not: restore the \
                 missing events of oubliette-announcements; or apply the last list that was kept elsewhere, \
                 `oubliette --past-gap WHO erasures replay FILE`"
            }
            Self::AcceptedGap => {
                "none, if everybody who had been forgotten by it is forgotten again: if the vault was put back, they \
                 can be read in it"
            }
            Self::ForgedAnnouncement => {
                "forged, or changed since: it does not count, and nobody is forgotten by it. Somebody who can write to \
                 the event store made it"
            }
            Self::AnnouncementInDoubt => {
                "nothing personal is served until somebody says which: `--believe-erasure` and the id of the event, if \
                 another restoration of this vault announced it, or this one before it was put back; `--past-erasure`, if \
                 somebody did who found a backup"
            }
            Self::CompromisedWord => {
                "it does not count, and readers get nothing of it: whoever stole the key can have written it"
            }
            Self::SigningKeyGap => {
                "this vault was put back to before a change of its signing key, and the announcement of \
                 an earlier one is missing: restore the missing events of oubliette-announcements, or a \
                 newer backup. Until then nothing that the later key signed counts here"
            }
            Self::RefusedStatement => {
                "it does not count. If you changed the signing key without its pinned successor, and this \
                 vault was restored from an earlier backup, restore a newer one; if you did not, \
                 somebody else has the earlier key: see `oubliette keys --help`"
            }
            Self::NotCarriedOut => {
                "use a program that knows it: until then nothing personal is served"
            }
            Self::ErasureUnknown | Self::TombstoneOfLivingKey => {
                "first make sure that nobody else signs: has this vault's folder been copied or its \
                 signing key been stolen (`oubliette keys`)? If not, the vault was put back to before \
                 that erasure: open it with the events that announce it, or apply what \
                 `oubliette erasures export` had written"
            }
            Self::OwnerNotNoted | Self::OwnerInClear => {
                "forgetting the owner would not reach this stream: `oubliette owners rebuild` notes \
                 what the events state; or forget the stream by name as well"
            }
            Self::Missed => "forget the stream by name, if nothing in it is somebody else's",
            Self::MissedInPart => {
                "forget the stream by name, if what it holds of that time should go: the rest of it \
                 goes, too"
            }
            Self::Ownerless => {
                "append an event that states its owner; what was sealed before a change of hands, or \
                 before a forgetting, goes only when the stream is forgotten by name"
            }
            Self::OtherSubject => {
                "forgetting that person does not reach this event: forget the stream by name as well, \
                 or move the event into a new stream"
            }
            Self::OwnerNotStated => {
                "forgetting that owner takes the stream along: if they do not own it, append an \
                 event that says who does; if the policy changed, or the event was removed from the \
                 store, nothing is wrong with the vault"
            }
            Self::ForgottenInClear => {
                "remove the event from the store: it was not sealed here, and no erasure reaches it; where \
                 another vault wrote it, ask there"
            }
            Self::UnusedKey => {
                "none needed: an append that was broken off, or events that are not in this store"
            }
        }
    }

    pub(super) fn at(self, at: Location, what: impl Into<String>) -> Finding<Self> {
        let (severity, remedy) = (self.severity(), self.remedy());
        Finding { kind: self, severity, at, what: what.into(), remedy, signer: None }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DamagedPage => "damaged page",
            Self::SlotDiffers => "slot differs",
            Self::WornPage => "worn page",
            Self::OrphanPage => "orphan page",
            Self::RetireList => "retire list",
            Self::OddRecord => "odd record",
            Self::Contradiction => "contradiction",
            Self::DeadKey => "dead key is there",
            Self::SparedKeyMissing => "spared key missing",
            Self::MisplacedKey => "misplaced key",
            Self::DoubleKey => "double key",
            Self::WornKey => "worn key",
            Self::KeyWithoutGeneration => "key without generation",
            Self::OwnerEdgeMissing => "owner edge missing",
            Self::OwnerEdgeStale => "owner edge stale",
            Self::ForgottenNamed => "forgotten named",
            Self::UnsettledClaim => "unsettled claim",
            Self::OpenClaim => "open claim",
            Self::OwnerForgotten => "owner forgotten",
            Self::BackupOverdue => "backup overdue",
            Self::MirrorStale => "mirror stale",
            Self::ErasureNotCarriedOut => "erasure not carried out",
            Self::ErasurePending => "erasure pending",
            Self::FenceWithoutRecord => "fence without record",
            Self::RecordWithoutFence => "record without fence",
            Self::UnknownKey => "unknown key id",
            Self::Tampered => "tampered",
            Self::Misplaced => "misplaced",
            Self::BorrowedKey => "borrowed key",
            Self::Untagged => "untagged",
            Self::TagMissing => "tag missing",
            Self::OtherVault => "another vault's",
            Self::ForgedHole => "forged hole",
            Self::NewerState => "newer state",
            Self::UnknownEra => "unknown era",
            Self::DamagedEvent => "damaged event",
            Self::Unreadable => "unreadable",
            Self::Newer => "newer event",
            Self::HalfMissing => "half missing",
            Self::TombstonesMissing => "tombstones missing",
            Self::TombstonesDue => "tombstones due",
            Self::ForgedTombstone => "forged tombstone",
            Self::UnknownSigner => "unknown signer",
            Self::UncountedTombstone => "uncounted tombstone",
            Self::ForeignTombstone => "foreign tombstone",
            Self::WitnessGap => "gap in what was announced",
            Self::AcceptedGap => "accepted gap in what was announced",
            Self::ForgedAnnouncement => "forged announcement",
            Self::AnnouncementInDoubt => "announcement in doubt",
            Self::AnnouncementMissing => "announcement missing",
            Self::CompromisedWord => "compromised word",
            Self::SigningKeyGap => "signing key gap",
            Self::RefusedStatement => "refused statement",
            Self::NotCarriedOut => "not carried out",
            Self::ErasureUnknown => "erasure unknown",
            Self::TombstoneOfLivingKey => "tombstone of a living key",
            Self::OwnerNotNoted => "owner not noted",
            Self::OwnerInClear => "owner stated in clear, not noted",
            Self::Missed => "missed by a forgetting",
            Self::MissedInPart => "part missed by a forgetting",
            Self::Ownerless => "ownerless",
            Self::OtherSubject => "sealed for another subject",
            Self::OwnerNotStated => "owner not stated",
            Self::ForgottenInClear => "forgotten in clear",
            Self::UnusedKey => "unused key",
        })
    }
}
