use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value};
use smol_str::SmolStr;

use crate::handlers::Row;
use crate::model::{ActionId, Amount, EventHash, Held, Order, Stamps, Timestamp, Trail};

use super::RowKey;

/// A commutative change of one row: written without a read; any order of the same additions gives the
/// same row, and one that was taken in before changes nothing.
///
/// Of the trail that is so but for the event taken in last. Additions of one row must agree on `start` and on what is set on insert,
/// since whichever comes first makes the row.
#[derive(Debug, Clone, PartialEq)]
pub struct Addition {
    /// Which row; not one of a temporal table.
    pub key: RowKey,
    /// The action that it is, derived from event and row.
    pub action: ActionId,
    /// The event that is taken in.
    pub event: EventHash,
    /// The event's place in the order.
    pub order: Order,
    /// A row that holds nothing: what the fields are that no change names.
    pub start: Row,
    /// What changes; no field twice, and none within another.
    pub changes: Vec<Change>,
    /// The settings version that it is made under; the row's becomes the older of both.
    pub settings: u32,
    /// The moments to be written on the row; each of the row's becomes the later of both.
    pub stamps: Stamps,
}

/// A change of one field.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Which field.
    pub field: FieldPath,
    /// How it changes.
    pub how: How,
}

/// How a field changes. The semantics are those of MongoDB's `$inc`, `$min`, `$max` and
/// `$setOnInsert`; objects on the way to the field are made.
#[derive(Debug, Clone, PartialEq)]
pub enum How {
    /// Grows by so much, from 0 where there is none. A field that holds no number is a fault.
    Increase(Number),
    /// Becomes the earlier of both. A field that holds no moment is a fault.
    Least(Timestamp),
    /// Becomes the later of both. A field that holds no moment is a fault.
    Greatest(Timestamp),
    /// Is this where the addition makes the row; else stays as it is.
    SetOnInsert(Value),
}

/// How much a field grows; negative to shrink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// A count.
    Count(i64),
    /// An amount of money.
    Amount(Amount),
}

/// The names that lead to a field, outermost first: JSON object keys, none of which is empty, begins
/// with `$`, or contains `.` or NUL, because document stores cannot address those.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Vec<SmolStr>);

/// Why names cannot be a [`FieldPath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldPathError {
    /// There are none.
    #[error("the path to a field names nothing")]
    Nothing,
    /// One is empty.
    #[error("the path to a field has an empty name")]
    EmptyName,
    /// One begins with `$`, or contains `.` or NUL.
    #[error("{0:?} in the path to a field begins with $, or contains . or NUL")]
    Unaddressable(SmolStr),
}

/// Why an addition cannot be taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdditionError {
    /// The row holds something else where a number should be.
    #[error("{0} holds no number")]
    NoNumber(FieldPath),
    /// The row holds something else where a moment should be.
    #[error("{0} holds no moment")]
    NoMoment(FieldPath),
    /// The row holds something else where an object should be on the way.
    #[error("{0} lies within what is no object")]
    NoObject(FieldPath),
    /// The sum is more than can be kept.
    #[error("{0} would be more than can be kept")]
    TooMuch(FieldPath),
    /// Two changes name it, or one names it and another what it lies within.
    #[error("{0} is changed twice")]
    Overlap(FieldPath),
    /// The row to start from is one of that other table.
    #[error("the row to start from is one of {0}")]
    OtherTable(&'static str),
    /// The table keeps histories, which an addition cannot write.
    #[error("rows of {0} have histories, which only a conditional write keeps")]
    Temporal(&'static str),
}

impl Addition {
    /// Says whether the addition is sound, whatever the row holds.
    ///
    /// # Errors
    /// [`Overlap`](AdditionError::Overlap), [`OtherTable`](AdditionError::OtherTable) or
    /// [`Temporal`](AdditionError::Temporal).
    pub fn check(&self) -> Result<(), AdditionError> {
        let table = self.key.table;
        if table.is_temporal() {
            return Err(AdditionError::Temporal(table.name()));
        }
        if self.start.table() != table {
            return Err(AdditionError::OtherTable(self.start.table().name()));
        }
        let mut paths: Vec<&FieldPath> = self.changes.iter().map(|change| &change.field).collect();
        // A path comes right before those that lie within it.
        paths.sort();
        for (outer, inner) in paths.iter().zip(paths.iter().skip(1)) {
            if inner.0.starts_with(&outer.0) {
                return Err(AdditionError::Overlap((*inner).clone()));
            }
        }
        Ok(())
    }

    /// The row's body after the addition; `before` is `None` where there was no row.
    ///
    /// # Errors
    /// The addition is not sound, or a field holds what it cannot be added to.
    pub fn body(
        &self,
        before: Option<Map<String, Value>>,
    ) -> Result<Map<String, Value>, AdditionError> {
        self.check()?;
        let makes = before.is_none();
        let mut body = before.unwrap_or_else(|| self.unnamed());
        for change in &self.changes {
            change.apply(&mut body, makes)?;
        }
        Ok(body)
    }

    /// The row's trail after the addition; `before` is `None` where there was no row.
    #[must_use]
    pub fn trail(&self, before: Option<&Trail>) -> Trail {
        let held = before.map(|trail| trail.held.clone()).unwrap_or_default();
        let handler = self.key.table.handler_version();
        let stamps = before.map_or(self.stamps, |trail| Stamps {
            event: trail.stamps.event.max(self.stamps.event),
            read_start: trail.stamps.read_start.max(self.stamps.read_start),
            write_start: trail.stamps.write_start.max(self.stamps.write_start),
        });
        Trail {
            held: Held {
                events: held.events + 1,
                fingerprint: held.fingerprint.with(self.event),
                last: held.last.max(Some(self.order.clone())),
                taken: Some(self.event),
            },
            out_of_order: before.map_or(0, |trail| trail.out_of_order),
            version: before.map_or(1, |trail| trail.version + 1),
            // Of the oldest: what was added under that does not become what this one's settings say.
            settings: before.map_or(self.settings, |trail| trail.settings.min(self.settings)),
            handler: before.map_or(handler, |trail| trail.handler.min(handler)),
            fence: before.map_or(0, |trail| trail.fence),
            checksum: 0,
            stamps,
            amended: before.and_then(|trail| trail.amended.clone()),
        }
    }

    /// The fields of `start` that no change names.
    fn unnamed(&self) -> Map<String, Value> {
        let mut body: Map<String, Value> =
            serde_json::from_str(&self.start.body()).unwrap_or_default();
        for change in &self.changes {
            let (way, last) = change.field.split();
            let object = way.iter().try_fold(&mut body, |object, name| {
                object.get_mut(name.as_str())?.as_object_mut()
            });
            if let Some(object) = object {
                object.remove(last);
            }
        }
        body
    }
}

impl Change {
    fn apply(&self, body: &mut Map<String, Value>, makes: bool) -> Result<(), AdditionError> {
        if matches!(self.how, How::SetOnInsert(_)) && !makes {
            return Ok(());
        }
        let path = || self.field.clone();
        let (way, last) = self.field.split();
        let mut object = body;
        for name in way {
            object = object
                .entry(name.as_str())
                .or_insert_with(|| Value::Object(Map::new()))
                .as_object_mut()
                .ok_or_else(|| AdditionError::NoObject(path()))?;
        }
        let before = object.get(last);
        let after = match &self.how {
            How::Increase(by) => increased(before, *by).map_err(|fault| fault(path()))?,
            How::Least(at) => {
                let known = moment(before).map_err(|fault| fault(path()))?;
                known.map_or(*at, |known| known.min(*at)).to_string().into()
            }
            How::Greatest(at) => {
                let known = moment(before).map_err(|fault| fault(path()))?;
                known.map_or(*at, |known| known.max(*at)).to_string().into()
            }
            How::SetOnInsert(value) => value.clone(),
        };
        object.insert(last.to_owned(), after);
        Ok(())
    }
}

/// What is wrong with a field, which the caller names.
type Fault = fn(FieldPath) -> AdditionError;

fn increased(field: Option<&Value>, by: Number) -> Result<Value, Fault> {
    let too_much = || AdditionError::TooMuch as Fault;
    let none = Value::from(0);
    let field = field.unwrap_or(&none);
    if !field.is_number() {
        return Err(AdditionError::NoNumber);
    }
    let by = match (by, field.as_i64()) {
        (Number::Count(by), Some(held)) => {
            return held.checked_add(by).map(Value::from).ok_or_else(too_much);
        }
        (Number::Count(by), None) => Amount::whole(by).ok_or_else(too_much)?,
        (Number::Amount(by), None | Some(_)) => by,
    };
    let held = Amount::deserialize(field).map_err(|_too_large| too_much())?;
    let sum = held.checked_plus(by).ok_or_else(too_much)?;
    serde_json::to_value(sum).map_err(|_no_number| too_much())
}

fn moment(field: Option<&Value>) -> Result<Option<Timestamp>, Fault> {
    let Some(field) = field else {
        return Ok(None);
    };
    let text = field.as_str().ok_or(AdditionError::NoMoment as Fault)?;
    let known = Timestamp::parse(text).map_err(|_no_time| AdditionError::NoMoment as Fault)?;
    Ok(Some(known))
}

impl FieldPath {
    /// The path of these names, outermost first.
    ///
    /// # Errors
    /// There are none, or one cannot be addressed.
    pub fn new(
        segments: impl IntoIterator<Item = impl Into<SmolStr>>,
    ) -> Result<Self, FieldPathError> {
        let segments: Vec<SmolStr> = segments.into_iter().map(Into::into).collect();
        if segments.is_empty() {
            return Err(FieldPathError::Nothing);
        }
        for name in &segments {
            if name.is_empty() {
                return Err(FieldPathError::EmptyName);
            }
            if name.starts_with('$') || name.contains(['.', '\0']) {
                return Err(FieldPathError::Unaddressable(name.clone()));
            }
        }
        Ok(Self(segments))
    }

    /// The names, outermost first; at least one.
    #[must_use]
    pub fn segments(&self) -> &[SmolStr] {
        &self.0
    }

    /// The names on the way, and the field's own.
    fn split(&self) -> (&[SmolStr], &str) {
        match self.0.split_last() {
            Some((last, way)) => (way, last),
            None => (&[], ""),
        }
    }
}

/// As document stores write it: `conversions.sale.count`.
impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::Table;
    use crate::model::Group;

    fn path(path: &str) -> FieldPath {
        FieldPath::new(path.split('.')).expect("a path")
    }

    fn addition(table: Table, changes: &[(&str, How)]) -> Addition {
        let group = Group {
            tenant: "acme".into(),
            key: "7".into(),
        };
        let event = EventHash::of("//crm", "1");
        let change = |(field, how): &(&str, How)| Change {
            field: path(field),
            how: how.clone(),
        };
        Addition {
            action: ActionId::of(event, table, "7"),
            event,
            order: Order {
                time: Timestamp::from_ms(0),
                below_ms: 0,
                sequence: None,
                source: "//crm".into(),
                id: "1".into(),
            },
            start: table.new_row(&group, &group.key),
            changes: changes.iter().map(change).collect(),
            settings: 1,
            stamps: Stamps::default(),
            key: RowKey {
                id: group.key.clone(),
                group,
                table,
            },
        }
    }

    /// Adds to a body, or makes one where `before` is empty.
    #[track_caller]
    fn check(before: &str, changes: &[(&str, How)], expect: &str) {
        let before = (!before.is_empty()).then(|| serde_json::from_str(before).expect("a body"));
        let got = match addition(Table::RSLead, changes).body(before) {
            Ok(body) => Value::Object(body).to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect);
    }

    fn count(by: i64) -> How {
        How::Increase(Number::Count(by))
    }

    fn amount(by: &str) -> How {
        How::Increase(Number::Amount(Amount::parse(by).expect("an amount")))
    }

    fn noon(text: &str) -> Timestamp {
        Timestamp::parse(&format!("{text}T12:00:00Z")).expect("a day")
    }

    #[test]
    fn a_row_is_made_of_its_start_and_the_changes() {
        check(
            "",
            &[("a.b.first", How::SetOnInsert("x".into()))],
            r#"{"a":{"b":{"first":"x"}},"events":0,"leadId":"7","tenant":"acme"}"#,
        );
        check(
            "",
            &[
                ("events", count(0)),
                ("tenant", How::SetOnInsert("x".into())),
            ],
            r#"{"events":0,"leadId":"7","tenant":"x"}"#,
        );
    }

    #[test]
    fn what_a_change_names_does_not_come_from_the_start() {
        let mut one = addition(Table::RSLead, &[("events", count(2))]);
        if let Row::RSLead(lead) = &mut one.start {
            lead.events = 40;
        }
        let body = one.body(None).expect("a body");
        assert_eq!(body.get("events"), Some(&Value::from(2)));
    }

    #[test]
    fn numbers_add_up_exactly() {
        check("{}", &[("n", count(3))], r#"{"n":3}"#);
        check(r#"{"n":3}"#, &[("n", count(-5))], r#"{"n":-2}"#);
        check(r#"{"n":0.1}"#, &[("n", amount("0.2"))], r#"{"n":0.3}"#);
        check(r#"{"n":0.1}"#, &[("n", amount("0.9"))], r#"{"n":1}"#);
        check(r#"{"n":1}"#, &[("n", amount("-0.9999"))], r#"{"n":0.0001}"#);
        check(r#"{"n":0.5}"#, &[("n", count(2))], r#"{"n":2.5}"#);
        let most = format!(r#"{{"n":{}}}"#, i64::MAX);
        check(&most, &[("n", count(0))], &most);
        let too_much = "n would be more than can be kept";
        check(&most, &[("n", count(1))], too_much);
        check(&most, &[("n", amount("1"))], too_much);
        check(
            r#"{"n":18446744073709551615}"#,
            &[("n", count(1))],
            too_much,
        );
        for no_number in [r#""3""#, "null", "true", "[]", "{}"] {
            let body = format!(r#"{{"n":{no_number}}}"#);
            check(&body, &[("n", count(1))], "n holds no number");
            check(&body, &[("n", amount("1"))], "n holds no number");
        }
    }

    #[test]
    fn moments_move_one_way() {
        let held = r#"{"at":"2026-03-05T12:00:00.000Z"}"#;
        for how in [How::Least, How::Greatest] {
            check("{}", &[("at", how(noon("2026-03-05")))], held);
            check(held, &[("at", how(noon("2026-03-05")))], held);
        }
        check(held, &[("at", How::Least(noon("2026-03-06")))], held);
        check(held, &[("at", How::Greatest(noon("2026-03-04")))], held);
        let earlier = r#"{"at":"2026-03-04T12:00:00.000Z"}"#;
        check(held, &[("at", How::Least(noon("2026-03-04")))], earlier);
        check(earlier, &[("at", How::Greatest(noon("2026-03-05")))], held);
        for no_moment in [r#""soon""#, "null", "1772712000000", "{}"] {
            let body = format!(r#"{{"at":{no_moment}}}"#);
            for how in [How::Least, How::Greatest] {
                let changes = [("at", how(noon("2026-03-05")))];
                check(&body, &changes, "at holds no moment");
            }
        }
    }

    #[test]
    fn objects_on_the_way_are_made_and_nothing_else_gives_way() {
        check(
            r#"{"a":{"x":1},"z":1}"#,
            &[("a.b.c", count(1)), ("a.b.d", count(2))],
            r#"{"a":{"b":{"c":1,"d":2},"x":1},"z":1}"#,
        );
        for no_object in ["1", "null", "[]", r#""b""#] {
            let body = format!(r#"{{"a":{no_object}}}"#);
            let refusal = "a.b.c lies within what is no object";
            check(&body, &[("a.b.c", count(1))], refusal);
        }
        let set = How::SetOnInsert(1.into());
        check(r#"{"z":1}"#, &[("a.b", set)], r#"{"z":1}"#);
    }

    #[test]
    fn an_addition_that_is_not_sound_is_refused() {
        let inner = [("a.b", count(1)), ("ab", count(1)), ("a", count(1))];
        check("{}", &inner, "a.b is changed twice");
        check(
            "",
            &[("a", count(1)), ("a", count(1))],
            "a is changed twice",
        );
        let temporal = addition(Table::RSAppointmentChanges, &[]);
        let refused = AdditionError::Temporal("RSAppointmentChanges");
        assert_eq!(temporal.body(None), Err(refused));
        let mut other = addition(Table::RSLead, &[]);
        other.start = temporal.start;
        let refused = AdditionError::OtherTable("RSAppointmentChanges");
        assert_eq!(other.check(), Err(refused));
    }

    #[test]
    fn paths_are_those_that_document_stores_can_address() {
        let nothing: [&str; 0] = [];
        assert_eq!(FieldPath::new(nothing), Err(FieldPathError::Nothing));
        assert_eq!(FieldPath::new(["a", ""]), Err(FieldPathError::EmptyName));
        for name in ["$inc", "a.b", ".", "a\0"] {
            let unaddressable = FieldPathError::Unaddressable(name.into());
            assert_eq!(FieldPath::new(["a", name]), Err(unaddressable));
        }
        let good = FieldPath::new(["a b", "c$", "名前"]).expect("a path");
        assert_eq!(good.segments(), ["a b", "c$", "名前"]);
        assert_eq!(good.to_string(), "a b.c$.名前");
    }
}
