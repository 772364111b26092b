//! The policy of the model, and the events that are written under it.

use oubliette::event::EventId;
use proptest::prelude::*;

pub(crate) const POLICY: &str = r#"
[[stream]]
match  = "user-{id}"
layout = "split"
public = ["/id"]
otherwise = "named"

[[stream]]
match  = "account-{id}"
layout = "inline"
public = ["/owner"]
owner  = [ { event = "Opened",   add     = "{/owner}" },
           { event = "Left",     remove  = "{/owner}" },
           { event = "Replaced", replace = "{/owner}" } ]

[[stream]]
match  = "shared-{id}"
layout = "split"
public = ["/owner"]
owner  = [ { event = "Opened",   add     = "{/owner}" },
           { event = "Left",     remove  = "{/owner}" },
           { event = "Replaced", replace = "{/owner}" } ]
on_owner_forgotten = "shred-on-any"

[[stream]]
match  = "ledger-{id}"
layout = "inline"
public = ["/owner"]
owner  = [ { event = "Opened", add = "{/owner}" } ]
[[stream.field]]
pointer = "/iban"
subject = "{/other}"

[[stream]]
match     = "room-{id}"
subject   = "user-{/author}"
otherwise = "stream"
"#;

/// What an event says. A number names `user-N`; in a ledger's `Opened` the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Noted,
    Opened(u8),
    /// Owned by another account.
    Joined(u8),
    Left(u8),
    Replaced(u8),
    /// A part under the key of `user-N`.
    About(u8),
}

/// One event. Its secrets contain its number.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) stream: String,
    pub(crate) kind: Kind,
    pub(crate) number: u32,
    pub(crate) id: Option<EventId>,
    /// How often its stream had been forgotten wholly when it was first tried.
    pub(crate) life: usize,
}

impl Write {
    pub(crate) fn new(stream: &str, kind: Kind) -> Self {
        Self { stream: stream.to_owned(), kind, number: 0, id: None, life: 0 }
    }

    pub(crate) fn owner(&self) -> Option<String> {
        match self.kind {
            Kind::Opened(n) if self.stream.starts_with("ledger-") => {
                Some(format!("account-{}", n.min(2)))
            }
            Kind::Opened(n) | Kind::Left(n) | Kind::Replaced(n) => Some(format!("user-{n}")),
            Kind::Joined(n) => {
                let accounts = ["account-1", "account-2", "shared-1"].into_iter();
                let mut others = accounts.filter(|account| *account != self.stream);
                others.nth(usize::from(n % 2)).map(str::to_owned)
            }
            Kind::Noted | Kind::About(_) => None,
        }
    }

    /// Whom the event names as its subject.
    pub(crate) fn names(&self) -> Option<String> {
        match self.kind {
            Kind::About(n) if self.stream.starts_with("user-") => Some(format!("user-{n}")),
            _ => None,
        }
    }

    /// An event of another type, for the same id.
    pub(crate) fn changed(&self, number: u32) -> Self {
        let kind = match self.kind {
            Kind::Noted if self.stream.starts_with("account-") => Kind::Replaced(2),
            Kind::Noted if self.stream.starts_with("shared-") => Kind::Opened(2),
            Kind::Noted => Kind::About(2),
            _ => Kind::Noted,
        };
        Self { kind, number, ..self.clone() }
    }

    pub(crate) fn secret(&self, part: usize) -> String {
        format!("<{}/{part}>", self.number)
    }

    /// Type and data.
    pub(crate) fn event(&self) -> (&'static str, String) {
        let secret = self.secret(0);
        let owner = self.owner().unwrap_or_default();
        let with_owner = format!(r#"{{"owner":"{owner}","memo":"{secret}"}}"#);
        match self.kind {
            Kind::Noted => ("Noted", format!(r#"{{"id":1,"memo":"{secret}"}}"#)),
            Kind::Opened(_) | Kind::Joined(_) => ("Opened", with_owner),
            Kind::Left(_) => ("Left", with_owner),
            Kind::Replaced(_) => ("Replaced", with_owner),
            Kind::About(n) if self.stream.starts_with("room-") => {
                ("Said", format!(r#"{{"author":{n},"memo":"{secret}"}}"#))
            }
            Kind::About(_) if self.stream.starts_with("user-") => {
                ("Said", format!(r#"{{"id":1,"memo":"{secret}"}}"#))
            }
            Kind::About(n) => {
                let theirs = self.secret(1);
                let data = format!(r#"{{"memo":"{secret}","other":"user-{n}","iban":"{theirs}"}}"#);
                ("Booked", data)
            }
        }
    }

    /// Whose the parts are.
    pub(crate) fn subjects(&self) -> Vec<String> {
        match self.kind {
            Kind::About(n) if !self.stream.starts_with("ledger-") => vec![format!("user-{n}")],
            Kind::About(n) => vec![self.stream.clone(), format!("user-{n}")],
            _ => vec![self.stream.clone()],
        }
    }
}

pub(crate) fn anyone() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (1..4u8).prop_map(|n| format!("user-{n}")),
        2 => (1..3u8).prop_map(|n| format!("account-{n}")),
        1 => Just("shared-1".to_owned()),
        1 => Just("ledger-1".to_owned()),
        1 => Just("room-1".to_owned()),
    ]
}

pub(crate) fn write() -> impl Strategy<Value = Write> {
    let user = || 1..4u8;
    let change = || {
        prop_oneof![
            2 => Just(Kind::Noted),
            3 => user().prop_map(Kind::Opened),
            2 => (0..2u8).prop_map(Kind::Joined),
            1 => user().prop_map(Kind::Left),
            2 => user().prop_map(Kind::Replaced),
        ]
    };
    prop_oneof![
        2 => user().prop_map(|n| Write::new(&format!("user-{n}"), Kind::Noted)),
        1 => (user(), user())
            .prop_map(|(n, other)| Write::new(&format!("user-{n}"), Kind::About(other))),
        4 => (1..3u8, change()).prop_map(|(n, kind)| Write::new(&format!("account-{n}"), kind)),
        2 => change().prop_map(|kind| Write::new("shared-1", kind)),
        2 => prop_oneof![
            Just(Kind::Noted),
            (1..3u8).prop_map(Kind::Opened),
            user().prop_map(Kind::About)
        ]
        .prop_map(|kind| Write::new("ledger-1", kind)),
        2 => prop_oneof![Just(Kind::Noted), user().prop_map(Kind::About)]
            .prop_map(|kind| Write::new("room-1", kind)),
    ]
}
