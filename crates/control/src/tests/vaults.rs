//! What is registered of a vault, and how to log in there.

use strongroom_catalog::VaultRefRow;
use strongroom_keys::provider::Provider;
use strongroom_keys::provider::access::Secret;

use super::desk::{Works, place, vault};
use crate::{ControlError, VaultAsk};

const URI: &str = "https://bao.example:8200";

fn secret(text: &str) -> Secret {
    Secret::from(text.to_owned())
}

fn transit(access: Option<&str>) -> VaultAsk {
    VaultAsk { provider: Provider::Transit, access: access.map(secret), ..vault(URI) }
}

#[tokio::test]
async fn a_login_is_kept_sealed_and_only_for_the_vault_it_was_given_for() {
    let works = Works::new().await;
    let (vaults, at) = (&works.vaults, place("bao"));
    let missing = vaults.put(&at, transit(None)).await.unwrap_err();
    assert!(matches!(missing, ControlError::Invalid { what: "properties.access", .. }), "{missing:?}");

    let said = r#"{"login":"token","token":"s.hush-hush"}"#;
    let row = vaults.put(&at, transit(Some(said))).await.unwrap();
    let access = row.access.clone().unwrap();
    assert_eq!(row.provider, "transit");
    assert!(!access.cell.windows(4).any(|window| window == b"hush"), "it is sealed");

    // The same vault once more, with nothing said: as before.
    let again = VaultAsk { private_link: true, ..transit(None) };
    assert_eq!(vaults.put(&at, again).await.unwrap().access.as_ref(), Some(&access));
    // Another address, another authority, another kind: whoever is there does not get it.
    let elsewhere = VaultAsk { uri: "https://thief.example".to_owned(), ..transit(None) };
    assert!(vaults.put(&at, elsewhere).await.is_err());
    let pem = Some("-----BEGIN CERTIFICATE-----".to_owned());
    assert!(vaults.put(&at, VaultAsk { ca_pem: pem, ..transit(None) }).await.is_err());
    assert_eq!(vaults.put(&at, VaultAsk { provider: Provider::Azure, ..transit(None) }).await.unwrap().access, None);
    assert!(vaults.put(&at, transit(None)).await.is_err(), "and it is not kept for later");
}

#[tokio::test]
async fn a_login_that_does_not_fit_its_vault_is_refused_without_a_word_of_it() {
    let works = Works::new().await;
    for (ask, what) in [
        (VaultAsk { access: Some(secret(r#"{"pin":"hush"}"#)), ..transit(None) }, "properties.access"),
        (VaultAsk { access: Some(secret("hush")), ..vault(URI) }, "properties.access"),
        (VaultAsk { provider: Provider::Pkcs11, access: Some(secret(r#"{"pin":"hush"}"#)), ..vault(URI) }, "properties.vaultUri"),
        (VaultAsk { provider: Provider::Azure, ..vault("pkcs11://hsm") }, "properties.vaultUri"),
    ] {
        let refused = works.vaults.put(&place("v"), ask).await.unwrap_err();
        assert!(matches!(refused, ControlError::Invalid { what: found, .. } if found == what), "{refused:?}");
        assert!(!format!("{refused:?} {refused}").contains("hush"));
    }
    let token = VaultAsk { provider: Provider::Pkcs11, access: Some(secret(r#"{"pin":"hush"}"#)), ..vault("pkcs11://hsm") };
    assert!(!format!("{token:?}").contains("hush"));
    assert_eq!(works.vaults.put(&place("hsm"), token).await.unwrap().uri, "pkcs11://hsm");
}

#[tokio::test]
async fn as_many_vaults_as_may_be_are_registered_however_many_are_asked_for_at_once() {
    let works = Works::new().await;
    let (one, there) =
        (works.vaults.put(&place("one"), vault(URI)).await.unwrap(), works.site.catalog.vault_ref_list().await.unwrap().len());
    for n in there..997 {
        let row = VaultRefRow { name: format!("v{n}"), uri: format!("https://v{n}.example"), ..one.clone() };
        works.site.catalog.vault_ref_put(&row).await.unwrap();
    }
    let asked = (0..8).map(|n| {
        let vaults = &works.vaults;
        async move { vaults.put(&place(&format!("more{n}")), vault(&format!("https://more{n}.example"))).await }
    });
    let answers = futures::future::join_all(asked).await;
    let refused = answers.into_iter().filter_map(Result::err).map(|error| matches!(error, ControlError::TooMany { max: 1_000, .. }));
    assert_eq!(refused.collect::<Vec<_>>(), [true; 5]);
    assert_eq!(works.site.catalog.vault_ref_list().await.unwrap().len(), 1_000);
}
