//! Reading JSON: records of 27 fields and 830 bytes, of which six fields are wanted.
//!
//! ```text
//! cargo bench -p peak-benches --bench json
//! ```

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use peak_core::{Decode, Place, Position, Schema, Source, Span};
use peak_json::{Files, JsonDecoder, JsonFiles};
use std::io::Cursor;
use std::ops::ControlFlow;
use std::sync::Arc;

const RECORDS: u64 = 50_000;

fn record(i: u64) -> String {
    let mix =
        |salt: u64| (i + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xff51_afd7);
    let digest: String = (1..=4).map(|salt| format!("{:016x}", mix(salt))).collect();
    let pick = |salt: u64, names: &[&'static str]| names[(mix(salt) % names.len() as u64) as usize];
    let kind = pick(5, &["PeExeFile", "PdfDocFile", "LnkFile", "HtmlTextFile", "ZipArchiveFile"]);
    let severity = pick(6, &["benign", "malicious", "suspicious"]);
    let region = pick(7, &["EMEA", "AMER", "APJ"]);
    let origin = pick(8, &["API", "HTTP", "EMAIL", "SMB"]);
    let mime = pick(9, &["application/octet-stream", "application/pdf", "text/html"]);
    let (version, size, user, score, time) =
        (i % 10, mix(10) % 10_000_000, mix(11) % 900, mix(12) % 100, i * 7);
    [
        r#"{"analysis.label":"not_run","customer.channel":null,"customer.installation_type":null,"#,
        &format!(r#""customer.region":"{region}","customer.sector":"IT","customer.type":null,"#),
        &format!(r#""file.llfile_type":"{kind}","file.magic":"data, version 1.{version}, \"quoted\" \u00e9t\u00e9","#),
        &format!(r#""file.md5":"{}","file.mime_type":"{mime}","file.name":null,"#, &digest[..32]),
        &format!(r#""file.sha1":"{}","file.sha256":"{digest}","file.size":{size},"#, &digest[..40]),
        r#""source.access_key_id":0,"source.data_center":null,"source.geo.country_iso_code":null,"#,
        &format!(r#""source.geo.location":"0.00,0.00","source.origin":"{origin}","#),
        &format!(r#""source.submitter_ip":"0.0.0.0","source.user_id":{user},"submission_id":0,"#),
        &format!(r#""task.portal_url":null,"task.score":{score},"task.severity":"{severity}","#),
        r#""task.uuid":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","#,
        &format!(r#""utc_timestamp":{}}}"#, 1_630_454_400_000 + time),
    ]
    .concat()
}

fn scan(c: &mut Criterion) {
    let records: Vec<String> = (0..RECORDS).map(record).collect();
    let indented = records.iter().map(|record| record.replace("\":", "\": ").replace(",\"", ",\n  \""));
    let array = format!("[\n{}\n]\n", indented.collect::<Vec<_>>().join(",\n"));
    let queue: Arc<str> = "queue".into();
    let mut group = c.benchmark_group("json");
    for (layout, text) in [("lines", records.join("\n")), ("array", array)] {
        group.throughput(Throughput::Bytes(text.len() as u64)).sample_size(20);
        let text: &'static [u8] = text.into_bytes().leak();
        group.bench_function(layout, |b| {
            b.iter(|| {
                let feed = JsonFiles::new(Files::stream(layout, Cursor::new(text)), Schema::file_types());
                let mut millis = 0;
                let report = feed.scan(Span::ALWAYS, &mut |record| {
                    millis += record.time.millis();
                    ControlFlow::Continue(())
                });
                assert_eq!(report.unwrap().records, RECORDS);
                millis
            });
        });
    }
    // Each record a payload of its own, as from a queue.
    let bytes = records.iter().map(|record| record.len() as u64).sum();
    group.throughput(Throughput::Bytes(bytes)).bench_function("payloads", |b| {
        b.iter(|| {
            let mut decoder = JsonDecoder::new(Schema::file_types());
            let mut millis = 0;
            for (offset, record) in (0..).zip(&records) {
                let at = Position::new(Arc::clone(&queue), Place::Offset { partition: 0, offset });
                let flow = decoder.decode(record.as_bytes(), &at, &mut |read| {
                    millis += read.unwrap().time.millis();
                    ControlFlow::Continue(())
                });
                assert!(flow.is_continue());
            }
            millis
        });
    });
    group.finish();
}

criterion_group!(json, scan);
criterion_main!(json);
