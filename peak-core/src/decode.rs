//! From the payloads of a live feed to records.

use crate::{Position, Record, Rejection, Schema};
use std::ops::ControlFlow;

/// Makes records of payloads: messages of a queue, datagrams, bodies of requests, lines.
///
/// One payload holds any number of records: none, one, or thousands. A decoder does no input or output, knows
/// no clock and owns no loop: whoever receives the payloads hands them over, one after the other. It may
/// remember what earlier payloads said of later ones, as the templates of NetFlow do; hence `&mut self`.
///
/// `peak_core::testing::check_decoder` (feature `testing`) asserts the contract.
///
/// A complete decoder, of lines `TIME HOST`, and the loop of a service that reads a queue:
///
/// ```
/// use peak_core::{
///     BadRecords, Decode, LocalTables, Place, Position, Intake, Record, Rejection, Rule, Schema, Span,
///     Timestamp,
/// };
/// use std::ops::ControlFlow;
///
/// struct Lines(Schema);
///
/// impl Decode for Lines {
///     fn schema(&self) -> &Schema {
///         &self.0
///     }
///
///     fn decode(
///         &mut self,
///         payload: &[u8],
///         at: &Position,
///         visit: &mut dyn FnMut(Result<&Record<'_>, Rejection>) -> ControlFlow<()>,
///     ) -> ControlFlow<()> {
///         for (line, bytes) in (1..).zip(payload.split(|&byte| byte == b'\n')) {
///             let text = String::from_utf8_lossy(bytes);
///             let reject = |field, rule| Rejection::new(at.within(line, line), Some(field), rule, &text);
///             let (time, host) = text.split_once(' ').unwrap_or((&text, ""));
///             match Timestamp::parse(time) {
///                 _ if host.is_empty() => visit(Err(reject("host", Rule::present())))?,
///                 Err(_) => visit(Err(reject("at", Rule::time())))?,
///                 Ok(time) => {
///                     visit(Ok(&Record::new(time, &[host])))?;
///                 }
///             }
///         }
///         ControlFlow::Continue(())
///     }
/// }
///
/// let mut decoder = Lines(Schema::builder().time("at").dimensions(["host"]).build()?);
/// let days = Span::days("2024-01-01", "2024-01-02")?;
/// let mut tables = LocalTables::new(decoder.schema(), &days);
/// let mut intake = Intake::new(days[0]).on_bad_record(BadRecords::share(0.5)?);
/// let queue: [&[u8]; 2] = [b"2024-01-01T10:00:00Z web-1", b"2024-01-01T10:00:01Z web-2\nsoon web-1"];
/// for (offset, payload) in (17..).zip(queue) {
///     let at = Position::new("heartbeats", Place::Offset { partition: 0, offset });
///     let _ = intake.decode(&mut decoder, payload, &at, &mut |record| {
///         assert!(tables.add(record).is_ok());
///         ControlFlow::Continue(())
///     })?;
/// }
/// let report = intake.finish()?;
/// assert_eq!(report.records, 2);
/// assert_eq!(
///     report.first_skipped[0].to_string(),
///     format!(
///         "heartbeats: partition 0, offset 18, record 2 (line 2): field \"at\" {}, got soon web-1",
///         Timestamp::RULE
///     )
/// );
/// # Ok::<(), peak_core::Error>(())
/// ```
pub trait Decode {
    /// The fields of the records and their roles.
    fn schema(&self) -> &Schema;

    /// Hands every record in the payload to `visit`, and each bad one as the rule that it breaks. When `visit`
    /// breaks, no more are handed out, and so does the decoder.
    ///
    /// `at` is where the payload stands, and changes nothing but the positions of bad records, which are
    /// [within](Position::within) it. Whatever the bytes are, a decoder does not panic, and does not take much
    /// more memory than they do.
    fn decode(
        &mut self,
        payload: &[u8],
        at: &Position,
        visit: &mut dyn FnMut(Result<&Record<'_>, Rejection>) -> ControlFlow<()>,
    ) -> ControlFlow<()>;
}

macro_rules! decode_by_reference {
    ($($reference:ty),*) => {$(
        impl<D: Decode + ?Sized> Decode for $reference {
            fn schema(&self) -> &Schema {
                (**self).schema()
            }

            fn decode(
                &mut self,
                payload: &[u8],
                at: &Position,
                visit: &mut dyn FnMut(Result<&Record<'_>, Rejection>) -> ControlFlow<()>,
            ) -> ControlFlow<()> {
                (**self).decode(payload, at, visit)
            }
        }
    )*};
}

decode_by_reference!(&mut D, Box<D>);
