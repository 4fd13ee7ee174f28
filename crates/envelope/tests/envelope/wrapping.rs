use strongroom_envelope::{CacheKey, InfrastructureKey, Mmk, OpenError, RecordIds, WrappedAek};
use strongroom_model::{AccountId, AekId, NodeId, ObjectId};

use crate::kit::{EPOCH, Exactly, OBJECT, ROOT_BYTES, Seeded, WORKSPACE, aek};

const IDS: RecordIds = RecordIds { cluster: ObjectId::NIL, account: EPOCH.account, aek: EPOCH.aek, generation: 3 };
const NODE: NodeId = NodeId::from_bytes([0x66; 16]);

fn mmk() -> Mmk {
    Mmk::from_bytes(ROOT_BYTES)
}

#[test]
fn an_aek_comes_back_from_its_record_and_its_bytes() {
    let record = mmk().wrap_aek(&Seeded::new(1), &aek(), &IDS);
    let read = WrappedAek::from_bytes(&record.to_bytes()).unwrap();
    assert_eq!(read, record);
    assert_eq!(serde_json::from_str::<WrappedAek>(&serde_json::to_string(&record).unwrap()).unwrap(), record);
    let back = mmk().unwrap_aek(&read).unwrap();
    assert_eq!(back.id(), EPOCH.aek);
    assert_eq!(back.key_check_value(&IDS), aek().key_check_value(&IDS));
    assert!(back.has_check_value(&IDS, &record.kcv));
}

#[test]
fn a_record_that_names_other_ids_or_another_check_value_does_not_unwrap() {
    let good = mmk().wrap_aek(&Seeded::new(1), &aek(), &IDS);
    let with_ids = |ids| WrappedAek { ids, ..good.clone() };
    let mut forged = vec![
        with_ids(RecordIds { cluster: OBJECT, ..IDS }),
        with_ids(RecordIds { account: AccountId::NIL, ..IDS }),
        with_ids(RecordIds { aek: AekId::NIL, ..IDS }),
        with_ids(RecordIds { generation: 4, ..IDS }),
        WrappedAek { provider: "azure".to_owned(), ..good.clone() },
        WrappedAek { algorithm: "RSA-OAEP-256".to_owned(), ..good.clone() },
        WrappedAek { bytes: Vec::new(), ..good.clone() },
    ];
    for at in 0..32 {
        let mut kcv = good.kcv;
        kcv[at] ^= 1;
        forged.push(WrappedAek { kcv, ..good.clone() });
    }
    for at in 0..good.bytes.len() {
        let mut bytes = good.bytes.clone();
        bytes[at] ^= 0x80;
        forged.push(WrappedAek { bytes, ..good.clone() });
    }
    assert!(mmk().unwrap_aek(&good).is_ok());
    for forged in forged {
        assert!(mmk().unwrap_aek(&forged).is_err(), "{forged:?}");
    }
    assert!(matches!(Mmk::from_bytes([1; 32]).unwrap_aek(&good), Err(OpenError::NotCommitted { .. })));
}

#[test]
fn the_check_value_differs_with_every_id() {
    let all = [
        IDS,
        RecordIds { cluster: OBJECT, ..IDS },
        RecordIds { account: AccountId::NIL, ..IDS },
        RecordIds { aek: AekId::NIL, ..IDS },
        RecordIds { generation: 4, ..IDS },
    ];
    let values: std::collections::HashSet<_> = all.iter().map(|ids| aek().key_check_value(ids)).collect();
    assert_eq!(values.len(), all.len());
}

#[test]
fn a_record_cut_grown_or_of_a_newer_build_is_not_read() {
    let bytes = mmk().wrap_aek(&Seeded::new(1), &aek(), &IDS).to_bytes();
    for len in 0..bytes.len() {
        assert!(WrappedAek::from_bytes(&bytes[..len]).is_err(), "cut to {len}");
    }
    assert!(matches!(WrappedAek::from_bytes(&[&bytes[..], &[0]].concat()), Err(OpenError::Truncated { .. })));
    let mut newer = bytes;
    newer[4] = 2;
    assert!(matches!(WrappedAek::from_bytes(&newer), Err(OpenError::UnknownFormat { found: 2, .. })));
}

#[test]
fn what_the_root_wraps_for_one_use_opens_for_no_other() {
    let rng = Seeded::new(1);
    let account = EPOCH.account;
    let record = mmk().wrap_aek(&rng, &aek(), &IDS);
    let infrastructure = mmk().wrap_infrastructure_key(&rng, account, &InfrastructureKey::generate(&rng));
    let cache = mmk().wrap_cache_key(&rng, NODE, WORKSPACE, EPOCH.aek, &CacheKey::generate(&rng));
    let cell = mmk().seal_cell(&rng, OBJECT, &ROOT_BYTES);

    assert!(mmk().unwrap_infrastructure_key(account, &infrastructure).is_ok());
    assert!(mmk().unwrap_cache_key(NODE, WORKSPACE, EPOCH.aek, &cache).is_ok());
    assert_eq!(mmk().open_cell(OBJECT, &cell).unwrap(), ROOT_BYTES);

    assert!(mmk().unwrap_infrastructure_key(AccountId::NIL, &infrastructure).is_err());
    for other in [&record.bytes, &cache, &cell] {
        assert!(mmk().unwrap_infrastructure_key(account, other).is_err());
    }
    for other in [&record.bytes, &infrastructure, &cell] {
        assert!(mmk().unwrap_cache_key(NODE, WORKSPACE, EPOCH.aek, other).is_err());
    }
    for other in [&record.bytes, &infrastructure, &cache] {
        assert!(mmk().open_cell(OBJECT, other).is_err());
    }
    assert!(mmk().unwrap_cache_key(NodeId::NIL, WORKSPACE, EPOCH.aek, &cache).is_err());
    assert!(mmk().unwrap_cache_key(NODE, strongroom_model::WorkspaceId::NIL, EPOCH.aek, &cache).is_err());
    assert!(mmk().unwrap_cache_key(NODE, WORKSPACE, AekId::NIL, &cache).is_err());
    assert!(mmk().open_cell(ObjectId::NIL, &cell).is_err());
}

#[test]
fn a_root_key_written_and_read_back_is_the_same() {
    let root = Mmk::generate(&Exactly(ROOT_BYTES));
    let again = Mmk::from_bytes(root.expose(|bytes| *bytes));
    let record = root.wrap_aek(&Seeded::new(1), &aek(), &IDS);
    assert!(again.unwrap_aek(&record).is_ok());
}
