//! What an entry's cell holds: a head that says what it is of whom, then the value. Format 0, which has none, is how stored functions were
//! kept before. The bytes are in `docs/formats/contents.md`; they are no interface.

use strongroom_catalog::{ContentKind, ContentRow};
use strongroom_model::{ObjectId, TableId};
use zeroize::Zeroizing;

/// The format that this build writes.
pub(super) const NEWEST: u8 = 1;
const MAGIC: &[u8; 4] = b"SRCT";
const HEAD_LEN: usize = 40;

/// What a cell held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) etag: ObjectId,
    pub(super) value: Zeroizing<Vec<u8>>,
}

/// What the cells of a kind are bound to in the place of a table: no table has such an id, whose version would be 7.
pub(super) const fn table_of(kind: ContentKind, format: u8) -> TableId {
    TableId::from_bytes(match (format, kind) {
        (0, _) => [0; 16],
        (_, ContentKind::Query) => *b"contents/Query\0\0",
        (_, ContentKind::Functions) => *b"contents/Functio",
        (_, ContentKind::Alerts) => *b"contents/Alerts\0",
        (_, ContentKind::AlertStates) => *b"contents/AlertSt",
        (_, ContentKind::History) => *b"contents/History",
        (_, ContentKind::Pins) => *b"contents/Pins\0\0\0",
        (_, ContentKind::Workbooks) => *b"contents/Workboo",
    })
}

const fn number(kind: ContentKind) -> u8 {
    match kind {
        ContentKind::Query => 1,
        ContentKind::Functions => 2,
        ContentKind::Alerts => 3,
        ContentKind::AlertStates => 4,
        ContentKind::History => 5,
        ContentKind::Pins => 6,
        ContentKind::Workbooks => 7,
    }
}

/// The plaintext of a cell in the newest format.
pub(super) fn encode(kind: ContentKind, id: ObjectId, etag: ObjectId, value: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(HEAD_LEN + value.len()));
    plain.extend_from_slice(MAGIC);
    plain.extend_from_slice(&[NEWEST, number(kind), 0, 0]);
    plain.extend_from_slice(id.as_bytes());
    plain.extend_from_slice(etag.as_bytes());
    plain.extend_from_slice(value);
    plain
}

/// What the opened cell of a row holds. `None`: it is not that row's, or of no known format.
pub(super) fn decode(row: &ContentRow, plain: Zeroizing<Vec<u8>>) -> Option<Held> {
    match row.format {
        0 => Some(Held { etag: row.id, value: plain }),
        NEWEST => {
            let (head, value) = plain.split_at_checked(HEAD_LEN)?;
            let known = head[..4] == *MAGIC && head[4..8] == [NEWEST, number(row.kind), 0, 0] && head[8..24] == *row.id.as_bytes();
            let etag = ObjectId::from_bytes(head[24..HEAD_LEN].try_into().ok()?);
            known.then(|| Held { etag, value: Zeroizing::new(value.to_vec()) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use strongroom_model::{AekId, WorkspaceId};

    use super::*;

    const V1: &[u8] = include_bytes!("../../testdata/contents-v1.bin");
    const V0: &[u8] = include_bytes!("../../testdata/contents-v0.json");

    fn row(format: u8) -> ContentRow {
        ContentRow {
            id: ObjectId::from_bytes([1; 16]),
            workspace: WorkspaceId::from_bytes([2; 16]),
            kind: ContentKind::Functions,
            rev: ObjectId::from_bytes([3; 16]),
            format,
            aek: AekId::from_bytes([4; 16]),
            storage: None,
            cell: Some(vec![0]),
            sealed_len: 1,
            changed_ms: 0,
        }
    }

    /// Files of each format open for ever, and the newest is written as its file says.
    #[test]
    fn every_format_that_was_ever_written_reads() {
        let etag = ObjectId::from_bytes([5; 16]);
        let told = encode(ContentKind::Functions, ObjectId::from_bytes([1; 16]), etag, V0);
        assert_eq!(&told[..], V1);
        let held = decode(&row(1), Zeroizing::new(V1.to_vec())).unwrap();
        assert_eq!((held.etag, &held.value[..]), (etag, V0));
        let held = decode(&row(0), Zeroizing::new(V0.to_vec())).unwrap();
        assert_eq!((held.etag, &held.value[..]), (ObjectId::from_bytes([1; 16]), V0));
        assert!(decode(&row(2), Zeroizing::new(V1.to_vec())).is_none(), "a newer build's");
    }

    #[test]
    fn what_is_another_rows_or_cut_is_none() {
        for at in 0..HEAD_LEN - 16 {
            let mut changed = V1.to_vec();
            changed[at] ^= 1;
            assert!(decode(&row(1), Zeroizing::new(changed)).is_none(), "byte {at}");
        }
        for len in 0..HEAD_LEN {
            assert!(decode(&row(1), Zeroizing::new(V1[..len].to_vec())).is_none());
        }
        let other = ContentRow { kind: ContentKind::Query, ..row(1) };
        assert!(decode(&other, Zeroizing::new(V1.to_vec())).is_none(), "of another kind");
    }
}
