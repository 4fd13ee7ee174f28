//! The plaintext of a record: our own short framing around one Arrow IPC message.
//!
//! A schema is written once per segment, table and schema, at the end of the first record that needs it, and named
//! by a number afterwards: the writer decides that late, when a record's segment is known, and only has to append.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow_ipc::MetadataVersion;
use arrow_ipc::convert::try_schema_from_flatbuffer_bytes;
use arrow_ipc::reader::read_record_batch;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef};
use strongroom_envelope::TAG_LEN;
use strongroom_model::{TableId, WorkspaceId};

use super::frame;
use crate::{BatchMark, Record};

const VERSION: u8 = 1;
const KIND_ROWS: u8 = 1;
const KIND_OPEN: u8 = 2;
const KIND_SEAL: u8 = 3;
/// Bytes before a rows record's mark.
const ROWS_LEN: usize = 80;
/// Where in a rows record its schema's number and length stand: the writer fills them in.
const AT_SCHEMA_REF: usize = 4;
const AT_SCHEMA_LEN: usize = 72;

/// What a record says.
#[derive(Debug)]
pub(crate) enum Payload {
    Rows(Box<Rows>),
    /// First in a segment: rows of this epoch in earlier segments count up to `cut` and no further.
    Open {
        cut: u64,
    },
    /// Last in a segment that was closed in order.
    Seal {
        count: u64,
        chain: [u8; TAG_LEN],
    },
}

/// A rows record, its batch not yet decoded.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) workspace: WorkspaceId,
    pub(crate) table: TableId,
    pub(crate) arrival: i64,
    pub(crate) count: u32,
    pub(crate) mark: Option<BatchMark>,
    pub(crate) schema_ref: u32,
    /// The schema message, in the record that first uses it.
    pub(crate) schema: Option<Buffer>,
    message: Buffer,
    body: Buffer,
}

/// A record's plaintext that is not what this build writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// A schema as its IPC message.
#[derive(Clone, Debug)]
pub(crate) struct SchemaMessage(pub(crate) Arc<[u8]>);

impl SchemaMessage {
    pub(crate) fn of(schema: &Schema) -> Result<Self, ArrowError> {
        if schema.fields().iter().any(|field| has_dictionary(field.data_type())) {
            return Err(ArrowError::NotYetImplemented("dictionary columns in the log".to_owned()));
        }
        let encoded =
            IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(schema, &mut DictionaryTracker::new(true), &options()?);
        Ok(Self(encoded.ipc_message.into()))
    }
}

fn has_dictionary(kind: &DataType) -> bool {
    match kind {
        DataType::Dictionary(..) => true,
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) | DataType::Map(field, _) => {
            has_dictionary(field.data_type())
        }
        DataType::Struct(fields) => fields.iter().any(|field| has_dictionary(field.data_type())),
        _ => false,
    }
}

/// Buffers at multiples of eight: small posts would be mostly padding at the default of 64.
fn options() -> Result<IpcWriteOptions, ArrowError> {
    IpcWriteOptions::try_new(8, false, MetadataVersion::V5)
}

fn align(frame: &mut Vec<u8>) {
    frame.resize(frame.len().next_multiple_of(8), 0);
}

fn len32(len: usize, what: &str) -> Result<[u8; 4], ArrowError> {
    u32::try_from(len).map(u32::to_le_bytes).map_err(|_| ArrowError::InvalidArgumentError(format!("{what} of {len} bytes")))
}

/// A record's frame with its plaintext in place but for the schema; room is left for `schema` and the tag.
pub(crate) fn encode_rows(record: &Record, schema: &SchemaMessage) -> Result<Vec<u8>, ArrowError> {
    let (dictionaries, encoded) = IpcDataGenerator::default().encode(
        &record.batch,
        &mut DictionaryTracker::new(true),
        &options()?,
        &mut IpcWriteContext::default(),
    )?;
    if !dictionaries.is_empty() {
        return Err(ArrowError::NotYetImplemented("dictionary columns in the log".to_owned()));
    }
    let reply_len = record.mark.as_ref().map_or(0, |mark| mark.reply.len());
    let mut frame = frame::start(ROWS_LEN + 64 + reply_len + encoded.ipc_message.len() + encoded.arrow_data.len() + schema.0.len() + 48);
    frame.extend_from_slice(&[KIND_ROWS, VERSION, 0, 0]);
    frame.extend_from_slice(&[0; 4]); // schema_ref
    frame.extend_from_slice(record.workspace.as_bytes());
    frame.extend_from_slice(record.table.as_bytes());
    frame.extend_from_slice(&record.arrival.to_le_bytes());
    frame.extend_from_slice(&record.retention_days.to_le_bytes());
    frame.extend_from_slice(&len32(record.batch.num_rows(), "a batch")?);
    frame.extend_from_slice(&len32(if record.mark.is_some() { 64 + reply_len } else { 0 }, "a batch mark")?);
    frame.extend_from_slice(&len32(encoded.ipc_message.len(), "a message")?);
    frame.extend_from_slice(&len32(encoded.arrow_data.len(), "a body")?);
    frame.extend_from_slice(&[0; 12]); // reserved, schema length, reserved
    if let Some(mark) = &record.mark {
        frame.extend_from_slice(&mark.id_sha256);
        frame.extend_from_slice(&mark.key_sha256);
        frame.extend_from_slice(&mark.reply);
    }
    align(&mut frame);
    frame.extend_from_slice(&encoded.ipc_message);
    align(&mut frame);
    frame.extend_from_slice(&encoded.arrow_data);
    align(&mut frame);
    frame::pad(&mut frame);
    Ok(frame)
}

/// Says which schema a record's rows have, and what it is if the segment does not hold it yet.
pub(crate) fn set_schema(frame: &mut Vec<u8>, number: u32, schema: Option<&SchemaMessage>) {
    let at = frame::HEAD_LEN;
    frame[at + AT_SCHEMA_REF..at + AT_SCHEMA_REF + 4].copy_from_slice(&number.to_le_bytes());
    if let Some(SchemaMessage(message)) = schema {
        let len = u32::try_from(message.len()).expect("a schema message is far below 4 GiB");
        frame[at + AT_SCHEMA_LEN..at + AT_SCHEMA_LEN + 4].copy_from_slice(&len.to_le_bytes());
        frame.extend_from_slice(message);
        align(frame);
        frame::pad(frame);
    }
}

pub(crate) fn encode_open(cut: u64) -> Vec<u8> {
    let mut frame = frame::start(16);
    frame.extend_from_slice(&[KIND_OPEN, VERSION, 0, 0, 0, 0, 0, 0]);
    frame.extend_from_slice(&cut.to_le_bytes());
    frame::pad(&mut frame);
    frame
}

pub(crate) fn encode_seal(count: u64, chain: &[u8; TAG_LEN]) -> Vec<u8> {
    let mut frame = frame::start(32);
    frame.extend_from_slice(&[KIND_SEAL, VERSION, 0, 0, 0, 0, 0, 0]);
    frame.extend_from_slice(&count.to_le_bytes());
    frame.extend_from_slice(chain);
    frame::pad(&mut frame);
    frame
}

/// Walks over a plaintext without ever reading past its end.
struct Cursor<'a> {
    whole: &'a Buffer,
    at: usize,
}

impl Cursor<'_> {
    fn take(&mut self, len: usize) -> Result<Buffer, Malformed> {
        if len > self.whole.len() - self.at {
            return Err(Malformed("a length points past the record's end"));
        }
        let part = self.whole.slice_with_length(self.at, len);
        self.at = (self.at + len).next_multiple_of(8).min(self.whole.len());
        Ok(part)
    }
}

fn fixed<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the caller checked the length")
}

fn size(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(fixed(bytes, at)) as usize
}

/// Reads a record's plaintext.
pub(crate) fn decode(plain: Vec<u8>) -> Result<Payload, Malformed> {
    let short = Malformed("the record is too short");
    if plain.len() < 16 {
        return Err(short);
    }
    if plain[1] != VERSION {
        return Err(Malformed("a newer build wrote the record"));
    }
    match plain[0] {
        KIND_OPEN => Ok(Payload::Open { cut: u64::from_le_bytes(fixed(&plain, 8)) }),
        KIND_SEAL if plain.len() >= 32 => Ok(Payload::Seal { count: u64::from_le_bytes(fixed(&plain, 8)), chain: fixed(&plain, 16) }),
        KIND_ROWS if plain.len() >= ROWS_LEN => decode_rows(plain),
        KIND_ROWS | KIND_SEAL => Err(short),
        _ => Err(Malformed("the record is of an unknown kind")),
    }
}

fn decode_rows(plain: Vec<u8>) -> Result<Payload, Malformed> {
    let whole = Buffer::from_vec(plain);
    let head = whole.as_slice();
    let (mark_len, message_len, body_len, schema_len) = (size(head, 56), size(head, 60), size(head, 64), size(head, AT_SCHEMA_LEN));
    let (workspace, table) = (WorkspaceId::from_bytes(fixed(head, 8)), TableId::from_bytes(fixed(head, 24)));
    let arrival = i64::from_le_bytes(fixed(head, 40));
    let (count, schema_ref) = (u32::from_le_bytes(fixed(head, 52)), u32::from_le_bytes(fixed(head, AT_SCHEMA_REF)));
    let mut cursor = Cursor { whole: &whole, at: ROWS_LEN };
    let mark = match mark_len {
        0 => None,
        1..64 => return Err(Malformed("the batch mark is too short")),
        _ => {
            let bytes = cursor.take(mark_len)?;
            Some(BatchMark { id_sha256: fixed(&bytes, 0), key_sha256: fixed(&bytes, 32), reply: bytes[64..].to_vec() })
        }
    };
    let message = cursor.take(message_len)?;
    let body = cursor.take(body_len)?;
    let schema = if schema_len == 0 { None } else { Some(cursor.take(schema_len)?) };
    Ok(Payload::Rows(Box::new(Rows { workspace, table, arrival, count, mark, schema_ref, schema, message, body })))
}

/// The schema that a message spells.
pub(crate) fn decode_schema(message: &[u8]) -> Result<SchemaRef, ArrowError> {
    try_schema_from_flatbuffer_bytes(message).map(Arc::new)
}

impl Rows {
    /// The batch; it borrows from the record's plaintext.
    pub(crate) fn batch(&self, schema: SchemaRef) -> Result<RecordBatch, ArrowError> {
        let message =
            arrow_ipc::root_as_message(&self.message).map_err(|_| ArrowError::IpcError("the record holds no message".to_owned()))?;
        let head =
            message.header_as_record_batch().ok_or_else(|| ArrowError::IpcError("the record's message is not a batch".to_owned()))?;
        let batch = read_record_batch(&self.body, head, schema, &HashMap::new(), None, &message.version())?;
        if batch.num_rows() != self.count as usize {
            return Err(ArrowError::IpcError("the record has other rows than it says".to_owned()));
        }
        Ok(batch)
    }
}
