//! Amendments: an event of a known identity with a higher `revision` takes the place of the earlier one,
//! and one that is `withdrawn` takes it away.

use super::cloud_event::Refusal;
use super::{Event, EventHash, RejectReason};

/// The attribute that says which telling of the event this is; absent in the first.
const REVISION: &str = "revision";
/// The attribute that says that the event did not happen.
const WITHDRAWN: &str = "withdrawn";
/// The largest number of the `CloudEvents` type Integer.
const REVISION_MAX: u32 = i32::MAX.cast_unsigned();

impl Event {
    /// Which telling of the event this is: 0 the first, and each amendment's is higher. Of the
    /// events of one identity, the highest counts.
    #[must_use]
    pub fn revision(&self) -> u32 {
        // What was journaled before revisions had a meaning may hold any text.
        self.extensions
            .get(REVISION)
            .and_then(|json| read_revision(json))
            .unwrap_or(0)
    }

    /// Whether it says that the event did not happen, or not so: it acts on no row.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        let json = self.extensions.get(WITHDRAWN);
        self.revision() > 0 && json.and_then(|json| read_withdrawn(json)) == Some(true)
    }

    /// The hash of the identity and the revision. A first telling's is that of its identity.
    #[must_use]
    pub fn hash(&self) -> EventHash {
        self.identity().revised(self.revision())
    }

    /// Makes it this telling of the event.
    pub(super) fn amend(&mut self, revision: u32, withdrawn: bool) {
        let mut set = |name: &str, json: Option<String>| match json {
            Some(json) => drop(self.extensions.insert(name.into(), json.into())),
            None => drop(self.extensions.remove(name)),
        };
        set(REVISION, (revision > 0).then(|| revision.to_string()));
        set(WITHDRAWN, withdrawn.then(|| "true".to_owned()));
    }

    /// Refuses what cannot be read as an amendment.
    pub(super) fn check_revision(&self) -> Result<(), Refusal> {
        let malformed = |detail: String| Err(Refusal::new(RejectReason::Malformed, detail));
        if let Some(json) = self.extensions.get(REVISION)
            && read_revision(json).is_none()
        {
            return malformed(format!(
                "revision {json} is no whole number from 0 to {REVISION_MAX}; count an event's \
                 amendments from 1"
            ));
        }
        let Some(json) = self.extensions.get(WITHDRAWN) else {
            return Ok(());
        };
        match read_withdrawn(json) {
            None => malformed(format!("withdrawn {json} is neither true nor false")),
            Some(true) if self.revision() == 0 => malformed(
                "withdrawn needs a revision above that of the event that it withdraws; send both, with \
                 the event's own source and id"
                    .to_owned(),
            ),
            Some(_) => Ok(()),
        }
    }
}

/// A JSON number, or digits as text.
fn read_revision(json: &str) -> Option<u32> {
    let digits = unquoted(json);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|number| *number <= REVISION_MAX)
}

fn read_withdrawn(json: &str) -> Option<bool> {
    match unquoted(json) {
        "true" => Some(true),
        "false" => Some(false),
        _other => None,
    }
}

fn unquoted(json: &str) -> &str {
    let inner = json
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(json)
}

#[cfg(test)]
mod tests {
    use crate::model::{EventHash, cloud_event};

    /// What is read from an event with these attributes: revision, withdrawn, or the refusal.
    fn check(attributes: &str, expect: &str) {
        let text = format!(
            r#"{{"specversion":"1.0","id":"7","source":"//crm","type":"t",
                "time":"2026-03-01T09:30:00Z"{attributes}}}"#
        );
        let got = match cloud_event::parse(text.as_bytes()) {
            Ok(event) => format!("{} {}", event.revision(), event.is_withdrawn()),
            Err(refusal) => format!("{}: {refusal}", refusal.reason.label()),
        };
        assert_eq!(got, expect, "{attributes}");
    }

    #[test]
    fn amendments_are_read() {
        check("", "0 false");
        check(r#","revision":0"#, "0 false");
        check(r#","revision":1"#, "1 false");
        check(r#","revision":"0012""#, "12 false");
        check(
            r#","revision":2147483647,"withdrawn":true"#,
            "2147483647 true",
        );
        check(r#","revision":"2","withdrawn":"true""#, "2 true");
        check(r#","revision":2,"withdrawn":false"#, "2 false");
        check(r#","withdrawn":"false""#, "0 false");
        check(r#","revision":null,"withdrawn":null"#, "0 false");
    }

    #[test]
    fn what_is_no_amendment_is_refused() {
        let number = "is no whole number from 0 to 2147483647; count an event's amendments from 1";
        for wrong in [
            "-1",
            "1.0",
            "1.5",
            "1e3",
            "true",
            "2147483648",
            r#""""#,
            r#""1a""#,
            r#"" 1""#,
        ] {
            check(
                &format!(r#","revision":{wrong}"#),
                &format!("malformed: revision {wrong} {number}"),
            );
        }
        for wrong in ["1", r#""yes""#, r#""""#, r#""True""#] {
            check(
                &format!(r#","revision":1,"withdrawn":{wrong}"#),
                &format!("malformed: withdrawn {wrong} is neither true nor false"),
            );
        }
        let alone = "malformed: withdrawn needs a revision above that of the event that it withdraws; \
                     send both, with the event's own source and id";
        check(r#","withdrawn":true"#, alone);
        check(r#","withdrawn":"true","revision":"0""#, alone);
    }

    #[test]
    fn each_revision_has_a_hash_of_its_own() {
        let base = EventHash::of("//crm", "7");
        let hashes = [
            base,
            base.revised(1),
            base.revised(2),
            base.revised(256),
            base.revised(1).revised(1),
        ];
        for (place, one) in hashes.iter().enumerate() {
            assert!(!hashes[..place].contains(one), "{place}");
        }
        assert_ne!(EventHash::of("//crm", "8").revised(1), base.revised(1));
        let event = |attributes: &str| {
            let text = format!(
                r#"{{"specversion":"1.0","id":"7","source":"//crm","type":"t",
                    "time":"2026-03-01T09:30:00Z"{attributes}}}"#
            );
            cloud_event::parse(text.as_bytes()).expect("an event")
        };
        assert_eq!(event("").hash(), base);
        assert_eq!(event(r#","revision":0"#).hash(), base);
        assert_eq!(event(r#","revision":"1""#).hash(), base.revised(1));
        assert_eq!(event(r#","revision":2"#).identity(), base);
    }
}
