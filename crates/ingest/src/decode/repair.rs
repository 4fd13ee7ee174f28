//! Valid JSON that the parser refuses, said in a way it takes.
//!
//! RFC 8259 allows numbers of any size and escapes that name half a surrogate pair; neither fits a 64-bit number or
//! UTF-8. Only records the parser refused come here, so nobody pays for it.

/// The record with such numbers rounded to the nearest real (saturating at ±1.797e308) and such escapes replaced by
/// U+FFFD; `None` if there were none.
pub(super) fn repair(record: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(record.len() + 64);
    let (mut at, mut changed) = (0, false);
    while at < record.len() {
        match record[at] {
            b'"' => {
                at = copy_string(record, at, &mut out, &mut changed);
            }
            b'-' | b'0'..=b'9' => {
                let end = record[at..]
                    .iter()
                    .position(|byte| !matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'))
                    .map_or(record.len(), |n| at + n);
                let number = &record[at..end];
                match rounded(number) {
                    Some(text) => {
                        out.extend_from_slice(text.as_bytes());
                        changed = true;
                    }
                    None => out.extend_from_slice(number),
                }
                at = end;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    changed.then_some(out)
}

/// Copies the string that starts at `at` with its quotes; answers where it ends.
fn copy_string(record: &[u8], start: usize, out: &mut Vec<u8>, changed: &mut bool) -> usize {
    out.push(b'"');
    let mut at = start + 1;
    while let Some(&byte) = record.get(at) {
        match byte {
            b'"' => {
                out.push(byte);
                return at + 1;
            }
            b'\\' => match unit(record, at) {
                Some(high @ 0xd800..=0xdbff) if matches!(unit(record, at + 6), Some(0xdc00..=0xdfff)) => {
                    debug_assert!(high >= 0xd800);
                    out.extend_from_slice(&record[at..at + 12]);
                    at += 12;
                }
                Some(0xd800..=0xdfff) => {
                    out.extend_from_slice(b"\\ufffd");
                    *changed = true;
                    at += 6;
                }
                _ => {
                    let end = record.len().min(at + 2);
                    out.extend_from_slice(&record[at..end]);
                    at = end;
                }
            },
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    at
}

/// The UTF-16 unit that the escape at `at` names.
fn unit(record: &[u8], at: usize) -> Option<u16> {
    let hex = record.get(at..at + 6)?.strip_prefix(b"\\u")?;
    if !hex.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
}

/// A number that follows RFC 8259 but does not fit: as a real that does.
fn rounded(number: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(number).ok()?;
    if !is_number(number) || text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok() {
        return None;
    }
    let is_integer = number.iter().all(|byte| matches!(byte, b'-' | b'0'..=b'9'));
    let value: f64 = text.parse().ok()?;
    if value.is_finite() && !is_integer {
        return None;
    }
    Some(format!("{:e}", value.clamp(f64::MIN, f64::MAX)))
}

/// RFC 8259 §6.
fn is_number(text: &[u8]) -> bool {
    fn digits(text: &[u8]) -> Option<&[u8]> {
        let n = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (n > 0).then(|| &text[n..])
    }
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let Some(mut rest) = digits(text) else { return false };
    if text[0] == b'0' && text.len() - rest.len() > 1 {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let Some(after) = digits(fraction) else { return false };
        rest = after;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = exponent.strip_prefix(b"-").or_else(|| exponent.strip_prefix(b"+")).unwrap_or(exponent);
        let Some(after) = digits(exponent) else { return false };
        rest = after;
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(record: &str, expected: Option<&str>) {
        assert_eq!(repair(record.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap()).as_deref(), expected, "{record}");
    }

    #[test]
    fn numbers_out_of_range_are_rounded_and_others_left_alone() {
        check(r#"{"a":1e999,"b":-1e999,"c":2}"#, Some(r#"{"a":1.7976931348623157e308,"b":-1.7976931348623157e308,"c":2}"#));
        check(r#"{"a":18446744073709551616}"#, Some(r#"{"a":1.8446744073709552e19}"#));
        check(r#"{"a":18446744073709551615,"b":1.5,"c":"1e999"}"#, None);
        check(r#"{"a":01e999}"#, None);
        check(r#"{"a":1e999x}"#, Some(r#"{"a":1.7976931348623157e308x}"#)); // still not JSON afterwards
    }

    #[test]
    fn half_a_surrogate_pair_becomes_the_replacement_character() {
        check(r#"{"a":"\ud83d\ude00"}"#, None);
        check(r#"{"a":"\ud83d"}"#, Some(r#"{"a":"\ufffd"}"#));
        check(r#"{"\ude00":"\ud83d\ud83d\ude00\\ud83d"}"#, Some(r#"{"\ufffd":"\ufffd\ud83d\ude00\\ud83d"}"#));
        check(r#"{"a":"\ud83"#, None);
    }
}
