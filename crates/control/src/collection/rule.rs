//! What a data collection rule says: streams with their columns, destinations, flows; read from JSON, each mistake with its place.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use strongroom_model::{Column, ColumnType, TableName};

use crate::Place;

/// Bytes of a rule, as JSON.
const RULE_MAX: usize = 256 << 10;
/// Characters of a column's name (Azure's limit).
const COLUMN_NAME_MAX: usize = 45;
/// Columns of a stream.
const COLUMNS_MAX: usize = 500;
/// Streams, destinations and flows of a rule (Azure's limits).
const STREAMS_MAX: usize = 20;
const DESTINATIONS_MAX: usize = 10;
const FLOWS_MAX: usize = 10;

/// Names of columns that Azure keeps for itself; case does not count.
pub const RESERVED_COLUMNS: [&str; 7] = ["_ResourceId", "id", "_SubscriptionId", "TenantId", "Type", "UniqueId", "Title"];

/// What a stream's name begins with that senders declare, and one whose columns Azure knows.
const CUSTOM: &str = "Custom-";
const BUILT_IN: &str = "Microsoft-";

/// What is wrong with a rule, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{target}: {message}")]
pub struct Misread {
    /// The member, as a path.
    pub target: String,
    /// A sentence.
    pub message: String,
}

pub(super) fn misread(target: impl Into<String>, message: impl Into<String>) -> Misread {
    Misread { target: target.into(), message: message.into() }
}

/// One way of rows: from streams, through a text, into a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFlow {
    /// The streams.
    pub streams: Vec<String>,
    /// KQL over `source`.
    pub text: Option<String>,
    /// The table.
    pub table: TableName,
}

/// What a rule says, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleBody {
    /// As it was given.
    pub properties: Map<String, Value>,
    /// The path of the workspace that its rows go to.
    pub workspace: String,
    /// The columns of each stream that is declared.
    pub declared: BTreeMap<String, Vec<Column>>,
    /// The ways.
    pub flows: Vec<RuleFlow>,
}

impl RuleBody {
    /// Reads a rule's `properties`; members that are not about rows sent here are kept and passed over.
    ///
    /// # Errors
    /// [`Misread`], the first thing that is wrong.
    pub fn read(properties: Map<String, Value>) -> Result<Self, Misread> {
        if serde_json::to_vec(&properties).map_or(usize::MAX, |json| json.len()) > RULE_MAX {
            return Err(misread("properties", format!("a rule has at most {RULE_MAX} bytes")));
        }
        let declared = declarations(&properties)?;
        let destinations = destinations(&properties)?;
        let flows = flows(&properties, &declared, &destinations)?;
        let workspace = workspace_of(&destinations)?;
        Ok(Self { properties, workspace, declared, flows })
    }

    /// Its streams and the tables of each: what is kept in clear.
    pub(super) fn streams(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut streams: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for flow in &self.flows {
            for stream in &flow.streams {
                let tables = streams.entry(stream).or_default();
                if !tables.contains(&flow.table.as_str()) {
                    tables.push(flow.table.as_str());
                }
            }
        }
        streams
    }

    /// The columns of a stream, if it is declared, and the text on its way to a table. `None`: there is no such way.
    #[must_use]
    pub fn way(&self, stream: &str, table: &TableName) -> Option<(Option<&[Column]>, Option<&str>)> {
        let flow = self.flows.iter().find(|flow| flow.table == *table && flow.streams.iter().any(|name| name == stream))?;
        Some((self.declared.get(stream).map(Vec::as_slice), flow.text.as_deref()))
    }
}

fn object<'v>(value: Option<&'v Value>, target: &str) -> Result<Option<&'v Map<String, Value>>, Misread> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(misread(target, "an object is expected")),
    }
}

fn list<'v>(value: Option<&'v Value>, target: &str) -> Result<&'v [Value], Misread> {
    match value {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(misread(target, "an array is expected")),
    }
}

fn text<'v>(value: Option<&'v Value>, target: &str) -> Result<Option<&'v str>, Misread> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(misread(target, "a text is expected")),
    }
}

fn declarations(properties: &Map<String, Value>) -> Result<BTreeMap<String, Vec<Column>>, Misread> {
    const AT: &str = "properties.streamDeclarations";
    let mut declared = BTreeMap::new();
    let Some(streams) = object(properties.get("streamDeclarations"), AT)? else { return Ok(declared) };
    if streams.len() > STREAMS_MAX {
        return Err(misread(AT, format!("a rule declares at most {STREAMS_MAX} streams")));
    }
    for (name, stream) in streams {
        let at = format!("{AT}.{name}");
        if !name.starts_with(CUSTOM) || name.len() <= CUSTOM.len() || name.len() > 128 || !name.bytes().all(in_stream_name) {
            return Err(misread(at, "a declared stream is named Custom-…, in letters, digits, hyphens and underscores"));
        }
        let stream = object(Some(stream), &at)?.ok_or_else(|| misread(&at, "an object is expected"))?;
        let listed = list(stream.get("columns"), &format!("{at}.columns"))?;
        if listed.is_empty() || listed.len() > COLUMNS_MAX {
            return Err(misread(format!("{at}.columns"), format!("1 to {COLUMNS_MAX} columns are allowed")));
        }
        let mut columns: Vec<Column> = Vec::with_capacity(listed.len());
        for (index, column) in listed.iter().enumerate() {
            let at = format!("{at}.columns[{index}]");
            let column = object(Some(column), &at)?.ok_or_else(|| misread(&at, "an object is expected"))?;
            let name = text(column.get("name"), &at)?.unwrap_or_default();
            if !is_column_name(name) {
                let rule = "a column's name has at most 45 letters, digits and underscores and begins with a letter or an underscore";
                return Err(misread(format!("{at}.name"), rule));
            }
            if columns.iter().any(|known| known.name.eq_ignore_ascii_case(name)) {
                return Err(misread(format!("{at}.name"), "there is a column of that name already"));
            }
            let kind = text(column.get("type"), &at)?.and_then(column_type);
            let kind = kind.ok_or_else(|| {
                misread(format!("{at}.type"), "the types are string, int, long, real, boolean, datetime, guid and dynamic")
            })?;
            columns.push(Column { name: name.to_owned(), kind });
        }
        declared.insert(name.clone(), columns);
    }
    Ok(declared)
}

const fn in_stream_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Whether a column of a rule may have that name.
#[must_use]
pub fn is_column_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && name.len() <= COLUMN_NAME_MAX && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The type that a word means, whatever its case, where columns are declared.
#[must_use]
pub fn column_type(text: &str) -> Option<ColumnType> {
    Some(match text.to_ascii_lowercase().as_str() {
        "string" => ColumnType::String,
        "int" => ColumnType::Int,
        "long" => ColumnType::Long,
        "real" => ColumnType::Real,
        "boolean" | "bool" => ColumnType::Bool,
        "datetime" => ColumnType::DateTime,
        "guid" => ColumnType::Guid,
        "dynamic" => ColumnType::Dynamic,
        _ => return None,
    })
}

/// Names of destinations and the workspaces' paths.
fn destinations(properties: &Map<String, Value>) -> Result<BTreeMap<String, String>, Misread> {
    const AT: &str = "properties.destinations";
    let mut found = BTreeMap::new();
    let Some(all) = object(properties.get("destinations"), AT)? else { return Ok(found) };
    for kind in all.keys().filter(|kind| *kind != "logAnalytics") {
        if !list(all.get(kind), &format!("{AT}.{kind}"))?.is_empty() {
            return Err(misread(format!("{AT}.{kind}"), "rows go to workspaces here: destinations.logAnalytics"));
        }
    }
    let listed = list(all.get("logAnalytics"), &format!("{AT}.logAnalytics"))?;
    if listed.len() > DESTINATIONS_MAX {
        return Err(misread(AT, format!("a rule has at most {DESTINATIONS_MAX} destinations")));
    }
    for (index, destination) in listed.iter().enumerate() {
        let at = format!("{AT}.logAnalytics[{index}]");
        let destination = object(Some(destination), &at)?.ok_or_else(|| misread(&at, "an object is expected"))?;
        let name = text(destination.get("name"), &at)?.filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| misread(format!("{at}.name"), "a destination has a name"))?;
        let path = text(destination.get("workspaceResourceId"), &at)?.filter(|path| Place::read_workspace_path(path).is_some());
        let path = path.ok_or_else(|| misread(format!("{at}.workspaceResourceId"), "the resource id of a workspace is expected"))?;
        if found.insert(name.to_owned(), path.to_owned()).is_some() {
            return Err(misread(format!("{at}.name"), "there is a destination of that name already"));
        }
    }
    Ok(found)
}

fn workspace_of(destinations: &BTreeMap<String, String>) -> Result<String, Misread> {
    const AT: &str = "properties.destinations.logAnalytics";
    let mut paths = destinations.values();
    let first = paths.next().ok_or_else(|| misread(AT, "a rule needs a workspace to send rows to"))?;
    if paths.any(|path| !path.trim_matches('/').eq_ignore_ascii_case(first.trim_matches('/'))) {
        return Err(misread(AT, "a rule sends rows to one workspace, whose key it is kept under: make a rule for each"));
    }
    Ok(first.clone())
}

fn flows(
    properties: &Map<String, Value>,
    declared: &BTreeMap<String, Vec<Column>>,
    destinations: &BTreeMap<String, String>,
) -> Result<Vec<RuleFlow>, Misread> {
    const AT: &str = "properties.dataFlows";
    let listed = list(properties.get("dataFlows"), AT)?;
    if listed.is_empty() || listed.len() > FLOWS_MAX {
        return Err(misread(AT, format!("1 to {FLOWS_MAX} flows are allowed")));
    }
    let mut flows: Vec<RuleFlow> = Vec::with_capacity(listed.len());
    for (index, flow) in listed.iter().enumerate() {
        let at = format!("{AT}[{index}]");
        let flow = object(Some(flow), &at)?.ok_or_else(|| misread(&at, "an object is expected"))?;
        let mut streams: Vec<String> = Vec::new();
        for stream in list(flow.get("streams"), &format!("{at}.streams"))? {
            let name = text(Some(stream), &format!("{at}.streams"))?.unwrap_or_default();
            if !declared.contains_key(name) && !name.starts_with(BUILT_IN) {
                return Err(misread(format!("{at}.streams"), format!("the stream {name} is not declared")));
            }
            streams.push(name.to_owned());
        }
        if streams.is_empty() {
            return Err(misread(format!("{at}.streams"), "a flow has a stream"));
        }
        for destination in list(flow.get("destinations"), &format!("{at}.destinations"))? {
            let name = text(Some(destination), &format!("{at}.destinations"))?.unwrap_or_default();
            if !destinations.contains_key(name) {
                return Err(misread(format!("{at}.destinations"), format!("there is no destination {name}")));
            }
        }
        let shaped = text(flow.get("transformKql"), &format!("{at}.transformKql"))?.map(str::to_owned);
        if let Some(stream) = streams.iter().find(|stream| stream.starts_with(BUILT_IN))
            && shaped.as_deref().is_some_and(|text| !matches!(text.trim(), "" | "source"))
        {
            let why = format!("the columns of {stream} are not declared, so no text can shape it; send it to a Custom- stream");
            return Err(misread(format!("{at}.transformKql"), why));
        }
        let output = match text(flow.get("outputStream"), &format!("{at}.outputStream"))? {
            Some(output) => output,
            None if streams.len() == 1 => &streams[0],
            None => return Err(misread(format!("{at}.outputStream"), "a flow of several streams names its output")),
        };
        let name = output.strip_prefix(CUSTOM).or_else(|| output.strip_prefix(BUILT_IN)).unwrap_or_default();
        let table: TableName = name
            .parse()
            .map_err(|error| misread(format!("{at}.outputStream"), format!("it is Custom- or Microsoft- and a table's name: {error}")))?;
        for stream in &streams {
            let twice = |known: &RuleFlow| known.table == table && known.streams.contains(stream);
            if flows.iter().any(twice) {
                let why = format!("there is a flow of {stream} into {table} already: its rows would be there twice");
                return Err(misread(at, why));
            }
        }
        streams.sort_unstable();
        streams.dedup();
        flows.push(RuleFlow { streams, text: shaped, table });
    }
    Ok(flows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const WORKSPACE: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/w";

    fn rule() -> Value {
        json!({
            "streamDeclarations": {"Custom-In": {"columns": [{"name": "TimeGenerated", "type": "datetime"}, {"name": "a", "type": "dateTime"}]}},
            "destinations": {"logAnalytics": [{"workspaceResourceId": WORKSPACE, "name": "la"}]},
            "dataFlows": [{"streams": ["Custom-In"], "destinations": ["la"], "transformKql": "source", "outputStream": "Custom-My_CL"}],
            "description": "kept",
        })
    }

    fn read(change: impl FnOnce(&mut Value)) -> Result<RuleBody, Misread> {
        let mut rule = rule();
        change(&mut rule);
        let Value::Object(properties) = rule else { panic!("an object") };
        RuleBody::read(properties)
    }

    #[test]
    fn a_rule_as_the_clients_send_it_is_read() {
        let body = read(|_| {}).unwrap();
        assert_eq!(body.workspace, WORKSPACE);
        assert_eq!(body.properties["description"], "kept");
        let table: TableName = "My_CL".parse().unwrap();
        let (columns, text) = body.way("Custom-In", &table).unwrap();
        assert_eq!((columns.unwrap().len(), text), (2, Some("source")));
        assert!(body.way("Custom-Out", &table).is_none());
        assert_eq!(serde_json::to_value(body.streams()).unwrap(), json!({"Custom-In": ["My_CL"]}));
        // Without an output the stream names the table.
        let same = read(|rule| drop(rule["dataFlows"][0].as_object_mut().unwrap().remove("outputStream"))).unwrap();
        assert_eq!(same.flows[0].table.as_str(), "In");
        let built_in = read(|rule| rule["dataFlows"][0]["streams"] = json!(["Microsoft-Syslog"])).unwrap();
        assert_eq!(built_in.way("Microsoft-Syslog", &table), Some((None, Some("source"))));
    }

    #[test]
    fn what_cannot_be_is_named_with_its_place() {
        type Change = fn(&mut Value);
        let cases: [(Change, &str); 14] = [
            (|rule| rule["streamDeclarations"] = json!([]), "properties.streamDeclarations"),
            (|rule| rule["streamDeclarations"] = json!({"In": {"columns": []}}), "properties.streamDeclarations.In"),
            (|rule| rule["streamDeclarations"]["Custom-In"]["columns"] = json!([]), "properties.streamDeclarations.Custom-In.columns"),
            (
                |rule| rule["streamDeclarations"]["Custom-In"]["columns"][0]["name"] = json!("1a"),
                "properties.streamDeclarations.Custom-In.columns[0].name",
            ),
            (
                |rule| rule["streamDeclarations"]["Custom-In"]["columns"][0]["name"] = json!("a".repeat(46)),
                "properties.streamDeclarations.Custom-In.columns[0].name",
            ),
            (
                |rule| rule["streamDeclarations"]["Custom-In"]["columns"][1]["name"] = json!("timegenerated"),
                "properties.streamDeclarations.Custom-In.columns[1].name",
            ),
            (
                |rule| rule["streamDeclarations"]["Custom-In"]["columns"][1]["type"] = json!("text"),
                "properties.streamDeclarations.Custom-In.columns[1].type",
            ),
            (|rule| rule["destinations"]["eventHubs"] = json!([{"name": "x"}]), "properties.destinations.eventHubs"),
            (
                |rule| rule["destinations"]["logAnalytics"][0]["workspaceResourceId"] = json!("w"),
                "properties.destinations.logAnalytics[0].workspaceResourceId",
            ),
            (
                |rule| rule["destinations"]["logAnalytics"][1] = json!({"name": "b", "workspaceResourceId": format!("{WORKSPACE}2")}),
                "properties.destinations.logAnalytics",
            ),
            (|rule| rule["dataFlows"] = json!([]), "properties.dataFlows"),
            (|rule| rule["dataFlows"][0]["streams"] = json!(["Custom-Out"]), "properties.dataFlows[0].streams"),
            (|rule| rule["dataFlows"][0]["destinations"] = json!(["lb"]), "properties.dataFlows[0].destinations"),
            (|rule| rule["dataFlows"][0]["outputStream"] = json!("My_CL"), "properties.dataFlows[0].outputStream"),
        ];
        for (change, target) in cases {
            let grown = |rule: &mut Value| {
                if let Some(list) = rule["destinations"]["logAnalytics"].as_array_mut()
                    && target == "properties.destinations.logAnalytics"
                {
                    list.push(Value::Null);
                }
                change(rule);
            };
            assert_eq!(read(grown).unwrap_err().target, target);
        }
        let twice = read(|rule| {
            let mut flow = rule["dataFlows"][0].clone();
            flow["transformKql"] = json!("source | where a > ago(1h)");
            rule["dataFlows"].as_array_mut().unwrap().push(flow);
        });
        assert_eq!(twice.unwrap_err().target, "properties.dataFlows[1]", "nobody could say which of the two is followed");
        let shaped = read(|rule| {
            rule["dataFlows"][0]["streams"] = json!(["Microsoft-Syslog"]);
            rule["dataFlows"][0]["transformKql"] = json!("source | take 1");
        });
        assert_eq!(shaped.unwrap_err().target, "properties.dataFlows[0].transformKql");
    }

    /// Each bound, at it and one past it.
    #[test]
    fn a_rule_declares_so_much_and_no_more() {
        let columns = |count: usize| (0..count).map(|n| json!({"name": format!("c{n}"), "type": "int"})).collect::<Vec<_>>();
        let at = |target: &'static str, result: Result<RuleBody, Misread>| assert_eq!(result.unwrap_err().target, target);
        let declare = |count| read(|rule| rule["streamDeclarations"]["Custom-In"]["columns"] = columns(count).into());
        declare(COLUMNS_MAX).unwrap();
        at("properties.streamDeclarations.Custom-In.columns", declare(COLUMNS_MAX + 1));
        let streams = |count: usize| {
            read(|rule| {
                for n in 1..count {
                    rule["streamDeclarations"][format!("Custom-In{n}")] = json!({"columns": columns(1)});
                }
            })
        };
        assert_eq!(streams(STREAMS_MAX).unwrap().declared.len(), STREAMS_MAX);
        at("properties.streamDeclarations", streams(STREAMS_MAX + 1));
        let flows = |count: usize| {
            read(|rule| {
                let flow = rule["dataFlows"][0].clone();
                let flows = (0..count).map(|n| {
                    let mut flow = flow.clone();
                    flow["outputStream"] = json!(format!("Custom-T{n}_CL"));
                    flow
                });
                rule["dataFlows"] = flows.collect::<Vec<_>>().into();
            })
        };
        flows(FLOWS_MAX).unwrap();
        at("properties.dataFlows", flows(FLOWS_MAX + 1));
        let destinations = |count: usize| {
            read(|rule| {
                let one =
                    |n: usize| json!({"name": if n == 0 { "la".to_owned() } else { format!("la{n}") }, "workspaceResourceId": WORKSPACE});
                rule["destinations"]["logAnalytics"] = (0..count).map(one).collect::<Vec<_>>().into();
            })
        };
        destinations(DESTINATIONS_MAX).unwrap();
        at("properties.destinations", destinations(DESTINATIONS_MAX + 1));
        at("properties", read(|rule| rule["description"] = "x".repeat(RULE_MAX).into()));
    }
}
