//! The reading half of a run: reads, parses and checks.

use shared::adapters::SystemClock;
use shared::adapters::texts::{Item, Text};
use shared::model::cloud_event::{EVENT_BYTES_MAX, Refusal};
use shared::model::{Reject, RejectReason};
use shared::ports::Clock;
use shared::service;
use smol_str::SmolStr;

use crate::error::Failure;
use crate::handover::{Checked, Handover, Place};
use crate::input::{Counter, Input};
use crate::settings::InForce;

/// How much of a rejected text is kept.
const REJECT_TEXT_MAX: usize = 4_096;

/// What the reading half needs to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Intake<'a> {
    /// What the events mean.
    pub(crate) settings: &'a InForce,
    /// The tenant of events that name none.
    pub(crate) tenant: Option<&'a SmolStr>,
    /// Where they come from, in this order.
    pub(crate) inputs: &'a [Input],
    /// The most texts that are taken in with one commit.
    pub(crate) batch_max: u64,
}

impl Intake<'_> {
    /// Reads all inputs to the end, or until nobody fetches what is read.
    pub(crate) fn read_all(self, consumed: &Counter, handover: &Handover) -> Result<(), Failure> {
        for (index, input) in self.inputs.iter().enumerate() {
            let reader = input.open(Counter::clone(consumed))?;
            let mut wanted = true;
            let read = reader.each(|item| {
                let (checked, bytes) = self.check(index, &item);
                wanted = handover.leave(checked, bytes);
                wanted
            });
            read.map_err(|source| Failure::File {
                what: format!("read {input}"),
                source,
            })?;
            if !wanted {
                break;
            }
        }
        Ok(())
    }

    /// What becomes of one text, and how many bytes it has.
    fn check(&self, index: usize, item: &Item<'_>) -> (Checked, usize) {
        let now = SystemClock.now();
        let oversized = || {
            let detail = format!("the event is longer than the {EVENT_BYTES_MAX} bytes accepted");
            Refusal::new(RejectReason::Oversized, detail)
        };
        let (text, checked) = match &item.text {
            Text::Whole(text) => (
                *text,
                service::accept(&self.settings.get(), self.tenant, text, now),
            ),
            Text::TooLong(text) => (*text, Err(oversized())),
            Text::Broken(why) => (&b""[..], Err(Refusal::new(RejectReason::Malformed, why))),
        };
        let checked = match checked {
            Ok(entry) => Checked::Entry(
                entry,
                Place {
                    input: index,
                    line: item.line,
                },
            ),
            Err(refusal) => {
                let kept = text
                    .get(..REJECT_TEXT_MAX.min(text.len()))
                    .unwrap_or_default();
                Checked::Reject(Reject {
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
                })
            }
        };
        (checked, text.len())
    }
}
