//! Telling of what fired: what a webhook gets, in the common alert schema, and the row of the workspace's own table.
//!
//! No row and no text of a query is in it, ever: dimensions say what it is about. The number that the rows came to is told outside
//! only if neither key nor storage is the customer's.

use serde_json::{Map, Value, json};
use strongroom_catalog::AlertRuleRow;

use super::alert_path;
use super::rule::{AlertRule, iso_duration};
use super::state::{Happened, Monitor};
use crate::Place;
use crate::clusters::rfc3339;

/// The table of alerts in each workspace.
pub const ALERTS_TABLE: &str = "StrongroomAlerts";

/// A rule and one thing that happened with it.
pub(super) struct Telling<'a> {
    pub(super) row: &'a AlertRuleRow,
    pub(super) rule: &'a AlertRule,
    pub(super) event: &'a Happened,
    pub(super) now_ms: i64,
}

impl Telling<'_> {
    fn dimensions(&self) -> Vec<Value> {
        self.event.dimensions.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
    }

    /// What a webhook gets. `open`: the number, too.
    pub(super) fn call(&self, open: bool) -> Value {
        let Self { row, rule, event, .. } = self;
        let condition = &rule.condition;
        let target = condition.resource_column.as_ref().and_then(|column| event.dimensions.iter().find(|(name, _)| name == column));
        let target = target.map_or_else(|| rule.workspace.workspace_path(), |(_, value)| value.clone());
        let mut essentials = json!({
            "alertId": alert_path(&row.subscription, event.alert),
            "originAlertId": event.alert.to_string(),
            "alertRule": row.name,
            "severity": format!("Sev{}", row.severity),
            "signalType": "Log",
            "monitorCondition": event.monitor.as_str(),
            "monitoringService": "Log Alerts V2",
            "alertTargetIDs": [target],
            "firedDateTime": rfc3339(event.fired_ms),
            "essentialsVersion": "1.0",
            "alertContextVersion": "1.0",
        });
        if event.monitor == Monitor::Resolved {
            essentials["resolvedDateTime"] = rfc3339(event.window.1).into();
        }
        let mut of = json!({
            "operator": condition.operator.as_str(),
            "threshold": condition.threshold,
            "timeAggregation": condition.aggregation.as_str(),
            "dimensions": self.dimensions(),
            "failingPeriods": {"numberOfEvaluationPeriods": condition.periods, "minFailingPeriodsToAlert": condition.failing},
        });
        if open {
            of["metricValue"] = event.value.map_or(Value::Null, Value::from);
        }
        json!({
            "schemaId": "azureMonitorCommonAlertSchema",
            "data": {
                "essentials": essentials,
                "alertContext": {
                    "properties": {},
                    "conditionType": "LogQueryCriteria",
                    "condition": {
                        "windowSize": iso_duration(rule.window_ms),
                        "allOf": [of],
                        "windowStartTime": rfc3339(event.window.0),
                        "windowEndTime": rfc3339(event.window.1),
                    },
                },
                "customProperties": rule.custom,
            },
        })
    }

    /// The row in the workspace's own table: under its key, with all there is to say but the query.
    pub(super) fn line(&self) -> (String, Value) {
        let Self { row, event, .. } = self;
        let dimensions: Map<String, Value> = event.dimensions.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        let line = json!({
            "TimeGenerated": rfc3339(self.now_ms),
            "AlertId": event.alert.to_string(),
            "AlertRule": row.name,
            "AlertRuleId": row.id.to_string(),
            "Severity": row.severity,
            "MonitorCondition": event.monitor.as_str(),
            "FiredTime": rfc3339(event.fired_ms),
            "WindowStart": rfc3339(event.window.0),
            "WindowEnd": rfc3339(event.window.1),
            "Dimensions": dimensions,
            "Value": event.value,
            "Muted": event.muted,
        });
        (format!("alert-{}-{}", event.alert, event.monitor.as_str()), line)
    }
}

/// The path of a group, as it is kept.
pub(super) fn group_path(place: &Place) -> String {
    let Place { subscription, resource_group, name } = place;
    format!("/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/Microsoft.Insights/actionGroups/{name}")
}
