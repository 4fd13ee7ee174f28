//! IP addresses. Bad input gives null.

use std::fmt::Write as _;
use std::net::Ipv6Addr;

use arrow::array::ArrayRef;
use datafusion::common::Result;

use super::args::{Call, Values};
use super::json;

/// An address and how many leading bits of it count.
pub(super) fn ipv4(text: &str) -> Option<(u32, u32)> {
    let (address, bits) = match text.trim().split_once('/') {
        Some((address, bits)) => (address, bits.parse().ok().filter(|bits| *bits <= 32)?),
        None => (text.trim(), 32),
    };
    let mut value = 0_u32;
    let mut parts = 0;
    for part in address.split('.') {
        if part.is_empty() || part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        value = value << 8 | u32::from(part.parse::<u8>().ok()?);
        parts += 1;
        if parts > 4 {
            return None;
        }
    }
    (parts == 4).then_some((value, bits))
}

pub(super) fn mask(bits: u32) -> u32 {
    if bits == 0 { 0 } else { u32::MAX << (32 - bits) }
}

fn in_range(address: u32, (network, bits): (u32, u32)) -> bool {
    (address ^ network) & mask(bits) == 0
}

pub(super) fn ipv4_is_private(call: &Call<'_>) -> Result<ArrayRef> {
    const PRIVATE: [(u32, u32); 3] = [(0x0a00_0000, 8), (0xac10_0000, 12), (0xc0a8_0000, 16)];
    let texts = call.text(0)?;
    Ok(call.maybe_bools(|row| {
        let (address, bits) = ipv4(texts.get(row))?;
        Some(PRIVATE.iter().any(|range| in_range(address & mask(bits), *range)))
    }))
}

/// `ipv4_is_in_range(address, range)`
pub(super) fn ipv4_is_in_range(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, ranges) = (call.text(0)?, call.text(1)?);
    let constant = ranges.constant().map(ipv4);
    Ok(call.maybe_bools(|row| {
        let range = constant.unwrap_or_else(|| ipv4(ranges.get(row)))?;
        let (address, bits) = ipv4(texts.get(row))?;
        Some(in_range(address & mask(bits), range))
    }))
}

/// `ipv4_is_in_any_range(address, range, ..)`: ranges as strings or dynamic arrays of them.
pub(super) fn ipv4_is_in_any_range(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    let lists = call.values_from(1)?;
    Ok(call.maybe_bools(|row| {
        let (address, bits) = ipv4(texts.get(row))?;
        let hit = |range: &str| ipv4(range).is_some_and(|range| in_range(address & mask(bits), range));
        Some(lists.iter().any(|list| match list {
            Values::String(range) => hit(range.get(row)),
            Values::Dynamic(ranges) => {
                ranges.json(row).and_then(json::items).into_iter().flatten().any(|raw| json::string(raw).is_some_and(|range| hit(&range)))
            }
            _ => false,
        }))
    }))
}

/// Both addresses cut to the shortest of their prefixes and the one asked for.
fn compared(call: &Call<'_>) -> Result<impl Fn(usize) -> Option<std::cmp::Ordering>> {
    let (left, right) = (call.text(0)?, call.text(1)?);
    let prefixes = if call.has(2) { Some(call.long(2)?) } else { None };
    Ok(move |row| {
        let ((a, a_bits), (b, b_bits)) = (ipv4(left.get(row))?, ipv4(right.get(row))?);
        let asked = prefixes.as_ref().map_or(Some(32), |p| p.get(row))?;
        let bits = u32::try_from(asked).ok().filter(|bits| *bits <= 32)?.min(a_bits).min(b_bits);
        Some((a & mask(bits)).cmp(&(b & mask(bits))))
    })
}

pub(super) fn ipv4_is_match(call: &Call<'_>) -> Result<ArrayRef> {
    let compare = compared(call)?;
    Ok(call.maybe_bools(|row| Some(compare(row)?.is_eq())))
}

pub(super) fn ipv4_compare(call: &Call<'_>) -> Result<ArrayRef> {
    let compare = compared(call)?;
    Ok(call.longs(|row| Some(compare(row)? as i64)))
}

pub(super) fn parse_ipv4(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.longs(|row| ipv4(texts.get(row)).map(|(address, bits)| i64::from(address & mask(bits)))))
}

pub(super) fn parse_ipv4_mask(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, prefixes) = (call.text(0)?, call.long(1)?);
    Ok(call.longs(|row| {
        let (address, bits) = ipv4(texts.get(row))?;
        let asked = u32::try_from(prefixes.get(row)?).ok().filter(|bits| *bits <= 32)?;
        Some(i64::from(address & mask(bits.min(asked))))
    }))
}

pub(super) fn ipv4_netmask_suffix(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.longs(|row| ipv4(texts.get(row)).map(|(_, bits)| i64::from(bits))))
}

/// `format_ipv4(address[, prefix])`, `format_ipv4_mask` adds the prefix's length.
fn formatted(call: &Call<'_>, with_prefix: bool) -> Result<ArrayRef> {
    let addresses = call.values(0)?;
    let prefixes = if call.has(1) { Some(call.long(1)?) } else { None };
    Ok(call.texts(|row, out| {
        let parsed = match &addresses {
            Values::Long(v) => v.get(row).and_then(|v| u32::try_from(v).ok()).map(|v| (v, 32)),
            Values::String(v) => ipv4(v.get(row)),
            _ => None,
        };
        let asked = prefixes.as_ref().map_or(Some(32), |p| p.get(row)).and_then(|p| u32::try_from(p).ok()).filter(|bits| *bits <= 32);
        let (Some((address, bits)), Some(asked)) = (parsed, asked) else { return };
        let bits = bits.min(asked);
        let [a, b, c, d] = (address & mask(bits)).to_be_bytes();
        write!(out, "{a}.{b}.{c}.{d}").expect("a String takes everything");
        if with_prefix {
            write!(out, "/{bits}").expect("a String takes everything");
        }
    }))
}

pub(super) fn format_ipv4(call: &Call<'_>) -> Result<ArrayRef> {
    formatted(call, false)
}

pub(super) fn format_ipv4_mask(call: &Call<'_>) -> Result<ArrayRef> {
    formatted(call, true)
}

/// The pieces of a text that could be addresses: digits and points between other letters.
fn candidates(text: &str) -> impl Iterator<Item = &str> {
    let inside = |c: char| c.is_ascii_digit() || c == '.';
    text.split(move |c: char| !inside(c)).enumerate().filter(|(_, piece)| piece.len() >= 7).map(|(_, piece)| piece.trim_matches('.'))
}

/// Whether the piece of `text` stands alone: no letter or digit touches it.
fn stands_alone(text: &str, piece: &str) -> bool {
    let start = piece.as_ptr() as usize - text.as_ptr() as usize;
    let before = text[..start].chars().next_back().is_some_and(char::is_alphanumeric);
    let after = text[start + piece.len()..].chars().next().is_some_and(char::is_alphanumeric);
    !before && !after
}

fn has(call: &Call<'_>, fits: fn(&str, &str) -> bool) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    let lists = call.values_from(1)?;
    Ok(call.bools(|row| {
        let text = texts.get(row);
        let hit = |wanted: &str| candidates(text).any(|piece| stands_alone(text, piece) && ipv4(piece).is_some() && fits(piece, wanted));
        lists.iter().any(|list| match list {
            Values::String(wanted) => hit(wanted.get(row)),
            Values::Dynamic(many) => {
                many.json(row).and_then(json::items).into_iter().flatten().any(|raw| json::string(raw).is_some_and(|wanted| hit(&wanted)))
            }
            _ => false,
        })
    }))
}

pub(super) fn has_ipv4(call: &Call<'_>) -> Result<ArrayRef> {
    has(call, |piece, wanted| !wanted.contains('/') && ipv4(wanted).is_some_and(|wanted| ipv4(piece) == Some(wanted)))
}

pub(super) fn has_ipv4_prefix(call: &Call<'_>) -> Result<ArrayRef> {
    has(call, |piece, wanted| (wanted.ends_with('.') && piece.starts_with(wanted)) || (ipv4(wanted).is_some() && piece == wanted))
}

/// An address of either version as 128 bits, and its prefix.
pub(super) fn ipv6(text: &str) -> Option<(u128, u32)> {
    let text = text.trim();
    if let Some((address, bits)) = ipv4(text) {
        return Some((u128::from(address) | 0xffff_0000_0000, bits + 96));
    }
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, bits.parse().ok().filter(|bits| *bits <= 128)?),
        None => (text, 128),
    };
    let address: Ipv6Addr = address.parse().ok()?;
    Some((u128::from(address), bits))
}

pub(super) fn mask6(bits: u32) -> u128 {
    if bits == 0 { 0 } else { u128::MAX << (128 - bits) }
}

/// All eight groups with all their digits.
pub(super) fn parse_ipv6(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.texts(|row, out| {
        let Some((address, bits)) = ipv6(texts.get(row)) else { return };
        let groups = Ipv6Addr::from(address & mask6(bits)).segments();
        out.push_str(&groups.map(|group| format!("{group:04x}")).join(":"));
    }))
}

pub(super) fn ipv6_is_in_range(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, ranges) = (call.text(0)?, call.text(1)?);
    Ok(call.maybe_bools(|row| {
        let ((address, bits), (network, range)) = (ipv6(texts.get(row))?, ipv6(ranges.get(row))?);
        Some((address & mask6(bits) ^ network) & mask6(range) == 0)
    }))
}

/// `parse_ipv6_mask(address, prefix)`: the bits beyond the prefix are 0.
pub(super) fn parse_ipv6_mask(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, prefixes) = (call.text(0)?, call.long(1)?);
    Ok(call.texts(|row, out| {
        let asked = prefixes.get(row).and_then(|p| u32::try_from(p).ok()).filter(|bits| *bits <= 128);
        let (Some((address, bits)), Some(asked)) = (ipv6(texts.get(row)), asked) else { return };
        let groups = Ipv6Addr::from(address & mask6(bits.min(asked))).segments();
        out.push_str(&groups.map(|group| format!("{group:04x}")).join(":"));
    }))
}

/// `ipv6_is_in_any_range(address, range, ..)`: ranges as strings or dynamic arrays of them.
pub(super) fn ipv6_is_in_any_range(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    let lists = call.values_from(1)?;
    Ok(call.maybe_bools(|row| {
        let (address, bits) = ipv6(texts.get(row))?;
        let hit = |range: &str| ipv6(range).is_some_and(|(network, range)| (address & mask6(bits) ^ network) & mask6(range) == 0);
        Some(lists.iter().any(|list| match list {
            Values::String(range) => hit(range.get(row)),
            Values::Dynamic(ranges) => {
                ranges.json(row).and_then(json::items).into_iter().flatten().any(|raw| json::string(raw).is_some_and(|range| hit(&range)))
            }
            _ => false,
        }))
    }))
}

/// Both addresses cut to the shortest of their prefixes and the one asked for.
fn compared6(call: &Call<'_>) -> Result<impl Fn(usize) -> Option<std::cmp::Ordering>> {
    let (left, right) = (call.text(0)?, call.text(1)?);
    let prefixes = if call.has(2) { Some(call.long(2)?) } else { None };
    Ok(move |row| {
        let ((a, a_bits), (b, b_bits)) = (ipv6(left.get(row))?, ipv6(right.get(row))?);
        let asked = prefixes.as_ref().map_or(Some(128), |p| p.get(row)).and_then(|p| u32::try_from(p).ok()).filter(|bits| *bits <= 128)?;
        let mask = mask6(asked.min(a_bits).min(b_bits));
        Some((a & mask).cmp(&(b & mask)))
    })
}

pub(super) fn ipv6_is_match(call: &Call<'_>) -> Result<ArrayRef> {
    let compare = compared6(call)?;
    Ok(call.maybe_bools(|row| Some(compare(row)?.is_eq())))
}

pub(super) fn ipv6_compare(call: &Call<'_>) -> Result<ArrayRef> {
    let compare = compared6(call)?;
    Ok(call.longs(|row| Some(compare(row)? as i64)))
}

/// `ipv4_range_to_cidr_list(first, last)`: the fewest ranges that cover just these addresses.
pub(super) fn ipv4_range_to_cidr_list(call: &Call<'_>) -> Result<ArrayRef> {
    let (firsts, lasts) = (call.text(0)?, call.text(1)?);
    Ok(call.dynamics(|row, out| {
        let (Some((first, 32)), Some((last, 32))) = (ipv4(firsts.get(row)), ipv4(lasts.get(row))) else { return false };
        if first > last {
            return false;
        }
        let (mut here, end) = (u64::from(first), u64::from(last) + 1);
        out.push('[');
        while here < end {
            // As large as the address allows, and no larger than what is left.
            let aligned = here.trailing_zeros().min(32);
            let bits = aligned.min((end - here).ilog2());
            let [.., a, b, c, d] = here.to_be_bytes();
            if out.len() > 1 {
                out.push(',');
            }
            write!(out, "\"{a}.{b}.{c}.{d}/{}\"", 32 - bits).expect("a String takes everything");
            here += 1 << bits;
        }
        out.push(']');
        true
    }))
}
