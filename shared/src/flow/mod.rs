//! How events become rows: route, step, fold, refold, compare. Pure.
//!
//! [`Fold`] is the one transition that everything uses. [`step`] runs it over stored rows for events
//! that come in order; [`correct`] runs it over the whole journal of a group for those that do not;
//! [`compare`] runs it over the journal and holds the result against what is stored. An [`Addition`]
//! is for rows that any order of their events leads to: it is written without a read. [`begin`] and
//! [`first_writes`] take rows over that other code wrote. Long groups keep [`Image`]s of what their rows
//! were: a [`Base`] made of them is where [`Base::correct`] begins for an event that is late, instead of at the
//! group's first event. Of the tellings of one event that a journal has, those are folded that are
//! [`in_force`].

mod addition;
mod adopt;
mod amend;
mod base;
mod blame;
mod compare;
mod correct;
mod diff;
mod explain;
mod fold;
mod guesses;
mod image;
mod linked;
mod moved;
mod recorder;
mod row;
mod standing;
mod statements;
mod step;
mod taken;

#[cfg(test)]
mod tests;

pub use addition::{Addition, AdditionError, Change, FieldPath, FieldPathError, How, Number};
pub use adopt::{begin, first_writes};
pub use amend::{amended_reach, in_force};
pub use base::Base;
pub use compare::{Comparison, Evidence, Owed, compare};
pub use correct::{correct, correct_whole, fold_all};
pub use explain::{Explained, explain, fields_of};
pub use fold::{Cell, Fold};
pub use image::{
    Gone, Image, ImageHead, ImagesWrite, Imaging, KeptImage, RowImage, Was, thin, thins_since,
};
pub use row::{HistoryWrite, Put, RowKey, Stored, Write};
pub use statements::Statement;
pub use step::{Batch, Disposition, EventOutcome, Outcome, reach, sort_events, step};
