//! What a drill can find, how bad it is, and the remedy.

use crate::audit::finding::kinds;

const DESTROY_THE_ROOT: &str = "destroy the root that opens it, wherever it is, once you know that no folder works under it (one that was copied \
     may, over a slot of its own): without its root the copy is dead";
const IN_ITS_PLACE: &str = "none needed: it is where it should be";
const NOT_OURS: &str = "not this vault's: drill with the vault that it belongs to";

kinds! {
    /// A kind of finding of a drill.
    Leak

    /// A value that is sealed, or that the caller named, is in clear.
    ClearText: Error, "clear text",
        "find out who wrote it, stop it, and remove the file or what is in it";
    /// A sealed part of somebody forgotten can be read.
    TokenOpens: Error, "token opens", DESTROY_THE_ROOT;
    /// A destroyed key can be read from a copy of the vault.
    DestroyedKey: Error, "destroyed key", DESTROY_THE_ROOT;
    /// A copy of the vault holds a key of which the vault knows nothing.
    StrangeKey: Warning, "strange key",
        "the vault was put back to an earlier state, or the copy is of another line of it, which may be in use: find \
         out which, and destroy the copy only where nobody works with it";
    /// An earlier root of the vault.
    EarlierRoot: Error, "earlier root",
        "with it and a copy of the vault's folder of its time, everybody forgotten since can be read again. First find \
         out whether a folder works under it (one that was copied may): it would lose every key. A mirror that the slot \
         notes is made reachable, or retired; anything else, overwrite in place and remove";
    /// A root of the vault that is newer than the one in use.
    NewerRoot: Error, "newer root",
        "either another folder works under it, which was copied from this one: then leave it; or the vault and its slot \
         were put back to an earlier state: forget again who was forgotten since, then destroy this root";
    /// A copy of the root in use, away from its slot.
    SlotCopy: Warning, "copy of the slot",
        "nothing forgotten can be read with it today, but with the next erasure it becomes an earlier root: \
         keep it where erasures reach it, as a mirror that the slot notes, or destroy it";
    /// What is left of a root of the vault.
    BrokenRoot: Warning, "broken root",
        "overwrite it: what is left of it may suffice to read old copies";
    /// The vault's own slot.
    TodaysSlot: Notice, "today's slot", IN_ITS_PLACE;
    /// A root of another vault.
    OtherRoot: Notice, "another vault's root", NOT_OURS;
    /// A copy of the vault's folder, from which nothing destroyed can be read.
    VaultCopy: Notice, "copy of the vault",
        "none needed: it holds no destroyed key that today's root, or a root found here, opens";
    /// The vault's own folder.
    TodaysVault: Notice, "today's vault", IN_ITS_PLACE;
    /// A folder of another vault.
    OtherVault: Notice, "another vault", NOT_OURS;
    /// A folder that looks like a vault's and does not open.
    BrokenCopy: Warning, "broken copy",
        "nothing can be said about it: look what it is, or remove it";
    /// Sealed parts under keys of which the vault knows nothing.
    UnknownTokens: Notice, "unknown tokens",
        "sealed by another vault, or under keys made after this one was put back";
    /// A backup of the vault that is not encrypted.
    ClearBackup: Error, "backup in clear",
        "overwrite it in place and remove it: whoever has it reads everybody who was not yet forgotten when it \
         was made";
    /// A backup of the vault that is encrypted, and holds keys that were destroyed since.
    SealedBackup: Error, "backup of the vault",
        "whoever has it and an identity of a recipient reads those who were forgotten since: destroy it, at \
         the latest on its day, and say so with `Vault::retire_backup`";
    /// Something that is encrypted with age, and was not looked into.
    Encrypted: Warning, "encrypted", "decrypt it where it is safe to, and drill what comes out";
    /// Something that was not looked into, or not to its end.
    NotLookedInto: Warning, "not looked into",
        "nothing can be said about it: unpack or decrypt it, and drill what comes out";
    /// A file or folder that cannot be read.
    Unreadable: Warning, "unreadable",
        "make it readable, and drill again: nothing can be said about it";
    /// There are more sealed values than were searched for.
    ValuesLeftOut: Warning, "values left out",
        "give the values that matter (`DrillOptions::needles`), or drill stream by stream";
}
