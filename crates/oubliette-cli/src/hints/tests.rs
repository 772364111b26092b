use std::{collections::BTreeSet, fs, path::Path};

use clap::{CommandFactory, Parser};
use oubliette::{
    erasure::{
        ErasureError, ErasureRefusal, KeyChangeError, OperatorError, UnclearError, UnfitReason,
    },
    event::{ErasureId, Json, StreamName, Subject},
    policy::Policy,
    vault::{OpenVaultError, SlotError, VaultError},
};

use super::*;
use crate::{
    Args,
    known::{Known, kind},
};

/// The families, where they are, and the variants that are told as what they hold.
const FAMILIES: &[(&str, &str, &str, &[&str])] = &[
    ("task", "src/runtime.rs", "TaskError", &[]),
    ("slot", "src/vault/root/error.rs", "SlotError", &["Task"]),
    ("vault", "src/vault/error.rs", "VaultError", &["Slot", "Task"]),
    ("open_vault", "src/vault/error.rs", "OpenVaultError", &["Slot", "Vault"]),
    ("backup", "src/vault/backup/error.rs", "BackupError", &["Vault", "OpenVault", "Task"]),
    ("successor", "src/vault/signing/successor.rs", "SuccessorError", &[]),
    ("store", "src/store/error.rs", "StoreError", &["Task"]),
    ("open_store", "src/store/sqlite/error.rs", "OpenError", &[]),
    ("postgres", "crates/oubliette-postgres/src/error.rs", "OpenError", &[]),
    ("jetstream", "crates/oubliette-jetstream/src/error.rs", "JetStreamError", &["Task"]),
    ("kafka", "crates/oubliette-kafka/src/error.rs", "OpenError", &["Task"]),
    ("codec", "src/layer/error.rs", "CodecError", &["Vault", "Task"]),
    ("owners", "src/layer/owners.rs", "OwnersError", &["Vault", "Store"]),
    ("rotate", "src/layer/rotate.rs", "RotateError", &["Vault", "Store", "Task"]),
    (
        "erasure",
        "src/erasure/error/mod.rs",
        "ErasureError",
        &["Refused", "Pending", "Unclear", "Operator", "BadMemo", "Store", "Vault", "Task"],
    ),
    ("erasure", "src/erasure/error/refusal.rs", "ErasureRefusal", &["UnfitReason"]),
    ("pending", "src/erasure/error/pending.rs", "PendingError", &[]),
    ("unclear", "src/erasure/error/unclear.rs", "UnclearError", &[]),
    (
        "operator",
        "src/erasure/error/operator.rs",
        "OperatorError",
        &["Unclear", "BadMemo", "Vault"],
    ),
    ("bad_memo", "src/erasure/error/mod.rs", "BadMemo", &[]),
    ("key_change", "src/erasure/error/key_change.rs", "KeyChangeError", &["Vault"]),
    ("reason", "src/erasure/reason.rs", "UnfitReason", &[]),
    ("audit", "src/audit/inventory.rs", "AuditError", &["Vault", "Store", "Task"]),
    (
        "folder",
        "crates/oubliette-folder/src/error.rs",
        "FolderError",
        &[
            "Policy",
            "Open",
            "Store",
            "OpenVault",
            "Vault",
            "Slot",
            "Erasure",
            "KeyChange",
            "Backup",
            "Task",
        ],
    ),
];

/// Kinds that this program has no command or option for: their text says all that is to be done, or nothing can be.
const NO_HINT: &[&str] = &[
    "audit.no_room",
    "audit.no_vault",
    "backup.cut_off",
    "backup.damaged",
    "backup.exists",
    "backup.expires_in_the_past",
    "backup.identity_for_recipient",
    "backup.io",
    "backup.not_a_backup",
    "backup.not_a_recipient",
    "backup.not_age",
    "backup.not_an_identity",
    "backup.odd",
    "backup.other_vault",
    "backup.seal",
    "backup.vault_there",
    "backup.within_vault",
    "bad_memo.journal",
    "bad_memo.record",
    "codec.forgotten",
    "codec.invalid",
    "codec.no_vault",
    "codec.ownerless",
    "codec.refused",
    "codec.sealing",
    "codec.unreadable",
    "erasure.no_vault",
    "erasure.not_replayed",
    "erasure.witness_silent",
    "folder.after_key_change",
    "folder.after_restoring",
    "folder.bad_root",
    "folder.bad_settings",
    "folder.dangling_link",
    "folder.untrusted_file",
    "folder.io",
    "folder.newer_format",
    "folder.no_stores",
    "folder.open_store",
    "folder.no_place_for_settings",
    "folder.nothing_to_restore_to",
    "folder.root_within",
    "folder.settings_of_another_vault",
    "folder.vault_of_another_store",
    "jetstream.address",
    "jetstream.answer",
    "jetstream.batches_off",
    "jetstream.connect",
    "jetstream.create",
    "jetstream.full",
    "jetstream.message",
    "jetstream.needs_batches",
    "jetstream.newer",
    "jetstream.no_answer",
    "jetstream.no_jet_stream",
    "jetstream.not_allowed",
    "jetstream.not_connected",
    "jetstream.not_ours",
    "jetstream.option",
    "jetstream.refused",
    "jetstream.replaced",
    "jetstream.setting",
    "jetstream.went_back",
    "json.invalid",
    "kafka.address",
    "kafka.busy",
    "kafka.cut",
    "kafka.denied",
    "kafka.fenced",
    "kafka.kafka",
    "kafka.newer",
    "kafka.not_ours",
    "kafka.setting",
    "kafka.too_old",
    "kafka.unfit",
    "kafka.unreachable",
    "key_change.distrusted_before",
    "key_change.of_another_vault",
    "key_change.still_to_come",
    "key_change.wrong_successor",
    "name.invalid",
    "open_store.busy",
    "open_store.damaged",
    "open_store.database",
    "open_store.full",
    "open_store.io",
    "open_store.missing",
    "open_store.newer",
    "open_store.not_ours",
    "open_vault.clock",
    "open_vault.untrusted_file",
    "open_vault.no_page_store",
    "open_vault.not_a_folder",
    "open_vault.not_a_vault",
    "open_vault.not_empty",
    "open_vault.not_found",
    "open_vault.own_slot",
    "open_vault.rolled_back",
    "operator.several_statements",
    "operator.unfit_name",
    "owners.no_vault",
    "pending.announcement",
    "pending.key_change",
    "pending.repeat",
    "pending.retelling",
    "pending.tombstones",
    "policy.invalid",
    "postgres.address",
    "postgres.encoding",
    "postgres.newer",
    "postgres.no_rights",
    "postgres.old_server",
    "postgres.older",
    "postgres.row_security",
    "postgres.server",
    "postgres.tls",
    "postgres.unlogged",
    "postgres.unreachable",
    "reason.empty",
    "reason.names_the_subject",
    "reason.personal",
    "rotate.no_vault",
    "slot.damaged",
    "slot.device",
    "slot.disk_full",
    "slot.untrusted_file",
    "slot.in_use",
    "slot.kek_unusable",
    "slot.mirror",
    "slot.newer_format",
    "slot.newer_mirror",
    "slot.not_empty",
    "slot.of_another_vault",
    "slot.permissions",
    "slot.poisoned",
    "slot.random",
    "slot.read_only",
    "slot.storage",
    "slot.taken",
    "slot.within",
    "store.backend",
    "store.foreign_position",
    "store.id_in_use",
    "store.invalid",
    "store.other_content",
    "store.refused",
    "store.unreadable",
    "store.unsupported",
    "store.vault",
    "successor.untrusted_file",
    "successor.io",
    "successor.newer",
    "task.cancelled",
    "task.no_runtime",
    "task.no_timers",
    "unclear.not_carried_out",
    "vault.damaged",
    "vault.key_missing",
    "vault.key_used_up",
    "vault.newer_format",
    "vault.no_generation",
    "vault.poisoned",
    "vault.random",
    "vault.signing_key_gap",
    "vault.storage",
    "vault.too_large",
    "vault.unknown_class",
    "vault.unknown_kind",
    "vault.unsupported",
];

/// All kinds, from the enums' own text: a match over another crate's enum cannot be exhaustive.
fn kinds() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut kinds = BTreeSet::new();
    for (family, file, name, nested) in FAMILIES {
        let text = fs::read_to_string(root.join(file)).unwrap();
        let (_, body) = text.split_once(&format!("pub enum {name} {{\n")).unwrap();
        let (body, _) = body.split_once("\n}\n").unwrap();
        let indented = body.lines().filter_map(|line| line.strip_prefix("    "));
        let variants = indented.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
        let names = variants.map(|line| line.split(|c: char| !c.is_alphanumeric()).next().unwrap());
        let found: Vec<_> = names.collect();
        assert!(nested.iter().all(|nested| found.contains(nested)), "{name}: {found:?}");
        let own = found.iter().filter(|variant| !nested.contains(variant));
        kinds.extend(own.map(|variant| kind(family, &format_args!("{variant}"))));
    }
    kinds.extend(["policy.invalid", "name.invalid", "json.invalid"].map(str::to_owned));
    kinds
}

#[test]
fn every_kind_of_error_has_a_hint_or_is_known_to_need_none() {
    let kinds = kinds();
    let hinted: BTreeSet<String> = HINTS.iter().map(|(kind, _)| (*kind).to_owned()).collect();
    let without: BTreeSet<String> = NO_HINT.iter().map(|kind| (*kind).to_owned()).collect();
    assert_eq!(hinted.len(), HINTS.len(), "one twice");
    assert!(hinted.is_disjoint(&without));
    let known: BTreeSet<String> = hinted.union(&without).cloned().collect();
    let (new, gone): (Vec<_>, Vec<_>) =
        (kinds.difference(&known).collect(), known.difference(&kinds).collect());
    assert!(new.is_empty() && gone.is_empty(), "not decided: {new:?}; no longer there: {gone:?}");
}

/// What is given in the place of a word in capitals.
fn given(word: &str) -> &str {
    match word {
        "EVENT" | "BACKUP" => "6f0dbd6e-3c1e-4c53-9d0b-5b6c5f5f4d11",
        "KEK" => "passphrase",
        "KEY" => "AAAAAAAAAAAAAAAAAAAAAA",
        "WHEN" => "2026-01-31",
        "JSON" => "{}",
        "tpm:INDEX" => "tpm:0x01500020",
        word => word,
    }
}

#[test]
fn every_command_of_a_hint_is_one_and_every_option_is_there() {
    let mut commands = 0;
    for (kind, hint) in HINTS.iter().chain(CALLS) {
        let commands_of_it = hint.split('`').skip(1).step_by(2);
        for command in commands_of_it.filter(|quoted| !quoted.starts_with("--")) {
            assert!(command.starts_with("oubliette "), "{kind}: {command}");
            let words: Vec<&str> =
                command.split(' ').take_while(|word| *word != ">").map(given).collect();
            if let Err(error) = Args::try_parse_from(words) {
                panic!("{kind}: {command}: {error}");
            }
            commands += 1;
        }
        let mut all = Args::command();
        all.build();
        for option in hint.split([' ', ',', ';', '`']).filter_map(|word| word.strip_prefix("--")) {
            assert!(has_option(&all, option), "{kind}: there is no --{option}");
        }
    }
    assert!(commands > 20, "{commands}");
}

/// The text of each file of Rust that ships: tests are apart, or at its end.
fn shipped(folder: &Path, told: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !["tests", "elsewhere"].contains(&name) {
            shipped(&path, told);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let text = fs::read_to_string(&path).unwrap();
            // A module of tests within the file ends it. One that is declared may come before the code.
            let is_tests = |(at, _): &(usize, &str)| {
                text[*at..].lines().nth(2).is_some_and(|line| line.ends_with('{'))
            };
            let end = text.match_indices("\n#[cfg(test)]\nmod ").find(is_tests);
            told(&path, &text[..end.map_or(text.len(), |(at, _)| at)]);
        }
    }
}

/// A remedy that names a call which nobody can find helps neither who writes a program nor who uses ours.
#[test]
fn each_call_that_a_remedy_names_is_public_and_has_a_command_here() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let public = fs::read_to_string(root.join("docs/public-items.txt")).unwrap();
    let mut named = BTreeSet::new();
    let mut look = |_: &Path, text: &str| {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = code.collect::<Vec<_>>().join("\n");
        let quoted = code.split('`').skip(1).step_by(2).filter(|quoted| quoted.contains("::"));
        named.extend(quoted.map(str::to_owned));
    };
    for folder in ["src/audit", "src/erasure/error"] {
        shipped(&root.join(folder), &mut look);
    }
    let error = fs::read_to_string(root.join("src/vault/error.rs")).unwrap();
    look(Path::new("error.rs"), &error);
    let known: BTreeSet<String> = CALLS.iter().map(|(call, _)| (*call).to_owned()).collect();
    assert_eq!(named, known);
    for call in named {
        let (of, name) = call.split_once("::").unwrap();
        let is_it = |item: &str| {
            item.ends_with(&format!("struct.{of} method.{name}"))
                || item.ends_with(&format!("struct.{of} structfield.{name}"))
                || item == format!("{of}/fn.{name}")
        };
        assert!(public.lines().any(is_it), "{call}");
    }
}

#[test]
fn a_remedy_is_told_in_commands() {
    let told = in_commands("say so with `Vault::retire_backup`: until `then` it is");
    assert_eq!(told, "say so with `oubliette backup retire BACKUP`: until `then` it is");
}

fn has_option(command: &clap::Command, name: &str) -> bool {
    command.get_arguments().any(|argument| argument.get_long() == Some(name))
        || command.get_subcommands().any(|command| has_option(command, name))
}

#[test]
fn the_kind_is_that_of_the_innermost_error_that_says_something() {
    let missing = SlotError::Missing("here".into());
    assert_eq!(missing.told().kind, "slot.missing");
    assert_eq!(OpenVaultError::from(missing).told().kind, "slot.missing");
    let damaged = VaultError::Damaged("a page".into());
    assert_eq!(OpenVaultError::from(damaged).told().kind, "vault.damaged");
    let in_use = OpenVaultError::from(SlotError::InUse(7));
    assert_eq!((in_use.told().kind.as_str(), in_use.told().exit as u8), ("open_vault.in_use", 5));
    let (subject, erasure) = (Subject::new("user-1").unwrap(), ErasureId(uuid::Uuid::nil()));
    let forgotten = oubliette::layer::CodecError::from(VaultError::Forgotten { subject, erasure });
    let told = oubliette::StoreError::from(forgotten).told();
    assert_eq!(
        (told.kind.as_str(), told.exit as u8, told.hint),
        ("store.forgotten", 4, Some(REOPEN))
    );
}

/// What one operation says of its own is of its family, and what all of them say is not.
#[test]
fn the_families_of_forgetting_lead_to_what_they_hold() {
    let told = |error: ErasureError| {
        let told = error.told();
        (told.kind, told.exit as u8)
    };
    let damaged = || VaultError::Damaged("a page".into());
    let subject = Subject::new("user-1").unwrap();
    for (error, kind, exit) in [
        (ErasureRefusal::UnknownSubject(subject).into(), "erasure.unknown_subject", 1),
        (ErasureRefusal::NoVault.into(), "erasure.no_vault", 2),
        (ErasureRefusal::UnfitReason(UnfitReason::Empty).into(), "reason.empty", 2),
        (UnclearError::WitnessGap(Vec::new()).into(), "unclear.witness_gap", 1),
        (OperatorError::NoGap.into(), "operator.no_gap", 1),
        (OperatorError::UnfitName.into(), "operator.unfit_name", 2),
        (OperatorError::Unclear(UnclearError::TooOld(Vec::new())).into(), "unclear.too_old", 1),
        (OperatorError::Vault(damaged()).into(), "vault.damaged", 1),
        (ErasureError::NeedsWriting, "erasure.needs_writing", 1),
    ] {
        assert_eq!(told(error), (kind.to_owned(), exit));
    }
    let merged = ErasureError::from(OperatorError::Vault(damaged()));
    assert!(matches!(merged, ErasureError::Vault(_)), "{merged:?}");
    let changing = [KeyChangeError::NothingPinned, damaged().into()].map(|error| error.told());
    let changing = changing.map(|told| (told.kind, told.exit as u8));
    let expected = [("key_change.nothing_pinned", 2), ("vault.damaged", 1)];
    assert_eq!(changing, expected.map(|(kind, exit)| (kind.to_owned(), exit)));
}

/// The libraries are used by other programs as well, which have other commands and options.
#[test]
fn no_text_of_the_libraries_names_a_command_or_an_option() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = 0;
    let mut look = |file: &Path, text: &str| {
        files += 1;
        for (at, line) in text.lines().enumerate() {
            // What a successor's file says is for whoever has the program, and its bytes are frozen. A token is set up
            // by its own program, and the drill's reader is a process that its caller names.
            let is_other = ["//", "# sign in", "`pkcs11-tool", "command.arg("]
                .iter()
                .any(|known| line.trim_start().starts_with(known));
            let mut options = line.split("--").skip(1);
            let names = line.contains("`oubliette ")
                || options.any(|after| after.starts_with(|c: char| c.is_ascii_lowercase()));
            assert!(is_other || !names, "{}:{}: {line}", file.display(), at + 1);
        }
    };
    for folder in ["src", "crates/oubliette-folder/src", "crates/oubliette-files/src"] {
        shipped(&root.join(folder), &mut look);
    }
    assert!(files > 200, "{files}");
}

#[test]
fn a_kind_has_a_variant_also_where_the_family_is_one_error() {
    let kinds = [
        Policy::parse("no policy").unwrap_err().told().kind,
        StreamName::new("").unwrap_err().told().kind,
        Json::parse("{").unwrap_err().told().kind,
    ];
    assert_eq!(kinds, ["policy.invalid", "name.invalid", "json.invalid"]);
}
