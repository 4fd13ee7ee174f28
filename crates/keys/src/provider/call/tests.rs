use super::*;

/// What a vault authenticates along with a key tells any two records apart.
#[test]
fn every_id_of_a_record_and_its_generation_is_bound_to_the_key() {
    use strongroom_model::{AccountId, ObjectId};
    let ids = RecordIds {
        cluster: ObjectId::from_bytes([1; 16]),
        account: AccountId::from_bytes([2; 16]),
        aek: AekId::from_bytes([3; 16]),
        generation: 7,
    };
    let others = [
        RecordIds { cluster: ObjectId::from_bytes([9; 16]), ..ids },
        RecordIds { account: AccountId::from_bytes([9; 16]), ..ids },
        RecordIds { aek: AekId::from_bytes([9; 16]), ..ids },
        RecordIds { generation: 8, ..ids },
        RecordIds { generation: 7 << 56, ..ids },
    ];
    for other in others {
        assert_ne!(bound_to(&ids), bound_to(&other), "{other:?}");
    }
    assert_eq!(bound_to(&ids).len(), 17 + 3 * 16 + 8);
}
