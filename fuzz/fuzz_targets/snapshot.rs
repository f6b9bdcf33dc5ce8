//! A snapshot of any bytes is refused or gives a table that saves and loads to itself.
//!
//! The first byte decides whether the bytes get a valid envelope, so that the content is reached too.

#![no_main]

mod envelope;

use libfuzzer_sys::fuzz_target;
use peak_core::{GlobalTable, snapshot};
use std::io::Cursor;

fuzz_target!(|bytes: &[u8]| {
    let Some((wrap, bytes)) = bytes.split_first() else { return };
    let bytes = if wrap % 2 == 0 {
        bytes.to_vec()
    } else {
        envelope::wrapped(&[("table".into(), 1, bytes.to_vec())])
    };
    let Ok(table) = snapshot::read::<GlobalTable>(&mut Cursor::new(bytes), "fuzzed", "table", 1) else {
        return;
    };
    let mut again = Vec::new();
    snapshot::write(&mut again, "table", 1, &table).expect("a loaded table can be saved");
    let loaded: GlobalTable =
        snapshot::read(&mut Cursor::new(again), "saved", "table", 1).expect("a saved table loads");
    assert_eq!(loaded, table);
    let mut union = table.clone();
    // The same windows twice are refused.
    assert_eq!(union.merge(&loaded).is_ok(), table.learned().is_empty());
    assert_eq!(union, table);
});
