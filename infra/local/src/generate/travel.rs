use std::collections::BTreeSet;

use shared::model::Timestamp;
use shared::model::cloud_event::EVENT_BYTES_MAX;

use super::Plan;
use super::draw::{Draw, Purpose};
use super::event::Event;
use super::{life, text};

/// A line of the arrival stream. Their order is that of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Delivery {
    /// When it arrives.
    pub(super) at: Timestamp,
    /// The event that it is about.
    pub(super) event: Event,
    /// What the line is to the event.
    pub(super) as_what: AsWhat,
}

/// What a line of the arrival stream is to its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AsWhat {
    /// The event, at once.
    Event,
    /// The event, delayed on its way.
    Late,
    /// The event, which was lost and sent again at the end of the feed.
    Resent,
    /// The event once more.
    Duplicate,
    /// Something that cannot be accepted, besides the event.
    Malformed(Fault),
}

/// The ways in which a line is malformed. Foldback rejects every one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// The line ends in the middle.
    CutOff,
    /// There is no `time`.
    NoTime,
    /// A `time` that never was.
    ImpossibleTime,
    /// A tenant that no settings know.
    UnknownTenant,
    /// The identity of the event with other data. It comes after the event, which therefore stands.
    OtherContent,
    /// Not an event at all: what proxies and scripts write when something fails.
    Garbage,
    /// There is no `id`.
    NoId,
    /// Of a version of `CloudEvents` that is not read.
    OldVersion,
    /// Nothing says which lead it belongs to.
    NoLead,
    /// Larger than an event may be.
    Oversized,
}

const FAULTS: [Fault; 9] = [
    Fault::CutOff,
    Fault::NoTime,
    Fault::ImpossibleTime,
    Fault::UnknownTenant,
    Fault::OtherContent,
    Fault::Garbage,
    Fault::NoId,
    Fault::OldVersion,
    Fault::NoLead,
];
/// Oversized lines are rare among the malformed: one outweighs hundreds of events.
const OVERSIZED_EVERY: u64 = 25;
const GARBAGE: [&str; 6] = [
    "<html><head><title>502 Bad Gateway</title></head></html>",
    "upstream connect error or disconnect/reset before headers",
    r#"{"error":"rate limited","retryAfter":30}"#,
    "null",
    "2026-02-11 08:14:02 WARN retrying delivery (3/5)",
    "id,source,type,time",
];

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// 2026-05-04T06:00:00Z: when what was lost is sent again, after everything else has arrived.
pub(super) const RESENT_FROM_MS: i64 = 1_777_874_400_000;
/// Sending it again takes this long.
const RESENDING: i64 = 8 * HOUR;

/// All events in their total order, each once.
pub(super) fn truth(plan: &Plan) -> Merge<'_, Event, impl FnMut(Event, &mut BTreeSet<Event>)> {
    Merge::new(plan, |event, pending: &mut BTreeSet<Event>| {
        pending.insert(event);
    })
}

/// All lines in the order in which they arrive.
pub(super) fn arrivals(
    plan: &Plan,
) -> Merge<'_, Delivery, impl FnMut(Event, &mut BTreeSet<Delivery>)> {
    let mut faults = 0;
    Merge::new(plan, move |event, pending: &mut BTreeSet<Delivery>| {
        pending.extend(deliveries(plan, event, &mut faults).into_iter().flatten());
    })
}

/// The event itself, its duplicate and a malformed line about it. Every number is drawn whether or
/// not it is needed, so that each option decides about its own lines alone.
fn deliveries(plan: &Plan, event: Event, faults: &mut u64) -> [Option<Delivery>; 3] {
    let mut draw = Draw::new(plan.seed, Purpose::Travel, event.id);
    let (late, by) = (draw.happens(plan.late), delay(&mut draw));
    let (resent, until) = (draw.happens(plan.resent), draw.between(0, RESENDING));
    let (twice, again) = (draw.happens(plan.duplicates), delay(&mut draw));
    let (malformed, after) = (draw.happens(plan.malformed), draw.between(SECOND, MINUTE));

    let (at, as_what) = if resent {
        (Timestamp::from_ms(RESENT_FROM_MS + until), AsWhat::Resent)
    } else if late {
        (event.at.plus_ms(by), AsWhat::Late)
    } else {
        (event.at, AsWhat::Event)
    };
    let line = |at, as_what| Some(Delivery { at, event, as_what });
    let duplicate = twice
        .then(|| line(at.plus_ms(again), AsWhat::Duplicate))
        .flatten();
    let fault = malformed.then(|| {
        *faults += 1;
        line(at.plus_ms(after), AsWhat::Malformed(Fault::nth(*faults)))
    });
    [line(at, as_what), duplicate, fault.flatten()]
}

/// How long something takes that should have taken no time: seconds, minutes, hours or days.
fn delay(draw: &mut Draw) -> i64 {
    match draw.below(10) {
        0..=1 => draw.between(SECOND, MINUTE),
        2..=3 => draw.between(MINUTE, HOUR),
        4..=6 => draw.between(HOUR, DAY),
        7.. => draw.between(DAY, 4 * DAY),
    }
}

/// What comes of all leads, in order, with only that in memory which something may still come
/// before: leads begin one after the other, and nothing comes before its lead.
pub(super) struct Merge<'p, T, F> {
    plan: &'p Plan,
    lead: u64,
    pending: BTreeSet<T>,
    spread: F,
}

/// Something with a moment, by which it is ordered first.
pub(super) trait Timed: Ord {
    fn at(&self) -> Timestamp;
}

impl Timed for Event {
    fn at(&self) -> Timestamp {
        self.at
    }
}

impl Timed for Delivery {
    fn at(&self) -> Timestamp {
        self.at
    }
}

impl<'p, T: Timed, F: FnMut(Event, &mut BTreeSet<T>)> Merge<'p, T, F> {
    fn new(plan: &'p Plan, spread: F) -> Self {
        Self {
            plan,
            lead: 0,
            pending: BTreeSet::new(),
            spread,
        }
    }

    /// How many leads have begun.
    pub(super) fn leads(&self) -> u64 {
        self.lead
    }
}

impl<T: Timed, F: FnMut(Event, &mut BTreeSet<T>)> Iterator for Merge<'_, T, F> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        while self.lead < self.plan.leads {
            let next = life::earliest(self.plan, self.lead);
            if self.pending.first().is_some_and(|first| first.at() < next) {
                break;
            }
            for event in life::live(self.plan, self.lead) {
                (self.spread)(event, &mut self.pending);
            }
            self.lead += 1;
        }
        self.pending.pop_first()
    }
}

impl Delivery {
    /// The line, without its end.
    pub(super) fn text(&self, plan: &Plan) -> String {
        let line = text::line(plan, &self.event);
        match self.as_what {
            AsWhat::Event | AsWhat::Late | AsWhat::Resent | AsWhat::Duplicate => line,
            AsWhat::Malformed(fault) => fault.spoil(plan, &self.event, &line),
        }
    }
}

impl Fault {
    /// The fault of the `n`th malformed line: each in turn.
    fn nth(n: u64) -> Self {
        if n.is_multiple_of(OVERSIZED_EVERY) {
            return Self::Oversized;
        }
        let turn = usize::try_from(n % FAULTS.len() as u64).unwrap_or_default();
        FAULTS.get(turn).copied().unwrap_or(Self::CutOff)
    }

    /// The event's line with this fault.
    fn spoil(self, plan: &Plan, event: &Event, line: &str) -> String {
        let mut draw = Draw::new(plan.seed, Purpose::Fault, event.id);
        let swap = |from: &str, to: &str| line.replacen(from, to, 1);
        let time = format!(r#""time":"{}","#, text::time(event));
        match self {
            Self::CutOff => {
                let end = 1 + draw.below((line.len() as u64).saturating_sub(1));
                let end = line.floor_char_boundary(usize::try_from(end).unwrap_or_default());
                line.get(..end).unwrap_or_default().to_owned()
            }
            Self::NoTime => swap(&time, ""),
            Self::ImpossibleTime => swap(&time, r#""time":"2026-02-30T09:30:00Z","#),
            Self::UnknownTenant => {
                let tenant = format!(r#""tenant":"{}""#, text::tenant(event.tenant));
                swap(&tenant, r#""tenant":"umbrella""#)
            }
            Self::OtherContent => swap(r#""data":{"#, r#""data":{"revised":true,"#),
            Self::Garbage => draw.pick(&GARBAGE).to_owned(),
            Self::NoId => swap(&format!(r#""id":"{}","#, text::id(event)), ""),
            Self::OldVersion => swap(r#""specversion":"1.0""#, r#""specversion":"0.3""#),
            Self::NoLead => {
                let (head, _) = line.split_once(r#","partitionkey":"#).unwrap_or((line, ""));
                format!("{head}}}")
            }
            Self::Oversized => {
                let filler = "A".repeat(EVENT_BYTES_MAX);
                swap(
                    r#""data":{"#,
                    &format!(r#""data":{{"attachment":"{filler}","#),
                )
            }
        }
    }
}
