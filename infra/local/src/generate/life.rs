use shared::model::Timestamp;

use super::Plan;
use super::draw::{Draw, Purpose};
use super::event::{Dialect, Event, Meeting, Step, What};

/// Monday, 2026-01-05T00:00:00Z. Fixed, so that what is generated never depends on a clock.
const FIRST_MONDAY_MS: i64 = 1_767_571_200_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Everything happens on working days between 08:00 and 18:00 UTC. Times within a life are counted
/// in milliseconds of such working time, which makes nights and weekends fall away.
const WORKDAY: i64 = 10 * HOUR;
/// Leads come in for six weeks. More leads come in closer to each other, not for longer: event
/// times must lie in the past when the events are ingested.
const INTAKE: i64 = 30 * WORKDAY;
/// A lead has fewer events than this.
const EVENTS_OF_A_LEAD_MAX: u64 = 1 << 10;

const STAGES: [&str; 6] = [
    "new",
    "contacted",
    "qualified",
    "demo",
    "proposal",
    "negotiation",
];
const MEETINGS: [&str; 4] = ["call", "demo", "site visit", "contract review"];
const REASONS: [&str; 6] = [
    "price",
    "no budget",
    "no answer",
    "went to a competitor",
    "bad timing",
    "duplicate lead",
];
const OWNERS: [&str; 12] = [
    "a.lindqvist",
    "b.okafor",
    "c.moreau",
    "d.nowak",
    "e.tanaka",
    "f.rossi",
    "g.silva",
    "h.weber",
    "i.novak",
    "j.murphy",
    "k.haddad",
    "l.jensen",
];
const NOTES: [&str; 8] = [
    "Left a voicemail.",
    "Asked for references in their industry.",
    "Budget is decided in the next quarter.",
    "Prefers e-mail.\\nDo not call before 10.",
    "Wants the contract in French («conditions générales»).",
    "Spoke to the assistant; will call back.",
    "Happy with the demo 👍",
    "Compares us with two others.",
];

/// A moment that no event of this lead or of a later one comes before.
pub(super) fn earliest(plan: &Plan, lead: u64) -> Timestamp {
    let ms = wall(intake(plan, lead)).ms();
    Timestamp::from_ms(ms - ms.rem_euclid(1_000))
}

/// All events of one lead, oldest first.
pub(super) fn live(plan: &Plan, lead: u64) -> Vec<Event> {
    let mut draw = Draw::new(plan.seed, Purpose::Life, lead);
    let gap = intake(plan, lead + 1) - intake(plan, lead);
    let created = intake(plan, lead) + draw.between(0, gap - 1);
    let owner = draw.pick(&OWNERS);
    let cents = worth(&mut draw);
    let mut life = Life {
        draw,
        happened: Vec::new(),
        owner,
        cents,
        meetings: 0,
    };
    life.course(created);
    life.happened.sort_by_key(|(at, _)| *at);

    let tenant = u32::try_from(lead % u64::from(plan.tenants.max(1))).unwrap_or_default();
    let dialect = Dialect::of(tenant);
    let events = life.happened.iter().zip(0_u32..).map(|(&(at, what), n)| {
        let ms = wall(at).ms();
        Event {
            at: Timestamp::from_ms(if dialect.whole_seconds {
                ms - ms % 1_000
            } else {
                ms
            }),
            sequence: dialect.sequence.then_some(n + 1),
            id: mix(plan.seed) ^ mix(lead * EVENTS_OF_A_LEAD_MAX + u64::from(n)),
            tenant,
            lead,
            what,
        }
    });
    events.collect()
}

/// When the time of a lead begins, in working time: leads come in one after the other.
fn intake(plan: &Plan, lead: u64) -> i64 {
    let at = i128::from(INTAKE) * i128::from(lead) / i128::from(plan.leads.max(1));
    i64::try_from(at).unwrap_or(INTAKE)
}

/// The moment at which so much working time has passed.
fn wall(working: i64) -> Timestamp {
    let (day, within) = (working.div_euclid(WORKDAY), working.rem_euclid(WORKDAY));
    let days = day.div_euclid(5) * 7 + day.rem_euclid(5);
    Timestamp::from_ms(FIRST_MONDAY_MS + days * DAY + 8 * HOUR + within)
}

/// Spreads numbers so that different ones stay different (the finalizer of `SplitMix64`): ids look
/// random, and none comes twice.
fn mix(number: u64) -> u64 {
    let once = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let twice = (once ^ (once >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    twice ^ (twice >> 31)
}

/// What a deal is worth, in cents: round figures mostly.
fn worth(draw: &mut Draw) -> u64 {
    let cents = if draw.percent(25) { draw.below(100) } else { 0 };
    let units = match draw.below(10) {
        0..=5 => 250 + 50 * draw.below(60),
        6..=8 => 3_000 + 250 * draw.below(70),
        9.. => 20_000 + 1_000 * draw.below(180),
    };
    units * 100 + cents
}

/// A lead's life as it is told. Times are working time.
struct Life {
    draw: Draw,
    happened: Vec<(i64, What)>,
    owner: &'static str,
    cents: u64,
    meetings: u32,
}

impl Life {
    /// From the creation over stages and meetings to the end, if there is one yet.
    fn course(&mut self, created: i64) {
        self.tell(
            created,
            What::Created {
                owner: self.owner,
                cents: self.cents,
            },
        );
        let mut meetings = match self.draw.below(20) {
            0..=3 => 0,
            4..=10 => 1,
            11..=15 => 2,
            16..=18 => 3,
            19.. => 4,
        };
        let mut now = created + self.draw.between(5 * MINUTE, 6 * HOUR);
        let mut stage = "new";
        let steps = usize::try_from(1 + self.draw.below(5)).unwrap_or_default();
        for &to in STAGES.iter().skip(1).take(steps) {
            if meetings > 0 && self.draw.percent(60) {
                meetings -= 1;
                now = self.meet(now);
            }
            // Where a meeting was held, the stage follows in the same instant: an automation's work.
            self.change_stage(now, stage, to);
            stage = to;
            now += self.draw.between(2 * HOUR, 20 * HOUR);
        }
        for _ in 0..meetings {
            now = self.meet(now) + self.draw.between(HOUR, WORKDAY);
        }
        self.end(now, stage);
    }

    fn tell(&mut self, at: i64, what: What) {
        self.happened.push((at, what));
    }

    fn change_stage(&mut self, at: i64, from: &'static str, to: &'static str) {
        if self.draw.percent(15) {
            self.owner = self.draw.pick(&OWNERS);
        }
        let revalued = self.draw.percent(20);
        if revalued {
            self.cents = worth(&mut self.draw);
        }
        let cents = revalued.then_some(self.cents);
        self.tell(
            at,
            What::StageChanged {
                from,
                to,
                owner: self.owner,
                cents,
            },
        );
        if self.draw.percent(25) {
            let later = if self.draw.percent(40) {
                0
            } else {
                self.draw.between(1, 20 * MINUTE)
            };
            let text = self.draw.pick(&NOTES);
            self.tell(at + later, What::NoteAdded { text });
        }
    }

    /// One meeting, booked now; returns when it was over.
    fn meet(&mut self, now: i64) -> i64 {
        self.meetings += 1;
        let kind = self.draw.pick(&MEETINGS);
        let mut planned = half_hour(now + self.draw.between(4 * HOUR, 25 * HOUR));
        let mut meeting = Meeting {
            number: self.meetings,
            kind,
            host: self.owner,
            starts: wall(planned),
        };
        self.tell(
            now,
            What::Meeting {
                step: Step::Booked,
                meeting,
            },
        );
        let mut last = now;
        for _ in 0..2 {
            if !self.draw.percent(25) {
                break;
            }
            last = self.draw.between(last + 1, planned - 1);
            planned = half_hour(planned + self.draw.between(2 * HOUR, 15 * HOUR));
            meeting.starts = wall(planned);
            if self.draw.percent(30) {
                meeting.host = self.draw.pick(&OWNERS);
            }
            self.tell(
                last,
                What::Meeting {
                    step: Step::Moved,
                    meeting,
                },
            );
        }
        match self.draw.below(20) {
            0..=12 => self.hold(planned, meeting),
            13..=15 => {
                let at = self.draw.between(last + 1, planned);
                self.tell(
                    at,
                    What::Meeting {
                        step: Step::Cancelled,
                        meeting,
                    },
                );
                at
            }
            16..=18 => {
                let at = planned + self.draw.between(15 * MINUTE, 30 * MINUTE);
                self.tell(
                    at,
                    What::Meeting {
                        step: Step::NoShow,
                        meeting,
                    },
                );
                at
            }
            // Nobody reports what became of it.
            19.. => planned,
        }
    }

    /// A meeting that takes place; returns when it ends.
    fn hold(&mut self, planned: i64, meeting: Meeting) -> i64 {
        let begins = planned + self.draw.between(0, 6 * MINUTE);
        if self.draw.percent(90) {
            self.tell(
                begins,
                What::Meeting {
                    step: Step::Started,
                    meeting,
                },
            );
        }
        if self.draw.percent(6) {
            // The line broke; they began again.
            let again = begins + self.draw.between(MINUTE, 10 * MINUTE);
            self.tell(
                again,
                What::Meeting {
                    step: Step::Started,
                    meeting,
                },
            );
        }
        let ends = begins + self.draw.between(15 * MINUTE, 75 * MINUTE);
        self.tell(
            ends,
            What::Meeting {
                step: Step::Held,
                meeting,
            },
        );
        ends
    }

    fn end(&mut self, now: i64, stage: &'static str) {
        let cents = self.cents * (80 + self.draw.below(21)) / 100;
        match self.draw.below(20) {
            0..=5 => self.tell(now, What::Won { cents }),
            6..=13 => {
                let reason = self.draw.pick(&REASONS);
                self.tell(now, What::Lost { reason });
                if self.draw.percent(10) {
                    // They came back after all.
                    let back = now + self.draw.between(WORKDAY, 3 * WORKDAY);
                    self.change_stage(back, "lost", stage);
                    let won = back + self.draw.between(HOUR, WORKDAY);
                    self.tell(won, What::Won { cents });
                }
            }
            // Still open.
            14.. => {}
        }
    }
}

/// The next full half hour of working time.
fn half_hour(at: i64) -> i64 {
    at + (30 * MINUTE - at.rem_euclid(30 * MINUTE)) % (30 * MINUTE)
}
