//! Event stores at servers: which there are, and how an address leads to one.

use std::{env, env::VarError, ffi::OsStr, sync::Arc};

use async_trait::async_trait;
use clap::{Arg, Command, Error, builder::TypedValueParser, error::ErrorKind};
use oubliette::store::{BoxError, StoreError, sqlite::OpenMode};
use oubliette_folder::{OpenStore, OpenedStore, StoreAddress, StorePlace};

use super::known::Told;

/// Holds the password of an event store: it is neither noted nor to be seen in the list of processes.
pub(super) const PASSWORD: &str = "OUBLIETTE_STORE_PASSWORD";

/// What addresses begin with, and the feature of this program that opens them.
const SCHEMES: [(&str, &str); 4] = [
    ("postgres", "postgres"),
    ("postgresql", "postgres"),
    ("nats", "jetstream"),
    ("kafka", "kafka"),
];

/// Whether this program was built with a feature, and has the adapter.
fn is_built(feature: &str) -> bool {
    // `jetstream` and `kafka` come here, and into `open`, with their adapters.
    feature == "postgres" && cfg!(feature = "postgres")
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
    Some(format!(
        "the address behind {option} holds a password, and anybody on this machine can see command lines: leave it out \
         ({address}) and set {PASSWORD}; it is not noted"
    ))
}

/// Opens event stores for a data folder.
pub(super) fn stores() -> Arc<dyn OpenStore> {
    Arc::new(Stores)
}

#[derive(Debug)]
struct Stores;

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
        let password = match env::var(PASSWORD) {
            Ok(password) => Some(password).filter(|password| !password.is_empty()),
            Err(VarError::NotPresent) => None,
            Err(VarError::NotUnicode(_)) => {
                return Err(StoreError::backend(false, format!("{PASSWORD} is not UTF-8 text")));
            }
        };
        let url = address.with_password(password.as_deref());
        match address.scheme() {
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => postgres::open(url, mode).await,
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
    let _ = error;
    None
}

/// Takes a parameter that is ours out of an address.
#[cfg(feature = "postgres")]
fn taken(url: &mut String, name: &str) -> Option<String> {
    let (before, parameters) = url.split_once('?')?;
    let of = |parameter: &&str| parameter.split('=').next() == Some(name);
    let found = parameters.split('&').find(of)?;
    let value = found.split_once('=').map_or("", |(_, value)| value);
    let value = decoded(value);
    let rest: Vec<&str> = parameters.split('&').filter(|parameter| !of(parameter)).collect();
    *url = match rest.is_empty() {
        true => before.to_owned(),
        false => format!("{before}?{}", rest.join("&")),
    };
    Some(value)
}

/// A value as it was before it was put into an address.
#[cfg(feature = "postgres")]
fn decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, behind @ ..] = rest {
        let byte = match (first, behind) {
            (b'%', [high, low, ..]) => std::str::from_utf8(&[*high, *low])
                .ok()
                .and_then(|digits| u8::from_str_radix(digits, 16).ok()),
            _ => None,
        };
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(feature = "postgres")]
mod postgres {
    use std::sync::Arc;

    use oubliette::store::{StoreError, sqlite::OpenMode};
    use oubliette_folder::OpenedStore;
    use oubliette_postgres::{Options, Payloads};

    use super::taken;

    /// `schema`, `payloads` and `sslrootcert` are ours, all other parameters PostgreSQL's.
    pub(super) async fn open(mut url: String, mode: OpenMode) -> Result<OpenedStore, StoreError> {
        let (schema, payloads) = (taken(&mut url, "schema"), taken(&mut url, "payloads"));
        let root = taken(&mut url, "sslrootcert");
        if mode == OpenMode::ReadOnly {
            // What opening a store may have to mend then fails, instead of being written.
            read_only(&mut url);
        }
        let mut options = Options::new(url);
        if let Some(schema) = schema {
            options = options.schema(schema);
        }
        if let Some(root) = root {
            options = options.root_certificate(root);
        }
        if let Some(payloads) = payloads {
            options = options.payloads(match &*payloads {
                "json" => Payloads::Json,
                "jsonb" => Payloads::Jsonb,
                "text" => Payloads::Text,
                _ => {
                    let why = "`payloads` in the address is json, jsonb or text";
                    return Err(StoreError::backend(false, why));
                }
            });
        }
        let opened = match mode {
            OpenMode::Create => options.create().await,
            _ => options.open().await,
        };
        let store = opened.map_err(|error| StoreError::backend(error.is_temporary(), error))?;
        let doubts = store.doubts().to_vec();
        Ok(OpenedStore { store: Arc::new(store), doubts })
    }

    /// Has the connection that opens the store write nothing.
    fn read_only(url: &mut String) {
        const OFF: &str = "-c%20default_transaction_read_only%3Don";
        let options = taken(url, "options").map_or_else(String::new, |options| {
            let encoded = options.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
            format!("{encoded}%20")
        });
        let mark = if url.contains('?') { '&' } else { '?' };
        url.push_str(&format!("{mark}options={options}{OFF}"));
    }
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
        let told = parse("nats://hush@bar").unwrap_err();
        assert!(told.contains("--features jetstream") && !told.contains("hush"), "{told}");
        let told = parse("kafka://bar").unwrap_err();
        assert!(told.contains("--features kafka"), "{told}");
        let told = parse("postgres://u:hu/sh@bar").unwrap_err();
        assert!(told.contains("%2F") && !told.contains("hu/"), "{told}");
        assert!(matches!(parse("sqlite:bar"), Ok(StorePlace::Folder(_))));
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn our_parameters_are_taken_out_of_an_address() {
        let mut url = "postgres://h/d?a=b&sslrootcert=%2Fa%20b&schema=x".to_owned();
        assert_eq!(taken(&mut url, "schema").as_deref(), Some("x"));
        assert_eq!(taken(&mut url, "sslrootcert").as_deref(), Some("/a b"));
        assert_eq!(taken(&mut url, "schema"), None);
        assert_eq!(url, "postgres://h/d?a=b");
        assert_eq!(taken(&mut url, "a").as_deref(), Some("b"));
        assert_eq!(url, "postgres://h/d");
        assert_eq!(decoded("%4"), "%4");
        assert_eq!(decoded("%zz%41"), "%zzA");
    }
}
