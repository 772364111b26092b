//! A token: the module that speaks to it, finding it, logging in, its objects; and what is wrong, in
//! words.

use std::{
    path::{Path, PathBuf},
    process,
    sync::Mutex,
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    object::{Attribute, AttributeType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::{Slot, TokenInfo},
    types::RawAuthPin,
};
use zeroize::{Zeroize, Zeroizing};

use super::Pkcs11Object;
use crate::vault::root::{file_system, kek_secret};

/// A token that was found.
pub(super) struct Token {
    module: Pkcs11,
    slot: Slot,
    info: TokenInfo,
}

/// A module that is loaded.
struct Module {
    process: u32,
    path: PathBuf,
    module: Pkcs11,
}

/// Never let go of: a module is set up once in a process, by the first to come, and anyone who tore it
/// down would do so under everybody else. In a process that was forked from another one it must be
/// set up again.
static MODULES: Mutex<Vec<Module>> = Mutex::new(Vec::new());

fn module(path: &Path) -> Result<Pkcs11, String> {
    let mut modules = MODULES.lock().map_err(|_| "its module failed earlier".to_owned())?;
    let process = process::id();
    let known = modules.iter().find(|known| known.path == path && known.process == process);
    if let Some(known) = known {
        return Ok(known.module.clone());
    }
    if !path.exists() {
        let path = path.display();
        return Err(format!(
            "there is no module {path}; install it, or correct module-path in the URI"
        ));
    }
    let cannot = |error: &dyn std::fmt::Display| {
        format!("the module {} cannot be loaded: {error}", path.display())
    };
    let module = Pkcs11::new(path).map_err(|error| cannot(&error))?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // By somebody else in this process.
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(format!("{}; is it configured?", cannot(&error))),
    }
    modules.push(Module { process, path: path.to_owned(), module: module.clone() });
    Ok(module)
}

impl Token {
    /// The one token that the URI means.
    pub(super) fn find(at: &Pkcs11Object) -> Result<Self, String> {
        let module = module(&at.module)?;
        let mut found = Vec::new();
        let mut labels = Vec::new();
        for slot in module.get_slots_with_token().map_err(|error| words(&error))? {
            // One that cannot be asked is not there.
            let Ok(info) = module.get_token_info(slot) else { continue };
            if !info.token_initialized() {
                continue;
            }
            labels.push(format!("{:?}", info.label()));
            if at.token.iter().all(|(name, value)| said(&info, name) == value) {
                found.push((slot, info));
            }
        }
        let (slot, info) = match (found.pop(), found.is_empty()) {
            (Some(found), true) => found,
            (Some(_), false) => {
                return Err(
                    "more than one token is called so; tell them apart by serial= in the URI"
                        .into(),
                );
            }
            (None, _) if labels.is_empty() => {
                return Err("its module knows of no token; is it plugged in, and set up?".into());
            }
            (None, _) => {
                return Err(format!(
                    "the token is not there; plug it in, or correct the URI: there is {}",
                    labels.join(", ")
                ));
            }
        };
        file_system::warn_of_token(info.label(), info.manufacturer_id());
        Ok(Self { module, slot, info })
    }

    /// What no other token is called.
    pub(super) fn name(&self) -> String {
        let info = &self.info;
        format!("{} {} {}", info.manufacturer_id(), info.serial_number(), info.label())
    }

    /// A session in which private objects can be read and written.
    pub(super) fn log_in(&self, at: &Pkcs11Object) -> Result<Session, String> {
        let pin = pin(at)?;
        if self.info.user_pin_locked() {
            return Err(words_of(RvError::PinLocked).to_owned());
        }
        let session = self.module.open_rw_session(self.slot).map_err(|error| words(&error))?;
        let logged_in = match pin {
            Some(pin) => session.login_with_raw(UserType::User, &pin),
            // Typed on the token itself.
            None if self.info.protected_authentication_path() => {
                session.login(UserType::User, None)
            }
            None => {
                return Err("the token wants a PIN; put it into a file of your own and add \
                            pin-source=file:/PATH to the URI, or set OUBLIETTE_PKCS11_PIN"
                    .into());
            }
        };
        match logged_in {
            // All sessions that a process has with a token are logged in together.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(error) => Err(words(&error)),
        }
    }
}

/// What a token says of itself.
fn said<'a>(info: &'a TokenInfo, name: &str) -> &'a str {
    match name {
        "token" => info.label(),
        "serial" => info.serial_number(),
        "manufacturer" => info.manufacturer_id(),
        _ => info.model(),
    }
}

/// The PIN, if there is one.
fn pin(at: &Pkcs11Object) -> Result<Option<RawAuthPin>, String> {
    let secret = |bytes: &[u8]| Some(RawAuthPin::new(Box::new(bytes.to_vec())));
    if let Some(pin) = &at.pin {
        return Ok(secret(pin.bytes()));
    }
    let Some(path) = &at.pin_source else { return Ok(None) };
    let text = kek_secret::file(path, "the token's PIN")
        .map_err(|error| format!("its PIN cannot be read in {}: {error}", path.display()))?;
    match text.trim_ascii_end() {
        b"" => Err(format!("no PIN is in {}", path.display())),
        pin => Ok(secret(pin)),
    }
}

/// Objects of a token, by name. What is wrong it says in words.
pub(in crate::vault::root) trait Objects: Send {
    /// Leads to one of them.
    type Handle: Copy;

    /// The private data objects of this name.
    fn find(&self, name: &str) -> Result<Vec<Self::Handle>, String>;

    /// What is in one.
    fn read(&self, object: Self::Handle) -> Result<Zeroizing<Vec<u8>>, String>;

    /// Overwrites one in place; `false` where the token does not do that.
    fn overwrite(&self, object: Self::Handle, bytes: &[u8]) -> Result<bool, String>;

    /// Makes a private data object.
    fn make(&self, name: &str, bytes: &[u8]) -> Result<(), String>;

    /// Destroys one.
    fn destroy(&self, object: Self::Handle) -> Result<(), String>;
}

impl Objects for Session {
    type Handle = ObjectHandle;

    fn find(&self, name: &str) -> Result<Vec<ObjectHandle>, String> {
        self.find_objects(&template(name)).map_err(|error| words(&error))
    }

    fn read(&self, object: ObjectHandle) -> Result<Zeroizing<Vec<u8>>, String> {
        let read = self.get_attributes(object, &[AttributeType::Value]);
        match read.map_err(|error| words(&error))?.pop() {
            Some(Attribute::Value(value)) => Ok(Zeroizing::new(value)),
            _ => Err("the token does not tell what is in its object".into()),
        }
    }

    fn overwrite(&self, object: ObjectHandle, bytes: &[u8]) -> Result<bool, String> {
        let mut value = [Attribute::Value(bytes.to_vec())];
        let done = self.update_attributes(object, &value);
        wipe(&mut value);
        match done {
            Ok(()) => Ok(true),
            Err(error) if refuses(&error) => Ok(false),
            Err(error) => Err(words(&error)),
        }
    }

    fn make(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let mut object = template(name);
        object.push(Attribute::Application(b"oubliette root slot".to_vec()));
        object.push(Attribute::Modifiable(true));
        object.push(Attribute::Value(bytes.to_vec()));
        let made = self.create_object(&object);
        wipe(&mut object);
        made.map(drop).map_err(|error| words(&error))
    }

    fn destroy(&self, object: ObjectHandle) -> Result<(), String> {
        self.destroy_object(object).map_err(|error| words(&error))
    }
}

/// What makes an object ours. One that is not private could be read without the PIN, and is not.
fn template(name: &str) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::DATA),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Label(name.into()),
    ]
}

fn wipe(attributes: &mut [Attribute]) {
    for attribute in attributes {
        if let Attribute::Value(value) = attribute {
            value.zeroize();
        }
    }
}

/// Whether a token says that it does not overwrite an object.
fn refuses(error: &Error) -> bool {
    use RvError::{
        ActionProhibited, AttributeReadOnly, AttributeTypeInvalid, FunctionNotSupported,
        TemplateInconsistent,
    };
    match error {
        Error::Pkcs11(code, _) => matches!(
            code,
            ActionProhibited
                | AttributeReadOnly
                | AttributeTypeInvalid
                | FunctionNotSupported
                | TemplateInconsistent
        ),
        error => matches!(error, Error::NullFunctionPointer),
    }
}

/// What a token answered, and what to do about it.
fn words(error: &Error) -> String {
    match error {
        Error::Pkcs11(code, _) => match words_of(*code) {
            "" => error.to_string(),
            words => words.to_owned(),
        },
        error => error.to_string(),
    }
}

fn words_of(code: RvError) -> &'static str {
    match code {
        RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => {
            "its PIN is wrong; correct it (pin-source in the URI, or OUBLIETTE_PKCS11_PIN) before you try \
             again: after a few wrong ones a token locks itself"
        }
        RvError::PinLocked => {
            "its PIN is locked, after wrong ones; the token's security officer sets a new one, as with \
             `pkcs11-tool --login --login-type so --init-pin`"
        }
        RvError::PinExpired => {
            "its PIN has expired; set a new one with the tools of the token's maker"
        }
        RvError::UserPinNotInitialized => {
            "its user has no PIN yet; the token's security officer sets it, as with \
             `pkcs11-tool --login --login-type so --init-pin`"
        }
        RvError::TokenNotPresent | RvError::DeviceRemoved | RvError::TokenNotRecognized => {
            "the token is gone; plug it in and open the vault again"
        }
        RvError::SessionHandleInvalid | RvError::SessionClosed | RvError::UserNotLoggedIn => {
            "the token no longer knows us; open the vault again"
        }
        RvError::TokenWriteProtected => {
            "the token is write-protected; a root slot must be overwritten"
        }
        RvError::DeviceMemory => {
            "the token is full; a root slot takes two data objects of 512 bytes"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    /// The token of the other tests never locks itself.
    #[test]
    fn a_wrong_and_a_locked_pin_are_told_apart() {
        let told = |code| words(&Error::Pkcs11(code, Function::Login));
        let (wrong, locked) = (told(RvError::PinIncorrect), told(RvError::PinLocked));
        assert!(wrong.contains("PIN is wrong") && wrong.contains("pin-source"), "{wrong}");
        assert!(
            locked.contains("PIN is locked") && locked.contains("security officer"),
            "{locked}"
        );
        // What has no words of its own keeps those of the token.
        assert!(told(RvError::DeviceError).contains("Login"), "{}", told(RvError::DeviceError));
    }
}
