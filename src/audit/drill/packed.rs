//! What is packed: recognised wherever it begins, and unpacked as a stream.
//!
//! There is no archive to open: the members of a tar are in it as they are, and those of a zip are
//! found by the header before each. So nothing in an archive is ever used as a path, and what the
//! archive's own directory does not list is searched, too.

use flate2::{Decompress, FlushDecompress, Status};

/// Something that is, or may be, packed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packed {
    /// It can be unpacked: its bytes begin here, counted from the window's beginning.
    Here {
        how: How,
        /// What it is called, in words.
        name: String,
        data: usize,
    },
    /// It cannot: why.
    Closed(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Gzip,
    Zip,
    /// Bare, as in the dumps of some databases and in PDF. Two bytes say so, often by chance.
    Zlib,
}

/// What begins something packed.
pub(super) const BEGINNINGS: [(&[u8], How); 6] = [
    (b"\x1f\x8b\x08", How::Gzip),
    (b"PK\x03\x04", How::Zip),
    (b"\x78\x01", How::Zlib),
    (b"\x78\x5e", How::Zlib),
    (b"\x78\x9c", How::Zlib),
    (b"\x78\xda", How::Zlib),
];

/// Looks at bytes that begin so. `None`: it is nothing of the kind.
pub(super) fn packed(bytes: &[u8], at: usize, how: How) -> Option<Packed> {
    let rest = bytes.get(at..)?;
    match how {
        How::Zlib => {
            // The third kind of block does not exist.
            (rest.get(2)? & 6 != 6).then(|| Packed::Here { how, name: "zlib".to_owned(), data: at })
        }
        How::Gzip => {
            let data = at + gzip_header(rest)?;
            Some(Packed::Here { how, name: "gzip".to_owned(), data })
        }
        How::Zip => zip_member(rest, at),
    }
}

fn gzip_header(bytes: &[u8]) -> Option<usize> {
    let flags = *bytes.get(3)?;
    if flags & 0xe0 != 0 {
        return None;
    }
    let mut at = 10;
    if flags & 4 != 0 {
        let length = bytes.get(at..at + 2)?;
        at += 2 + usize::from(u16::from_le_bytes([length[0], length[1]]));
    }
    for text in [8, 16] {
        if flags & text != 0 {
            at += 1 + bytes.get(at..)?.iter().position(|&byte| byte == 0)?;
        }
    }
    if flags & 2 != 0 {
        at += 2;
    }
    (at <= bytes.len()).then_some(at)
}

fn zip_member(bytes: &[u8], at: usize) -> Option<Packed> {
    let number = |at: usize| Some(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let (version, flags, method) = (number(4)?, number(6)?, number(8)?);
    let (name, extra) = (usize::from(number(26)?), usize::from(number(28)?));
    if version & 0xff > 100 {
        return None;
    }
    // Shown, and used for nothing else.
    let shown = bytes.get(30..30 + name.min(200))?;
    let shown = format!("zip member {:?}", String::from_utf8_lossy(shown));
    if flags & 1 != 0 {
        return Some(Packed::Closed(format!("{shown} is encrypted")));
    }
    match method {
        // It is stored as it is.
        0 => None,
        8 => Some(Packed::Here { how: How::Zip, name: shown, data: at + 30 + name + extra }),
        other => Some(Packed::Closed(format!("{shown} is packed by method {other}"))),
    }
}

/// What is not looked into, by what it begins with.
const CLOSED: [(&[u8], &str); 19] = [
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh11AY&SY", "bzip2"),
    (b"BZh91AY&SY", "bzip2"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\xff\x06\0\0sNaPpY", "snappy"),
    (b"Rar!\x1a\x07", "rar"),
    (b"\x1f\x9d\x90", "compress"),
    (b"\x5d\0\0\x80\0", "lzma"),
    (b"MSCF\0\0\0\0", "cab"),
    (b"hsqs", "squashfs"),
    (b"PAR1", "Parquet"),
    (b"Obj\x01", "Avro"),
    (b"ORC\x08", "ORC"),
    (b"LUKS\xba\xbe", "LUKS, encrypted"),
    (b"Salted__", "openssl, encrypted"),
    (b"-----BEGIN PGP MESSAGE-----", "PGP, encrypted"),
    (b"\x8c\x0d\x04", "PGP, encrypted"),
];

/// What begins here and is not looked into, in words.
pub(super) fn closed(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"BZh") {
        return Some("bzip2");
    }
    CLOSED.iter().find(|(begins, _)| bytes.starts_with(begins)).map(|(_, name)| *name)
}

/// Whether something encrypted with age begins here.
pub(super) fn is_age(bytes: &[u8]) -> bool {
    bytes.starts_with(b"age-encryption.org/v1\n")
        || bytes.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----")
}

/// Unpacks what is fed to it.
pub(super) struct Inflate {
    state: Decompress,
    /// How much came out.
    pub(super) out: u64,
}

/// The state of what is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unpacking {
    /// More is to come.
    GoesOn,
    /// That was all.
    Ended,
    /// It is damaged, or nothing of the kind.
    Failed,
    /// It was told to stop.
    Stopped,
}

impl Inflate {
    pub(super) fn new(how: How) -> Self {
        Self { state: Decompress::new(how == How::Zlib), out: 0 }
    }

    /// Shows what comes out of these bytes, until `give` says that it is enough.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        give: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Unpacking {
        let mut room = vec![0; 32 << 10];
        loop {
            let (read, written) = (self.state.total_in(), self.state.total_out());
            let status = self.state.decompress(bytes, &mut room, FlushDecompress::None);
            let read = (self.state.total_in() - read) as usize;
            let written = (self.state.total_out() - written) as usize;
            bytes = &bytes[read..];
            self.out += written as u64;
            if written > 0 && !give(&room[..written]) {
                return Unpacking::Stopped;
            }
            match status {
                Ok(Status::StreamEnd) => return Unpacking::Ended,
                Err(_) => return Unpacking::Failed,
                Ok(_) if written == 0 && (bytes.is_empty() || read == 0) => {
                    return Unpacking::GoesOn;
                }
                Ok(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_are_cut_off_or_odd_are_no_headers() {
        let gzip = b"\x1f\x8b\x08\x1c1234\0\x03\x02\0xyname\0note\0data";
        let data = gzip.len() - 4;
        let here = Packed::Here { how: How::Gzip, name: "gzip".to_owned(), data };
        assert_eq!(packed(gzip, 0, How::Gzip), Some(here));
        for cut in 0..gzip.len() - 4 {
            assert_eq!(packed(&gzip[..cut], 0, How::Gzip), None, "{cut}");
        }
        assert_eq!(packed(b"\x1f\x8b\x08\xff......", 0, How::Gzip), None);
        for cut in 0..30 {
            assert_eq!(packed(&[b"PK\x03\x04", &[0; 30][..cut]].concat(), 0, How::Zip), None);
        }
        let mut member =
            [b"PK\x03\x04\x14\0\x01\0\x08\0".as_slice(), &[0; 16], b"\x01\0\0\0a"].concat();
        assert!(matches!(packed(&member, 0, How::Zip), Some(Packed::Closed(_))));
        member[6] = 0;
        let here = Packed::Here { how: How::Zip, name: "zip member \"a\"".to_owned(), data: 31 };
        assert_eq!(packed(&member, 0, How::Zip), Some(here));
        member[8] = 93;
        assert!(matches!(packed(&member, 0, How::Zip), Some(Packed::Closed(_))));
    }
}
