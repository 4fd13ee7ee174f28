"""The official clients of Azure's data planes, unmodified, against one server.

Arguments: the server's URL, a token, the resource group's path. Rows by LogsIngestionClient, questions by LogsQueryClient and
KustoClient. Every assertion is about what the clients themselves give back or raise.
"""

import json
import sys
import time
import urllib.request
from datetime import datetime, timedelta, timezone

from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.kusto.data import ClientRequestProperties, KustoClient, KustoConnectionStringBuilder
from azure.kusto.data.exceptions import KustoApiError
from azure.monitor.ingestion import LogsIngestionClient
from azure.monitor.query import LogsBatchQuery, LogsQueryClient, LogsQueryStatus

URL, TOKEN, GROUP = sys.argv[1:4]
ROWS = 5_000


class Token:
    def get_token(self, *scopes, **kwargs):
        return AccessToken(TOKEN, int(time.time()) + 3600)

    def get_token_info(self, *scopes, options=None):
        from azure.core.credentials import AccessTokenInfo

        return AccessTokenInfo(TOKEN, int(time.time()) + 3600)


class Plain(SansIOHTTPPolicy):
    """Lets a token go over http: this test's server is on loopback."""

    def on_request(self, request):
        request.context.options["enforce_https"] = False


def options():
    return {"per_call_policies": [Plain()]} if URL.startswith("http://") else {}


def arm(method, path, body=None):
    request = urllib.request.Request(f"{URL}{path}?api-version=2023-03-11", method=method)
    request.add_header("Authorization", f"Bearer {TOKEN}")
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps(body).encode()
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


workspace = arm("GET", f"{GROUP}/Microsoft.OperationalInsights/workspaces/default")
endpoint = arm("PUT", f"{GROUP}/Microsoft.Insights/dataCollectionEndpoints/in", {"location": "local", "properties": {}})
rule = arm(
    "PUT",
    f"{GROUP}/Microsoft.Insights/dataCollectionRules/web",
    {
        "location": "local",
        "properties": {
            "dataCollectionEndpointId": endpoint["id"],
            "streamDeclarations": {
                "Custom-Web": {
                    "columns": [
                        {"name": "TimeGenerated", "type": "datetime"},
                        {"name": "line", "type": "string"},
                        {"name": "n", "type": "long"},
                        {"name": "tags", "type": "dynamic"},
                    ]
                }
            },
            "destinations": {"logAnalytics": [{"workspaceResourceId": workspace["id"], "name": "la"}]},
            "dataFlows": [
                {
                    "streams": ["Custom-Web"],
                    "destinations": ["la"],
                    "transformKql": "source | parse line with verb:string ' ' path:string ' ' status:int | project-away line",
                    "outputStream": "Custom-Web_CL",
                }
            ],
        },
    },
)
rule_id = rule["properties"]["immutableId"]
start = datetime.now(timezone.utc) - timedelta(minutes=30)
rows = [
    {
        "TimeGenerated": (start + timedelta(milliseconds=n)).isoformat(),
        "line": f"GET /page/{n % 7} {500 if n % 100 == 0 else 200}",
        "n": n,
        "tags": {"host": f"h{n % 3}", "list": [n]},
    }
    for n in range(ROWS)
]

# Rows, by the client that splits and packs them.
ingestion = LogsIngestionClient(endpoint["properties"]["logsIngestion"]["endpoint"], Token(), **options())
ingestion.upload(rule_id, "Custom-Web", rows)
for rule_name, stream, code in [("dcr-" + "0" * 32, "Custom-Web", 404), (rule_id, "Custom-Else", 400)]:
    try:
        ingestion.upload(rule_name, stream, [{"n": 1}])
        raise SystemExit(f"{stream} was taken")
    except HttpResponseError as error:
        assert error.status_code == code, error
# Several of the client's own pieces, the first of more than a megabyte.
ingestion.upload(rule_id, "Custom-Web", [{"line": "x" * 1_000}] * 1_100)

# Questions.
query = LogsQueryClient(Token(), endpoint=f"{URL}/v1", **options())
name = workspace["properties"]["customerId"]
span = timedelta(hours=1)
text = "Web_CL | where isnotnull(n) | summarize rows = count(), total = sum(n), errors = countif(status == 500), hosts = dcount(tostring(tags.host))"
total = [ROWS, ROWS * (ROWS - 1) // 2, ROWS // 100, 3]
for ask in (lambda: query.query_workspace(name, text, timespan=span), lambda: query.query_resource(workspace["id"], text, timespan=span)):
    answer = ask()
    assert answer.status == LogsQueryStatus.SUCCESS
    assert list(answer.tables[0].rows[0]) == total, answer.tables[0].rows[0]
answer = query.query_workspace(
    name, "Web_CL | where n == 7 | project TimeGenerated, n, tags, path, status, r = 0.5, t = 1d, b = true, g = new_guid()", timespan=None
)
table = answer.tables[0]
assert dict(zip(table.columns, table.columns_types)) == {
    "TimeGenerated": "datetime", "n": "long", "tags": "dynamic", "path": "string", "status": "long",
    "r": "real", "t": "timespan", "b": "bool", "g": "guid",
}, table.columns_types
row = table.rows[0]
assert row["TimeGenerated"] == datetime.fromisoformat(rows[7]["TimeGenerated"]), row
assert json.loads(row["tags"]) == rows[7]["tags"] and row["path"] == "/page/0" and row["b"] is True, row
outside = query.query_workspace(name, "Web_CL | count", timespan=(start - timedelta(days=2), start - timedelta(days=1)))
assert outside.tables[0].rows[0][0] == 0

told = query.query_workspace(name, "Web_CL | count | render barchart", timespan=span, include_statistics=True, include_visualization=True)
assert told.statistics["query"]["executionTime"] > 0 and told.visualization["visualization"] == "barchart", (told.statistics, told.visualization)

both = query.query_workspace(name, "Web_CL | where n == 1 | count", timespan=span, additional_workspaces=["annex"])
assert both.tables[0].rows[0][0] == 2, "a row of each workspace"

# One that is cut says so, and gives what there is.
cut = query.query_workspace(name, "range x from 1 to 600000 step 1", timespan=None)
assert cut.status == LogsQueryStatus.PARTIAL and len(cut.partial_data[0].rows) == 500_000, cut.status
assert "exceed the set limit" in str(cut.partial_error), cut.partial_error

try:
    query.query_workspace(name, "Web_CL\n| wher n > 1", timespan=None)
    raise SystemExit("a wrong text was answered")
except HttpResponseError as error:
    assert error.status_code == 400 and error.error.code == "BadArgumentError", error
    inner = error.error.innererror
    while "innererror" in inner:
        outer, inner = inner, inner["innererror"]
    assert outer["code"] == "SyntaxError" and (inner["line"], inner["pos"]) == (2, 3), inner

batch = query.query_batch(
    [
        LogsBatchQuery(workspace_id=name, query="Web_CL | where isnotnull(n) | count", timespan=span),
        LogsBatchQuery(workspace_id=name, query="Web_CL | wher", timespan=None),
        LogsBatchQuery(workspace_id=name, query="range x from 1 to 600000 step 1", timespan=None),
    ]
)
assert batch[0].tables[0].rows[0][0] == ROWS
assert batch[1].status == LogsQueryStatus.FAILURE and batch[1].code == "BadArgumentError", batch[1]
assert batch[2].status == LogsQueryStatus.PARTIAL

# Kusto, both versions: the client asks commands of v1 and questions of v2.
kusto = KustoClient(KustoConnectionStringBuilder.with_token_provider(URL, lambda: TOKEN))
properties = ClientRequestProperties()
properties.set_parameter("least", "4998")
properties.set_option(ClientRequestProperties.request_timeout_option_name, timedelta(minutes=1))
text = "declare query_parameters(least:long); Web_CL | where n >= least | project n, TimeGenerated, tags, t = 90m | sort by n asc"
found = kusto.execute_query("default", text, properties).primary_results[0]
assert [row["n"] for row in found] == [4998, 4999]
assert found[0]["tags"]["host"] == "h0" and found[0]["t"] == timedelta(minutes=90) and isinstance(found[0]["TimeGenerated"], datetime), found[0]
tables = kusto.execute_mgmt("default", ".show tables").primary_results[0]
assert "Web_CL" in [row["TableName"] for row in tables]
schema = kusto.execute_mgmt(name, ".show table Web_CL cslschema").primary_results[0][0]["Schema"]
assert "n:long" in schema and "tags:dynamic" in schema, schema
try:
    kusto.execute("default", "Web_CL | wher")
    raise SystemExit("a wrong text was answered")
except KustoApiError as error:
    assert error.error.code == "BadRequest_SyntaxError" and error.error.permanent, error
request = urllib.request.Request(f"{URL}/v1/rest/query", json.dumps({"db": "default", "csl": "Web_CL | where isnotnull(n) | count"}).encode())
request.add_header("Authorization", f"Bearer {TOKEN}")
with urllib.request.urlopen(request) as answer:
    assert json.load(answer)["Tables"][0]["Rows"] == [[ROWS]]
print("all data doors answer")
