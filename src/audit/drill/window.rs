//! Bytes seen through a window that slides over them, no matter who gives them, and in pieces of any size.

/// A piece of a stream of bytes.
#[derive(Clone, Copy)]
pub(super) struct Window<'a> {
    /// The bytes.
    pub(super) bytes: &'a [u8],
    /// What begins at or after this byte, and before `to`, is to be looked at here; what is
    /// around it is there to be looked at with it.
    pub(super) from: usize,
    /// Likewise.
    pub(super) to: usize,
    /// Where in the stream the first byte is.
    pub(super) offset: u64,
}

/// How many bytes before a beginning can be seen.
pub(super) const BEFORE: usize = 16;

/// How many bytes after each beginning can be seen, or all that there are: a whole sector of a
/// slot, the header of a packed file, the longest spelling of a value.
pub(super) const AFTER: usize = 8 << 10;

/// Collects what is fed to it until there is enough to look at.
#[derive(Default)]
pub(super) struct Sliding {
    bytes: Vec<u8>,
    from: usize,
    offset: u64,
}

impl Sliding {
    /// Takes some bytes, and shows a window when `step` of them can be looked at.
    pub(super) fn feed(&mut self, mut bytes: &[u8], step: usize, see: &mut dyn FnMut(Window<'_>)) {
        let full = BEFORE + step + AFTER;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(full - self.bytes.len()));
            self.bytes.extend_from_slice(now);
            bytes = later;
            if self.bytes.len() < full {
                return;
            }
            let to = full - AFTER;
            see(Window { bytes: &self.bytes, from: self.from, to, offset: self.offset });
            let keep = to - BEFORE;
            self.bytes.drain(..keep);
            (self.from, self.offset) = (BEFORE, self.offset + keep as u64);
        }
    }

    /// Shows what is left, at the end.
    pub(super) fn finish(&mut self, see: &mut dyn FnMut(Window<'_>)) {
        let Self { bytes, from, offset } = std::mem::take(self);
        see(Window { bytes: &bytes, from, to: bytes.len(), offset });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_beginning_is_seen_once_with_what_stands_around_it() {
        const STEP: usize = 1 << 16;
        for length in [0, 1, 5, AFTER, STEP + 9, STEP + AFTER + 17, (3 << 16) + 77] {
            for piece in [70_001, 1000, 1 << 20] {
                let all: Vec<u8> = (0..length).map(|i: usize| (i % 251) as u8).collect();
                let mut next = 0;
                let mut check = |window: Window<'_>| {
                    assert_eq!(window.offset as usize + window.from, next);
                    for at in [window.from, window.to.saturating_sub(1)] {
                        let absolute = window.offset as usize + at;
                        assert!(at >= BEFORE.min(absolute), "{at}");
                        let seen = &window.bytes[at..window.bytes.len().min(at + AFTER)];
                        assert_eq!(seen, &all[absolute..length.min(absolute + seen.len())]);
                        assert!(seen.len() == AFTER || absolute + seen.len() == length);
                    }
                    next = window.offset as usize + window.to;
                };
                let mut sliding = Sliding::default();
                all.chunks(piece).for_each(|bytes| sliding.feed(bytes, STEP, &mut check));
                sliding.finish(&mut check);
                assert_eq!(next, length);
            }
        }
    }
}
