//! A root slot in the memory of a TPM 2.0: two indices of its non-volatile memory, one a sector, by
//! way of the commands of tpm2-tools.
//!
//! A TPM overwrites in its own chip, where no backup, snapshot or restored image reaches: the
//! slot cannot be rolled back together with the vault. What is left in the cells of the chip is for
//! the chip's maker to say.

use std::{
    env, fmt,
    io::{self, Read, Write},
    process::{Command, Stdio},
    str::FromStr,
};

use zeroize::Zeroizing;

use super::{
    device::{Device, SECTOR_BYTES},
    device_lock::DeviceLock,
    hardware::{Monotonic, Sectors},
    kek::Passphrase,
};
use crate::vault::root::SlotError;

/// Where in the TPM's memory the slot is: an index, and the one after it.
///
/// ```
/// use oubliette::vault::{SlotConfig, SlotLocation, TpmIndex};
/// let index: TpmIndex = "tpm:0x01500016".parse()?;
/// let slot = SlotConfig::at(SlotLocation::Tpm(index.over("device:/dev/tpmrm0")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmIndex {
    first: u32,
    tcti: Option<String>,
    auth: Option<Passphrase>,
}

/// Not an index of a TPM's memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no index of a TPM's memory for owners: 0x01500016, or another from 0x01000000 to 0x01bffffe"
)]
pub struct TpmIndexError(String);

impl TpmIndex {
    /// The indices `first` and `first + 1`.
    ///
    /// # Errors
    /// Where these are not among those that belong to the TPM's owner (TCG's registry of reserved
    /// handles).
    pub fn new(first: u32) -> Result<Self, TpmIndexError> {
        if !(0x0100_0000..0x01c0_0000 - 1).contains(&first) {
            return Err(TpmIndexError(format!("{first:#010x}")));
        }
        Ok(Self { first, tcti: None, auth: None })
    }

    /// Over this connection, in the words of tpm2-tools (`device:/dev/tpmrm0`), instead of their
    /// default or `TPM2TOOLS_TCTI`.
    #[must_use]
    pub fn over(mut self, tcti: impl Into<String>) -> Self {
        self.tcti = Some(tcti.into());
        self
    }

    /// With this password on the memory. Without one, everybody who may use the TPM may read it.
    #[must_use]
    pub fn with_auth(mut self, auth: Option<Passphrase>) -> Self {
        self.auth = auth;
        self
    }

    pub(super) fn first(&self) -> u32 {
        self.first
    }

    fn indices(&self) -> [u32; 2] {
        [self.first, self.first + 1]
    }

    /// Takes back what was made.
    pub(super) fn unmake(&self) {
        for index in self.indices() {
            let _ = self.run("tpm2_nvundefine", &[&hex(index), "-C", "o"], None);
        }
    }

    /// Makes a counter of the first index, where there is nothing; what is there must be one. One that
    /// was removed does not begin again from a lower number: the TPM sees to that.
    pub(super) fn make_counter(&self) -> Result<(), String> {
        if self.existing().map_err(why)?.contains(&self.first) {
            // Nothing else can be raised.
            return Monotonic::raise(self);
        }
        let index = hex(self.first);
        let attributes = "authread|authwrite|no_da|nt=counter";
        let args = [index.as_str(), "-C", "o", "-s", "8", "-a", attributes];
        self.run_with_auth("tpm2_nvdefine", &args, "-p", None).map_err(why)?;
        // One that was never raised cannot be read.
        Monotonic::raise(self).inspect_err(|_| drop(Monotonic::remove(self)))
    }

    /// Removes the counter, if it is there.
    pub(super) fn remove_counter(&self) -> Result<(), String> {
        if self.existing().map_err(why)?.contains(&self.first) { self.remove() } else { Ok(()) }
    }

    /// Whether the first index is a counter. One of another kind can be set to any number, by everybody
    /// who may use the TPM.
    fn is_counter(&self) -> Result<bool, String> {
        let public = self.run("tpm2_nvreadpublic", &[&hex(self.first)], None).map_err(why)?;
        let public = String::from_utf8_lossy(&public);
        let mut lines = public.lines().map(str::trim).skip_while(|line| *line != "attributes:");
        let value = lines.find_map(|line| line.strip_prefix("value: 0x"));
        let attributes = value.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let attributes = attributes.ok_or("tpm2_nvreadpublic does not say of which kind it is")?;
        // TPM 2.0 library, part 2, section 13.4: bits 7 to 4 are the kind, of which 1 is a counter.
        Ok(attributes >> 4 & 0xf == 1)
    }

    /// Which indices exist.
    fn existing(&self) -> Result<Vec<u32>, SlotError> {
        let list = self.run("tpm2_getcap", &["handles-nv-index"], None)?;
        let list = String::from_utf8_lossy(&list);
        let handles = list
            .lines()
            .filter_map(|line| line.trim_start_matches(['-', ' ']).trim().strip_prefix("0x"))
            .filter_map(|digits| u32::from_str_radix(digits, 16).ok());
        Ok(handles.collect())
    }

    /// Keeps others away, for as long as the slot is open.
    pub(super) fn lock(&self) -> Result<TpmSectors, SlotError> {
        let tcti = self.tcti.clone().or_else(|| env::var("TPM2TOOLS_TCTI").ok());
        let whose = format!("{} {}", hex(self.first), which(tcti.as_deref()));
        Ok(TpmSectors { at: self.clone(), _lock: DeviceLock::take("tpm", &whose, self)? })
    }

    /// Runs one of the tools, and returns what it wrote.
    fn run(
        &self,
        tool: &str,
        args: &[&str],
        input: Option<&[u8]>,
    ) -> Result<Zeroizing<Vec<u8>>, SlotError> {
        let failed = |why: String| SlotError::Device { place: self.to_string(), why };
        let io = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => failed(format!("{tool} is not there; install tpm2-tools")),
            _ => failed(format!("{tool}: {error}")),
        };
        let mut command = Command::new(tool);
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        if let Some(tcti) = &self.tcti {
            command.env("TPM2TOOLS_TCTI", tcti);
        }
        let mut child = command.spawn().map_err(io)?;
        if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
            // One that does not take it says why itself.
            let _ = pipe.write_all(input);
        }
        // As long as the longest answer, so that no reallocation leaves a copy of the key behind.
        let mut output = Zeroizing::new(Vec::with_capacity(16 * SECTOR_BYTES));
        if let Some(pipe) = child.stdout.take() {
            pipe.take(16 * SECTOR_BYTES as u64 - 64).read_to_end(&mut output).map_err(io)?;
        }
        let mut said = String::new();
        if let Some(mut pipe) = child.stderr.take() {
            let _ = pipe.read_to_string(&mut said);
        }
        let status = child.wait().map_err(io)?;
        if status.success() {
            return Ok(output);
        }
        let why = said.lines().rfind(|line| line.starts_with("ERROR: ") && line.contains(" - "));
        let why = why.or_else(|| said.lines().rfind(|line| line.starts_with("ERROR")));
        Err(failed(format!("{tool}: {}", why.unwrap_or("it failed without a word"))))
    }

    /// As [`TpmIndex::run`], with the memory's password in a file of its own (an argument could be
    /// seen by all users): `flag` takes its name.
    fn run_with_auth(
        &self,
        tool: &str,
        args: &[&str],
        flag: &str,
        input: Option<&[u8]>,
    ) -> Result<Zeroizing<Vec<u8>>, SlotError> {
        let Some(auth) = &self.auth else { return self.run(tool, args, input) };
        // For its owner alone, and removed when dropped.
        let mut file = tempfile::NamedTempFile::new().map_err(SlotError::from_io)?;
        file.write_all(auth.bytes()).map_err(SlotError::from_io)?;
        file.flush().map_err(SlotError::from_io)?;
        let named = format!("file:{}", file.path().display());
        self.run(tool, &[args, &[flag, &named]].concat(), input)
    }
}

impl fmt::Display for TpmIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tpm:{}", hex(self.first))
    }
}

/// `tpm:0x01500016`, or without the `tpm:`.
impl FromStr for TpmIndex {
    type Err = TpmIndexError;

    fn from_str(text: &str) -> Result<Self, TpmIndexError> {
        let index = text.strip_prefix("tpm:").unwrap_or(text);
        let index =
            index.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
        index.map_or_else(|| Err(TpmIndexError(text.to_owned())), Self::new)
    }
}

impl Monotonic for TpmIndex {
    fn read(&self) -> Result<u64, String> {
        if !self.is_counter()? {
            return Err("what is at this index is no counter".to_owned());
        }
        let index = hex(self.first);
        let args = [index.as_str(), "-C", &index, "-s", "8"];
        let read = self.run_with_auth("tpm2_nvread", &args, "-P", None).map_err(why)?;
        let number = read.as_slice().try_into().map_err(|_| "it is no counter".to_owned())?;
        Ok(u64::from_be_bytes(number))
    }

    fn raise(&self) -> Result<(), String> {
        let index = hex(self.first);
        let args = [index.as_str(), "-C", &index];
        self.run_with_auth("tpm2_nvincrement", &args, "-P", None).map(drop).map_err(why)
    }

    fn remove(&self) -> Result<(), String> {
        self.run("tpm2_nvundefine", &[&hex(self.first), "-C", "o"], None).map(drop).map_err(why)
    }
}

/// What a tool said.
fn why(error: SlotError) -> String {
    match error {
        SlotError::Device { why, .. } => why,
        error => crate::words::chain(&error),
    }
}

/// Which TPM a connection leads to, as far as its words tell: the machine's own has several ways to it.
fn which(tcti: Option<&str>) -> &str {
    let (kind, at) =
        tcti.unwrap_or_default().split_once(':').unwrap_or((tcti.unwrap_or_default(), ""));
    match (kind, at) {
        ("" | "tabrmd", _) | ("device", "" | "/dev/tpm0" | "/dev/tpmrm0") => "the machine's",
        _ => tcti.unwrap_or_default(),
    }
}

fn hex(index: u32) -> String {
    format!("{index:#010x}")
}

/// The two sectors.
pub(super) struct TpmSectors {
    at: TpmIndex,
    _lock: DeviceLock,
}

impl TpmSectors {
    fn index(&self, sector: usize) -> String {
        hex(self.at.indices()[sector])
    }
}

impl Device for TpmSectors {
    fn made(&self) -> Result<[bool; 2], SlotError> {
        let handles = self.at.existing()?;
        Ok(self.at.indices().map(|index| handles.contains(&index)))
    }

    fn make(&self, sector: usize) -> Result<(), SlotError> {
        let (index, size) = (self.index(sector), SECTOR_BYTES.to_string());
        let args = [index.as_str(), "-C", "o", "-s", &size, "-a", "authread|authwrite|no_da"];
        self.at.run_with_auth("tpm2_nvdefine", &args, "-p", None)?;
        // Memory that was never written cannot be read.
        self.write(sector, &[0; SECTOR_BYTES])
    }

    fn unmake(&self) {
        self.at.unmake();
    }
}

impl Sectors for TpmSectors {
    fn sector_bytes(&self) -> usize {
        SECTOR_BYTES
    }

    fn read(&self, sector: usize) -> Result<Zeroizing<Vec<u8>>, SlotError> {
        let (index, size) = (self.index(sector), SECTOR_BYTES.to_string());
        let args = [index.as_str(), "-C", &index, "-s", &size];
        self.at.run_with_auth("tpm2_nvread", &args, "-P", None)
    }

    fn write(&self, sector: usize, bytes: &[u8]) -> Result<(), SlotError> {
        let index = self.index(sector);
        let args = [index.as_str(), "-C", &index, "-i", "-"];
        self.at.run_with_auth("tpm2_nvwrite", &args, "-P", Some(bytes)).map(drop)
    }

    /// The TPM answers when it has written.
    fn sync(&self) -> Result<(), SlotError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_tpm_is_one_whatever_leads_to_it() {
        let own = [None, Some("device"), Some("device:/dev/tpm0"), Some("device:/dev/tpmrm0")];
        for tcti in own.into_iter().chain([Some("tabrmd"), Some("tabrmd:bus_type=session")]) {
            assert_eq!(which(tcti), "the machine's");
        }
        for tcti in ["device:/dev/tpmrm1", "swtpm:path=/x", "mssim"] {
            assert_eq!(which(Some(tcti)), tcti);
        }
    }
}
