use std::collections::BTreeSet;

use smol_str::SmolStr;

use super::{Label, Reading, Values};

/// What stands for a label's value that is none of those it may have.
pub const OTHER: &str = "other";
/// The most tenants that are told apart.
pub const TENANTS_MAX: usize = 50;

/// Keeps the number of series bounded, whatever comes in.
#[derive(Debug, Default)]
pub struct Bounds {
    tenants: BTreeSet<SmolStr>,
}

impl Bounds {
    /// The labels of a reading as they may be told.
    pub fn labels(&mut self, reading: &Reading) -> Vec<SmolStr> {
        let labels = reading.metric.labels.iter();
        let given = reading
            .labels
            .iter()
            .map(Some)
            .chain(std::iter::repeat(None));
        labels
            .zip(given)
            .map(|(label, value)| self.value(label, value))
            .collect()
    }

    fn value(&mut self, label: &Label, value: Option<&SmolStr>) -> SmolStr {
        let Some(value) = value else {
            return OTHER.into();
        };
        let may = match label.values {
            Values::Of(values) => values.contains(&value.as_str()),
            Values::Tenants if self.tenants.contains(value) => true,
            Values::Tenants if self.tenants.len() < TENANTS_MAX => {
                self.tenants.insert(value.clone())
            }
            Values::Tenants => false,
        };
        if may { value.clone() } else { OTHER.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::registry::{EVENTS_INGESTED, EVENTS_LATE};
    use super::*;

    #[test]
    fn labels_have_a_bounded_number_of_values() {
        let mut bounds = Bounds::default();
        let mut check = |labels: &[&str], expect: &[&str]| {
            let told = bounds.labels(&EVENTS_INGESTED.is(1, labels));
            assert_eq!(told, expect, "{labels:?}");
        };
        check(&["new", "acme"], &["new", "acme"]);
        check(&["invented", "acme"], &[OTHER, "acme"]);
        check(&["new"], &["new", OTHER]);
        check(&["new", "acme", "more"], &["new", "acme"]);
        for n in 1..TENANTS_MAX {
            let tenant = format!("t{n}");
            check(&["new", &tenant], &["new", &tenant]);
        }
        check(&["new", "one too many"], &["new", OTHER]);
        check(&["new", "acme"], &["new", "acme"]);
        let told = bounds.labels(&EVENTS_LATE.is(1, &["over_1d", "another"]));
        assert_eq!(told, ["over_1d", OTHER], "tenants are counted once");
    }
}
