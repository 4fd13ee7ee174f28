"""The key vault through azure-keyvault-keys as it comes: KeyClient, CryptographyClient, DefaultAzureCredential.

Arguments: the vault's address; client id and secret of somebody who was granted nothing. The environment says who logs in where.
"""

import hashlib
import os
import sys
from datetime import datetime, timedelta, timezone

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.core.rest import HttpRequest
from azure.identity import ClientSecretCredential, DefaultAzureCredential
from azure.keyvault.keys import JsonWebKey, KeyClient, KeyRotationLifetimeAction, KeyRotationPolicy, KeyRotationPolicyAction
from azure.keyvault.keys.crypto import CryptographyClient, EncryptionAlgorithm, KeyWrapAlgorithm, SignatureAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

VAULT, NOBODY, NOBODYS_SECRET = sys.argv[1:4]
SECRET = bytes(range(32))
credential = DefaultAzureCredential()
client = KeyClient(VAULT, credential)


def refused(call, status, code, inner=None):
    """The client raises, with this status and these codes."""
    try:
        call()
    except HttpResponseError as error:
        told = error.error.innererror if error.error else None
        found = (error.status_code, error.error.code if error.error else None, (told or {}).get("code"))
        assert found == (status, code, inner), f"{found} instead of {(status, code, inner)}: {error.message}"
        return error
    raise AssertionError(f"nothing was refused; {status} {code} was expected")


def crypto(key):
    return CryptographyClient(key, credential)


def post(path, body):
    """A call that the client would do by itself, with the public key it has."""
    return client.send_request(HttpRequest("POST", f"{VAULT}{path}?api-version=7.6", json=body))


def number(value):
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


# Making keys, and what cannot be made here.
now = datetime.now(timezone.utc)
kek = client.create_rsa_key("sdk-kek", size=2048, tags={"team": "shop"}, expires_on=now + timedelta(days=400))
assert kek.id == f"{VAULT}/keys/sdk-kek/{kek.properties.version}" and kek.key_type == "RSA", kek.id
assert kek.properties.recovery_level == "Recoverable" and kek.properties.recoverable_days == 90
assert kek.properties.tags == {"team": "shop"} and kek.properties.enabled and not kek.properties.exportable
assert sorted(kek.key_operations) == ["decrypt", "encrypt", "sign", "unwrapKey", "verify", "wrapKey"]
curve = client.create_ec_key("sdk-curve", curve="P-384")
assert curve.key_type == "EC" and curve.key.crv == "P-384" and sorted(curve.key_operations) == ["sign", "verify"]
for make in [
    lambda: client.create_rsa_key("no", hardware_protected=True),
    lambda: client.create_ec_key("no", hardware_protected=True),
    lambda: client.create_oct_key("no", size=256),
    lambda: client.create_oct_key("no", size=256, hardware_protected=True),
    lambda: client.create_rsa_key("no", size=1024),
    lambda: client.create_rsa_key("no", exportable=True, release_policy=None),
    lambda: client.create_rsa_key("not_a_name"),
]:
    refused(make, 400, "BadParameter")

# Keys made elsewhere.
own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
parts, public = own.private_numbers(), own.public_key().public_numbers()
jwk = JsonWebKey(
    kty="RSA", key_ops=["wrapKey", "unwrapKey"], n=number(public.n), e=number(public.e), d=number(parts.d), p=number(parts.p),
    q=number(parts.q), dp=number(parts.dmp1), dq=number(parts.dmq1), qi=number(parts.iqmp),
)
brought = client.import_key("sdk-brought", jwk, hardware_protected=False)
assert brought.key.n == jwk.n and brought.key.d is None and brought.key_operations == ["wrapKey", "unwrapKey"]
own_curve = ec.generate_private_key(ec.SECP521R1())
point = own_curve.public_key().public_numbers()
ec_jwk = JsonWebKey(kty="EC", crv="P-521", x=number(point.x), y=number(point.y), d=number(own_curve.private_numbers().private_value))
signer = client.import_key("sdk-signer", ec_jwk)
assert int.from_bytes(signer.key.x, "big") == point.x
refused(lambda: client.import_key("no", jwk, hardware_protected=True), 400, "BadParameter")

# Reading: the newest, one version, lists page by page.
assert client.get_key("SDK-KEK").id == kek.id == client.get_key("sdk-kek", kek.properties.version).id
refused(lambda: client.get_key("nope"), 404, "KeyNotFound")
refused(lambda: client.get_key("sdk-kek", "0" * 32), 404, "KeyNotFound")
assert isinstance(refused(lambda: client.get_key("nope"), 404, "KeyNotFound"), ResourceNotFoundError)
pages = [[key.name for key in page] for page in client.list_properties_of_keys(max_page_size=3).by_page()]
assert [len(page) for page in pages] == [3, 1] and sorted(sum(pages, [])) == ["sdk-brought", "sdk-curve", "sdk-kek", "sdk-signer"], pages

# Rotation, by hand and by policy.
second = client.rotate_key("sdk-kek")
assert second.properties.version != kek.properties.version and second.properties.tags == {"team": "shop"}
versions = list(client.list_properties_of_key_versions("sdk-kek", max_page_size=1))
assert [one.version for one in versions] == [kek.properties.version, second.properties.version]
usual = client.get_key_rotation_policy("sdk-kek")
assert [(one.action, one.time_before_expiry) for one in usual.lifetime_actions] == [(KeyRotationPolicyAction.notify, "P30D")]
actions = [
    KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P90D"),
    KeyRotationLifetimeAction(KeyRotationPolicyAction.notify, time_before_expiry="P10D"),
]
policy = client.update_key_rotation_policy("sdk-kek", KeyRotationPolicy(lifetime_actions=actions, expires_in="P180D"))
assert policy.expires_in == "P180D" and policy.id == f"{VAULT}/keys/sdk-kek/rotationpolicy" and policy.created_on and policy.updated_on
assert sorted((one.action, one.time_after_create, one.time_before_expiry) for one in policy.lifetime_actions) == [
    ("Notify", None, "P10D"), ("Rotate", "P90D", None),
]
third = client.rotate_key("sdk-kek")
life = third.properties.expires_on - third.properties.created_on
assert life == timedelta(days=180), life
impossible = KeyRotationPolicy(lifetime_actions=[KeyRotationLifetimeAction("Rotate", time_after_create="P1D")])
refused(lambda: client.update_key_rotation_policy("sdk-kek", impossible), 400, "BadParameter")

# What the client does by itself with the public key, the vault undoes with the private one; also without a version.
for alg in [KeyWrapAlgorithm.rsa_oaep_256, KeyWrapAlgorithm.rsa_oaep]:
    wrapped = crypto(kek).wrap_key(alg, SECRET)
    assert crypto(kek.id).unwrap_key(alg, wrapped.encrypted_key).key == SECRET
    newest = crypto(f"{VAULT}/keys/sdk-kek")
    assert newest.unwrap_key(alg, newest.wrap_key(alg, SECRET).encrypted_key).key == SECRET
for alg in [EncryptionAlgorithm.rsa_oaep_256, EncryptionAlgorithm.rsa_oaep]:
    assert crypto(kek).decrypt(alg, crypto(kek).encrypt(alg, SECRET).ciphertext).plaintext == SECRET
old = crypto(kek).encrypt(EncryptionAlgorithm.rsa1_5, SECRET).ciphertext
refused(lambda: crypto(kek).decrypt(EncryptionAlgorithm.rsa1_5, old), 400, "BadParameter")
refused(lambda: crypto(kek).unwrap_key(KeyWrapAlgorithm.rsa_oaep, wrapped.encrypted_key[:-1] + bytes([wrapped.encrypted_key[-1] ^ 1])), 400, "BadParameter")

# The vault signs; the client checks that with a library of its own.
hashes = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}
for key, algorithms in [(kek, ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]), (curve, ["ES384"]), (signer, ["ES512"])]:
    for alg in map(SignatureAlgorithm, algorithms):
        digest = hashes[alg.value[2:]](b"a message").digest()
        signature = crypto(key.id).sign(alg, digest).signature
        assert crypto(key).verify(alg, digest, signature).is_valid, alg
        assert not crypto(key).verify(alg, hashes[alg.value[2:]](b"another").digest(), signature).is_valid, alg
refused(lambda: crypto(curve).sign(SignatureAlgorithm.es256, b"\1" * 32), 400, "BadParameter")

# Attributes: merged; what a disabled and an expired key still do.
wrapped = crypto(kek).wrap_key(KeyWrapAlgorithm.rsa_oaep_256, SECRET).encrypted_key
off = client.update_key_properties("sdk-kek", kek.properties.version, enabled=False)
assert not off.properties.enabled and off.properties.tags == {"team": "shop"} and off.properties.expires_on == kek.properties.expires_on
# Here the client is not to be believed: it wraps with the public key it has and asks nobody.
crypto(kek).wrap_key(KeyWrapAlgorithm.rsa_oaep_256, SECRET)
refused(lambda: crypto(kek).unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped), 403, "Forbidden", "KeyDisabled")
refused(lambda: crypto(kek).sign(SignatureAlgorithm.rs256, b"\1" * 32), 403, "Forbidden", "KeyDisabled")
assert client.get_key("sdk-kek", kek.properties.version).properties.enabled is False
past = client.update_key_properties("sdk-kek", kek.properties.version, enabled=True, tags={}, expires_on=now - timedelta(days=1))
assert past.properties.tags in (None, {}) and past.properties.expires_on < now
path, value = f"/keys/sdk-kek/{kek.properties.version}", "AAAA"
expired = post(f"{path}/wrapkey", {"alg": "RSA-OAEP-256", "value": value})
assert (expired.status_code, expired.json()["error"]["innererror"]["code"]) == (403, "KeyExpired"), expired.text()
assert crypto(past.id).unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped).key == SECRET
extended = client.update_key_properties("sdk-kek", kek.properties.version, expires_on=now + timedelta(days=30))
assert post(f"{path}/wrapkey", {"alg": "RSA-OAEP-256", "value": value}).status_code == 200
assert post("/keys/sdk-kek//wrapkey", {"alg": "RSA-OAEP-256", "value": value}).json()["kid"] == third.id
narrow = client.update_key_properties("sdk-curve", key_operations=["verify"])
refused(lambda: crypto(curve.id).sign(SignatureAlgorithm.es384, b"\1" * 48), 403, "Forbidden", "KeyOperationForbidden")

# Backups, random bytes, and what there is not.
blob = client.backup_key("sdk-signer")
assert isinstance(refused(lambda: client.restore_key_backup(blob), 409, "Conflict"), ResourceExistsError)
refused(lambda: client.restore_key_backup(blob[:-1] + bytes([blob[-1] ^ 1])), 400, "BadParameter")
assert len(client.get_random_bytes(32)) == 32 and client.get_random_bytes(32) != client.get_random_bytes(32)
refused(lambda: client.release_key("sdk-kek", "an attestation"), 400, "BadParameter")
refused(lambda: client.get_key_attestation("sdk-kek"), 400, "BadParameter")

# Deleting, with both protections on.
gone = client.begin_delete_key("sdk-signer").result()
assert gone.recovery_id == f"{VAULT}/deletedkeys/sdk-signer" and gone.scheduled_purge_date - gone.deleted_date == timedelta(days=90)
refused(lambda: client.get_key("sdk-signer"), 404, "KeyNotFound")
refused(lambda: client.create_ec_key("sdk-signer"), 409, "Conflict", "ObjectIsDeletedButRecoverable")
refused(lambda: client.restore_key_backup(blob), 409, "Conflict", "ObjectIsDeletedButRecoverable")
assert [one.name for one in client.list_deleted_keys()] == ["sdk-signer"] and client.get_deleted_key("sdk-signer").id == gone.id
refused(lambda: client.purge_deleted_key("sdk-signer"), 403, "Forbidden", "ForbiddenByPolicy")
back = client.begin_recover_deleted_key("sdk-signer").result()
assert back.id == signer.id and not list(client.list_deleted_keys())
digest = hashlib.sha512(b"a message").digest()
assert crypto(back).verify(SignatureAlgorithm.es512, digest, crypto(back).sign(SignatureAlgorithm.es512, digest).signature).is_valid

# Interfaces of other years.
for version in ["2016-10-01", "7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01"]:
    assert KeyClient(VAULT, credential, api_version=version).get_key("sdk-kek").id == third.id, version

# Who may not.
wrong = ClientSecretCredential("adfs", os.environ["AZURE_CLIENT_ID"], "svc_wrong", authority=os.environ["AZURE_AUTHORITY_HOST"])
try:
    KeyClient(VAULT, wrong).get_key("sdk-kek")
    raise AssertionError("a wrong secret logged in")
except ClientAuthenticationError as error:
    assert "AADSTS7000215" in str(error), error
nobody = ClientSecretCredential("adfs", NOBODY, NOBODYS_SECRET, authority=os.environ["AZURE_AUTHORITY_HOST"])
refused(lambda: KeyClient(VAULT, nobody).get_key("sdk-kek"), 403, "Forbidden", "ForbiddenByRbac")
print("every call was answered as it should be")
