//! Rules that must always hold, as predicates. Constraints keep most of them too; these find a file that was tampered
//! with or that an older build's defect left behind.

use sqlx::SqliteConnection;

use crate::CatalogError;
use crate::db::refused;

/// A rule and how many rows break it.
type Rule = (&'static str, &'static str);

/// Cheap whatever the number of blocks: checked at each start.
const AT_START: &[Rule] = &[
    ("there is one state row", "SELECT abs(1 - count(*)) FROM state"),
    (
        "an account has at most one current AEK",
        "SELECT count(*) FROM (SELECT 1 FROM aeks WHERE current = 1 GROUP BY account HAVING count(*) > 1)",
    ),
    (
        "an account with AEKs has one that reigns",
        "SELECT count(*) FROM (SELECT account FROM aeks GROUP BY account HAVING max(current) = 0)",
    ),
    ("an AEK belongs to an account", "SELECT count(*) FROM aeks WHERE account NOT IN (SELECT id FROM accounts)"),
    ("a workspace belongs to an account", "SELECT count(*) FROM workspaces WHERE account NOT IN (SELECT id FROM accounts)"),
    ("a workspace secret is sealed under a known AEK", "SELECT count(*) FROM workspace_secrets WHERE aek NOT IN (SELECT id FROM aeks)"),
    ("a table belongs to a workspace", "SELECT count(*) FROM tables WHERE workspace NOT IN (SELECT id FROM workspaces)"),
    (
        "a link is to a cluster that is not deleted",
        "SELECT count(*) FROM workspaces WHERE cluster IS NOT NULL AND cluster NOT IN (SELECT id FROM clusters WHERE deleted_ms IS NULL)",
    ),
    (
        "a linked workspace writes to its cluster's account",
        "SELECT count(*) FROM workspaces w JOIN clusters c ON c.id = w.cluster WHERE w.account IS NOT c.account",
    ),
    ("flushed-through is of a known table", "SELECT count(*) FROM flushed WHERE table_id NOT IN (SELECT id FROM tables)"),
];

/// One pass over everything: for `verify`.
const DEEP: &[Rule] = &[
    ("a block belongs to a table", "SELECT count(*) FROM blocks WHERE table_id NOT IN (SELECT id FROM tables)"),
    (
        "a block lies in its table's workspace",
        "SELECT count(*) FROM blocks b JOIN tables t ON t.id = b.table_id WHERE t.workspace <> b.workspace",
    ),
    (
        "a live block has statistics",
        "SELECT count(*) FROM blocks WHERE state = 1 AND (stats IS NULL OR stats NOT IN (SELECT n FROM block_stats))",
    ),
    ("statistics belong to a live block", "SELECT abs((SELECT count(*) FROM block_stats) - (SELECT count(*) FROM blocks WHERE state = 1))"),
    (
        "no block is newer than the last commit",
        "SELECT count(*) FROM blocks WHERE max(coalesce(added_seq, 0), coalesce(removed_seq, 0)) > (SELECT seq FROM state)",
    ),
    (
        "windows count their small blocks",
        "SELECT count(*) FROM (SELECT table_id, window_start, window_len, aek, count(*) AS small, sum(sealed_len) AS bytes FROM blocks WHERE state = 1 AND sealed_len < 67108864 GROUP BY 1, 2, 3, 4) b FULL JOIN windows w USING (table_id, window_start, window_len, aek) WHERE b.small IS NOT w.small OR b.bytes IS NOT w.bytes",
    ),
    (
        "holdings count live blocks",
        "SELECT count(*) FROM (SELECT account, aek, workspace, count(*) AS blocks, sum(rows) AS rows, sum(sealed_len) AS bytes FROM blocks WHERE state = 1 GROUP BY 1, 2, 3) b FULL JOIN holdings h USING (account, aek, workspace) WHERE b.blocks IS NOT h.blocks OR b.rows IS NOT h.rows OR b.bytes IS NOT h.bytes",
    ),
    (
        "sums count a table's live blocks",
        "SELECT count(*) FROM (SELECT table_id, count(*) AS blocks, sum(rows) AS rows, sum(sealed_len) AS bytes FROM blocks WHERE state = 1 GROUP BY 1) b FULL JOIN (SELECT * FROM table_sums WHERE blocks > 0) s USING (table_id) WHERE b.blocks IS NOT s.blocks OR b.rows IS NOT s.rows OR b.bytes IS NOT s.bytes",
    ),
    (
        "a window knows its last change",
        "SELECT count(*) FROM (SELECT table_id, window_start, max(max(added_seq, coalesce(removed_seq, 0))) AS seq, count(*) AS blocks FROM blocks WHERE added_seq IS NOT NULL GROUP BY 1, 2) b FULL JOIN window_changes w USING (table_id, window_start) WHERE b.blocks IS NOT w.blocks OR b.seq > w.seq OR w.seq IS NULL",
    ),
    (
        "a group names live blocks of its table, day and epoch",
        "SELECT count(*) FROM filter_group_blocks f LEFT JOIN filter_groups g ON g.id = f.group_id AND g.state = 1 LEFT JOIN blocks b ON b.id = f.block AND b.state = 1 AND b.table_id = g.table_id AND b.aek = g.aek AND b.window_start >= g.day AND b.window_start < g.day + 86400 WHERE b.id IS NULL",
    ),
    (
        "a live group names a block",
        "SELECT count(*) FROM filter_groups WHERE state = 1 AND id NOT IN (SELECT group_id FROM filter_group_blocks)",
    ),
    (
        "days count the blocks that no group names",
        "SELECT count(*) FROM (SELECT table_id, window_start - ((window_start % 86400) + 86400) % 86400 AS day, aek, count(*) AS alone FROM blocks WHERE state = 1 AND id NOT IN (SELECT block FROM filter_group_blocks) GROUP BY 1, 2, 3) b FULL JOIN table_days d USING (table_id, day, aek) WHERE b.alone IS NOT d.alone",
    ),
    ("every reference is to something", "SELECT count(*) FROM pragma_foreign_key_check"),
    ("every page is sound", "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"),
];

pub(crate) async fn at_start(conn: &mut SqliteConnection) -> Result<(), CatalogError> {
    check(conn, AT_START).await
}

pub(crate) async fn deep(conn: &mut SqliteConnection) -> Result<(), CatalogError> {
    check(conn, AT_START).await?;
    check(conn, DEEP).await
}

async fn check(conn: &mut SqliteConnection, rules: &[Rule]) -> Result<(), CatalogError> {
    for &(rule, sql) in rules {
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut *conn).await.map_err(|e| refused("checking the catalog", &e))?;
        if count != 0 {
            return Err(CatalogError::Broken { rule, count });
        }
    }
    Ok(())
}
