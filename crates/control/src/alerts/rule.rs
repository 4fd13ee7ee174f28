//! What a rule says, read: a question, how often it is asked, over which time, and what of its answer is a reason to call somebody.

use serde_json::{Map, Value};
use strongroom_model::ErrorKind;

use crate::collection::Misread;
use crate::{ControlError, Place};

/// Bytes of a rule, as JSON.
const RULE_MAX: usize = 128 << 10;
/// Dimensions of a condition (Azure's limit).
const DIMENSIONS_MAX: usize = 6;
/// Values that a dimension names.
const VALUES_MAX: usize = 100;
/// Windows that are looked at together (Azure's limit).
const PERIODS_MAX: i64 = 6;
/// Action groups of a rule (Azure's limit).
const GROUPS_MAX: usize = 5;
/// Characters of a column's name.
const COLUMN_MAX: usize = 128;

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// Members of `properties` that the server alone writes; they come back from clients that read, change and write.
const OWN: [&str; 8] = [
    "createdWithApiVersion",
    "isLegacyLogAnalyticsRule",
    "isWorkspaceAlertsStorageConfigured",
    "provisioningState",
    "strongroom",
    "etag",
    "systemData",
    "publicNetworkAccess",
];
/// Members of `properties` that mean something here.
const KNOWN: [&str; 19] = [
    "description",
    "displayName",
    "severity",
    "enabled",
    "scopes",
    "evaluationFrequency",
    "windowSize",
    "overrideQueryTimeRange",
    "targetResourceTypes",
    "criteria",
    "muteActionsDuration",
    "actions",
    "checkWorkspaceAlertsStorageConfigured",
    "skipQueryValidation",
    "autoMitigate",
    "resolveConfiguration",
    "ruleResolveConfiguration",
    "identity",
    "kind",
];

/// How rows become a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "Azure's words")]
pub enum Aggregation {
    Count,
    Average,
    Minimum,
    Maximum,
    Total,
}

impl Aggregation {
    /// Azure's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Average => "Average",
            Self::Minimum => "Minimum",
            Self::Maximum => "Maximum",
            Self::Total => "Total",
        }
    }
}

/// How the number is compared with the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "Azure's words")]
pub enum Operator {
    Equals,
    GreaterThan,
    GreaterThanOrEqual,
    LessThan,
    LessThanOrEqual,
}

impl Operator {
    /// Azure's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equals => "Equals",
            Self::GreaterThan => "GreaterThan",
            Self::GreaterThanOrEqual => "GreaterThanOrEqual",
            Self::LessThan => "LessThan",
            Self::LessThanOrEqual => "LessThanOrEqual",
        }
    }

    /// Whether `value` is a reason to call somebody.
    #[must_use]
    #[expect(clippy::float_cmp, reason = "Equals is what was asked for")]
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Equals => value == threshold,
            Self::GreaterThan => value > threshold,
            Self::GreaterThanOrEqual => value >= threshold,
            Self::LessThan => value < threshold,
            Self::LessThanOrEqual => value <= threshold,
        }
    }
}

/// A column by whose values the rows are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dimension {
    /// The column.
    pub name: String,
    /// Which of its values: all, these alone, or all but these.
    pub values: Picked,
}

/// Values of a dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Picked {
    /// All there are.
    All,
    /// These alone.
    Only(Vec<String>),
    /// All others.
    Except(Vec<String>),
}

/// What of an answer is a reason to call somebody.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// KQL.
    pub query: String,
    /// How rows become a number.
    pub aggregation: Aggregation,
    /// Of which column; for every aggregation but a count.
    pub column: Option<String>,
    /// The column that names what an alert is about.
    pub resource_column: Option<String>,
    /// What rows are told apart by.
    pub dimensions: Vec<Dimension>,
    /// How the number is compared,
    pub operator: Operator,
    /// and with what.
    pub threshold: f64,
    /// So many windows are looked at,
    pub periods: usize,
    /// and in so many of them it has to hold.
    pub failing: usize,
}

/// What a rule says.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "as Azure's clients say it")]
pub struct AlertRule {
    /// As it was given.
    pub properties: Map<String, Value>,
    /// The workspace that is asked.
    pub workspace: Place,
    /// 0, the worst, to 4.
    pub severity: u8,
    /// Whether it asks at all.
    pub enabled: bool,
    /// How often, ms.
    pub frequency_ms: i64,
    /// Over which time, ms.
    pub window_ms: i64,
    /// Over which time the text is asked, if that is another: ms.
    pub asked_ms: Option<i64>,
    /// Whether an alert lasts until its condition is met no more, and is told once.
    pub stateful: bool,
    /// How long after one is told the next is not, ms.
    pub mute_ms: i64,
    /// Paths of action groups.
    pub groups: Vec<Place>,
    /// What is handed on as it is.
    pub custom: Map<String, Value>,
    /// Whether the workspace has to have a linked account for alerts.
    pub needs_linked_storage: bool,
    /// Whether tables and columns that the text names may still be to come.
    pub unbound: bool,
    /// The condition.
    pub condition: Condition,
}

fn misread(target: impl Into<String>, message: impl Into<String>) -> Misread {
    Misread { target: target.into(), message: message.into() }
}

impl From<Misread> for ControlError {
    fn from(error: Misread) -> Self {
        Self::Elsewhere(crate::Said { kind: ErrorKind::Invalid, code: "InvalidAlertRule", message: error.to_string() })
    }
}

impl AlertRule {
    /// Reads a rule's `properties`; `frequency_min_ms` is how often it may ask at most.
    ///
    /// # Errors
    /// [`Misread`], the first thing that is wrong, or that is not to be had here.
    pub fn read(mut properties: Map<String, Value>, frequency_min_ms: i64) -> Result<Self, Misread> {
        properties.retain(|name, value| !value.is_null() && !OWN.contains(&name.as_str()));
        if serde_json::to_vec(&properties).map_or(usize::MAX, |json| json.len()) > RULE_MAX {
            return Err(misread("properties", format!("a rule has at most {RULE_MAX} bytes")));
        }
        if let Some(name) = properties.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            return Err(misread(format!("properties.{name}"), "there is no such property of a rule"));
        }
        for name in ["identity", "resolveConfiguration", "ruleResolveConfiguration"] {
            if properties.contains_key(name) {
                return Err(misread(format!("properties.{name}"), "this is not to be had here: leave it out"));
            }
        }
        let at = |name: &str| format!("properties.{name}");
        let frequency_ms =
            duration(&properties, "evaluationFrequency")?.ok_or_else(|| misread(at("evaluationFrequency"), "it is needed"))?;
        if !(frequency_min_ms..=DAY).contains(&frequency_ms) {
            let least = frequency_min_ms / 1_000;
            return Err(misread(at("evaluationFrequency"), format!("between {least} s and a day is allowed")));
        }
        let window_ms = duration(&properties, "windowSize")?.ok_or_else(|| misread(at("windowSize"), "it is needed"))?;
        if !(frequency_ms..=2 * DAY).contains(&window_ms) {
            return Err(misread(at("windowSize"), "a window is at least as long as evaluationFrequency and at most two days"));
        }
        let asked_ms = duration(&properties, "overrideQueryTimeRange")?;
        if asked_ms.is_some_and(|asked_ms| !(window_ms..=14 * DAY).contains(&asked_ms)) {
            return Err(misread(at("overrideQueryTimeRange"), "between windowSize and 14 days is allowed"));
        }
        let mute_ms = duration(&properties, "muteActionsDuration")?.unwrap_or(0);
        if mute_ms > 10 * DAY {
            return Err(misread(at("muteActionsDuration"), "at most ten days are allowed"));
        }
        let severity = match properties.get("severity") {
            None => 3,
            Some(value) => value
                .as_u64()
                .and_then(|value| u8::try_from(value).ok())
                .filter(|value| *value <= 4)
                .ok_or_else(|| misread(at("severity"), "0 to 4 is expected"))?,
        };
        let (groups, custom) = actions(properties.get("actions"))?;
        for name in ["description", "displayName"] {
            text(&properties, name, "properties")?;
        }
        let condition = condition(&properties)?;
        let flag = |name: &str, default| match properties.get(name) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(misread(at(name), "true or false is expected")),
        };
        Ok(Self {
            workspace: workspace(&properties)?,
            severity,
            enabled: flag("enabled", true)?,
            frequency_ms,
            window_ms,
            asked_ms,
            stateful: flag("autoMitigate", true)?,
            mute_ms,
            groups,
            custom,
            needs_linked_storage: flag("checkWorkspaceAlertsStorageConfigured", false)?,
            unbound: flag("skipQueryValidation", false)?,
            condition,
            properties,
        })
    }
}

/// The one workspace that is asked.
fn workspace(properties: &Map<String, Value>) -> Result<Place, Misread> {
    const AT: &str = "properties.scopes";
    let wrong = || misread(AT, "the resource id of one workspace is expected: it is asked, and the rule is kept under its key");
    let Some(Value::Array(scopes)) = properties.get("scopes") else { return Err(wrong()) };
    let [Value::String(scope)] = scopes.as_slice() else { return Err(wrong()) };
    Place::read_workspace_path(scope).ok_or_else(wrong)
}

fn actions(actions: Option<&Value>) -> Result<(Vec<Place>, Map<String, Value>), Misread> {
    const AT: &str = "properties.actions";
    let actions = match actions {
        None => return Ok((Vec::new(), Map::new())),
        Some(Value::Object(actions)) => actions,
        Some(_) => return Err(misread(AT, "an object is expected")),
    };
    if let Some(name) =
        actions.iter().find(|(name, value)| !value.is_null() && !matches!(name.as_str(), "actionGroups" | "customProperties"))
    {
        return Err(misread(format!("{AT}.{}", name.0), "only actionGroups and customProperties are to be had here"));
    }
    let listed: &[Value] = match actions.get("actionGroups") {
        None | Some(Value::Null) => &[],
        Some(Value::Array(listed)) => listed,
        Some(_) => return Err(misread(format!("{AT}.actionGroups"), "an array is expected")),
    };
    if listed.len() > GROUPS_MAX {
        return Err(misread(format!("{AT}.actionGroups"), format!("a rule has at most {GROUPS_MAX} action groups")));
    }
    let mut groups = Vec::with_capacity(listed.len());
    for (index, group) in listed.iter().enumerate() {
        let place = group.as_str().and_then(|path| Place::read(path, "Microsoft.Insights", "actionGroups"));
        groups.push(place.ok_or_else(|| misread(format!("{AT}.actionGroups[{index}]"), "the resource id of an action group is expected"))?);
    }
    let custom = match actions.get("customProperties") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(custom)) if custom.values().all(Value::is_string) => custom.clone(),
        Some(_) => return Err(misread(format!("{AT}.customProperties"), "an object of texts is expected")),
    };
    Ok((groups, custom))
}

fn condition(properties: &Map<String, Value>) -> Result<Condition, Misread> {
    const AT: &str = "properties.criteria.allOf[0]";
    let all = properties.get("criteria").and_then(|criteria| criteria.get("allOf")).and_then(Value::as_array);
    let one = match all.map(Vec::as_slice) {
        Some([Value::Object(one)]) => one,
        Some([_, _, ..]) => return Err(misread("properties.criteria.allOf", "one condition a rule: make a rule for each")),
        _ => return Err(misread("properties.criteria.allOf", "one condition is expected")),
    };
    let part = |name: &str| text(one, name, AT);
    let known = [
        "criterionType",
        "query",
        "timeAggregation",
        "metricMeasureColumn",
        "resourceIdColumn",
        "dimensions",
        "operator",
        "threshold",
        "failingPeriods",
    ];
    if let Some((name, _)) = one.iter().find(|(name, value)| !value.is_null() && !known.contains(&name.as_str())) {
        return Err(misread(format!("{AT}.{name}"), "this is not to be had here: leave it out"));
    }
    if part("criterionType")?.is_some_and(|kind| !kind.eq_ignore_ascii_case("StaticThresholdCriterion")) {
        return Err(misread(format!("{AT}.criterionType"), "thresholds are static here: StaticThresholdCriterion"));
    }
    let query = part("query")?.filter(|query| !query.trim().is_empty()).ok_or_else(|| misread(format!("{AT}.query"), "it is needed"))?;
    let aggregation = word(
        part("timeAggregation")?.unwrap_or_default(),
        &[Aggregation::Count, Aggregation::Average, Aggregation::Minimum, Aggregation::Maximum, Aggregation::Total],
        Aggregation::as_str,
        format!("{AT}.timeAggregation"),
    )?;
    let column = column(one, "metricMeasureColumn", AT)?;
    if aggregation == Aggregation::Count && column.is_some() {
        return Err(misread(format!("{AT}.metricMeasureColumn"), "a count is of rows: leave it out, or aggregate otherwise"));
    }
    if aggregation != Aggregation::Count && column.is_none() {
        return Err(misread(format!("{AT}.metricMeasureColumn"), "it is needed for every aggregation but Count"));
    }
    let operator = word(
        part("operator")?.unwrap_or_default(),
        &[Operator::Equals, Operator::GreaterThan, Operator::GreaterThanOrEqual, Operator::LessThan, Operator::LessThanOrEqual],
        Operator::as_str,
        format!("{AT}.operator"),
    )?;
    let threshold = one.get("threshold").and_then(Value::as_f64).filter(|threshold| threshold.is_finite());
    let threshold = threshold.ok_or_else(|| misread(format!("{AT}.threshold"), "a number is expected"))?;
    let (periods, failing) = periods(one.get("failingPeriods"))?;
    let resource_column = self::column(one, "resourceIdColumn", AT)?;
    let dimensions = dimensions(one.get("dimensions"), resource_column.as_deref())?;
    Ok(Condition { query: query.to_owned(), aggregation, column, resource_column, dimensions, operator, threshold, periods, failing })
}

fn periods(periods: Option<&Value>) -> Result<(usize, usize), Misread> {
    const AT: &str = "properties.criteria.allOf[0].failingPeriods";
    let Some(periods) = periods.filter(|periods| !periods.is_null()) else { return Ok((1, 1)) };
    let number = |name: &str| match periods.get(name) {
        None | Some(Value::Null) => Ok(1),
        // Some clients send whole numbers as 1.0.
        Some(value) => {
            value.as_i64().or_else(|| whole(value.as_f64()?)).ok_or_else(|| misread(format!("{AT}.{name}"), "a number is expected"))
        }
    };
    let (all, least) = (number("numberOfEvaluationPeriods")?, number("minFailingPeriodsToAlert")?);
    if !(1..=PERIODS_MAX).contains(&all) || !(1..=all).contains(&least) {
        let rule = format!("1 to {PERIODS_MAX} periods, and of them at least 1 and at most all have to fail");
        return Err(misread(AT, rule));
    }
    Ok((usize::try_from(all).unwrap_or(1), usize::try_from(least).unwrap_or(1)))
}

#[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
fn whole(value: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() < 1e9).then_some(value as i64)
}

fn dimensions(listed: Option<&Value>, resource: Option<&str>) -> Result<Vec<Dimension>, Misread> {
    const AT: &str = "properties.criteria.allOf[0].dimensions";
    let listed: &[Value] = match listed {
        None | Some(Value::Null) => &[],
        Some(Value::Array(listed)) => listed,
        Some(_) => return Err(misread(AT, "an array is expected")),
    };
    if listed.len() > DIMENSIONS_MAX {
        return Err(misread(AT, format!("a condition has at most {DIMENSIONS_MAX} dimensions")));
    }
    let mut found: Vec<Dimension> = Vec::with_capacity(listed.len());
    for (index, dimension) in listed.iter().enumerate() {
        let at = format!("{AT}[{index}]");
        let Value::Object(dimension) = dimension else { return Err(misread(at, "an object is expected")) };
        let name = column(dimension, "name", &at)?.ok_or_else(|| misread(format!("{at}.name"), "it is needed"))?;
        if found.iter().any(|known| known.name == name) || resource == Some(name.as_str()) {
            return Err(misread(format!("{at}.name"), "rows are told apart by that column already"));
        }
        let values: Vec<String> = match dimension.get("values") {
            Some(Value::Array(values)) => values.iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<_>>(),
            _ => None,
        }
        .filter(|values: &Vec<String>| !values.is_empty() && values.len() <= VALUES_MAX)
        .ok_or_else(|| misread(format!("{at}.values"), format!("1 to {VALUES_MAX} texts are expected, or \"*\"")))?;
        let all = values.iter().any(|value| value == "*");
        let values = match text(dimension, "operator", &at)?.unwrap_or("Include") {
            operator if operator.eq_ignore_ascii_case("Include") && all => Picked::All,
            operator if operator.eq_ignore_ascii_case("Include") => Picked::Only(values),
            operator if operator.eq_ignore_ascii_case("Exclude") && !all => Picked::Except(values),
            operator if operator.eq_ignore_ascii_case("Exclude") => {
                return Err(misread(format!("{at}.values"), "to leave out all values leaves nothing"));
            }
            _ => return Err(misread(format!("{at}.operator"), "Include or Exclude is expected")),
        };
        found.push(Dimension { name, values });
    }
    Ok(found)
}

fn text<'v>(object: &'v Map<String, Value>, name: &str, at: &str) -> Result<Option<&'v str>, Misread> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(misread(format!("{at}.{name}"), "a text is expected")),
    }
}

fn column(object: &Map<String, Value>, name: &str, at: &str) -> Result<Option<String>, Misread> {
    let Some(column) = text(object, name, at)?.filter(|column| !column.is_empty()) else { return Ok(None) };
    if column.len() > COLUMN_MAX || column.chars().any(char::is_control) {
        return Err(misread(format!("{at}.{name}"), "the name of a column is expected"));
    }
    Ok(Some(column.to_owned()))
}

fn word<T: Copy>(text: &str, all: &[T], name: impl Fn(T) -> &'static str, at: String) -> Result<T, Misread> {
    let found = all.iter().copied().find(|one| name(*one).eq_ignore_ascii_case(text));
    found.ok_or_else(|| misread(at, format!("one of {} is expected", all.iter().map(|one| name(*one)).collect::<Vec<_>>().join(", "))))
}

fn duration(properties: &Map<String, Value>, name: &str) -> Result<Option<i64>, Misread> {
    let Some(text) = text(properties, name, "properties")? else { return Ok(None) };
    let read = read_duration(text).filter(|ms| *ms > 0);
    read.map(Some).ok_or_else(|| misread(format!("properties.{name}"), "a duration such as PT5M, PT1H or P1D is expected"))
}

/// Milliseconds of an ISO 8601 duration of days, hours, minutes and seconds.
fn read_duration(text: &str) -> Option<i64> {
    let rest = text.strip_prefix(['P', 'p'])?;
    let (days, time) = rest.split_once(['T', 't']).map_or((rest, None), |(days, time)| (days, Some(time)));
    let mut ms = 0_i64;
    let mut any = false;
    for (part, units) in [(days, &[('D', DAY)][..]), (time.unwrap_or(""), &[('H', 60 * MINUTE), ('M', MINUTE), ('S', 1_000)][..])] {
        let (mut number, mut next) = (String::new(), 0);
        for letter in part.chars() {
            if letter.is_ascii_digit() && number.len() < 9 {
                number.push(letter);
                continue;
            }
            let at = units.iter().skip(next).position(|(unit, _)| letter.eq_ignore_ascii_case(unit))? + next;
            ms = ms.checked_add(number.parse::<i64>().ok()?.checked_mul(units[at].1)?)?;
            (number, next, any) = (String::new(), at + 1, true);
        }
        if !number.is_empty() {
            return None;
        }
    }
    (any && time != Some("")).then_some(ms)
}

/// A duration as ISO 8601 has it.
#[must_use]
pub fn iso_duration(ms: i64) -> String {
    let parts = [(ms / DAY, 'D'), (ms % DAY / (60 * MINUTE), 'H'), (ms / MINUTE % 60, 'M'), (ms / 1_000 % 60, 'S')];
    let mut text = "P".to_owned();
    for (count, unit) in parts {
        if count > 0 {
            if unit != 'D' && !text.contains('T') {
                text.push('T');
            }
            text.push_str(&count.to_string());
            text.push(unit);
        }
    }
    if text == "P" { "PT0S".to_owned() } else { text }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) const WORKSPACE: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/w";

    pub(crate) fn sample() -> Value {
        json!({
            "description": "too many failures", "severity": 1, "scopes": [WORKSPACE],
            "evaluationFrequency": "PT1M", "windowSize": "PT5M",
            "criteria": {"allOf": [{
                "query": "Web | where status >= 500", "timeAggregation": "Count", "operator": "GreaterThan", "threshold": 2,
                "dimensions": [{"name": "host", "operator": "Include", "values": ["*"]}],
                "failingPeriods": {"numberOfEvaluationPeriods": 1, "minFailingPeriodsToAlert": 1},
            }]},
            "actions": {"actionGroups": ["/subscriptions/s/resourceGroups/g/providers/microsoft.insights/actiongroups/ops"]},
        })
    }

    pub(crate) fn read(change: impl FnOnce(&mut Value)) -> Result<AlertRule, Misread> {
        let mut properties = sample();
        change(&mut properties);
        let Value::Object(properties) = properties else { panic!("an object") };
        AlertRule::read(properties, MINUTE)
    }

    #[test]
    fn what_azures_clients_write_is_read() {
        let rule = read(|_| ()).unwrap();
        assert_eq!((rule.frequency_ms, rule.window_ms, rule.severity), (MINUTE, 5 * MINUTE, 1));
        assert!(rule.enabled && rule.stateful && !rule.needs_linked_storage);
        assert_eq!((rule.workspace.name.as_str(), rule.groups[0].name.as_str()), ("w", "ops"));
        assert_eq!(rule.condition.dimensions, [Dimension { name: "host".to_owned(), values: Picked::All }]);
        let rule = read(|rule| {
            rule["criteria"]["allOf"][0]["timeAggregation"] = json!("average");
            rule["criteria"]["allOf"][0]["metricMeasureColumn"] = json!("took");
            rule["criteria"]["allOf"][0]["failingPeriods"] = json!({"numberOfEvaluationPeriods": 4.0, "minFailingPeriodsToAlert": 3.0});
            rule["createdWithApiVersion"] = json!("2022-06-15");
            rule["displayName"] = Value::Null;
        })
        .unwrap();
        assert_eq!((rule.condition.periods, rule.condition.failing, rule.condition.aggregation), (4, 3, Aggregation::Average));
        assert!(!rule.properties.contains_key("createdWithApiVersion") && !rule.properties.contains_key("displayName"));
    }

    #[test]
    fn what_cannot_be_is_named_with_its_place() {
        type Change = fn(&mut Value);
        let cases: [(Change, &str); 20] = [
            (|rule| rule["scopes"] = json!([]), "properties.scopes"),
            (|rule| rule["scopes"] = json!([WORKSPACE, WORKSPACE]), "properties.scopes"),
            (|rule| rule["evaluationFrequency"] = json!("PT30S"), "properties.evaluationFrequency"),
            (|rule| rule["evaluationFrequency"] = json!("5 minutes"), "properties.evaluationFrequency"),
            (|rule| rule["windowSize"] = json!("PT30S"), "properties.windowSize"),
            (|rule| rule["overrideQueryTimeRange"] = json!("PT1M"), "properties.overrideQueryTimeRange"),
            (|rule| rule["severity"] = json!(5), "properties.severity"),
            (|rule| rule["enabled"] = json!("yes"), "properties.enabled"),
            (|rule| rule["colour"] = json!("red"), "properties.colour"),
            (|rule| rule["resolveConfiguration"] = json!({"autoResolved": true}), "properties.resolveConfiguration"),
            (|rule| rule["criteria"] = json!({"allOf": []}), "properties.criteria.allOf"),
            (|rule| rule["criteria"]["allOf"][0]["query"] = json!(" "), "properties.criteria.allOf[0].query"),
            (|rule| rule["criteria"]["allOf"][0]["timeAggregation"] = json!("Sum"), "properties.criteria.allOf[0].timeAggregation"),
            (|rule| rule["criteria"]["allOf"][0]["timeAggregation"] = json!("Total"), "properties.criteria.allOf[0].metricMeasureColumn"),
            (|rule| rule["criteria"]["allOf"][0]["metricMeasureColumn"] = json!("n"), "properties.criteria.allOf[0].metricMeasureColumn"),
            (|rule| rule["criteria"]["allOf"][0]["alertSensitivity"] = json!("High"), "properties.criteria.allOf[0].alertSensitivity"),
            (
                |rule| rule["criteria"]["allOf"][0]["criterionType"] = json!("DynamicThresholdCriterion"),
                "properties.criteria.allOf[0].criterionType",
            ),
            (
                |rule| rule["criteria"]["allOf"][0]["failingPeriods"]["minFailingPeriodsToAlert"] = json!(2),
                "properties.criteria.allOf[0].failingPeriods",
            ),
            (
                |rule| rule["criteria"]["allOf"][0]["dimensions"][0]["operator"] = json!("Exclude"),
                "properties.criteria.allOf[0].dimensions[0].values",
            ),
            (|rule| rule["actions"]["actionGroups"] = json!(["ops"]), "properties.actions.actionGroups[0]"),
        ];
        for (change, target) in cases {
            assert_eq!(read(change).unwrap_err().target, target);
        }
        let two = read(|rule| {
            let one = rule["criteria"]["allOf"][0].clone();
            rule["criteria"]["allOf"] = json!([one.clone(), one]);
        });
        assert_eq!(two.unwrap_err().target, "properties.criteria.allOf");
    }

    #[test]
    fn durations_are_read_and_written() {
        for (text, ms) in
            [("PT1M", MINUTE), ("PT1H30M", 90 * MINUTE), ("P1D", DAY), ("P1DT2H", 26 * 60 * MINUTE), ("PT10S", 10_000), ("P2D", 2 * DAY)]
        {
            assert_eq!(read_duration(text), Some(ms), "{text}");
            assert_eq!(iso_duration(ms), text);
        }
        for text in ["", "P", "PT", "P1", "1M", "PT1M1H", "P1M", "PT1.5S", "P1DT", "PTM", "PT99999999999S"] {
            assert_eq!(read_duration(text), None, "{text}");
        }
    }
}
