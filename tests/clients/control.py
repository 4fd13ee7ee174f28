"""The control plane as azure-mgmt-loganalytics drives it, from making to deleting, in each version that its users ask for."""

import os
import sys
import time

from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.mgmt.loganalytics import LogAnalyticsManagementClient

BASE, TOKEN, SUBSCRIPTION = (os.environ[name] for name in ("BASE", "TOKEN", "SUBSCRIPTION"))
REGION, GROUP = "local", "Default"


class Static:
    """A token that is there already."""

    def get_token(self, *scopes, **_):
        return AccessToken(TOKEN, int(time.time()) + 3600)


class Plain(SansIOHTTPPolicy):
    """Lets the bearer policy speak to a server without TLS."""

    def on_request(self, request):
        request.context.options["enforce_https"] = False


def client(version=None):
    options = {"api_version": version} if version else {}
    plain = [Plain()] if BASE.startswith("http:") else []
    return LogAnalyticsManagementClient(
        Static(), SUBSCRIPTION, base_url=BASE, per_call_policies=plain, polling_interval=1, credential_scopes=[BASE + "/.default"], **options
    )


def refused(kind, status, code, call):
    try:
        call()
    except HttpResponseError as error:
        assert isinstance(error, kind), repr(error)
        assert (error.status_code, error.error.code) == (status, code), (error.status_code, str(error))
        return str(error)
    raise AssertionError(f"{code} was not said")


def cluster_body(capacity=100):
    return {"location": REGION, "identity": {"type": "SystemAssigned"}, "sku": {"name": "CapacityReservation", "capacity": capacity}}


def clusters(azure, version, name):
    made = azure.clusters.begin_create_or_update(GROUP, name, {**cluster_body(), "tags": {"team": "shop"}}).result()
    assert made.properties.provisioning_state == "Succeeded", made
    assert made.name == name and made.type == "Microsoft.OperationalInsights/clusters" and made.tags == {"team": "shop"}
    assert (made.sku.name, made.sku.capacity, made.identity.type) == ("CapacityReservation", 100, "SystemAssigned")
    assert made.identity.principal_id and made.identity.tenant_id and made.properties.cluster_id
    if version != "2020-08-01":
        assert made.properties.billing_type == "Cluster" and made.properties.capacity_reservation_properties.min_capacity == 100
        assert made.properties.is_double_encryption_enabled is True and made.properties.created_date
    assert name in [one.name for one in azure.clusters.list_by_resource_group(GROUP)]
    assert name in [one.name for one in azure.clusters.list()]

    changed = azure.clusters.begin_update(GROUP, name, {"properties": {"billingType": "Workspaces"}, "sku": {"name": "capacityreservation", "capacity": 300}}).result()
    assert changed.sku.capacity == 300, changed
    assert changed.properties.billing_type.lower() == "workspaces"
    text = refused(HttpResponseError, 400, "CapacityLocked", lambda: azure.clusters.begin_update(GROUP, name, {"sku": {"name": "CapacityReservation", "capacity": 200}}))
    assert "Capacity is locked for 30 days." in text, text
    # A whole cluster sent back, as `az ... update` does, with one member changed: the lock has nothing to say to it.
    whole = azure.clusters.get(GROUP, name).as_dict()
    whole["tags"] = {"team": "payments"}
    assert azure.clusters.begin_create_or_update(GROUP, name, whole).result().tags == {"team": "payments"}
    return changed


def wrong_clusters(azure):
    for body, code in [
        ({"location": REGION, "sku": {"name": "CapacityReservation", "capacity": 100}}, "MissingIdentity"),
        ({"location": REGION, "identity": {"type": "SystemAssigned"}}, "MissingSku"),
        (cluster_body(99), "CapacityOutOfRange"),
        (cluster_body(150), "MissingCapacity"),
        ({**cluster_body(), "sku": {"name": "PerGB2018", "capacity": 100}}, "CapacityWithoutReservation"),
        ({**cluster_body(), "properties": {"keyVaultProperties": {"keyVaultUri": "https://v", "keyName": "k", "keyVersion": ""}}}, "KeyVaultPropertiesOnCreate"),
    ]:
        refused(HttpResponseError, 400, code, lambda body=body: azure.clusters.begin_create_or_update(GROUP, "never", body))
    refused(HttpResponseError, 400, "InvalidClusterName", lambda: azure.clusters.begin_create_or_update(GROUP, "a_bc", cluster_body()))
    refused(ResourceNotFoundError, 404, "ResourceNotFound", lambda: azure.clusters.get(GROUP, "never"))


def workspaces(azure, version, cluster, name):
    made = azure.workspaces.begin_create_or_update(
        GROUP, name, {"location": REGION, "tags": {"a": "b"}, "properties": {"sku": {"name": "PerGB2018"}, "retentionInDays": 40, "features": {"somethingNew": [1]}}}
    ).result()
    assert (made.properties.retention_in_days, made.properties.provisioning_state, made.location) == (40, "Succeeded", REGION), made
    assert made.properties.sku.name == "PerGB2018" and made.tags == {"a": "b"}
    patched = azure.workspaces.update(GROUP, name, {"properties": {"publicNetworkAccessForQuery": "Disabled"}})
    assert patched.properties.public_network_access_for_query == "Disabled" and patched.properties.retention_in_days == 40
    assert patched.as_dict()["properties"]["features"]["somethingNew"] == [1], patched.as_dict()
    assert name in [one.name for one in azure.workspaces.list()] and name in [one.name for one in azure.workspaces.list_by_resource_group(GROUP)]

    linked = azure.linked_services.begin_create_or_update(GROUP, name, "cluster", {"properties": {"writeAccessResourceId": cluster.id}}).result()
    assert (linked.properties.provisioning_state, linked.properties.write_access_resource_id) == ("Succeeded", cluster.id), linked
    shown = azure.workspaces.get(GROUP, name)
    assert shown.properties.sku.name == "LACluster" and shown.as_dict()["properties"]["features"]["clusterResourceId"] == cluster.id
    assert [one.name for one in azure.linked_services.list_by_workspace(GROUP, name)] == [name + "/cluster"]

    # Deleted while linked, recovered by making it anew: the same workspace, linked as before.
    azure.workspaces.begin_delete(GROUP, name).result()
    refused(ResourceNotFoundError, 404, "ResourceNotFound", lambda: azure.workspaces.get(GROUP, name))
    assert name in [one.name for one in azure.deleted_workspaces.list()]
    assert name in [one.name for one in azure.deleted_workspaces.list_by_resource_group(GROUP)]
    back = azure.workspaces.begin_create_or_update(GROUP, name, {"location": REGION}).result()
    assert back.properties.customer_id == made.properties.customer_id and back.properties.retention_in_days == 40
    assert back.as_dict()["properties"]["features"]["clusterResourceId"] == cluster.id
    assert name not in [one.name for one in azure.deleted_workspaces.list()]
    refused(ResourceExistsError, 409, "InvalidResourceLocation", lambda: azure.workspaces.begin_create_or_update(GROUP, name, {"location": "elsewhere"}))
    azure.linked_services.begin_delete(GROUP, name, "cluster").result()
    assert "clusterResourceId" not in azure.workspaces.get(GROUP, name).as_dict()["properties"]["features"]
    return back


def around(azure, name):
    assert {one.name.value for one in azure.usages.list(GROUP, name)} == {"StoredData", "StoredBlocks"}
    assert list(azure.management_groups.list(GROUP, name)) == [] and azure.intelligence_packs.list(GROUP, name) == []
    assert [tier.service_tier for tier in azure.available_service_tiers.list_by_workspace(GROUP, name)] == ["PerGB2018"]
    assert azure.schema.get(GROUP, name).metadata.result_type == "schema"
    assert "Microsoft.OperationalInsights/clusters/read" in [one.name for one in azure.operations.list()]


def tables(azure, name):
    columns = [{"name": "TimeGenerated", "type": "dateTime"}, {"name": "Level", "type": "string"}, {"name": "Took", "type": "real"}, {"name": "Id", "type": "guid"}]
    body = {"properties": {"plan": "Analytics", "retentionInDays": 30, "totalRetentionInDays": 90, "schema": {"name": "My_CL", "columns": columns}}}
    made = azure.tables.begin_create_or_update(GROUP, name, "My_CL", body).result()
    properties = made.properties
    assert (properties.retention_in_days, properties.total_retention_in_days, properties.archive_retention_in_days) == (30, 90, 60), made
    assert {column.name: column.type for column in properties.schema.columns} == {"Level": "string", "Took": "real", "Id": "guid"}
    assert properties.schema.table_type == "CustomLog" and properties.schema.source == "customer"
    changed = azure.tables.begin_update(GROUP, name, "My_CL", {"properties": {"plan": "Auxiliary", "totalRetentionInDays": 60}}).result()
    assert (changed.properties.plan, changed.properties.retention_in_days, changed.properties.total_retention_in_days) == ("Auxiliary", 30, 60)
    assert changed.properties.last_plan_modified_date
    azure.tables.begin_update(GROUP, name, "My_CL", {"properties": {"retentionInDays": -1, "totalRetentionInDays": -1}}).result()
    shown = azure.tables.get(GROUP, name, "My_CL").properties
    assert shown.retention_in_days_as_default and shown.total_retention_in_days_as_default and shown.retention_in_days == 4000
    # As `az ... update` does: what was shown goes back whole.
    azure.tables.begin_create_or_update(GROUP, name, "My_CL", azure.tables.get(GROUP, name, "My_CL").as_dict()).result()
    azure.tables.migrate(GROUP, name, "My_CL")
    assert "My_CL" in [one.name for one in azure.tables.list_by_workspace(GROUP, name)]
    clash = {"properties": {"schema": {"name": "My_CL", "columns": [{"name": "Took", "type": "string"}]}}}
    refused(ResourceExistsError, 409, "ColumnTypeConflict", lambda: azure.tables.begin_create_or_update(GROUP, name, "My_CL", clash))
    job = {"properties": {"searchResults": {"query": "My_CL", "startSearchTime": "2024-01-01T00:00:00Z", "endSearchTime": "2024-01-02T00:00:00Z"}}}
    refused(HttpResponseError, 400, "SearchJobsNotSupported", lambda: azure.tables.begin_create_or_update(GROUP, name, "Found_SRCH", job))
    refused(HttpResponseError, 400, "InvalidTableName", lambda: azure.tables.begin_create_or_update(GROUP, name, "Mine", {"properties": {}}))
    azure.tables.begin_create_or_update(GROUP, name, "Gone_CL", {"properties": {"schema": {"name": "Gone_CL", "columns": columns}}}).result()
    azure.tables.begin_delete(GROUP, name, "Gone_CL").result()
    refused(ResourceNotFoundError, 404, "ResourceNotFound", lambda: azure.tables.get(GROUP, name, "Gone_CL"))
    azure.tables.begin_delete(GROUP, name, "Gone_CL").result()


def searches(azure, name):
    body = {"category": "Errors", "displayName": "canary-name", "query": "My_CL // canary-comment", "tags": [{"name": "Group", "value": "canary-tag"}]}
    kept = azure.saved_searches.create_or_update(GROUP, name, "Plain", {"properties": body})
    assert (kept.properties.category, kept.properties.query, kept.properties.version) == ("Errors", body["query"], 2) and kept.etag
    assert kept.properties.tags[0].value == "canary-tag" and kept.name == "Plain"
    alias = {**body, "query": "print shown = a + 1", "functionAlias": "OneMore", "functionParameters": "a:long"}
    azure.saved_searches.create_or_update(GROUP, name, "f1", {"properties": alias})
    assert sorted(one.name for one in azure.saved_searches.list_by_workspace(GROUP, name).value) == ["Plain", "f1"]
    shown = azure.saved_searches.get(GROUP, name, "F1")
    assert (shown.properties.function_alias, shown.properties.function_parameters) == ("OneMore", "a:long")
    changed = azure.saved_searches.create_or_update(GROUP, name, "Plain", {"etag": kept.etag, "properties": {**body, "displayName": "Other"}})
    assert changed.etag != kept.etag and changed.properties.display_name == "Other"
    refused(HttpResponseError, 412, "PreconditionFailed", lambda: azure.saved_searches.create_or_update(GROUP, name, "Plain", {"etag": kept.etag, "properties": body}))
    azure.saved_searches.create_or_update(GROUP, name, "Plain", {"etag": "*", "properties": body})
    refused(ResourceExistsError, 409, "FunctionAliasTaken", lambda: azure.saved_searches.create_or_update(GROUP, name, "f2", {"properties": alias}))
    azure.saved_searches.delete(GROUP, name, "Gone")
    azure.saved_searches.create_or_update(GROUP, name, "Gone", {"properties": body})
    azure.saved_searches.delete(GROUP, name, "gone")
    refused(ResourceNotFoundError, 404, "ResourceNotFound", lambda: azure.saved_searches.get(GROUP, name, "Gone"))


def lifecycle():
    for at, version in enumerate([None, "2023-09-01", "2020-08-01"]):
        azure, name = client(version), f"shop-{at}"
        cluster = clusters(azure, version, f"contoso-{at}")
        workspaces(azure, version, cluster, name)
        azure.workspaces.begin_delete(GROUP, name, force=True).result()
        assert name not in [one.name for one in azure.deleted_workspaces.list()]
        azure.clusters.begin_delete(GROUP, f"contoso-{at}").result()
        text = refused(ResourceNotFoundError, 404, "ResourceNotFound", lambda: azure.clusters.get(GROUP, f"contoso-{at}"))
        assert "Cluster not found, the cluster might have been deleted." in text, text
        refused(ResourceExistsError, 409, "ClusterNameReserved", lambda: azure.clusters.begin_create_or_update(GROUP, f"contoso-{at}", cluster_body()))
    wrong_clusters(client())


def content():
    azure = client()
    azure.workspaces.begin_create_or_update(GROUP, "content", {"location": REGION, "properties": {"retentionInDays": 4000}}).result()
    around(azure, "content")
    tables(azure, "content")
    searches(azure, "content")


def purge():
    azure = client()
    body = {"table": "My_CL", "filters": [{"column": "TimeGenerated", "operator": "<", "value": "2026-03-02T00:00:00Z"}]}
    begun = azure.workspace_purge.purge(GROUP, "content", body)
    for _ in range(60):
        if azure.workspace_purge.get_purge_status(GROUP, "content", begun.operation_id).status == "completed":
            return
        time.sleep(0.5)
    raise AssertionError("the purge does not end")


{"lifecycle": lifecycle, "content": content, "purge": purge}[sys.argv[1]]()
print("done", sys.argv[1])
