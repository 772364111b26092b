//! Key-encryption keys, read where they are: from a file, a variable, or a command.

use std::{
    env, fmt, fs,
    io::Read,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

use super::kek::{Kek, Passphrase};
use crate::{crypto::Secret, vault::root::SlotError, without_mark, words::count};

/// How long a command may take: a key management service far away, and a person who confirms.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest thing that may hold a key: a line of text. More is not read.
const MOST_BYTES: u64 = 1024;

/// A key-encryption key, read.
#[cfg_attr(test, derive(Clone))]
pub(crate) enum KekSecret {
    None,
    Key(Secret),
    Passphrase(Passphrase),
}

impl fmt::Debug for KekSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KekSecret")
    }
}

impl KekSecret {
    /// Reads the key where it is.
    ///
    /// # Errors
    /// [`SlotError::KekUnusable`].
    pub(crate) fn read(kek: &Kek, passphrase: Option<&Passphrase>) -> Result<Self, SlotError> {
        let unusable = |why| SlotError::KekUnusable { kek: kek.described(), why };
        let key = match kek {
            Kek::None => return Ok(Self::None),
            Kek::Passphrase => {
                let given = passphrase.ok_or_else(|| unusable("none was given".into()))?;
                return given.in_one_form().map(Self::Passphrase).map_err(unusable);
            }
            Kek::File(path) => {
                file(path, "the key-encryption key").and_then(|bytes| key(&bytes, true))
            }
            Kek::Environment(name) => variable(name).and_then(|text| key(text.as_bytes(), false)),
            Kek::Command(command) => output(command, PATIENCE).and_then(|bytes| key(&bytes, true)),
        };
        key.map(Self::Key).map_err(unusable)
    }
}

/// The content of a file that holds a secret, which the warning calls `what`.
pub(super) fn file(path: &Path, what: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    // Not refused: where secrets are mounted for a service, the mount says who may read them.
    #[cfg(unix)]
    if file.metadata().is_ok_and(|meta| std::os::unix::fs::MetadataExt::mode(&meta) & 0o077 != 0) {
        tracing::warn!(file = %path.display(), "{what} may be read by others");
    }
    read(file).map_err(|error| error.to_string())
}

/// Reads as much as could be a key, into one buffer.
fn read(from: impl Read) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST_BYTES as usize + 33));
    from.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn variable(name: &str) -> Result<Zeroizing<String>, String> {
    match env::var(name) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(env::VarError::NotPresent) => Err("the variable is not set".into()),
        Err(env::VarError::NotUnicode(_)) => Err("the variable is not text".into()),
    }
}

/// 32 bytes, raw or as text. What is there is never repeated in the message.
fn key(bytes: &[u8], raw: bool) -> Result<Secret, String> {
    if raw && let Ok(key) = <&[u8; 32]>::try_from(bytes) {
        // No key that was drawn at random looks so: it is half a key in digits, or a passphrase.
        if bytes.iter().all(u8::is_ascii_graphic) {
            return Err(
                "32 bytes are there that are text, and so no random ones: a key has 32 random \
                        bytes, raw, as 64 hexadecimal digits or in Base64"
                    .to_owned(),
            );
        }
        return Ok(Secret::copy_of(key));
    }
    let text = without_mark(bytes).trim_ascii();
    if text.len() == 64
        && let Some(key) = hexadecimal(text)
    {
        return Ok(key);
    }
    const EITHER: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    for alphabet in [&base64::alphabet::STANDARD, &base64::alphabet::URL_SAFE] {
        let engine = GeneralPurpose::new(alphabet, EITHER);
        let decoded = engine.decode(text).map(Zeroizing::new);
        if let Ok(decoded) = decoded
            && let Ok(key) = <&[u8; 32]>::try_from(decoded.as_slice())
        {
            return Ok(Secret::copy_of(key));
        }
    }
    Err(format!(
        "what is there is no key, but {}: it must be 32 bytes{}, as 64 hexadecimal digits or in Base64",
        count(bytes.len() as u64, "byte"),
        if raw { ", raw" } else { "" }
    ))
}

fn hexadecimal(text: &[u8]) -> Option<Secret> {
    let mut key = Secret::default();
    for (byte, digits) in key.iter_mut().zip(text.as_chunks::<2>().0) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()?;
    }
    Some(key)
}

/// What a command writes to its standard output.
fn output(command: &str, patience: Duration) -> Result<Zeroizing<Vec<u8>>, String> {
    let (shell, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
    let mut child = Command::new(shell)
        .args([flag, command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("it cannot be started: {error}"))?;
    // Read apart: a process that it leaves behind may keep a pipe open for ever.
    let stdout = child.stdout.take().map(reading);
    let stderr = child.stderr.take().map(reading);
    let began = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if began.elapsed() < patience => thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it took longer than {} s", patience.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    };
    let said = |pipe: Option<Reading>| pipe.map(Reading::taken).unwrap_or_default();
    let (stdout, stderr) = (said(stdout), said(stderr));
    if status.success() {
        return Ok(stdout);
    }
    Err(match complaint(&stderr, &stdout) {
        Some(complaint) => format!("it failed ({status}): {complaint}"),
        None => format!("it failed ({status})"),
    })
}

/// A pipe that a thread reads.
struct Reading {
    bytes: Arc<Mutex<Zeroizing<Vec<u8>>>>,
    /// Closed at the pipe's end, which may never come.
    ended: mpsc::Receiver<()>,
}

fn reading(mut pipe: impl Read + Send + 'static) -> Reading {
    let (until, ended) = mpsc::channel::<()>();
    // Room for all of it: a buffer that grows leaves its bytes behind.
    let most = MOST_BYTES as usize + 1;
    let bytes = Arc::new(Mutex::new(Zeroizing::new(Vec::with_capacity(most))));
    let read_bytes = Arc::clone(&bytes);
    thread::spawn(move || {
        let _until = until;
        let mut part = Zeroizing::new([0; 256]);
        while let Ok(length @ 1..) = pipe.read(part.as_mut_slice()) {
            let mut bytes = read_bytes.lock().unwrap_or_else(PoisonError::into_inner);
            let length = length.min(most - bytes.len());
            bytes.extend_from_slice(&part[..length]);
            if bytes.len() == most {
                return;
            }
        }
    });
    Reading { bytes, ended }
}

impl Reading {
    /// What has come, once the process that was asked has ended.
    fn taken(self) -> Zeroizing<Vec<u8>> {
        // A process that it left behind has the pipe too, and may keep it open.
        let _ = self.ended.recv_timeout(Duration::from_secs(1));
        std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a command complains of, unless it repeats what may be the key.
fn complaint(stderr: &[u8], stdout: &[u8]) -> Option<String> {
    let secret = stdout.trim_ascii();
    let repeats = !secret.is_empty() && stderr.windows(secret.len()).any(|part| part == secret);
    let text = String::from_utf8_lossy(stderr.trim_ascii());
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    (!repeats && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [0xa7; 32];

    fn unusable(kek: &Kek) -> String {
        match KekSecret::read(kek, None) {
            Err(error @ SlotError::KekUnusable { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_is_read_in_every_encoding() {
        let hex = "a7".repeat(32);
        for text in [
            KEY.to_vec(),
            hex.clone().into_bytes(),
            format!("  {}\n", hex.to_uppercase()).into_bytes(),
            b"p6enp6enp6enp6enp6enp6enp6enp6enp6enp6enp6c=\n".to_vec(),
            b"p6enp6enp6enp6enp6enp6enp6enp6enp6enp6enp6c".to_vec(),
            format!("\u{feff}{hex}\r\n").into_bytes(),
        ] {
            assert_eq!(*key(&text, true).unwrap(), KEY);
        }
        let url = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode([0xfb; 32]);
        assert_eq!(*key(url.as_bytes(), false).unwrap(), [0xfb; 32]);
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_repeated() {
        for text in
            [&b""[..], b"short", &[b'a'; 31], &[b'z'; 64], &[b'A'; 42], &[9; 33], &[0; 1025]]
        {
            let why = key(text, true).unwrap_err();
            assert!(why.contains("32 bytes"), "{why}");
            assert!(!why.contains("short") && !why.contains("zzz"), "{why}");
        }
        // Sixteen bytes in digits, without a line feed and with one, are half a key: also where raw ones
        // may be.
        for raw in [false, true] {
            for half in [&[b'a'; 32][..], b"0123456789abcdef0123456789abcdef\n"] {
                let why = key(half, raw).unwrap_err();
                assert!(why.contains("64 hexadecimal digits") && !why.contains("aaa"), "{why}");
            }
        }
    }

    #[test]
    fn a_key_comes_from_a_file_a_variable_or_a_command() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("key");
        assert!(unusable(&Kek::File(path.clone())).contains("file:"));
        fs::write(&path, KEY).unwrap();
        let read = |kek: &Kek| match KekSecret::read(kek, None).unwrap() {
            KekSecret::Key(key) => *key,
            other => panic!("{other:?}"),
        };
        assert_eq!(read(&Kek::File(path.clone())), KEY);
        assert!(unusable(&Kek::Environment("OUBLIETTE_NO_SUCH".into())).contains("not set"));
        #[cfg(unix)]
        assert_eq!(read(&Kek::Command(format!("cat '{}'", path.display()))), KEY);
    }

    #[cfg(unix)]
    #[test]
    fn a_command_that_fails_is_quoted_but_never_the_key() {
        let failing = |text: &str| unusable(&Kek::Command(text.into()));
        assert!(failing("echo 'no such key' >&2; exit 3").contains("no such key"));
        assert!(failing("exit 3").contains("exit status: 3"));
        let told = failing("k=secretsecret; echo $k; echo \"bad: $k\" >&2; exit 1");
        assert!(!told.trim_start_matches(|c| c != ')').contains("secretsecret"), "{told}");
        assert!(failing("true").contains("0 bytes"));
        assert!(
            output("exec sleep 600", Duration::from_millis(50)).unwrap_err().contains("longer")
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_key_counts_though_a_process_that_is_left_behind_keeps_the_pipe() {
        let hex = "a7".repeat(32);
        let command = Kek::Command(format!("sleep 5 & echo {hex}"));
        match KekSecret::read(&command, None) {
            Ok(KekSecret::Key(key)) => assert_eq!(*key, KEY),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_passphrase_is_the_same_however_it_was_typed_and_never_repeated() {
        let read = |text: &str| {
            let given = Passphrase::new(text.to_owned());
            match KekSecret::read(&Kek::Passphrase, given.as_ref()) {
                Ok(KekSecret::Passphrase(read)) => Ok(read.bytes().to_vec()),
                Ok(other) => panic!("{other:?}"),
                Err(error) => Err(error.to_string()),
            }
        };
        assert_eq!(read("caf\u{e9}-garten"), Ok("café-garten".into()));
        assert_eq!(read("cafe\u{301}-garten"), Ok("café-garten".into()));
        assert_eq!(read("correct horse"), read("correct\u{a0}horse"));
        assert_ne!(read("correct horse"), read("Correct horse"));
        for (text, why) in [
            ("hunter2\r", "the end of a line"),
            ("hunter2\u{200b}", "does not show"),
            ("hunter2\u{e000}", "private use"),
            ("hunter2\u{378}", "not assigned"),
        ] {
            let told = read(text).unwrap_err();
            assert!(told.contains(why) && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn a_command_with_a_password_is_in_no_error_and_no_log() {
        let kek = Kek::Command("kms --password hunter2 || exit 3".into());
        assert!(!format!("{kek:?}").contains("hunter2"));
        #[cfg(unix)]
        assert!(!unusable(&kek).contains("hunter2"), "{}", unusable(&kek));
    }
}
