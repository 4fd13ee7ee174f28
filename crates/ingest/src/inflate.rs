//! Bodies unpacked within bounds: a bomb costs at most one step more than its limit.
//!
//! Room is taken from the shared budget step by step as bytes come out, so neither a header's claim nor a small body
//! that grows can take memory that is not there.

use std::borrow::Cow;
use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;

use crate::{Encoding, IngestError, RequestLimits, Share};

/// Inflated bytes taken from the budget at a time.
const STEP: usize = 256 * 1024;

/// Unpacks `wire`; bytes that need no unpacking are lent back.
///
/// # Errors
/// [`IngestError::BodyTooLarge`], [`IngestError::RatioTooLarge`], [`IngestError::BadEncoding`] for a stream that is
/// damaged or cut short, [`IngestError::Overloaded`] if the budget has no room for what comes out.
pub fn inflate<'a>(wire: &'a [u8], encoding: Encoding, limits: &RequestLimits, share: &mut Share) -> Result<Cow<'a, [u8]>, IngestError> {
    if wire.len() as u64 > limits.wire_bytes_max {
        return Err(IngestError::BodyTooLarge { limit: limits.wire_bytes_max, when: "on the wire" });
    }
    match encoding {
        Encoding::Identity => {
            if wire.len() as u64 > limits.inflated_bytes_max {
                return Err(IngestError::BodyTooLarge { limit: limits.inflated_bytes_max, when: "in all" });
            }
            share.grow(wire.len() as u64)?;
            Ok(Cow::Borrowed(wire))
        }
        Encoding::Gzip => drain(MultiGzDecoder::new(wire), "gzip", wire.len(), limits, share).map(Cow::Owned),
        Encoding::Zstd => {
            let bad = |error: &io::Error| IngestError::BadEncoding { encoding: "zstd", what: describe(error) };
            if wire.is_empty() {
                return Err(IngestError::BadEncoding { encoding: "zstd", what: "it is empty" });
            }
            let mut reader = zstd::stream::read::Decoder::with_buffer(wire).map_err(|error| bad(&error))?;
            reader.window_log_max(limits.zstd_window_log_max).map_err(|error| bad(&error))?;
            drain(reader, "zstd", wire.len(), limits, share).map(Cow::Owned)
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
