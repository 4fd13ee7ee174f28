//! Bytes and characters in other clothes: base64 of bytes and guids, gzip and zlib, code points, Punycode.
//!
//! What comes out of gzip and zlib can be a thousand times what went in: a text stops at [`UNPACKED_MAX`], and a batch of them at
//! what a call may give (see [`Call::texts`]).

use std::io::{Read, Write as _};

use arrow::array::ArrayRef;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use datafusion::common::Result;
use flate2::Compression;
use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::ZlibEncoder;
use flate2::{GzBuilder, GzHeader};
use strongroom_model::ColumnType as C;

use super::args::{Call, Values};
use super::json;
use super::spec::{ScalarSpec, Want as W};
use super::table::f;

const TEXT: &[W] = &[W::String];

pub(super) static SPECS: &[ScalarSpec] = &[
    f("base64_encode_fromarray", &[W::Dynamic], C::String, base64_encode_fromarray),
    f("base64_encode_fromguid", &[W::Any], C::String, base64_encode_fromguid),
    f("base64_decode_toarray", TEXT, C::Dynamic, base64_decode_toarray),
    f("base64_decode_toguid", TEXT, C::Guid, base64_decode_toguid),
    f("gzip_compress_to_base64_string", TEXT, C::String, gzip),
    f("gzip_decompress_from_base64_string", TEXT, C::String, gunzip),
    f("zlib_compress_to_base64_string", TEXT, C::String, zlib),
    f("zlib_decompress_from_base64_string", TEXT, C::String, unzlib),
    f("unicode_codepoints_from_string", TEXT, C::Dynamic, unicode_codepoints_from_string),
    f("unicode_codepoints_to_string", &[W::Any], C::String, unicode_codepoints_to_string).more(W::Any).also(&["make_string"]),
    f("punycode_from_string", TEXT, C::String, punycode_from_string),
    f("punycode_to_string", TEXT, C::String, punycode_to_string),
    f("punycode_domain_from_string", TEXT, C::String, punycode_domain_from_string),
    f("punycode_domain_to_string", TEXT, C::String, punycode_domain_to_string),
];

/// Longest text that comes out of gzip or zlib; a longer one counts as damaged.
const UNPACKED_MAX: u64 = 16 << 20;
/// Texts shorter than this are stored, not compressed.
const STORED_BELOW: usize = 64;

/// `[75,117]` as bytes; none if it is no array of bytes.
fn bytes_of(raw: &str) -> Option<Vec<u8>> {
    json::items(raw)?.map(|item| item.parse().ok()).collect()
}

fn base64_encode_fromarray(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = call.text(0)?;
    Ok(call.texts(|row, out| {
        if let Some(bytes) = arrays.json(row).and_then(bytes_of) {
            STANDARD.encode_string(bytes, out);
        }
    }))
}

/// Null if it is no base64 with its padding.
fn base64_decode_toarray(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.dynamics(|row, out| {
        let Ok(bytes) = STANDARD.decode(texts.get(row).trim()) else { return false };
        out.push('[');
        out.push_str(&bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(","));
        out.push(']');
        true
    }))
}

/// A guid's bytes as Windows lays them out: the first three groups little-endian. The same way back.
fn swapped(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes
}

fn base64_encode_fromguid(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values(0)?;
    Ok(call.texts(|row, out| {
        let Values::Guid(guids) = &values else { return };
        let mut bytes = [0; 16];
        if let Some(guid) = guids.value(row)
            && hex::decode_to_slice(guid.replace('-', ""), &mut bytes).is_ok()
        {
            STANDARD.encode_string(swapped(bytes), out);
        }
    }))
}

fn base64_decode_toguid(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.dynamics(|row, out| {
        let bytes = STANDARD.decode(texts.get(row).trim()).ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        let Some(bytes) = bytes else { return false };
        let digits = hex::encode(swapped(bytes));
        out.push_str(&[&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-"));
        true
    }))
}

fn level(text: &str) -> Compression {
    if text.len() < STORED_BELOW { Compression::none() } else { Compression::default() }
}

fn gzip(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.texts(|row, out| {
        let text = texts.get(row);
        // No time and no system: equal texts have equal results.
        let mut encoder = GzBuilder::new().operating_system(255).write(Vec::new(), level(text));
        if let Ok(bytes) = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()) {
            STANDARD.encode_string(bytes, out);
        }
    }))
}

fn zlib(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.texts(|row, out| {
        let text = texts.get(row);
        let mut encoder = ZlibEncoder::new(Vec::new(), level(text));
        if let Ok(bytes) = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()) {
            STANDARD.encode_string(bytes, out);
        }
    }))
}

/// The text that a reader gives; none if it breaks off, is too long or is no text.
fn unpacked(reader: impl Read, out: &mut String) -> Option<()> {
    let before = out.len();
    let mut limited = reader.take(UNPACKED_MAX + 1);
    let read = limited.read_to_string(out).ok().and_then(|count| u64::try_from(count).ok()).filter(|count| *count <= UNPACKED_MAX);
    if read.is_none() {
        out.truncate(before);
    }
    read.map(|_| ())
}

fn gunzip(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.texts(|row, out| {
        let bytes = STANDARD.decode(texts.get(row).trim()).unwrap_or_default();
        let mut decoder = GzDecoder::new(bytes.as_slice());
        if decoder.header().map(GzHeader::operating_system).is_some() {
            let _ = unpacked(&mut decoder, out);
        }
    }))
}

fn unzlib(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.texts(|row, out| {
        let bytes = STANDARD.decode(texts.get(row).trim()).unwrap_or_default();
        let _ = unpacked(ZlibDecoder::new(bytes.as_slice()), out);
    }))
}

fn unicode_codepoints_from_string(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.dynamics(|row, out| {
        out.push('[');
        out.push_str(&texts.get(row).chars().map(|c| u32::from(c).to_string()).collect::<Vec<_>>().join(","));
        out.push(']');
        true
    }))
}

/// Numbers and arrays of numbers, one after the other; what is no code point gives nothing.
fn unicode_codepoints_to_string(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values_from(0)?;
    let mut raw = String::new();
    let character = |raw: &str| raw.parse().ok().and_then(char::from_u32);
    Ok(call.texts(|row, out| {
        for values in &values {
            raw.clear();
            values.write_json(row, &mut raw);
            match json::items(&raw) {
                Some(items) => out.extend(items.filter_map(character)),
                None => out.extend(character(&raw)),
            }
        }
    }))
}

fn punycode_from_string(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.texts(|row, out| out.push_str(&idna::punycode::encode_str(texts.get(row)).unwrap_or_default())))
}

fn punycode_to_string(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.texts(|row, out| out.push_str(&idna::punycode::decode_to_string(texts.get(row)).unwrap_or_default())))
}

/// The labels of a domain: other scripts have full stops of their own.
fn labels(domain: &str) -> impl Iterator<Item = &str> {
    domain.split(['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'])
}

/// Each label for itself; those of ASCII letters alone stay as they are.
fn punycode_domain_from_string(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.texts(|row, out| {
        for (at, label) in labels(texts.get(row)).enumerate() {
            if at > 0 {
                out.push('.');
            }
            match idna::punycode::encode_str(label) {
                Some(encoded) if !label.is_ascii() => {
                    out.push_str("xn--");
                    out.push_str(&encoded);
                }
                _ => out.push_str(label),
            }
        }
    }))
}

/// Labels that begin with `xn--` are decoded; `""` if one of them is damaged.
fn punycode_domain_to_string(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.texts(|row, out| {
        for (at, label) in labels(texts.get(row)).enumerate() {
            if at > 0 {
                out.push('.');
            }
            match label.strip_prefix("xn--").map(idna::punycode::decode_to_string) {
                Some(Some(decoded)) => out.push_str(&decoded),
                Some(None) => return out.clear(),
                None => out.push_str(label),
            }
        }
    }))
}
