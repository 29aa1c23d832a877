//! What is to happen in one run: all of it data, so that parts can be left out.

use crate::chance::{Dice, mix};
use crate::gate::Call;
use crate::memory::QueueLimits;
use crate::rules::{Policy, Rules};
use crate::storm::Faults;
use crate::told::{KINDS, Tenant, Told};

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) tenants: Vec<Tenant>,
    /// All tellings; those that no delivery names are never sent.
    pub(crate) told: Vec<Told>,
    /// Those in force at first, then those that chores put.
    pub(crate) rules: Vec<Rules>,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) chores: Vec<Chore>,
    pub(crate) faults: Faults,
    pub(crate) outage: Option<Outage>,
    pub(crate) limits: QueueLimits,
    /// The longest that a call takes, in milliseconds, as a rule.
    pub(crate) pace_ms: u64,
    /// How far the clocks of two tasks may differ.
    pub(crate) skew_ms: u64,
}

/// The store of rows cannot be reached for a while.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    /// From when on, in milliseconds since the run began.
    pub(crate) from_ms: i64,
    /// When it is over.
    pub(crate) until_ms: i64,
}

/// A sender's request.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) task: u32,
    pub(crate) at_ms: i64,
    /// Numbers of tellings, of one tenant.
    pub(crate) told: Vec<usize>,
    /// Whether the sender tries again until it is answered.
    pub(crate) stubborn: bool,
    /// Whether what was journaled before is queued again.
    pub(crate) sends_again: bool,
}

/// One that handles messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Worker {
    pub(crate) task: u32,
    pub(crate) how: How,
    pub(crate) batch: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// As the function does: what fails in one group is no other's failure.
    Apart,
    /// As one machine does.
    Together,
    /// The same, and groups are long from so many events on.
    Imaging(u64),
}

/// What somebody does beside the traffic.
#[derive(Debug, Clone)]
pub(crate) struct Chore {
    pub(crate) task: u32,
    pub(crate) at_ms: i64,
    pub(crate) what: Errand,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Errand {
    Report {
        grace_ms: i64,
        narrow: bool,
    },
    Update {
        grace_ms: i64,
        narrow: bool,
    },
    /// Sends some dead letters back: one, or of all each so many in 1,000.
    Redrive {
        one: bool,
        permille: u64,
    },
    /// Throws the oldest dead letter away.
    Discard,
    /// Puts the settings of that number in force.
    Put(usize),
    /// Other code takes the lock of a lead's row for so long.
    Hold {
        lead: u64,
        ms: i64,
    },
}

impl Plan {
    /// Whether the rows must be right without a replay that mends: everything that is accepted is delivered,
    /// and nothing is done that leaves a row behind by intent.
    pub(crate) fn is_strict(&self) -> bool {
        let puts = |chore: &Chore| matches!(chore.what, Errand::Put(_) | Errand::Discard);
        let lossy = |one: &Delivery| !one.stubborn || !one.sends_again;
        !self.rules.iter().any(Rules::detects)
            && !self.chores.iter().any(puts)
            && !self.deliveries.iter().any(lossy)
    }

    /// The plan of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = Dice::new(&[seed, 1]);
        let tenants = match dice.below(10) {
            0..=4 => vec![Tenant::Acme],
            5..=8 => vec![Tenant::Bolt],
            _both => Tenant::ALL.to_vec(),
        };
        let strict = dice.happens(650);
        let told = tellings(&mut dice, &tenants);
        let mut rules = vec![rules(&mut dice, strict)];
        let span_ms = dice.pick(&[50, 2_000, 20_000, 90_000]);
        let deliveries = deliveries(&mut dice, &told, span_ms, strict);
        let chores = chores(&mut dice, &mut rules, span_ms, strict);
        let many = dice.between(1, 3);
        let workers = (0..many).map(|n| worker(&mut dice, task(1, n))).collect();
        let permille = dice.pick(&[0, 8, 25, 60, 120]);
        let faults = Faults::Drawn {
            seed: mix(&[seed, 2]),
            permille,
            lost: &[Call::Delete],
        };
        let receives_max = u32::try_from(dice.between(3, 5)).unwrap_or(3);
        Self {
            seed,
            tenants,
            told,
            rules,
            deliveries,
            workers,
            chores,
            faults,
            outage: outage(seed, span_ms),
            limits: QueueLimits {
                receives_max,
                visibility_ms: dice.pick(&[2_000, 30_000]),
            },
            pace_ms: dice.pick(&[1, 10, 100, 1_500]),
            skew_ms: dice.pick(&[0, 0, 450]),
        }
    }
}

/// The number of the nth task of a kind: it stays the same when others are left out.
fn task(kind: u32, n: u64) -> u32 {
    kind * 1_000 + u32::try_from(n).unwrap_or(0)
}

/// In one of eight runs there is one, often longer than messages are tried.
fn outage(seed: u64, span_ms: u64) -> Option<Outage> {
    let mut dice = Dice::new(&[seed, 3]);
    dice.happens(125).then(|| {
        let from_ms = i64::try_from(dice.below(span_ms)).unwrap_or(0);
        let until_ms = from_ms + dice.pick(&[10_000, 60_000, 120_000]);
        Outage { from_ms, until_ms }
    })
}

fn worker(dice: &mut Dice, task: u32) -> Worker {
    let how = match dice.below(4) {
        0 => How::Apart,
        1 => How::Together,
        _long => How::Imaging(dice.between(1, 5)),
    };
    let batch = dice.pick(&[1, 3, 10, 50]);
    Worker { task, how, batch }
}

fn rules(dice: &mut Dice, strict: bool) -> Rules {
    let mut rules = Rules::plain();
    rules.atomic = dice.happens(400);
    rules.visits = !dice.happens(200);
    if dice.happens(300) {
        rules.locked = [(); 4].map(|()| dice.happens(500));
    }
    if !strict && dice.happens(500) {
        let mut policy = || {
            if dice.happens(500) {
                Policy::Detect
            } else {
                Policy::Correct
            }
        };
        rules.policies = [policy(), policy(), policy(), policy()];
    }
    rules
}

/// What becomes of settings that somebody changes.
fn changed(dice: &mut Dice, rules: &Rules) -> Rules {
    let mut rules = rules.clone();
    match dice.below(6) {
        0 | 1 => rules.lenient = !rules.lenient,
        2 => rules.visits = !rules.visits,
        3 => rules.updates = !rules.updates,
        4 => rules.atomic = !rules.atomic,
        _policy => {
            let table = dice.index(4);
            let policy = &mut rules.policies[table];
            *policy = match *policy {
                Policy::Correct => Policy::Detect,
                Policy::Detect => Policy::Correct,
            };
        }
    }
    rules
}

fn tellings(dice: &mut Dice, tenants: &[Tenant]) -> Vec<Told> {
    let count = match dice.below(10) {
        0..=6 => dice.between(2, 6),
        7 | 8 => dice.between(6, 14),
        _long => dice.between(16, 40),
    };
    let leads = dice.between(1, 3);
    let appointments = dice.between(1, 3);
    // Near midnight, so that days differ.
    let start_ms = 1_772_409_000_000;
    let step_ms = dice.pick(&[1_000, 60_000, 1_200_000]);
    let mut told: Vec<Told> = Vec::new();
    for n in 0..count {
        let tenant = tenants[dice.index(tenants.len())];
        let ms = start_ms + step_ms * i64::try_from(dice.below(count)).unwrap_or(0);
        let lead = format!("lead-{}", dice.below(leads));
        let appointment = format!("meeting-{}", dice.below(appointments));
        let mut one = Told {
            tenant,
            source: dice.pick(&["//crm", "//desk"]),
            id: format!("e{n}"),
            revision: 0,
            withdrawn: false,
            kind: "",
            ms,
            below: 0,
            sequence: None,
            lead: Some(lead),
            appointment: Some(appointment),
            fields: Vec::new(),
        };
        one.say(dice, None);
        if one.is_appointment() && tenant.links() {
            one.name_lead(dice);
        }
        told.push(one.clone());
        let mut revision = 0;
        while dice.happens(130) && revision < 3 {
            revision += u32::try_from(dice.between(1, 2)).unwrap_or(1);
            one.amend(dice, revision, step_ms);
            told.push(one.clone());
        }
        if dice.happens(15) {
            // Another event under an identity that is taken, or its sender's mistake.
            one.fields.retain(|(name, _)| *name != "by");
            one.fields.push(("by", "somebody else".to_owned()));
            told.push(one);
        }
    }
    told
}

impl Told {
    /// Draws what it says; of an amendment what stays of the kind that it was.
    fn say(&mut self, dice: &mut Dice, was: Option<&'static str>) {
        let is_appointment = |kind: &str| kind.starts_with("appointment.");
        loop {
            self.kind = dice.pick(&KINDS);
            let same = was.is_none_or(|was| is_appointment(was) == is_appointment(self.kind));
            if same || !self.tenant.links() {
                break;
            }
        }
        self.sequence = dice.pick(&[None, None, Some("1"), Some("2"), Some("10"), Some("b")]);
        self.below = if dice.happens(100) { 250 } else { 0 };
        self.fields.clear();
        for (name, values) in [
            ("stage", ["new", "warm", "hot"]),
            ("by", ["ann", "bob", "cid"]),
            ("reason", ["won", "lost", "spam"]),
            ("kind", ["call", "visit", "demo"]),
        ] {
            if dice.happens(350) {
                self.fields.push((name, dice.pick(&values).to_owned()));
            }
        }
        if dice.happens(500) {
            let good = dice.pick(&["7", "12.5", "0.25", "99.99"]).to_owned();
            // What an appointment's group of its own cannot read has no group.
            let poison = dice.happens(120) && !(self.tenant.links() && self.is_appointment());
            let amount = if poison { "12x".to_owned() } else { good };
            self.fields.push(("amount", amount));
            self.fields
                .push(("sum", dice.pick(&["1", "2.5", "40"]).to_owned()));
        }
    }

    /// Makes it a later telling of the same event, which may name another lead.
    fn amend(&mut self, dice: &mut Dice, revision: u32, step_ms: i64) {
        self.revision = revision;
        self.withdrawn = dice.happens(350);
        if dice.happens(800) {
            let was = self.kind;
            self.say(dice, Some(was));
        }
        if dice.happens(300) {
            self.ms += step_ms * i64::try_from(dice.between(0, 6)).unwrap_or(0) - 3 * step_ms;
        }
        if self.is_appointment() && self.tenant.links() {
            self.name_lead(dice);
        } else if self.is_appointment() && dice.happens(200) {
            self.appointment = Some(format!("meeting-{}", dice.below(3)));
        }
        if !self.tenant.links() && dice.happens(250) {
            self.lead = Some(format!("lead-{}", dice.below(3)));
        }
    }

    /// Draws whether an appointment's event names a lead, and which.
    fn name_lead(&mut self, dice: &mut Dice) {
        self.lead = match dice.below(10) {
            0..=4 => None,
            5..=8 => Some("lead-0".to_owned()),
            _other => Some("lead-1".to_owned()),
        };
    }
}

fn deliveries(dice: &mut Dice, told: &[Told], span_ms: u64, strict: bool) -> Vec<Delivery> {
    let mut order: Vec<usize> = (0..told.len()).collect();
    // In order, nearly so, or not at all.
    match dice.below(3) {
        0 => order.sort_by_key(|number| (told[*number].ms, *number)),
        1 => {
            order.sort_by_key(|number| told[*number].ms);
            for at in 0..order.len() {
                if dice.happens(250) {
                    let other = dice.index(order.len());
                    order.swap(at, other);
                }
            }
        }
        _any => dice.shuffle(&mut order),
    }
    let again: Vec<usize> = order
        .iter()
        .copied()
        .filter(|_| dice.happens(120))
        .collect();
    order.extend(again);
    let mut deliveries: Vec<Delivery> = Vec::new();
    let mut at_ms = 0;
    for number in order {
        let last = deliveries.last_mut();
        let joins = last.filter(|last| {
            let tenant = last.told.first().map(|first| told[*first].tenant);
            tenant == Some(told[number].tenant) && last.told.len() < 6
        });
        match joins {
            Some(last) if dice.happens(400) => last.told.push(number),
            Some(_) | None => {
                at_ms +=
                    i64::try_from(dice.below(2 * span_ms / told.len() as u64 + 2)).unwrap_or(0);
                deliveries.push(Delivery {
                    task: task(2, deliveries.len() as u64),
                    at_ms,
                    told: vec![number],
                    stubborn: strict || dice.happens(850),
                    sends_again: strict || dice.happens(700),
                });
            }
        }
    }
    deliveries
}

fn chores(dice: &mut Dice, rules: &mut Vec<Rules>, span_ms: u64, strict: bool) -> Vec<Chore> {
    let count = dice.pick(&[0, 1, 2, 4, 6]);
    let mut chores = Vec::new();
    for n in 0..count {
        let grace_ms = dice.pick(&[0, 0, 500, 60_000]);
        let narrow = dice.happens(300);
        let what = match dice.below(12) {
            0..=2 => Errand::Report { grace_ms, narrow },
            3..=5 => Errand::Update { grace_ms, narrow },
            6 | 7 => Errand::Redrive {
                one: dice.happens(500),
                permille: dice.pick(&[300, 1_000]),
            },
            8 => Errand::Hold {
                lead: dice.below(2),
                ms: dice.pick(&[100, 20_000, 45_000]),
            },
            9 if !strict => Errand::Discard,
            _put if !strict => {
                let last = &rules[rules.len() - 1];
                let next = changed(dice, last);
                rules.push(next);
                Errand::Put(rules.len() - 1)
            }
            _redrive => Errand::Redrive {
                one: false,
                permille: 1_000,
            },
        };
        chores.push(Chore {
            task: task(3, n),
            at_ms: i64::try_from(dice.below(span_ms + span_ms / 2)).unwrap_or(0),
            what,
        });
    }
    // Settings come in the order of their numbers.
    let mut moments: Vec<i64> = chores.iter().map(|chore| chore.at_ms).collect();
    moments.sort_unstable();
    for (chore, at_ms) in chores.iter_mut().zip(moments) {
        chore.at_ms = at_ms;
    }
    chores
}
