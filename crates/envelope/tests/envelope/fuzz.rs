use proptest::collection::vec;
use proptest::prelude::*;
use strongroom_envelope::{Mmk, RecordIds, fuzz};
use strongroom_model::ObjectId;

use crate::kit::{EPOCH, ROOT_BYTES, Seeded, aek, header};

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_break_a_reader(bytes in vec(any::<u8>(), 0..600)) {
        fuzz::fuzz_header(&bytes);
        fuzz::fuzz_object(&bytes);
        fuzz::fuzz_cell(&bytes);
        fuzz::fuzz_wal(&bytes);
        fuzz::fuzz_buffered(&bytes);
        fuzz::fuzz_wrapped_aek(&bytes);
        fuzz::fuzz_stream(&bytes);
    }

    #[test]
    fn no_nearly_good_header_breaks_a_reader(at in 0..96_usize, byte: u8, rest in vec(any::<u8>(), 0..200)) {
        let mut bytes = [&header(false).to_bytes()[..], &rest].concat();
        bytes[at] = byte;
        fuzz::fuzz_header(&bytes);
        fuzz::fuzz_object(&bytes);
        fuzz::fuzz_wal(&bytes);
    }

    #[test]
    fn no_nearly_good_key_record_breaks_its_reader(at in 0_usize..400, byte: u8, len in 0_usize..400) {
        let ids = RecordIds { cluster: ObjectId::NIL, account: EPOCH.account, aek: EPOCH.aek, generation: 1 };
        let mut bytes = Mmk::from_bytes(ROOT_BYTES).wrap_aek(&Seeded::new(1), &aek(), &ids).to_bytes();
        if let Some(at) = bytes.get_mut(at) {
            *at = byte;
        }
        bytes.truncate(len.max(1));
        fuzz::fuzz_wrapped_aek(&bytes);
    }
}
