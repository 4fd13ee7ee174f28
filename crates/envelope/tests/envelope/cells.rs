use strongroom_envelope::{CellPlace, OpenError, WorkspaceSecret, open_cell, open_workspace_secret, seal_cell, seal_workspace_secret};
use strongroom_model::{ObjectId, TableId, WorkspaceId};

use crate::kit::{EPOCH, Exactly, Making, NOW, OBJECT, OTHER_WORKSPACE, SECRET_BYTES, Seeded, TABLE, WORKSPACE, guard};

const PLACE: CellPlace = CellPlace { epoch: EPOCH, workspace: WORKSPACE, table: TABLE, row: OBJECT };

#[test]
fn a_cell_opens_in_its_row_and_nowhere_else() {
    for double in [false, true] {
        for workspace in [WORKSPACE, WorkspaceId::NIL] {
            let place = CellPlace { workspace, ..PLACE };
            let sealed = seal_cell(&guard(double), NOW, &Seeded::new(1), &place, b"schema").unwrap();
            assert_eq!(open_cell(&guard(double), NOW, &place, &sealed).unwrap(), b"schema");
            for elsewhere in [
                CellPlace { workspace: OTHER_WORKSPACE, ..place },
                CellPlace { table: TableId::NIL, ..place },
                CellPlace { row: ObjectId::NIL, ..place },
            ] {
                let refused = open_cell(&guard(double), NOW, &elsewhere, &sealed).unwrap_err();
                assert_eq!(refused, OpenError::WrongPlace { object: elsewhere.row });
            }
        }
    }
}

#[test]
fn a_cell_of_two_layers_does_not_pass_for_one_of_one() {
    let sealed = seal_cell(&guard(true), NOW, &Seeded::new(1), &PLACE, b"schema").unwrap();
    assert!(open_cell(&guard(false), NOW, &PLACE, &sealed).is_err());
}

#[test]
fn a_workspace_secret_opens_under_the_aek_alone_and_gives_the_same_keys() {
    let making = Making::new(false);
    let guard = making.guard();
    let secret = WorkspaceSecret::generate(&Exactly(SECRET_BYTES));
    guard.forget_workspace(WORKSPACE);
    let sealed = seal_workspace_secret(&guard, NOW, &Seeded::new(1), WORKSPACE, OBJECT, &secret).unwrap();
    guard.install_workspace(WORKSPACE, open_workspace_secret(&guard, NOW, WORKSPACE, OBJECT, &sealed).unwrap());
    let cell = seal_cell(&guard, NOW, &Seeded::new(1), &PLACE, b"x").unwrap();
    assert_eq!(open_cell(&making.guard(), NOW, &PLACE, &cell).unwrap(), b"x");

    assert!(open_workspace_secret(&guard, NOW, OTHER_WORKSPACE, OBJECT, &sealed).is_err());
    assert!(open_workspace_secret(&guard, NOW, WORKSPACE, ObjectId::NIL, &sealed).is_err());
    // The same header under the workspace's own key is another object.
    let place = CellPlace { table: TableId::NIL, ..PLACE };
    assert!(matches!(open_cell(&guard, NOW, &place, &sealed), Err(OpenError::NotCommitted { .. })));
    let cell = seal_cell(&guard, NOW, &Seeded::new(1), &place, &SECRET_BYTES).unwrap();
    assert!(matches!(open_workspace_secret(&guard, NOW, WORKSPACE, OBJECT, &cell), Err(OpenError::NotCommitted { .. })));
}
