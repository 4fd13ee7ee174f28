//! Alert rules and what fired. Texts of rules are not here.

use sqlx::sqlite::SqliteRow;
use strongroom_model::{ObjectId, PrincipalId, WorkspaceId};

use crate::columns::Columns;
use crate::db::{commit, refused};
use crate::{Catalog, CatalogError};

const RULE: &str = "an alert rule";
const ALERT: &str = "an alert";
/// Alerts of one rule that are kept; the oldest go first.
const ALERTS_MAX: i64 = 1_000;

/// A question that is asked on schedule, as far as the schedule goes by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRuleRow {
    /// Its id, which stays.
    pub id: ObjectId,
    /// Its name.
    pub name: String,
    /// The subscription.
    pub subscription: String,
    /// The resource group.
    pub resource_group: String,
    /// The region.
    pub region: String,
    /// Its tags, a JSON object.
    pub tags: String,
    /// Whom it asks.
    pub workspace: WorkspaceId,
    /// Who wrote it last: it asks as them.
    pub principal: PrincipalId,
    /// Whether it asks.
    pub enabled: bool,
    /// 0, the worst, to 4.
    pub severity: u8,
    /// How often it asks.
    pub frequency_ms: i64,
    /// The entry of content that it remembers rows in.
    pub memory: ObjectId,
    /// Changes with each writing.
    pub etag: ObjectId,
    /// When it is due, milliseconds since 1970.
    pub next_ms: i64,
    /// When a call of its is due again.
    pub calls_ms: Option<i64>,
    /// What came of the last question: nothing yet, `ok`, or a code.
    pub outcome: String,
    /// When that was.
    pub outcome_ms: i64,
    /// How many failed in a row.
    pub failures: u32,
    /// Since when its key is away.
    pub suspended_ms: Option<i64>,
    /// Birth, milliseconds since 1970.
    pub created_ms: i64,
    /// When it was last written.
    pub changed_ms: i64,
}

/// What became of the calls about an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Nobody was to be called.
    None,
    /// Somebody would have been, were it not for the mute time.
    Muted,
    /// Calls are still to be made.
    Pending,
    /// All were taken.
    Delivered,
    /// One at least was given up.
    Failed,
}

impl Delivery {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Muted => "muted",
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

impl std::str::FromStr for Delivery {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::None, Self::Muted, Self::Pending, Self::Delivered, Self::Failed].into_iter().find(|one| one.as_str() == text).ok_or(())
    }
}

/// An alert that fired. What of is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRow {
    /// Its id.
    pub id: ObjectId,
    /// The rule.
    pub rule: ObjectId,
    /// The rule's severity then.
    pub severity: u8,
    /// When it fired, milliseconds since 1970.
    pub fired_ms: i64,
    /// When it was over.
    pub resolved_ms: Option<i64>,
    /// What became of the calls.
    pub delivery: Delivery,
    /// How many calls were made.
    pub tries: u32,
}

macro_rules! rules {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, subscription, resource_group, region, tags, workspace, principal, enabled, severity, frequency_ms, memory, etag, next_ms, calls_ms, outcome, outcome_ms, failures, suspended_ms, created_ms, changed_ms FROM alert_rules ",
            $rest
        )
    };
}

macro_rules! alerts {
    ($rest:literal) => {
        concat!("SELECT id, rule, severity, fired_ms, resolved_ms, delivery, tries FROM alerts ", $rest)
    };
}

fn rule(row: &SqliteRow) -> Result<AlertRuleRow, CatalogError> {
    let mut columns = Columns::of(row, RULE);
    Ok(AlertRuleRow {
        id: ObjectId::from_bytes(columns.fixed()?),
        name: columns.text()?,
        subscription: columns.text()?,
        resource_group: columns.text()?,
        region: columns.text()?,
        tags: columns.text()?,
        workspace: WorkspaceId::from_bytes(columns.fixed()?),
        principal: PrincipalId::from_bytes(columns.fixed()?),
        enabled: columns.int()? != 0,
        severity: columns.number()?,
        frequency_ms: columns.int()?,
        memory: ObjectId::from_bytes(columns.fixed()?),
        etag: ObjectId::from_bytes(columns.fixed()?),
        next_ms: columns.int()?,
        calls_ms: columns.int_opt()?,
        outcome: columns.text()?,
        outcome_ms: columns.int()?,
        failures: columns.number()?,
        suspended_ms: columns.int_opt()?,
        created_ms: columns.int()?,
        changed_ms: columns.int()?,
    })
}

fn alert(row: &SqliteRow) -> Result<AlertRow, CatalogError> {
    let mut columns = Columns::of(row, ALERT);
    Ok(AlertRow {
        id: ObjectId::from_bytes(columns.fixed()?),
        rule: ObjectId::from_bytes(columns.fixed()?),
        severity: columns.number()?,
        fired_ms: columns.int()?,
        resolved_ms: columns.int_opt()?,
        delivery: columns.parsed()?,
        tries: columns.number()?,
    })
}

impl Catalog {
    /// Makes a rule, or writes one anew whose etag is still `replaces`: what came of its questions stays, and so does its birth.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if there is one of that name, or if it was changed meanwhile; [`CatalogError::Orphan`] if the
    /// workspace is not there.
    pub async fn alert_rule_put(&self, row: &AlertRuleRow, replaces: Option<ObjectId>) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(RULE).await?;
        let sql = match replaces {
            None => {
                "INSERT INTO alert_rules (id, name, subscription, resource_group, region, tags, workspace, principal, enabled, severity,
                                          frequency_ms, etag, next_ms, outcome, outcome_ms, failures, created_ms, changed_ms, memory)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, '', 0, 0, ?14, ?15, ?16)"
            }
            Some(_) => {
                "UPDATE alert_rules SET tags = ?6, workspace = ?7, principal = ?8, enabled = ?9, severity = ?10, frequency_ms = ?11, etag = ?12,
                                        next_ms = ?13, changed_ms = ?15
                 WHERE id = ?1 AND memory = ?16 AND etag = ?17 AND ?2 <> '' AND ?3 <> '' AND ?4 <> '' AND ?5 <> '' AND ?14 IS NOT NULL"
            }
        };
        let query = sqlx::query(sql)
            .bind(&row.id.as_bytes()[..])
            .bind(row.name.as_str())
            .bind(row.subscription.as_str())
            .bind(row.resource_group.as_str())
            .bind(row.region.as_str())
            .bind(row.tags.as_str())
            .bind(&row.workspace.as_bytes()[..])
            .bind(&row.principal.as_bytes()[..])
            .bind(i64::from(row.enabled))
            .bind(i64::from(row.severity))
            .bind(row.frequency_ms)
            .bind(&row.etag.as_bytes()[..])
            .bind(row.next_ms)
            .bind(row.created_ms)
            .bind(row.changed_ms)
            .bind(&row.memory.as_bytes()[..]);
        let query = match &replaces {
            None => query,
            Some(old) => query.bind(&old.as_bytes()[..]),
        };
        let done = query.execute(&mut *tx).await.map_err(|e| refused(RULE, &e))?;
        if done.rows_affected() == 0 {
            return Err(CatalogError::Conflict { what: RULE, why: "it was changed meanwhile" });
        }
        commit(tx, RULE).await
    }

    /// One rule.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn alert_rule(&self, subscription: &str, resource_group: &str, name: &str) -> Result<Option<AlertRuleRow>, CatalogError> {
        let row = sqlx::query(rules!("WHERE name = ? AND subscription = ? AND resource_group = ?"))
            .bind(name)
            .bind(subscription)
            .bind(resource_group)
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(RULE, &e))?;
        row.as_ref().map(rule).transpose()
    }

    /// The rule of that id.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn alert_rule_by_id(&self, id: ObjectId) -> Result<Option<AlertRuleRow>, CatalogError> {
        let row = sqlx::query(rules!("WHERE id = ?"))
            .bind(&id.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(RULE, &e))?;
        row.as_ref().map(rule).transpose()
    }

    /// All rules, by name.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn alert_rules(&self) -> Result<Vec<AlertRuleRow>, CatalogError> {
        let rows = sqlx::query(rules!("ORDER BY name, subscription, resource_group"))
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(RULE, &e))?;
        rows.iter().map(rule).collect()
    }

    /// Enabled rules that are due to ask, or that owe a call; of workspaces that are there. The longest overdue first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn alert_rules_due(&self, now_ms: i64, max: u32) -> Result<Vec<AlertRuleRow>, CatalogError> {
        let rows = sqlx::query(rules!(
            "WHERE ((enabled = 1 AND next_ms <= ?1) OR calls_ms <= ?1)
               AND workspace IN (SELECT id FROM workspaces WHERE deleted_ms IS NULL)
             ORDER BY next_ms LIMIT ?2"
        ))
        .bind(now_ms)
        .bind(i64::from(max))
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|e| refused(RULE, &e))?;
        rows.iter().map(rule).collect()
    }

    /// Passes over what was due while nobody looked: every rule is due at its next time after `now_ms`. How many had been due.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn alert_rules_pass_over(&self, now_ms: i64) -> Result<u64, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(RULE).await?;
        let done = sqlx::query("UPDATE alert_rules SET next_ms = (?1 / frequency_ms + 1) * frequency_ms WHERE next_ms <= ?1")
            .bind(now_ms)
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(RULE, &e))?;
        commit(tx, RULE).await?;
        Ok(done.rows_affected())
    }

    /// Takes a rule's turn: it is due next at `next_ms`. Whether it is still as it was seen; else somebody else has the turn.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn alert_rule_claim(&self, seen: &AlertRuleRow, next_ms: i64) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(RULE).await?;
        let done = sqlx::query("UPDATE alert_rules SET next_ms = ? WHERE id = ? AND etag = ? AND next_ms = ? AND enabled = 1")
            .bind(next_ms)
            .bind(&seen.id.as_bytes()[..])
            .bind(&seen.etag.as_bytes()[..])
            .bind(seen.next_ms)
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(RULE, &e))?;
        commit(tx, RULE).await?;
        Ok(done.rows_affected() == 1)
    }

    /// Writes down what came of a rule's question. How many failed in a row before.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn alert_rule_outcome(&self, id: ObjectId, outcome: &str, now_ms: i64) -> Result<u32, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(RULE).await?;
        let before: Option<i64> = sqlx::query_scalar("SELECT failures FROM alert_rules WHERE id = ?")
            .bind(&id.as_bytes()[..])
            .fetch_optional(&mut *tx)
            .await
            .map_err(|e| refused(RULE, &e))?;
        sqlx::query(
            "UPDATE alert_rules SET outcome = ?2, outcome_ms = ?3, failures = CASE ?2 WHEN 'ok' THEN 0 ELSE failures + 1 END WHERE id = ?1",
        )
        .bind(&id.as_bytes()[..])
        .bind(outcome)
        .bind(now_ms)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(RULE, &e))?;
        commit(tx, RULE).await?;
        Ok(before.and_then(|before| u32::try_from(before).ok()).unwrap_or(0))
    }

    /// When a call of a rule's is due again.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn alert_rule_calls(&self, id: ObjectId, calls_ms: Option<i64>) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(RULE).await?;
        sqlx::query("UPDATE alert_rules SET calls_ms = ? WHERE id = ?")
            .bind(calls_ms)
            .bind(&id.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(RULE, &e))?;
        commit(tx, RULE).await
    }

    /// Enabled rules of workspaces that are there, by their workspaces: how many of them are suspended, and how many are not.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn alert_workspaces(&self) -> Result<Vec<(WorkspaceId, u64, u64)>, CatalogError> {
        let rows = sqlx::query(
            "SELECT workspace, count(suspended_ms), count(*) - count(suspended_ms) FROM alert_rules
             WHERE enabled = 1 AND workspace IN (SELECT id FROM workspaces WHERE deleted_ms IS NULL)
             GROUP BY workspace ORDER BY workspace",
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|e| refused(RULE, &e))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row, RULE);
                Ok((WorkspaceId::from_bytes(columns.fixed()?), columns.number()?, columns.number()?))
            })
            .collect()
    }

    /// Suspends the enabled rules of a workspace. How many were suspended before, and how many are so now.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn alert_rules_suspend(&self, workspace: WorkspaceId, now_ms: i64) -> Result<(u64, u64), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(RULE).await?;
        let before: i64 = sqlx::query_scalar("SELECT count(*) FROM alert_rules WHERE workspace = ? AND suspended_ms IS NOT NULL")
            .bind(&workspace.as_bytes()[..])
            .fetch_one(&mut *tx)
            .await
            .map_err(|e| refused(RULE, &e))?;
        let done = sqlx::query("UPDATE alert_rules SET suspended_ms = ? WHERE workspace = ? AND suspended_ms IS NULL AND enabled = 1")
            .bind(now_ms)
            .bind(&workspace.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(RULE, &e))?;
        commit(tx, RULE).await?;
        let before = u64::try_from(before).unwrap_or(0);
        Ok((before, before + done.rows_affected()))
    }

    /// Lets the rules of a workspace go on: each is due at its next time after `now_ms`. How many had been suspended.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn alert_rules_resume(&self, workspace: WorkspaceId, now_ms: i64) -> Result<u64, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(RULE).await?;
        let done = sqlx::query(
            "UPDATE alert_rules SET suspended_ms = NULL, next_ms = max(next_ms, (?1 / frequency_ms + 1) * frequency_ms)
             WHERE workspace = ?2 AND suspended_ms IS NOT NULL",
        )
        .bind(now_ms)
        .bind(&workspace.as_bytes()[..])
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(RULE, &e))?;
        commit(tx, RULE).await?;
        Ok(done.rows_affected())
    }

    /// Takes a rule away, and what is known of its alerts. Whether it was there.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn alert_rule_delete(&self, id: ObjectId) -> Result<bool, CatalogError> {
        self.alerting_delete("DELETE FROM alerts WHERE rule = ?", id, ALERT).await?;
        self.alerting_delete("DELETE FROM alert_rules WHERE id = ?", id, RULE).await
    }

    /// Writes an alert down, as it stands. One whose rule is gone is left out.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn alert_put(&self, row: &AlertRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(ALERT).await?;
        sqlx::query(
            "INSERT INTO alerts (id, rule, severity, fired_ms, resolved_ms, delivery, tries)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE EXISTS (SELECT 1 FROM alert_rules WHERE id = ?2)
             ON CONFLICT (id) DO UPDATE SET resolved_ms = coalesce(excluded.resolved_ms, resolved_ms), delivery = excluded.delivery,
                                            tries = excluded.tries",
        )
        .bind(&row.id.as_bytes()[..])
        .bind(&row.rule.as_bytes()[..])
        .bind(i64::from(row.severity))
        .bind(row.fired_ms)
        .bind(row.resolved_ms)
        .bind(row.delivery.as_str())
        .bind(i64::from(row.tries))
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(ALERT, &e))?;
        sqlx::query(
            "DELETE FROM alerts WHERE rule = ?1 AND id IN (SELECT id FROM alerts WHERE rule = ?1 ORDER BY fired_ms DESC, id DESC LIMIT -1 OFFSET ?2)",
        )
        .bind(&row.rule.as_bytes()[..])
        .bind(ALERTS_MAX)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(ALERT, &e))?;
        commit(tx, ALERT).await
    }

    /// The alerts of a rule, newest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn alerts(&self, rule: ObjectId) -> Result<Vec<AlertRow>, CatalogError> {
        let rows = sqlx::query(alerts!("WHERE rule = ? ORDER BY fired_ms DESC, id DESC"))
            .bind(&rule.as_bytes()[..])
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(ALERT, &e))?;
        rows.iter().map(alert).collect()
    }

    /// The alert of that id.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn alert_by_id(&self, id: ObjectId) -> Result<Option<AlertRow>, CatalogError> {
        let row = sqlx::query(alerts!("WHERE id = ?"))
            .bind(&id.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(ALERT, &e))?;
        row.as_ref().map(alert).transpose()
    }

    pub(crate) async fn alerting_delete(&self, sql: &'static str, id: ObjectId, what: &'static str) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(what).await?;
        let done = sqlx::query(sql).bind(&id.as_bytes()[..]).execute(&mut *tx).await.map_err(|e| refused(what, &e))?;
        commit(tx, what).await?;
        Ok(done.rows_affected() >= 1)
    }
}
