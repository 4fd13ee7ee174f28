"""The command lines of the documents, by az as it is installed, in one process: what az does in several it does here one after another.

Run by az's own interpreter. The environment says where: BASE, VAULT, PORT (the vault's), VAULT_ADMIN, VAULT_CA, CLIENT, SECRET, TENANT, VAULT_TENANT,
CLUSTER_SUB, VAULT_SUB, WORKSPACE_SUB, and DATA, the server's own directory.
"""

import io
import json
import os
import ssl
import time
import urllib.request

from azure.cli.core import get_default_cli

E = os.environ
BASE, VAULT = E["BASE"], E["VAULT"]
CLUSTER_SUB, VAULT_SUB, WORKSPACE_SUB = E["CLUSTER_SUB"], E["VAULT_SUB"], E["WORKSPACE_SUB"]
GROUP = "resource-group-name"
INSIGHTS = "Microsoft.OperationalInsights"
START = time.monotonic()


def run(*words):
    """A line; its exit code, what it prints, what it says of a failure."""
    cli, out = get_default_cli(), io.StringIO()
    try:
        code = cli.invoke(list(words), out_file=out) or 0
    except SystemExit as ended:
        # A line that az itself does not take.
        return ended.code, out.getvalue(), "usage"
    return code, out.getvalue(), str(cli.result.error) if cli.result is not None and code else ""


def az(line, *more):
    """A line as it is printed, split at its blanks, and further words that hold blanks themselves. What it prints, as JSON if it is that."""
    code, out, error = run(*line.split(), *more)
    assert code == 0, (line, more, code, out, error)
    print(f"{time.monotonic() - START:6.1f} s  az {line}", flush=True)
    try:
        return json.loads(out) if out.strip() else None
    except ValueError:
        return out.strip()


def refused(why, line, *more, code=None):
    got, out, error = run(*line.split(), *more)
    assert got != 0 and (code is None or got == code), (line, got, out)
    assert why in error, (line, why, error)
    return error


def vault(method, path, body=None):
    """A call to the vault by its own admin: what a customer clicks together."""
    request = urllib.request.Request(f"{VAULT}{path}", method=method, data=None if body is None else json.dumps(body).encode())
    request.add_header("Authorization", f"Bearer {E['VAULT_ADMIN']}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=E["VAULT_CA"])) as answer:
        return json.load(answer) if answer.length != 0 else None


def until(what, found):
    deadline = time.monotonic() + 90
    while not found():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


# CL1: three subscriptions, and az goes from one to the other.
az(f"cloud register -n Self --endpoint-resource-manager {BASE} --suffix-keyvault-dns .0.0.1:{E['PORT']}")
az("cloud set -n Self")
logged = az(f"login --service-principal -u {E['CLIENT']} -p {E['SECRET']} --tenant {E['TENANT']}")
assert {one["id"] for one in logged} >= {CLUSTER_SUB, VAULT_SUB, WORKSPACE_SUB}, logged

# The vault's: a key, and its place in the control plane.
az(f"account set --subscription {VAULT_SUB}")
az(f"group create -n {GROUP} -l local")
first = az("keyvault key create --vault-name 127 --name key-name --kty RSA --size 2048")["key"]["kid"].rsplit("/", 1)[1]
protection = {"enableSoftDelete": True, "enablePurgeProtection": True, "enableRbacAuthorization": True}
known = {"location": "local", "properties": {"tenantId": E["VAULT_TENANT"], "vaultUri": VAULT, "caPem": open(E["VAULT_CA"]).read(), **protection}}
place = f"/subscriptions/{{subscriptionId}}/resourceGroups/{GROUP}/providers/Microsoft.KeyVault/vaults/customers"
az(f"rest --method put --url {BASE}{place}?api-version=2023-09-01 --headers Content-Type=application/json --body", json.dumps(known))

# X5: what is known of a vault is read by az, in its group and without one; nothing of that is in another subscription.
assert [one["name"] for one in az("keyvault list")] == ["customers"]
for where in ["", f" -g {GROUP}"]:
    shown = az(f"keyvault show -n customers{where}")["properties"]
    assert {name: shown[name] for name in protection} == protection and shown["vaultUri"] == VAULT, shown
everything = az("resource list")
assert [(one["type"], one["name"], one["resourceGroup"]) for one in everything] == [("Microsoft.KeyVault/vaults", "customers", GROUP)], everything
assert az(f"resource list -g {GROUP} --resource-type Microsoft.KeyVault/vaults")[0]["id"] == everything[0]["id"]
assert az("resource list --name other") == []
az("provider register -n Microsoft.OperationalInsights")
storage = f"/subscriptions/{VAULT_SUB}/resourceGroups/{GROUP}/providers/Microsoft.Storage/storageAccounts/storagename"
az(f"rest --method put --url {BASE}{storage}?api-version=2021-09-01 --headers Content-Type=application/json --body", json.dumps({"location": "local", "kind": "StorageV2"}))

# The cluster's.
az(f"account set --subscription {CLUSTER_SUB}")
az(f"group create -n {GROUP} -l local")
made = az(f"monitor log-analytics cluster create --name cluster-name --resource-group {GROUP} -l local --sku-capacity 100 --identity-type SystemAssigned")
assert (made["provisioningState"], made["identity"]["type"], made["sku"]["capacity"]) == ("Succeeded", "SystemAssigned", 100), made
cluster = made["id"]
update = f"monitor log-analytics cluster update --name cluster-name --resource-group {GROUP} --key-name key-name --key-vault-uri {VAULT} --key-version"
refused("Failed to validate key in Key Vault", update, first, code=1)
page = az(f"rest --method get --url {BASE}{cluster}?api-version=2023-09-01")
principal = page["identity"]["principalId"]
vault("PUT", f"/vault/identities/{principal}?api-version=7.4", {"name": "cluster-name", "publicKeyPem": page["properties"]["identityPublicKey"]})
vault("PUT", "/vault/grants?api-version=7.4", {"principal": principal, "role": "Key Vault Crypto Service Encryption User"})

# CL2, CL3, CL4: the lines of the document, with an inner pair of quotes that JMESPath takes.
az(update.replace("cluster update", "cluster update --no-wait"), first)
refused("usage", f"monitor log-analytics cluster list --resource-group {GROUP} --output tsv --query", "[?contains(name, cluster-name)].[id]", code=2)
found = az(f"monitor log-analytics cluster list --resource-group {GROUP} --output tsv --query", "[?contains(name, 'cluster-name')].[id]")
assert found == cluster, found
# As printed it looks every 30 seconds: while the change goes on it is told to look more often.
show = f"monitor log-analytics cluster show --name cluster-name --resource-group {GROUP}"
az(f"resource wait --created --ids {found} --include-response-body true --interval 1")
assert az(show)["provisioningState"] == "Succeeded"
az(f"resource wait --created --ids {found} --include-response-body true")
shown = az(show)
assert (shown["provisioningState"], shown["keyVaultProperties"]["keyVersion"]) == ("Succeeded", first), shown
# 2021's line waits by itself; an empty version follows the newest.
az(update, first)
shown = az(update, "")
assert shown["keyVaultProperties"] == {"keyName": "key-name", "keyRsaSize": 2048, "keyVaultUri": VAULT, "keyVersion": ""} or shown["keyVaultProperties"]["keyVersion"] == "", shown
az(f"monitor log-analytics cluster update --name cluster-name --resource-group {GROUP} --sku-capacity 200")

# CL4, the other end: a cluster that could not be made is said to have failed, by the change and by the line that waits for it.
keys = os.path.join(E["DATA"], "objects", "keys")
os.rename(keys, keys + ".away")
open(keys, "w").close()
failed = f"--name failed-name --resource-group {GROUP}"
code, out, error = run(*f"monitor log-analytics cluster create {failed} -l local --sku-capacity 100 --identity-type SystemAssigned".split())
os.remove(keys)
os.rename(keys + ".away", keys)
assert code == 1 and error, (code, out, error)
shown = az(f"monitor log-analytics cluster show {failed}")
assert shown["provisioningState"] == "Failed", shown
refused("The operation failed", f"resource wait --created --ids {shown['id']} --include-response-body true", code=1)
az(f"monitor log-analytics cluster delete {failed} --yes")

# S2, S10: what the documents print as bodies and is no JSON is told with its place; repaired, it is taken.
PRINTED = """{
  "properties": {
    "keyVaultProperties": {
      "keyVaultUri": "https://key-vault-name.vault.azure.net",
      "keyName": "key-name",
      "keyVersion": ""
  },
  "sku": {
    "name": "CapacityReservation",
    "capacity": 100
  }
}"""
IDENTITY = """{
"identity": {
"type": "UserAssigned",
  "userAssignedIdentities": {
    "subscriptions/<subscription-id>/resourcegroups/<resource-group-name>/providers/Microsoft. ManagedIdentity/UserAssignedIdentities/<cluster-assigned-managed-identity>"
    }
}"""
patch = f"rest --method patch --url {BASE}{cluster}?api-version=2023-09-01 --headers Content-Type=application/json --body"
for printed, place in [(PRINTED, (12, 1)), (IDENTITY, (6, 5))]:
    text = refused("The body of the request is null or in bad format.", patch, printed)
    told = json.loads(text[text.index("{"):text.rindex("}") + 1])["error"]
    where = " ".join(detail["message"] for detail in told["details"])
    assert all(f"{word} {number}" in where for word, number in zip(("line", "column"), place)) and "byte" in where, (place, told)
repaired = PRINTED.replace("https://key-vault-name.vault.azure.net", VAULT).replace('"capacity": 100', '"capacity": 200') + "}"
az(patch, repaired)
until("the change is done", lambda: az(show)["provisioningState"] == "Succeeded")
az(f"resource wait --created --ids {cluster}")

# The workspace's, in the third subscription.
az(f"account set --subscription {WORKSPACE_SUB}")
az(f"group create -n {GROUP} -l local")
workspace = az(f"monitor log-analytics workspace create -g {GROUP} -n workspace-name -l local")
assert (workspace["provisioningState"], workspace["sku"]["name"]) == ("Succeeded", "PerGB2018"), workspace
of = f"-g {GROUP} --workspace-name workspace-name"
az(f"monitor log-analytics workspace linked-service create {of} -n cluster --write-access-resource-id {cluster}")
linked = az(f"monitor log-analytics workspace show -g {GROUP} -n workspace-name")
assert (linked["features"]["clusterResourceId"], linked["sku"]["name"]) == (cluster, "LACluster"), linked
assert [one["name"] for one in az(f"monitor log-analytics workspace linked-service list {of}")] == ["workspace-name/cluster"]

table = f"monitor log-analytics workspace table"
az(f"{table} create {of} -n My_CL --columns TimeGenerated=datetime RawData=string --retention-time 30 --total-retention-time 60")
az(f"{table} update {of} -n My_CL --total-retention-time 90")
shown = az(f"{table} show {of} -n My_CL")
assert (shown["retentionInDays"], shown["totalRetentionInDays"], shown["archiveRetentionInDays"]) == (30, 90, 60), shown
assert [one["name"] for one in az(f"{table} list {of}") if one["name"].endswith("_CL")] == ["My_CL"]

search = "monitor log-analytics workspace saved-search"
az(f"{search} create {of} -n errors --category Errors --display-name Errors --fa OneMore --fp a:long -q", "print shown = a + 1 // a comment")
az(f"{search} update {of} -n errors --category Mistakes")
shown = az(f"{search} show {of} -n errors")
assert (shown["category"], shown["functionAlias"], shown["query"]) == ("Mistakes", "OneMore", "print shown = a + 1 // a comment"), shown
assert [one["name"] for one in az(f"{search} list {of}")] == ["errors"]

# CL5, CL6: the storage account lies in another subscription than the workspace, and az goes from one to the other.
az(f"account set --subscription {VAULT_SUB}")
account = az(f"resource show --ids {storage} --api-version 2021-09-01")["id"]
az(f"account set --subscription {WORKSPACE_SUB}")
links = "monitor log-analytics workspace linked-storage"
for source in ["Query", "ALerts"]:
    az(f"{links} create --type {source} --resource-group {GROUP} --workspace-name workspace-name --storage-accounts {account}")
    shown = az(f"{links} show --type {source} -g {GROUP} --workspace-name workspace-name")
    assert (shown["name"], shown["storageAccountIds"]) == ({"Query": "Query", "ALerts": "Alerts"}[source], [storage]), shown
assert sorted(one["name"] for one in az(f"{links} list -g {GROUP} --workspace-name workspace-name")) == ["Alerts", "Query"]
assert az(f"{search} show {of} -n errors")["category"] == "Mistakes"
for source in ["Query", "Alerts"]:
    az(f"{links} delete --type {source} -g {GROUP} --workspace-name workspace-name --yes")
assert az(f"{search} show {of} -n errors")["category"] == "Mistakes"

# Questions, and what becomes of them with the key.
keys = az(f"monitor log-analytics workspace get-shared-keys {of.replace('--workspace-name', '-n')}")
assert keys["primarySharedKey"] != keys["secondarySharedKey"]
ask = f"rest --method post --url {BASE}/v1/workspaces/{workspace['customerId']}/query --resource https://api.loganalytics.io --headers Content-Type=application/json --body"
question = json.dumps({"query": "OneMore(41)"})
assert az(ask, question)["tables"][0]["rows"] == [[42]]
az(f"account set --subscription {VAULT_SUB}")
second = az("keyvault key rotate --vault-name 127 --name key-name")["key"]["kid"]
for version in [f"{VAULT}/keys/key-name/{first}", second]:
    az(f"keyvault key set-attributes --id {version} --enabled false")
until("the key is away", lambda: run(*ask.split(), question)[0] != 0)
assert "CustomerKeyRevoked" in refused("CustomerKeyRevoked", ask, question)
for version in [f"{VAULT}/keys/key-name/{first}", second]:
    az(f"keyvault key set-attributes --id {version} --enabled true")
until("the key is back", lambda: run(*ask.split(), question)[0] == 0)
assert az(ask, question)["tables"][0]["rows"] == [[42]]

# All of it away again.
az(f"account set --subscription {WORKSPACE_SUB}")
az(f"{search} delete {of} -n errors --yes")
az(f"{table} delete {of} -n My_CL --yes")
az(f"monitor log-analytics workspace linked-service delete {of} -n cluster --yes")
assert "clusterResourceId" not in az(f"monitor log-analytics workspace show -g {GROUP} -n workspace-name")["features"]
az(f"monitor log-analytics workspace delete -g {GROUP} -n workspace-name --yes")
back = az(f"monitor log-analytics workspace recover -g {GROUP} -n workspace-name")
assert back["customerId"] == workspace["customerId"], back
az(f"monitor log-analytics workspace delete -g {GROUP} -n workspace-name --yes --force")
az(f"account set --subscription {CLUSTER_SUB}")
az(f"monitor log-analytics cluster delete --name cluster-name --resource-group {GROUP} --yes")
refused("Cluster not found, the cluster might have been deleted.", f"monitor log-analytics cluster show --name cluster-name --resource-group {GROUP}", code=3)
assert az(f"monitor log-analytics cluster list --resource-group {GROUP}") == []
print("every line was answered")
