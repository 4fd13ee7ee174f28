//! AWS Signature Version 4 for the one shape of request that KMS takes: POST to `/`, no query, a short body.
//!
//! HMAC-SHA256 and SHA-256 are the crypto library's; what is here is the documented order of what is hashed. `aws-sigv4` was
//! looked at: twelve more crates with a runtime interface and a second HTTP vocabulary, and a compiler newer than the one this
//! workspace promises, for these lines. AWS's own client library is the other side in the tests.

use std::fmt::Write as _;

use aws_lc_rs::{digest, hmac};
use strongroom_world::WallTime;
use zeroize::Zeroizing;

use crate::provider::access::AwsAccess;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DAY_S: i64 = 86_400;

/// The headers that sign a request.
pub(super) struct Signed {
    pub(super) date: String,
    pub(super) authorization: String,
}

pub(super) fn sign(access: &AwsAccess, service: &str, host: &str, media_type: &str, target: &str, body: &[u8], now: WallTime) -> Signed {
    let date = timestamp(now.unix_secs());
    let token = access.session_token.as_ref();
    // By name, as the canonical form wants them.
    let mut names = "content-type;host;x-amz-date;".to_owned();
    let mut headers = format!("content-type:{media_type}\nhost:{host}\nx-amz-date:{date}\n");
    if let Some(token) = token {
        names.push_str("x-amz-security-token;");
        writeln!(headers, "x-amz-security-token:{}", token.text()).expect("a string takes text");
    }
    names.push_str("x-amz-target");
    writeln!(headers, "x-amz-target:{target}").expect("a string takes text");
    let headers = Zeroizing::new(headers);
    let request = Zeroizing::new(format!("POST\n/\n\n{}\n{names}\n{}", *headers, hash(body)));
    let scope = format!("{}/{}/{service}/aws4_request", &date[..8], access.region);
    let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{}", hash(request.as_bytes()));
    let signature = hex(mac(&signing_key(access, &date[..8], service), to_sign.as_bytes()).as_ref());
    let authorization = format!("{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", access.access_key_id);
    Signed { date, authorization }
}

/// Each step's key is the step before it; they live in the crypto library alone.
fn signing_key(access: &AwsAccess, day: &str, service: &str) -> hmac::Key {
    let first = Zeroizing::new(format!("AWS4{}", access.secret_access_key.text()));
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, first.as_bytes());
    for part in [day, &access.region, service, "aws4_request"] {
        key = hmac::Key::new(hmac::HMAC_SHA256, mac(&key, part.as_bytes()).as_ref());
    }
    key
}

fn mac(key: &hmac::Key, bytes: &[u8]) -> hmac::Tag {
    hmac::sign(key, bytes)
}

fn hash(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes text");
        text
    })
}

/// `20260131T235959Z`.
fn timestamp(unix_secs: i64) -> String {
    let (days, seconds) = (unix_secs.div_euclid(DAY_S), unix_secs.rem_euclid(DAY_S));
    let (year, month, day) = civil(days);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// The date of a day since 1970 (Howard Hinnant, *chrono-compatible low-level date algorithms*).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::access::Secret;

    fn access(token: Option<&str>) -> AwsAccess {
        let secret = |text: &str| Secret::new(Zeroizing::new(text.to_owned()));
        AwsAccess {
            region: "us-east-1".to_owned(),
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: token.map(secret),
        }
    }

    /// AWS's documentation, *Examples of how to derive a signing key*.
    #[test]
    fn the_signing_key_is_the_documented_one() {
        let key = signing_key(&access(None), "20150830", "iam");
        let documented = b"AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/iam/aws4_request\nf536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59";
        assert_eq!(hex(mac(&key, documented).as_ref()), "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
    }

    #[test]
    fn a_timestamp_is_the_date_of_its_second() {
        assert_eq!(timestamp(0), "19700101T000000Z");
        assert_eq!(timestamp(1_440_938_160), "20150830T123600Z");
        assert_eq!(timestamp(951_827_696), "20000229T123456Z");
        assert_eq!(timestamp(1_798_761_599), "20261231T235959Z");
        assert_eq!(timestamp(-1), "19691231T235959Z");
    }

    #[test]
    fn a_session_token_is_signed_and_the_body_too() {
        let now = WallTime(1_440_938_160_000_000_000);
        let sign = |token, body: &[u8]| super::sign(&access(token), "kms", "kms.us-east-1.amazonaws.com", "x", "T.E", body, now);
        let (plain, with) = (sign(None, b"{}"), sign(Some("t0ken"), b"{}"));
        assert!(plain.authorization.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-target, "), "{}", plain.authorization);
        assert!(with.authorization.contains(";x-amz-security-token;x-amz-target, "), "{}", with.authorization);
        assert_ne!(plain.authorization, sign(None, b"{ }").authorization);
        assert!(!with.authorization.contains("t0ken") && !with.authorization.contains("wJalr"));
    }
}
