//! The clear part of a record: `len 4 | crc32c 4 | seq 8 | synced_through 8 | ciphertext | tag 16`, little-endian.

use strongroom_envelope::TAG_LEN;

/// Bytes before the ciphertext.
pub(crate) const HEAD_LEN: usize = 24;
/// Bytes a record has beside its ciphertext.
pub(crate) const EXTRA_LEN: usize = HEAD_LEN + TAG_LEN;
/// Records start at multiples of this, so a search for them looks at one offset in eight.
pub(crate) const ALIGN: usize = 8;

/// The clear fields of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Length of the ciphertext in bytes; never 0, so zeros end a segment.
    pub(crate) len: u32,
    /// CRC-32C of everything behind this field up to the tag's end, and of `len`.
    pub(crate) crc: u32,
    /// The record's position.
    pub(crate) seq: u64,
    /// The highest position known to be durable when this one was written.
    pub(crate) synced_through: u64,
}

fn crc_of(seed: u32, len: [u8; 4], rest: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &len), rest)
}

impl Head {
    pub(crate) fn parse(bytes: &[u8; HEAD_LEN]) -> Self {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        Self { len: word(0), crc: word(4), seq: long(8), synced_through: long(16) }
    }

    /// Bytes of the whole record.
    pub(crate) const fn record_len(&self) -> usize {
        self.len as usize + EXTRA_LEN
    }

    /// Whether a record of this head could stand where `room` bytes are left.
    pub(crate) const fn fits(&self, room: u64) -> bool {
        self.len != 0 && (self.len as usize + EXTRA_LEN).is_multiple_of(ALIGN) && self.record_len() as u64 <= room
    }

    /// Whether the record's bytes (head and all) are what was written. `seed` is the CRC of what stands before it in
    /// the segment for the first record, so that it vouches for the prefix too, and 0 for all others.
    pub(crate) fn checks(&self, seed: u32, record: &[u8]) -> bool {
        record.len() == self.record_len() && crc_of(seed, self.len.to_le_bytes(), &record[8..]) == self.crc
    }
}

/// An empty record: room for the head, to be filled by [`finish`].
pub(crate) fn start(capacity: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(capacity + EXTRA_LEN);
    frame.resize(HEAD_LEN, 0);
    frame
}

/// Zeros up to the next length at which a record may end, tag included.
pub(crate) fn pad(frame: &mut Vec<u8>) {
    frame.resize((frame.len() + TAG_LEN).next_multiple_of(ALIGN) - TAG_LEN, 0);
}

/// Fills the head of a record whose ciphertext is in place, and appends the tag. For `seed` see [`Head::checks`].
pub(crate) fn finish(frame: &mut Vec<u8>, seed: u32, seq: u64, synced_through: u64, tag: &[u8; TAG_LEN]) {
    let len = u32::try_from(frame.len() - HEAD_LEN).expect("records are limited to less than 4 GiB").to_le_bytes();
    frame[0..4].copy_from_slice(&len);
    frame[8..16].copy_from_slice(&seq.to_le_bytes());
    frame[16..24].copy_from_slice(&synced_through.to_le_bytes());
    frame.extend_from_slice(tag);
    let crc = crc_of(seed, len, &frame[8..]);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_checks_until_any_byte_changes() {
        let mut frame = start(16);
        frame.extend_from_slice(b"sixteen bytes...");
        pad(&mut frame);
        finish(&mut frame, 3, 7, 5, &[9; TAG_LEN]);
        assert_eq!(frame.len() % ALIGN, 0);
        let head = Head::parse(frame[..HEAD_LEN].try_into().unwrap());
        assert_eq!((head.seq, head.synced_through, head.record_len()), (7, 5, frame.len()));
        assert!(head.checks(3, &frame) && head.fits(frame.len() as u64) && !head.fits(frame.len() as u64 - 1));
        for at in 0..frame.len() {
            let mut other = frame.clone();
            other[at] ^= 1;
            let head = Head::parse(other[..HEAD_LEN].try_into().unwrap());
            assert!(!head.checks(3, &other), "byte {at}");
        }
    }
}
