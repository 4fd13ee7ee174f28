"""Linked storage accounts as azure-mgmt-loganalytics drives them: what is saved, where it goes, and that it comes back the same."""

import json
import os
import sys
import time

from azure.core.credentials import AccessToken
from azure.mgmt.loganalytics import LogAnalyticsManagementClient

BASE, TOKEN, SUBSCRIPTION = (os.environ[name] for name in ("BASE", "TOKEN", "SUBSCRIPTION"))
GROUP = "default"
CANARY = "canary-7f3a"


class Static:
    """A token that is there already."""

    def get_token(self, *scopes, **_):
        return AccessToken(TOKEN, int(time.time()) + 3600)


def body(number):
    return {
        "category": f"{CANARY}-category",
        "displayName": f"{CANARY}-name-{number}",
        "query": f"App // {CANARY}-comment {number}\n| take 1",
        "tags": [{"name": f"{CANARY}-tag", "value": "x"}],
        "version": 2,
    }


def told(azure, name):
    found = azure.saved_searches.list_by_workspace(GROUP, name).value
    return sorted([one.name, one.etag, one.properties.query, one.properties.version, one.properties.function_alias] for one in found)


def save(azure, name):
    for number in range(2):
        azure.saved_searches.create_or_update(GROUP, name, f"{CANARY}-{number}", {"properties": body(number)})
    function = {**body(2), "query": "x + 1", "functionAlias": "OneMore7f3a", "functionParameters": f"x:long, {CANARY.replace('-', '_')}:long = 1"}
    azure.saved_searches.create_or_update(GROUP, name, "function", {"properties": function})
    print(json.dumps(told(azure, name)))


def links(azure, name):
    found = list(azure.linked_storage_accounts.list_by_workspace(GROUP, name))
    assert {one.properties.data_source_type for one in found} == {"Query", "Alerts"}, found
    for one in found:
        same = azure.linked_storage_accounts.get(GROUP, name, one.properties.data_source_type)
        assert same.properties.storage_account_ids == one.properties.storage_account_ids and len(one.properties.storage_account_ids) == 1
        assert same.type == "Microsoft.OperationalInsights/workspaces/linkedStorageAccounts"
    kept = azure.saved_searches.create_or_update(GROUP, name, f"{CANARY}-later", {"properties": body(3)})
    assert kept.etag
    print(json.dumps(told(azure, name)))


def unlink(azure, name):
    for source in ("Query", "Alerts"):
        azure.linked_storage_accounts.delete(GROUP, name, source)
    assert not list(azure.linked_storage_accounts.list_by_workspace(GROUP, name))
    print(json.dumps(told(azure, name)))


def show(azure, name):
    print(json.dumps(told(azure, name)))


azure = LogAnalyticsManagementClient(Static(), SUBSCRIPTION, base_url=BASE, polling_interval=1, credential_scopes=[BASE + "/.default"])
{"save": save, "links": links, "unlink": unlink, "told": show}[sys.argv[1]](azure, sys.argv[2])
