//! Services, tokens and rights.

use std::net::{IpAddr, Ipv4Addr};

use strongroom_model::{ErrorKind, PrincipalId};

use super::*;
use crate::{
    Directory, DirectoryConfig, LoginError, Proof, Rights, RoleAsk, ScopePath, Services, Subject, TokenReader as _, Tokens, action,
};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const AUDIENCE: &str = "https://management.azure.com/";

struct Desk {
    site: Site,
    principals: Arc<Principals>,
    services: Services,
    tokens: Arc<Tokens>,
    rights: Rights,
    owner: Caller,
}

impl Desk {
    async fn new() -> Self {
        Self::with(DirectoryConfig::default()).await
    }

    async fn with(config: DirectoryConfig) -> Self {
        let site = Site::new().await;
        let roles = Arc::clone(&site.roles);
        let principals = Arc::new(Principals::new(site.world.clone(), site.catalog.clone(), Arc::clone(&roles), ControlConfig::default()));
        let mmk = Arc::new(Mmk::from_bytes([3; 32]));
        let tokens = Arc::new(Tokens::open(site.world.clone(), site.catalog.clone(), mmk, &config).await.unwrap());
        principals.believe(vec![Arc::clone(&tokens) as _]);
        let created = principals.create("an owner".to_owned(), "Owner", Scope::All, None).await.unwrap();
        Self {
            owner: principals.authenticate(&created.token).await.unwrap(),
            services: Services::new(site.world.clone(), site.catalog.clone(), Arc::clone(&principals), &config),
            rights: Rights::new(site.world.clone(), site.catalog.clone(), roles, Arc::clone(&principals)),
            tokens,
            principals,
            site,
        }
    }

    /// A service with a secret.
    async fn service(&self, name: &str) -> (PrincipalId, String, String) {
        let row = self.services.create(name.to_owned()).await.unwrap();
        let made = self.services.add_secret(&self.owner, row.id, String::new(), None).await.unwrap();
        (row.id, row.client_id.unwrap().to_string(), made.secret.to_string())
    }

    async fn log_in(&self, client: &str, secret: &str) -> Result<String, LoginError> {
        let row = self.services.log_in(client, &Proof::Secret(secret), HERE).await?;
        Ok(self.token(&row.id, AUDIENCE, false))
    }

    fn token(&self, principal: &PrincipalId, audience: &str, own: bool) -> String {
        let client = ObjectId::from_bytes([7; 16]);
        let subject =
            Subject { principal: *principal, client, tenant: "t", issuer: "https://here/t", audience, own, by_certificate: false };
        self.tokens.issue(&subject).unwrap().0
    }

    async fn assign(&self, who: &Caller, at: &str, principal: PrincipalId, role: &str) -> Result<String, ControlError> {
        let id = self.site.object().to_string();
        let at = ScopePath::read(at).unwrap();
        self.rights.put(who, &at, &id, principal, role).await.map(|_| id)
    }

    async fn holder(&self, role: &str, at: &str) -> Caller {
        let created = self.principals.create_at(role.to_owned(), role, &ScopePath::read(at).unwrap(), None).await.unwrap();
        self.principals.authenticate(&created.token).await.unwrap()
    }
}

#[tokio::test]
async fn a_service_logs_in_with_any_of_its_secrets_until_each_ends() {
    let desk = Desk::new().await;
    let (id, client, secret) = desk.service("pipeline").await;
    let short = desk.services.add_secret(&desk.owner, id, "short".to_owned(), Some(Duration::from_mins(10))).await.unwrap();
    for secret in [&secret, short.secret.as_str()] {
        let token = desk.log_in(&client.to_uppercase(), secret).await.unwrap();
        assert_eq!(desk.principals.authenticate(&token).await.unwrap().principal, id);
    }
    let wrong = desk.log_in(&client, "srs_wrong").await.unwrap_err();
    assert_eq!((wrong.status, wrong.error, wrong.number), (401, "invalid_client", 7_000_215));
    let unknown = desk.log_in("not-there", &secret).await.unwrap_err();
    assert_eq!((unknown.status, unknown.error, unknown.number), (400, "unauthorized_client", 700_016));
    desk.site.sim.clock().advance(Duration::from_mins(10));
    assert_eq!(desk.log_in(&client, &short.secret).await.unwrap_err().number, 7_000_222);
    desk.log_in(&client, &secret).await.unwrap();
    let first = desk.services.credentials(id).await.unwrap().remove(0);
    assert!(desk.services.remove(&desk.owner, id, first.id).await.unwrap());
    assert_eq!(desk.log_in(&client, &secret).await.unwrap_err().number, 7_000_215);
    assert!(!format!("{:?}", desk.services.credentials(id).await.unwrap()).contains(&secret));
}

#[tokio::test]
async fn a_token_says_who_for_an_hour_and_the_catalog_says_what_each_time() {
    let desk = Desk::new().await;
    let (id, client, secret) = desk.service("pipeline").await;
    let token = desk.log_in(&client, &secret).await.unwrap();
    let at = ScopePath::subscription("s");
    assert!(!desk.principals.authenticate(&token).await.unwrap().may(action::CLUSTERS_READ, &at));
    let right = desk.assign(&desk.owner, "/subscriptions/S", id, "Reader").await.unwrap();
    assert!(desk.principals.authenticate(&token).await.unwrap().may(action::CLUSTERS_READ, &at));
    desk.rights.delete(&desk.owner, &at, &right).await.unwrap().unwrap();
    assert!(!desk.principals.authenticate(&token).await.unwrap().may(action::CLUSTERS_READ, &at));
    desk.site.sim.clock().advance(Duration::from_secs(3_599));
    desk.principals.authenticate(&token).await.unwrap();
    desk.site.sim.clock().advance(Duration::from_secs(1));
    assert!(matches!(desk.principals.authenticate(&token).await, Err(ControlError::Unauthenticated)));
    // Nor is it taken by its reader, whoever asks that.
    assert!(matches!(desk.tokens.read(&token).await, Err(ControlError::Unauthenticated)));
    let token = desk.log_in(&client, &secret).await.unwrap();
    desk.principals.delete(id).await.unwrap();
    assert!(matches!(desk.principals.authenticate(&token).await, Err(ControlError::Unauthenticated)));
}

#[tokio::test]
async fn a_token_for_somebody_else_or_changed_or_signed_by_another_is_refused() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let desk = Desk::new().await;
    let (id, ..) = desk.service("pipeline").await;
    for (audience, own, taken) in [
        ("https://management.azure.com", false, true),
        ("HTTPS://monitor.azure.com/", false, true),
        ("https://vault.azure.net", false, false),
        ("https://host:8443", true, true),
        ("https://host:8443", false, false),
    ] {
        let token = desk.token(&id, audience, own);
        assert_eq!(desk.principals.authenticate(&token).await.is_ok(), taken, "{audience} {own}");
    }
    let token = desk.token(&id, AUDIENCE, false);
    let parts: Vec<&str> = token.split('.').collect();
    let text = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    let header = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[0]).unwrap()).unwrap();
    let other = Desk::new().await;
    for (why, forged) in [
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("none", format!("{}.{}.", text(&header.replace("RS256", "none")), parts[1])),
        ("HS256", format!("{}.{}.{}", text(&header.replace("RS256", "HS256")), parts[1], parts[2])),
        ("longer", format!("{}.{}.{}", parts[0], text(&claims.replace("\"exp\":1", "\"exp\":2")), parts[2])),
        ("another's key", other.token(&id, AUDIENCE, false)),
        ("no token", "eyJ.eyJ.eyJ".to_owned()),
    ] {
        assert_ne!(forged, token, "{why}");
        assert!(matches!(desk.principals.authenticate(&forged).await, Err(ControlError::Unauthenticated)), "{why}");
    }
    desk.principals.authenticate(&token).await.unwrap();
}

#[tokio::test]
async fn a_new_signing_key_signs_and_tokens_of_the_old_one_live_to_their_end() {
    let desk = Desk::new().await;
    let (id, ..) = desk.service("pipeline").await;
    let old = desk.token(&id, AUDIENCE, false);
    desk.site.sim.clock().advance(Duration::from_mins(30));
    let key = desk.tokens.rotate().await.unwrap();
    let new = desk.token(&id, AUDIENCE, false);
    assert_eq!(desk.tokens.jwks()["keys"].as_array().unwrap().len(), 2);
    assert_eq!(desk.tokens.keys()[0].0, key);
    for token in [&old, &new] {
        desk.principals.authenticate(token).await.unwrap();
    }
    // Another server on the same catalog knows both, and a third that was opened before the change learns of it.
    let mmk = Arc::new(Mmk::from_bytes([3; 32]));
    let second = Tokens::open(desk.site.world.clone(), desk.site.catalog.clone(), mmk, &DirectoryConfig::default()).await.unwrap();
    desk.tokens.rotate().await.unwrap();
    let newest = desk.token(&id, AUDIENCE, false);
    assert!(second.read(&newest).await.unwrap().is_none(), "it looked a moment ago");
    desk.site.sim.clock().advance(Duration::from_secs(6));
    assert!(second.read(&newest).await.unwrap().is_some());
    desk.site.sim.clock().advance(Duration::from_hours(2));
    desk.tokens.rotate().await.unwrap();
    assert_eq!(desk.tokens.keys().len(), 2, "what was retired long ago is forgotten");
    assert!(desk.principals.authenticate(&old).await.is_err());
}

#[tokio::test]
async fn who_logs_in_too_often_waits_and_nobody_else_does() {
    let desk = Desk::with(DirectoryConfig { logins_per_client_max: 3, logins_per_address_max: 5, ..DirectoryConfig::default() }).await;
    let (_, client, secret) = desk.service("one").await;
    let (_, other, other_secret) = desk.service("other").await;
    for _ in 0..3 {
        desk.log_in(&client, &secret).await.unwrap();
    }
    let limited = desk.log_in(&client, &secret).await.unwrap_err();
    assert_eq!((limited.status, limited.number), (429, 90_055));
    let elsewhere = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    desk.services.log_in(&client, &Proof::Secret(&secret), elsewhere).await.unwrap();
    for _ in 0..2 {
        desk.log_in(&other, &other_secret).await.unwrap();
    }
    assert_eq!(desk.log_in(&other, &other_secret).await.unwrap_err().status, 429, "the address has had its five");
    desk.site.sim.clock().advance(Duration::from_mins(1));
    desk.log_in(&client, &secret).await.unwrap();
}

#[tokio::test]
async fn roles_are_given_by_those_who_may_and_nowhere_else() {
    let desk = Desk::new().await;
    let (id, ..) = desk.service("pipeline").await;
    let group = "/subscriptions/s/resourceGroups/g";
    for (role, at, expected) in [
        ("Owner", group, None),
        ("User Access Administrator", "/subscriptions/s", None),
        ("Contributor", group, Some(ErrorKind::Forbidden)),
        ("Log Analytics Contributor", group, Some(ErrorKind::Forbidden)),
        ("Reader", "/", Some(ErrorKind::Forbidden)),
        ("Operator", "/", Some(ErrorKind::Forbidden)),
        ("Owner", "/subscriptions/s/resourceGroups/g2", Some(ErrorKind::NotFound)),
        ("Owner", "/subscriptions/t", Some(ErrorKind::NotFound)),
        ("User Access Administrator", "/subscriptions/s/resourceGroups/g/providers/p/t/n", Some(ErrorKind::Forbidden)),
    ] {
        let caller = desk.holder(role, at).await;
        let given = desk.assign(&caller, group, id, "Reader").await;
        assert_eq!(given.as_ref().err().map(ControlError::kind), expected, "{role} at {at}");
        // The same for taking it away.
        let right = match given {
            Ok(right) => right,
            Err(_) => desk.assign(&desk.owner, group, id, "Reader").await.unwrap(),
        };
        let taken = desk.rights.delete(&caller, &ScopePath::of(group), &right).await;
        assert_eq!(taken.as_ref().err().map(ControlError::kind), expected, "{role} at {at}");
        if taken.is_err() {
            desk.rights.delete(&desk.owner, &ScopePath::of(group), &right).await.unwrap();
        }
    }
    let refused = |error: ControlError| error.kind();
    assert_eq!(desk.assign(&desk.owner, "/", id, "Emperor").await.map_err(refused), Err(ErrorKind::Invalid));
    assert_eq!(desk.assign(&desk.owner, "/", PrincipalId::NIL, "Reader").await.map_err(refused), Err(ErrorKind::Invalid));
    desk.assign(&desk.owner, "/", id, "Reader").await.unwrap();
    assert_eq!(desk.assign(&desk.owner, "/", id, "Reader").await.map_err(refused), Err(ErrorKind::Conflict));
}

#[tokio::test]
async fn the_last_right_to_everything_cannot_be_taken() {
    let desk = Desk::new().await;
    let root = ScopePath::root();
    let all = desk.rights.list(&desk.owner, &root).await.unwrap();
    let own = all.iter().find(|row| row.principal == desk.owner.principal).unwrap().id.to_string();
    assert_eq!(desk.rights.delete(&desk.owner, &root, &own).await.unwrap_err().kind(), ErrorKind::Conflict);
    // A service that may everything cannot stand in: it may have nothing to log in with.
    let (id, ..) = desk.service("pipeline").await;
    desk.assign(&desk.owner, "/", id, "Owner").await.unwrap();
    assert_eq!(desk.rights.delete(&desk.owner, &root, &own).await.unwrap_err().kind(), ErrorKind::Conflict);
    desk.holder("Owner", "/").await;
    assert!(desk.rights.delete(&desk.owner, &root, &own).await.unwrap().is_some());
}

#[tokio::test]
async fn a_role_that_somebody_made_holds_where_it_may_be_given_and_changes_for_all_who_have_it() {
    let desk = Desk::new().await;
    let (id, client, secret) = desk.service("pipeline").await;
    let at = ScopePath::subscription("s");
    let name = desk.site.object().to_string();
    let ask = |actions: &[&str], not: &[&str]| RoleAsk {
        name: "Linker".to_owned(),
        actions: actions.iter().map(|&text| text.to_owned()).collect(),
        not_actions: not.iter().map(|&text| text.to_owned()).collect(),
        scopes: vec!["/subscriptions/S".to_owned()],
        ..RoleAsk::default()
    };
    desk.rights.role_put(&desk.owner, &at, &name, ask(&["Microsoft.OperationalInsights/*"], &["*/delete"])).await.unwrap();
    assert_eq!(desk.assign(&desk.owner, "/subscriptions/t", id, "Linker").await.unwrap_err().kind(), ErrorKind::Invalid);
    desk.assign(&desk.owner, "/subscriptions/s", id, "linker").await.unwrap();
    let token = desk.log_in(&client, &secret).await.unwrap();
    let caller = desk.principals.authenticate(&token).await.unwrap();
    assert!(caller.may(action::CLUSTERS_WRITE, &at) && !caller.may(action::CLUSTERS_DELETE, &at));
    desk.rights.role_put(&desk.owner, &at, &name, ask(&["*/read"], &[])).await.unwrap();
    let caller = desk.principals.authenticate(&token).await.unwrap();
    assert!(!caller.may(action::CLUSTERS_WRITE, &at) && caller.may(action::CLUSTERS_READ, &at));
    assert_eq!(desk.rights.role_delete(&desk.owner, &at, &name).await.unwrap_err().kind(), ErrorKind::Conflict);

    // Whoever may define roles in one place may not for another, nor touch what is built in.
    let local = desk.holder("Owner", "/subscriptions/t").await;
    let elsewhere = RoleAsk { name: "Wide".to_owned(), ..ask(&["*"], &[]) };
    let own = ScopePath::subscription("t");
    let made = desk.rights.role_put(&local, &own, &desk.site.object().to_string(), elsewhere).await;
    assert_eq!(made.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(
        desk.rights
            .role_put(&local, &own, &name, RoleAsk { scopes: vec!["/subscriptions/t".to_owned()], ..ask(&["*"], &[]) })
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::Conflict,
        "the id is taken, and nothing says where it may be given"
    );
    let reader = desk.site.roles.get("Reader").unwrap().id.to_string();
    for (id, name) in [(reader.as_str(), "Mine"), (name.as_str(), "Reader")] {
        let ask = RoleAsk { name: name.to_owned(), ..ask(&["*"], &[]) };
        assert_eq!(desk.rights.role_put(&desk.owner, &at, id, ask).await.unwrap_err().kind(), ErrorKind::Conflict, "{name}");
    }
    for bad in [ask(&[], &[]), ask(&["a b"], &[]), RoleAsk { scopes: Vec::new(), ..ask(&["*"], &[]) }] {
        assert_eq!(desk.rights.role_put(&desk.owner, &at, &name, bad).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn subscriptions_and_groups_are_there_by_name_or_by_what_lies_in_them_and_seen_by_those_who_may() {
    let config = DirectoryConfig {
        subscriptions: vec![crate::SubscriptionConfig {
            id: "11111111-1111-4111-8111-111111111111".to_owned(),
            name: "configured".to_owned(),
            tenant: String::new(),
        }],
        ..DirectoryConfig::default()
    };
    config.check().unwrap();
    let desk = Desk::with(config.clone()).await;
    let site = &desk.site;
    let directory = Directory::open(site.world.clone(), site.catalog.clone(), &ControlConfig::default(), config, "here".to_owned()).await;
    let directory = directory.unwrap();
    let home = site.workspaces.ensure_defaults().await.unwrap().subscription;
    let named = "22222222-2222-4222-8222-222222222222";
    directory.put_subscription(&desk.owner, named, "named", "").await.unwrap();
    let called = |rows: Vec<strongroom_catalog::SubscriptionRow>| rows.into_iter().map(|row| row.name).collect::<Vec<_>>();
    let mut expected = vec!["configured".to_owned(), "named".to_owned(), home.clone()];
    expected.sort();
    assert_eq!(called(directory.subscriptions(&desk.owner).await.unwrap()), expected);
    let local = desk.holder("Reader", &format!("/subscriptions/{named}/resourceGroups/g")).await;
    assert_eq!(called(directory.subscriptions(&local).await.unwrap()), ["named"]);
    assert_eq!(directory.put_subscription(&local, named, "mine", "").await.unwrap_err().kind(), ErrorKind::Forbidden);
    let look = async |id: &str| directory.subscription(&local, id).await.unwrap_err().to_string().replace(id, "IT");
    assert_eq!(look(&home).await, look("33333333-3333-4333-8333-333333333333").await);

    let group = async |who: &Caller, name: &str| directory.put_group(who, named, name, "West Europe", serde_json::Map::new()).await;
    assert!(group(&desk.owner, "g").await.unwrap().1);
    assert!(!group(&desk.owner, "G").await.unwrap().1);
    group(&desk.owner, "h").await.unwrap();
    assert_eq!(group(&local, "g").await.unwrap_err().kind(), ErrorKind::Forbidden);
    assert_eq!(group(&local, "h").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(directory.groups(&local, named).await.unwrap().len(), 1);
    let moved = directory.put_group(&desk.owner, named, "g", "east", serde_json::Map::new()).await;
    assert_eq!(moved.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(directory.delete_group(&desk.owner, &home, "default").await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(directory.delete_group(&desk.owner, named, "h").await.unwrap());
    assert_eq!(directory.tenant_of("ADFS").await.unwrap().as_deref(), Some(directory.tenant()));
    assert_eq!(directory.tenant_of("44444444-4444-4444-8444-444444444444").await.unwrap(), None);
}

#[tokio::test]
async fn a_role_gives_nothing_outside_of_the_places_it_may_be_given_at() {
    let desk = Desk::new().await;
    let (id, client, secret) = desk.service("pipeline").await;
    let (a, b) = (ScopePath::subscription("a"), ScopePath::subscription("b"));
    let name = desk.site.object().to_string();
    let ask = |action: &str, scope: &str| RoleAsk {
        name: "Watcher".to_owned(),
        actions: vec![action.to_owned()],
        scopes: vec![scope.to_owned()],
        ..RoleAsk::default()
    };
    let root = ScopePath::root();
    desk.rights.role_put(&desk.owner, &root, &name, ask("*/read", "/")).await.unwrap();
    desk.assign(&desk.owner, "/subscriptions/b", id, "Watcher").await.unwrap();
    let token = desk.log_in(&client, &secret).await.unwrap();
    assert!(desk.principals.authenticate(&token).await.unwrap().may(action::CLUSTERS_READ, &b));
    // It becomes a role of a alone, and whoever rules a writes into it what they like.
    desk.rights.role_put(&desk.owner, &root, &name, ask("*/read", "/subscriptions/a")).await.unwrap();
    let local = desk.holder("User Access Administrator", "/subscriptions/a").await;
    desk.rights.role_put(&local, &a, &name, ask("*", "/subscriptions/a")).await.unwrap();
    let caller = desk.principals.authenticate(&token).await.unwrap();
    assert!(!caller.may(action::CLUSTERS_WRITE, &b) && !caller.may(action::CLUSTERS_READ, &b));
    let refused = desk.principals.create_at("t".to_owned(), "Watcher", &b, None).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_key_that_was_replaced_signs_nothing_once_its_last_token_has_ended() {
    let desk = Desk::new().await;
    let (id, ..) = desk.service("pipeline").await;
    // Somebody took the key: with it they sign what says that it is of before, and good for a day.
    let stolen = DirectoryConfig { token_life_s: 86_400, ..DirectoryConfig::default() };
    let then = strongroom_world::sim::SimWorld::new(9);
    let mmk = Arc::new(Mmk::from_bytes([3; 32]));
    let thief = Tokens::open(then.world(), desk.site.catalog.clone(), mmk, &stolen).await.unwrap();
    desk.tokens.rotate().await.unwrap();
    let forge = || {
        let client = ObjectId::from_bytes([7; 16]);
        let subject = Subject { principal: id, client, tenant: "t", issuer: "i", audience: AUDIENCE, own: true, by_certificate: false };
        thief.issue(&subject).unwrap().0
    };
    desk.principals.authenticate(&forge()).await.unwrap();
    assert_eq!(desk.tokens.jwks()["keys"].as_array().unwrap().len(), 2);
    desk.site.sim.clock().advance(Duration::from_mins(62));
    assert!(matches!(desk.principals.authenticate(&forge()).await, Err(ControlError::Unauthenticated)));
    assert_eq!(desk.tokens.jwks()["keys"].as_array().unwrap().len(), 1, "nor is anybody else told to believe it");
}

#[tokio::test]
async fn two_owners_who_take_each_others_right_at_once_leave_one() {
    let desk = Desk::new().await;
    let root = ScopePath::root();
    let other = desk.holder("Owner", "/").await;
    let all = desk.rights.list(&desk.owner, &root).await.unwrap();
    let right = |who: &Caller| all.iter().find(|row| row.principal == who.principal).unwrap().id.to_string();
    let (own, others) = (right(&desk.owner), right(&other));
    let done = tokio::join!(desk.rights.delete(&other, &root, &own), desk.rights.delete(&desk.owner, &root, &others));
    assert_eq!(usize::from(done.0.is_ok()) + usize::from(done.1.is_ok()), 1, "{done:?}");
    let gone = tokio::join!(desk.principals.delete(desk.owner.principal), desk.principals.delete(other.principal));
    assert_eq!(usize::from(gone.0.is_ok()) + usize::from(gone.1.is_ok()), 1, "{gone:?}");
}

#[tokio::test]
async fn what_one_address_makes_up_shuts_nobody_else_out() {
    let desk = Desk::with(DirectoryConfig { logins_per_address_max: 5, ..DirectoryConfig::default() }).await;
    let (_, client, secret) = desk.service("one").await;
    let log_in = async |client: &str, address: &str| {
        let address = address.parse().unwrap();
        desk.services.log_in(client, &Proof::Secret(&secret), address).await.map_err(|error| error.status).map(drop)
    };
    for n in 0..30_000_u32 {
        let made_up = ObjectId::from_bytes(u128::from(n).to_be_bytes()).to_string();
        assert!(log_in(&made_up, "203.0.113.9").await.is_err());
    }
    log_in(&client, "198.51.100.1").await.unwrap();
    // All addresses of one network of IPv6 are one host's; an address of IPv4 is the same however it is written.
    for n in 0..5 {
        log_in(&client, &format!("2001:db8::{n}")).await.unwrap();
    }
    assert_eq!(log_in(&client, "2001:db8::ffff:1").await, Err(429));
    log_in(&client, "2001:db8:0:1::1").await.unwrap();
    assert_eq!(log_in(&client, "::ffff:203.0.113.9").await, Err(429));
}

#[tokio::test]
async fn a_right_that_another_server_took_is_gone_within_a_second_whatever_token_asks() {
    let desk = Desk::new().await;
    let (id, client, secret) = desk.service("pipeline").await;
    let (first, second) = (desk.log_in(&client, &secret).await.unwrap(), desk.log_in(&client, &secret).await.unwrap());
    let right = desk.assign(&desk.owner, "/subscriptions/s", id, "Reader").await.unwrap();
    let at = ScopePath::subscription("s");
    let may = async |token: &str| desk.principals.authenticate(token).await.unwrap().may(action::CLUSTERS_READ, &at);
    assert!(may(&first).await);
    desk.site.catalog.assignment_delete(right.parse().unwrap()).await.unwrap();
    desk.site.sim.clock().advance(Duration::from_millis(900));
    assert!(may(&second).await, "remembered for a second");
    desk.site.sim.clock().advance(Duration::from_millis(100));
    assert!(!may(&second).await && !may(&first).await);
}

#[tokio::test]
async fn secrets_are_not_in_what_is_printed_for_debugging() {
    let desk = Desk::new().await;
    let (id, ..) = desk.service("pipeline").await;
    let made = desk.services.add_secret(&desk.owner, id, String::new(), None).await.unwrap();
    let token = desk.principals.create("t".to_owned(), "Reader", Scope::All, None).await.unwrap();
    let printed = format!("{made:?} {:?} {:?} {token:?}", Proof::Secret(&made.secret), Proof::Assertion { jwt: "eyJ", endpoint: "e" });
    assert!(!printed.contains(made.secret.as_str()) && !printed.contains(&token.token) && !printed.contains("eyJ"), "{printed}");
}

#[tokio::test]
async fn an_owner_whose_token_ends_one_day_is_not_the_last_one() {
    let desk = Desk::new().await;
    let root = ScopePath::root();
    let all = desk.rights.list(&desk.owner, &root).await.unwrap();
    let own = all.iter().find(|row| row.principal == desk.owner.principal).unwrap().id.to_string();
    let day = Some(Duration::from_hours(24));
    desk.principals.create_at("for a day".to_owned(), "Owner", &root, day).await.unwrap();
    assert_eq!(desk.rights.delete(&desk.owner, &root, &own).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(desk.principals.delete(desk.owner.principal).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_role_is_deleted_by_whoever_may_wherever_it_may_be_given() {
    let desk = Desk::new().await;
    let name = desk.site.object().to_string();
    let ask = RoleAsk {
        name: "Both".to_owned(),
        actions: vec!["*/read".to_owned()],
        scopes: vec!["/subscriptions/s".to_owned(), "/subscriptions/t".to_owned()],
        ..RoleAsk::default()
    };
    let at = ScopePath::subscription("s");
    desk.rights.role_put(&desk.owner, &at, &name, ask).await.unwrap();
    let local = desk.holder("Owner", "/subscriptions/s").await;
    let refused = desk.rights.role_delete(&local, &at, &name).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    assert!(!refused.to_string().contains("subscriptions/t"), "no place that the caller does not see: {refused}");
    let stranger = desk.holder("Owner", "/subscriptions/u").await;
    let gone = desk.rights.role_delete(&stranger, &ScopePath::subscription("u"), &name).await.unwrap();
    assert!(gone.is_none(), "as if it were not there");
    assert!(desk.rights.role_delete(&desk.owner, &at, &name).await.unwrap().is_some());
    assert!(desk.rights.role_delete(&desk.owner, &at, &name).await.unwrap().is_none(), "gone is gone");
    let reader = desk.site.roles.get("Reader").unwrap().id.to_string();
    assert_eq!(desk.rights.role_delete(&desk.owner, &at, &reader).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn rights_are_shown_to_whoever_may_see_them_there() {
    let desk = Desk::new().await;
    let (id, ..) = desk.service("pipeline").await;
    for at in ["/subscriptions/s", "/subscriptions/t"] {
        desk.assign(&desk.owner, at, id, "Reader").await.unwrap();
    }
    let local = desk.holder("Reader", "/subscriptions/s").await;
    let shown = desk.rights.list(&local, &ScopePath::root()).await.unwrap();
    assert!(!shown.is_empty() && shown.iter().all(|row| row.scope == "/subscriptions/s"), "{shown:?}");
    let sender = desk.holder("Ingest", "/subscriptions/s").await;
    assert!(desk.rights.list(&sender, &ScopePath::subscription("s")).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_key_that_was_replaced_signs_nothing_that_is_newer_than_its_end() {
    let desk = Desk::new().await;
    let (id, ..) = desk.service("pipeline").await;
    let then = strongroom_world::sim::SimWorld::new(9);
    let mmk = Arc::new(Mmk::from_bytes([3; 32]));
    let thief = Tokens::open(then.world(), desk.site.catalog.clone(), mmk, &DirectoryConfig::default()).await.unwrap();
    desk.tokens.rotate().await.unwrap();
    let half_an_hour = Duration::from_mins(30);
    desk.site.sim.clock().advance(half_an_hour);
    let sign = || {
        let client = ObjectId::from_bytes([7; 16]);
        let subject = Subject { principal: id, client, tenant: "t", issuer: "i", audience: AUDIENCE, own: true, by_certificate: false };
        thief.issue(&subject).unwrap().0
    };
    desk.principals.authenticate(&sign()).await.unwrap();
    then.clock().advance(half_an_hour);
    assert!(matches!(desk.principals.authenticate(&sign()).await, Err(ControlError::Unauthenticated)));
}
