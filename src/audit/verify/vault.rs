//! The vault's part: its pages and records, and the books of its erasures.

use std::collections::{BTreeMap, HashSet};

use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Defect, VerifyProgress, VerifyReport};
use crate::{
    audit::{AuditError, Finding, Location, finding::hex},
    erasure::{self, Acceptance, ErasureRecord, Gap},
    event::{ErasureId, Subject, Timestamp},
    runtime,
    vault::{
        BackupState, Flaw, Judged, KeyTrouble, MemoKind, Trouble, Vault, VaultError, in_words,
    },
    words::count,
};

/// What the vault's books say of erasures.
#[derive(Default)]
pub(super) struct Books {
    pub(super) records: BTreeMap<ErasureId, ErasureRecord>,
    /// Erasures that fences name.
    pub(super) fenced: HashSet<ErasureId>,
}

enum News {
    Trouble(Trouble),
    At(f64),
}

/// How many findings wait to be told.
const AHEAD: usize = 256;

pub(super) async fn verify(
    vault: &Vault,
    repair: bool,
    report: &mut VerifyReport,
    tell: &mut (impl FnMut(VerifyProgress) + Send),
) -> Result<Books, AuditError> {
    // What is only in memory is on the disk afterwards, and is judged as everything else. Where nothing is written,
    // there is nothing of the kind.
    if !vault.is_read_only() {
        vault.flush().await?;
    }
    let (sender, mut news) = mpsc::channel(AHEAD);
    let judging = {
        let vault = vault.clone();
        let judge = move || {
            // No one listens any more if the caller dropped the future.
            let mut trouble = |trouble| drop(sender.blocking_send(News::Trouble(trouble)));
            let mut at = |part| drop(sender.blocking_send(News::At(part)));
            vault.judge(repair, &mut trouble, &mut at)
        };
        runtime::spawn_blocking(judge)?
    };
    while let Some(news) = news.recv().await {
        match news {
            News::Trouble(trouble) => report.found(finding(trouble), tell),
            News::At(part) => tell(VerifyProgress::Vault(part)),
        }
    }
    let judged = judging.await??;
    tell(VerifyProgress::Vault(1.0));
    let Judged { walked, keys, owners, fences, unchecked, erasures, .. } = judged;
    let totals = &mut report.vault;
    (totals.epoch, totals.pages) = (walked.epoch, walked.pages);
    (totals.damaged_pages, totals.orphan_pages) = (walked.damaged, walked.orphans);
    (totals.keys, totals.owners, totals.fences) = (keys, owners, fences);
    totals.unchecked = unchecked;
    let books = books(vault, erasures, report, tell);
    gaps(vault, report, tell);
    orphans(vault, report, tell);
    overdue(vault, report, tell);
    stale(vault, report, tell)?;
    report.vault.erasures = books.records.len() as u64;
    Ok(books)
}

/// The journals, the records of erasures, and the fences: whether they agree.
fn books(
    vault: &Vault,
    fenced: HashSet<ErasureId>,
    report: &mut VerifyReport,
    tell: &mut (impl FnMut(VerifyProgress) + Send),
) -> Books {
    let mut books = Books { fenced, ..Books::default() };
    // Where notes are beneath a damaged page that is told already.
    let (Ok(journals), Ok(notes)) =
        (vault.memos(MemoKind::Journal), vault.memos(MemoKind::Erasure))
    else {
        report.vault.unchecked += 1;
        return books;
    };
    for (id, note) in notes {
        let erasure = ErasureId(Uuid::from_bytes(id));
        match ErasureRecord::read(erasure, &note) {
            Ok(record) => {
                books.records.insert(erasure, record);
            }
            Err(_) => {
                let what = "the record of the erasure does not have its form";
                report.found(Defect::OddRecord.at(Location::Erasure(erasure), what), tell);
            }
        }
    }
    let journals: HashSet<ErasureId> =
        journals.into_iter().map(|(id, _)| ErasureId(Uuid::from_bytes(id))).collect();
    for erasure in &journals {
        let at = Location::Erasure(*erasure);
        match books.records.get(erasure) {
            None => {
                let what = "it is decided and journalled, and no key is destroyed yet";
                report.found(Defect::ErasureNotCarriedOut.at(at, what), tell);
            }
            Some(_) => {
                let what = "its keys are destroyed, and it waits for its tombstones";
                report.found(Defect::ErasurePending.at(at, what), tell);
            }
        }
    }
    for (erasure, record) in &books.records {
        let at = || Location::Erasure(*erasure);
        // Of one that was applied again, or that an operator dealt with, the vault cannot know; its tombstones are counted among
        // the events.
        let by_journal = record.replayed.is_none() && record.dealt_with.is_none();
        if !record.done && by_journal && !journals.contains(erasure) {
            let what = "it is not done, and the journal that would complete it is gone";
            report.found(Defect::ErasurePending.at(at(), what), tell);
        }
        if record.keys > 0 && !books.fenced.contains(erasure) {
            let what = format!("it destroyed {}, and no fence names it", count(record.keys, "key"));
            report.found(Defect::RecordWithoutFence.at(at(), what), tell);
        }
    }
    let mut unrecorded: Vec<_> =
        books.fenced.iter().filter(|erasure| !books.records.contains_key(erasure)).collect();
    unrecorded.sort_unstable();
    for erasure in unrecorded {
        let what = "a fence names it, and there is no record of it";
        report.found(Defect::FenceWithoutRecord.at(Location::Erasure(*erasure), what), tell);
    }
    books
}

/// Dependents whose owner was forgotten before somebody said that they are theirs.
fn orphans(
    vault: &Vault,
    report: &mut VerifyReport,
    tell: &mut (impl FnMut(VerifyProgress) + Send),
) {
    // Where something is beneath a damaged page that is told already.
    let Ok(claims) = vault.open_claims() else {
        report.vault.unchecked += 1;
        return;
    };
    for claim in claims.into_iter().filter(|claim| claim.owner_forgotten) {
        let at =
            claim.stream.map_or(Location::Vault, |stream| Location::Subject(Subject::of(&stream)));
        let what = format!("its owner was forgotten before event {} was settled", claim.event);
        report.found(Defect::OwnerForgotten.at(at, what), tell);
    }
}

/// Mirrors of the root slot that keep erasures pending.
fn stale(
    vault: &Vault,
    report: &mut VerifyReport,
    tell: &mut (impl FnMut(VerifyProgress) + Send),
) -> Result<(), VaultError> {
    for mirror in vault.stale_mirrors()? {
        let kind = if mirror.counter { "counter" } else { "mirror" };
        let trouble = mirror.trouble.map(|trouble| format!(" ({trouble})")).unwrap_or_default();
        let what = format!("the {kind} {}{trouble} does not hold the present root", mirror.name);
        report.found(Defect::MirrorStale.at(Location::Vault, what), tell);
    }
    Ok(())
}

/// Backups that should be gone by now.
fn overdue(
    vault: &Vault,
    report: &mut VerifyReport,
    tell: &mut (impl FnMut(VerifyProgress) + Send),
) {
    let Ok(backups) = vault.backups() else {
        report.vault.unchecked += 1;
        return;
    };
    let now = Timestamp::now();
    for backup in backups.iter().filter(|backup| backup.state(now) == BackupState::Expired) {
        let what = format!(
            "the day of backup {} ({:?}) was {}; nobody said that it is destroyed",
            backup.backup, backup.file, backup.expires
        );
        report.found(Defect::BackupOverdue.at(Location::Vault, what), tell);
    }
}

fn finding(trouble: Trouble) -> Finding<Defect> {
    match trouble {
        Trouble::Flaw(flaw) => flawed(flaw),
        Trouble::Value { at, why } => Defect::OddRecord.at(Location::Record(at), why),
        Trouble::Key { id, stream, why } => {
            let at = Location::Key { id: id.to_string(), stream: Some(stream) };
            match why {
                KeyTrouble::Dead(erasure) => {
                    Defect::DeadKey.at(at, format!("erasure {erasure} destroyed its generation"))
                }
                KeyTrouble::Misplaced => {
                    Defect::MisplacedKey.at(at, "its id does not lead back to its place")
                }
                KeyTrouble::Twice => Defect::DoubleKey.at(at, "another key has the same id"),
                KeyTrouble::Worn(seals) => {
                    Defect::WornKey.at(at, format!("about {seals} seals, at most 2^32 are safe"))
                }
                KeyTrouble::NeverBegun(generation) => Defect::KeyWithoutGeneration
                    .at(at, format!("its subject never began generation {generation}")),
            }
        }
        Trouble::SparedMissing(id) => Defect::SparedKeyMissing
            .at(Location::Key { id: id.to_string(), stream: None }, "its fence says that it lives"),
        Trouble::EdgeMissing { subject, owner } => Defect::OwnerEdgeMissing
            .at(Location::Subject(subject), format!("it is not among the dependents of {owner}")),
        Trouble::EdgeStale { subject, owner } => Defect::OwnerEdgeStale.at(
            Location::Subject(subject),
            format!("it is among the dependents of {}, whom it does not name", hex(&owner)),
        ),
        Trouble::ForgottenNamed { subject } => Defect::ForgottenNamed
            .at(Location::Subject(subject), "it names an owner who is forgotten and gone"),
        Trouble::Unsettled { subject, event, by_caller: true } => Defect::OpenClaim.at(
            Location::Subject(subject),
            format!("event {event} was sealed, and states an owner"),
        ),
        Trouble::Unsettled { subject, event, by_caller: false } => Defect::UnsettledClaim
            .at(Location::Subject(subject), format!("event {event} states an owner")),
        Trouble::Contradiction { pseudonym, why } => {
            Defect::Contradiction.at(Location::Pseudonym(hex(&pseudonym)), why)
        }
    }
}

fn flawed(flaw: Flaw) -> Finding<Defect> {
    match flaw {
        Flaw::Page { page, from, to, why } => {
            let to = to.map_or_else(|| "the end".to_owned(), |to| in_words(&to));
            let beneath = format!("{} up to {to}", in_words(&from));
            Defect::DamagedPage.at(Location::Page { page, beneath }, why)
        }
        Flaw::Worn { page, seals } => Defect::WornPage.at(
            Location::Page { page, beneath: String::new() },
            format!("{seals} seals under one key, from 1 to 2^32 are right"),
        ),
        Flaw::Orphan { page, removed } => Defect::OrphanPage.at(
            Location::Page { page, beneath: String::new() },
            if removed { "nothing led to it; removed" } else { "nothing leads to it" },
        ),
        Flaw::Slot(why) => Defect::SlotDiffers.at(Location::Vault, why),
        Flaw::RetireList => Defect::RetireList.at(Location::Vault, "it does not open"),
    }
}

/// Announcements that are missing, also where somebody accepted that.
fn gaps(vault: &Vault, report: &mut VerifyReport, tell: &mut (impl FnMut(VerifyProgress) + Send)) {
    let Ok(gaps) = erasure::gaps(vault) else {
        let what = "the memo on missing announcements does not have its form";
        return report.found(Defect::OddRecord.at(Location::Vault, what), tell);
    };
    for Gap { event, found, accepted, .. } in gaps {
        let what = format!("announcement {event} is missing in the event store; noticed {found}");
        let finding = match accepted {
            None => Defect::WitnessGap.at(Location::Vault, what),
            Some(Acceptance { by, at, .. }) => {
                Defect::AcceptedGap.at(Location::Vault, format!("{what}; accepted by {by}, {at}"))
            }
        };
        report.found(finding, tell);
    }
}
