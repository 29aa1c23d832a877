//! Settings, as data: what is written for the product to compile, and what the model goes by.

use serde_json::{Map, Value, json};

use shared::handlers::Table;

use crate::told::{KINDS, Tenant, Told};

/// How a table takes late events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Correct,
    Detect,
}

/// The tables of a lead, by the names that settings use.
pub(crate) const LEAD_TABLES: [&str; 4] = [
    "RSLead",
    "RSAppointment",
    "RSAppointmentChanges",
    "RSLeadGlobalConversions",
];

/// Settings of all tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Whether completed appointments are conversions.
    pub(crate) visits: bool,
    /// Whether updates of a lead have a rule.
    pub(crate) updates: bool,
    /// Whether the amount is read from where it never is wrong.
    pub(crate) lenient: bool,
    /// For each of the [`LEAD_TABLES`].
    pub(crate) policies: [Policy; 4],
    /// For each of the [`LEAD_TABLES`], whether its rows are written under a lock.
    pub(crate) locked: [bool; 4],
    /// Whether the daily table is written without reading.
    pub(crate) atomic: bool,
}

impl Rules {
    /// What a tenant begins with who sets nothing.
    pub(crate) fn plain() -> Self {
        Self {
            visits: true,
            updates: true,
            lenient: false,
            policies: [Policy::Correct; 4],
            locked: [false; 4],
            atomic: false,
        }
    }

    /// Whether late events may stay where they are.
    pub(crate) fn detects(&self) -> bool {
        self.policies.contains(&Policy::Detect)
    }

    /// The tables whose rows are written under locks; no chore changes that.
    pub(crate) fn locked_tables(&self) -> Vec<Table> {
        let locked = LEAD_TABLES.iter().zip(self.locked);
        let locked = locked.filter(|(_, locked)| *locked);
        locked.filter_map(|(name, _)| Table::named(name)).collect()
    }

    /// The settings text, JSON.
    pub(crate) fn text(&self, tenants: &[Tenant]) -> String {
        let tenants: Vec<Value> = tenants.iter().map(|tenant| self.tenant(*tenant)).collect();
        json!({ "version": 1, "tenant": tenants }).to_string()
    }

    fn tenant(&self, tenant: Tenant) -> Value {
        let kinds = KINDS.iter().filter(|kind| self.maps(kind));
        let map: Vec<Value> = kinds
            .map(|kind| json!({ "type": kind, "to": kind }))
            .collect();
        let mut conversions = vec![
            json!({ "name": "won", "on": "lead.converted", "value": "amount" }),
            json!({ "name": "touch", "on": "lead.updated" }),
            json!({ "name": "signed", "type": "lead.con*", "value": format!("/{}", self.amount()) }),
        ];
        if self.visits {
            conversions.push(json!({
                "name": "visit", "on": "appointment.completed", "value": "amount",
            }));
        }
        let mut tables = Map::new();
        let settings = LEAD_TABLES.iter().zip(self.policies).zip(self.locked);
        for ((table, policy), locked) in settings {
            let policy = match policy {
                Policy::Correct => "correct",
                Policy::Detect => "detect",
            };
            let value = json!({ "policy": policy, "lock_by_id": locked });
            tables.insert((*table).to_owned(), value);
        }
        if self.atomic {
            let value = json!({ "policy": "atomic" });
            tables.insert("RSTenantDailyConversions".to_owned(), value);
        }
        json!({
            "ids": [tenant.id()],
            "partition_key": "/lead",
            "appointments": if tenant.links() { "by_id" } else { "by_lead" },
            "set": {
                "stage": { "pointer": "/stage" },
                "amount": { "pointer": format!("/{}", self.amount()) },
                "assignee": { "pointer": "/by" },
                "closedReason": { "pointer": "/reason" },
                "appointmentId": { "pointer": "/appointment" },
                "kind": { "pointer": "/kind" },
            },
            "map": map,
            "conversion": conversions,
            "tables": tables,
        })
    }

    fn maps(&self, kind: &str) -> bool {
        kind != "crm.noise" && (self.updates || kind != "lead.updated")
    }

    fn amount(&self) -> &'static str {
        if self.lenient { "sum" } else { "amount" }
    }

    /// The amount that an event gives, in hundredths; `Err` where it is wrong.
    pub(crate) fn cents(&self, told: &Told) -> Result<Option<i64>, ()> {
        let Some(text) = told.field(self.amount()) else {
            return Ok(None);
        };
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let number = |digits: &str| digits.parse::<i64>().map_err(drop);
        Ok(Some(number(whole)? * 100 + number(&format!("{part:0<2}"))?))
    }

    /// Whether a rule takes the event and cannot read it.
    pub(crate) fn is_fault(&self, told: &Told) -> bool {
        self.maps(told.kind) && self.cents(told).is_err()
    }

    /// Whether the event acts on rows.
    pub(crate) fn takes(&self, told: &Told) -> bool {
        self.maps(told.kind) && self.cents(told).is_ok()
    }

    /// The conversions that an event counts for, each with what it is worth.
    pub(crate) fn conversions(&self, told: &Told) -> Vec<(&'static str, Option<i64>)> {
        let worth = self.cents(told).ok().flatten();
        match told.kind {
            "lead.converted" => vec![("signed", worth), ("won", worth)],
            "lead.updated" => vec![("touch", None)],
            "appointment.completed" if self.visits => vec![("visit", worth)],
            _other => Vec::new(),
        }
    }

    /// In a few words.
    pub(crate) fn story(&self) -> String {
        let mut words = Vec::new();
        for (table, (policy, locked)) in LEAD_TABLES
            .iter()
            .zip(self.policies.iter().zip(self.locked))
        {
            if *policy == Policy::Detect {
                words.push(format!("{table} under detect"));
            }
            if locked {
                words.push(format!("{table} under locks"));
            }
        }
        for (given, what) in [
            (self.atomic, "days under atomic"),
            (self.lenient, "amounts read from /sum"),
            (!self.visits, "visits are no conversions"),
            (!self.updates, "lead.updated has no rule"),
        ] {
            if given {
                words.push(what.to_owned());
            }
        }
        if words.is_empty() {
            words.push("plain".to_owned());
        }
        words.join(", ")
    }
}
