//! The lock of a slot in a device: no TPM and no token has one of its own that ends with its holder.
//!
//! On Linux it is a name among the abstract Unix sockets, of which one process of a machine can hold
//! each. There is one place for all: it does not hang on who runs the process, nor on `TMPDIR` or
//! `XDG_RUNTIME_DIR`, which differ between a service and a login session. It needs no rights, leaves
//! nothing behind, and ends with its process. Another user who takes the name first keeps the vault
//! from opening, and is told by the number of their process; they cannot have two processes hold it.
//!
//! Processes with a network of their own (a container, systemd's `PrivateNetwork=`) have names of
//! their own. Between them, and between machines that share a token, the number of the opening
//! decides: the first to open no longer writes.

use std::fmt::Display;

use sha2::{Digest, Sha256};

use crate::vault::root::SlotError;

/// Held for as long as the slot is open.
pub(super) struct DeviceLock(#[allow(dead_code, reason = "held for its lock")] Held);

#[cfg(target_os = "linux")]
type Held = std::os::unix::net::UnixListener;
#[cfg(not(target_os = "linux"))]
type Held = std::fs::File;

impl DeviceLock {
    /// Keeps all other processes away from what is named so, a slot of this kind at this place.
    ///
    /// # Errors
    /// [`SlotError::InUse`]; [`SlotError::Device`] if no lock is available.
    pub(super) fn take(kind: &str, what: &str, place: &impl Display) -> Result<Self, SlotError> {
        // Of one length, whatever is in it.
        let digest = Sha256::digest(what.as_bytes());
        let mark = u128::from_be_bytes(*digest.first_chunk().unwrap_or(&[0; 16]));
        let name = format!("oubliette-{kind}-{mark:032x}");
        match hold(&name) {
            Ok(held) => Ok(Self(held)),
            Err(NotHeld::InUse(process)) => Err(SlotError::InUse(process)),
            Err(NotHeld::Failed(error)) => Err(SlotError::Device {
                place: place.to_string(),
                why: format!(
                    "other processes cannot be kept away from it ({error}), and without that it is \
                     not opened: two at a time could destroy every key"
                ),
            }),
        }
    }
}

enum NotHeld {
    InUse(u32),
    Failed(std::io::Error),
}

#[cfg(target_os = "linux")]
fn hold(name: &str) -> Result<Held, NotHeld> {
    use std::os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    };
    let address = SocketAddr::from_abstract_name(name).map_err(NotHeld::Failed)?;
    UnixListener::bind_addr(&address).map_err(|error| {
        if error.kind() != std::io::ErrorKind::AddrInUse {
            return NotHeld::Failed(error);
        }
        let holder = UnixStream::connect_addr(&address).ok();
        let holder = holder.and_then(|held| rustix::net::sockopt::socket_peercred(held).ok());
        NotHeld::InUse(holder.map_or(0, |of| of.pid.as_raw_nonzero().get().unsigned_abs()))
    })
}

/// A file in the one folder that everybody may write to. It is never written to, and a link in its
/// place is not followed.
#[cfg(not(target_os = "linux"))]
fn hold(name: &str) -> Result<Held, NotHeld> {
    use std::fs::{OpenOptions, TryLockError};
    let folder = if cfg!(unix) { "/tmp".into() } else { std::env::temp_dir() };
    let path = folder.join(format!("{name}.lock"));
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        rustix::fs::OFlags::NOFOLLOW.bits() as i32,
    );
    // One that another user made can be read, and locked.
    let made = options.read(true).write(true).create(true).truncate(false).open(&path);
    let file = made.or_else(|_| options.write(false).create(false).open(&path));
    let file = file.map_err(NotHeld::Failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(NotHeld::InUse(0)),
        Err(TryLockError::Error(error)) => Err(NotHeld::Failed(error)),
    }
}
