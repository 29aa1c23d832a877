//! Links: an event of an appointment that has a group of its own may name the lead that it belongs to.

use smol_str::SmolStr;

use super::Event;

/// The attribute that such an event has then: the lead's partition key.
const LEAD: &str = "foldbacklead";

impl Event {
    /// Makes the event one of an appointment's own group, whose partition key it has none of, and which
    /// links the appointment to this lead, if any.
    pub fn link_to(&mut self, lead: Option<SmolStr>) {
        self.partition_key = None;
        if let Some(lead) = lead {
            let json = serde_json::Value::from(lead.as_str()).to_string();
            self.extensions.insert(LEAD.into(), json.into());
        }
    }

    /// The partition key of the lead that the event links its appointment to.
    #[must_use]
    pub fn linked_lead(&self) -> Option<SmolStr> {
        serde_json::from_str(self.extensions.get(LEAD)?).ok()
    }
}
