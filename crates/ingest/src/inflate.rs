//! Bodies unpacked within bounds: a bomb costs at most one step more than its limit.
//!
//! Room is taken from the shared budget step by step as bytes come out, so neither a header's claim nor a small body
//! that grows can take memory that is not there.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;

use crate::{Encoding, IngestError, RequestLimits, Share};

/// Inflated bytes taken from the budget at a time.
const STEP: usize = 256 * 1024;

/// Unpacks `wire`; bytes that need no unpacking are shared, not copied.
///
/// # Errors
/// [`IngestError::BodyTooLarge`], [`IngestError::RatioTooLarge`], [`IngestError::BadEncoding`] for a stream that is
/// damaged or cut short, [`IngestError::Overloaded`] if the budget has no room for what comes out.
pub fn inflate(wire: &Bytes, encoding: Encoding, limits: &RequestLimits, share: &mut Share) -> Result<Bytes, IngestError> {
    if wire.len() as u64 > limits.wire_bytes_max {
        return Err(IngestError::BodyTooLarge { limit: limits.wire_bytes_max, when: "on the wire" });
    }
    match encoding {
        // Perhaps taken from the budget already while it was read.
        Encoding::Identity => {
            if wire.len() as u64 > limits.inflated_bytes_max {
                return Err(IngestError::BodyTooLarge { limit: limits.inflated_bytes_max, when: "in all" });
            }
            share.cover(wire.len() as u64)?;
            Ok(wire.clone())
        }
        Encoding::Gzip => drain(MultiGzDecoder::new(&wire[..]), "gzip", wire.len(), limits, share).map(Bytes::from),
        Encoding::Zstd => {
            let bad = |error: &io::Error| IngestError::BadEncoding { encoding: "zstd", what: describe(error) };
            if wire.is_empty() {
                return Err(IngestError::BadEncoding { encoding: "zstd", what: "it is empty" });
            }
            let mut reader = zstd::stream::read::Decoder::with_buffer(&wire[..]).map_err(|error| bad(&error))?;
            reader.window_log_max(limits.zstd_window_log_max).map_err(|error| bad(&error))?;
            drain(reader, "zstd", wire.len(), limits, share).map(Bytes::from)
        }
    }
}

fn drain(
    mut from: impl Read,
    encoding: &'static str,
    wire: usize,
    limits: &RequestLimits,
    share: &mut Share,
) -> Result<Vec<u8>, IngestError> {
    let mut out: Vec<u8> = Vec::new();
    let mut filled = 0;
    loop {
        if filled == out.len() {
            share.grow(STEP as u64)?;
            if out.capacity() < filled + STEP {
                // Doubling, but never past the limit by more than a step.
                let most = usize::try_from(limits.inflated_bytes_max).unwrap_or(usize::MAX).saturating_add(STEP);
                out.reserve_exact(filled.min(most.saturating_sub(filled)).max(STEP));
            }
            out.resize(filled + STEP, 0);
        }
        let n = match from.read(&mut out[filled..]) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(IngestError::BadEncoding { encoding, what: describe(&error) }),
        };
        filled += n;
        let so_far = filled as u64;
        if so_far > limits.inflated_bytes_max {
            return Err(IngestError::BodyTooLarge { limit: limits.inflated_bytes_max, when: "once inflated" });
        }
        if so_far > limits.ratio_after_bytes && so_far > (wire as u64).saturating_mul(limits.ratio_max) {
            return Err(IngestError::RatioTooLarge { limit: limits.ratio_max });
        }
    }
    out.truncate(filled);
    Ok(out)
}

/// Sorts a decoder's complaint; its own text may hold bytes of the body.
fn describe(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it is cut short",
        _ => "it is damaged, or needs a larger window than allowed",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::Budget;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        out.write_all(bytes).unwrap();
        out.finish().unwrap().into()
    }

    fn outcome(wire: &Bytes, encoding: Encoding) -> Result<Bytes, &'static str> {
        let limits = RequestLimits { wire_bytes_max: 1 << 20, inflated_bytes_max: 4 << 20, ..RequestLimits::default() };
        let budget = Budget::new(16 << 20, 1);
        inflate(wire, encoding, &limits, &mut budget.enter().unwrap()).map_err(|error| error.code())
    }

    /// Text that compresses about tenfold.
    fn text(bytes: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for n in 0_u64.. {
            if out.len() >= bytes {
                break;
            }
            writeln!(out, "{{\"message\":\"a line of a log\",\"n\":{}}}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).unwrap();
        }
        out
    }

    #[test]
    fn what_was_packed_comes_out_again() {
        let plain = text(600_000);
        assert_eq!(outcome(&gzip(&plain), Encoding::Gzip).unwrap(), plain);
        assert_eq!(outcome(&zstd::encode_all(&plain[..], 3).unwrap().into(), Encoding::Zstd).unwrap(), plain);
        assert_eq!(outcome(&plain.clone().into(), Encoding::Identity).unwrap(), plain);
        let two: Bytes = [gzip(b"one\n"), gzip(b"two\n")].concat().into();
        assert_eq!(outcome(&two, Encoding::Gzip).unwrap(), "one\ntwo\n");
        let two: Bytes = [zstd::encode_all(&b"one\n"[..], 3).unwrap(), zstd::encode_all(&b"two\n"[..], 3).unwrap()].concat().into();
        assert_eq!(outcome(&two, Encoding::Zstd).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn a_bomb_is_refused_by_its_ratio_before_its_size() {
        let zeros = vec![b'0'; 16 << 20];
        assert_eq!(outcome(&gzip(&zeros), Encoding::Gzip), Err("CompressionRatioTooLarge"));
        assert_eq!(outcome(&zstd::encode_all(&zeros[..], 3).unwrap().into(), Encoding::Zstd), Err("CompressionRatioTooLarge"));
        assert!(outcome(&gzip(&zeros[..1 << 20]), Encoding::Gzip).is_ok());
    }

    #[test]
    fn a_body_that_is_too_large_is_refused_on_the_wire_or_once_inflated() {
        assert_eq!(outcome(&vec![0; (1 << 20) + 1].into(), Encoding::Identity), Err("BodyTooLarge"));
        assert_eq!(outcome(&gzip(&text(5 << 20)), Encoding::Gzip), Err("BodyTooLarge"));
    }

    #[test]
    fn a_stream_that_is_damaged_or_cut_short_is_refused() {
        let plain = text(100_000);
        for (encoding, packed) in [(Encoding::Gzip, gzip(&plain)), (Encoding::Zstd, zstd::encode_all(&plain[..], 3).unwrap().into())] {
            for cut in [0, 1, 5, packed.len() / 2, packed.len() - 1] {
                assert_eq!(outcome(&packed.slice(..cut), encoding), Err("InvalidContentEncoding"), "{encoding:?} {cut}");
            }
        }
        let mut damaged = gzip(&plain).to_vec();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0xff;
        assert_eq!(outcome(&damaged.into(), Encoding::Gzip), Err("InvalidContentEncoding"));
        assert_eq!(outcome(&Bytes::from_static(b"{}"), Encoding::Zstd), Err("InvalidContentEncoding"));
    }

    #[test]
    fn a_zstd_window_above_8_mib_is_refused() {
        let mut packer = zstd::Encoder::new(Vec::new(), 3).unwrap();
        packer.window_log(24).unwrap();
        packer.write_all(b"{}").unwrap();
        assert_eq!(outcome(&packer.finish().unwrap().into(), Encoding::Zstd), Err("InvalidContentEncoding"));
    }

    #[test]
    fn what_comes_out_is_taken_from_the_budget_as_it_comes() {
        let budget = Budget::new(300_000, 1);
        let mut share = budget.enter().unwrap();
        let refused = inflate(&gzip(&text(1_000_000)), Encoding::Gzip, &RequestLimits::default(), &mut share);
        assert!(matches!(refused, Err(IngestError::Overloaded { .. })));
        drop(share);
        assert_eq!(budget.bytes(), 0);
    }
}
