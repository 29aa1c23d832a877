//! The reading half of a run: reads, parses and checks, and hands on parcels.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

use shared::adapters::SystemClock;
use shared::model::cloud_event::{EVENT_BYTES_MAX, Refusal};
use shared::model::{Entry, Reject, RejectReason};
use shared::ports::Clock;
use shared::service;
use shared::settings::Settings;
use smol_str::SmolStr;

use crate::error::Failure;
use crate::input::{Counter, Input, Item, Text};
use crate::stopwatch::Stopwatch;

/// Events handed over at once under a flood.
pub(crate) const PARCEL_EVENTS: usize = 512;
/// How much of a rejected text is kept.
const REJECT_TEXT_MAX: usize = 4_096;

/// What the reading half needs to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Intake<'a> {
    /// What the events mean.
    pub(crate) settings: &'a Settings,
    /// The tenant of events that name none.
    pub(crate) tenant: Option<&'a SmolStr>,
    /// Where they come from, in this order.
    pub(crate) inputs: &'a [Input],
}

/// Some events as they were read.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// When the first of them was.
    pub(crate) since: Stopwatch,
    /// How many texts were read.
    pub(crate) read: u64,
    /// Those that can be accepted.
    pub(crate) entries: Vec<Arc<Entry>>,
    /// Where each of them stands, in the same order.
    pub(crate) places: Vec<Place>,
    /// The others.
    pub(crate) rejects: Vec<Reject>,
}

/// Where an event stands in the input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// The place of the input among the intake's.
    pub(crate) input: usize,
    /// The line, from 1.
    pub(crate) line: u64,
}

impl Intake<'_> {
    /// Reads all inputs to the end, or until nobody listens.
    pub(crate) fn read_all(
        self,
        consumed: &Counter,
        parcels: &SyncSender<Parcel>,
    ) -> Result<(), Failure> {
        for (index, input) in self.inputs.iter().enumerate() {
            let mut parcel = Parcel::new();
            let mut listening = true;
            let reader = input.open(Counter::clone(consumed))?;
            let read = reader.each(|item| {
                if parcel.read == 0 {
                    parcel.since = Stopwatch::start();
                }
                self.check(&mut parcel, index, &item);
                // A trickle is handed on event by event; under a flood the channel is full, and
                // parcels fill up.
                let full = parcel.read >= PARCEL_EVENTS as u64;
                if full || *input == Input::Stdin {
                    match parcels.try_send(std::mem::replace(&mut parcel, Parcel::new())) {
                        Ok(()) => {}
                        Err(TrySendError::Full(back)) if full => {
                            listening = parcels.send(back).is_ok();
                        }
                        Err(TrySendError::Full(back)) => parcel = back,
                        Err(TrySendError::Disconnected(_)) => listening = false,
                    }
                }
                listening
            });
            read.map_err(|source| Failure::File {
                what: format!("read {input}"),
                source,
            })?;
            if !listening || parcels.send(parcel).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn check(&self, parcel: &mut Parcel, index: usize, item: &Item<'_>) {
        parcel.read += 1;
        let now = SystemClock.now();
        let oversized = || {
            let detail = format!("the event is longer than the {EVENT_BYTES_MAX} bytes accepted");
            Refusal::new(RejectReason::Oversized, detail)
        };
        let (text, checked) = match &item.text {
            Text::Whole(text) => (
                *text,
                service::accept(self.settings, self.tenant, text, now),
            ),
            Text::TooLong(text) => (*text, Err(oversized())),
            Text::Broken(why) => (&b""[..], Err(Refusal::new(RejectReason::Malformed, why))),
        };
        match checked {
            Ok(entry) => {
                parcel.entries.push(Arc::new(entry));
                parcel.places.push(Place {
                    input: index,
                    line: item.line,
                });
            }
            Err(refusal) => {
                let kept = text
                    .get(..REJECT_TEXT_MAX.min(text.len()))
                    .unwrap_or_default();
                parcel.rejects.push(Reject {
                    at: now,
                    input: self
                        .inputs
                        .get(index)
                        .map(ToString::to_string)
                        .unwrap_or_default(),
                    line: item.line,
                    reason: refusal.reason,
                    detail: refusal.detail,
                    text: String::from_utf8_lossy(kept).into_owned(),
                });
            }
        }
    }
}

impl Parcel {
    fn new() -> Self {
        Self {
            since: Stopwatch::start(),
            read: 0,
            entries: Vec::new(),
            places: Vec::new(),
            rejects: Vec::new(),
        }
    }
}
