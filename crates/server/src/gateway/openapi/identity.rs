//! Who there is: principals, services, roles, signing keys, subscriptions; and logging in, as Azure's clients do it.

use utoipa::openapi::ComponentsBuilder;

use super::entry::{Book, Door};
use super::native;
use super::schema::{between, flag, guid, like, list, map, named, object, or_null, short, text, values, whole, word};

pub(super) static LOGIN: Door = Door {
    tag: "Login",
    says: "OAuth 2.0 and OpenID Connect, in Entra's words.",
    refusal: "LoginRefused",
    refuses: &[400, 503],
    refuses_changes: &[401, 429],
    bearer: false,
    versioned: false,
    azure: true,
};

/// Logging in.
pub(super) fn login() -> Book {
    let mut book = Book::of(&LOGIN);
    for (path, id) in [
        ("/{tenant}/v2.0/.well-known/openid-configuration", "openid_configuration_v2"),
        ("/{tenant}/.well-known/openid-configuration", "openid_configuration"),
    ] {
        book.get(path, id, "Where the endpoints are").gives(200, named("OpenIdConfiguration"));
    }
    for (path, id) in [("/{tenant}/oauth2/v2.0/token", "token_v2"), ("/{tenant}/oauth2/token", "token")] {
        book.post(path, id, "A token for a service's secret or certificate")
            .takes_as(
                "application/x-www-form-urlencoded",
                object([
                    ("grant_type", word(&["client_credentials"])),
                    ("client_id?", text()),
                    ("client_secret?", text()),
                    ("client_assertion_type?", word(&["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"])),
                    ("client_assertion?", text()),
                    ("scope?", text()),
                    ("resource?", text()),
                ]),
            )
            .gives(
                200,
                object([("token_type", word(&["Bearer"])), ("expires_in", whole()), ("ext_expires_in", whole()), ("access_token", text())]),
            )
            .refuses(&[404])
            .differs("`client_credentials` alone: nobody's password, device or code; no refresh tokens");
    }
    for (path, id) in [("/{tenant}/discovery/v2.0/keys", "jwks_v2"), ("/{tenant}/discovery/keys", "jwks")] {
        book.get(path, id, "The keys that tokens are signed with").gives(200, object([("keys", list(map()))]));
    }
    book.get("/common/discovery/instance", "instance_discovery", "Whether this host is an authority: it is its own")
        .gives(200, object([("tenant_discovery_endpoint", text()), ("api-version", text()), ("metadata", list(map()))]));
    book
}

/// Principals and what they may.
pub(super) fn describe() -> Book {
    let mut book = Book::of(&native::DOOR);
    let seconds = || or_null(between(60, 630_720_000));
    book.get("/v1/principals", "principals_list", "Tokens and services, and their rights").gives(200, values(named("Principal")));
    book.post("/v1/principals", "principals_create", "Makes a token; it is shown once")
        .takes(object([
            ("role", short(64)),
            ("workspace?", or_null(text())),
            ("scope?", or_null(text())),
            ("name?", or_null(short(64))),
            ("ttlSeconds?", seconds()),
        ]))
        .gives(201, object([("id", guid()), ("role", text()), ("token", text()), ("expiresMs", or_null(whole()))]));
    book.delete("/v1/principals/{principal}", "principals_delete", "Deletes a token or a service").done(204);
    book.get("/v1/services", "services_list", "Who can log in").gives(200, values(named("Service")));
    book.post("/v1/services", "services_create", "Makes a service, with a right if one is named")
        .takes(object([("name", short(64)), ("role?", or_null(text())), ("scope?", or_null(text()))]))
        .gives(201, named("Service"));
    book.get("/v1/services/{service}", "services_get", "A service").gives(200, named("Service"));
    book.delete("/v1/services/{service}", "services_delete", "Deletes a service; its tokens end within a second").done(204);
    book.post("/v1/services/{service}/credentials", "credentials_add", "A new secret, shown once, or a certificate")
        .takes(object([("name?", text()), ("certificatePem?", or_null(text())), ("ttlSeconds?", seconds())]))
        .gives(201, named("Credential"));
    book.delete("/v1/services/{service}/credentials/{credential}", "credentials_remove", "Takes a credential away").done(204);
    book.get("/v1/roles", "roles_list", "What roles there are, and what they allow").gives(
        200,
        values(object([
            ("id", guid()),
            ("name", text()),
            ("description", text()),
            ("actions", list(text())),
            ("notActions", list(text())),
            ("custom", flag()),
        ])),
    );
    book.get("/v1/signing-keys", "signing_keys_list", "The keys that access tokens are signed with").gives(200, signing_keys());
    book.post("/v1/signing-keys", "signing_keys_rotate", "Signs with a new one from now on").gives(200, signing_keys());
    let subscription = || object([("id", guid()), ("name", text()), ("tenantId", text())]);
    book.get("/v1/subscriptions", "subscriptions_native", "Subscriptions").gives(200, values(subscription()));
    book.put("/v1/subscriptions/{subscription}", "subscriptions_put", "Makes or renames a subscription")
        .takes(object([("name", like(r"^[ -~]*$", 1, 64)), ("tenantId?", text())]))
        .gives(200, subscription());
    book.delete("/v1/subscriptions/{subscription}", "subscriptions_delete", "Forgets a subscription's name").done(204);
    book
}

fn signing_keys() -> super::schema::Shape {
    values(object([("id", text()), ("createdMs", whole()), ("retiredMs", or_null(whole()))]))
}

/// The shapes that these doors share.
pub(super) fn components(to: ComponentsBuilder) -> ComponentsBuilder {
    let right = || object([("id", guid()), ("role", text()), ("scope", text())]);
    let texts = || list(text());
    to.schema(
        "Principal",
        object([
            ("id", guid()),
            ("name", text()),
            ("kind", word(&["service", "token"])),
            ("clientId", or_null(guid())),
            ("role", or_null(text())),
            ("workspace", or_null(guid())),
            ("roleAssignments", list(right())),
            ("createdMs", whole()),
            ("expiresMs", or_null(whole())),
        ]),
    )
    .schema(
        "Credential",
        object([
            ("id", guid()),
            ("name", text()),
            ("kind", word(&["certificate", "secret"])),
            ("createdMs", whole()),
            ("expiresMs", or_null(whole())),
            ("sha256?", text()),
            ("secret?", text()),
        ]),
    )
    .schema(
        "Service",
        object([
            ("id", guid()),
            ("name", text()),
            ("clientId", guid()),
            ("tenantId", guid()),
            ("createdMs", whole()),
            ("credentials", list(named("Credential"))),
            ("roleAssignments", list(right())),
        ]),
    )
    .schema(
        "OpenIdConfiguration",
        object([
            ("issuer", text()),
            ("authorization_endpoint", text()),
            ("token_endpoint", text()),
            ("jwks_uri", text()),
            ("token_endpoint_auth_methods_supported", texts()),
            ("token_endpoint_auth_signing_alg_values_supported", texts()),
            ("grant_types_supported", texts()),
            ("response_types_supported", texts()),
            ("subject_types_supported", texts()),
            ("id_token_signing_alg_values_supported", texts()),
            ("scopes_supported", texts()),
            ("claims_supported", texts()),
            ("tenant_region_scope", or_null(text())),
        ]),
    )
}
