use super::Plan;
use super::draw::{Draw, Purpose};
use super::event::{Dialect, Event, Meeting, Step, What};

const FIRST_NAMES: [&str; 16] = [
    "Maria",
    "Łukasz",
    "Aoife",
    "Chidi",
    "Yuki",
    "Élodie",
    "Mateo",
    "Søren",
    "Priya",
    "Omar",
    "Katarína",
    "Jürgen",
    "Noa",
    "Thandiwe",
    "Ingrid",
    "Rafael",
];
const LAST_NAMES: [&str; 16] = [
    "O'Brien",
    "Kowalski",
    "Nakamura",
    "García",
    "Müller",
    "Okonkwo",
    "Lefèvre",
    "Sørensen",
    "Patel",
    "Haddad",
    "Horváth",
    "Rossi",
    "Cohen",
    "Dlamini",
    "Johansson",
    "Costa",
];
const COMPANIES: [&str; 16] = [
    "Nordlicht Optik",
    "Blue Heron Logistics",
    "Café Aurora",
    "Pinewood Dental",
    "Kestrel Systems",
    "Atelier Brun & Fils",
    "Harbour Bikes",
    "Sol y Mar Hotels",
    "Quarry Street Press",
    "Møller Marine",
    "Tilia Landscaping",
    "Copperfield Tools",
    "Banyan Yoga",
    "Ostrava Steelworks",
    "Red Kite Solar",
    "Weaver & Daughters",
];
const CHANNELS: [&str; 5] = [
    "web form",
    "trade fair",
    "referral",
    "newsletter",
    "cold call",
];

/// A tenant's id.
pub(crate) fn tenant(index: u32) -> String {
    match index {
        0 => "acme".to_owned(),
        1 => "globex".to_owned(),
        2 => "initech".to_owned(),
        3.. => format!("tenant-{}", index + 1),
    }
}

/// The `source` of a tenant's events: its account at the CRM.
pub(super) fn source(tenant_index: u32) -> String {
    format!("//{}.crm.example", tenant(tenant_index))
}

/// The `time` of an event, as its tenant's CRM writes it.
pub(super) fn time(event: &Event) -> String {
    let time = event.at.to_string();
    if Dialect::of(event.tenant).whole_seconds {
        format!("{time:.19}Z")
    } else {
        time
    }
}

/// The `id` of an event. The texts sort as the numbers do.
pub(super) fn id(event: &Event) -> String {
    format!("evt_{:016x}", event.id)
}

/// An event as one line of JSON, without the line's end. The same event always gives the same bytes.
pub(super) fn line(plan: &Plan, event: &Event) -> String {
    // Accounts at the CRM count their leads independently: the same ids come up with every tenant.
    let lead = format!(
        "lead-{}",
        1_001 + event.lead / u64::from(plan.tenants.max(1))
    );
    let sequence = event
        .sequence
        .map(|n| format!(r#""sequence":"{n}","#))
        .unwrap_or_default();
    format!(
        concat!(
            r#"{{"specversion":"1.0","id":"{id}","source":"{source}","type":"{kind}","#,
            r#""subject":"leads/{lead}","time":"{time}",{sequence}"tenant":"{tenant}","#,
            r#""partitionkey":"{lead}","datacontenttype":"application/json","data":{data}}}"#
        ),
        id = id(event),
        source = source(event.tenant),
        kind = kind(event.what),
        time = time(event),
        tenant = tenant(event.tenant),
        data = data(plan, event, &lead),
        lead = lead,
        sequence = sequence,
    )
}

/// The CRM's own event types.
fn kind(what: What) -> &'static str {
    match what {
        What::Created { .. } => "crm.lead.created.v1",
        What::StageChanged { .. } => "crm.lead.stage_changed.v1",
        What::NoteAdded { .. } => "crm.note.added.v1",
        What::Won { .. } => "crm.lead.won.v1",
        What::Lost { .. } => "crm.lead.lost.v1",
        What::Meeting {
            step: Step::Booked, ..
        } => "crm.meeting.booked.v1",
        What::Meeting {
            step: Step::Moved, ..
        } => "crm.meeting.moved.v1",
        What::Meeting {
            step: Step::Started,
            ..
        } => "crm.meeting.started.v1",
        What::Meeting {
            step: Step::Held, ..
        } => "crm.meeting.held.v1",
        What::Meeting {
            step: Step::Cancelled,
            ..
        } => "crm.meeting.cancelled.v1",
        What::Meeting {
            step: Step::NoShow, ..
        } => "crm.meeting.no_show.v1",
    }
}

fn data(plan: &Plan, event: &Event, lead: &str) -> String {
    match event.what {
        What::Created { owner, cents } => {
            let person = person(plan, event);
            let deal = deal(cents);
            format!(r#"{{"lead":{{"id":"{lead}",{person}}},"owner":"{owner}",{deal}}}"#)
        }
        What::StageChanged {
            from,
            to,
            owner,
            cents,
        } => {
            let stage = format!(r#""stage":{{"from":"{from}","to":"{to}"}}"#);
            let deal = cents
                .map(|cents| format!(",{}", deal(cents)))
                .unwrap_or_default();
            format!(r#"{{"lead":{{"id":"{lead}"}},{stage},"owner":"{owner}"{deal}}}"#)
        }
        What::NoteAdded { text } => {
            format!(r#"{{"lead":{{"id":"{lead}"}},"note":{{"text":"{text}"}}}}"#)
        }
        What::Won { cents } => {
            let deal = deal(cents);
            format!(r#"{{"lead":{{"id":"{lead}"}},{deal}}}"#)
        }
        What::Lost { reason } => {
            format!(r#"{{"lead":{{"id":"{lead}"}},"reason":"{reason}"}}"#)
        }
        What::Meeting { meeting, .. } => {
            let meeting = self::meeting(&meeting, lead);
            format!(r#"{{"lead":{{"id":"{lead}"}},{meeting}}}"#)
        }
    }
}

/// Who the lead is; the same whenever it is asked.
fn person(plan: &Plan, event: &Event) -> String {
    let mut draw = Draw::new(plan.seed, Purpose::Person, event.lead);
    let (first, last) = (draw.pick(&FIRST_NAMES), draw.pick(&LAST_NAMES));
    let (company, channel) = (draw.pick(&COMPANIES), draw.pick(&CHANNELS));
    format!(r#""name":"{first} {last}","company":"{company}","channel":"{channel}""#)
}

fn meeting(meeting: &Meeting, lead: &str) -> String {
    let Meeting {
        number,
        kind,
        host,
        starts,
    } = *meeting;
    let id = format!("meeting-{}-{number}", lead.trim_start_matches("lead-"));
    let starts = format!("{:.16}Z", starts.to_string());
    format!(r#""meeting":{{"id":"{id}","kind":"{kind}","starts":"{starts}","host":"{host}"}}"#)
}

/// A deal's worth: cents only where there are any.
fn deal(cents: u64) -> String {
    let (units, rest) = (cents / 100, cents % 100);
    let fraction = if rest == 0 {
        String::new()
    } else {
        format!(".{rest:02}")
    };
    format!(r#""deal":{{"value":{units}{fraction},"currency":"EUR"}}"#)
}
