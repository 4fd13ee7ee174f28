//! Records of the HTTP Data Collector API as records of ours: names end in what their values are.
//!
//! `_s` text, `_d` number, `_b` true or false, `_t` time, `_g` GUID. A value whose own column is not there yet, while the table has one
//! of that name and another ending, is turned into that if it can be. One record at a time: a post may have 30 MB.

use std::fmt;
use std::io::{self, Write};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use strongroom_ingest::IngestError;
use strongroom_ingest::decode::time::parse_iso8601;
use strongroom_ingest::stream::guid_of;
use strongroom_model::{TIME_COLUMN, TableSchema};

/// Bytes that room is asked for at a time.
const STEP: usize = 256 << 10;
/// Bytes of a text; what is longer is cut (Azure's limit).
const TEXT_MAX: usize = 32 << 10;
/// How old a record's own time may be (Azure's rule), in nanoseconds.
const OLD_MAX_NS: i64 = 2 * 86_400 * 1_000_000_000;
/// Levels a value may nest.
const ENDINGS: [&str; 5] = ["_d", "_b", "_t", "_g", "_s"];

/// How a post is to be read.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    /// The columns that the table has.
    pub(super) known: TableSchema,
    /// The field that holds a record's time.
    pub(super) time_field: Option<String>,
    /// What every record is about.
    pub(super) resource: Option<String>,
    /// When the post came, nanoseconds since 1970.
    pub(super) arrival: i64,
}

/// Why a post was not read.
#[derive(Debug)]
pub(super) enum NotRead {
    /// It is no such thing; nothing of it is quoted.
    Body(String),
    /// There is no room for what would come of it.
    Room(IngestError),
}

/// One JSON object a line of an array of objects, or of one object. `room` is told of bytes before they are written, and may refuse
/// them: what every record is about can be much more than the record.
///
/// # Errors
/// [`NotRead`].
pub(super) fn lines(body: &[u8], reading: &Reading, room: &mut Room<'_>) -> Result<Vec<u8>, NotRead> {
    let mut refused = None;
    let mut out = Lines { bytes: Vec::new(), taken: 0, room, refused: &mut refused };
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = Records { reading, out: &mut out }.deserialize(&mut json).and_then(|()| json.end());
    let bytes = out.bytes;
    match (refused, read) {
        (Some(error), _) => Err(NotRead::Room(error)),
        (None, Ok(())) => Ok(bytes),
        (None, Err(error)) => {
            Err(NotRead::Body(format!("the body is not a JSON array of objects: see line {} column {}", error.line(), error.column())))
        }
    }
}

/// Who says whether there is room for so many bytes more.
pub(super) type Room<'a> = dyn FnMut(usize) -> Result<(), IngestError> + 'a;

/// What was made so far.
struct Lines<'r, 'a> {
    bytes: Vec<u8>,
    /// Bytes there is room for.
    taken: usize,
    room: &'r mut Room<'a>,
    refused: &'r mut Option<IngestError>,
}

impl Write for Lines<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let needed = self.bytes.len() + bytes.len();
        if needed > self.taken {
            let more = (needed - self.taken).max(STEP);
            if let Err(error) = (self.room)(more) {
                *self.refused = Some(error);
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            self.taken += more;
            self.bytes.reserve_exact(self.taken - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Records<'r, 'o, 'a> {
    reading: &'r Reading,
    out: &'r mut Lines<'o, 'a>,
}

impl<'de> DeserializeSeed<'de> for Records<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Records<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        while let Some(record) = records.next_element::<Map<String, Value>>()? {
            self.reading.line(record, self.out).map_err(A::Error::custom)?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut record = Map::new();
        while let Some((name, value)) = members.next_entry()? {
            record.insert(name, value);
        }
        self.reading.line(record, self.out).map_err(A::Error::custom)
    }
}

impl Reading {
    fn line(&self, record: Map<String, Value>, out: &mut Lines<'_, '_>) -> Result<(), serde_json::Error> {
        let mut made = Map::new();
        if let Some(at) = self.time_of(&record) {
            made.insert(TIME_COLUMN.to_owned(), at);
        }
        if let Some(resource) = &self.resource {
            made.insert("_ResourceId".to_owned(), Value::String(resource.clone()));
        }
        for (name, value) in record {
            if let Some((ending, value)) = self.ended(&name, value) {
                made.insert(format!("{name}{ending}"), value);
            }
        }
        serde_json::to_writer(&mut *out, &made)?;
        out.write_all(b"\n").map_err(serde_json::Error::io)
    }

    /// The record's own time, if it is to count.
    fn time_of(&self, record: &Map<String, Value>) -> Option<Value> {
        let value = record.get(self.time_field.as_deref()?)?;
        let at = parse_iso8601(value.as_str()?)?;
        (at >= self.arrival.saturating_sub(OLD_MAX_NS)).then(|| value.clone())
    }

    /// A value's ending, and the value as it is stored; `None` for null.
    fn ended(&self, name: &str, value: Value) -> Option<(&'static str, Value)> {
        let (ending, value) = match value {
            Value::Null => return None,
            Value::Bool(_) => ("_b", value),
            Value::Number(_) => ("_d", value),
            Value::Array(_) | Value::Object(_) => ("_s", Value::String(cut(value.to_string()))),
            Value::String(text) => match (guid_of(&text).filter(|_| is_bare_guid(&text)), is_time(&text)) {
                (Some(guid), _) => ("_g", Value::String(guid)),
                (None, true) => ("_t", Value::String(text)),
                (None, false) => ("_s", Value::String(cut(text))),
            },
        };
        if self.has(name, ending) {
            return Some((ending, value));
        }
        let other = ENDINGS.iter().filter(|other| **other != ending && self.has(name, other));
        let turned = other.copied().find_map(|other| Some((other, turned(&value, other)?)));
        Some(turned.unwrap_or((ending, value)))
    }

    fn has(&self, name: &str, ending: &str) -> bool {
        self.known.columns.iter().any(|column| column.name.strip_suffix(ending) == Some(name))
    }
}

/// A value as one of another ending.
fn turned(value: &Value, ending: &str) -> Option<Value> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    match ending {
        "_s" => Some(Value::String(text)),
        "_d" => text.trim().parse().ok().and_then(serde_json::Number::from_f64).map(Value::Number),
        "_b" if text.eq_ignore_ascii_case("true") => Some(Value::Bool(true)),
        "_b" if text.eq_ignore_ascii_case("false") => Some(Value::Bool(false)),
        "_t" if parse_iso8601(&text).is_some() => Some(Value::String(text)),
        "_g" => guid_of(&text).map(Value::String),
        _ => None,
    }
}

/// A time in full, date and time of day: what Azure takes for one.
fn is_time(text: &str) -> bool {
    (19..=40).contains(&text.len()) && text.as_bytes()[4] == b'-' && text.as_bytes()[10] == b'T' && parse_iso8601(text).is_some()
}

/// As Azure tells GUIDs: digits with or without dashes, nothing around them.
fn is_bare_guid(text: &str) -> bool {
    matches!(text.len(), 32 | 36) && !text.bytes().all(|byte| byte.is_ascii_digit())
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_MAX {
        let mut end = TEXT_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use strongroom_model::{Column, ColumnType};

    use super::*;

    /// 2026-03-01T12:00:00Z.
    const NOW: i64 = 1_772_366_400_000_000_000;

    fn read(body: &Value, reading: &Reading) -> Vec<Value> {
        let text = String::from_utf8(lines(body.to_string().as_bytes(), reading, &mut |_| Ok(())).unwrap()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn names_end_in_what_their_values_are() {
        let body = json!([{
            "text": "a", "number": 1, "real": 1.5, "flag": true, "at": "2026-03-01T10:00:00Z", "nothing": null, "list": [1, {"a": 2}],
            "guid": "909ED01C-A74D-4874-8ABF-D2678E3AE23D", "bare": "909ed01ca74d48748abfd2678e3ae23d", "digits": "12345678901234567890123456789012",
            "day": "2026-03-01", "TimeGenerated": "2026-03-01T10:00:00Z",
        }]);
        let guid = "909ed01c-a74d-4874-8abf-d2678e3ae23d";
        let expected = json!({
            "text_s": "a", "number_d": 1, "real_d": 1.5, "flag_b": true, "at_t": "2026-03-01T10:00:00Z", "list_s": "[1,{\"a\":2}]",
            "guid_g": guid, "bare_g": guid, "digits_s": "12345678901234567890123456789012", "day_s": "2026-03-01",
            "TimeGenerated_t": "2026-03-01T10:00:00Z",
        });
        assert_eq!(read(&body, &Reading::default()), [expected]);
        assert_eq!(read(&json!({"one": 1}), &Reading::default()), [json!({"one_d": 1})], "one object is an array of one");
        assert!(read(&json!([]), &Reading::default()).is_empty());
    }

    #[test]
    fn a_value_is_turned_into_what_the_table_has_if_it_can_be() {
        let column = |name: &str, kind| Column { name: name.to_owned(), kind };
        let mut known = TableSchema::new();
        known.columns.extend([column("n_d", ColumnType::Real), column("b_b", ColumnType::Bool), column("s_s", ColumnType::String)]);
        known.columns.push(column("g_g", ColumnType::Guid));
        let reading = Reading { known, ..Reading::default() };
        let body = json!([
            {"n": "42", "b": "True", "s": 7, "g": "{909ED01C-A74D-4874-8ABF-D2678E3AE23D}"},
            {"n": "many", "b": 1, "s": [1], "g": "x"},
        ]);
        assert_eq!(
            read(&body, &reading),
            [
                json!({"n_d": 42.0, "b_b": true, "s_s": "7", "g_g": "909ed01c-a74d-4874-8abf-d2678e3ae23d"}),
                json!({"n_s": "many", "b_d": 1, "s_s": "[1]", "g_s": "x"}),
            ]
        );
    }

    #[test]
    fn a_records_own_time_counts_unless_it_is_old_or_none() {
        let reading = Reading { time_field: Some("at".to_owned()), arrival: NOW, resource: Some("/r".to_owned()), ..Reading::default() };
        let body = json!([{"at": "2026-03-01T10:00:00Z"}, {"at": "2026-02-26T10:00:00Z"}, {"at": "soon"}, {"at": 5}, {}]);
        let times: Vec<Value> = read(&body, &reading).iter().map(|line| line["TimeGenerated"].clone()).collect();
        assert_eq!(times, [json!("2026-03-01T10:00:00Z"), Value::Null, Value::Null, Value::Null, Value::Null]);
        assert_eq!(read(&body, &reading)[4], json!({"_ResourceId": "/r"}));
    }

    #[test]
    fn what_is_no_array_of_objects_is_refused_and_not_quoted() {
        for body in ["", "5", "[5]", "[{}", "[{}] []", "{\"secret\":}", "[{\"a\":1}, \"secret\"]"] {
            let NotRead::Body(told) = lines(body.as_bytes(), &Reading::default(), &mut |_| Ok(())).unwrap_err() else { panic!("{body}") };
            assert!(told.contains("line 1 column") && !told.contains("secret"), "{body}: {told}");
        }
        assert_eq!(cut("ä".repeat(TEXT_MAX)).len(), TEXT_MAX);
    }
    #[test]
    fn records_with_nothing_in_them_do_not_become_more_than_there_is_room_for() {
        let reading = Reading { resource: Some("r".repeat(2_000)), ..Reading::default() };
        let body = format!("[{}]", vec!["{}"; 100_000].join(","));
        let mut taken = 0;
        let mut room = |more| {
            taken += more;
            if taken > 4 << 20 { Err(IngestError::BodyTooLarge { limit: 4 << 20, when: "in all" }) } else { Ok(()) }
        };
        assert!(matches!(lines(body.as_bytes(), &reading, &mut room), Err(NotRead::Room(IngestError::BodyTooLarge { .. }))));
        let mut taken = 0;
        let made = lines(b"[{},{}]", &reading, &mut |more| {
            taken += more;
            Ok(())
        });
        assert!(made.unwrap().len() <= taken && taken <= STEP, "{taken}");
    }
}
