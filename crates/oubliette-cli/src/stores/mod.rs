//! Event stores at servers: which there are, and how an address leads to one. A module for each, which knows its adapter.

#[cfg(feature = "jetstream")]
mod jetstream;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(any(feature = "postgres", feature = "jetstream", feature = "kafka", test))]
mod parameters;
#[cfg(feature = "postgres")]
mod postgres;

use std::{env, env::VarError, ffi::OsStr, sync::Arc};

use async_trait::async_trait;
use clap::{Arg, Command, Error, builder::TypedValueParser, error::ErrorKind};
use oubliette::store::{BoxError, StoreError, sqlite::OpenMode};
use oubliette_folder::{OpenStore, OpenedStore, StoreAddress, StorePlace};

use super::known::Told;

/// Holds the password of an event store: it is neither noted nor to be seen in the list of processes.
pub(super) const PASSWORD: &str = "OUBLIETTE_STORE_PASSWORD";

/// The same of the store that `migrate --from` reads, which may be somebody else's.
pub(super) const FROM_PASSWORD: &str = "OUBLIETTE_FROM_PASSWORD";

/// What addresses begin with, and the feature of this program that opens them.
const SCHEMES: [(&str, &str); 4] = [
    ("postgres", "postgres"),
    ("postgresql", "postgres"),
    ("nats", "jetstream"),
    ("kafka", "kafka"),
];

/// Whether this program was built with a feature, and has the adapter.
fn is_built(feature: &str) -> bool {
    let built = [
        ("postgres", cfg!(feature = "postgres")),
        ("jetstream", cfg!(feature = "jetstream")),
        ("kafka", cfg!(feature = "kafka")),
    ];
    built.contains(&(feature, true))
}

/// Why this program opens no store at such an address; `None`: it does.
fn refusal(scheme: &str) -> Option<String> {
    match SCHEMES.iter().find(|(known, _)| *known == scheme) {
        None => Some(format!(
            "no event store has addresses that begin with `{scheme}://`; there are postgres://…, nats://… and \
             kafka://…, and folders, as PATH or sqlite:PATH"
        )),
        Some((_, feature)) if !is_built(feature) => Some(format!(
            "this program was built without {scheme}://…: build it with `--features {feature}`"
        )),
        Some(_) => None,
    }
}

/// Parses where an event store is. A plain parser's error would quote what it was given, and that may hold a password.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlaceParser;

impl TypedValueParser for PlaceParser {
    type Value = StorePlace;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        text: &OsStr,
    ) -> Result<StorePlace, Error> {
        #[cfg(feature = "postgres")]
        let anchored = text.to_str().map(postgres::anchored);
        #[cfg(feature = "postgres")]
        let text = anchored.as_deref().map_or(text, OsStr::new);
        let parsed = StorePlace::parse(text).map_err(|error| error.to_string());
        let known = parsed.and_then(|place| {
            let refusal = place.address().and_then(|address| refusal(address.scheme()));
            refusal.map_or(Ok(place), Err)
        });
        known.map_err(|why| {
            let name = arg.map_or_else(|| "STORE".to_owned(), ToString::to_string);
            command.clone().error(ErrorKind::ValueValidation, format!("{name}: {why}"))
        })
    }
}

/// What to say of an address that holds a password; nothing, where it holds none.
pub(super) fn warning(option: &str, place: &StorePlace) -> Option<String> {
    let address = place.address().filter(|address| address.has_password())?;
    let variable = if option == "--from" { FROM_PASSWORD } else { PASSWORD };
    Some(format!(
        "the address behind {option} holds a password, and anybody on this machine can see command lines: leave it out \
         ({address}) and set {variable}; it is not noted"
    ))
}

/// Opens event stores for a data folder.
pub(super) fn stores() -> Arc<dyn OpenStore> {
    Arc::new(Stores { password: PASSWORD })
}

/// The same, for the store that `migrate --from` reads.
pub(super) fn stores_to_copy() -> Arc<dyn OpenStore> {
    Arc::new(Stores { password: FROM_PASSWORD })
}

#[derive(Debug)]
struct Stores {
    /// The variable that holds the password.
    password: &'static str,
}

#[async_trait]
impl OpenStore for Stores {
    async fn open(
        &self,
        address: &StoreAddress,
        mode: OpenMode,
    ) -> Result<OpenedStore, StoreError> {
        if let Some(refusal) = refusal(address.scheme()) {
            return Err(StoreError::backend(false, refusal));
        }
        let password = match env::var(self.password) {
            Ok(password) => Some(password).filter(|password| !password.is_empty()),
            Err(VarError::NotPresent) => None,
            Err(VarError::NotUnicode(_)) => {
                let why = format!("{} is not UTF-8 text", self.password);
                return Err(StoreError::backend(false, why));
            }
        };
        let url = address.with_password(password.as_deref());
        match address.scheme() {
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => postgres::open(url, mode).await,
            #[cfg(feature = "jetstream")]
            "nats" => jetstream::open(url, mode).await,
            #[cfg(feature = "kafka")]
            "kafka" => kafka::open(url, mode).await,
            scheme => {
                // Without any adapter.
                let _ = (url, mode);
                Err(StoreError::backend(false, refusal(scheme).unwrap_or_default()))
            }
        }
    }
}

/// What is told of an adapter's error at opening, where it is known.
pub(super) fn told_of(error: &BoxError) -> Option<Told> {
    #[cfg(feature = "postgres")]
    if let Some(error) = error.downcast_ref::<oubliette_postgres::OpenError>() {
        let mut told = super::known::told("postgres", error, super::exit::Exit::Failed);
        // Its client says so where the server asks for one.
        if error.to_string().contains("password missing") {
            told.hint = super::hints::hint("postgres.refused");
        }
        return Some(told);
    }
    // What these say themselves is all that is to be done.
    #[cfg(feature = "jetstream")]
    if let Some(error) = error.downcast_ref::<oubliette_jetstream::JetStreamError>() {
        return Some(super::known::told("jetstream", error, super::exit::Exit::Failed));
    }
    #[cfg(feature = "kafka")]
    if let Some(error) = error.downcast_ref::<oubliette_kafka::OpenError>() {
        return Some(super::known::told("kafka", error, super::exit::Exit::Failed));
    }
    let _ = error;
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<StorePlace, String> {
        let command = Command::new("test").arg(Arg::new("store").value_parser(PlaceParser));
        let read = command.try_get_matches_from(["test", text]);
        read.map(|read| read.get_one::<StorePlace>("store").cloned().unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_unknown_scheme_is_told_and_no_password_with_it() {
        let told = parse("foo://u:hush@bar").unwrap_err();
        assert!(told.contains("begin with `foo://`") && !told.contains("hush"), "{told}");
        for (address, feature) in [("nats://hush@bar", "jetstream"), ("kafka://bar", "kafka")] {
            match parse(address) {
                Ok(place) => assert!(is_built(feature) && !place.to_string().contains("hush")),
                Err(told) => {
                    let says = told.contains(&format!("--features {feature}"));
                    assert!(!is_built(feature) && says && !told.contains("hush"), "{told}");
                }
            }
        }
        let told = parse("postgres://u:hu/sh@bar").unwrap_err();
        assert!(told.contains("%2F") && !told.contains("hu/"), "{told}");
        assert!(matches!(parse("sqlite:bar"), Ok(StorePlace::Folder(_))));
    }
}
