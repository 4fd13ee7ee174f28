//! What principals may do where, roles that somebody made, keys that tokens are signed with, subscriptions and resource groups.

use sqlx::sqlite::SqliteRow;
use strongroom_model::{ObjectId, PrincipalId};

use crate::columns::Columns;
use crate::db::{Tx, commit, refused};
use crate::principals::delete;
use crate::{AssignmentRow, Catalog, CatalogError, ResourceGroupRow, RoleRow, SigningKeyRow, SubscriptionRow};

const ASSIGNMENT: &str = "a role assignment";
const ROLE: &str = "a role definition";
const SIGNING: &str = "a signing key";
const SUBSCRIPTION: &str = "a subscription";
const GROUP: &str = "a resource group";
const DIRECTORY: &str = "the directory";

macro_rules! assignments {
    ($rest:literal) => {
        concat!("SELECT id, principal, role, scope, created_ms, created_by FROM role_assignments ", $rest)
    };
}

macro_rules! roles {
    ($rest:literal) => {
        concat!("SELECT id, name, description, actions, not_actions, scopes, changed_ms FROM role_definitions ", $rest)
    };
}

fn assignment(row: &SqliteRow) -> Result<AssignmentRow, CatalogError> {
    let mut columns = Columns::of(row, ASSIGNMENT);
    Ok(AssignmentRow {
        id: ObjectId::from_bytes(columns.fixed()?),
        principal: PrincipalId::from_bytes(columns.fixed()?),
        role: ObjectId::from_bytes(columns.fixed()?),
        scope: columns.text()?,
        created_ms: columns.int()?,
        created_by: columns.fixed_opt()?.map(PrincipalId::from_bytes),
    })
}

fn role(row: &SqliteRow) -> Result<RoleRow, CatalogError> {
    let mut columns = Columns::of(row, ROLE);
    Ok(RoleRow {
        id: ObjectId::from_bytes(columns.fixed()?),
        name: columns.text()?,
        description: columns.text()?,
        actions: columns.text()?,
        not_actions: columns.text()?,
        scopes: columns.text()?,
        changed_ms: columns.int()?,
    })
}

pub(crate) async fn insert_assignment(tx: &mut Tx<'_>, row: &AssignmentRow) -> Result<(), CatalogError> {
    sqlx::query("INSERT INTO role_assignments (id, principal, role, scope, created_ms, created_by) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(&row.id.as_bytes()[..])
        .bind(&row.principal.as_bytes()[..])
        .bind(&row.role.as_bytes()[..])
        .bind(row.scope.as_str())
        .bind(row.created_ms)
        .bind(row.created_by.as_ref().map(|id| &id.as_bytes()[..]))
        .execute(&mut **tx)
        .await
        .map_err(|e| refused(ASSIGNMENT, &e))?;
    Ok(())
}

impl Catalog {
    /// Gives a right.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the id is taken, or the same principal has the same role at the same place.
    pub async fn assignment_insert(&self, row: &AssignmentRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(ASSIGNMENT).await?;
        insert_assignment(&mut tx, row).await?;
        commit(tx, ASSIGNMENT).await
    }

    /// One right.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn assignment(&self, id: ObjectId) -> Result<Option<AssignmentRow>, CatalogError> {
        let row = sqlx::query(assignments!("WHERE id = ?"))
            .bind(&id.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(ASSIGNMENT, &e))?;
        row.as_ref().map(assignment).transpose()
    }

    /// All rights, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn assignments(&self) -> Result<Vec<AssignmentRow>, CatalogError> {
        let rows = sqlx::query(assignments!("ORDER BY created_ms, id"))
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(ASSIGNMENT, &e))?;
        rows.iter().map(assignment).collect()
    }

    /// The rights of one principal.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn assignments_of(&self, principal: PrincipalId) -> Result<Vec<AssignmentRow>, CatalogError> {
        let rows = sqlx::query(assignments!("WHERE principal = ? ORDER BY created_ms, id"))
            .bind(&principal.as_bytes()[..])
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(ASSIGNMENT, &e))?;
        rows.iter().map(assignment).collect()
    }

    /// Takes a right away; whether there was one.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn assignment_delete(&self, id: ObjectId) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(ASSIGNMENT).await?;
        let gone = delete(&mut tx, "DELETE FROM role_assignments WHERE id = ?", &id.as_bytes()[..], ASSIGNMENT).await?;
        commit(tx, ASSIGNMENT).await?;
        Ok(gone > 0)
    }

    /// Makes a role, or writes it anew.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if another one has the name.
    pub async fn role_put(&self, row: &RoleRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(ROLE).await?;
        sqlx::query(
            "INSERT INTO role_definitions (id, name, description, actions, not_actions, scopes, changed_ms) VALUES (?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, description = excluded.description, actions = excluded.actions,
               not_actions = excluded.not_actions, scopes = excluded.scopes, changed_ms = excluded.changed_ms",
        )
        .bind(&row.id.as_bytes()[..])
        .bind(row.name.as_str())
        .bind(row.description.as_str())
        .bind(row.actions.as_str())
        .bind(row.not_actions.as_str())
        .bind(row.scopes.as_str())
        .bind(row.changed_ms)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(ROLE, &e))?;
        commit(tx, ROLE).await
    }

    /// The roles that somebody made, by name.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn roles(&self) -> Result<Vec<RoleRow>, CatalogError> {
        let rows = sqlx::query(roles!("ORDER BY name")).fetch_all(&mut *self.reader().await?).await.map_err(|e| refused(ROLE, &e))?;
        rows.iter().map(role).collect()
    }

    /// One of them.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn role(&self, id: ObjectId) -> Result<Option<RoleRow>, CatalogError> {
        let row = sqlx::query(roles!("WHERE id = ?"))
            .bind(&id.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(ROLE, &e))?;
        row.as_ref().map(role).transpose()
    }

    /// Removes a role that nobody has; whether there was one.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if somebody has it.
    pub async fn role_delete(&self, id: ObjectId) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(ROLE).await?;
        let held = sqlx::query("SELECT 1 FROM role_assignments WHERE role = ? LIMIT 1")
            .bind(&id.as_bytes()[..])
            .fetch_optional(&mut *tx)
            .await
            .map_err(|e| refused(ROLE, &e))?;
        if held.is_some() {
            return Err(CatalogError::Conflict { what: ROLE, why: "somebody has it" });
        }
        let gone = delete(&mut tx, "DELETE FROM role_definitions WHERE id = ?", &id.as_bytes()[..], ROLE).await?;
        commit(tx, ROLE).await?;
        Ok(gone > 0)
    }

    /// Adds a signing key; those before it sign nothing from `row.created_ms` on.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn signing_key_insert(&self, row: &SigningKeyRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(SIGNING).await?;
        sqlx::query("UPDATE signing_keys SET retired_ms = ? WHERE retired_ms IS NULL")
            .bind(row.created_ms)
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(SIGNING, &e))?;
        sqlx::query("INSERT INTO signing_keys (id, cell, created_ms, retired_ms) VALUES (?, ?, ?, NULL)")
            .bind(&row.id.as_bytes()[..])
            .bind(&row.cell[..])
            .bind(row.created_ms)
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(SIGNING, &e))?;
        commit(tx, SIGNING).await
    }

    /// The signing keys, newest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, CatalogError> {
        let rows = sqlx::query("SELECT id, cell, created_ms, retired_ms FROM signing_keys ORDER BY created_ms DESC, id DESC")
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(SIGNING, &e))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row, SIGNING);
                Ok(SigningKeyRow {
                    id: ObjectId::from_bytes(columns.fixed()?),
                    cell: columns.bytes()?,
                    created_ms: columns.int()?,
                    retired_ms: columns.int_opt()?,
                })
            })
            .collect()
    }

    /// Forgets signing keys that were retired before `before_ms`.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn signing_keys_forget(&self, before_ms: i64) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(SIGNING).await?;
        sqlx::query("DELETE FROM signing_keys WHERE retired_ms < ?")
            .bind(before_ms)
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(SIGNING, &e))?;
        commit(tx, SIGNING).await
    }

    /// The directory's tenant: `wanted`, or the one written down, or `else_` from now on.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn directory_tenant(&self, wanted: Option<&str>, else_: &str) -> Result<String, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(DIRECTORY).await?;
        sqlx::query(
            "INSERT INTO directory (one, tenant) VALUES (1, coalesce(?1, ?2)) ON CONFLICT (one) DO UPDATE SET tenant = coalesce(?1, tenant)",
        )
        .bind(wanted)
        .bind(else_)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(DIRECTORY, &e))?;
        let row = sqlx::query("SELECT tenant FROM directory").fetch_one(&mut *tx).await.map_err(|e| refused(DIRECTORY, &e))?;
        let tenant = Columns::of(&row, DIRECTORY).text()?;
        commit(tx, DIRECTORY).await?;
        Ok(tenant)
    }

    /// Makes a subscription, or renames it.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn subscription_put(&self, row: &SubscriptionRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(SUBSCRIPTION).await?;
        sqlx::query(
            "INSERT INTO subscriptions (id, name, tenant, created_ms) VALUES (?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, tenant = excluded.tenant",
        )
        .bind(row.id.as_str())
        .bind(row.name.as_str())
        .bind(row.tenant.as_str())
        .bind(row.created_ms)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(SUBSCRIPTION, &e))?;
        commit(tx, SUBSCRIPTION).await
    }

    /// The subscriptions that somebody named, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn subscriptions(&self) -> Result<Vec<SubscriptionRow>, CatalogError> {
        let rows = sqlx::query("SELECT id, name, tenant, created_ms FROM subscriptions ORDER BY created_ms, id")
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(SUBSCRIPTION, &e))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row, SUBSCRIPTION);
                Ok(SubscriptionRow { id: columns.text()?, name: columns.text()?, tenant: columns.text()?, created_ms: columns.int()? })
            })
            .collect()
    }

    /// Forgets the name of a subscription; whether it had one. What lies in it stays.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn subscription_delete(&self, id: &str) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(SUBSCRIPTION).await?;
        let done = sqlx::query("DELETE FROM subscriptions WHERE id = ?")
            .bind(id)
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(SUBSCRIPTION, &e))?;
        commit(tx, SUBSCRIPTION).await?;
        Ok(done.rows_affected() > 0)
    }

    /// Makes a resource group, or changes its tags; region and birth stay.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn resource_group_put(&self, row: &ResourceGroupRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(GROUP).await?;
        sqlx::query(
            "INSERT INTO resource_groups (subscription, name, region, tags, created_ms) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (subscription, name) DO UPDATE SET tags = excluded.tags",
        )
        .bind(row.subscription.as_str())
        .bind(row.name.as_str())
        .bind(row.region.as_str())
        .bind(row.tags.as_str())
        .bind(row.created_ms)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(GROUP, &e))?;
        commit(tx, GROUP).await
    }

    /// The resource groups that somebody named, by name.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn resource_groups(&self) -> Result<Vec<ResourceGroupRow>, CatalogError> {
        let rows = sqlx::query("SELECT subscription, name, region, tags, created_ms FROM resource_groups ORDER BY subscription, name")
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(GROUP, &e))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row, GROUP);
                Ok(ResourceGroupRow {
                    subscription: columns.text()?,
                    name: columns.text()?,
                    region: columns.text()?,
                    tags: columns.text()?,
                    created_ms: columns.int()?,
                })
            })
            .collect()
    }

    /// Forgets a resource group, and what was given to anybody there; whether it was named.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn resource_group_delete(&self, subscription: &str, name: &str) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(GROUP).await?;
        sqlx::query(
            "DELETE FROM role_assignments WHERE instr(scope || '/', lower('/subscriptions/' || ? || '/resourceGroups/' || ? || '/')) = 1",
        )
        .bind(subscription)
        .bind(name)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(GROUP, &e))?;
        let done = sqlx::query("DELETE FROM resource_groups WHERE subscription = ? AND name = ?")
            .bind(subscription)
            .bind(name)
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(GROUP, &e))?;
        commit(tx, GROUP).await?;
        Ok(done.rows_affected() > 0)
    }
}
