"""Schemathesis against /openapi.json, as a caller who may everything; and its hooks, for it imports this file once more.

openapi.py BASE CASES SEED DIRECTORY [PHASES]: prints one line of JSON, and everything that was found before it.
The token is in STRONGROOM_TOKEN. It makes, changes and deletes: give it a server of its own.
"""

import json
import os
import pathlib
import subprocess
import sys
import zlib

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
KNOWN = json.loads(os.environ.get("STRONGROOM_KNOWN", "{}"))


def before_call(context, case, **_):
    """Three of four names in paths become those of things that are there; but what is deleted is what came by chance."""
    given = case.path_parameters
    if not isinstance(given, dict):
        return
    path, names = case.operation.path, list(given)
    for name in names:
        step = path.split("/{%s}" % name)[0].rsplit("/", 1)[-1]
        known = KNOWN.get(step + "/" + name, KNOWN.get(name))
        last = path.endswith("{%s}" % name)
        if known is None or (case.method.upper() == "DELETE" and last):
            continue
        if zlib.crc32(repr(given[name]).encode()) % 4:
            given[name] = known


def prepare(base, token):
    """A group with one of each kind of thing in it."""
    import urllib.error
    import urllib.request

    def call(method, path, body=None, kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(base + path, data, {"Authorization": "Bearer " + token, "Content-Type": kind}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            raise SystemExit("%s %s: %s %s" % (method, path, error.code, error.read()))

    home = call("GET", "/v1/workspaces")["value"][0]
    version, group = "?api-version=2025-07-01", "/subscriptions/%s/resourceGroups/tried" % home["subscription"]
    insights = group + "/providers/Microsoft.OperationalInsights"
    place = {"location": home["region"]}
    call("PUT", group + version, place)
    call("PUT", insights + "/workspaces/works" + version, place)
    cluster = {"identity": {"type": "SystemAssigned"}, "sku": {"name": "CapacityReservation", "capacity": 1000}, **place}
    call("PUT", insights + "/clusters/things" + version, cluster)
    call("PUT", group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/who" + version, place)
    call("PUT", group + "/providers/Microsoft.Insights/dataCollectionEndpoints/dce" + version, place)
    vault = {"tenantId": "55555555-5555-4555-8555-555555555555", "vaultUri": "https://vault.example"}
    call("PUT", group + "/providers/Microsoft.KeyVault/vaults/vault" + version, {"properties": vault, **place})
    rule = {
        "streamDeclarations": {"Custom-Rows": {"columns": [{"name": "TimeGenerated", "type": "datetime"}, {"name": "a", "type": "string"}]}},
        "destinations": {"logAnalytics": [{"workspaceResourceId": insights + "/workspaces/works", "name": "there"}]},
        "dataFlows": [{"streams": ["Custom-Rows"], "destinations": ["there"], "outputStream": "Custom-Rows_CL"}],
    }
    made = call("PUT", group + "/providers/Microsoft.Insights/dataCollectionRules/rule" + version, {"properties": rule, **place})
    search = {"properties": {"category": "tried", "displayName": "one", "query": "Rows_CL | count"}}
    call("PUT", insights + "/workspaces/works/savedSearches/one" + version, search)
    call("POST", "/v1/workspaces/works/ingest/Rows_CL", [{"a": "b", "n": 1}])
    call("PUT", "/v1/workspaces/works/functions/known", {"body": "Rows_CL | take 1"})
    call("POST", "/v1/services", {"name": "svc"})
    return {
        "subscription": home["subscription"], "group": "tried", "workspace": "works", "cluster": "things", "table": "Rows_CL",
        "function": "known", "search": "one", "service": "svc", "linkedServices/service": "cluster", "tenant": "common",
        "rule": made["properties"]["immutableId"], "stream": "Custom-Rows", "region": home["region"],
        "workspaces/name": "works", "clusters/name": "things", "vaults/name": "vault", "userAssignedIdentities/name": "who",
        "dataCollectionEndpoints/name": "dce", "dataCollectionRules/name": "rule", "provider": "Microsoft.OperationalInsights",
    }


def main(base, cases, seed, directory, phases="examples,fuzzing"):
    import urllib.request

    token, where = os.environ["STRONGROOM_TOKEN"], pathlib.Path(directory)
    where.mkdir(parents=True, exist_ok=True)
    known = prepare(base, token)
    with urllib.request.urlopen(base + "/openapi.json", timeout=30) as answer:
        document = json.load(answer)
    operations = sum(len(item) for item in document["paths"].values())
    each, report = -(-int(cases) // operations), where / "report.json"
    command = [
        str(pathlib.Path(sys.executable).parent / "schemathesis"), "run", base + "/openapi.json", "--phases", phases,
        "--checks", CHECKS, "--max-examples", str(each), "--seed", seed, "--request-timeout", "60",
        "--continue-on-failure", "--no-shrink", "--generation-database", "none", "--suppress-health-check", "all", "--warnings", "off",
        "--no-color", "--header", "Authorization: Bearer " + token, "--report-json-path", str(report),
    ]
    here = str(pathlib.Path(__file__).resolve().parent)
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "openapi", "PYTHONPATH": here, "STRONGROOM_KNOWN": json.dumps(known)}
    ended = subprocess.run(command, cwd=where, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    # A case may be as long as a URL can be.
    print("\n".join(line[:500] for line in ended.stdout.splitlines()))
    told = json.loads(report.read_text())
    print(json.dumps({
        "seed": told["seed"], "stopped": told["stop_reason"], "operations": told["operations"]["total"],
        "tested": told["operations"]["tested"], "cases": told["test_cases"]["generated"], "found": told["test_cases"]["unique_failures"],
        "errors": len(told["errors"]), "seconds": round(told["running_time"]),
    }))
    return 1 if told["test_cases"]["unique_failures"] or told["errors"] else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
else:
    import schemathesis

    schemathesis.hook(before_call)
