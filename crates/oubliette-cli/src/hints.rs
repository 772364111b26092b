//! What to do about an error, as this program does it. The libraries' texts name neither commands nor options,
//! because other programs print them as well.

/// What to do about errors of this kind, by which command or option; `None`: their text says all.
pub(crate) fn hint(kind: &str) -> Option<&'static str> {
    HINTS.iter().find(|(known, _)| *known == kind).map(|(_, hint)| *hint)
}

const INVENTORY: &str = "`oubliette inventory` lists the subjects";
const REOPEN: &str = "`oubliette reopen SUBJECT` admits them again";
const ROOT: &str = "--root says where it is, --mirror where a mirror of it is";
const COUNTER: &str = "--past-counter goes on whatever it says; then `oubliette root counter bind tpm:INDEX` \
                       binds one anew";
const READ_ONLY: &str = "--read-only reads what is there";
const WORD: &str = "--believe-erasure ID applies an erasure, --past-erasure ID passes over one";
const SCHEMA: &str = "?schema=NAME behind the address of --store names another";
const LIST: &str = "take the file that `oubliette erasures export` wrote of this vault";

/// Each kind that has a remedy in this program. What stands for something to be filled in is in capitals.
const HINTS: &[(&str, &str)] = &[
    ("store.conflict", "read the stream again, decide again, append again"),
    ("store.forgotten", REOPEN),
    ("store.damaged", "`oubliette verify` names all that are"),
    ("vault.forgotten", REOPEN),
    (
        "vault.unsettled",
        "`oubliette claims` lists what is to be settled; `oubliette settle EVENT --stored` or \
         `oubliette settle EVENT --rejected` settles it",
    ),
    ("vault.read_only", "leave --read-only out"),
    ("vault.disk_full", "to read meanwhile, --read-only"),
    ("vault.disk_read_only", READ_ONLY),
    (
        "open_vault.folder_copied",
        "to look into this copy, --read-only; to go on with both, `oubliette root own` gives this one a root slot \
         of its own; to go on with this one, and never again with the other, --this-is-the-one",
    ),
    (
        "open_vault.folder_old",
        "to say so, --this-is-the-one, once; to look into it, --read-only; to go on with both, \
         `oubliette root own` gives this one a root slot of its own",
    ),
    ("open_vault.in_use", "--wait 30s waits until it is free"),
    ("open_vault.slot_old", "to say so, --this-is-the-one, once"),
    ("open_vault.slot_outdated", "--root names the slot"),
    ("open_vault.epoch_too_low", "--expect-epoch, or OUBLIETTE_EXPECT_EPOCH, is what expects it"),
    ("slot.disk_read_only", READ_ONLY),
    ("slot.missing", ROOT),
    ("slot.no_folder", "--root and --mirror name the files of the slot"),
    ("slot.not_a_slot", ROOT),
    ("slot.wrong_kek", "--kek says where the right one is"),
    ("slot.kek_missing", "--kek says where it is"),
    ("slot.kek_not_needed", "--kek none opens it; `oubliette --kek none root kek KEK` wraps it"),
    ("slot.counter", COUNTER),
    ("slot.behind_counter", COUNTER),
    ("slot.unsupported", "`oubliette root counter release` ends what the slot is bound to"),
    ("open_store.read_only", READ_ONLY),
    ("backup.no_recipients", "--to age1…, or --recipients-file FILE"),
    ("backup.other_recipient", "`oubliette backup list` says to whom it was sealed"),
    ("backup.expired", "--even-expired restores it all the same"),
    ("backup.slot_there", "--root names another location"),
    (
        "backup.slot_in_use",
        "--root names a new location; --overwrite-slot says that the slot that is there may be overwritten",
    ),
    ("backup.unknown", "`oubliette backup list` shows those that there are"),
    ("successor.not_a_successor", "`oubliette keys successor --out FILE` writes one"),
    ("erasure.needs_writing", "leave --read-only out, once"),
    ("erasure.unknown_subject", INVENTORY),
    (
        "erasure.unsealed",
        "`oubliette seal-existing` seals them where they are; --despite-unsealed forgets all the same",
    ),
    ("erasure.unknown_keys", "--despite-unknown-keys forgets all the same"),
    ("erasure.newer", "--despite-newer forgets all the same"),
    ("unclear.too_old", "--past-erasure ID says of one that it is dealt with"),
    ("unclear.unknown_signer", WORD),
    ("unclear.signing_key_gap", WORD),
    ("operator.not_in_doubt", "`oubliette verify` names those that are"),
    (
        "unclear.witness_gap",
        "`oubliette --past-gap WHO erasures replay FILE` accepts it and applies the last list; without a list, \
         --past-gap WHO with any command",
    ),
    ("operator.no_gap", "leave --past-gap out"),
    (
        "pending.mirrors",
        "run the command again once it can be reached; if it is gone for good, \
         `oubliette root mirror retire FILE --lost`, or `oubliette root counter release --lost`",
    ),
    (
        "key_change.already_pinned",
        "`oubliette keys rotate --successor FILE` uses it; if its file is lost, \
         `oubliette keys rotate --without-successor`",
    ),
    (
        "key_change.successor_needed",
        "`oubliette keys rotate --successor FILE`; if its file is lost, \
         `oubliette keys rotate --without-successor`",
    ),
    (
        "key_change.nothing_pinned",
        "leave --successor out; `oubliette keys successor --out FILE` pins one afterwards",
    ),
    ("key_change.signed_before", "`oubliette keys successor --out FILE` makes another"),
    ("key_change.unknown_key", "`oubliette keys` lists those that it did sign with"),
    ("key_change.signs_now", "`oubliette keys rotate --compromised-since WHEN` does both"),
    (
        "key_change.successor_waits",
        "`oubliette keys rotate --successor FILE --compromised-since WHEN`; if its file is lost, \
         `oubliette keys rotate --without-successor --compromised-since WHEN --distrust KEY`",
    ),
    ("rotate.unknown_subject", INVENTORY),
    (
        "folder.not_found",
        "is --dir, or OUBLIETTE_DIR, right? `oubliette append STREAM TYPE --data JSON` stores a first event",
    ),
    ("folder.already_there", "--dir names another"),
    ("folder.not_ours", "--dir names another"),
    ("folder.not_a_folder", "--dir, --store and --vault say where they are"),
    (
        "folder.occupied",
        "--dir names the data folder; --store and --vault, other places for its parts",
    ),
    (
        "folder.manifest_lost",
        "`oubliette --root SLOT root` writes it anew, with --kek, --vault and --store where they were set",
    ),
    (
        "folder.vault_missing",
        "--vault says where it is; `oubliette restore FILE --identity FILE` restores it; --no-vault reads what \
         is public",
    ),
    (
        "folder.store_taken",
        "--dir names the data folder that it belongs to; `oubliette vault create --with-events` keeps what is there in clear; \
         ?schema=NAME in the address is another schema of the database",
    ),
    (
        "folder.store_unnoted",
        "events in clear stay there with `oubliette vault create --with-events`, or come in by `oubliette migrate --from \
         STORE`; a vault and the store that it sealed are made a \
         data folder by `oubliette vault attach`",
    ),
    ("postgres.refused", "OUBLIETTE_STORE_PASSWORD holds the password"),
    ("postgres.schema_name", SCHEMA),
    ("postgres.missing", SCHEMA),
    ("postgres.not_ours", SCHEMA),
    ("jetstream.missing", "--store says where the events are"),
    ("kafka.missing", "--store says where the events are"),
    ("folder.events_of_another", "--store and --vault say which belong together"),
    ("folder.events_missing", "--store says where they are"),
    ("folder.no_place_for_root", "--root, or OUBLIETTE_ROOT, says where"),
    ("folder.root_unknown", "`oubliette --root LOCATION root` notes it"),
    ("folder.other_slot", "--root, or OUBLIETTE_ROOT, is what names it"),
    ("folder.store_shared", "--store says where the copy is"),
    ("folder.not_text", "--root, --vault, --store, --mirror and --kek name other places"),
    (
        "folder.policy_absent",
        "`oubliette policy show` prints it, to be written there; `oubliette policy adopt` adopts what is there",
    ),
    (
        "folder.policy_changed",
        "`oubliette policy adopt` makes it the folder's policy; `oubliette policy show` prints the one that \
         counts until then",
    ),
    (
        "folder.erasures_do_not_open",
        "take the file as `oubliette erasures export` wrote it; --believe-erasure ID answers what opening asks",
    ),
    ("folder.statement_does_not_count", LIST),
    ("folder.erasures_of_another_vault", LIST),
    (
        "folder.erasures_of_compromised_key",
        "take a file that `oubliette erasures export` wrote after the key was changed; --believe-erasure ID \
         applies an erasure",
    ),
    ("folder.contradiction", "leave one of --believe-erasure and --past-erasure out"),
    ("task.panicked", "`oubliette verify` tells whether all is whole"),
];

/// The libraries' calls that remedies and errors name, and what does the same here.
const CALLS: &[(&str, &str)] = &[
    ("Codec::acknowledge", "`oubliette settle EVENT --acknowledge`"),
    ("Codec::settle", "`oubliette settle EVENT --stored`, or `--rejected`"),
    ("DrillOptions::needles", "`--needles`"),
    ("Oubliette::open_past_gap", "`--past-gap WHO`"),
    ("Oubliette::rebuild_owners", "`oubliette owners rebuild`"),
    ("Oubliette::tell_again", "`oubliette erasures repeat`"),
    ("Vault::release_counter", "`oubliette root counter release --lost`"),
    ("Vault::retire_backup", "`oubliette backup retire BACKUP`"),
    ("Vault::retire_mirror", "`oubliette root mirror retire FILE --lost`"),
    ("Vault::signing_keys", "`oubliette keys`"),
    ("VerifyOptions::repair", "`oubliette verify --repair`"),
    ("erasure::accept_gaps", "`--past-gap WHO`"),
    ("erasure::believe", "`--believe-erasure ID`"),
    ("erasure::export", "`oubliette erasures export`"),
    ("erasure::pass_over", "`--past-erasure ID`"),
    ("erasure::replay", "`oubliette erasures replay FILE`"),
];

/// A remedy of a finding or the text of an error, with this program's commands in the places of the libraries' calls.
pub(crate) fn in_commands(remedy: &str) -> String {
    let mut said = String::with_capacity(remedy.len());
    for (at, piece) in remedy.split('`').enumerate() {
        let call = CALLS.iter().find(|(call, _)| at % 2 == 1 && *call == piece);
        match call {
            Some((_, command)) => said.push_str(command),
            None if at % 2 == 1 => said.extend(["`", piece, "`"]),
            None => said.push_str(piece),
        }
    }
    said
}

#[cfg(test)]
mod tests;
