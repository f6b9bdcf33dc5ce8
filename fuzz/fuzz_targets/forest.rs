//! A forest of any matrix is refused or scores every row between 0 and 1; so does one that is restored,
//! from its own memory or from any bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ndarray::Array2;
use peak_core::snapshot;
use peak_detectors::{Detector, ForestMemory, IsolationForest, Persist, Refusal, Split, Threshold};
use std::io::Cursor;

const KIND: &str = IsolationForest::KIND;
const VERSION: u16 = IsolationForest::VERSION;

fuzz_target!(|bytes: &[u8]| {
    let Some((&[mode, columns, depth, sample, change], bytes)) = bytes.split_first_chunk() else { return };
    let columns = usize::from(columns % 6);
    let mut values: Vec<f64> = if mode & 1 == 0 {
        bytes.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect()
    } else {
        bytes.iter().map(|&byte| if byte == 255 { f64::NAN } else { f64::from(byte) }).collect()
    };
    values.truncate(600);
    let rows = values.len().checked_div(columns).unwrap_or(0);
    values.truncate(rows * columns);
    let x = Array2::from_shape_vec((rows, columns), values).expect("whole rows");
    let split = [Split::Classical, Split::PooledGain, Split::PooledPairs][usize::from(mode >> 1) % 3];
    let builder = IsolationForest::builder()
        .trees(5)
        .depth(u32::from(depth % 70))
        .sample(usize::from(sample))
        .split(split)
        .seed(u64::from(mode))
        .reservoir(16);
    let Ok(mut forest) = builder.fit(x.view()) else { return };
    check(&forest, &x);

    let mut saved = Vec::new();
    snapshot::write(&mut saved, KIND, VERSION, &forest.memory()).expect("a forest can be saved");
    let memory: ForestMemory = snapshot::read(&mut Cursor::new(saved.clone()), "saved", KIND, VERSION)
        .expect("a saved memory loads");
    let restored = memory.into_forest().expect("a saved forest is sound");
    assert_eq!(forest.score_all(x.view()).ok(), restored.score_all(x.view()).ok());

    // Damaged somewhere, with a checksum that is right again.
    let at = usize::from(change) * saved.len() / 256;
    let content = saved.len() - 4;
    if at < content {
        saved[at] ^= depth | 1;
        let checksum = crc32(&saved[..content]);
        saved[content..].copy_from_slice(&checksum.to_le_bytes());
        let memory = snapshot::read::<ForestMemory>(&mut Cursor::new(saved), "damaged", KIND, VERSION);
        if let Ok(damaged) = memory.and_then(ForestMemory::into_forest) {
            check(&damaged, &x);
        }
    }

    x.rows().into_iter().for_each(|row| forest.learn(&row.to_vec()));
    forest.replace_oldest(2).expect("there are five trees");
    forest.set_threshold(Threshold::Contamination(0.5)).expect("a share");
    check(&forest, &x);
});

fn check(forest: &IsolationForest, x: &Array2<f64>) {
    if forest.names().len() != x.ncols() {
        return;
    }
    let scores = forest.score_all(x.view()).expect("a matrix that was fitted");
    for (row, score) in x.rows().into_iter().zip(&scores) {
        let row = row.to_vec();
        assert!(*score >= 0.0 && *score <= 1.0, "{score}");
        assert_eq!(forest.score(&row), Ok(*score));
        let is_empty = row.iter().all(|value| value.is_nan());
        assert_eq!(
            forest.explain(&row).err(),
            is_empty.then_some(Refusal::Empty),
            "what is there is explained"
        );
    }
}

/// CRC-32, bit by bit, independent of the library's.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}
