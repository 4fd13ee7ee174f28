"""A cluster's and a workspace's life by azure-mgmt-loganalytics 12 or 8: by hand, in an environment that has one of them.

    BASE=… TOKEN=… SUBSCRIPTION=… python tests/clients/control_old.py

The models of these years are flat, and a change of a cluster waits for nothing in 8.
"""

import os
import time
from importlib.metadata import version

from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.mgmt.loganalytics import LogAnalyticsManagementClient
from azure.mgmt.loganalytics import models

BASE, TOKEN, SUBSCRIPTION = (os.environ[name] for name in ("BASE", "TOKEN", "SUBSCRIPTION"))
REGION, GROUP, OWN = "local", "Default", int(version("azure-mgmt-loganalytics").split(".")[0])


class Static:
    def get_token(self, *scopes, **_):
        return AccessToken(TOKEN, int(time.time()) + 3600)


class Plain(SansIOHTTPPolicy):
    def on_request(self, request):
        request.context.options["enforce_https"] = False


azure = LogAnalyticsManagementClient(
    Static(), SUBSCRIPTION, base_url=BASE, per_call_policies=[Plain()], polling_interval=1, credential_scopes=[BASE + "/.default"]
)
cluster, workspace = f"old-cluster-{OWN}", f"old-shop-{OWN}"
identity = models.ManagedServiceIdentity if hasattr(models, "ManagedServiceIdentity") else models.Identity
body = models.Cluster(location=REGION, identity=identity(type="SystemAssigned"), sku=models.ClusterSku(name="CapacityReservation", capacity=100))
made = azure.clusters.begin_create_or_update(GROUP, cluster, body).result()
assert (made.provisioning_state, made.sku.capacity, made.identity.type) == ("Succeeded", 100, "SystemAssigned"), made
patch = models.ClusterPatch(sku=models.ClusterSku(name="CapacityReservation", capacity=200), tags={"a": "b"})
if hasattr(azure.clusters, "begin_update"):
    changed = azure.clusters.begin_update(GROUP, cluster, patch).result()
else:
    changed = azure.clusters.update(GROUP, cluster, patch)
assert changed.sku.capacity == 200 and changed.tags == {"a": "b"}, changed
while azure.clusters.get(GROUP, cluster).provisioning_state != "Succeeded":
    time.sleep(0.5)
assert cluster in [one.name for one in azure.clusters.list_by_resource_group(GROUP)] and cluster in [one.name for one in azure.clusters.list()]
try:
    azure.clusters.get(GROUP, "never")
    raise SystemExit("a cluster that is not there was shown")
except ResourceNotFoundError as error:
    assert "Cluster not found" in str(error), error

shop = azure.workspaces.begin_create_or_update(GROUP, workspace, models.Workspace(location=REGION, retention_in_days=40)).result()
assert (shop.retention_in_days, shop.provisioning_state) == (40, "Succeeded"), shop
linked = azure.linked_services.begin_create_or_update(
    GROUP, workspace, "cluster", models.LinkedService(write_access_resource_id=made.id)
).result()
assert linked.write_access_resource_id == made.id, linked
azure.saved_searches.create_or_update(GROUP, workspace, "s1", models.SavedSearch(category="c", display_name="n", query="print 1"))
assert [one.name for one in azure.saved_searches.list_by_workspace(GROUP, workspace).value] == ["s1"]
keys = azure.shared_keys.get_shared_keys(GROUP, workspace)
assert keys.primary_shared_key and keys.secondary_shared_key
azure.linked_services.begin_delete(GROUP, workspace, "cluster").result()
azure.workspaces.begin_delete(GROUP, workspace, force=True).result()
azure.clusters.begin_delete(GROUP, cluster).result()
deadline = time.monotonic() + 30
while True:
    try:
        azure.clusters.get(GROUP, cluster)
    except HttpResponseError as error:
        assert error.status_code == 404, error
        break
    assert time.monotonic() < deadline
    time.sleep(0.5)
print("azure-mgmt-loganalytics", version("azure-mgmt-loganalytics"), "made, changed, linked, unlinked and deleted")
