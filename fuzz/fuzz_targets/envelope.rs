//! The stored form of snapshots, written down a second time.

/// A name, a version and the content.
pub(crate) type Section = (String, u16, Vec<u8>);

/// These sections as an otherwise valid snapshot.
pub(crate) fn wrapped(sections: &[Section]) -> Vec<u8> {
    let (mut snapshot, mut checksums) = (HEAD.to_vec(), HEAD.to_vec());
    for (name, version, content) in sections {
        let mut section = [&[name.len() as u8], name.as_bytes(), &version.to_le_bytes()].concat();
        for chunk in content.chunks(usize::from(u16::MAX)) {
            section.extend_from_slice(&(chunk.len() as u16).to_le_bytes());
            section.extend_from_slice(chunk);
        }
        section.extend_from_slice(&[0; 2]);
        let checksum = crc32(&section).to_le_bytes();
        snapshot.extend([&section[..], &checksum].concat());
        checksums.extend(checksum);
    }
    snapshot.push(0);
    snapshot.extend(crc32(&checksums).to_le_bytes());
    snapshot
}

/// The sections of a snapshot that is valid.
#[allow(dead_code, reason = "not every target needs it")]
pub(crate) fn unwrapped(snapshot: &[u8]) -> Vec<Section> {
    let mut rest = snapshot.strip_prefix(HEAD).expect("the head of a snapshot");
    let mut take = |count: usize| {
        let (taken, left) = rest.split_at(count);
        rest = left;
        taken
    };
    let mut sections = Vec::new();
    loop {
        let name = usize::from(take(1)[0]);
        if name == 0 {
            return sections;
        }
        let name = String::from_utf8(take(name).to_vec()).expect("a name");
        let mut number = || u16::from_le_bytes(take(2).try_into().expect("two bytes"));
        let (version, mut content) = (number(), Vec::new());
        loop {
            match u16::from_le_bytes(take(2).try_into().expect("two bytes")) {
                0 => break,
                length => content.extend_from_slice(take(length.into())),
            }
        }
        take(4);
        sections.push((name, version, content));
    }
}

const HEAD: &[u8] = b"PEAKSNAP\x02\x00";

/// CRC-32, bit by bit, independent of the library's.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}
