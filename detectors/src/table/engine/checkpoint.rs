//! What an engine saves, and how it goes on from there.
//!
//! A snapshot has a section for the history, one for the detector's memory, and where they are needed
//! ones for the windows that are open for late records, for those of a live feed, and for the feed's own
//! position. Each has a version of its own, so that a memory whose layout changes does not cost the
//! history.

use super::late::Late;
use super::{Engine, State};
use crate::contract::{Persist, TableDetector};
use peak_core::snapshot::{self, Snapshot, Writer};
use peak_core::{GlobalTable, Live, Result, Summaries};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

const HISTORY: (&str, u16) = ("history", 1);
const LATE: (&str, u16) = ("late windows", 1);
const LIVE: (&str, u16) = ("live windows", 2);
const CURSOR: (&str, u16) = ("cursor", 1);

/// The section of the detector's memory from before the windows that are open for late records.
fn before<D: Persist>() -> String {
    format!("{} before the late windows", D::KIND)
}

/// An engine that goes on where a [checkpoint](Engine::checkpoint) was made.
#[derive(Debug)]
#[non_exhaustive]
pub struct Resumed<D> {
    /// The engine.
    pub engine: Engine<D>,
    /// The windows that were open, unless there is no checkpoint yet.
    pub live: Option<Live>,
    /// Where the feed goes on: what was given to [`Engine::checkpoint`], nothing when there is none yet.
    pub cursor: Vec<u8>,
}

impl<D> Engine<D>
where
    D: TableDetector + Persist + Clone,
{
    /// Saves the history and the detector's memory to the engine's file, atomically. Without a file
    /// there is nothing to do.
    ///
    /// # Errors
    /// When the file cannot be written; it is then as it was before, unless the error says that it was
    /// replaced and may not survive a power cut.
    pub fn save(&self) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        snapshot::save_sections(&file.path, |out| self.write_sections(out))
    }

    /// Writes what [`save`](Self::save) saves to any stream: for an object store, or a database.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut out = Writer::new(out)?;
        self.write_sections(&mut out)?;
        out.finish()
    }

    /// Saves history, memory, the open windows of a live feed, and the feed's own position, all
    /// together: a consumer that [resumes](Self::resume) goes on exactly where the state stands, so that
    /// nothing is lost and nothing is counted twice. Without a file there is nothing to do.
    ///
    /// The cursor is the feed's to read: offsets, sequence numbers, a place in a file.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub fn checkpoint(&self, live: &mut Live, cursor: &[u8]) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        live.settle();
        snapshot::save_sections(&file.path, |out| self.write_checkpoint_sections(out, live, cursor))
    }

    /// Writes what [`checkpoint`](Self::checkpoint) saves to any stream.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_checkpoint(&self, live: &mut Live, cursor: &[u8], out: &mut dyn Write) -> io::Result<()> {
        live.settle();
        let mut out = Writer::new(out)?;
        self.write_checkpoint_sections(&mut out, live, cursor)?;
        out.finish()
    }

    /// Opens the file as [`open`](Self::open) does, with the live windows and the cursor of its
    /// checkpoint.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn resume(path: impl AsRef<Path>, detector: D) -> Result<Resumed<D>> {
        let (engine, file) = Engine::open_with(path.as_ref(), detector)?;
        let feed = file.map(|mut file| read_feed(&mut file)).transpose()?;
        let (live, cursor) = feed.unwrap_or_default();
        Ok(Resumed { engine, live, cursor })
    }

    /// An engine without a file that goes on from what [`write`](Self::write) or
    /// [`write_checkpoint`](Self::write_checkpoint) wrote. `name` names the stream in errors.
    ///
    /// # Errors
    /// When the stream cannot be read, is damaged, or holds a memory that does not fit the detector.
    pub fn read(input: impl Read + Seek, name: &str, detector: D) -> Result<Resumed<D>> {
        let mut snapshot = Snapshot::read(input, name)?;
        let mut engine = Engine::new(detector);
        engine.restore(&mut snapshot)?;
        let (live, cursor) = read_feed(&mut snapshot)?;
        Ok(Resumed { engine, live, cursor })
    }

    fn write_checkpoint_sections(&self, out: &mut Writer<'_>, live: &Live, cursor: &[u8]) -> io::Result<()> {
        self.write_sections(out)?;
        out.section(LIVE.0, LIVE.1, live)?;
        out.section(CURSOR.0, CURSOR.1, cursor)
    }

    fn write_sections(&self, out: &mut Writer<'_>) -> io::Result<()> {
        out.section(HISTORY.0, HISTORY.1, &self.state.history)?;
        out.section(D::KIND, D::VERSION, &self.state.detector.memory())?;
        if let Some(late) = &self.late {
            out.section(LATE.0, LATE.1, &late.stored())?;
            out.section(&before::<D>(), D::VERSION, &late.before().detector.memory())?;
        }
        Ok(())
    }

    pub(super) fn restore<R: Read + Seek>(&mut self, snapshot: &mut Snapshot<R>) -> Result<()> {
        let history: GlobalTable = snapshot.section(HISTORY.0, HISTORY.1)?;
        if snapshot.version_of(D::KIND) != Some(D::VERSION) {
            self.relearned = true;
            return self.state.relearn(history);
        }
        let unlearned = self.state.clone();
        self.state.history = history;
        self.state.detector.restore(snapshot.section(D::KIND, D::VERSION)?)?;
        if snapshot.version_of(LATE.0) == Some(LATE.1) {
            let stored = snapshot.section(LATE.0, LATE.1)?;
            let mut state = unlearned;
            state.detector.restore(snapshot.section(&before::<D>(), D::VERSION)?)?;
            self.late = Some(Late::restore(stored, state)?);
        }
        Ok(())
    }
}

fn read_feed<R: Read + Seek>(snapshot: &mut Snapshot<R>) -> Result<(Option<Live>, Vec<u8>)> {
    if snapshot.version_of(LIVE.0).is_none() {
        return Ok((None, Vec::new()));
    }
    Ok((Some(snapshot.section(LIVE.0, LIVE.1)?), snapshot.section(CURSOR.0, CURSOR.1)?))
}

impl<D> State<D>
where
    D: TableDetector + Persist,
{
    /// Learns a history from its first window to its last.
    fn relearn(&mut self, history: GlobalTable) -> Result<()> {
        // Nothing is forgotten on the way that the history still knows.
        self.history = history.horizon().map_or_else(GlobalTable::default, GlobalTable::new);
        let mut learned = history.learned().to_vec();
        learned.sort_unstable();
        let mut windows: Vec<Vec<_>> = learned.iter().map(|_| Vec::new()).collect();
        for (key, baseline) in history.iter() {
            for past in baseline.windows() {
                if let Ok(at) = learned.binary_search(&past.span) {
                    windows[at].push((key.clone(), past.summary()));
                }
            }
        }
        if let Some(schema) = history.schema().cloned().map(Arc::new) {
            for (span, rows) in learned.into_iter().zip(windows) {
                self.learn(&Summaries::new(Arc::clone(&schema), span, rows)?)?;
            }
        }
        self.history = history;
        Ok(())
    }
}
