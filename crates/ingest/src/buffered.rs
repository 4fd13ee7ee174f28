//! A request as received, in the bytes that the sealed buffer keeps: `docs/formats/sealed-buffer.md`.
//!
//! Nothing of it is typed. What the decoder has to know is beside the inflated body: where it goes, when it came, how it is read,
//! and by what its batch id is known.

use strongroom_model::{ObjectId, TableId, WorkspaceId};

use crate::dedup::BatchKey;
use crate::stream::Through;
use crate::{Format, IngestError, OnError};

const VERSION: u8 = 1;
const HAS_BATCH: u8 = 1;
const HAS_TIME_FIELD: u8 = 2;
const HAS_RULE: u8 = 4;

/// A request that waits for its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Buffered {
    pub(crate) workspace: WorkspaceId,
    pub(crate) table: TableId,
    /// Nanoseconds since 1970.
    pub(crate) arrival: i64,
    pub(crate) format: Format,
    pub(crate) on_error: OnError,
    pub(crate) time_field: Option<String>,
    pub(crate) batch: Option<BatchKey>,
    /// The rule that shapes its rows, once there is a key to read it with.
    pub(crate) through: Option<Through>,
    /// Inflated.
    pub(crate) body: Vec<u8>,
}

/// As [`Buffered`], of a body that is not taken over.
pub(crate) fn to_bytes(request: &Buffered, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 256);
    let format = match request.format {
        Format::Json => 0,
        Format::Lines => 1,
        Format::Suffixed => 2,
    };
    let on_error = match request.on_error {
        OnError::Refuse => 0,
        OnError::Skip => 1,
    };
    let flag = |there: bool, flag: u8| if there { flag } else { 0 };
    let flags = flag(request.batch.is_some(), HAS_BATCH)
        | flag(request.time_field.is_some(), HAS_TIME_FIELD)
        | flag(request.through.is_some(), HAS_RULE);
    out.extend_from_slice(&[VERSION, format, on_error, flags]);
    out.extend_from_slice(&request.arrival.to_le_bytes());
    out.extend_from_slice(request.workspace.as_bytes());
    out.extend_from_slice(request.table.as_bytes());
    if let Some(batch) = &request.batch {
        out.extend_from_slice(&batch.id_sha256);
        out.extend_from_slice(&batch.key_sha256);
    }
    if let Some(field) = &request.time_field {
        put_text(&mut out, field);
    }
    if let Some(through) = &request.through {
        out.extend_from_slice(through.rule.as_bytes());
        put_text(&mut out, &through.stream);
    }
    out.extend_from_slice(body);
    out
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&u32::try_from(text.len()).expect("a header is short").to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Reads it back.
///
/// # Errors
/// [`IngestError::Corrupt`] for what no build has written.
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Buffered, IngestError> {
    read(bytes).ok_or(IngestError::Corrupt { what: "a request of the sealed buffer" })
}

fn read(bytes: &[u8]) -> Option<Buffered> {
    let ([VERSION, format, on_error, flags], mut rest) = bytes.split_first_chunk::<4>()? else { return None };
    let format = match format {
        0 => Format::Json,
        1 => Format::Lines,
        2 => Format::Suffixed,
        _ => return None,
    };
    let on_error = match on_error {
        0 => OnError::Refuse,
        1 => OnError::Skip,
        _ => return None,
    };
    if flags & !(HAS_BATCH | HAS_TIME_FIELD | HAS_RULE) != 0 {
        return None;
    }
    let arrival = i64::from_le_bytes(take(&mut rest)?);
    let workspace = WorkspaceId::from_bytes(take(&mut rest)?);
    let table = TableId::from_bytes(take(&mut rest)?);
    let mut batch = None;
    if flags & HAS_BATCH != 0 {
        batch = Some(BatchKey { workspace, id_sha256: take(&mut rest)?, key_sha256: take(&mut rest)? });
    }
    let mut time_field = None;
    if flags & HAS_TIME_FIELD != 0 {
        time_field = Some(text(&mut rest)?);
    }
    let mut through = None;
    if flags & HAS_RULE != 0 {
        through = Some(Through { rule: ObjectId::from_bytes(take(&mut rest)?), stream: text(&mut rest)? });
    }
    Some(Buffered { workspace, table, arrival, format, on_error, time_field, batch, through, body: rest.to_vec() })
}

fn text(rest: &mut &[u8]) -> Option<String> {
    let len = usize::try_from(u32::from_le_bytes(take(rest)?)).ok()?;
    let (text, more) = rest.split_at_checked(len)?;
    *rest = more;
    Some(std::str::from_utf8(text).ok()?.to_owned())
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (found, more) = rest.split_first_chunk()?;
    *rest = more;
    Some(*found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_else_breaks_the_reader(
            body in proptest::collection::vec(any::<u8>(), 0..200), field in proptest::option::of("[a-zA-Z ä]{0,20}"),
            stream in proptest::option::of("[a-zA-Z-]{0,20}"), batch: bool, form in 0_usize..3, skip: bool, arrival: i64, cut in 0_usize..300,
        ) {
            let workspace = WorkspaceId::from_bytes([3; 16]);
            let request = Buffered {
                workspace,
                table: TableId::from_bytes([4; 16]),
                arrival,
                format: [Format::Json, Format::Lines, Format::Suffixed][form],
                on_error: if skip { OnError::Skip } else { OnError::Refuse },
                time_field: field,
                batch: batch.then_some(BatchKey { workspace, id_sha256: [5; 32], key_sha256: [6; 32] }),
                through: stream.map(|stream| Through { rule: ObjectId::from_bytes([7; 16]), stream }),
                body,
            };
            let bytes = to_bytes(&request, &request.body);
            prop_assert_eq!(from_bytes(&bytes).unwrap(), request);
            drop(from_bytes(&bytes[..cut.min(bytes.len())]));
            drop(from_bytes(&bytes[cut.min(bytes.len())..]));
        }
    }
}
