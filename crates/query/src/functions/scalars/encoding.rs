//! Hashes, base64, URLs and small formats inside strings.

use arrow::array::ArrayRef;
use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use datafusion::common::Result;
use rand::RngCore as _;

use super::args::{Call, Values};
use super::json;

/// Takes text with and without padding.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

pub(super) fn base64_encode(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.texts(|row, out| STANDARD.encode_string(texts.get(row), out)))
}

/// Bad base64 and bytes that are no UTF-8 give `""`.
pub(super) fn base64_decode(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.texts(|row, out| {
        let text = LENIENT.decode(texts.get(row).trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        out.push_str(text.as_deref().unwrap_or(""));
    }))
}

/// The bytes of a value that hashes are taken of: text as UTF-8, numbers and times little-endian.
pub(in crate::functions) fn bytes_of(values: &Values, row: usize, out: &mut Vec<u8>, scratch: &mut String) {
    out.clear();
    match values {
        Values::Long(v) => out.extend(v.get(row).unwrap_or(0).to_le_bytes()),
        Values::Int(v) => out.extend(v.get(row).unwrap_or(0).to_le_bytes()),
        Values::Real(v) => out.extend(v.get(row).unwrap_or(0.0).to_le_bytes()),
        Values::DateTime(v) => out.extend(v.get(row).map_or(0, super::text_of::ticks_of_ns).to_le_bytes()),
        Values::TimeSpan(v) => out.extend((v.get(row).unwrap_or(0) / 100).to_le_bytes()),
        other => {
            scratch.clear();
            other.write_text(row, scratch);
            out.extend(scratch.as_bytes());
        }
    }
}

/// `hash(value[, modulus])`: xxHash64.
pub(super) fn hash(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values(0)?;
    let moduli = if call.has(1) { Some(call.long(1)?) } else { None };
    let (mut bytes, mut scratch) = (Vec::new(), String::new());
    Ok(call.longs(|row| {
        bytes_of(&values, row, &mut bytes, &mut scratch);
        let hash = xxhash_rust::xxh64::xxh64(&bytes, 0).cast_signed();
        match moduli.as_ref().map(|m| m.get(row)) {
            None => Some(hash),
            Some(Some(modulus)) if modulus > 0 => Some(hash.rem_euclid(modulus)),
            Some(_) => None,
        }
    }))
}

fn digest<D: md5::Digest>(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values(0)?;
    let mut scratch = String::new();
    Ok(call.texts(|row, out| {
        scratch.clear();
        values.write_text(row, &mut scratch);
        out.push_str(&hex::encode(D::digest(scratch.as_bytes())));
    }))
}

pub(super) fn hash_md5(call: &Call<'_>) -> Result<ArrayRef> {
    digest::<md5::Md5>(call)
}

pub(super) fn hash_sha1(call: &Call<'_>) -> Result<ArrayRef> {
    digest::<sha1::Sha1>(call)
}

pub(super) fn hash_sha256(call: &Call<'_>) -> Result<ArrayRef> {
    digest::<sha2::Sha256>(call)
}

/// A random guid a row.
#[expect(clippy::unnecessary_wraps, reason = "kernels have one shape")]
pub(super) fn new_guid(call: &Call<'_>) -> Result<ArrayRef> {
    let mut rng = rand::rng();
    Ok(call.dynamics(|_, out| {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = hex::encode(bytes);
        out.push_str(&[&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"));
        true
    }))
}

fn percent(call: &Call<'_>, plain: fn(u8) -> bool, blank: &str, hex: fn([u8; 1]) -> String) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.texts(|row, out| {
        for byte in texts.get(row).bytes() {
            if byte == b' ' {
                out.push_str(blank);
            } else if byte.is_ascii_alphanumeric() || plain(byte) {
                out.push(byte as char);
            } else {
                out.push('%');
                out.push_str(&hex([byte]));
            }
        }
    }))
}

/// A blank becomes `+`.
pub(super) fn url_encode(call: &Call<'_>) -> Result<ArrayRef> {
    percent(call, |byte| matches!(byte, b'-' | b'_' | b'.' | b'!' | b'*' | b'(' | b')'), "+", hex::encode)
}

pub(super) fn url_encode_component(call: &Call<'_>) -> Result<ArrayRef> {
    percent(call, |byte| matches!(byte, b'-' | b'_' | b'.' | b'~'), "%20", hex::encode_upper)
}

fn unpercent(text: &str, plus: bool) -> String {
    let text = if plus { text.replace('+', " ") } else { text.to_owned() };
    percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

pub(super) fn url_decode(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.texts(|row, out| out.push_str(&unpercent(texts.get(row), true))))
}

fn write_bag<'a>(out: &mut String, entries: impl Iterator<Item = (&'a str, &'a str)>) {
    out.push('{');
    for (index, (key, value)) in entries.enumerate() {
        if index > 0 {
            out.push(',');
        }
        json::write_string(key, out);
        out.push(':');
        json::write_string(value, out);
    }
    out.push('}');
}

/// The pairs of `a=1&b=2`.
fn write_query(query: &str, out: &mut String) {
    let pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (unpercent(key, true), unpercent(value, true)))
        .collect();
    write_bag(out, pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())));
}

/// `parse_url(url)`: Scheme, Host, Port, Path, Username, Password, Query Parameters, Fragment.
pub(super) fn parse_url(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.dynamics(|row, out| {
        let url = texts.get(row);
        let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (scheme, rest) = rest.split_once("://").unwrap_or(("", rest));
        let (authority, path) = match rest.find('/') {
            Some(at) if !scheme.is_empty() => rest.split_at(at),
            _ if scheme.is_empty() => ("", rest),
            _ => (rest, ""),
        };
        let (user, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (name, password) = user.split_once(':').unwrap_or((user, ""));
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(':') => (host, port),
            _ => (place, ""),
        };
        let parts = [("Scheme", scheme), ("Host", host), ("Port", port), ("Path", path), ("Username", name), ("Password", password)];
        write_bag(out, parts.into_iter());
        out.pop();
        out.push_str(",\"Query Parameters\":");
        write_query(query, out);
        out.push_str(",\"Fragment\":");
        json::write_string(fragment, out);
        out.push('}');
        true
    }))
}

/// `parse_urlquery(query)`: a bag with `Query Parameters`.
pub(super) fn parse_urlquery(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.dynamics(|row, out| {
        out.push_str("{\"Query Parameters\":");
        write_query(texts.get(row).trim_start_matches('?'), out);
        out.push('}');
        true
    }))
}

/// `parse_path(path)`: Scheme, RootPath, DirectoryPath, DirectoryName, Filename, Extension, AlternateDataStreamName.
pub(super) fn parse_path(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.dynamics(|row, out| {
        let whole = texts.get(row);
        let (scheme, path) = whole.split_once("://").unwrap_or(("", whole));
        let drive = path.as_bytes().get(1) == Some(&b':') && path.as_bytes()[0].is_ascii_alphabetic();
        let root = if drive { &path[..2] } else { "" };
        let cut = path.rfind(['/', '\\']);
        let (directory, file) = cut.map_or(("", path), |at| (&path[..at], &path[at + 1..]));
        let (file, stream) = if drive && cut.is_none() { (file, "") } else { file.split_once(':').unwrap_or((file, "")) };
        let name = directory.rsplit(['/', '\\']).next().unwrap_or("");
        let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
        let parts = [
            ("Scheme", scheme),
            ("RootPath", root),
            ("DirectoryPath", directory),
            ("DirectoryName", name),
            ("Filename", file),
            ("Extension", extension),
            ("AlternateDataStreamName", stream),
        ];
        write_bag(out, parts.into_iter());
        true
    }))
}

/// `parse_csv(text)`: the fields of the first record.
pub(super) fn parse_csv(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    let mut field = String::new();
    Ok(call.dynamics(|row, out| {
        let mut chars = texts.get(row).chars().peekable();
        let mut quoted = false;
        field.clear();
        out.push('[');
        loop {
            match chars.next() {
                Some('"') if quoted && chars.peek() == Some(&'"') => {
                    chars.next();
                    field.push('"');
                }
                Some('"') if quoted || field.is_empty() => quoted = !quoted,
                Some(',') if !quoted => {
                    json::write_string(&field, out);
                    out.push(',');
                    field.clear();
                }
                None => break,
                Some('\n') if !quoted => break,
                Some('\r') if !quoted && chars.peek() == Some(&'\n') => break,
                Some(c) => field.push(c),
            }
        }
        json::write_string(&field, out);
        out.push(']');
        true
    }))
}
