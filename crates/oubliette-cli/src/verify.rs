//! Whether the vault is whole, and events and vault agree.

use clap::Args;
use oubliette::audit::{
    Severity,
    verify::{VerifyOptions, VerifyProgress, VerifyReport},
};

use super::{
    allowed::Touches,
    exit::{CliError, Exit},
    findings::Findings,
    open::Globals,
    output::{Out, count},
    report::Report,
    watch::Watch,
};

/// Check every page and record of the vault, and every event
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette verify
  oubliette verify --json | jq 'select(.severity == \"error\")'

It walks over all pages of the vault and checks that each opens and stands where
it should; that no key is there which an erasure destroyed; that owners and
dependents, erasures and fences agree. Then it reads all events: every sealed
part must open, or an erasure must explain why it does not, and every erasure
must have its tombstones. Damage is told, with what is lost by it, and verifying
goes on behind it.

Exit code 0: nothing but notices. 1: warnings or errors, each with what to do
about it.

Of the vault nothing is changed, but an erasure that was cut off is completed
first, as with every command; with --repair pages that belong to nothing are
removed; with --read-only nothing is written. As with every command, no other
process may have the vault open.")]
pub(super) struct VerifyArgs {
    /// Remove pages of the vault that belong to nothing
    #[arg(long)]
    repair: bool,
}

impl VerifyArgs {
    pub(super) fn touches(&self) -> Touches {
        if self.repair { Touches::Changes } else { Touches::Vault }
    }
}

pub(super) async fn run(
    globals: &Globals,
    args: &VerifyArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    let store = globals.open_to_audit().await?;
    let mut watch = Watch::new(globals.json);
    let mut findings = Findings::new(globals.json);
    let options = VerifyOptions { repair: args.repair, ..VerifyOptions::default() };
    let verified = store
        .verify(options, |news| match news {
            VerifyProgress::Found(finding) => findings.take(finding, out),
            VerifyProgress::Vault(part) => watch.part("of the vault", (part * 1000.0) as u64, 1000),
            VerifyProgress::Events { read, pass: 1 } => watch.count(count(read, "event")),
            VerifyProgress::Events { read, pass } => {
                watch.count(format!("{}, pass {pass} for unused keys", count(read, "event")));
            }
            _ => {}
        })
        .await;
    watch.finish();
    findings.tell(out)?;
    let report = verified?;
    if globals.json {
        let (clean, found) = (report.is_clean(), &report.found);
        out.json(&Report { clean, report: &report, found })?;
    } else {
        in_words(&report).iter().try_for_each(|line| out.line(line))?;
    }
    if report.is_clean() { Ok(()) } else { Err(CliError::Told(Exit::Failed)) }
}

fn in_words(report: &VerifyReport) -> Vec<String> {
    let (vault, events) = (&report.vault, &report.events);
    let mut lines = vec![format!(
        "vault at epoch {}: {}, {}, {}, {}, {}",
        vault.epoch,
        count(vault.pages, "page"),
        count(vault.keys, "key"),
        count(vault.owners, "owner edge"),
        count(vault.fences, "fence"),
        count(vault.erasures, "erasure"),
    )];
    let mut line = format!(
        "{}: {} open, {} shredded, {} unknown; {}",
        count(events.events, "event"),
        count(events.open, "sealed part"),
        events.shredded,
        events.unknown,
        count(events.tombstones, "tombstone"),
    );
    if events.holes > 0 {
        line.push_str(&format!(", {} of copied events", count(events.holes, "hole")));
    }
    if events.lost > 0 {
        line.push_str(&format!(", {} behind damaged pages", count(events.lost, "part")));
    }
    if events.other_vaults > 0 {
        line.push_str(&format!(", {} of other vaults", count(events.other_vaults, "event")));
    }
    if events.unsealed > 0 {
        line.push_str(&format!(", {} never sealed", count(events.unsealed, "event")));
    }
    if events.newer > 0 {
        line.push_str(&format!(", {} by a newer program", count(events.newer, "event")));
    }
    if vault.ownerless > 0 {
        let keys = count(vault.ownerless, "key");
        line.push_str(&format!(", {keys} without an owner, which no forgetting reaches"));
    }
    lines.push(line);
    if vault.unchecked > 0 {
        lines.push(format!(
            "{} could not be made: pages are damaged",
            count(vault.unchecked, "comparison")
        ));
    }
    let [errors, warnings, notices] =
        [Severity::Error, Severity::Warning, Severity::Notice].map(|of| report.count(of));
    lines.push(match (errors, warnings) {
        (0, 0) if events.unsealed > 0 => format!(
            "what is sealed is as it should be; {} in clear, and whoever is in them is not forgotten: `oubliette seal-existing`",
            count(events.unsealed, "event"),
        ),
        (0, 0) if notices == 0 => "everything is as it should be".to_owned(),
        (0, 0) => format!("everything is as it should be; {}", count(notices, "notice")),
        _ => format!(
            "{}, {}, {}",
            count(errors, "error"),
            count(warnings, "warning"),
            count(notices, "notice")
        ),
    });
    lines
}
