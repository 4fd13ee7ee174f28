//! `Microsoft.Insights/scheduledQueryRules` and `actionGroups`, and `Microsoft.AlertsManagement/alerts`: questions on schedule, who is
//! called, and what fired.
//!
//! Writing a rule takes leave to write rules at its own place and at the workspace, and to query that workspace: it goes on asking as
//! whoever wrote it. Seeing one takes leave to see rules at both. What fired is shown without what of: that is in the workspace's table.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use strongroom_catalog::{ActionGroupRow, AlertRow, AlertRuleRow, WorkspaceRow};
use strongroom_control::alerts::{ActionGroup, AlertAsk, AlertRule, alert_path, iso_duration};
use strongroom_control::collection::Misread;
use strongroom_control::{ControlError, Place, ScopePath, action};
use strongroom_model::{ErrorKind, ObjectId};

use super::super::auth::{Who, absent};
use super::super::error::ApiError;
use super::super::query::query_error;
use super::super::{App, control_error};
use super::{ALERTS_MANAGEMENT, ApiVersion, InGroup, MONITOR, Named, sent, time};
use crate::alerting;

const RULES: &str = "scheduledQueryRules";
const GROUPS: &str = "actionGroups";
/// Alerts that a list shows at most, newest first.
const SHOWN_MAX: usize = 1_000;

/// The routes.
pub(super) fn routes() -> Router<App> {
    let group = |rest: &str| format!("/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{MONITOR}/{rest}");
    let all = |rest: &str| format!("/subscriptions/{{subscription}}/providers/{MONITOR}/{rest}");
    let one = |kind: &str| format!("{}/{{name}}", group(kind));
    let alerts = format!("/subscriptions/{{subscription}}/providers/{ALERTS_MANAGEMENT}/alerts");
    Router::new()
        .route(&all(RULES), get(list_rules))
        .route(&group(RULES), get(list_rules))
        .route(&one(RULES), get(show_rule).put(put_rule).patch(patch_rule).delete(delete_rule))
        .route(&all(GROUPS), get(list_groups))
        .route(&group(GROUPS), get(list_groups))
        .route(&one(GROUPS), get(show_group).put(put_group).patch(patch_group).delete(delete_group))
        .route(&alerts, get(list_alerts))
        .route(&format!("{alerts}/{{alert}}"), get(show_alert))
}

type Shown = Result<Json<Value>, ApiError>;

fn path_of(kind: &str, (subscription, group, name): (&str, &str, &str)) -> String {
    format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/{MONITOR}/{kind}/{name}")
}

fn rule_place(row: &AlertRuleRow) -> ScopePath {
    ScopePath::of(&path_of(RULES, (&row.subscription, &row.resource_group, &row.name)))
}

fn misread(error: &Misread) -> ApiError {
    ApiError::new(ErrorKind::Invalid, "BadRequest", &error.message).target(error.target.clone())
}

fn told(error: ControlError, who: &Who) -> ApiError {
    match error {
        ControlError::NotFound { .. } => absent(&who.1),
        other => control_error(&other),
    }
}

/// The workspace of a rule, if this caller may know of rules there.
async fn home(app: &App, who: &Who, row: &AlertRuleRow, action: &str) -> Result<WorkspaceRow, ControlError> {
    app.site.workspaces.resolve(&who.0, &row.workspace.to_string(), action).await
}

/// The rule there, if this caller may do that with it and with rules of its workspace.
async fn rule(app: &App, who: &Who, place: &Place, action: &str) -> Result<AlertRuleRow, ApiError> {
    who.allow(app, action)?;
    let row = app.site.alerts.get(place).await.map_err(|error| told(error, who))?;
    home(app, who, &row, action).await.map_err(|error| told(error, who))?;
    Ok(row)
}

async fn list_rules(State(app): State<App>, who: Who, _: ApiVersion, Path(at): Path<InGroup>) -> Shown {
    who.list(action::ALERT_RULES_READ)?;
    Ok(Json(json!({"value": shown_rules(&app, &who, &at).await?})))
}

/// Those of a place that the caller may read.
pub(super) async fn shown_rules(app: &App, who: &Who, at: &InGroup) -> Result<Vec<Value>, ApiError> {
    let mut value = Vec::new();
    for row in app.site.alerts.list().await.map_err(|error| control_error(&error))? {
        if !at.holds(&row.subscription, &row.resource_group) || !who.0.may(action::ALERT_RULES_READ, &rule_place(&row)) {
            continue;
        }
        match home(app, who, &row, action::ALERT_RULES_READ).await {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Forbidden) => continue,
            Err(error) => return Err(control_error(&error)),
        }
        // One whose key is away is there all the same; what it says is not told.
        let body = match app.site.alerts.open(&row).await {
            Ok(body) => Some(body),
            Err(error) if matches!(error.kind(), ErrorKind::KeyRevoked | ErrorKind::Unavailable | ErrorKind::NotFound) => None,
            Err(error) => return Err(control_error(&error)),
        };
        value.push(rule_json(app, &row, body.as_ref()).await?);
    }
    Ok(value)
}

async fn show_rule(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Shown {
    let row = rule(&app, &who, &named.into(), action::ALERT_RULES_READ).await?;
    let body = app.site.alerts.open(&row).await.map_err(|error| control_error(&error))?;
    Ok(Json(rule_json(&app, &row, Some(&body)).await?))
}

async fn put_rule(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    Path(named): Path<Named>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    who.allow(&app, action::ALERT_RULES_WRITE)?;
    let place = Place::from(named);
    let body = sent(body).await?;
    let ask = AlertAsk { region: region(&body)?, tags: tags(&body)?.unwrap_or_default() };
    if let Some(kind) = text(&body, "kind")?.filter(|kind| !kind.eq_ignore_ascii_case("LogAlert")) {
        return Err(misread(&Misread { target: "kind".to_owned(), message: format!("rules are of the kind LogAlert here, not {kind}") }));
    }
    if body.get("identity").is_some_and(|identity| !identity.is_null()) {
        let message = "a rule asks as whoever wrote it: leave identity out".to_owned();
        return Err(misread(&Misread { target: "identity".to_owned(), message }));
    }
    write(&app, &who, &place, ask, properties(&body)?).await
}

async fn patch_rule(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>, body: Body) -> Shown {
    let place = Place::from(named);
    let row = rule(&app, &who, &place, action::ALERT_RULES_WRITE).await?;
    let body = sent(body).await?;
    let mut now = app.site.alerts.open(&row).await.map_err(|error| control_error(&error))?.properties;
    now.extend(properties(&body)?);
    let ask = AlertAsk { region: row.region.clone(), tags: tags(&body)?.unwrap_or_else(|| read(&row.tags)) };
    write(&app, &who, &place, ask, now).await.map(|(_, shown)| shown)
}

async fn write(
    app: &App,
    who: &Who,
    place: &Place,
    ask: AlertAsk,
    properties: Map<String, Value>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    // Whoever may not change the rule that is there is told so before anything of the new one is looked at.
    match app.site.alerts.get(place).await {
        Ok(row) => drop(home(app, who, &row, action::ALERT_RULES_WRITE).await.map_err(|error| told(error, who))?),
        Err(ControlError::NotFound { .. }) => {}
        Err(error) => return Err(control_error(&error)),
    }
    let rule = AlertRule::read(properties, app.site.alerts.config().frequency_min_ms()).map_err(|error| misread(&error))?;
    let workspace = workspace_of(app, who, &rule).await?;
    for (index, group) in rule.groups.iter().enumerate() {
        let at = ScopePath::of(&path_of(GROUPS, (&group.subscription, &group.resource_group, &group.name)));
        if !who.0.may(action::ACTION_GROUPS_READ, &at) {
            let text = format!("there is no action group {}, or you may not see it", group.name);
            return Err(
                ApiError::new(ErrorKind::Invalid, "ActionGroupNotFound", text).target(format!("properties.actions.actionGroups[{index}]"))
            );
        }
    }
    let bound = alerting::bind(&app.site.engine, workspace.id, who.0.principal, &rule.condition, rule.unbound).await;
    bound.map_err(|(target, error)| query_error(&error).target(target))?;
    let put = app.site.alerts.put(place, ask, &rule, &workspace, who.0.principal).await;
    let (row, new) = put.map_err(|error| told(error, who))?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(rule_json(app, &row, Some(&rule)).await?)))
}

/// The workspace that a rule asks, if this caller may query it and write rules for it.
async fn workspace_of(app: &App, who: &Who, rule: &AlertRule) -> Result<WorkspaceRow, ApiError> {
    let mut found = None;
    for needed in [action::ALERT_RULES_WRITE, action::QUERY] {
        found = match app.site.workspaces.at(&who.0, &rule.workspace, needed).await {
            Ok(row) => Some(row),
            Err(ControlError::NotFound { .. }) => {
                let text = format!("there is no workspace {}, or you may not see it", rule.workspace.name);
                return Err(ApiError::new(ErrorKind::Invalid, "BadRequest", text).target("properties.scopes"));
            }
            Err(error) => return Err(control_error(&error)),
        };
    }
    found.ok_or_else(|| absent(&who.1))
}

async fn delete_rule(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<StatusCode, ApiError> {
    who.allow(&app, action::ALERT_RULES_DELETE)?;
    let place = Place::from(named);
    let row = match app.site.alerts.get(&place).await {
        Ok(row) => row,
        Err(ControlError::NotFound { .. }) => return Ok(StatusCode::NO_CONTENT),
        Err(error) => return Err(control_error(&error)),
    };
    match home(&app, &who, &row, action::ALERT_RULES_DELETE).await {
        Ok(_) => {}
        // As if it were not there.
        Err(ControlError::NotFound { .. }) => return Ok(StatusCode::NO_CONTENT),
        Err(error) => return Err(control_error(&error)),
    }
    let there = app.site.alerts.delete(&row).await.map_err(|error| control_error(&error))?;
    Ok(if there { StatusCode::OK } else { StatusCode::NO_CONTENT })
}

/// Without a body, what stands in clear.
async fn rule_json(app: &App, row: &AlertRuleRow, body: Option<&AlertRule>) -> Result<Value, ApiError> {
    let mut properties = body.map_or_else(
        || {
            Map::from_iter([
                ("severity".to_owned(), row.severity.into()),
                ("enabled".to_owned(), row.enabled.into()),
                ("evaluationFrequency".to_owned(), iso_duration(row.frequency_ms).into()),
            ])
        },
        |body| body.properties.clone(),
    );
    let linked = app.site.alerts.is_linked(row).await.map_err(|error| control_error(&error))?;
    properties.insert("isWorkspaceAlertsStorageConfigured".to_owned(), linked.into());
    properties.insert("isLegacyLogAnalyticsRule".to_owned(), false.into());
    properties.insert("provisioningState".to_owned(), "Succeeded".into());
    let state = match (row.suspended_ms, row.outcome.as_str()) {
        _ if !row.enabled => "disabled",
        (Some(_), _) => "suspended",
        (None, "") => "new",
        (None, "ok") => "working",
        (None, _) => "failing",
    };
    let mut own = json!({"state": state, "failuresInARow": row.failures});
    if !row.outcome.is_empty() {
        own["outcome"] = row.outcome.as_str().into();
        own["outcomeAt"] = time(row.outcome_ms).into();
    }
    if let Some(since_ms) = row.suspended_ms {
        own["suspendedSince"] = time(since_ms).into();
    }
    properties.insert("strongroom".to_owned(), own);
    Ok(json!({
        "id": path_of(RULES, (&row.subscription, &row.resource_group, &row.name)),
        "name": row.name,
        "type": format!("{MONITOR}/{RULES}"),
        "kind": "LogAlert",
        "location": row.region,
        "tags": read(&row.tags),
        "etag": row.etag.to_string(),
        "properties": properties,
        "systemData": {"createdAt": time(row.created_ms), "lastModifiedAt": time(row.changed_ms)},
    }))
}

async fn list_groups(State(app): State<App>, who: Who, _: ApiVersion, Path(at): Path<InGroup>) -> Shown {
    who.list(action::ACTION_GROUPS_READ)?;
    Ok(Json(json!({"value": shown_groups(&app, &who, &at).await?})))
}

/// Those of a place that the caller may read.
pub(super) async fn shown_groups(app: &App, who: &Who, at: &InGroup) -> Result<Vec<Value>, ApiError> {
    let mut value = Vec::new();
    for row in app.site.action_groups.list().await.map_err(|error| control_error(&error))? {
        let path = path_of(GROUPS, (&row.subscription, &row.resource_group, &row.name));
        if at.holds(&row.subscription, &row.resource_group) && who.0.may(action::ACTION_GROUPS_READ, &ScopePath::of(&path)) {
            value.push(group_json(app, &row)?);
        }
    }
    Ok(value)
}

async fn show_group(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Shown {
    who.allow(&app, action::ACTION_GROUPS_READ)?;
    let row = app.site.action_groups.get(&named.into()).await.map_err(|error| told(error, &who))?;
    Ok(Json(group_json(&app, &row)?))
}

async fn put_group(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    Path(named): Path<Named>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    who.allow(&app, action::ACTION_GROUPS_WRITE)?;
    let body = sent(body).await?;
    let group = ActionGroup::read(properties(&body)?).map_err(|error| misread(&error))?;
    let tags = tags(&body)?.unwrap_or_default();
    let put = app.site.action_groups.put(&named.into(), &region(&body)?, &tags, &group).await;
    let (row, new) = put.map_err(|error| control_error(&error))?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(group_json(&app, &row)?)))
}

async fn patch_group(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>, body: Body) -> Shown {
    who.allow(&app, action::ACTION_GROUPS_WRITE)?;
    let place = Place::from(named);
    let row = app.site.action_groups.get(&place).await.map_err(|error| told(error, &who))?;
    let body = sent(body).await?;
    let mut now = app.site.action_groups.open(&row).map_err(|error| control_error(&error))?.properties;
    now.extend(properties(&body)?);
    let group = ActionGroup::read(now).map_err(|error| misread(&error))?;
    let tags = tags(&body)?.unwrap_or_else(|| read(&row.tags));
    let (row, _) = app.site.action_groups.put(&place, &row.region, &tags, &group).await.map_err(|error| control_error(&error))?;
    Ok(Json(group_json(&app, &row)?))
}

async fn delete_group(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<StatusCode, ApiError> {
    who.allow(&app, action::ACTION_GROUPS_DELETE)?;
    let there = app.site.action_groups.delete(&named.into()).await.map_err(|error| control_error(&error))?;
    Ok(if there { StatusCode::OK } else { StatusCode::NO_CONTENT })
}

fn group_json(app: &App, row: &ActionGroupRow) -> Result<Value, ApiError> {
    let mut properties = app.site.action_groups.open(row).map_err(|error| control_error(&error))?.properties;
    // Whatever was asked for: there is one schema.
    for receiver in properties.get_mut("webhookReceivers").and_then(Value::as_array_mut).into_iter().flatten() {
        receiver["useCommonAlertSchema"] = true.into();
    }
    properties.entry("enabled").or_insert(true.into());
    properties.entry("webhookReceivers").or_insert_with(|| json!([]));
    Ok(json!({
        "id": path_of(GROUPS, (&row.subscription, &row.resource_group, &row.name)),
        "name": row.name,
        "type": format!("{MONITOR}/{GROUPS}"),
        "location": row.region,
        "tags": read(&row.tags),
        "properties": properties,
    }))
}

async fn list_alerts(State(app): State<App>, who: Who, _: ApiVersion, Path(at): Path<InGroup>) -> Shown {
    who.list(action::ALERTS_READ)?;
    let mut found: Vec<(AlertRow, AlertRuleRow)> = Vec::new();
    for row in app.site.alerts.list().await.map_err(|error| control_error(&error))? {
        if !at.holds(&row.subscription, &row.resource_group) || !sees(&app, &who, &row).await? {
            continue;
        }
        let alerts = app.site.alerts.alerts(&row).await.map_err(|error| control_error(&error))?;
        found.extend(alerts.into_iter().map(|alert| (alert, row.clone())));
    }
    found.sort_by_key(|(alert, _)| (std::cmp::Reverse(alert.fired_ms), alert.id));
    found.truncate(SHOWN_MAX);
    let mut value = Vec::with_capacity(found.len());
    for (alert, row) in &found {
        value.push(alert_json(&app, alert, row).await?);
    }
    Ok(Json(json!({"value": value})))
}

async fn show_alert(State(app): State<App>, who: Who, _: ApiVersion, Path((subscription, id)): Path<(String, String)>) -> Shown {
    let found = match id.parse::<ObjectId>() {
        Ok(id) => app.site.alerts.alert(id).await.map_err(|error| control_error(&error))?,
        Err(_) => None,
    };
    if let Some((alert, row)) = found
        && row.subscription.eq_ignore_ascii_case(&subscription)
        && sees(&app, &who, &row).await?
    {
        return Ok(Json(alert_json(&app, &alert, &row).await?));
    }
    // One that is not there and one that is not this caller's look alike.
    who.list(action::ALERTS_READ)?;
    Err(absent(&who.1))
}

/// Whether this caller may know what a rule fired: at the rule's place and at its workspace.
async fn sees(app: &App, who: &Who, row: &AlertRuleRow) -> Result<bool, ApiError> {
    if !who.0.may(action::ALERTS_READ, &rule_place(row)) {
        return Ok(false);
    }
    match home(app, who, row, action::ALERTS_READ).await {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Forbidden) => Ok(false),
        Err(error) => Err(control_error(&error)),
    }
}

/// That it fired, when, and whether anybody was told. What of is in the workspace's table, under its key.
async fn alert_json(app: &App, alert: &AlertRow, row: &AlertRuleRow) -> Result<Value, ApiError> {
    let workspace = app.site.catalog.workspace(row.workspace).await.map_err(|error| control_error(&error.into()))?;
    let mut essentials = json!({
        "severity": format!("Sev{}", alert.severity),
        "signalType": "Log",
        "alertState": "New",
        "monitorCondition": if alert.resolved_ms.is_some() { "Resolved" } else { "Fired" },
        "monitorService": "Log Alerts V2",
        "targetResource": workspace.as_ref().map(|row| Place::of_workspace(row).workspace_path()),
        "targetResourceType": "microsoft.operationalinsights/workspaces",
        "sourceCreatedId": alert.id.to_string(),
        "alertRule": path_of(RULES, (&row.subscription, &row.resource_group, &row.name)),
        "startDateTime": time(alert.fired_ms),
        "lastModifiedDateTime": time(alert.resolved_ms.unwrap_or(alert.fired_ms)),
        "actionStatus": {"isSuppressed": alert.delivery == strongroom_catalog::Delivery::Muted},
    });
    if let Some(resolved_ms) = alert.resolved_ms {
        essentials["monitorConditionResolvedDateTime"] = time(resolved_ms).into();
    }
    Ok(json!({
        "id": alert_path(&row.subscription, alert.id),
        "name": row.name,
        "type": format!("{ALERTS_MANAGEMENT}/alerts"),
        "properties": {"essentials": essentials, "strongroom": {"delivery": alert.delivery.as_str(), "calls": alert.tries}},
    }))
}

fn text<'a>(body: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, ApiError> {
    super::json::text(body, name)
}

fn region(body: &Map<String, Value>) -> Result<String, ApiError> {
    let region = text(body, "location")?.unwrap_or_default().to_ascii_lowercase().replace(' ', "");
    if region.is_empty() || region.len() > 64 || !region.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        let message = "the region, 1 to 64 letters and digits, is needed".to_owned();
        return Err(misread(&Misread { target: "location".to_owned(), message }));
    }
    Ok(region)
}

fn tags(body: &Map<String, Value>) -> Result<Option<Map<String, Value>>, ApiError> {
    Ok(super::json::tags(body)?.cloned())
}

fn properties(body: &Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
    Ok(super::json::member(body, "properties")?.cloned().unwrap_or_default())
}

fn read(json: &str) -> Map<String, Value> {
    serde_json::from_str(json).unwrap_or_default()
}
