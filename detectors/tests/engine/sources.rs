//! How windows come in from a source, and what of it is refused.

use super::{Feed, Highest, detector, seconds, tables, windows};
use peak_core::{
    ErrorKind, Intake, Key, Record, Report, Result, Schema, Source, Span, Summaries, Summary, Windows,
};
use peak_detectors::{Engine, Peak};
use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Which windows are handed out, in which order.
type HandOut = fn(&Windows) -> Vec<Span>;

/// A store that counts by itself: two records of a key in each of the windows that it hands out.
struct Store {
    schema: Arc<Schema>,
    hand_out: HandOut,
}

impl Store {
    fn new(hand_out: HandOut) -> Self {
        Store { schema: Arc::new(Feed::new(Vec::new()).schema), hand_out }
    }
}

impl Source for Store {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn scan(&self, span: Span, _: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>) -> Result<Report> {
        Intake::new(span).finish()
    }

    fn windows(
        &self,
        windows: &Windows,
        visit: &mut dyn FnMut(Summaries) -> ControlFlow<()>,
    ) -> Result<Report> {
        let mut report = Report::default();
        for span in (self.hand_out)(windows) {
            let rows = [(Key::new(["1", "x"]), Summary::new(2))];
            report.records += 2;
            if visit(Summaries::new(Arc::clone(&self.schema), span, rows)?).is_break() {
                report.stopped = true;
                break;
            }
        }
        Ok(report)
    }
}

#[test]
fn windows_are_learned_in_whatever_order_they_are_handed_out() {
    let orders: [HandOut; 3] = [
        |windows| windows.to_vec(),
        |windows| windows.iter().rev().copied().collect(),
        |windows| (0..10).map(|i| windows[i * 7 % 10]).collect(),
    ];
    let run = |hand_out| {
        let mut engine = Engine::new(Highest::<1>::default());
        let steps = engine.run(&Store::new(hand_out), &windows()).unwrap();
        let spans: Vec<Span> = steps.iter().map(|step| step.window).collect();
        assert_eq!(spans, windows().to_vec());
        assert!(steps.iter().all(|step| step.report.records == 20));
        (steps.iter().map(|step| step.judged).collect::<Vec<_>>(), engine)
    };
    let (judged, straight) = run(orders[0]);
    assert_eq!(straight.history().get(&Key::new(["1", "x"])).unwrap().records().sum(), 20);
    for order in orders {
        let (same, engine) = run(order);
        assert_eq!(
            (same, engine.history(), engine.detector()),
            (judged.clone(), straight.history(), straight.detector())
        );
    }
}

#[test]
fn a_window_that_is_not_handed_out_had_no_records() {
    let mut engine = Engine::new(Highest::<1>::default());
    let steps = engine.run(&Store::new(|windows| vec![windows[3]]), &windows()).unwrap();
    let judged: Vec<u64> = steps.iter().map(|step| step.judged).collect();
    assert_eq!(judged, [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]);
    assert_eq!(engine.history().learned(), &windows()[..]);
}

#[test]
fn a_window_that_is_handed_out_twice_or_was_not_asked_for_is_refused() {
    let twice = "window of a source: must be handed out once, got ";
    let other = "window of a source: must be one that was asked for, got ";
    let cases: [(HandOut, &str); 4] = [
        (|windows| vec![windows[1], windows[2], windows[1]], twice),
        (|windows| vec![windows[0], Span::new(windows[1].start(), windows[2].end()).unwrap()], other),
        (
            |windows| {
                vec![
                    Span::new(windows[9].end(), windows[9].end().saturating_add(windows[9].duration()))
                        .unwrap(),
                ]
            },
            other,
        ),
        (|windows| vec![Span::ALWAYS, windows[0]], other),
    ];
    for (hand_out, expected) in cases {
        let mut engine = Engine::new(Highest::<1>::default());
        let error = engine.run(&Store::new(hand_out), &windows()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
        assert_eq!((engine.history().learned().len(), engine.detector()), (0, &Highest::default()));
    }
}

/// A source that counts how often it is read.
struct Counted<'a>(&'a Feed, Cell<u32>);

impl Source for Counted<'_> {
    fn schema(&self) -> &Schema {
        self.0.schema()
    }

    fn scan(&self, span: Span, visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>) -> Result<Report> {
        self.1.set(self.1.get() + 1);
        self.0.scan(span, visit)
    }
}

#[test]
fn several_windows_take_one_pass_over_the_source() {
    let feed = Feed::new((0..10).map(|second| (1_000 * second, 1, 1, 1)).collect());
    for lateness in [0, 3] {
        let source = Counted(&feed, Cell::new(0));
        let mut engine = Engine::new(detector(&feed)).with_lateness(lateness).unwrap();
        engine.run(&source, &windows()).unwrap();
        assert_eq!(source.1.get(), 1);
    }
}

#[test]
fn a_run_over_a_window_that_was_learned_reads_and_learns_nothing() {
    let feed = Feed::new((0..10).map(|second| (1_000 * second, 1, 1, 1)).collect());
    let mut engine = Engine::new(detector(&feed));
    engine.step(&feed, windows()[4]).unwrap();
    let source = Counted(&feed, Cell::new(0));
    for again in [seconds(4..7), seconds(0..5)] {
        let error = engine.run(&source, &again).unwrap_err();
        let is_known = matches!(error.kind(), ErrorKind::AlreadyLearned { .. });
        assert!(is_known || error.to_string().contains("must be newer"), "{error}");
    }
    assert_eq!((source.1.get(), engine.history().learned()), (0, &windows()[4..5]));
}

#[test]
fn a_window_before_the_horizon_is_refused() {
    let feed = Feed::new((0..10).map(|second| (1_000 * second, 1, 1, 1)).collect());
    let mut engine = Engine::new(detector(&feed)).with_horizon(std::time::Duration::from_secs(3));
    engine.step(&feed, windows()[6]).unwrap();
    let error = engine.step(&feed, windows()[3]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooOld { .. }), "{error}");
    assert_eq!(engine.history().learned(), [windows()[6]]);
}

/// A feed of one record, whose schema has these roles.
struct Roles(Schema);

impl Roles {
    fn new(sample: &str, blame: [&str; 2]) -> Self {
        Roles(Schema::builder().time("t").sample(sample).dimensions(["a"]).blame(blame).build().unwrap())
    }
}

impl Source for Roles {
    fn schema(&self) -> &Schema {
        &self.0
    }

    fn scan(&self, span: Span, visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>) -> Result<Report> {
        let mut intake = Intake::new(span);
        let labels = [Some("s"), Some("u"), Some("o")];
        let _ = intake.offer(&Record::new(super::at(1_500), &["a"]).with_labels(&labels), visit);
        intake.finish()
    }
}

#[test]
fn reordered_or_renamed_roles_are_refused_by_every_door() {
    let (known, windows) = (Roles::new("s", ["user", "origin"]), windows());
    let mut engine = Engine::new(Peak::default()).with_lateness(3).unwrap();
    engine.run(&known, &Windows::new(windows[..2].to_vec()).unwrap()).unwrap();
    let history = engine.history().clone();
    for (other, role) in [
        (Roles::new("s", ["origin", "user"]), "blame fields: must be "),
        (Roles::new("id", ["user", "origin"]), "sample: must be "),
    ] {
        let table = |window| {
            let mut table = peak_core::LocalTable::new(Arc::new(other.0.clone()), window);
            other
                .scan(window, &mut |record| {
                    table.add(record).unwrap();
                    ControlFlow::Continue(())
                })
                .unwrap();
            table
        };
        let errors = [
            engine.run(&other, &windows[2].into()).unwrap_err(),
            engine.step(&other, windows[2]).unwrap_err(),
            engine.take(table(windows[2])).unwrap_err(),
            engine.take(table(windows[2]).finish()).unwrap_err(),
            engine.amend(&other).unwrap_err(),
            engine.amend_tables([table(windows[1])]).unwrap_err(),
        ];
        for error in errors {
            assert!(error.to_string().starts_with(role), "{error}");
        }
        assert_eq!(engine.history(), &history);
    }
    assert_eq!(engine.amend(&known).unwrap().merged, 1);
}

/// A source whose second record has a dimension too many.
struct Misshapen(Schema);

impl Source for Misshapen {
    fn schema(&self) -> &Schema {
        &self.0
    }

    fn scan(&self, span: Span, visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>) -> Result<Report> {
        let mut intake = Intake::new(span);
        for dimensions in [&["a", "x"][..], &["a", "x", "y"]] {
            let record = Record::new(super::at(5), dimensions).with_labels(&[Some("s")]);
            if intake.offer(&record, visit).is_break() {
                break;
            }
        }
        intake.finish()
    }
}

#[test]
fn a_record_of_another_shape_ends_the_run_and_nothing_is_learned() {
    let feed = Feed::new(vec![(5, 1, 1, 1)]);
    let mut engine = Engine::new(detector(&feed)).with_lateness(1).unwrap();
    let misshapen = Misshapen(feed.schema.clone());
    let expected = "record: must have 2 dimensions, a sample, ";
    let error = engine.run(&misshapen, &windows()).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
    assert!(engine.history().learned().is_empty());

    engine.step(&feed, windows()[0]).unwrap();
    let history = engine.history().clone();
    let error = engine.amend(&misshapen).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
    assert_eq!(engine.history(), &history);
}

#[test]
fn engines_and_what_they_take_may_be_sent_to_other_threads() {
    fn check<T: Send + Sync + 'static>(_: &T) {}
    let feed = Feed::new(vec![(5, 1, 1, 1)]);
    check(&Engine::new(detector(&feed)));
    check(&tables(&feed, &windows()));
    check(&Engine::new(detector(&feed)).run(&feed, &windows()).unwrap());
}
