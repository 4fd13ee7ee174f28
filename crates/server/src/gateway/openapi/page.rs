//! The tables of `docs/azure.md` that compare, operation by operation, what Azure has with what is here: from the same lines that
//! `/openapi.json` is made of, and a list of what is not here.

use std::fmt::Write as _;

use super::entries;
use super::entry::{Entry, Like};

const BEGIN: &str = "<!-- operations -->\n";
const END: &str = "<!-- /operations -->\n";
const PLACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/azure.md");

/// What Azure's clients can ask for and nobody answers here: method, path (as in the tables), name, what to do instead.
const ABSENT: &[(&str, &str, &str, &str)] = &[
    (
        "POST",
        "/subscriptions/{subscription}/providers/{provider}/unregister",
        "Providers_Unregister",
        "each provider is registered, always",
    ),
    ("GET", "…/workspaces/{name}/dataExports", "DataExports_ListByWorkspace", NO_EXPORT),
    ("GET", "…/workspaces/{name}/dataExports/{export}", "DataExports_Get", NO_EXPORT),
    ("PUT", "…/workspaces/{name}/dataExports/{export}", "DataExports_CreateOrUpdate", NO_EXPORT),
    ("DELETE", "…/workspaces/{name}/dataExports/{export}", "DataExports_Delete", NO_EXPORT),
    ("POST", "…/locations/{region}/workspaces/{name}/failover", "Workspaces_Failover", NO_REPLICA),
    ("POST", "…/workspaces/{name}/failback", "Workspaces_Failback", NO_REPLICA),
    ("GET", "…/workspaces/{name}/networkSecurityPerimeterConfigurations", "Workspaces_ListNSP", NO_PERIMETER),
    ("GET", "…/workspaces/{name}/networkSecurityPerimeterConfigurations/{configuration}", "Workspaces_GetNSP", NO_PERIMETER),
    (
        "POST",
        "…/workspaces/{name}/networkSecurityPerimeterConfigurations/{configuration}/reconcile",
        "Workspaces_ReconcileNSP",
        NO_PERIMETER,
    ),
    ("GET", "…/workspaces/{name}/dataSources", "DataSources_ListByWorkspace", NO_SOURCES),
    ("GET", "…/workspaces/{name}/dataSources/{source}", "DataSources_Get", NO_SOURCES),
    ("PUT", "…/workspaces/{name}/dataSources/{source}", "DataSources_CreateOrUpdate", NO_SOURCES),
    ("DELETE", "…/workspaces/{name}/dataSources/{source}", "DataSources_Delete", NO_SOURCES),
    ("DELETE", "…/workspaces/{name}/gateways/{gateway}", "Gateways_Delete", "there are no gateways"),
    ("POST", "…/workspaces/{name}/intelligencePacks/{pack}/Disable", "IntelligencePacks_Disable", "there are none: 404, as of Enable"),
    ("GET", "…/workspaces/{name}/storageInsightConfigs", "StorageInsightConfigs_ListByWorkspace", NO_INSIGHTS),
    ("GET", "…/workspaces/{name}/storageInsightConfigs/{insight}", "StorageInsightConfigs_Get", NO_INSIGHTS),
    ("PUT", "…/workspaces/{name}/storageInsightConfigs/{insight}", "StorageInsightConfigs_CreateOrUpdate", NO_INSIGHTS),
    ("DELETE", "…/workspaces/{name}/storageInsightConfigs/{insight}", "StorageInsightConfigs_Delete", NO_INSIGHTS),
    ("GET", "…/workspaces/{name}/summaryLogs", "SummaryLogs_ListByWorkspace", NO_SUMMARY),
    ("GET", "…/workspaces/{name}/summaryLogs/{rule}", "SummaryLogs_Get", NO_SUMMARY),
    ("PUT", "…/workspaces/{name}/summaryLogs/{rule}", "SummaryLogs_CreateOrUpdate", NO_SUMMARY),
    ("DELETE", "…/workspaces/{name}/summaryLogs/{rule}", "SummaryLogs_Delete", NO_SUMMARY),
    ("POST", "…/workspaces/{name}/summaryLogs/{rule}/start", "SummaryLogs_Start", NO_SUMMARY),
    ("POST", "…/workspaces/{name}/summaryLogs/{rule}/stop", "SummaryLogs_Stop", NO_SUMMARY),
    ("POST", "…/workspaces/{name}/summaryLogs/{rule}/retrybin", "SummaryLogs_RetryBin", NO_SUMMARY),
];
const NO_EXPORT: &str = "ask with `Accept: application/vnd.apache.arrow.stream`";
const NO_REPLICA: &str = "a workspace is in one place: `replication` is refused";
const NO_PERIMETER: &str = "the network is the operator's";
const NO_SOURCES: &str = "agents are told by data collection rules";
const NO_INSIGHTS: &str = "nothing is read out of storage accounts";
const NO_SUMMARY: &str = "ask with `summarize`";

/// Those of the data doors' clients.
const ABSENT_DATA: &[(&str, &str, &str, &str)] = &[
    ("GET", "/v1/apps/{app}/query", "Query_AppGet", "Application Insights is not here"),
    ("POST", "/v1/apps/{app}/query", "Query_AppExecute", "Application Insights is not here"),
    ("POST", "/v1/rest/ingest/{database}/{table}", "Kusto_StreamingIngest", "send rows through a data collection rule"),
    ("GET", "…/providers/microsoft.insights/metrics", "Metrics_List", "there are no metrics of resources; figures are at `/metrics`"),
];

/// And of logging in.
const ABSENT_LOGIN: &[(&str, &str, &str, &str)] = &[
    ("GET", "/{tenant}/oauth2/v2.0/authorize", "authorize", "people log in through an issuer of `[directory] issuers`"),
    ("POST", "/{tenant}/oauth2/v2.0/devicecode", "devicecode", "people log in through an issuer of `[directory] issuers`"),
    ("GET", "/v1.0/servicePrincipals (Microsoft Graph)", "graph", "`strongroom principal`, or `/v1/services`"),
];

/// One table for each API: which doors, and what is not there.
type Absent = &'static [(&'static str, &'static str, &'static str, &'static str)];
const TABLES: &[(&str, &[&str], Absent)] = &[
    ("Control plane", &["Control plane"], ABSENT),
    ("Data doors", &["Logs data", "HTTP Data Collector", "Kusto", "Native"], ABSENT_DATA),
    ("Identity", &["Login"], ABSENT_LOGIN),
];

fn shortened(path: &str) -> String {
    let group = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.OperationalInsights";
    let path = path.replace(group, "…").replace("/subscriptions/{subscription}/resourceGroups/{group}/providers/", "…/");
    path.replace("/subscriptions/{subscription}/providers/", "/subscriptions/{subscription}/…/")
}

fn row(to: &mut String, name: &str, call: &str, versions: &str, verdict: &str) {
    writeln!(to, "| `{name}` | `{call}` | {versions} | {verdict} |").expect("a text takes texts");
}

fn tables() -> String {
    let entries = entries();
    let mut page = String::from(
        "Made of the lines that `/openapi.json` is made of (`STRONGROOM_UPDATE_DOCS=1 cargo test -p strongroom-server` writes them anew). `…` is the\n\
         provider's path in a resource group. What Azure has no door for is in `/openapi.json` alone. The key vault is a server of its own: see there.\n",
    );
    for (title, doors, absent) in TABLES {
        let ours = |entry: &&Entry| doors.contains(&entry.door.tag) && entry.like != Like::Own;
        write!(page, "\n#### {title}\n\n| operation | path | versions | |\n|---|---|---|---|\n").expect("a text takes texts");
        for entry in entries.iter().filter(ours) {
            let verdict = match entry.like {
                Like::Differs(how) => format!("different: {how}"),
                _ => "compatible".to_owned(),
            };
            let versions = if entry.versions.is_empty() { "–" } else { entry.versions };
            row(&mut page, entry.id, &format!("{} {}", entry.method, shortened(&entry.path)), versions, &verdict);
        }
        for (method, path, name, why) in *absent {
            row(&mut page, name, &format!("{method} {path}"), "–", &format!("**not there**: {why}"));
        }
    }
    page
}

#[test]
fn the_page_says_of_each_operation_how_it_compares() {
    let page = std::fs::read_to_string(PLACE).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("docs/azure.md has a place for the tables");
    let (there, after) = rest.split_once(END).expect("and its end");
    let made = format!("\n{}\n", tables());
    if std::env::var_os("STRONGROOM_UPDATE_DOCS").is_some() {
        std::fs::write(PLACE, format!("{before}{BEGIN}{made}{END}{after}")).unwrap();
        return;
    }
    assert!(there == made, "docs/azure.md is not what the doors say: STRONGROOM_UPDATE_DOCS=1 cargo test -p strongroom-server rewrites it");
}

#[test]
fn what_is_said_to_be_absent_is() {
    let entries = entries();
    for (method, path, name, _) in TABLES.iter().flat_map(|(.., absent)| absent.iter()) {
        let here = entries
            .iter()
            .find(|entry| entry.id.eq_ignore_ascii_case(name) || (entry.method == *method && shortened(&entry.path) == *path));
        assert!(here.is_none(), "{name} is described as {method} {path}");
    }
}
