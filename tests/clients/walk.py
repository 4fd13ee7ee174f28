"""The whole way by the SDKs as they are installed: three subscriptions, DefaultAzureCredential, https.

The environment says where: BASE, VAULT, VAULT_ADMIN, VAULT_CA, VAULT_TENANT, CLUSTER_SUB, VAULT_SUB, WORKSPACE_SUB, and what
azure-identity reads.
"""

import json
import os
import ssl
import time
import urllib.request
from datetime import datetime, timedelta, timezone

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from azure.keyvault.keys import KeyClient
from azure.mgmt.loganalytics import LogAnalyticsManagementClient
from azure.monitor.ingestion import LogsIngestionClient
from azure.monitor.query import LogsQueryClient, LogsQueryStatus

E = os.environ
BASE, VAULT, GROUP = E["BASE"], E["VAULT"], "walk"
SUBSCRIPTIONS = {name: E[name] for name in ("CLUSTER_SUB", "VAULT_SUB", "WORKSPACE_SUB")}
BEFORE, AFTER = 1_000, 5_000
START = time.monotonic()

# One credential for all of it: tokens for the control plane, the data planes and the vault.
credential = DefaultAzureCredential()


def said(text):
    print(f"{time.monotonic() - START:6.1f} s  {text}", flush=True)


def azure(subscription):
    options = {"base_url": BASE, "credential_scopes": [f"{BASE}/.default"], "polling_interval": 1}
    return LogAnalyticsManagementClient(credential, SUBSCRIPTIONS[subscription], **options)


def arm(method, subscription, rest, body=None):
    """What none of these packages speaks: groups, the vault's place, rules."""
    url = f"{BASE}/subscriptions/{SUBSCRIPTIONS[subscription]}/resourceGroups/{GROUP}{rest}?api-version=2023-03-11"
    request = urllib.request.Request(url, method=method, data=None if body is None else json.dumps(body).encode())
    request.add_header("Authorization", f"Bearer {credential.get_token(f'{BASE}/.default').token}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=E["REQUESTS_CA_BUNDLE"])) as answer:
        return json.loads(answer.read() or b"null")


def owner(method, path, body):
    """The vault's owner, who says what a cluster may do with keys."""
    request = urllib.request.Request(f"{VAULT}{path}?api-version=7.4", method=method, data=json.dumps(body).encode())
    request.add_header("Authorization", f"Bearer {E['VAULT_ADMIN']}")
    request.add_header("Content-Type", "application/json")
    urllib.request.urlopen(request, context=ssl.create_default_context(cafile=E["VAULT_CA"])).close()


def refused(status, code, call):
    try:
        call()
    except HttpResponseError as error:
        assert (error.status_code, error.error and error.error.code) == (status, code), (error.status_code, str(error))
        return error
    raise AssertionError(f"{code} was not said")


# Vault and key.
for subscription in SUBSCRIPTIONS:
    arm("PUT", subscription, "", {"location": "local"})
keys = KeyClient(VAULT, credential)
first = keys.create_rsa_key("walk-kek", size=3072)
properties = {"tenantId": E["VAULT_TENANT"], "vaultUri": VAULT, "caPem": open(E["VAULT_CA"]).read()}
arm("PUT", "VAULT_SUB", "/providers/Microsoft.KeyVault/vaults/customers", {"location": "local", "properties": properties})
said("a vault and a key")

# Cluster, grant, key.
clusters, workspaces = azure("CLUSTER_SUB").clusters, azure("WORKSPACE_SUB")
body = {"location": "local", "identity": {"type": "SystemAssigned"}, "sku": {"name": "CapacityReservation", "capacity": 100}}
cluster = clusters.begin_create_or_update(GROUP, "walk-cluster", body).result()
set_key = {"properties": {"keyVaultProperties": {"keyVaultUri": VAULT, "keyName": "walk-kek", "keyVersion": ""}}}
refused(400, "KeyValidationFailed", lambda: clusters.begin_update(GROUP, "walk-cluster", set_key).result())
shown = arm("GET", "CLUSTER_SUB", "/providers/Microsoft.OperationalInsights/clusters/walk-cluster")
public = {"name": "walk-cluster", "publicKeyPem": shown["properties"]["identityPublicKey"]}
owner("PUT", f"/vault/identities/{cluster.identity.principal_id}", public)
owner("PUT", "/vault/grants", {"principal": cluster.identity.principal_id, "role": "Key Vault Crypto Service Encryption User"})
keyed = clusters.begin_update(GROUP, "walk-cluster", set_key).result()
assert keyed.properties.key_vault_properties.key_name == "walk-kek" and keyed.properties.provisioning_state == "Succeeded", keyed
said("a cluster under the key")

# A workspace with rows from before the link, then the link, then rows from after it.
workspace = workspaces.workspaces.begin_create_or_update(GROUP, "walk-workspace", {"location": "local"}).result()
endpoint = arm("PUT", "WORKSPACE_SUB", "/providers/Microsoft.Insights/dataCollectionEndpoints/in", {"location": "local", "properties": {}})
columns = [{"name": "TimeGenerated", "type": "datetime"}, {"name": "n", "type": "long"}, {"name": "word", "type": "string"}]
rule = {
    "dataCollectionEndpointId": endpoint["id"],
    "streamDeclarations": {"Custom-Walk": {"columns": columns}},
    "destinations": {"logAnalytics": [{"workspaceResourceId": workspace.id, "name": "la"}]},
    "dataFlows": [{"streams": ["Custom-Walk"], "destinations": ["la"], "transformKql": "source", "outputStream": "Custom-Walk_CL"}],
}
rule = arm("PUT", "WORKSPACE_SUB", "/providers/Microsoft.Insights/dataCollectionRules/walk", {"location": "local", "properties": rule})
ingestion = LogsIngestionClient(endpoint["properties"]["logsIngestion"]["endpoint"], credential)
origin = datetime.now(timezone.utc) - timedelta(minutes=30)


def upload(start, count):
    rows = [
        {"TimeGenerated": (origin + timedelta(milliseconds=n)).isoformat(), "n": n, "word": f"word {n % 7}"}
        for n in range(start, start + count)
    ]
    ingestion.upload(rule["properties"]["immutableId"], "Custom-Walk", rows)


questions = LogsQueryClient(credential, endpoint=f"{BASE}/v1")
TEXT = "Walk_CL | summarize rows = count(), total = sum(n), least = min(n), most = max(n), words = dcount(word)"


def ask():
    answer = questions.query_workspace(workspace.properties.customer_id, TEXT, timespan=timedelta(hours=1))
    assert answer.status == LogsQueryStatus.SUCCESS, answer
    return list(answer.tables[0].rows[0])


def whole(count):
    return [count, count * (count - 1) // 2, 0, count - 1, 7]


upload(0, BEFORE)
assert ask() == whole(BEFORE)
link = {"properties": {"writeAccessResourceId": cluster.id}}
linked = workspaces.linked_services.begin_create_or_update(GROUP, "walk-workspace", "cluster", link).result()
assert linked.properties.provisioning_state == "Succeeded", linked
upload(BEFORE, AFTER)
everything = whole(BEFORE + AFTER)
assert ask() == everything
said(f"{BEFORE} rows from before the link and {AFTER} from after it in one answer")

# Another version: nothing to do, nothing to see.
second = keys.rotate_key("walk-kek")
assert second.properties.version != first.properties.version and ask() == everything

# The key is disabled: every door refuses with our code.
for version in (first, second):
    keys.update_key_properties("walk-kek", version.properties.version, enabled=False)
deadline, began = time.monotonic() + 75, time.monotonic()
while True:
    try:
        ask()
    except HttpResponseError as error:
        assert (error.status_code, error.error.code) == (403, "CustomerKeyRevoked"), error
        break
    assert time.monotonic() < deadline, "the key is disabled, and rows are still answered"
    time.sleep(0.25)
said(f"revoked after {time.monotonic() - began:.1f} s")
refused(403, "CustomerKeyRevoked", ask)
refused(403, "CustomerKeyRevoked", lambda: upload(BEFORE + AFTER, 1))

# And enabled: the same answer.
for version in (first, second):
    keys.update_key_properties("walk-kek", version.properties.version, enabled=True)
deadline, began = time.monotonic() + 75, time.monotonic()
while True:
    try:
        assert ask() == everything
        break
    except HttpResponseError as error:
        assert error.status_code in (403, 503), error
    assert time.monotonic() < deadline, "the key is enabled, and rows are still refused"
    time.sleep(0.25)
said(f"back after {time.monotonic() - began:.1f} s, with the same answer")

# Unlinked, all rows are there; then everything goes.
workspaces.linked_services.begin_delete(GROUP, "walk-workspace", "cluster").result()
upload(BEFORE + AFTER, 10)
assert ask() == whole(BEFORE + AFTER + 10)
held = refused(409, "ClusterHoldsData", lambda: clusters.begin_delete(GROUP, "walk-cluster").result())
assert isinstance(held, ResourceExistsError), held
workspaces.workspaces.begin_delete(GROUP, "walk-workspace", force=True).result()
try:
    workspaces.workspaces.get(GROUP, "walk-workspace")
    raise AssertionError("the workspace is still there")
except ResourceNotFoundError:
    pass
clusters.begin_delete(GROUP, "walk-cluster").result()
refused(404, "ResourceNotFound", lambda: clusters.get(GROUP, "walk-cluster"))
said("the whole way")
