//! A snapshot of any bytes is refused or gives a table that saves and loads to itself.
//!
//! The first byte decides whether the bytes get a valid envelope, so that the content is reached too.

#![no_main]

use libfuzzer_sys::fuzz_target;
use peak_core::{GlobalTable, Merge, snapshot};
use std::io::Cursor;

fuzz_target!(|bytes: &[u8]| {
    let Some((wrap, bytes)) = bytes.split_first() else { return };
    let bytes = if wrap % 2 == 0 { bytes.to_vec() } else { wrapped(bytes) };
    let Ok(table) = snapshot::read::<GlobalTable>(&mut Cursor::new(bytes), "fuzzed", "table", 1) else {
        return;
    };
    let mut again = Vec::new();
    snapshot::write(&mut again, "table", 1, &table).expect("a loaded table can be saved");
    let loaded: GlobalTable =
        snapshot::read(&mut Cursor::new(again), "saved", "table", 1).expect("a saved table loads");
    assert_eq!(loaded, table);
    let mut union = table.clone();
    union.merge(&loaded);
});

/// The bytes as the content of an otherwise valid snapshot.
fn wrapped(content: &[u8]) -> Vec<u8> {
    let mut section = b"\x05table\x01\x00".to_vec();
    for chunk in content.chunks(usize::from(u16::MAX)) {
        section.extend_from_slice(&(chunk.len() as u16).to_le_bytes());
        section.extend_from_slice(chunk);
    }
    section.extend_from_slice(&[0; 2]);
    let checksum = crc32(&section).to_le_bytes();
    let head = b"PEAKSNAP\x02\x00";
    let end = crc32(&[&head[..], &checksum].concat()).to_le_bytes();
    [&head[..], &section, &checksum, &[0], &end].concat()
}

/// CRC-32, bit by bit, independent of the library's.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}
