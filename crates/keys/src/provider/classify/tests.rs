use std::collections::HashSet;

use Answer::Denied;
use Asked::{Get, Token, Unwrap, Wrap};

use super::*;

#[test]
fn every_known_answer_means_what_the_table_says() {
    let mut seen = HashSet::new();
    for sample in samples::all() {
        let samples::Sample { provider, asked, said, answer } = sample;
        assert_eq!(classify(provider, asked, said), answer, "{provider} {asked:?} {said:?}");
        assert!(seen.insert((provider, asked, said.status, said.code, said.inner)), "{provider} {asked:?} {said:?} stands twice");
    }
    assert!(seen.len() >= 80, "{}", seen.len());
    for provider in Provider::ALL {
        let of = |wanted: &str| samples::all().any(|sample| sample.provider == provider && sample.answer.class() == wanted);
        for class in ["good", "denied", "ambiguous", "integrity", "transient"] {
            assert!(of(class), "{provider} has no sample that is {class}");
        }
    }
}

/// Whoever answers with anything at all, it is a denial only in the very words of the table.
#[test]
fn nothing_but_the_vaults_own_words_denies() {
    const CODES: [Option<&str>; 6] = [None, Some(""), Some("Forbidden"), Some("KeyNotFound"), Some("denied"), Some("BadParameter")];
    const INNER: [Option<&str>; 5] = [None, Some(""), Some("KeyDisabled"), Some("keydisabled"), Some("Revoked")];
    for asked in [Token, Get, Wrap, Unwrap] {
        for status in 0..=1000 {
            for (code, inner) in CODES.into_iter().flat_map(|code| INNER.map(|inner| (code, inner))) {
                let said = Said { status, code, inner };
                let denied = |provider| matches!(classify(provider, asked, said), Denied(_));
                let vault = asked != Token && code.is_some();
                let told = status == 403 && inner == Some("KeyDisabled") || status == 404 && code == Some("KeyNotFound");
                assert_eq!(denied(Provider::Azure), vault && told, "{asked:?} {said:?}");
                assert_eq!(denied(Provider::Transit), asked == Get && status == 404 && code == Some(""), "{asked:?} {said:?}");
                assert!(!denied(Provider::AwsKms) && !denied(Provider::Pkcs11), "{asked:?} {said:?}");
            }
        }
    }
}

/// A denial needs a body: no status alone, whoever sends it, takes a key away.
#[test]
fn a_status_alone_denies_nothing() {
    for provider in Provider::ALL {
        for asked in [Token, Get, Wrap, Unwrap] {
            for status in 0..=1000 {
                let answer = classify(provider, asked, Said { status, code: None, inner: None });
                assert!(!matches!(answer, Denied(_) | Answer::Integrity | Answer::Expired(_)), "{provider} {asked:?} {status}: {answer:?}");
            }
        }
    }
}
